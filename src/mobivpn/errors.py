"""The exception tree: whose fault an error is decides who can mend it.

MobivpnError
├── PeerError          the other end's fault: drop it, count it, go on
│   └── MalformedError     bytes that are not the message they claim to be
├── CallerError        the caller's fault: a bug or bad input; never caught inside the core
│   └── IllegalTransition  an input that a state machine does not know in its state
└── KernelRefusal      the kernel's: a change of SAD, SPD or routes was not taken
"""


class MobivpnError(Exception):
    """Base of all errors that this package raises."""


class PeerError(MobivpnError):
    """What a peer sent cannot be accepted; `reason` is a short word for counters and logs."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class MalformedError(PeerError):
    """Bytes from a peer do not parse as the message that they claim to be."""


class CallerError(MobivpnError):
    """A value or a call that this package's own interface forbids."""


class IllegalTransition(CallerError):
    """A state machine got an input that its table does not have in its present state."""


class KernelRefusal(MobivpnError):
    """The kernel did not take a change."""
