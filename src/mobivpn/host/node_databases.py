"""What a mobile node's kernel holds, as a function of the place, the bindings and the pairs.

Nothing here has a history: the same place, bindings and pairs always give the same databases, and
`mobivpn.ipsec.databases.difference` finds the way from one to the next.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Network

from mobivpn.host.advertisements import heard_under
from mobivpn.host.associations import Associations, Purpose, at_care_of_address
from mobivpn.host.fixed_databases import binding, bound_correspondent, routing_header_of_data
from mobivpn.host.movement import Inside, Outside, Place, Tentative
from mobivpn.host.mtu import inner_mtu
from mobivpn.host.network import (
    Address,
    Dummy,
    DuplicateDetection,
    NextHop,
    Route,
    Rule,
    Tunnel,
)
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
    IPPROTO_ESP,
    IPPROTO_MH,
    Direction,
    MobilityType,
    TrafficSelector,
    host,
)

VPN_DEVICE = "vpn0"
"""Home addresses live here; what no policy protects is swallowed here."""
HOME_TUNNEL = "ha{slot}"
BY_HOME_AGENT_MARK = 1
"""Put by the sender on messages that must not use this node's own binding of the peer."""
BY_GATEWAY_MARK = 4
"""Borne by what MN-SG has brought where the addresses are public (docs/adr/0019)."""
HOME_TABLE = 100
"""Routes of packets from the external home address: through the home agent."""
FIRST_LINK_TABLE = 101
"""Routes of packets from a care-of address, by slot: access routers drop foreign sources."""

LINK_LOCAL = IPv6Network("fe80::/10")
MULTICAST = IPv6Network("ff02::/16")

ON_LINK = 1
BY_ROUTER = 2
"""The next hop object of slot 0; those of further slots follow."""


@dataclass(frozen=True, slots=True)
class DirectPair:
    """The direct associations with one peer, as far as this end may use them.

    `associations` are all that the kernel holds, of two generations while a pair is renewed.
    `outbound` is the one that encrypts, None as long as the peer is not known to decrypt.
    """

    peer: NodeIdentity
    associations: tuple[SecurityAssociation, ...]
    outbound: SecurityAssociation | None


@dataclass(frozen=True, slots=True)
class Bindings:
    """Who knows where this node is, and whom this node can find; all by external home address.

    `announced` are correspondents to whom a binding update is on its way or has gone, `optimised`
    those of them to whom data may carry the home address option. `peers` are (home address,
    care-of address) of the correspondents whose binding this node holds. `by_former` has those to
    whom packets still leave from a former care-of address, with that address. `inside` are the
    nodes that this one, outside, knows to be inside (embodiment 2).
    """

    announced: frozenset[IPv6Address] = frozenset()
    optimised: frozenset[IPv6Address] = frozenset()
    peers: tuple[tuple[IPv6Address, IPv6Address], ...] = ()
    by_former: Mapping[IPv6Address, IPv6Address] = field(
        default_factory=dict[IPv6Address, IPv6Address]
    )
    inside: frozenset[IPv6Address] = frozenset()

    def holds(self, peer: IPv6Address) -> bool:
        """Tell whether this node holds the peer's binding."""
        return any(home_address == peer for home_address, _ in self.peers)

    def source_to(self, peer: IPv6Address, place: Outside) -> IPv6Address:
        """Return the care-of address from which packets leave for a peer."""
        return self.by_former.get(peer, place.care_of_address)


UNBOUND = Bindings()


@dataclass(frozen=True, slots=True)
class NodeDatabases:
    """The fixed part: who the node is and which associations it was given.

    `detection` is what its care-of addresses wait for. With `advertisements`, the node asks the
    inside for a router advertisement under it.
    """

    me: NodeIdentity
    company: Company
    associations: Associations
    link_mtu: int = 1500
    detection: DuplicateDetection = DuplicateDetection.OPTIMISTIC
    advertisements: AuthenticationAssociation | None = None

    def at(
        self,
        place: Place,
        bindings: Bindings = UNBOUND,
        pairs: Iterable[DirectPair] = (),
        former: tuple[Outside, ...] = (),
    ) -> Databases:
        """Return the databases for one place, while the links of `former` ones still work."""
        pairs = tuple(pairs)
        outside = (place, *former) if isinstance(place, Outside) else ()
        return databases(
            (
                *self._associations(outside, bindings, pairs),
                *self._bindings(place, outside, bindings),
                *self._mobility(place, bindings),
                *(() if self.company.is_public else self._data()),
                *self._signalling(place, bindings),
                *(policy for pair in pairs for policy in self._direct(place, pair, bindings)),
                *self._between_inside_and_outside(place, bindings),
                *self._vpn(place, bindings),
                *self._catch_all(),
                *self._addresses_and_routes(place, outside, bindings),
            )
        )

    def _pair(self, purpose: Purpose) -> SaPair:
        return self.associations[purpose, self.me.name]

    def _associations(
        self, outside: tuple[Outside, ...], bindings: Bindings, pairs: tuple[DirectPair, ...]
    ) -> Iterator[Entry]:
        if self.advertisements is not None:
            yield heard_under(self.advertisements)
        for purpose in (
            Purpose.NODE_GATEWAY,
            Purpose.NODE_GATEWAY_MOBILITY,
            Purpose.NODE_GATEWAY_INSIDE,
            Purpose.NODE_VCM,
            Purpose.NODE_HOME_AGENT,
        ):
            # Which of them there are is a matter of the embodiment, and of where the VCM is.
            if (purpose, self.me.name) in self.associations:
                yield self._pair(purpose).forward
                yield self._received(purpose)
        tunnel = self._pair(Purpose.NODE_HOME_AGENT_TUNNEL)
        if outside:
            source = bindings.source_to(self.company.home_agent, outside[0])
            yield at_care_of_address(tunnel, source).forward
        for link in outside:
            yield at_care_of_address(tunnel, link.care_of_address).backward
        for pair in pairs:
            yield from pair.associations
            if pair.outbound is not None:
                yield pair.outbound

    def _received(self, purpose: Purpose) -> SecurityAssociation:
        sa = self._pair(purpose).backward
        if purpose is Purpose.NODE_GATEWAY and self.company.is_public:
            return replace(sa, mark=BY_GATEWAY_MARK)
        return sa

    def _bindings(
        self, place: Place, outside: tuple[Outside, ...], bindings: Bindings
    ) -> Iterator[Entry]:
        home = self.me.external_home_address
        yield ANY_HOME_ADDRESS_OPTION
        if isinstance(place, Inside) and place.care_of_address is not None:
            here = place.care_of_address
            yield RouteOptimisation(Extension.ROUTING_HEADER, ANY, home, here, wildcard=True)
            known = {peer for peer in bindings.announced if self._is_node(peer)}
            for peer in (self.company.security_gateway, *sorted(known)):
                yield RouteOptimisation(Extension.HOME_ADDRESS_OPTION, home, peer, here)
        for peer, care_of_address in bindings.peers:
            if self.company.is_public:
                # No data without ESP to or from a home address that is the VPN's.
                yield from binding(home, peer, care_of_address)
                continue
            option = self._home_address(place, peer, bindings)
            yield from bound_correspondent(home, peer, care_of_address)
            yield from routing_header_of_data(home, peer, *option)
        if outside:
            # There is one such entry: with two links it has to take what comes by either.
            here = outside[0].care_of_address if len(outside) == 1 else ANY
            yield RouteOptimisation(Extension.ROUTING_HEADER, ANY, home, here, wildcard=True)
            fixed = {self.company.home_agent, self.company.security_gateway}
            for peer in sorted(bindings.announced | bindings.optimised | fixed):
                source = bindings.source_to(peer, outside[0])
                yield RouteOptimisation(Extension.HOME_ADDRESS_OPTION, home, peer, source)

    def _mobility(self, place: Place, bindings: Bindings) -> Iterator[SecurityPolicy]:
        me, home = self.me, self.me.external_home_address
        for purpose, own, peer in (
            (Purpose.NODE_HOME_AGENT, home, self.company.home_agent),
            (Purpose.NODE_GATEWAY_MOBILITY, home, self.company.security_gateway),
            (
                Purpose.NODE_GATEWAY_INSIDE,
                me.internal_home_address,
                self.company.security_gateway_inside,
            ),
        ):
            if (purpose, me.name) not in self.associations:
                continue
            away = purpose is not Purpose.NODE_GATEWAY_INSIDE
            selector = TrafficSelector(host(own), host(peer), IPPROTO_MH)
            yield SecurityPolicy(
                name=f"{purpose.name.lower()}/out",
                direction=Direction.OUTBOUND,
                selector=selector,
                action=PolicyAction.PROTECT,
                precedence=Precedence.MOBILITY_PROTECTED,
                templates=(
                    EspTemplate(own, peer, Mode.TRANSPORT, purpose.value),
                    *((HomeAddressTemplate(own, peer),) if away else ()),
                ),
            )
            yield SecurityPolicy(
                name=f"{purpose.name.lower()}/in",
                direction=Direction.INBOUND,
                selector=selector,
                action=PolicyAction.PROTECT,
                precedence=Precedence.MOBILITY_PROTECTED,
                templates=(
                    EspTemplate(peer, own, Mode.TRANSPORT, purpose.value),
                    *((RoutingHeaderTemplate(ANY, own),) if away else ()),
                ),
            )
        if isinstance(place, Outside):
            yield from self._mobility_by_gateway(place, bindings)
            # Its own tests, and what it answers to its peers': tokens are for nobody else's eyes.
            for tested in (MobilityType.HOME_TEST_INIT, MobilityType.HOME_TEST):
                yield self._mobility_out(
                    tested,
                    EspTemplate(
                        bindings.source_to(self.company.home_agent, place),
                        self.company.home_agent,
                        Mode.TUNNEL,
                        Purpose.NODE_HOME_AGENT_TUNNEL.value,
                    ),
                )
        if isinstance(place, Outside) or (
            isinstance(place, Inside) and place.care_of_address is not None
        ):
            yield self._mobility_out(
                MobilityType.BINDING_UPDATE,
                RoutingHeaderTemplate(home, ANY),
                HomeAddressTemplate(home, ANY),
            )
            # The peer may have moved as well: this one goes by its home agent (RFC 6275 11.7.2).
            yield replace(
                self._mobility_out(MobilityType.BINDING_UPDATE, HomeAddressTemplate(home, ANY)),
                name="binding_update_by_home_agent/out",
                precedence=Precedence.MOBILITY_BY_HOME_AGENT,
                mark=BY_HOME_AGENT_MARK,
            )
            if self.company.node_prefix is not None:
                yield from self._care_of_tests(self.company.node_prefix)
        # All others go as they are given (section 9.5.4), or by the peer's home agent.
        yield SecurityPolicy(
            name="mobility/out",
            direction=Direction.OUTBOUND,
            selector=TrafficSelector(host(home), EVERYWHERE, IPPROTO_MH),
            action=PolicyAction.BYPASS,
            precedence=Precedence.SIGNALLING,
        )
        yield SecurityPolicy(
            name="mobility/in",
            direction=Direction.INBOUND,
            selector=TrafficSelector(host(home), EVERYWHERE, IPPROTO_MH),
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=(
                HomeAddressTemplate(ANY, home),
                RoutingHeaderTemplate(ANY, home),
                EspTemplate(
                    self.company.home_agent,
                    home,
                    Mode.TUNNEL,
                    Purpose.NODE_HOME_AGENT_TUNNEL.value,
                    optional=True,
                ),
            ),
        )

    def _mobility_by_gateway(self, place: Outside, bindings: Bindings) -> Iterator[SecurityPolicy]:
        """Yield what lets the mobility headers of nodes inside through MN-SG, and the answers."""
        if not self.company.is_public:
            return
        own, home = host(self.me.external_home_address), self.me.external_home_address
        answered = {"vpn": self.company.vpn_prefix}
        answered |= {str(peer): host(peer) for peer in sorted(bindings.inside)}
        for direction, prefixes in (
            (Direction.INBOUND, self.company.vpn_prefixes),
            (Direction.OUTBOUND, answered),
        ):
            inbound = direction is Direction.INBOUND
            option = (HomeAddressTemplate(ANY, home),) if inbound else ()
            for what, prefix in prefixes.items():
                yield SecurityPolicy(
                    name=f"mobility_{what}/{direction.value}",
                    direction=direction,
                    selector=TrafficSelector(own, prefix, IPPROTO_MH),
                    action=PolicyAction.PROTECT,
                    precedence=Precedence.MOBILITY_BY_GATEWAY,
                    templates=(*option, *self._gateway_templates(direction, place, bindings)),
                    mark=BY_GATEWAY_MARK if inbound else None,
                )

    def _care_of_tests(self, peers: IPv6Network) -> Iterator[SecurityPolicy]:
        """Yield what lets CoTI and CoT through, between a care-of and a VPN address."""
        for direction in (Direction.OUTBOUND, Direction.INBOUND):
            yield SecurityPolicy(
                name=f"care_of_test/{direction.value}",
                direction=direction,
                selector=TrafficSelector(EVERYWHERE, peers, IPPROTO_MH),
                action=PolicyAction.BYPASS,
                precedence=Precedence.SIGNALLING,
            )

    def _data(self) -> Iterator[SecurityPolicy]:
        """Yield what admits unprotected data to the home address by a routing header (11.3.3).

        It names that header so that, of one with a home address option as well, the kernel finds
        fault with the option.
        """
        home = self.me.external_home_address
        yield SecurityPolicy(
            name="data/in",
            direction=Direction.INBOUND,
            selector=TrafficSelector(host(home), EVERYWHERE),
            action=PolicyAction.PROTECT,
            precedence=Precedence.UNPROTECTED,
            templates=(RoutingHeaderTemplate(ANY, home),),
        )

    def _mobility_out(self, mobility_type: MobilityType, *templates: Template) -> SecurityPolicy:
        return SecurityPolicy(
            name=f"{mobility_type.name.lower()}/out",
            direction=Direction.OUTBOUND,
            selector=TrafficSelector(
                host(self.me.external_home_address), EVERYWHERE, IPPROTO_MH, mobility_type.value
            ),
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=templates,
        )

    def _home_address(
        self, place: Place, peer: IPv6Address, bindings: Bindings
    ) -> tuple[Template, ...]:
        """Return the home address option of data to a peer, while the binding stands."""
        if peer not in bindings.optimised or not isinstance(place, Outside):
            return ()
        home, source = self.me.external_home_address, bindings.source_to(peer, place)
        return (HomeAddressTemplate(home, peer, source),)

    def _gateway_templates(
        self, direction: Direction, place: Place, bindings: Bindings
    ) -> tuple[Template, ...]:
        home, sg = self.me.external_home_address, self.company.security_gateway
        reqid = Purpose.NODE_GATEWAY.value
        if direction is Direction.INBOUND:
            return (EspTemplate(sg, home, Mode.TUNNEL, reqid), RoutingHeaderTemplate(ANY, home))
        return (
            EspTemplate(home, sg, Mode.TUNNEL, reqid),
            *self._home_address(place, sg, bindings),
        )

    def _signalling(self, place: Place, bindings: Bindings) -> Iterator[SecurityPolicy]:
        own, vcm = self.me.internal_home_address, self.company.vcm
        reqid = Purpose.NODE_VCM.value
        selector = TrafficSelector(host(own), host(vcm))
        for direction, source, destination in (
            (Direction.OUTBOUND, own, vcm),
            (Direction.INBOUND, vcm, own),
        ):
            templates: tuple[Template, ...] = ()
            if not self.company.vcm_in_gateway:
                templates += (EspTemplate(source, destination, Mode.TRANSPORT, reqid),)
            if not isinstance(place, Inside) and not self.company.vcm_is_direct:
                templates += self._gateway_templates(direction, place, bindings)
            yield SecurityPolicy(
                name=f"node_vcm/{direction.value}",
                direction=direction,
                selector=selector,
                # Inside there is no MN-SG association: nothing that a VCM in sg could use.
                action=PolicyAction.PROTECT if templates else PolicyAction.DISCARD,
                precedence=Precedence.SIGNALLING,
                templates=templates,
            )
        # Where xfrm_interface is loaded, nested ESP is checked before it is decrypted.
        yield SecurityPolicy(
            name="esp/in",
            direction=Direction.INBOUND,
            selector=TrafficSelector(host(self.me.external_home_address), EVERYWHERE, IPPROTO_ESP),
            action=PolicyAction.PROTECT,
            precedence=Precedence.SIGNALLING,
            templates=(
                HomeAddressTemplate(ANY, self.me.external_home_address),
                RoutingHeaderTemplate(ANY, self.me.external_home_address),
            ),
        )

    def _direct(
        self, place: Place, pair: DirectPair, bindings: Bindings
    ) -> Iterator[SecurityPolicy]:
        home, peer_home = self.me.external_home_address, pair.peer.external_home_address
        selector = TrafficSelector(
            host(self.me.internal_home_address), host(pair.peer.internal_home_address)
        )
        mode = Mode.TRANSPORT if self.company.is_public else Mode.TUNNEL
        # Any source, any reqid: what is still under way through the gateway must be taken as well;
        # the selector on each SA keeps the inner addresses honest.
        yield SecurityPolicy(
            name=f"{pair.peer.name}/in",
            direction=Direction.INBOUND,
            selector=selector,
            action=PolicyAction.PROTECT,
            precedence=Precedence.PAIR,
            templates=(
                EspTemplate(ANY, home, mode),
                HomeAddressTemplate(ANY, home),
                RoutingHeaderTemplate(ANY, home),
            ),
        )
        if pair.outbound is not None and not self._is_bound_inside(peer_home, bindings):
            yield SecurityPolicy(
                name=f"{pair.peer.name}/out",
                direction=Direction.OUTBOUND,
                selector=selector,
                action=PolicyAction.PROTECT,
                precedence=Precedence.PAIR,
                templates=(
                    EspTemplate(home, peer_home, mode, pair.outbound.reqid),
                    # Named only while they apply: a socket looks again when a policy changes.
                    *(
                        (RoutingHeaderTemplate(home, peer_home),)
                        if bindings.holds(peer_home)
                        else ()
                    ),
                    *self._home_address(place, peer_home, bindings),
                ),
            )

    def _between_inside_and_outside(
        self, place: Place, bindings: Bindings
    ) -> Iterator[SecurityPolicy]:
        """Yield what optimises the route between a node inside and one outside (docs/adr/0023).

        The care-of address inside is named in what MN-SG carries; what the one outside has, MN-SG
        itself names.
        """
        own, home = self.me.internal_home_address, self.me.external_home_address
        templates: dict[IPv6Address, tuple[Template, ...]] = {}
        if isinstance(place, Inside):
            for peer in bindings.optimised:
                if self._is_node(peer):
                    templates[peer] = (HomeAddressTemplate(home, peer, place.care_of_address),)
        else:
            by_gateway = self._gateway_templates(Direction.OUTBOUND, place, bindings)
            for peer, care_of_address in bindings.peers:
                if self.company.is_inside(care_of_address):
                    templates[peer] = (RoutingHeaderTemplate(home, peer), *by_gateway)
        for peer, layers in sorted(templates.items()):
            yield SecurityPolicy(
                name=f"optimised/{peer}/out",
                direction=Direction.OUTBOUND,
                selector=TrafficSelector(host(own), host(peer)),
                action=PolicyAction.PROTECT,
                precedence=Precedence.PAIR,
                templates=layers,
            )

    def _is_node(self, peer: IPv6Address) -> bool:
        return self.company.node_prefix is not None and peer in self.company.node_prefix

    def _is_bound_inside(self, peer: IPv6Address, bindings: Bindings) -> bool:
        return any(
            home_address == peer and self.company.is_inside(care_of_address)
            for home_address, care_of_address in bindings.peers
        )

    def _vpn(self, place: Place, bindings: Bindings) -> Iterator[SecurityPolicy]:
        own = host(self.me.internal_home_address)
        if isinstance(place, Inside):
            yield from self._no_ipsec(own, place.care_of_address)
            return
        for direction in (Direction.OUTBOUND, Direction.INBOUND):
            # A direct pair's policy has the same addresses, and another mode.
            told_apart = self.company.is_public and direction is Direction.INBOUND
            for what, prefix in self.company.vpn_prefixes.items():
                # A node inside may say by its home address option where it is.
                option = (HomeAddressTemplate(ANY, self.me.external_home_address),)
                may_say = told_apart and what == "nodes"
                yield SecurityPolicy(
                    name=f"{what}/{direction.value}",
                    direction=direction,
                    selector=TrafficSelector(own, prefix),
                    action=PolicyAction.PROTECT,
                    precedence=Precedence.BY_GATEWAY if told_apart else Precedence.VPN,
                    templates=(
                        *(option if may_say else ()),
                        *self._gateway_templates(direction, place, bindings),
                    ),
                    mark=BY_GATEWAY_MARK if told_apart else None,
                )

    def _no_ipsec(
        self, own: IPv6Network, care_of_address: IPv6Address | None
    ) -> Iterator[SecurityPolicy]:
        """Yield the seed's "no IPsec", with what neighbour discovery (RFC 4861) needs beside it.

        With a care-of address inside, the neighbours, and nobody else, may talk.
        """
        vpn = self.company.vpn_prefix
        both_ways = [(what, own, prefix) for what, prefix in self.company.vpn_prefixes.items()]
        if care_of_address is not None:
            both_ways.append(("care_of_address", host(care_of_address), vpn))
        for what, direction, local, remote in (
            *(
                (what, direction, local, remote)
                for what, local, remote in both_ways
                for direction in (Direction.OUTBOUND, Direction.INBOUND)
            ),
            ("from_link_local", Direction.INBOUND, own, LINK_LOCAL),
            ("to_link_local", Direction.OUTBOUND, own, LINK_LOCAL),
            ("link_local", Direction.OUTBOUND, LINK_LOCAL, vpn),
            ("link_local", Direction.INBOUND, LINK_LOCAL, vpn),
            ("to_multicast", Direction.OUTBOUND, own, MULTICAST),
            ("multicast", Direction.INBOUND, MULTICAST, vpn),
        ):
            # What another node sends may have either header of Mobile IPv6, and no ESP.
            home = self.me.external_home_address
            headers = (HomeAddressTemplate(ANY, home), RoutingHeaderTemplate(ANY, home))
            has_some = what == "nodes" and direction is Direction.INBOUND
            yield SecurityPolicy(
                name=f"{what}/{direction.value}",
                direction=direction,
                selector=TrafficSelector(local, remote),
                action=PolicyAction.PROTECT if has_some else PolicyAction.BYPASS,
                precedence=Precedence.VPN,
                templates=headers if has_some else (),
            )

    def _catch_all(self) -> Iterator[SecurityPolicy]:
        own = host(self.me.internal_home_address)
        for direction in (Direction.OUTBOUND, Direction.INBOUND):
            for what, selector in (
                ("own", TrafficSelector(own, EVERYWHERE)),
                *(
                    ("inside" if what == "vpn" else what, TrafficSelector(EVERYWHERE, prefix))
                    for what, prefix in self.company.vpn_prefixes.items()
                ),
            ):
                yield SecurityPolicy(
                    name=f"catch_all_{what}/{direction.value}",
                    direction=direction,
                    selector=selector,
                    action=PolicyAction.DISCARD,
                    precedence=Precedence.CATCH_ALL,
                )

    def _addresses_and_routes(
        self, place: Place, outside: tuple[Outside, ...], bindings: Bindings
    ) -> Iterator[Entry]:
        internal, home = self.me.internal_home_address, self.me.external_home_address
        vpn, mtu = self.company.vpn_prefix, inner_mtu(self.link_mtu)
        yield Dummy(VPN_DEVICE)
        if not self.company.is_public:
            yield Address(internal, VPN_DEVICE)
        yield Address(home, VPN_DEVICE, home=True)
        for prefix in self.company.vpn_prefixes.values():
            yield Route(prefix, metric=4096, device=VPN_DEVICE, mtu=mtu)
        yield Rule(HOME_TABLE, preference=100, source=host(home))
        if isinstance(place, Tentative):
            yield Address(place.care_of_address, place.device, detection=self.detection)
        if isinstance(place, Inside):
            yield NextHop(BY_ROUTER, place.device, place.router)
            yield Route(EVERYWHERE, next_hop=BY_ROUTER)
            yield Address(place.care_of_address or internal, place.device)
            yield NextHop(ON_LINK, place.device)
            yield Route(vpn, metric=256, next_hop=ON_LINK, mtu=mtu)
            if self.company.node_prefix is not None:
                yield Route(self.company.node_prefix, metric=256, next_hop=BY_ROUTER, mtu=mtu)
        for link in outside:
            yield from self._link(link)
        if outside:
            yield Route(EVERYWHERE, next_hop=BY_ROUTER + outside[0].slot)
            source = bindings.source_to(self.company.home_agent, outside[0])
            by = next(link for link in outside if link.care_of_address == source)
            tunnel = HOME_TUNNEL.format(slot=by.slot)
            yield Route(EVERYWHERE, device=tunnel, table=HOME_TABLE)
            if self.company.is_public:
                # Its own addresses are the VPN's: what goes there must fit every path.
                for prefix in self.company.vpn_prefixes.values():
                    yield Route(prefix, device=tunnel, table=HOME_TABLE, mtu=mtu)

    def _link(self, link: Outside) -> Iterator[Entry]:
        """Yield what a link outside needs of its own, whether there is another one or not."""
        number, table = BY_ROUTER + link.slot, FIRST_LINK_TABLE + link.slot
        source, tunnel = link.care_of_address, HOME_TUNNEL.format(slot=link.slot)
        yield Address(source, link.device, detection=self.detection)
        yield Tunnel(tunnel, source, self.company.home_agent, self.link_mtu - 40)
        yield NextHop(number, link.device, link.router)
        yield Rule(table, preference=table, source=host(source))
        yield Route(EVERYWHERE, next_hop=number, table=table)
