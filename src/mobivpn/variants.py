"""The seed describes more than one system: which of its variants a network runs.

Every option has one enumeration here; its values are what a scenario says and a command line takes.
"""

from dataclasses import dataclass
from enum import Enum


class Embodiment(Enum):
    """Which addresses the VPN uses inside (seed: "Embodiment 1", "Embodiment 2")."""

    PRIVATE = "1"
    """Private ones, and a home address of a node for inside and one for outside."""
    PUBLIC = "2"
    """Public ones, and one home address of a node, which has a care-of address inside as well."""


class GatewayBinding(Enum):
    """Whether a node outside tells sg its care-of address (seed: "If necessary")."""

    YES = "yes"
    NO = "no"
    """Then sg hears of it by the use of MN-SG, and reaches it by its home agent."""


class VcmAssociation(Enum):
    """How the MN-VCM association travels while its node is outside."""

    NESTED = "nested"
    """Inside the MN-SG association."""
    DIRECT = "direct"
    """Beside it, between public addresses: by the home agent, and as ESP through sg."""


class VcmPlace(Enum):
    """Which host is the VPN connectivity manager."""

    OWN = "vcm"
    """One of its own."""
    FILE_SERVER = "fs"
    ROUTER = "r22"
    GATEWAY = "sg"
    """The gateway's: the MN-SG associations carry its messages, it has none of its own."""


class KeyScheme(Enum):
    """Where the secrets of a direct pair come from (seed: "General")."""

    SEPARATE = "separate"
    """The VCM draws a key for each direction."""
    SHARED = "shared"
    """The VCM draws one key for both directions."""
    ASYMMETRIC = "asymmetric"
    """The VCM makes a key pair for each node; the nodes derive a key for each direction."""
    BLIND = "blind"
    """Each node makes its key pair itself; the VCM passes on public keys and cannot read along."""


class Trigger(Enum):
    """What makes the gateway tell the VCM of a session."""

    SESSION = "session"
    """One that exists when its second node leaves."""
    INITIATION = "initiation"
    """One whose first packet comes while both nodes are outside."""
    BOTH = "both"
    """Either."""


class Notice(Enum):
    """How 202 tells of a node and of its session."""

    COMBINED = "combined"
    """In one message, where the node's leaving is what makes a session of two external nodes."""
    SEPARATE = "separate"
    """Each in a message of its own."""


class InsideAuthentication(Enum):
    """What a node asks of a router before it believes to be inside."""

    NONE = "none"
    """The company's prefix."""
    AH = "ah"
    """That prefix, in an advertisement that the kernel's AH has verified (seed: "fake network")."""


class BestPath(Enum):
    """How far the traffic of two nodes outside may go from the gateway (to compare the paths)."""

    DIRECT = "direct"
    """All the way."""
    VIA_HOME_AGENTS = "via_home_agents"
    """The VCM makes a pair, but nodes tell each other no care-of address: no 218, no 220."""
    VIA_GATEWAY = "via_gateway"
    """The VCM makes no pair (no 206, no 210): hub and spoke."""

    @property
    def has_pairs(self) -> bool:
        """Whether the VCM makes SA pairs."""
        return self is not BestPath.VIA_GATEWAY

    @property
    def has_bindings(self) -> bool:
        """Whether nodes register with each other (RFC 6275: route optimisation)."""
        return self is BestPath.DIRECT


class System(Enum):
    """Which VPN carries the traffic of nodes outside (to compare with others)."""

    MOBIVPN = "mobivpn"
    """The seed's."""
    WIREGUARD = "wireguard"
    """WireGuard, hub and spoke."""
    STRONGSWAN = "strongswan"
    """strongSwan, hub and spoke: IKEv2 with MOBIKE (RFC 4555)."""
    MIP6 = "mip6"
    """Plain Mobile IPv6 (RFC 6275) with route optimisation, and without IPsec: no VPN."""

    @property
    def is_foreign(self) -> bool:
        """Whether it is no variant of the seed's."""
        return self is not System.MOBIVPN

    @property
    def is_hub(self) -> bool:
        """Whether it is a hub at sg, with spokes."""
        return self in (System.WIREGUARD, System.STRONGSWAN)

    @property
    def has_policies(self) -> bool:
        """Whether its tunnels are what policies of the SPD say, and no device of their own."""
        return self is System.STRONGSWAN


@dataclass(frozen=True, slots=True)
class Variants:
    """One choice of each."""

    system: System = System.MOBIVPN

    embodiment: Embodiment = Embodiment.PRIVATE
    sg_binding: GatewayBinding = GatewayBinding.YES
    vcm_sa: VcmAssociation = VcmAssociation.NESTED
    vcm_at: VcmPlace = VcmPlace.OWN
    keys: KeyScheme = KeyScheme.SEPARATE
    trigger: Trigger = Trigger.BOTH
    notice: Notice = Notice.SEPARATE
    inside_auth: InsideAuthentication = InsideAuthentication.NONE
    best_path: BestPath = BestPath.DIRECT


USUAL = Variants()
