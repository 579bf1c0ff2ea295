"""Movement detection: which link a node is on, and whether that is inside (seed, embodiment 1).

A node is inside where a router advertises the company's own prefix. Between losing one link and
hearing a router on the next it is detached, which for its policies is the same as outside.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from mobivpn.clock import Backoff, Timers

SOLICITATION = Backoff(initial_s=1.0, maximum_s=4.0)
"""Router solicitations are repeated until a router answers (RFC 7559); the first goes at once."""


@dataclass(frozen=True, slots=True)
class Detached:
    """No link, or none whose routers are known yet."""


@dataclass(frozen=True, slots=True)
class Inside:
    """On the internal LAN."""

    device: str
    router: IPv6Address


@dataclass(frozen=True, slots=True)
class Outside:
    """On a foreign link, with an address of it."""

    device: str
    router: IPv6Address
    care_of_address: IPv6Address


Place = Detached | Inside | Outside


@dataclass(frozen=True, slots=True)
class SolicitRouters:
    """Send a router solicitation on `device` (RFC 4861 section 6.3.7)."""

    device: str


def interface_identifier(hardware_address: bytes) -> int:
    """Return the modified EUI-64 identifier of a 6-byte address (RFC 4291 appendix A)."""
    first, second = hardware_address[:3], hardware_address[3:]
    return int.from_bytes(bytes((first[0] ^ 2, *first[1:])) + b"\xff\xfe" + second, "big")


@dataclass(slots=True)
class Movement:
    """Where the node is, from link events and router advertisements."""

    vpn_prefix: IPv6Network
    place: Place = field(default_factory=Detached)
    _links: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _solicitations: dict[str, int] = field(default_factory=dict[str, int])
    _timers: Timers[str] = field(default_factory=Timers[str])

    @property
    def deadline(self) -> float | None:
        """When the next router solicitation is due (s)."""
        return self._timers.deadline

    def link_found(self, device: str, hardware_address: bytes, now: float) -> list[SolicitRouters]:
        """A link can carry packets: ask for its routers at once."""
        self._links[device] = hardware_address
        self._solicitations[device] = 0
        return self._solicit(device, now)

    def link_lost(self, device: str) -> None:
        """A link is gone, with all that was known of it."""
        self._links.pop(device, None)
        self._timers.cancel(device)
        if not isinstance(self.place, Detached) and self.place.device == device:
            self.place = Detached()

    def router_advertised(
        self,
        device: str,
        router: IPv6Address,
        prefixes: Iterable[IPv6Network],
        lifetime_s: float,
    ) -> None:
        """A router is heard (RFC 4861 section 6.3.4); one on an unknown link is ignored."""
        usable = [prefix for prefix in prefixes if prefix.prefixlen == 64]
        if device not in self._links or not usable or lifetime_s == 0:
            return
        self._timers.cancel(device)
        if self.vpn_prefix in usable:
            self.place = Inside(device, router)
            return
        identifier = interface_identifier(self._links[device])
        self.place = Outside(
            device, router, IPv6Address(int(usable[0].network_address) | identifier)
        )

    def timer_expired(self, now: float) -> list[SolicitRouters]:
        """Ask again where no router has answered."""
        return [s for device in self._timers.pop_due(now) for s in self._solicit(device, now)]

    def _solicit(self, device: str, now: float) -> list[SolicitRouters]:
        self._solicitations[device] += 1
        self._timers.set(device, now + SOLICITATION.interval_s(self._solicitations[device]))
        return [SolicitRouters(device)]
