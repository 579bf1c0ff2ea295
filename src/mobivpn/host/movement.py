"""Movement detection: which link, and whether it is inside (seed: SPD and prefixes, figure 2).

A node is inside where a router advertises the company's own prefix. Between losing one link and
hearing a router on the next it is detached, which for its policies is the same as outside.
"""

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network


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
    """On a foreign link; `updating` are correspondents to whom a first binding update is on its way."""

    device: str
    router: IPv6Address
    care_of_address: IPv6Address
    updating: frozenset[IPv6Address] = field(default=frozenset())


Place = Detached | Inside | Outside
