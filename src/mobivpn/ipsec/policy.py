"""Security policies: what the SPD does with the traffic of a selector (RFC 4301 section 4.4.1)."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv6Address

from mobivpn.errors import CallerError
from mobivpn.ipsec.databases import Rank
from mobivpn.ipsec.sa import Mode
from mobivpn.ipsec.selector import Direction, TrafficSelector

ANY = IPv6Address("::")


class PolicyAction(Enum):
    """The three dispositions of RFC 4301."""

    PROTECT = "protect"
    BYPASS = "bypass"
    DISCARD = "discard"


class Precedence(IntEnum):
    """Order of the SPD: the smaller goes first.

    Mobility headers come before data, one pair of nodes before the whole VPN, and everything before
    the catch-all that keeps VPN addresses from ever leaving in clear.
    """

    MOBILITY_PROTECTED = 100
    MOBILITY_BY_GATEWAY = 103
    MOBILITY_BY_HOME_AGENT = 105
    MOBILITY = 110
    SIGNALLING = 200
    BY_GATEWAY = 400
    PAIR = 500
    VPN = 1000
    UNPROTECTED = 2000
    CATCH_ALL = 9000


@dataclass(frozen=True, slots=True)
class EspTemplate:
    """Protect by ESP; source `::` and no reqid accept any SA to `destination`.

    `optional` is for inbound traffic that comes with or without it, told apart by its own means.
    """

    source: IPv6Address
    destination: IPv6Address
    mode: Mode
    reqid: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class AhTemplate:
    """Authenticate by AH in transport mode (RFC 4302)."""

    source: IPv6Address
    destination: IPv6Address
    reqid: int


@dataclass(frozen=True, slots=True)
class HomeAddressTemplate:
    """The home address option (RFC 6275 section 6.3), where a binding says so.

    With `care_of_address`, the address that the binding says: when that becomes another, the policy
    does, and so no socket goes on sending on the former link (docs/adr/0010).
    """

    source: IPv6Address
    destination: IPv6Address
    care_of_address: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class RoutingHeaderTemplate:
    """The type 2 routing header (RFC 6275 section 6.4), where a binding says so."""

    source: IPv6Address
    destination: IPv6Address


Template = EspTemplate | AhTemplate | HomeAddressTemplate | RoutingHeaderTemplate


@dataclass(frozen=True, slots=True)
class SecurityPolicy:
    """One SPD entry (RFC 9061 `spd-entry`).

    `templates` are the layers of a PROTECT policy, inside out. `device` binds an entry to one
    interface (for FORWARD: the one by which a packet leaves), `mark` to packets so marked by their
    sender, or by the association that brought them.
    """

    name: str
    direction: Direction
    selector: TrafficSelector
    action: PolicyAction
    precedence: Precedence
    templates: tuple[Template, ...] = ()
    device: str | None = None
    mark: int | None = None

    def __post_init__(self) -> None:
        if (self.action is PolicyAction.PROTECT) != bool(self.templates):
            raise CallerError(f"policy {self.name}: PROTECT, and only PROTECT, has templates")

    @property
    def rank(self) -> Rank:
        """Policies stand before any address or route that could feed them."""
        return Rank.POLICY

    @property
    def identity(self) -> Hashable:
        """Linux keeps one entry per direction, selector, device and mark, at any precedence."""
        return (self.direction, self.selector, self.device, self.mark)
