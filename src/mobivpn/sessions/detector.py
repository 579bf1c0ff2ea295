"""Who talks to whom through the gateway, and when that is a session of two external nodes.

The seed: "It monitors the headers of these communications and stores in a cache the internal
addresses of the CNs with which MN2 communicates", and "the SG detects that MN1 and MN2 are in a
session by detecting when a packet is sent from MN1 to MN2 or a packet is sent from MN2 to MN1".
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Generic, TypeVar

from mobivpn.variants import Trigger

F = TypeVar("F", bound=Hashable)
"""What identifies a flow; the detector only tells one from another."""


@dataclass(frozen=True, slots=True)
class Session:
    """Two addresses that talk, in whatever order they were named."""

    first: IPv6Address
    second: IPv6Address

    @classmethod
    def between(cls, one: IPv6Address, other: IPv6Address) -> "Session":
        """Return the session of two addresses."""
        return cls(*sorted((one, other)))

    def peer_of(self, address: IPv6Address) -> IPv6Address | None:
        """Return the other end, None if `address` is not an end of it."""
        ends = {self.first: self.second, self.second: self.first}
        return ends.get(address)


@dataclass(slots=True)
class Detector(Generic[F]):
    """The cache of correspondents, and the external nodes.

    An entry of the cache lives as long as one of its flows does. A session is detected when a live
    entry meets two external nodes, whichever comes last; each detection is told once until its
    entry dies or one of its nodes returns. `trigger` may ask for one of the two orders: for an
    entry that is there when its second node leaves, or for one whose first flow comes after that.
    A session that was detected is so whenever it shows again, until it ends or a node returns: it
    may have gone on directly meanwhile, where nobody here saw it.
    """

    trigger: Trigger = Trigger.BOTH
    _external: set[IPv6Address] = field(default_factory=set[IPv6Address])
    _flows: dict[Session, set[F]] = field(default_factory=dict[Session, set[F]])
    _detected: set[Session] = field(default_factory=set[Session])
    _met: set[Session] = field(default_factory=set[Session])
    """Their trigger has been met since both nodes are outside."""

    def is_live(self, session: Session) -> bool:
        """Tell whether the cache holds a session."""
        return session in self._flows

    def correspondents(self, node: IPv6Address) -> tuple[IPv6Address, ...]:
        """Return all live correspondents of a node in the order of their addresses."""
        peers = (session.peer_of(node) for session in self._flows)
        return tuple(sorted(peer for peer in peers if peer is not None))

    def is_detected(self, session: Session) -> bool:
        """Tell whether the detection of a session still holds."""
        return session in self._detected

    def was_detected(self, session: Session) -> bool:
        """Tell whether a session has been detected since both its nodes are outside."""
        return session in self._met

    def flow_seen(self, session: Session, flow: F) -> list[Session]:
        """A flow of a session lives; return the session if that makes it detected."""
        begins = session not in self._flows
        self._flows.setdefault(session, set()).add(flow)
        return self._detect([session], met=begins and self.trigger is not Trigger.SESSION)

    def flow_ended(self, session: Session, flow: F) -> None:
        """A flow is over; the entry dies with its last one. Unknown ones are ignored."""
        flows = self._flows.get(session, set())
        flows.discard(flow)
        if not flows:
            self.forget(session)

    def flows_lost(self) -> None:
        """Nothing is known of any flow any more."""
        for session in tuple(self._flows):
            self.forget(session)

    def node_left(self, node: IPv6Address) -> list[Session]:
        """A node is outside; return the sessions that are detected by that."""
        if node in self._external:
            return []
        self._external.add(node)
        return self._detect(
            (s for s in self._flows if s.peer_of(node) is not None),
            met=self.trigger is not Trigger.INITIATION,
        )

    def node_returned(self, node: IPv6Address) -> None:
        """A node is inside: its detections are over, its live entries are not."""
        self._external.discard(node)
        for session in tuple(self._met):
            if session.peer_of(node) is not None:
                self._detected.discard(session)
                self._met.discard(session)

    def forget(self, session: Session) -> frozenset[F]:
        """Drop an entry, so that it can be detected anew; return the flows that it had."""
        self._detected.discard(session)
        return frozenset(self._flows.pop(session, ()))

    def end(self, session: Session) -> frozenset[F]:
        """A session is over: what its nodes send from now on begins another one."""
        self._met.discard(session)
        return self.forget(session)

    def _detect(self, sessions: Iterable[Session], *, met: bool) -> list[Session]:
        detected = [
            session
            for session in sessions
            if {session.first, session.second} <= self._external
            and session not in self._detected
            and (met or session in self._met)
        ]
        self._detected.update(detected)
        self._met.update(detected)
        return detected
