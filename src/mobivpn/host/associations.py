"""The associations that the seed takes as given ("pre-existing"), by the ends that share them."""

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from ipaddress import IPv6Address, IPv6Network

from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.minting import RandomBytes, SaPair, mint_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.ipsec.selector import EVERYWHERE, host


class Purpose(Enum):
    """What an association is for; the value is its reqid, the same on both ends."""

    NODE_GATEWAY = 10
    """All VPN traffic of an external node: ESP tunnel between external home address and sg."""
    NODE_GATEWAY_MOBILITY = 11
    """Binding updates of an external node to sg, and their acknowledgements: ESP transport."""
    NODE_GATEWAY_INSIDE = 12
    """The binding update of lifetime 0 that a node sends once it is home: ESP transport.

    In embodiment 2 a node registers inside as it does outside, and has none of these.
    """
    NODE_VCM = 30
    """206 to 212: ESP transport between internal addresses, inside NODE_GATEWAY while away."""
    NODE_HOME_AGENT = 40
    """Home registration: ESP transport (RFC 4877 section 4.1)."""
    NODE_HOME_AGENT_TUNNEL = 41
    """HoTI and HoT: ESP tunnel whose end moves with the care-of address (RFC 4877 section 4.2)."""
    GATEWAY_VCM = 50
    """202 and 204: ESP transport."""
    GATEWAY_ROUTER = 60
    """sg tells r22 which nodes are absent: ESP transport."""


VCM_PURPOSES = frozenset({Purpose.NODE_VCM, Purpose.GATEWAY_VCM})

FIRST_PAIR_REQID = 1000
"""Reqids from here on belong to the pairs that the VCM makes."""

Associations = Mapping[tuple[Purpose, str], SaPair]
"""Pairs by purpose and mobile node ("" where no node is an end); `forward` leaves the first end."""


def mint_associations(
    company: Company, algorithm: EspAlgorithm, random_bytes: RandomBytes
) -> dict[tuple[Purpose, str], SaPair]:
    """Return fresh keys for the whole testbed; each host is then given its own share.

    A VCM in sg has none (seed: "there will not be separate SAs from the VCM to the MNs"). The
    MN-SG pair carries what policies say: in embodiment 2 the VPN has more than one prefix.
    """

    def has(purpose: Purpose) -> bool:
        if purpose is Purpose.NODE_GATEWAY_INSIDE:
            return not company.is_public
        return purpose not in VCM_PURPOSES or not company.vcm_in_gateway

    def inner(purpose: Purpose, name: str) -> tuple[IPv6Network, IPv6Network] | None:
        if purpose is Purpose.NODE_GATEWAY:
            far = EVERYWHERE if company.is_public else company.vpn_prefix
            return host(company.node(name).internal_home_address), far
        if purpose is Purpose.NODE_HOME_AGENT_TUNNEL:
            return host(company.node(name).external_home_address), EVERYWHERE
        return None

    def mint(purpose: Purpose, name: str, first: IPv6Address, second: IPv6Address) -> SaPair:
        tunnel = purpose in (Purpose.NODE_GATEWAY, Purpose.NODE_HOME_AGENT_TUNNEL)
        return mint_pair(
            name=f"{name}:{purpose.name.lower()}" if name else purpose.name.lower(),
            reqid=purpose.value,
            first=first,
            second=second,
            mode=Mode.TUNNEL if tunnel else Mode.TRANSPORT,
            algorithm=algorithm,
            random_bytes=random_bytes,
            inner=inner(purpose, name),
        )

    sg, inside = company.security_gateway, company.security_gateway_inside
    pairs = {
        (purpose, ""): mint(purpose, "", inside, other)
        for purpose, other in (
            (Purpose.GATEWAY_VCM, company.vcm),
            (Purpose.GATEWAY_ROUTER, company.internal_router),
        )
        if has(purpose)
    }
    for node in company.nodes:
        internal, external = node.internal_home_address, node.external_home_address
        for purpose, first, second in (
            (Purpose.NODE_GATEWAY, external, sg),
            (Purpose.NODE_GATEWAY_MOBILITY, external, sg),
            (Purpose.NODE_GATEWAY_INSIDE, internal, inside),
            (Purpose.NODE_VCM, internal, company.vcm),
            (Purpose.NODE_HOME_AGENT, external, company.home_agent),
            (Purpose.NODE_HOME_AGENT_TUNNEL, external, company.home_agent),
        ):
            if has(purpose):
                pairs[purpose, node.name] = mint(purpose, node.name, first, second)
    return pairs


ENDS_BY_ROLE: Mapping[str, frozenset[Purpose]] = {
    "mobile_node": frozenset(p for p in Purpose if p.name.startswith("NODE_")),
    "security_gateway": frozenset(
        {
            Purpose.NODE_GATEWAY,
            Purpose.NODE_GATEWAY_MOBILITY,
            Purpose.NODE_GATEWAY_INSIDE,
            Purpose.GATEWAY_VCM,
            Purpose.GATEWAY_ROUTER,
        }
    ),
    "vcm": VCM_PURPOSES,
    "internal_router": frozenset({Purpose.GATEWAY_ROUTER}),
    "home_agent": frozenset({Purpose.NODE_HOME_AGENT, Purpose.NODE_HOME_AGENT_TUNNEL}),
}
"""Which associations a role is an end of: nobody is given anybody else's keys."""


def share_of(associations: Associations, role: str, node: str | None) -> Associations:
    """Return what one host may know: those of its role and, for a mobile node, its own only."""
    return {
        (purpose, name): pair
        for (purpose, name), pair in associations.items()
        if purpose in ENDS_BY_ROLE[role] and (node is None or name == node)
    }


def at_care_of_address(pair: SaPair, care_of_address: IPv6Address) -> SaPair:
    """Return the MN-HA tunnel pair with its moving end at `care_of_address` (RFC 4877 4.2)."""
    return SaPair(
        forward=replace(pair.forward, source=care_of_address),
        backward=replace(pair.backward, destination=care_of_address),
    )


def identity_end(node: NodeIdentity, purpose: Purpose) -> IPv6Address:
    """Return the node's own end of an association of that purpose."""
    if purpose in (Purpose.NODE_VCM, Purpose.NODE_GATEWAY_INSIDE):
        return node.internal_home_address
    return node.external_home_address
