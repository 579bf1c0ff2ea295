"""What the kernels of the fixed hosts hold: home agent, internal router, VCM.

Functions of the bindings that stand, like `mobivpn.host.node_databases` for the nodes that move.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from zlib import crc32

from mobivpn.host.advertisements import sent_under
from mobivpn.host.associations import Associations, Purpose, at_care_of_address
from mobivpn.host.mtu import inner_mtu
from mobivpn.host.network import MAIN_TABLE, NeighbourProxy, Route, Rule, Tunnel
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.databases import Databases, Entry, databases
from mobivpn.ipsec.minting import SaPair
from mobivpn.ipsec.policy import (
    ANY,
    EspTemplate,
    HomeAddressTemplate,
    PolicyAction,
    Precedence,
    RoutingHeaderTemplate,
    SecurityPolicy,
    Template,
)
from mobivpn.ipsec.route_optimisation import (
    ANY_HOME_ADDRESS_OPTION,
    Extension,
    RouteOptimisation,
)
from mobivpn.ipsec.sa import AuthenticationAssociation, Mode, SecurityAssociation
from mobivpn.ipsec.selector import (
    EVERYWHERE,
    IPPROTO_MH,
    Direction,
    TrafficSelector,
    host,
)

NOWHERE_TABLE = 102
"""Has nothing but an unreachable route."""


def transport_policies(
    sending: SecurityAssociation, receiving: SecurityAssociation
) -> Iterator[SecurityPolicy]:
    """Yield the two policies that put all traffic between two addresses under transport mode."""
    selector = TrafficSelector(host(sending.source), host(sending.destination))
    for direction, sa in ((Direction.OUTBOUND, sending), (Direction.INBOUND, receiving)):
        yield SecurityPolicy(
            name=sa.name,
            direction=direction,
            selector=selector,
            action=PolicyAction.PROTECT,
            precedence=Precedence.SIGNALLING,
            templates=(EspTemplate(sa.source, sa.destination, Mode.TRANSPORT, sa.reqid),),
        )


def registration_policies(
    own: IPv6Address, peer: IPv6Address, reqid: int, *, away: bool
) -> Iterator[SecurityPolicy]:
    """Yield the policies for binding updates from `peer` and acknowledgements to it.

    `away`: the peer writes from a care-of address (RFC 6275 section 9.5.1); without, from its home
    address itself. The acknowledgement's routing header is the sender's business: it goes to where
    the update came from, whatever is bound (section 9.5.4).
    """
    selector = TrafficSelector(host(own), host(peer), IPPROTO_MH)
    yield SecurityPolicy(
        name=f"mobility/{peer}/in",
        direction=Direction.INBOUND,
        selector=selector,
        action=PolicyAction.PROTECT,
        precedence=Precedence.MOBILITY_PROTECTED,
        templates=(
            EspTemplate(peer, own, Mode.TRANSPORT, reqid),
            *((HomeAddressTemplate(ANY, own),) if away else ()),
        ),
    )
    yield SecurityPolicy(
        name=f"mobility/{peer}/out",
        direction=Direction.OUTBOUND,
        selector=selector,
        action=PolicyAction.PROTECT,
        precedence=Precedence.MOBILITY_PROTECTED,
        templates=(EspTemplate(own, peer, Mode.TRANSPORT, reqid),),
    )


def unprotected_registration(own: IPv6Address, peer: IPv6Address) -> SecurityPolicy:
    """Return what lets a peer's binding updates in from any care-of address."""
    return SecurityPolicy(
        name=f"mobility/{peer}/in",
        direction=Direction.INBOUND,
        selector=TrafficSelector(host(own), host(peer), IPPROTO_MH),
        action=PolicyAction.PROTECT,
        precedence=Precedence.MOBILITY,
        templates=(HomeAddressTemplate(ANY, own),),
    )


def binding(
    own: IPv6Address, peer: IPv6Address, care_of_address: IPv6Address
) -> Iterator[RouteOptimisation]:
    """Yield a binding of a peer, for what is sent to it and what comes from it."""
    yield RouteOptimisation(Extension.ROUTING_HEADER, own, peer, care_of_address)
    yield RouteOptimisation(Extension.HOME_ADDRESS_OPTION, peer, own, care_of_address)


def bound_correspondent(
    own: IPv6Address, peer: IPv6Address, care_of_address: IPv6Address
) -> Iterator[Entry]:
    """Yield a binding, and what admits unprotected data from its care-of address, and no other.

    RFC 6275 section 9.3.1. Under ESP, data is taken from any: the association vouches for it.
    """
    yield from binding(own, peer, care_of_address)
    yield SecurityPolicy(
        name=f"bound/{peer}/in",
        direction=Direction.INBOUND,
        selector=TrafficSelector(host(own), host(peer)),
        action=PolicyAction.PROTECT,
        precedence=Precedence.VPN,
        templates=(HomeAddressTemplate(peer, own), RoutingHeaderTemplate(ANY, own)),
    )


def routing_header_of_data(
    own: IPv6Address, peer: IPv6Address, *more: Template
) -> Iterator[SecurityPolicy]:
    """Yield what puts a routing header into unprotected data to a bound peer, and `more`.

    RFC 6275 section 9.3.2. Not at a home agent: it tunnels (section 10.4.2), and on the home link
    a neighbour advertisement to a node that is just back would go to where it was.
    """
    yield SecurityPolicy(
        name=f"bound/{peer}/out",
        direction=Direction.OUTBOUND,
        selector=TrafficSelector(host(own), host(peer)),
        action=PolicyAction.PROTECT,
        precedence=Precedence.UNPROTECTED,
        templates=(RoutingHeaderTemplate(own, peer), *more),
    )


def tunnel_name(node: NodeIdentity, care_of_address: IPv6Address) -> str:
    """Return the name of the home agent's tunnel to a node at one care-of address."""
    return f"to-{node.name}-{crc32(care_of_address.packed) >> 8:06x}"


def both(pair: SaPair) -> tuple[SecurityAssociation, SecurityAssociation]:
    """Return the two associations of a pair."""
    return pair.forward, pair.backward


@dataclass(frozen=True, slots=True)
class HomeAgentDatabases:
    """The home agent of the external home addresses (seed: external HA); not trusted.

    Without associations, signalling with nodes is unprotected (plain Mobile IPv6).
    """

    company: Company
    associations: Associations
    home_device: str
    link_mtu: int = 1500

    def at(
        self,
        bindings: Mapping[str, IPv6Address],
        former: Iterable[tuple[str, IPv6Address]] = (),
    ) -> Databases:
        """Return the databases for care-of addresses by node name.

        From `former` ones of bound nodes, packets may still be under way (docs/adr/0014).
        """
        former = tuple(former)
        own = self.company.home_agent
        entries: list[Entry] = [
            ANY_HOME_ADDRESS_OPTION,
            Route(EVERYWHERE, table=NOWHERE_TABLE),
        ]
        for node in self.company.nodes:
            home = node.external_home_address
            reqid = Purpose.NODE_HOME_AGENT.value
            if self.associations:
                entries += both(self.associations[Purpose.NODE_HOME_AGENT, node.name])
                entries += registration_policies(own, home, reqid, away=True)
            else:
                entries.append(unprotected_registration(own, home))
            if node.name in bindings:
                entries += self._bound(node, bindings[node.name])
                for name, care_of_address in former:
                    if name == node.name:
                        entries += self._tunnel(node, care_of_address)
        return databases(entries)

    def _bound(self, node: NodeIdentity, care_of_address: IPv6Address) -> Iterator[Entry]:
        own, home = self.company.home_agent, node.external_home_address
        yield from bound_correspondent(own, home, care_of_address)
        if self.associations:
            yield from self._protected_tests(node, care_of_address)
        yield from self._tunnel(node, care_of_address)
        yield Route(host(home), device=tunnel_name(node, care_of_address))
        yield NeighbourProxy(home, self.home_device)

    def _protected_tests(self, node: NodeIdentity, care_of_address: IPv6Address) -> Iterator[Entry]:
        own, home = self.company.home_agent, node.external_home_address
        reqid = Purpose.NODE_HOME_AGENT_TUNNEL.value
        yield from both(
            at_care_of_address(
                self.associations[Purpose.NODE_HOME_AGENT_TUNNEL, node.name], care_of_address
            )
        )
        # Of a packet that it forwards Linux does not know the mobility header's type: a selector
        # with one would let home tests pass in clear (net/xfrm/xfrm_policy.c, decode_session6).
        yield SecurityPolicy(
            name=f"{node.name}/mobility_to_node",
            direction=Direction.OUTBOUND,
            selector=TrafficSelector(EVERYWHERE, host(home), IPPROTO_MH),
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=(EspTemplate(own, care_of_address, Mode.TUNNEL, reqid),),
        )
        # Tests come under ESP, what else the node sends as a correspondent by the plain tunnel.
        yield SecurityPolicy(
            name=f"{node.name}/mobility",
            direction=Direction.FORWARD,
            selector=TrafficSelector(EVERYWHERE, host(home), IPPROTO_MH),
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=(EspTemplate(ANY, own, Mode.TUNNEL, reqid, optional=True),),
        )

    def _tunnel(self, node: NodeIdentity, care_of_address: IPv6Address) -> Iterator[Entry]:
        device = tunnel_name(node, care_of_address)
        yield Tunnel(device, self.company.home_agent, care_of_address, self.link_mtu - 40)
        # RFC 6275 10.4.5: what comes out of a node's tunnel comes from its home address.
        home = host(node.external_home_address)
        yield Rule(MAIN_TABLE, preference=90, source=home, incoming_device=device)
        yield Rule(NOWHERE_TABLE, preference=91, incoming_device=device)


@dataclass(frozen=True, slots=True)
class RouterDatabases:
    """r22 as home agent of the internal home addresses: stands in for the nodes that are absent.

    With `advertisements`, what it advertises on the LAN goes under that. In embodiment 2 it routes
    the home addresses, none of which is of the LAN: to the care-of addresses of the nodes inside.
    """

    company: Company
    associations: Associations
    lan_device: str
    gateway_device: str
    link_mtu: int = 1500
    advertisements: AuthenticationAssociation | None = None

    def at(
        self,
        absent: Iterable[NodeIdentity],
        present: Mapping[IPv6Address, IPv6Address] | None = None,
    ) -> Databases:
        """Return the databases while nodes are away, or `present` (home, care-of address)."""
        pair = self.associations[Purpose.GATEWAY_ROUTER, ""]
        entries: list[Entry] = [
            *both(pair),
            *transport_policies(sending=pair.backward, receiving=pair.forward),
        ]
        if self.advertisements is not None:
            entries += sent_under(self.advertisements, self.lan_device)
        for node in absent:
            if not self.company.is_public:
                entries.append(NeighbourProxy(node.internal_home_address, self.lan_device))
            entries.append(
                Route(
                    host(node.internal_home_address),
                    gateway=self.company.security_gateway_inside,
                    device=self.gateway_device,
                    mtu=inner_mtu(self.link_mtu),
                )
            )
        for home_address, care_of_address in (present or {}).items():
            entries.append(
                Route(
                    host(home_address),
                    gateway=care_of_address,
                    device=self.lan_device,
                    mtu=inner_mtu(self.link_mtu),
                )
            )
        return databases(entries)


@dataclass(frozen=True, slots=True)
class ManagerDatabases:
    """The VCM's own associations with sg and with every mobile node; in sg it has none."""

    company: Company
    associations: Associations

    def all(self) -> Databases:
        """Return the databases; they never change."""
        if self.company.vcm_in_gateway:
            return ()
        gateway = self.associations[Purpose.GATEWAY_VCM, ""]
        entries: list[Entry] = [
            *both(gateway),
            *transport_policies(sending=gateway.backward, receiving=gateway.forward),
        ]
        for node in self.company.nodes:
            pair = self.associations[Purpose.NODE_VCM, node.name]
            entries += both(pair)
            entries += transport_policies(sending=pair.backward, receiving=pair.forward)
        return databases(entries)
