"""The databases of gateway, home agent, internal router and VCM."""

from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address

import pytest

from mobivpn.errors import CallerError
from mobivpn.host.associations import ENDS_BY_ROLE, Purpose, identity_end, share_of
from mobivpn.host.fixed_databases import (
    NOWHERE_TABLE,
    HomeAgentDatabases,
    ManagerDatabases,
    RouterDatabases,
    tunnel_name,
)
from mobivpn.host.gateway_databases import FROM_LAN_TABLE, GatewayDatabases
from mobivpn.host.mtu import PATH_OVERHEAD, inner_mtu
from mobivpn.host.network import MAIN_TABLE, NeighbourProxy, Route, Rule, Tunnel
from mobivpn.ipsec.databases import Databases, Put, Remove, difference
from mobivpn.ipsec.policy import EspTemplate, PolicyAction, SecurityPolicy
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.ipsec.selector import EVERYWHERE, IPPROTO_MH, Direction, TrafficSelector, host
from mobivpn.variants import VcmPlace
from tests.support.company import COMPANY, MN1, MN2, associations

GIVEN = associations()
CARE_OF, ELSEWHERE = IPv6Address("2001:db8:1::d1"), IPv6Address("2001:db8:2::d1")
IFNAMSIZ = 16
GATEWAY = GatewayDatabases(COMPANY, GIVEN, "lan", "ext", IPv6Address("2001:db8:5::1"))
HOME_AGENT = HomeAgentDatabases(COMPANY, GIVEN, "home")
ROUTER = RouterDatabases(COMPANY, GIVEN, "lan", "tosg")
VCM_IN_SG = replace(COMPANY, vcm_at=VcmPlace.GATEWAY)
GIVEN_IN_SG = associations(VCM_IN_SG)
GATEWAY_WITH_VCM = replace(GATEWAY, company=VCM_IN_SG, associations=GIVEN_IN_SG)


def outbound_to(held: Databases, address: IPv6Address) -> list[SecurityPolicy]:
    return [
        entry
        for entry in held
        if isinstance(entry, SecurityPolicy)
        and entry.direction is Direction.OUTBOUND
        and entry.selector.remote_prefix == host(address)
        and entry.device == "ext"
    ]


def test_the_inbound_association_of_a_node_always_stands_at_sg():
    inside = GATEWAY.at({})
    forward = [p for p in inside if isinstance(p, SecurityPolicy) and p.name == "mn1/forward"]
    assert forward[0].direction is Direction.FORWARD
    assert GIVEN[Purpose.NODE_GATEWAY, "mn1"].forward in inside


def test_the_outbound_association_is_used_only_while_the_node_is_outside():
    assert outbound_to(GATEWAY.at({}), MN1.internal_home_address) == []
    assert len(outbound_to(GATEWAY.at({"mn1": CARE_OF}), MN1.internal_home_address)) == 1


def test_hairpin_policies_are_bound_to_devices_so_that_the_lan_sees_the_traffic():
    held = GATEWAY.at({"mn1": CARE_OF})
    data = [p for p in held if isinstance(p, SecurityPolicy) and p.name.startswith("mn1/")]
    assert {(p.direction, p.device) for p in data} == {
        (Direction.FORWARD, "lan"),
        (Direction.OUTBOUND, "ext"),
    }
    assert Rule(FROM_LAN_TABLE, preference=90, incoming_device="lan") in held


def test_a_node_without_a_binding_at_sg_is_reached_at_its_home_address():
    (policy,) = outbound_to(GATEWAY.at({"mn1": None}), MN1.internal_home_address)
    assert len(policy.templates) == 1
    (policy,) = outbound_to(GATEWAY.at({"mn1": CARE_OF}), MN1.internal_home_address)
    assert len(policy.templates) == 2


def test_packets_from_the_lan_never_go_back_to_the_lan():
    assert Route(COMPANY.vpn_prefix, metric=4096, table=FROM_LAN_TABLE) in GATEWAY.at({})


def test_nothing_of_the_vpn_passes_sg_without_an_association():
    discards = {
        (p.direction, p.device)
        for p in GATEWAY.at({})
        if isinstance(p, SecurityPolicy) and p.action is PolicyAction.DISCARD
    }
    assert discards == {(Direction.OUTBOUND, "ext"), (Direction.FORWARD, "lan")}


def test_a_bound_node_has_a_tunnel_and_its_home_test_is_protected():
    held = HOME_AGENT.at({"mn1": CARE_OF})
    device = tunnel_name(MN1, CARE_OF)
    assert Tunnel(device, COMPANY.home_agent, CARE_OF, 1460) in held
    assert Route(host(MN1.external_home_address), device=device) in held
    assert (
        RouteOptimisation(
            Extension.ROUTING_HEADER, COMPANY.home_agent, MN1.external_home_address, CARE_OF
        )
        in held
    )
    (policy,) = [
        p for p in held if isinstance(p, SecurityPolicy) and p.name == "mn1/mobility_to_node"
    ]
    assert isinstance(policy.templates[0], EspTemplate)
    assert policy.templates[0].destination == CARE_OF
    # Linux does not read the type of what it forwards.
    assert policy.selector == TrafficSelector(
        EVERYWHERE, host(MN1.external_home_address), IPPROTO_MH
    )


def test_what_leaves_a_nodes_tunnel_comes_from_its_home_address_or_goes_nowhere():
    held = HOME_AGENT.at({"mn1": CARE_OF})
    rules = {e.preference: (e.source, e.table) for e in held if isinstance(e, Rule)}
    assert rules == {
        90: (host(MN1.external_home_address), MAIN_TABLE),
        91: (None, NOWHERE_TABLE),
    }
    assert Route(EVERYWHERE, table=NOWHERE_TABLE) in held


@pytest.mark.parametrize("purpose", [Purpose.NODE_HOME_AGENT, Purpose.NODE_HOME_AGENT_TUNNEL])
def test_an_association_with_the_home_agent_carries_nothing_in_another_nodes_name(purpose: Purpose):
    assert GIVEN[purpose, "mn1"].forward.inner_source == host(MN1.external_home_address)


def test_an_unbound_home_agent_has_no_tunnel_but_takes_binding_updates():
    held = HOME_AGENT.at({})
    assert not [e for e in held if isinstance(e, Tunnel)]
    assert [e for e in held if isinstance(e, RouteOptimisation) and e.wildcard]


def test_a_handover_at_the_home_agent_moves_the_route_to_another_tunnel_and_changes_none():
    changes = difference(HOME_AGENT.at({"mn1": CARE_OF}), HOME_AGENT.at({"mn1": ELSEWHERE}))
    before, after = tunnel_name(MN1, CARE_OF), tunnel_name(MN1, ELSEWHERE)
    way = partial(Route, host(MN1.external_home_address))
    tunnels = [change for change in changes if isinstance(change.entry, Tunnel)]
    assert tunnels == [
        Put(Tunnel(after, COMPANY.home_agent, ELSEWHERE, 1460)),
        Remove(Tunnel(before, COMPANY.home_agent, CARE_OF, 1460)),
    ]
    route = Put(way(device=after), way(device=before))
    assert changes.index(tunnels[0]) < changes.index(route) < changes.index(tunnels[1])


def test_the_tunnel_of_a_former_address_lets_packets_in_and_none_out():
    held = HOME_AGENT.at({"mn1": ELSEWHERE}, [("mn1", CARE_OF)])
    more = set(held) - set(HOME_AGENT.at({"mn1": ELSEWHERE}))
    device = tunnel_name(MN1, CARE_OF)
    assert more == {
        Tunnel(device, COMPANY.home_agent, CARE_OF, 1460),
        Rule(MAIN_TABLE, 90, host(MN1.external_home_address), device),
        Rule(NOWHERE_TABLE, 91, incoming_device=device),
    }
    assert HOME_AGENT.at({}, [("mn1", CARE_OF)]) == HOME_AGENT.at({})


def test_the_name_of_a_tunnel_fits_into_an_interfaces_name():
    assert all(len(tunnel_name(node, CARE_OF)) < IFNAMSIZ for node in COMPANY.nodes)


def test_r22_stands_in_for_absent_nodes_only():
    held = ROUTER.at([MN1])
    assert NeighbourProxy(MN1.internal_home_address, "lan") in held
    assert [e.prefix for e in held if isinstance(e, Route)] == [host(MN1.internal_home_address)]
    assert not [e for e in ROUTER.at([]) if isinstance(e, NeighbourProxy | Route)]


def test_the_vcm_shares_an_association_with_sg_and_with_every_node():
    held = ManagerDatabases(COMPANY, share_of(GIVEN, "vcm", None)).all()
    peers = {e.destination for e in held if isinstance(e, SecurityAssociation)} - {COMPANY.vcm}
    assert peers == {
        COMPANY.security_gateway_inside,
        *(node.internal_home_address for node in COMPANY.nodes),
    }


def test_a_vcm_in_sg_has_no_association_of_its_own():
    assert {purpose for purpose, _ in GIVEN_IN_SG} & ENDS_BY_ROLE["vcm"] == set()
    assert ManagerDatabases(VCM_IN_SG, share_of(GIVEN_IN_SG, "vcm", None)).all() == ()


def of_vcm(
    direction: Direction, other: IPv6Address, bindings: dict[str, IPv6Address | None]
) -> SecurityPolicy:
    """Return the policy of sg for what its VCM sends or is sent, by whatever device."""
    matching = [
        entry
        for entry in GATEWAY_WITH_VCM.at(bindings)
        if isinstance(entry, SecurityPolicy)
        and (entry.direction, entry.device) == (direction, None)
        and entry.selector.inner_protocol is None
        and COMPANY.vcm in entry.selector.local_prefix
        and other in entry.selector.remote_prefix
    ]
    return min(matching, key=lambda policy: policy.precedence)


@pytest.mark.parametrize("bindings", [{"mn1": CARE_OF}, {"mn1": None}])
@pytest.mark.parametrize("direction", [Direction.OUTBOUND, Direction.INBOUND])
def test_what_a_vcm_in_sg_and_a_node_outside_say_is_under_the_mn_sg_association(
    direction: Direction, bindings: dict[str, IPv6Address | None]
):
    template = of_vcm(direction, MN1.internal_home_address, bindings).templates[0]
    assert isinstance(template, EspTemplate)
    assert template.reqid == Purpose.NODE_GATEWAY.value
    assert {template.source, template.destination} == {
        COMPANY.security_gateway,
        MN1.external_home_address,
    }


def test_a_vcm_in_sg_says_nothing_to_a_node_inside_nor_to_anybody_else():
    for other in (MN2.internal_home_address, COMPANY.security_gateway_inside, CARE_OF):
        policy = of_vcm(Direction.OUTBOUND, other, {"mn1": CARE_OF})
        assert policy.action is PolicyAction.DISCARD


def test_nobody_without_an_association_says_anything_to_a_vcm_in_sg():
    for other in (COMPANY.security_gateway_inside, COMPANY.internal_router, CARE_OF):
        assert of_vcm(Direction.INBOUND, other, {}).action is PolicyAction.DISCARD


def test_a_vcm_in_sg_has_no_route_to_the_lan():
    assert Rule(FROM_LAN_TABLE, preference=89, source=host(COMPANY.vcm)) in GATEWAY_WITH_VCM.at({})


def test_agents_of_one_host_have_no_entry_in_common():
    of_router = {entry.identity for entry in ROUTER.at(COMPANY.nodes)}
    of_vcm = {entry.identity for entry in ManagerDatabases(COMPANY, GIVEN).all()}
    assert of_router.isdisjoint(of_vcm)


def test_nobody_is_given_keys_of_others():
    own = share_of(GIVEN, "mobile_node", "mn1")
    assert {name for _, name in own} == {"mn1"}
    for role, purposes in ENDS_BY_ROLE.items():
        assert {p for p, _ in share_of(GIVEN, role, None)} == purposes


@pytest.mark.parametrize("purpose", [p for p in Purpose if p.name.startswith("NODE_")])
def test_an_association_begins_at_the_nodes_own_end(purpose: Purpose):
    assert GIVEN[purpose, "mn1"].forward.source == identity_end(MN1, purpose)


def test_nodes_are_found_by_name_and_by_either_home_address():
    assert COMPANY.node("mn2") == MN2
    assert COMPANY.node_at(MN2.internal_home_address) == MN2
    assert COMPANY.node_at(MN2.external_home_address) == MN2
    assert COMPANY.node_at(COMPANY.vcm) is None
    with pytest.raises(CallerError, match="mn9"):
        COMPANY.node("mn9")


def test_the_inner_mtu_fits_the_longest_header_stack():
    assert inner_mtu(1500) == 1352
    assert all(inner_mtu(1500) + overhead <= 1500 for overhead in PATH_OVERHEAD.values())
    assert inner_mtu(1500) >= 1280
