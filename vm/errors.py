"""What keeps a lab from starting or ends it, each with the exit code that it becomes.

LabError (2)
├── PackagesMissing (3)   only the machine's administrator can mend it
├── LabCrashed (1)        the lab VM ended before its job did
├── LimitReached (1)      the job hung: it was ended at its limit
└── Terminated (143)      somebody asked this program to end (SIGTERM, SIGHUP)
"""


class LabError(Exception):
    """Base of this package's errors; the text is one line: what, where, what to do."""

    exit_code = 2


class PackagesMissing(LabError):
    """Programs are missing that come with packages of the distribution."""

    exit_code = 3


class LabCrashed(LabError):
    """The lab VM ended before its job did; `console` is what it last said."""

    exit_code = 1

    def __init__(self, message: str, console: str = "") -> None:
        super().__init__(message)
        self.console = console


class LimitReached(LabCrashed):
    """The job was still running at its limit and has been ended."""


class Terminated(LabError):
    """A signal told this program to end."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"ended by signal {signal_number}")
        self.exit_code = 128 + signal_number
