"""Data in another system's tunnel, which no key opens: told apart by when it is on a node's link.

Computing takes no virtual time: what a node sends is on its link in that moment, and what comes by
its link is at its receiver in that moment. Datagrams of one moment are all as long, and go one way.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from experiments.dissect import Esp, Layers, Udp
from experiments.paths import PacketPath

WITHIN_NS = 1_000_000
"""As late as a program of a lab may run that is due (docs/concepts/repeatability.md)."""

WIREGUARD_DATA = b"\x04\0\0\0"
WIREGUARD_KEEPALIVE_BYTES = 32
"""A data message begins so; one that has nothing but a header and a tag is a keepalive."""


def is_sealed_data(layers: Layers) -> bool:
    """Tell whether a packet is data in a tunnel: closed ESP, or a data message of WireGuard."""
    last = layers[-1]
    if isinstance(last, Esp):
        return not last.opened
    return (
        isinstance(last, Udp)
        and last.payload.startswith(WIREGUARD_DATA)
        and len(last.payload) > WIREGUARD_KEEPALIVE_BYTES
    )


class Sighting(NamedTuple):
    """A datagram as first seen on a link, and the path that its headers named there.

    `network` is the access network of the care-of address that it left from, or that it came to.
    `optimised`: it tells a care-of address by a header of its own. `frame_bytes` is the size of the
    whole frame.
    """

    time_ns: int
    path: PacketPath | None
    network: str | None
    optimised: bool = False
    frame_bytes: int = 0


@dataclass(slots=True)
class SealedPackets:
    """What was seen on the nodes' links, by link and by whether its node has sent it, in order."""

    _seen: dict[tuple[str, bool], list[Sighting]] = field(
        default_factory=dict[tuple[str, bool], list[Sighting]]
    )

    def add(self, link: str, sent: bool, seen: Sighting) -> None:
        """Add what comes behind all that was seen so far on the link."""
        self._seen.setdefault((link, sent), []).append(seen)

    def sent_at(self, link: str, time_ns: int) -> Sighting | None:
        """Return what left a node's link when the node sent."""
        found = self._seen.get((link, True), [])
        return _near(found, bisect_left(found, time_ns, key=_time), time_ns)

    def arrived_at(self, link: str, time_ns: int) -> Sighting | None:
        """Return what came by a node's link when something arrived at the node."""
        found = self._seen.get((link, False), [])
        return _near(found, bisect_right(found, time_ns, key=_time) - 1, time_ns)


def _time(seen: Sighting) -> int:
    return seen.time_ns


def _near(found: Sequence[Sighting], index: int, time_ns: int) -> Sighting | None:
    if not 0 <= index < len(found) or abs(found[index].time_ns - time_ns) > WITHIN_NS:
        return None
    return found[index]
