"""What the security gateway's kernel holds, as a function of which nodes are outside.

Hairpin traffic has to be seen on the inside (seed: sg monitors the headers), so it is decrypted,
goes to r22 in clear, comes back and is encrypted again: outbound policies are bound to the outside
device and forward policies to the inside one, and what comes from the LAN has a routing table of
its own.

A VCM in sg speaks from an address of its own, to nodes that are outside and inside their MN-SG
associations alone (docs/adr/0016).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from mobivpn.host.associations import Associations, Purpose
from mobivpn.host.fixed_databases import (
    binding,
    both,
    bound_correspondent,
    registration_policies,
    routing_header_of_data,
    transport_policies,
)
from mobivpn.host.mtu import inner_mtu
from mobivpn.host.network import Route, Rule
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.databases import Databases, Entry, databases
from mobivpn.ipsec.policy import (
    ANY,
    EspTemplate,
    HomeAddressTemplate,
    PolicyAction,
    Precedence,
    RoutingHeaderTemplate,
    SecurityPolicy,
)
from mobivpn.ipsec.route_optimisation import ANY_HOME_ADDRESS_OPTION
from mobivpn.ipsec.sa import Mode
from mobivpn.ipsec.selector import (
    EVERYWHERE,
    IPPROTO_ESP,
    Direction,
    TrafficSelector,
    host,
)

FROM_LAN_TABLE = 101
"""Routes of packets that come from the LAN: only nodes that are outside are reached through sg.

Those of a VCM in sg as well: there is nothing else that it may reach.
"""
FROM_GATEWAY_TABLE = 102
"""Routes of what sg sends itself, where home addresses are the VPN's (docs/adr/0019)."""


@dataclass(frozen=True, slots=True)
class GatewayDatabases:
    """The seed's gateway [20] as an IPsec end point and a filter between inside and outside."""

    company: Company
    associations: Associations
    inside_device: str
    outside_device: str
    outside_router: IPv6Address
    link_mtu: int = 1500

    def at(self, outside: Mapping[str, IPv6Address | None]) -> Databases:
        """Return the databases while these nodes are outside.

        By node name, the care-of address, or None where sg knows no binding and the node is
        reached through its home agent.
        """
        return databases(
            (
                *self._associations(),
                ANY_HOME_ADDRESS_OPTION,
                *self._filter(),
                *(self._vcm() if self.company.vcm_in_gateway else ()),
                *(self._vcm_associations() if self.company.vcm_is_direct else ()),
                *(
                    Route(prefix, metric=4096, table=FROM_LAN_TABLE)
                    for prefix in self.company.vpn_prefixes.values()
                ),
                Rule(FROM_LAN_TABLE, preference=90, incoming_device=self.inside_device),
                *self._to_home_addresses(),
                *(
                    entry
                    for node in self.company.nodes
                    if node.name in outside
                    for entry in self._outside(node, outside[node.name])
                ),
            )
        )

    def _associations(self) -> Iterator[Entry]:
        """Yield what always stands: the seed's "inbound SA in SG is always active"."""
        company = self.company
        vcm = () if company.vcm_in_gateway else (Purpose.GATEWAY_VCM,)
        for purpose in (*vcm, Purpose.GATEWAY_ROUTER):
            pair = self.associations[purpose, ""]
            yield from both(pair)
            yield from transport_policies(sending=pair.forward, receiving=pair.backward)
        for node in company.nodes:
            for purpose in (
                Purpose.NODE_GATEWAY,
                Purpose.NODE_GATEWAY_MOBILITY,
                Purpose.NODE_GATEWAY_INSIDE,
            ):
                if (purpose, node.name) in self.associations:
                    yield from both(self.associations[purpose, node.name])
            yield from registration_policies(
                company.security_gateway,
                node.external_home_address,
                Purpose.NODE_GATEWAY_MOBILITY.value,
                away=True,
            )
            if not company.is_public:
                yield from registration_policies(
                    company.security_gateway_inside,
                    node.internal_home_address,
                    Purpose.NODE_GATEWAY_INSIDE.value,
                    away=False,
                )
            for prefix in company.vpn_prefixes.values():
                yield SecurityPolicy(
                    name=f"{node.name}/forward",
                    direction=Direction.FORWARD,
                    selector=TrafficSelector(prefix, host(node.internal_home_address)),
                    action=PolicyAction.PROTECT,
                    precedence=Precedence.VPN,
                    templates=(
                        EspTemplate(
                            node.external_home_address,
                            company.security_gateway,
                            Mode.TUNNEL,
                            Purpose.NODE_GATEWAY.value,
                        ),
                        HomeAddressTemplate(ANY, company.security_gateway),
                    ),
                    device=self.inside_device,
                )

    def _to_home_addresses(self) -> Iterator[Entry]:
        """Yield what leads MN-SG to the home agent, and not to where a home address is inside.

        Nor may it have the MTU of what goes there: a tunnel would take its overhead off twice.
        """
        if self.company.node_prefix is not None:
            source = host(self.company.security_gateway)
            yield Rule(FROM_GATEWAY_TABLE, preference=91, source=source)
            yield Route(
                self.company.node_prefix,
                gateway=self.outside_router,
                device=self.outside_device,
                table=FROM_GATEWAY_TABLE,
            )

    def _outside(self, node: NodeIdentity, care_of_address: IPv6Address | None) -> Iterator[Entry]:
        sg, home = self.company.security_gateway, node.external_home_address
        if care_of_address is not None and self.company.is_public:
            yield from binding(sg, home, care_of_address)
        elif care_of_address is not None:
            yield from bound_correspondent(sg, home, care_of_address)
            yield from routing_header_of_data(sg, home)
        node_address = host(node.internal_home_address)
        to_node = [
            SecurityPolicy(
                name=f"{node.name}/out",
                direction=Direction.OUTBOUND,
                selector=TrafficSelector(prefix, node_address),
                action=PolicyAction.PROTECT,
                precedence=Precedence.VPN,
                templates=(
                    EspTemplate(sg, home, Mode.TUNNEL, Purpose.NODE_GATEWAY.value),
                    *((RoutingHeaderTemplate(sg, home),) if care_of_address is not None else ()),
                ),
                device=self.outside_device,
            )
            for prefix in self.company.vpn_prefixes.values()
        ]
        yield from to_node
        if self.company.vcm_in_gateway:
            # What a host sends of its own is not looked up by device, as what it forwards is.
            yield replace(
                to_node[0],
                name=f"{node.name}/vcm/out",
                selector=TrafficSelector(host(self.company.vcm), node_address),
                precedence=Precedence.SIGNALLING,
                device=None,
            )
        yield Route(
            host(node.internal_home_address),
            gateway=self.outside_router,
            device=self.outside_device,
            table=FROM_LAN_TABLE,
            mtu=inner_mtu(self.link_mtu),
        )

    def _vcm_associations(self) -> Iterator[SecurityPolicy]:
        """Yield what lets the ESP between the VCM and the nodes through, and nothing else of it."""
        for node in self.company.nodes:
            for direction, device in (
                (Direction.OUTBOUND, self.outside_device),
                (Direction.FORWARD, self.inside_device),
            ):
                yield SecurityPolicy(
                    name=f"{node.name}/vcm/{direction.value}",
                    direction=direction,
                    selector=TrafficSelector(
                        host(self.company.vcm), host(node.internal_home_address), IPPROTO_ESP
                    ),
                    action=PolicyAction.BYPASS,
                    precedence=Precedence.SIGNALLING,
                    device=device,
                )

    def _vcm(self) -> Iterator[Entry]:
        """Yield what holds a VCM in sg to the MN-SG associations (the way out: `_outside`)."""
        vcm, sg = host(self.company.vcm), self.company.security_gateway
        yield Rule(FROM_LAN_TABLE, preference=89, source=vcm)
        for node in self.company.nodes:
            yield SecurityPolicy(
                name=f"{node.name}/vcm/in",
                direction=Direction.INBOUND,
                selector=TrafficSelector(vcm, host(node.internal_home_address)),
                action=PolicyAction.PROTECT,
                precedence=Precedence.SIGNALLING,
                templates=(
                    EspTemplate(
                        node.external_home_address, sg, Mode.TUNNEL, Purpose.NODE_GATEWAY.value
                    ),
                    HomeAddressTemplate(ANY, sg),
                ),
            )
        # What the VCM and sg's agent tell each other is on no link, and so never comes from one.
        for direction in (Direction.OUTBOUND, Direction.INBOUND):
            for what, selector in (
                ("vcm", TrafficSelector(vcm, EVERYWHERE)),
                ("to_vcm", TrafficSelector(EVERYWHERE, vcm)),
            ):
                yield SecurityPolicy(
                    name=f"{what}/{direction.value}",
                    direction=direction,
                    selector=selector,
                    action=PolicyAction.DISCARD,
                    precedence=Precedence.CATCH_ALL,
                )

    def _filter(self) -> Iterator[SecurityPolicy]:
        """Yield what keeps inside and outside apart where no association joins them."""
        for name, direction, selector, device in (
            each
            for what, prefix in self.company.vpn_prefixes.items()
            for each in (
                (
                    f"filter/from_{what}",
                    Direction.OUTBOUND,
                    TrafficSelector(prefix, EVERYWHERE),
                    self.outside_device,
                ),
                (
                    f"filter/to_{what}",
                    Direction.OUTBOUND,
                    TrafficSelector(EVERYWHERE, prefix),
                    self.outside_device,
                ),
                (
                    f"filter/into_{what}",
                    Direction.FORWARD,
                    TrafficSelector(prefix, EVERYWHERE),
                    self.inside_device,
                ),
            )
        ):
            yield SecurityPolicy(
                name=name,
                direction=direction,
                selector=selector,
                action=PolicyAction.DISCARD,
                precedence=Precedence.CATCH_ALL,
                device=device,
            )
