"""Movement detection: which link a node is on, and whether that is inside (seed, embodiment 1).

A node is inside where a router advertises the company's own prefix; one that authenticates, where
AH has verified such an advertisement (seed: "fake network"). Between losing one link and hearing a
router on the next it is detached, which for its policies is the same as outside. A node with two
links outside is at the newer one's, and the older one is a former place that still works.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv6Address, IPv6Network
from itertools import count

from mobivpn.clock import Backoff, Timers

SOLICITATION = Backoff(initial_s=1.0, maximum_s=4.0)
"""Router solicitations are repeated until a router answers (RFC 7559); the first goes at once."""

LINK_LOCAL_PREFIX = IPv6Network("fe80::/64")

IDGEN_RETRIES = 3
"""How many other identifiers are tried after a duplicate (RFC 7217 section 6)."""


@dataclass(frozen=True, slots=True)
class Detached:
    """No link, or none whose routers are known yet."""


@dataclass(frozen=True, slots=True)
class Inside:
    """On the internal LAN; in embodiment 2 with an address of it."""

    device: str
    router: IPv6Address
    care_of_address: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class Outside:
    """On a foreign link, with an address of it; no two links that live have the same `slot`."""

    device: str
    router: IPv6Address
    care_of_address: IPv6Address
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Tentative:
    """On a foreign link, with an address of it that nothing may use yet (RFC 4862 section 5.4)."""

    device: str
    router: IPv6Address
    care_of_address: IPv6Address


Place = Detached | Inside | Tentative | Outside


@dataclass(frozen=True, slots=True)
class SolicitRouters:
    """Send a router solicitation on `device` (RFC 4861 section 6.3.7)."""

    device: str


@dataclass(frozen=True, slots=True)
class _Link:
    hardware_address: bytes
    slot: int


def interface_identifier(hardware_address: bytes, duplicates: int = 0) -> int:
    """Return the modified EUI-64 identifier of a 6-byte address (RFC 4291 appendix A).

    After `duplicates` of its identifiers were found in use, another one follows from their count,
    as in RFC 7217 section 5.
    """
    first, second = hardware_address[:3], hardware_address[3:]
    identifier = bytes((first[0] ^ 2, *first[1:])) + b"\xff\xfe" + second
    if duplicates:
        identifier = sha256(identifier + bytes((duplicates,))).digest()[:8]
    return int.from_bytes(identifier, "big")


@dataclass(slots=True)
class Movement:
    """Where the node is, from link events, router advertisements and the fate of its addresses.

    `solicits`: it asks for routers, instead of waiting until they advertise themselves. `waits`: a
    care-of address is tentative until the kernel calls it usable. `authenticates`: the company's
    prefix in an advertisement that nobody vouches for is of no use, neither to be inside, nor for a
    care-of address; an address of the VPN must not be seen outside. `moves_inside`: it has a
    care-of address there as well (embodiment 2), on whose link nobody else makes addresses.
    """

    vpn_prefix: IPv6Network
    solicits: bool = True
    waits: bool = False
    authenticates: bool = False
    moves_inside: bool = False
    _links: dict[str, _Link] = field(default_factory=dict[str, _Link])
    _places: dict[str, Inside | Tentative | Outside] = field(
        default_factory=dict[str, Inside | Tentative | Outside]
    )
    """By device, the newest last."""
    _solicitations: dict[str, int] = field(default_factory=dict[str, int])
    _duplicates: Counter[IPv6Network] = field(default_factory=Counter[IPv6Network])
    _timers: Timers[str] = field(default_factory=Timers[str])

    @property
    def place(self) -> Place:
        """Where the node is: inside if any link is there, else on its newest usable link."""
        newest_first = reversed(self._places.values())
        preferred = (Inside, Outside, Tentative)
        return min(newest_first, key=lambda at: preferred.index(type(at)), default=Detached())

    @property
    def former(self) -> tuple[Outside, ...]:
        """Return the other places of a node outside, whose links still work."""
        present = self.place
        if not isinstance(present, Outside):
            return ()
        return tuple(p for p in self._places.values() if isinstance(p, Outside) and p != present)

    @property
    def deadline(self) -> float | None:
        """When the next router solicitation is due (s)."""
        return self._timers.deadline

    def link_found(self, device: str, hardware_address: bytes, now: float) -> list[SolicitRouters]:
        """A link can carry packets: ask for its routers at once, if at all."""
        taken = {link.slot for other, link in self._links.items() if other != device}
        slot = next(slot for slot in count() if slot not in taken)
        self._links[device] = _Link(hardware_address, slot)
        if not self.solicits:
            return []
        self._solicitations[device] = 0
        return self._solicit(device, now)

    def link_lost(self, device: str) -> None:
        """A link is gone, with all that was known of it."""
        self._links.pop(device, None)
        self._places.pop(device, None)
        self._timers.cancel(device)

    def router_advertised(
        self,
        device: str,
        router: IPv6Address,
        prefixes: Iterable[IPv6Network],
        lifetime_s: float,
        *,
        verified: bool = False,
    ) -> None:
        """A router is heard (RFC 4861 section 6.3.4); one on an unknown link is ignored.

        `verified`: the advertisement came under AH, and the kernel found it authentic.
        """
        usable = [
            prefix
            for prefix in prefixes
            if prefix.prefixlen == 64
            and (prefix != self.vpn_prefix or verified or not self.authenticates)
        ]
        if device not in self._links or not usable or lifetime_s == 0:
            return
        self._timers.cancel(device)
        if self.vpn_prefix in usable:
            here = self._address(device, self.vpn_prefix) if self.moves_inside else None
            self._places[device] = Inside(device, router, here)
            return
        self._take_address(device, router, usable[0])

    def address_usable(self, device: str, address: IPv6Address) -> None:
        """Nobody else on the link has the care-of address: it is settled."""
        place = self._place_with(device, address)
        if isinstance(place, Tentative):
            del self._places[device]
            self._places[device] = Outside(device, place.router, address, self._links[device].slot)

    def address_duplicate(self, device: str, address: IPv6Address) -> None:
        """Somebody else on the link has the care-of address: take another one.

        Where all have been tried, the link is of no use until it is found again.
        """
        place = self._place_with(device, address)
        if place is None:
            return
        prefix = IPv6Network((address, 64), strict=False)
        self._duplicates[prefix] = (self._duplicates[prefix] + 1) % (1 + IDGEN_RETRIES)
        if self._duplicates[prefix]:
            self._take_address(device, place.router, prefix)
        else:
            self.link_lost(device)

    def _take_address(self, device: str, router: IPv6Address, prefix: IPv6Network) -> None:
        link = self._links[device]
        address = self._address(device, prefix)
        settled = isinstance(self._place_with(device, address), Outside)
        if self.waits and not settled:
            self._places[device] = Tentative(device, router, address)
        else:
            self._places[device] = Outside(device, router, address, link.slot)

    def _address(self, device: str, prefix: IPv6Network) -> IPv6Address:
        hardware_address = self._links[device].hardware_address
        identifier = interface_identifier(hardware_address, self._duplicates[prefix])
        return IPv6Address(int(prefix.network_address) | identifier)

    def _place_with(self, device: str, address: IPv6Address) -> Tentative | Outside | None:
        """Return a link's place if this is its care-of address: other news come too late."""
        place = self._places.get(device)
        if isinstance(place, Tentative | Outside) and place.care_of_address == address:
            return place
        return None

    def timer_expired(self, now: float) -> list[SolicitRouters]:
        """Ask again where no router has answered."""
        return [s for device in self._timers.pop_due(now) for s in self._solicit(device, now)]

    def _solicit(self, device: str, now: float) -> list[SolicitRouters]:
        self._solicitations[device] += 1
        self._timers.set(device, now + SOLICITATION.interval_s(self._solicitations[device]))
        return [SolicitRouters(device)]
