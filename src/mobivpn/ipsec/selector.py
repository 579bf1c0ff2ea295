"""Traffic selectors (RFC 4301 section 4.4.1.1; RFC 9061 `traffic-selector`)."""

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from mobivpn.errors import CallerError

IPPROTO_MH = 135
IPPROTO_ESP = 50
IPPROTO_ICMPV6 = 58
ROUTER_ADVERTISEMENT = 134
"""ICMPv6 type (RFC 4861 section 4.2)."""
EVERYWHERE = IPv6Network("::/0")


class MobilityType(IntEnum):
    """Mobility header types that policies tell apart (RFC 6275 section 6.1)."""

    HOME_TEST_INIT = 1
    HOME_TEST = 3
    BINDING_UPDATE = 5
    BINDING_ACKNOWLEDGEMENT = 6


class Direction(Enum):
    """Which way a policy looks, seen from the host that holds it; FORWARD is Linux's third one."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    FORWARD = "forward"


# Databases are derived anew at every cause, always of the same addresses.
@lru_cache(maxsize=1024)
def host(address: IPv6Address) -> IPv6Network:
    """Return the /128 prefix of one address."""
    return IPv6Network((address, 128))


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """Packets between two prefixes, `local` being the side of the host that holds the entry.

    `mobility_type` narrows protocol 135 to one mobility header type (RFC 4301 4.4.1.1: the MH type
    is a selector); Linux matches it only in what the host itself sends. `icmp_type` does the same
    for ICMPv6.
    """

    local_prefix: IPv6Network
    remote_prefix: IPv6Network
    inner_protocol: int | None = None
    mobility_type: int | None = None
    icmp_type: int | None = None

    def __post_init__(self) -> None:
        if self.mobility_type is not None and self.inner_protocol != IPPROTO_MH:
            raise CallerError("selector: a mobility type needs inner protocol 135")
        if self.icmp_type is not None and self.inner_protocol != IPPROTO_ICMPV6:
            raise CallerError("selector: an ICMP type needs inner protocol 58")
