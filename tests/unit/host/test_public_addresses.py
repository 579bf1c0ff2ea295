"""Embodiment 2 as every role's databases: one public home address of a node, inside and outside."""

from dataclasses import replace
from ipaddress import IPv6Address
from typing import Any

import pytest

from mobivpn.host.associations import Purpose, share_of
from mobivpn.host.effects import Record
from mobivpn.host.fixed_databases import RouterDatabases
from mobivpn.host.gateway_databases import FROM_LAN_TABLE, GatewayDatabases
from mobivpn.host.internal_router import InternalRouter
from mobivpn.host.movement import Detached, Inside, Outside, Place
from mobivpn.host.network import Address, NeighbourProxy, Route, Rule
from mobivpn.host.node_databases import (
    BY_GATEWAY_MARK,
    VPN_DEVICE,
    Bindings,
    DirectPair,
    NodeDatabases,
)
from mobivpn.host.security_gateway import UNDER_WAY_S, SecurityGateway, TellDetector
from mobivpn.ipsec.databases import Databases
from mobivpn.ipsec.minting import mint_pair
from mobivpn.ipsec.policy import (
    ANY,
    EspTemplate,
    HomeAddressTemplate,
    PolicyAction,
    RoutingHeaderTemplate,
    SecurityPolicy,
)
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import EspAlgorithm, Mode, SecurityAssociation, Spi
from mobivpn.ipsec.selector import IPPROTO_ESP, IPPROTO_MH, Direction, host
from mobivpn.mip6 import codec
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.messages import BindingUpdate
from mobivpn.signalling.codec import decode
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import SendSignal
from mobivpn.signalling.messages import Message, NodeAbsent, NodePresent
from mobivpn.variants import VcmAssociation
from tests.support.company import PUBLIC_COMPANY as COMPANY
from tests.support.company import DifferentBytes, associations

MN1, MN2, _ = COMPANY.nodes
HOME, PEER = MN1.external_home_address, MN2.external_home_address
SG = COMPANY.security_gateway
GIVEN = associations(COMPANY)
ROUTER = IPv6Address("fe80::1")
CARE_OF, ELSEWHERE = IPv6Address("2001:db8:1::d1"), IPv6Address("2001:db8:2::d1")
CARE_OF_INSIDE = COMPANY.vpn_prefix[0xD1]
INSIDE = Inside("eth0", ROUTER, CARE_OF_INSIDE)
OUTSIDE = Outside("eth0", ROUTER, CARE_OF)
WORKSTATION = COMPANY.vpn_prefix[0xA1]
NODE = NodeDatabases(MN1, COMPANY, share_of(GIVEN, "mobile_node", "mn1"))
DIRECT = mint_pair(
    "pair", 1000, HOME, PEER, Mode.TRANSPORT, EspAlgorithm.AES128GCM16, DifferentBytes()
)
PAIR = DirectPair(MN2, (DIRECT.backward,), DIRECT.forward)


def first_match(
    held: Databases,
    direction: Direction,
    ends: tuple[IPv6Address, IPv6Address],
    *,
    mark: int | None = None,
    protocol: int | None = None,
) -> SecurityPolicy:
    """Return the policy that the kernel would find for a packet between (local, remote)."""
    local, remote = ends
    matching = [
        entry
        for entry in held
        if isinstance(entry, SecurityPolicy)
        and entry.direction is direction
        and entry.mark in (None, mark)
        and entry.selector.inner_protocol in (None, protocol)
        and entry.selector.mobility_type is None
        and local in entry.selector.local_prefix
        and remote in entry.selector.remote_prefix
    ]
    return min(matching, key=lambda policy: policy.precedence)


def esp_of(policy: SecurityPolicy) -> EspTemplate:
    (template,) = (t for t in policy.templates if isinstance(t, EspTemplate))
    return template


@pytest.mark.parametrize("remote", [WORKSTATION, PEER])
@pytest.mark.parametrize("place", [Detached(), OUTSIDE])
def test_outside_every_vpn_address_is_behind_the_gateway(place: Place, remote: IPv6Address):
    out = first_match(NODE.at(place), Direction.OUTBOUND, (HOME, remote))
    assert (esp_of(out).destination, esp_of(out).mode) == (SG, Mode.TUNNEL)


@pytest.mark.parametrize("remote", [WORKSTATION, PEER])
def test_inside_there_is_no_ipsec(remote: IPv6Address):
    for direction in (Direction.OUTBOUND, Direction.INBOUND):
        policy = first_match(NODE.at(INSIDE), direction, (HOME, remote))
        assert policy.action is not PolicyAction.DISCARD
        assert not any(isinstance(template, EspTemplate) for template in policy.templates)


@pytest.mark.parametrize("place", [Detached(), OUTSIDE])
def test_what_neither_association_has_brought_is_not_taken_from_a_home_address(place: Place):
    policy = first_match(NODE.at(place), Direction.INBOUND, (HOME, PEER))
    assert policy.action is PolicyAction.DISCARD


def test_a_direct_pair_is_transport_and_what_the_gateway_brings_is_taken_beside_it():
    held = NODE.at(OUTSIDE, Bindings(peers=((PEER, ELSEWHERE),)), [PAIR])
    out = first_match(held, Direction.OUTBOUND, (HOME, PEER))
    assert (esp_of(out).destination, esp_of(out).mode) == (PEER, Mode.TRANSPORT)
    direct = first_match(held, Direction.INBOUND, (HOME, PEER))
    assert esp_of(direct).mode is Mode.TRANSPORT
    by_gateway = first_match(held, Direction.INBOUND, (HOME, PEER), mark=BY_GATEWAY_MARK)
    assert (esp_of(by_gateway).source, esp_of(by_gateway).mode) == (SG, Mode.TUNNEL)
    marks = {sa.spi: sa.mark for sa in held if isinstance(sa, SecurityAssociation)}
    assert marks.pop(GIVEN[Purpose.NODE_GATEWAY, "mn1"].backward.spi) == BY_GATEWAY_MARK
    assert set(marks.values()) == {None}


def test_a_binding_lets_no_data_through_that_is_not_under_esp():
    held = NODE.at(OUTSIDE, Bindings(optimised=frozenset({PEER}), peers=((PEER, ELSEWHERE),)))
    assert RouteOptimisation(Extension.ROUTING_HEADER, HOME, PEER, ELSEWHERE) in held
    out = first_match(held, Direction.OUTBOUND, (HOME, PEER))
    assert esp_of(out).destination == SG
    assert first_match(held, Direction.INBOUND, (HOME, PEER)).action is PolicyAction.DISCARD


def by_gateway(policy: SecurityPolicy) -> bool:
    esp = [t for t in policy.templates if isinstance(t, EspTemplate)]
    return [(t.mode, {t.source, t.destination}) for t in esp] == [(Mode.TUNNEL, {HOME, SG})]


@pytest.mark.parametrize("pairs", [[], [PAIR]], ids=["no pair", "a pair that is not over yet"])
def test_what_mn_sg_carries_names_the_care_of_address_of_a_peer_inside(pairs: list[DirectPair]):
    inside = COMPANY.vpn_prefix[0xD2]
    bindings = Bindings(peers=((PEER, inside),), inside=frozenset({PEER}))
    held = NODE.at(OUTSIDE, bindings, pairs)
    out = first_match(held, Direction.OUTBOUND, (HOME, PEER))
    assert out.templates[0] == RoutingHeaderTemplate(HOME, PEER)
    assert by_gateway(out)
    assert RouteOptimisation(Extension.ROUTING_HEADER, HOME, PEER, inside) in held
    received = first_match(held, Direction.INBOUND, (HOME, PEER), mark=BY_GATEWAY_MARK)
    assert received.templates[0] == HomeAddressTemplate(ANY, HOME)
    assert by_gateway(received)


def test_a_node_inside_names_its_care_of_address_to_those_that_know_it_and_to_no_other():
    held = NODE.at(INSIDE, Bindings(announced=frozenset({PEER}), optimised=frozenset({PEER, SG})))
    option = RouteOptimisation(Extension.HOME_ADDRESS_OPTION, HOME, PEER, CARE_OF_INSIDE)
    assert option in held
    out = first_match(held, Direction.OUTBOUND, (HOME, PEER))
    assert out.templates == (HomeAddressTemplate(HOME, PEER, CARE_OF_INSIDE),)
    third = COMPANY.nodes[2].external_home_address
    for remote in (third, WORKSTATION, SG):
        assert first_match(held, Direction.OUTBOUND, (HOME, remote)).templates == ()


def test_mobility_messages_of_a_peer_inside_go_by_mn_sg_and_no_others():
    mobility = {"protocol": IPPROTO_MH}
    bindings = Bindings(inside=frozenset({PEER}))
    held, unaware = NODE.at(OUTSIDE, bindings), NODE.at(OUTSIDE)
    inside = COMPANY.vpn_prefix[0xD2]
    assert by_gateway(first_match(held, Direction.OUTBOUND, (HOME, PEER), **mobility))
    for remote in (inside, PEER):
        received = first_match(
            unaware, Direction.INBOUND, (HOME, remote), mark=BY_GATEWAY_MARK, **mobility
        )
        assert by_gateway(received)
        by_ha = first_match(held, Direction.INBOUND, (HOME, remote), **mobility)
        assert not by_gateway(by_ha)
    assert by_gateway(first_match(unaware, Direction.OUTBOUND, (HOME, inside), **mobility))
    assert not by_gateway(first_match(unaware, Direction.OUTBOUND, (HOME, PEER), **mobility))


def test_care_of_tests_pass_inside_as_well():
    for direction in (Direction.OUTBOUND, Direction.INBOUND):
        test = first_match(NODE.at(INSIDE), direction, (CARE_OF_INSIDE, PEER), protocol=IPPROTO_MH)
        assert test.action is PolicyAction.BYPASS


def test_care_of_tests_pass_outside_and_data_of_a_care_of_address_does_not():
    for direction in (Direction.OUTBOUND, Direction.INBOUND):
        held = NODE.at(OUTSIDE)
        test = first_match(held, direction, (CARE_OF, PEER), protocol=IPPROTO_MH)
        assert test.action is PolicyAction.BYPASS
        assert first_match(held, direction, (CARE_OF, PEER)).action is PolicyAction.DISCARD


def test_inside_a_node_has_a_care_of_address_and_tells_sg_of_it():
    held = NODE.at(INSIDE)
    assert Address(CARE_OF_INSIDE, "eth0") in held
    option = RouteOptimisation(Extension.HOME_ADDRESS_OPTION, HOME, SG, CARE_OF_INSIDE)
    assert option in held
    assert Address(HOME, VPN_DEVICE, home=True) in held
    assert not any(
        isinstance(e, Address) and e.address == HOME and e.device == "eth0" for e in held
    )


def test_there_is_no_association_of_an_internal_address():
    assert not any(purpose is Purpose.NODE_GATEWAY_INSIDE for purpose, _ in GIVEN)


def gateway() -> SecurityGateway:
    return SecurityGateway(
        GatewayDatabases(COMPANY, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1")),
        CorrespondentNode(DifferentBytes(), protected={HOME, PEER}),
        SignallingEndpoint(1, [COMPANY.vcm, COMPANY.internal_router]),
    )


def bound(sg: SecurityGateway, care_of_address: IPv6Address, sequence: int, lifetime_s: int = 60):
    """Let MN1 tell sg a care-of address; return what sg tells r22 and its detector."""
    data = codec.encode(BindingUpdate(sequence, lifetime_s), HOME, SG)
    return told_by(sg.mobility_received(data, HOME, SG, care_of_address, 1.0))


def told_by(effects: list[Any]) -> list[Message | TellDetector]:
    """Return what of sg's effects goes to r22 and its detector."""
    told: list[Message | TellDetector] = []
    for effect in effects:
        if isinstance(effect, SendSignal):
            told.append(decode(effect.payload).message)
        elif isinstance(effect, TellDetector):
            told.append(effect)
    return told


def test_sg_tells_r22_where_a_node_inside_is_and_nobody_else():
    sg = gateway()
    sg.started()
    assert bound(sg, CARE_OF_INSIDE, 1) == [NodePresent(HOME, CARE_OF_INSIDE)]
    assert bound(sg, CARE_OF_INSIDE, 2) == []


def test_sg_tells_a_care_of_address_inside_from_one_outside():
    sg = gateway()
    sg.started()
    bound(sg, CARE_OF_INSIDE, 1)
    assert bound(sg, CARE_OF, 2) == [NodeAbsent(HOME), TellDetector(HOME, HOME, CARE_OF)]
    assert bound(sg, CARE_OF_INSIDE, 3) == [
        NodePresent(HOME, CARE_OF_INSIDE),
        TellDetector(HOME, None),
    ]


def test_without_bindings_the_first_packet_of_mn_sg_tells_that_its_node_has_left():
    sg = gateway()
    sg.started()
    inbound = GIVEN[Purpose.NODE_GATEWAY, "mn1"].forward.spi
    bound(sg, CARE_OF_INSIDE, 1)
    others = (GIVEN[Purpose.NODE_GATEWAY, "mn1"].backward.spi, Spi(0x1234))
    assert sg.associations_used(others, 9.0) == []
    left = [NodeAbsent(HOME), TellDetector(HOME, HOME, None)]
    assert told_by(sg.associations_used([inbound], 9.0)) == left
    assert sg.associations_used([inbound], 9.1) == []
    assert bound(sg, CARE_OF_INSIDE, 2) == [
        NodePresent(HOME, CARE_OF_INSIDE),
        TellDetector(HOME, None),
    ]


def test_what_was_under_way_when_its_node_returned_does_not_tell_that_it_has_left():
    sg = gateway()
    sg.started()
    inbound = GIVEN[Purpose.NODE_GATEWAY, "mn1"].forward.spi
    bound(sg, CARE_OF_INSIDE, 1)
    assert sg.associations_used([inbound], 1.0 + UNDER_WAY_S - 0.01) == []
    assert told_by(sg.associations_used([inbound], 1.0 + UNDER_WAY_S)) != []


def test_the_binding_that_a_node_had_inside_does_not_outlive_its_leaving():
    sg = gateway()
    sg.started()
    bound(sg, CARE_OF_INSIDE, 1)
    sg.associations_used([GIVEN[Purpose.NODE_GATEWAY, "mn1"].forward.spi], 9.0)
    effects = sg.timer_expired(100.0)
    assert not any(isinstance(effect, TellDetector) for effect in effects)


def test_a_binding_inside_that_is_over_does_not_make_a_node_external():
    sg = gateway()
    sg.started()
    bound(sg, CARE_OF_INSIDE, 1, lifetime_s=8)
    effects = sg.timer_expired(20.0)
    assert not any(isinstance(effect, TellDetector) for effect in effects)


def test_the_gateway_keeps_home_addresses_apart_from_the_outside():
    databases = GatewayDatabases(COMPANY, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1"))
    held = databases.at({"mn1": CARE_OF})
    assert COMPANY.node_prefix is not None
    assert Route(COMPANY.node_prefix, metric=4096, table=FROM_LAN_TABLE) in held
    for ends in ((PEER, WORKSTATION), (PEER, SG), (SG, PEER)):
        out = [
            entry
            for entry in held
            if isinstance(entry, SecurityPolicy)
            and entry.direction is Direction.OUTBOUND
            and entry.selector.inner_protocol is None
            and ends[0] in entry.selector.local_prefix
            and ends[1] in entry.selector.remote_prefix
        ]
        assert min(out, key=lambda policy: policy.precedence).action is PolicyAction.DISCARD
    to_node = first_match(held, Direction.OUTBOUND, (PEER, HOME))
    assert esp_of(to_node).mode is Mode.TUNNEL


def test_what_sg_sends_to_a_home_address_itself_goes_outside_and_has_the_mtu_of_that_link():
    databases = GatewayDatabases(COMPANY, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1"))
    held = databases.at({"mn1": CARE_OF})
    (rule,) = (e for e in held if isinstance(e, Rule) and e.source == host(SG))
    (route,) = (e for e in held if isinstance(e, Route) and e.table == rule.table)
    assert route.prefix == COMPANY.node_prefix
    assert (route.device, route.mtu) == ("ext", None)


def router() -> InternalRouter:
    return InternalRouter(
        RouterDatabases(COMPANY, GIVEN, "lan", "tosg"),
        SignallingEndpoint(1, [COMPANY.security_gateway_inside]),
    )


class SaysToRouter:
    """sg as r22 hears it."""

    def __init__(self) -> None:
        self.router = router()
        self.router.started()
        self._signalling = SignallingEndpoint(1, [COMPANY.internal_router])

    def __call__(self, message: NodeAbsent | NodePresent) -> list[Any]:
        """Return r22's effects beside its acknowledgement."""
        (sent,) = self._signalling.request(COMPANY.internal_router, message, 0.0)
        assert isinstance(sent, SendSignal)
        source = COMPANY.security_gateway_inside
        effects = self.router.datagram_received(source, sent.payload, 0.0)
        return [effect for effect in effects if not isinstance(effect, SendSignal)]


def test_r22_routes_a_home_address_to_where_its_node_is():
    says = SaysToRouter()
    applied, record = says(NodePresent(HOME, CARE_OF_INSIDE))
    assert record == Record("node_present", details={"node": "mn1"})
    (change,) = applied.changes
    route = change.entry
    assert (route.prefix, route.gateway, route.device) == (host(HOME), CARE_OF_INSIDE, "lan")
    applied, record = says(NodeAbsent(HOME))
    assert record == Record("node_absent", details={"node": "mn1"})
    (change,) = applied.changes
    assert change.entry.gateway == COMPANY.security_gateway_inside
    assert not isinstance(change.entry, NeighbourProxy)


def test_r22_ignores_a_node_of_somebody_else():
    assert SaysToRouter()(NodePresent(HOME + 99, CARE_OF_INSIDE)) == []


DIRECT_VCM = replace(COMPANY, vcm_sa=VcmAssociation.DIRECT)


@pytest.mark.parametrize("place", [INSIDE, OUTSIDE])
def test_a_direct_vcm_association_is_the_only_one_of_its_packets(place: Place):
    node = NodeDatabases(MN1, DIRECT_VCM, share_of(GIVEN, "mobile_node", "mn1"))
    for direction in (Direction.OUTBOUND, Direction.INBOUND):
        policy = first_match(node.at(place), direction, (HOME, COMPANY.vcm))
        assert len(policy.templates) == 1
        assert esp_of(policy).mode is Mode.TRANSPORT


def test_the_gateway_lets_esp_of_the_vcm_pass_and_nothing_else_of_it():
    databases = GatewayDatabases(DIRECT_VCM, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1"))
    for outside in ({}, {"mn1": CARE_OF}):
        held = databases.at(outside)
        for direction in (Direction.OUTBOUND, Direction.FORWARD):
            ends = COMPANY.vcm, HOME
            esp = first_match(held, direction, ends, protocol=IPPROTO_ESP)
            assert esp.action is PolicyAction.BYPASS
            assert first_match(held, direction, ends).action is not PolicyAction.BYPASS
