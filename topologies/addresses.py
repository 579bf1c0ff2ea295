"""The address plans of figure 1, as frozen data; documentation addresses only."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network

from mobivpn.host.movement import LINK_LOCAL_PREFIX, interface_identifier
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.variants import Embodiment, System, Variants


@dataclass(frozen=True, slots=True)
class AccessNetwork:
    """An access network [32]: its prefix, its router on it, and the link from there to inet."""

    name: str
    prefix: IPv6Network
    router: IPv6Address
    uplink: IPv6Network


@dataclass(frozen=True, slots=True)
class Plan:
    """Who has which address; `company` is the part that agents are told."""

    company: Company
    internal_router_lan: IPv6Address
    gateway_router: IPv6Address
    home_router: IPv6Address
    desktops: tuple[tuple[str, IPv6Address], ...]
    access: tuple[AccessNetwork, ...]

    @property
    def addresses(self) -> Mapping[str, IPv6Address]:
        """By which address hosts of the company are talked to: inside that of the VPN."""
        company = self.company
        return {
            **dict(self.desktops),
            **{node.name: node.internal_home_address for node in company.nodes},
            "r22": self.internal_router_lan,
            "vcm": company.vcm,
            "sg": company.security_gateway,
            "ha": company.home_agent,
        }


def _access_network(name: str, number: int) -> AccessNetwork:
    prefix = IPv6Network(f"2001:db8:{number}::/64")
    return AccessNetwork(name, prefix, prefix[1], IPv6Network(f"2001:db8:f{number}::/64"))


EVE = "eve"
"""The attacker's host, and the network that it offers."""
INSIDE_LINK = "r22-lan"
"""The interface by which r22 advertises the inside."""


def fixed_mac(interface: str) -> str:
    """Return the locally administered address that an interface of this name always has."""
    digest = hashlib.sha256(interface.encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def link_local(interface: str) -> IPv6Address:
    """Return the link-local address that follows from that."""
    identifier = interface_identifier(bytes.fromhex(fixed_mac(interface).replace(":", "")))
    return LINK_LOCAL_PREFIX[identifier]


USUAL_NODES = 3
"""How many mobile nodes there are unless a scenario says otherwise: figure 1's."""
HOME_NETWORK = IPv6Network("2001:db8:ee::/64")
"""The external home network, of the home agent's."""


def node_name(number: int) -> str:
    """Return the name of a mobile node; they are numbered from 1 on."""
    return f"mn{number}"


def _node_numbers(count: int) -> tuple[int, int]:
    """Return what the last bits of nodes' addresses begin from, and how many bits those are.

    No other host has an address from there on. More nodes than four bits number begin elsewhere,
    so that one prefix always has all of them, and nothing else.
    """
    return (0xD0, 4) if count < 1 << 4 else (0xD000, 12)


MOST_NODES = 999
"""Linux has 15 characters for an interface, and a home agent's tunnel tells the node's name."""


def node_prefix(count: int) -> IPv6Network:
    """Return the part of the home network that has the home addresses of so many nodes."""
    first, bits = _node_numbers(count)
    return IPv6Network((HOME_NETWORK[first], 128 - bits))


def _nodes(count: int) -> tuple[NodeIdentity, ...]:
    first, _ = _node_numbers(count)
    return tuple(
        NodeIdentity(
            node_name(number),
            internal_home_address=_PRIVATE_LAN[first + number],
            external_home_address=HOME_NETWORK[first + number],
        )
        for number in range(1, count + 1)
    )


_PRIVATE_LAN = IPv6Network("fd00:10::/64")

PLAN = Plan(
    company=Company(
        vpn_prefix=_PRIVATE_LAN,
        security_gateway=IPv6Address("2001:db8:5::5"),
        security_gateway_inside=IPv6Address("fd00:5::5"),
        internal_router=IPv6Address("fd00:5::1"),
        vcm=_PRIVATE_LAN[9],
        home_agent=HOME_NETWORK[1],
        nodes=_nodes(USUAL_NODES),
    ),
    internal_router_lan=_PRIVATE_LAN[1],
    gateway_router=IPv6Address("2001:db8:5::1"),
    home_router=HOME_NETWORK[0xFF],
    desktops=(
        ("fs", IPv6Address("fd00:10::16")),
        ("ws1", IPv6Address("fd00:10::a1")),
        ("ws2", IPv6Address("fd00:10::a2")),
        ("ws3", IPv6Address("fd00:10::a3")),
    ),
    access=tuple(
        _access_network(name, number) for number, name in enumerate(("wifi1", "wifi2", "cell"), 1)
    ),
)


_PUBLIC_LAN = IPv6Network("2001:db8:10::/64")


def _with_one_address(nodes: Iterable[NodeIdentity]) -> tuple[NodeIdentity, ...]:
    """Return nodes whose home address outside is the one inside as well (embodiment 2)."""
    return tuple(replace(node, internal_home_address=node.external_home_address) for node in nodes)


PUBLIC_PLAN = replace(
    PLAN,
    company=replace(
        PLAN.company,
        vpn_prefix=_PUBLIC_LAN,
        node_prefix=node_prefix(USUAL_NODES),
        security_gateway_inside=IPv6Address("2001:db8:15::5"),
        internal_router=IPv6Address("2001:db8:15::1"),
        vcm=_PUBLIC_LAN[9],
        nodes=_with_one_address(PLAN.company.nodes),
    ),
    internal_router_lan=_PUBLIC_LAN[1],
    desktops=tuple(
        (name, _PUBLIC_LAN[int(address) - int(PLAN.company.vpn_prefix.network_address)])
        for name, address in PLAN.desktops
    ),
)
"""The same network with public addresses inside, and one home address of each node."""

OPEN_PLAN = replace(PUBLIC_PLAN, company=replace(PUBLIC_PLAN.company, node_prefix=None))
"""That network without a VPN: home addresses are the home agent's alone, the LAN is one of many."""

PLANS = {Embodiment.PRIVATE: PLAN, Embodiment.PUBLIC: PUBLIC_PLAN}


def plan_of(variants: Variants, mobile_nodes: int = USUAL_NODES) -> Plan:
    """Return the plan of one of the seed's systems, with so many mobile nodes."""
    plan = OPEN_PLAN if variants.system is System.MIP6 else PLANS[variants.embodiment]
    nodes, prefix = _nodes(mobile_nodes), plan.company.node_prefix
    is_private = plan is PLAN
    company = replace(
        plan.company,
        nodes=nodes if is_private else _with_one_address(nodes),
        node_prefix=prefix and node_prefix(mobile_nodes),
        vcm_at=variants.vcm_at,
        vcm_sa=variants.vcm_sa,
        sg_binding=variants.sg_binding,
    )
    return replace(plan, company=company)
