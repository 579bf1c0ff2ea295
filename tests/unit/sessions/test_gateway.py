"""What the security gateway decides (mobivpn.sessions.gateway)."""

from ipaddress import IPv6Address

import pytest

from mobivpn.host.effects import Record
from mobivpn.host.plan import NodeIdentity
from mobivpn.sessions.gateway import (
    Effect,
    Flow,
    ForwardPacket,
    GatewayCore,
    InstallFlow,
    Notice,
    Notify,
    PortRole,
    RemoveFlow,
)
from mobivpn.sessions.packet import PacketSummary
from mobivpn.signalling.messages import (
    MAX_CORRESPONDENTS,
    MAX_SESSIONS,
    MoreCorrespondents,
    NodeExternal,
    NodeInternal,
    SessionDetected,
)
from mobivpn.variants import Trigger
from tests.support.company import COMPANY, MN1, MN2

SG, ROUTER = PortRole.GATEWAY, PortRole.ROUTER
A, B = MN1.internal_home_address, MN2.internal_home_address
FILE_SERVER = IPv6Address("fd00:10::16")
CARE_OF = IPv6Address("2001:db8:1::d1")


def core(trigger: Trigger = Trigger.BOTH, *, combined: bool = False) -> GatewayCore:
    return GatewayCore(
        mobile_nodes=frozenset(node.internal_home_address for node in COMPANY.nodes),
        infrastructure=frozenset({COMPANY.vcm}),
        trigger=trigger,
        combined=combined,
    )


def packet(
    gateway: GatewayCore, in_port: PortRole, source: IPv6Address, destination: IPv6Address
) -> list[Effect]:
    return gateway.packet_in(in_port, PacketSummary(source, destination, 17), 0.0)


def leave(gateway: GatewayCore, node: NodeIdentity) -> list[Effect]:
    return gateway.node_external(
        node.internal_home_address, node.external_home_address, CARE_OF, 0.0
    )


def outside(*nodes: NodeIdentity) -> GatewayCore:
    gateway = core()
    for node in nodes:
        leave(gateway, node)
    return gateway


def notices(effects: list[Effect]) -> list[Notice]:
    return [effect.notice for effect in effects if isinstance(effect, Notify)]


def records(effects: list[Effect]) -> list[tuple[str, str | None]]:
    return [(e.event, e.numeral) for e in effects if isinstance(e, Record)]


def test_the_first_packet_goes_on_before_the_rule_for_the_others_stands():
    assert packet(outside(MN1), SG, A, FILE_SERVER)[:2] == [
        ForwardPacket(ROUTER),
        InstallFlow(Flow(SG, A, FILE_SERVER), ROUTER, mirror=False, idle_timeout_s=30),
    ]


@pytest.mark.parametrize(
    ("in_port", "source", "destination", "mirror"),
    [
        (SG, A, B, True),
        (SG, A, FILE_SERVER, False),
        (ROUTER, A, B, False),
        (ROUTER, FILE_SERVER, A, False),
    ],
)
def test_only_mobile_to_mobile_flows_are_mirrored_and_only_on_their_way_from_sg(
    in_port: PortRole, source: IPv6Address, destination: IPv6Address, mirror: bool
):
    (rule,) = (
        e
        for e in packet(outside(MN1, MN2), in_port, source, destination)
        if isinstance(e, InstallFlow)
    )
    assert rule.mirror is mirror
    assert rule.out_port is in_port.opposite


def test_a_node_inside_is_known_by_its_care_of_address_as_well():
    gateway = outside(MN1)
    here = IPv6Address("2001:db8:10::d2")
    by_care_of_address = (
        (SG, PacketSummary(A, here, 17, destination_home_address=B)),
        (ROUTER, PacketSummary(here, A, 17, source_home_address=B)),
    )
    rules = [
        effect
        for in_port, seen in by_care_of_address
        for effect in gateway.packet_in(in_port, seen, 0.0)
        if isinstance(effect, InstallFlow)
    ]
    assert [rule.flow for rule in rules] == [Flow(SG, A, here), Flow(ROUTER, here, A)]
    assert [rule.mirror for rule in rules] == [True, False]
    gateway.flow_removed(rules[0].flow, 30.0)
    assert SessionDetected(A, B) in notices(leave(gateway, MN2))


def test_a_mobility_message_belongs_to_no_session_and_makes_no_flow():
    gateway = outside(MN1)
    care_of_test_init = PacketSummary(IPv6Address("2001:db8:10::d2"), A, 135)
    assert gateway.packet_in(ROUTER, care_of_test_init, 0.0) == [ForwardPacket(SG)]


def test_when_the_flows_of_a_care_of_address_are_idle_the_session_is_over():
    gateway = outside(MN1)
    here = IPv6Address("2001:db8:10::d2")
    gateway.packet_in(SG, PacketSummary(A, here, 17, destination_home_address=B), 0.0)
    gateway.flow_removed(Flow(SG, A, here), 30.0)
    assert SessionDetected(A, B) not in notices(leave(gateway, MN2))


def test_202_carries_the_nodes_addresses_and_all_correspondents_inside_ones_too():
    gateway = core()
    packet(gateway, ROUTER, FILE_SERVER, A)
    packet(gateway, SG, A, B)
    effects = leave(gateway, MN1)
    assert notices(effects) == [
        NodeExternal(A, MN1.external_home_address, 1, CARE_OF, (FILE_SERVER, B))
    ]
    assert records(effects) == [("sg_mn_external", "202")]


def test_correspondents_that_do_not_fit_follow():
    gateway = core()
    peers = [IPv6Address(f"fd00:10::{i:x}") for i in range(0x100, 0x100 + MAX_CORRESPONDENTS + 1)]
    for peer in peers:
        packet(gateway, ROUTER, peer, A)
    first, more = notices(leave(gateway, MN1))
    assert isinstance(first, NodeExternal)
    assert first.correspondents == tuple(peers[:-1])
    assert more == MoreCorrespondents(A, (peers[-1],))


def test_a_new_correspondent_of_an_external_node_is_told():
    gateway = outside(MN1)
    (notice,) = notices(packet(gateway, ROUTER, FILE_SERVER, A))
    assert isinstance(notice, NodeExternal)
    assert notice.correspondents == (FILE_SERVER,)
    assert notices(packet(gateway, SG, A, FILE_SERVER)) == []


def test_a_handover_is_none_of_the_vcms_business():
    gateway = outside(MN1)
    assert leave(gateway, MN1) == []


def test_every_departure_has_a_number_of_its_own():
    gateway = core()
    told = notices(leave(gateway, MN1))
    gateway.node_internal(A, 0.0)
    told += notices(leave(gateway, MN1))
    assert [notice.departure for notice in told if isinstance(notice, NodeExternal)] == [1, 2]


def test_a_session_of_two_external_nodes_is_detected_by_its_first_packet():
    gateway = outside(MN1, MN2)
    effects = packet(gateway, SG, A, B)
    assert notices(effects) == [SessionDetected(A, B)]
    assert records(effects) == [("sg_session_detected", "202")]
    assert notices(packet(gateway, SG, B, A)) == []


def test_an_existing_session_is_detected_when_its_second_node_leaves():
    gateway = outside(MN2)
    packet(gateway, ROUTER, A, B)
    told = notices(leave(gateway, MN1))
    assert [type(notice) for notice in told] == [NodeExternal, SessionDetected]


def test_the_second_pass_of_a_hairpin_does_not_count():
    gateway = outside(MN1, MN2)
    assert notices(packet(gateway, ROUTER, A, B)) == []
    packet(gateway, SG, A, B)
    assert gateway.flow_removed(Flow(SG, A, B), 40.0) == []
    # It is over although its second pass was not idle.
    assert notices(packet(gateway, SG, A, B)) == [SessionDetected(A, B)]


def test_a_flow_that_became_a_second_pass_still_ends():
    gateway = outside(MN2)
    packet(gateway, ROUTER, A, B)
    leave(gateway, MN1)
    gateway.flow_removed(Flow(ROUTER, A, B), 40.0)
    assert notices(packet(gateway, SG, A, B)) == [SessionDetected(A, B)]


def test_the_former_second_pass_of_a_node_that_returned_counts_again():
    gateway = outside(MN1, MN2)
    packet(gateway, ROUTER, A, B)
    packet(gateway, ROUTER, B, A)
    effects = gateway.node_internal(A, 0.0)
    assert effects[0] == Notify(NodeInternal(A))
    assert effects[2:] == [RemoveFlow(Flow(ROUTER, A, B))]
    packet(gateway, ROUTER, A, B)
    assert SessionDetected(A, B) in notices(leave(gateway, MN1))


def test_a_second_pass_that_was_idle_is_forgotten():
    gateway = outside(MN1, MN2)
    packet(gateway, ROUTER, A, B)
    gateway.flow_removed(Flow(ROUTER, A, B), 40.0)
    assert not any(isinstance(e, RemoveFlow) for e in gateway.node_internal(A, 0.0))


def test_the_return_of_a_node_that_was_never_outside_is_no_news():
    assert core().node_internal(A, 0.0) == []


def test_the_end_of_a_direct_pair_makes_its_next_packet_a_trigger():
    gateway = outside(MN1, MN2)
    packet(gateway, SG, A, B)
    packet(gateway, SG, B, A)
    assert gateway.pair_withdrawn(B, A, 0.0) == [
        RemoveFlow(Flow(SG, A, B)),
        RemoveFlow(Flow(SG, B, A)),
    ]
    assert notices(packet(gateway, SG, A, B)) == [SessionDetected(A, B)]


def detections(effects: list[Effect]) -> list[Notice]:
    return [notice for notice in notices(effects) if isinstance(notice, SessionDetected)]


def told(trigger: Trigger, *, first: bool) -> tuple[GatewayCore, list[Notice]]:
    """Let a session be there `first`, or its nodes outside; return what the VCM hears of it."""
    gateway = core(trigger)
    leave(gateway, MN2)
    effects = packet(gateway, ROUTER, A, B) if first else []
    effects += leave(gateway, MN1)
    effects += packet(gateway, SG, A, B)
    return gateway, detections(effects)


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("first", [True, False])
def test_the_vcm_is_told_of_the_sessions_that_the_trigger_asks_for(trigger: Trigger, first: bool):
    unwanted = Trigger.INITIATION if first else Trigger.SESSION
    _, sessions = told(trigger, first=first)
    assert sessions == ([] if trigger is unwanted else [SessionDetected(A, B)])


@pytest.mark.parametrize(("idle", "again"), [(True, []), (False, [SessionDetected(A, B)])])
def test_after_an_idle_pair_a_session_is_new_and_after_another_it_goes_on(
    idle: bool, again: list[Notice]
):
    gateway, _ = told(Trigger.SESSION, first=True)
    assert gateway.pair_withdrawn(A, B, 0.0, idle=idle)
    assert detections(packet(gateway, SG, A, B)) == again


def test_an_old_session_is_not_begun_anew_by_the_end_of_an_earlier_pair():
    gateway, _ = told(Trigger.INITIATION, first=True)
    assert gateway.pair_withdrawn(A, B, 0.0) == []
    assert detections(packet(gateway, SG, A, B)) == []


def test_a_session_that_went_direct_long_ago_is_detected_when_it_is_back():
    gateway, _ = told(Trigger.SESSION, first=True)
    for flow in (Flow(SG, A, B), Flow(ROUTER, A, B)):
        gateway.flow_removed(flow, 40.0)
    assert gateway.pair_withdrawn(A, B, 100.0) == []
    assert notices(packet(gateway, SG, B, A)) == [SessionDetected(A, B)]


def test_a_combined_notice_tells_of_the_session_that_the_nodes_leaving_makes():
    gateway = core(combined=True)
    leave(gateway, MN2)
    packet(gateway, ROUTER, A, B)
    effects = leave(gateway, MN1)
    (notice,) = notices(effects)
    assert isinstance(notice, NodeExternal)
    assert notice.in_session_with == (B,)
    assert records(effects) == [("sg_mn_external", "202"), ("sg_session_detected", "202")]


def test_a_notice_that_replaces_a_combined_one_tells_of_its_session_as_well():
    gateway = core(combined=True)
    leave(gateway, MN2)
    packet(gateway, ROUTER, A, B)
    leave(gateway, MN1)
    (notice,) = notices(packet(gateway, ROUTER, FILE_SERVER, A))
    assert isinstance(notice, NodeExternal)
    assert notice.in_session_with == (B,)
    gateway.pair_withdrawn(A, B, 0.0, idle=True)
    (notice,) = notices(packet(gateway, ROUTER, IPv6Address("fd00:10::17"), A))
    assert isinstance(notice, NodeExternal)
    assert notice.in_session_with == ()


def test_a_session_that_begins_later_has_no_notice_to_be_combined_with():
    gateway = core(combined=True)
    leave(gateway, MN1)
    leave(gateway, MN2)
    assert notices(packet(gateway, SG, A, B)) == [SessionDetected(A, B)]


def test_sessions_that_a_combined_notice_has_no_room_for_follow():
    peers = [IPv6Address(f"fd00:10::{i:x}") for i in range(0x100, 0x100 + MAX_SESSIONS + 1)]
    gateway = GatewayCore(mobile_nodes=frozenset({A, *peers}), combined=True)
    for peer in peers:
        gateway.node_external(peer, peer, None, 0.0)
        packet(gateway, ROUTER, A, peer)
    first, more = notices(leave(gateway, MN1))
    assert isinstance(first, NodeExternal)
    assert first.in_session_with == tuple(peers[:-1])
    assert more == SessionDetected(A, peers[-1])


@pytest.mark.parametrize(
    ("source", "destination"), [(A, COMPANY.vcm), (FILE_SERVER, COMPANY.vcm), (A, A)]
)
def test_what_is_no_session_is_switched_and_forgotten(
    source: IPv6Address, destination: IPv6Address
):
    gateway = outside(MN1)
    effects = packet(gateway, SG, source, destination)
    assert [type(effect) for effect in effects] == [ForwardPacket, InstallFlow]
    assert gateway.flow_removed(Flow(SG, source, destination), 40.0) == []


def test_a_switch_that_joins_again_has_no_flows():
    gateway = outside(MN1, MN2)
    packet(gateway, SG, A, B)
    assert gateway.switch_joined(1.0) == []
    assert notices(packet(gateway, SG, A, B)) == [SessionDetected(A, B)]


def test_idle_time_is_counted_by_the_switch():
    assert core().deadline is None
