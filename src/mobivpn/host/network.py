"""What a role wants of a host's network beside SAD and SPD: devices, addresses, routes, proxies."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, IPv6Network

from mobivpn.ipsec.databases import Rank

MAIN_TABLE = 254
"""The kernel's main routing table."""


@dataclass(frozen=True, slots=True)
class Dummy:
    """A device that swallows what reaches it: addresses live on it, whatever link there is."""

    device: str

    @property
    def rank(self) -> Rank:
        return Rank.INTERFACE

    @property
    def identity(self) -> Hashable:
        return ("device", self.device)


@dataclass(frozen=True, slots=True)
class Tunnel:
    """An IPv6-in-IPv6 tunnel (RFC 2473), as between a node and its home agent (RFC 6275 10.4.5)."""

    device: str
    local: IPv6Address
    remote: IPv6Address
    mtu: int

    @property
    def rank(self) -> Rank:
        return Rank.INTERFACE

    @property
    def identity(self) -> Hashable:
        return ("device", self.device)


class DuplicateDetection(Enum):
    """What an address waits for before it is used."""

    NONE = "none"
    """Nobody else on the link can have it."""
    OPTIMISTIC = "optimistic"
    """Used at once, while the link is asked (RFC 4429)."""
    CLASSIC = "classic"
    """Used when nobody on the link has objected for a second (RFC 4862 section 5.4)."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address on a device; `home` marks one that a type 2 routing header may name.

    A `deprecated` one is the source of nothing that does not ask for it (RFC 6724 section 5).
    """

    address: IPv6Address
    device: str
    prefix_length: int = 128
    home: bool = False
    deprecated: bool = False
    detection: DuplicateDetection = DuplicateDetection.NONE

    @property
    def rank(self) -> Rank:
        return Rank.ADDRESS

    @property
    def identity(self) -> Hashable:
        return ("address", self.address, self.device)


@dataclass(frozen=True, slots=True)
class NextHop:
    """A next hop as an object of its own: on carrier loss the kernel drops it with its routes.

    That is what makes a change of link fail closed however late an agent hears of it.
    """

    number: int
    device: str
    gateway: IPv6Address | None = None

    @property
    def rank(self) -> Rank:
        return Rank.NEXT_HOP

    @property
    def identity(self) -> Hashable:
        return ("next hop", self.number)


@dataclass(frozen=True, slots=True)
class Route:
    """A route through a next hop object, a gateway or a device; none of them means unreachable."""

    prefix: IPv6Network
    metric: int = 1024
    next_hop: int | None = None
    gateway: IPv6Address | None = None
    device: str | None = None
    table: int = MAIN_TABLE
    mtu: int | None = None

    @property
    def rank(self) -> Rank:
        return Rank.ROUTE

    @property
    def identity(self) -> Hashable:
        return ("route", self.table, self.prefix, self.metric)


@dataclass(frozen=True, slots=True)
class Rule:
    """Look up `table` for packets from a source prefix, or for those that came in by a device."""

    table: int
    preference: int
    source: IPv6Network | None = None
    incoming_device: str | None = None

    @property
    def rank(self) -> Rank:
        return Rank.ROUTE

    @property
    def identity(self) -> Hashable:
        return ("rule", self.preference, self.source, self.incoming_device)


@dataclass(frozen=True, slots=True)
class NeighbourProxy:
    """Answer neighbour solicitations for an absent node (RFC 6275 section 10.4.1)."""

    address: IPv6Address
    device: str

    @property
    def rank(self) -> Rank:
        return Rank.NEIGHBOUR

    @property
    def identity(self) -> Hashable:
        return ("proxy", self.address, self.device)
