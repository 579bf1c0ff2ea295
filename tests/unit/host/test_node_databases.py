"""A mobile node's databases in every place (mobivpn.host.node_databases)."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.associations import Purpose, share_of
from mobivpn.host.movement import Detached, Inside, Outside, Place, Tentative
from mobivpn.host.network import Address, DuplicateDetection, NextHop, Route, Rule, Tunnel
from mobivpn.host.node_databases import (
    HOME_TABLE,
    VPN_DEVICE,
    Bindings,
    DirectPair,
    NodeDatabases,
)
from mobivpn.ipsec.databases import Databases, Put, Rank, difference
from mobivpn.ipsec.policy import (
    ANY,
    EspTemplate,
    HomeAddressTemplate,
    PolicyAction,
    Precedence,
    RoutingHeaderTemplate,
    SecurityPolicy,
)
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.ipsec.selector import EVERYWHERE, IPPROTO_MH, Direction, MobilityType, host
from mobivpn.variants import VcmPlace
from tests.support.company import COMPANY, MN1, MN2, associations

ROUTER = IPv6Address("fe80::1")
CARE_OF = IPv6Address("2001:db8:1::d1")
INSIDE = Inside("eth0", ROUTER)
OUTSIDE = Outside("eth0", ROUTER, CARE_OF)
SG = COMPANY.security_gateway
PEER_HOME = MN2.external_home_address
GIVEN = associations()
NODE = NodeDatabases(MN1, COMPANY, share_of(GIVEN, "mobile_node", "mn1"))
PAIR = DirectPair(
    MN2,
    (replace(GIVEN[Purpose.NODE_GATEWAY, "mn2"].forward, reqid=1000),),
    replace(GIVEN[Purpose.NODE_GATEWAY, "mn2"].backward, reqid=1000),
)
TENTATIVE = Tentative("eth0", ROUTER, CARE_OF)
PLACES: tuple[Place, ...] = (Detached(), INSIDE, TENTATIVE, OUTSIDE)


def first_match(
    held: Databases, direction: Direction, local: IPv6Address, remote: IPv6Address
) -> SecurityPolicy:
    """Return the policy that the kernel would find for data between two addresses."""
    matching = [
        entry
        for entry in held
        if isinstance(entry, SecurityPolicy)
        and entry.direction is direction
        and entry.selector.inner_protocol is None
        and local in entry.selector.local_prefix
        and remote in entry.selector.remote_prefix
    ]
    return min(matching, key=lambda policy: policy.precedence)


@pytest.mark.parametrize("place", [Detached(), TENTATIVE, OUTSIDE])
@pytest.mark.parametrize("direction", [Direction.INBOUND, Direction.OUTBOUND])
def test_vpn_traffic_is_protected_unless_inside(place: Place, direction: Direction):
    policy = first_match(
        NODE.at(place), direction, MN1.internal_home_address, MN2.internal_home_address
    )
    assert policy.action is PolicyAction.PROTECT


@pytest.mark.parametrize("direction", [Direction.INBOUND, Direction.OUTBOUND])
def test_inside_there_is_no_ipsec(direction: Direction):
    policy = first_match(
        NODE.at(INSIDE), direction, MN1.internal_home_address, MN2.internal_home_address
    )
    assert policy.action is PolicyAction.BYPASS


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("direction", [Direction.INBOUND, Direction.OUTBOUND])
def test_what_no_association_covers_is_discarded_in_every_place(place: Place, direction: Direction):
    stranger = IPv6Address("2001:db8:bad::1")
    held = NODE.at(place)
    own = first_match(held, direction, MN1.internal_home_address, stranger)
    assert own.action is PolicyAction.DISCARD
    leak = first_match(held, direction, CARE_OF, MN2.internal_home_address)
    assert leak.action is PolicyAction.DISCARD


@pytest.mark.parametrize("place", PLACES)
def test_messages_of_the_vcm_are_always_under_their_own_association(place: Place):
    policy = first_match(NODE.at(place), Direction.OUTBOUND, MN1.internal_home_address, COMPANY.vcm)
    assert isinstance(policy.templates[0], EspTemplate)
    assert policy.templates[0].reqid == Purpose.NODE_VCM.value
    nested = any(
        isinstance(t, EspTemplate) and t.reqid == Purpose.NODE_GATEWAY.value
        for t in policy.templates
    )
    assert nested is not isinstance(place, Inside)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("direction", [Direction.INBOUND, Direction.OUTBOUND])
def test_messages_of_a_vcm_in_sg_are_under_the_mn_sg_association_or_discarded(
    place: Place, direction: Direction
):
    company = replace(COMPANY, vcm_at=VcmPlace.GATEWAY)
    node = NodeDatabases(MN1, company, share_of(associations(company), "mobile_node", "mn1"))
    held = node.at(place)
    policy = first_match(held, direction, MN1.internal_home_address, COMPANY.vcm)
    if isinstance(place, Inside):
        assert policy.action is PolicyAction.DISCARD
    else:
        data = first_match(held, direction, MN1.internal_home_address, MN2.internal_home_address)
        assert policy.templates == data.templates


def test_an_accepting_pair_takes_both_paths_inbound_and_sends_by_the_gateway():
    held = NODE.at(OUTSIDE, pairs=[replace(PAIR, outbound=None)])
    inbound = first_match(
        held, Direction.INBOUND, MN1.internal_home_address, MN2.internal_home_address
    )
    assert isinstance(inbound.templates[0], EspTemplate)
    assert inbound.templates[0].source == ANY
    assert inbound.templates[0].reqid is None
    outbound = first_match(
        held, Direction.OUTBOUND, MN1.internal_home_address, MN2.internal_home_address
    )
    assert isinstance(outbound.templates[0], EspTemplate)
    assert outbound.templates[0].destination == SG


def test_a_switched_pair_sends_directly_and_takes_both_paths_inbound():
    held = NODE.at(OUTSIDE, pairs=[PAIR])
    outbound = first_match(
        held, Direction.OUTBOUND, MN1.internal_home_address, MN2.internal_home_address
    )
    assert PAIR.outbound is not None
    assert outbound.templates == (
        EspTemplate(MN1.external_home_address, PEER_HOME, PAIR.outbound.mode, PAIR.outbound.reqid),
    )


def test_data_names_only_the_headers_that_bindings_call_for():
    bindings = Bindings(
        optimised=frozenset({PEER_HOME}), peers=((PEER_HOME, IPv6Address("2001:db8:3::d2")),)
    )
    held = NODE.at(OUTSIDE, bindings, [PAIR])
    outbound = first_match(
        held, Direction.OUTBOUND, MN1.internal_home_address, MN2.internal_home_address
    )
    home = MN1.external_home_address
    assert outbound.templates[1:] == (
        RoutingHeaderTemplate(home, PEER_HOME),
        HomeAddressTemplate(home, PEER_HOME, CARE_OF),
    )
    gateway = first_match(
        held, Direction.OUTBOUND, MN1.internal_home_address, IPv6Address("fd00:10::16")
    )
    assert not any(isinstance(t, HomeAddressTemplate) for t in gateway.templates)


def test_a_binding_update_finds_its_home_address_option_before_data_may_use_it():
    held = NODE.at(OUTSIDE, Bindings(announced=frozenset({PEER_HOME})), [PAIR])
    assert (
        RouteOptimisation(
            Extension.HOME_ADDRESS_OPTION, MN1.external_home_address, PEER_HOME, CARE_OF
        )
        in held
    )
    outbound = first_match(
        held, Direction.OUTBOUND, MN1.internal_home_address, MN2.internal_home_address
    )
    assert len(outbound.templates) == 1


@pytest.mark.parametrize("place", PLACES)
def test_binding_updates_to_ha_and_sg_are_protected_in_every_place(place: Place):
    protected = [
        entry.selector.remote_prefix.network_address
        for entry in NODE.at(place)
        if isinstance(entry, SecurityPolicy)
        and entry.selector.inner_protocol == IPPROTO_MH
        and entry.direction is Direction.OUTBOUND
        and any(isinstance(template, EspTemplate) for template in entry.templates)
    ]
    assert {COMPANY.home_agent, SG, COMPANY.security_gateway_inside} <= set(protected)


def test_the_associations_of_the_home_test_move_with_the_care_of_address():
    def tunnel_ends(care_of_address: IPv6Address) -> set[IPv6Address]:
        reqid = Purpose.NODE_HOME_AGENT_TUNNEL.value
        return {
            end
            for entry in NODE.at(replace(OUTSIDE, care_of_address=care_of_address))
            if isinstance(entry, SecurityAssociation) and entry.reqid == reqid
            for end in (entry.source, entry.destination)
        }

    elsewhere = IPv6Address("2001:db8:2::d1")
    assert tunnel_ends(CARE_OF) == {CARE_OF, COMPANY.home_agent}
    assert tunnel_ends(elsewhere) == {elsewhere, COMPANY.home_agent}


def test_a_detached_node_has_neither_next_hop_nor_tunnel():
    assert not [e for e in NODE.at(Detached()) if isinstance(e, NextHop | Tunnel)]


@pytest.mark.parametrize("place", PLACES)
def test_vpn_traffic_always_has_a_route_that_leads_nowhere_by_itself(place: Place):
    fallback = [
        e
        for e in NODE.at(place)
        if isinstance(e, Route) and e.prefix == COMPANY.vpn_prefix and e.device == VPN_DEVICE
    ]
    assert len(fallback) == 1
    links = [
        e
        for e in NODE.at(place)
        if isinstance(e, Route) and e.prefix == COMPANY.vpn_prefix and e.next_hop is not None
    ]
    assert all(route.metric < fallback[0].metric for route in links)


@pytest.mark.parametrize("place", PLACES)
def test_home_addresses_stay_whatever_the_place(place: Place):
    held = NODE.at(place)
    assert Address(MN1.internal_home_address, VPN_DEVICE) in held
    assert Address(MN1.external_home_address, VPN_DEVICE, home=True) in held


@given(st.sampled_from(PLACES), st.sampled_from(PLACES), st.booleans(), st.booleans())
def test_no_route_to_a_link_stands_before_the_policies_of_its_place(
    before: Place, after: Place, had_pair: bool, has_pair: bool
):
    changes = difference(
        NODE.at(before, pairs=[PAIR] if had_pair else []),
        NODE.at(after, pairs=[PAIR] if has_pair else []),
    )
    puts = [change.entry.rank for change in changes if isinstance(change, Put)]
    assert puts == sorted(puts)
    assert Rank.POLICY < Rank.NEXT_HOP < Rank.ROUTE


def test_only_prefixes_of_the_vpn_reach_the_catch_all():
    assert COMPANY.vpn_prefix == IPv6Network("fd00:10::/64")
    assert MN1.internal_home_address in COMPANY.vpn_prefix


def test_unprotected_data_is_admitted_with_a_home_address_option_of_a_bound_peer_only():
    peer, here = MN2.external_home_address, IPv6Address("2001:db8:2::d2")
    bindings = Bindings(peers=((peer, here),))
    for held, expected in ((NODE.at(OUTSIDE), []), (NODE.at(OUTSIDE, bindings), [peer])):
        policies = [
            entry
            for entry in held
            if isinstance(entry, SecurityPolicy)
            and entry.direction is Direction.INBOUND
            and entry.precedence > Precedence.VPN - 1
            and any(isinstance(t, HomeAddressTemplate) for t in entry.templates)
            and not any(isinstance(t, EspTemplate) for t in entry.templates)
        ]
        named = [
            t.source for p in policies for t in p.templates if isinstance(t, HomeAddressTemplate)
        ]
        assert named == expected
        inbound = RouteOptimisation(
            Extension.HOME_ADDRESS_OPTION, peer, MN1.external_home_address, here
        )
        assert (inbound in held) == bool(expected)


def test_unprotected_data_to_a_bound_peer_has_a_routing_header_and_mobility_headers_have_not():
    home, here = MN1.external_home_address, IPv6Address("2001:db8:2::d2")
    stands = Bindings(peers=((PEER_HOME, here),))
    known = replace(stands, optimised=frozenset({PEER_HOME}))
    way, option = RoutingHeaderTemplate(home, PEER_HOME), HomeAddressTemplate
    for bindings, expected in ((stands, (way,)), (known, (way, option(home, PEER_HOME, CARE_OF)))):
        held = NODE.at(OUTSIDE, bindings)
        assert RouteOptimisation(Extension.ROUTING_HEADER, home, PEER_HOME, here) in held
        policy = first_match(held, Direction.OUTBOUND, home, PEER_HOME)
        assert policy.templates == expected
        (mobility,) = (
            e for e in held if isinstance(e, SecurityPolicy) and e.name == "mobility/out"
        )
        assert mobility.action is PolicyAction.BYPASS
        assert mobility.precedence < policy.precedence


NEW = Outside("eth1", IPv6Address("fe80::2"), IPv6Address("2001:db8:2::d1"), slot=1)
HA = COMPANY.home_agent


def during_overlap(*known_at_the_new_address: IPv6Address) -> Databases:
    known = dict.fromkeys((SG, HA, PEER_HOME), CARE_OF)
    for peer in known_at_the_new_address:
        del known[peer]
    bindings = Bindings(optimised=frozenset({SG, PEER_HOME}), by_former=known)
    return NODE.at(NEW, bindings, [PAIR], (OUTSIDE,))


@pytest.mark.parametrize("link", [OUTSIDE, NEW])
def test_during_an_overlap_each_care_of_address_leaves_by_its_own_link(link: Outside):
    held = during_overlap()
    (rule,) = (e for e in held if isinstance(e, Rule) and e.source == host(link.care_of_address))
    (route,) = (e for e in held if isinstance(e, Route) and e.table == rule.table)
    (hop,) = (e for e in held if isinstance(e, NextHop) and e.number == route.next_hop)
    assert (hop.device, hop.gateway) == (link.device, link.router)
    assert link.care_of_address in {e.address for e in held if isinstance(e, Address)}


def test_the_former_link_is_as_it_was_when_another_one_comes():
    own = {e for e in NODE.at(OUTSIDE) if isinstance(e, Address | NextHop | Rule | Tunnel)}
    assert own <= set(during_overlap())


def test_packets_leave_from_the_care_of_address_that_the_peer_knows():
    def source_to(held: Databases, peer: IPv6Address) -> IPv6Address:
        identity = (Extension.HOME_ADDRESS_OPTION, MN1.external_home_address, peer)
        (binding,) = (e for e in held if e.identity == identity)
        assert isinstance(binding, RouteOptimisation)
        return binding.care_of_address

    held = during_overlap(SG)
    assert source_to(held, SG) == NEW.care_of_address
    assert source_to(held, PEER_HOME) == CARE_OF


def test_a_policy_is_put_again_when_its_binding_moves():
    """A connected socket would else go on sending on the former link."""
    changes = difference(during_overlap(), during_overlap(PEER_HOME))
    assert [change.entry for change in changes if isinstance(change.entry, SecurityPolicy)] == [
        first_match(
            during_overlap(PEER_HOME),
            Direction.OUTBOUND,
            MN1.internal_home_address,
            MN2.internal_home_address,
        )
    ]


def test_what_comes_to_either_care_of_address_is_taken():
    held = during_overlap()
    routing = {
        e.care_of_address
        for e in held
        if isinstance(e, RouteOptimisation) and e.extension is Extension.ROUTING_HEADER
    }
    assert routing == {ANY}
    tunnel = GIVEN[Purpose.NODE_HOME_AGENT_TUNNEL, "mn1"].backward
    ends = {
        e.destination for e in held if isinstance(e, SecurityAssociation) and e.spi == tunnel.spi
    }
    assert ends == {CARE_OF, NEW.care_of_address}
    assert {e.local for e in held if isinstance(e, Tunnel)} == ends


@pytest.mark.parametrize(("known", "link"), [((), OUTSIDE), ((HA,), NEW)])
def test_the_home_agents_tunnel_begins_where_it_knows_the_node(
    known: tuple[IPv6Address, ...], link: Outside
):
    held = during_overlap(*known)
    (way,) = (e for e in held if isinstance(e, Route) and e.table == HOME_TABLE)
    (tunnel,) = (e for e in held if isinstance(e, Tunnel) and e.device == way.device)
    assert tunnel.local == link.care_of_address
    for kind in (MobilityType.HOME_TEST_INIT, MobilityType.HOME_TEST):
        (test,) = (
            e
            for e in held
            if isinstance(e, SecurityPolicy) and e.selector.mobility_type == kind.value
        )
        esp = test.templates[0]
        assert isinstance(esp, EspTemplate)
        assert esp.source == link.care_of_address


def test_the_default_route_is_the_new_link_s():
    (route,) = (
        e
        for e in during_overlap()
        if isinstance(e, Route) and (e.prefix, e.table) == (EVERYWHERE, Route(EVERYWHERE).table)
    )
    assert NextHop(route.next_hop or 0, NEW.device, NEW.router) in during_overlap()


@pytest.mark.parametrize("detection", DuplicateDetection)
def test_only_a_care_of_address_is_looked_for_on_its_link(detection: DuplicateDetection):
    node = replace(NODE, detection=detection)
    detections = {
        entry.address: entry.detection
        for place in PLACES
        for entry in node.at(place)
        if isinstance(entry, Address)
    }
    assert detections == {
        CARE_OF: detection,
        MN1.internal_home_address: DuplicateDetection.NONE,
        MN1.external_home_address: DuplicateDetection.NONE,
    }


def test_a_tentative_address_is_all_that_a_place_adds_to_being_detached():
    node = replace(NODE, detection=DuplicateDetection.CLASSIC)
    (change,) = difference(node.at(Detached()), node.at(TENTATIVE))
    address = Address(CARE_OF, "eth0", detection=DuplicateDetection.CLASSIC)
    assert change == Put(address)
    settled = difference(node.at(TENTATIVE), node.at(OUTSIDE))
    assert address not in [change.entry for change in settled]
