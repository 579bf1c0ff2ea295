"""Figure 2 of the seed from the cores of all roles, from leaving the LAN to coming home.

That nothing leaves in clear is held for every packet, by the world itself.
"""

from ipaddress import IPv6Address
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.plan import NodeIdentity
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.mip6.constants import INITIAL_BINDACK_TIMEOUT_S
from mobivpn.mip6.messages import BindingAcknowledgement, BindingError, BindingUpdate
from mobivpn.variants import (
    BestPath,
    GatewayBinding,
    KeyScheme,
    Trigger,
    VcmAssociation,
    VcmPlace,
)
from tests.simulation.story.kernel import Datagram, Packet
from tests.simulation.story.world import (
    ADVERTISED_EVERY_S,
    DELAY_S,
    FAKE,
    LAN,
    LINKLESS_S,
    LINKS,
    RETRANS_TIMER_S,
    ROUTER_ANSWERS_S,
    Faults,
    Probe,
    World,
)
from tests.support.company import MN1, MN2, MN3
from tests.support.examples import share

SETTLED_S = 2.5
"""From a move until nothing of it is left, without faults."""
UNDER_WAY_S = 0.5
WALK = (
    (MN2, "cell", "sg"),
    (MN1, "wifi1", ""),
    (MN1, "wifi2", ""),
    (MN2, "wifi1", ""),
    (MN1, LAN, "sg"),
    (MN2, LAN, ""),
)
"""Who moves, where to, and whom packets pass when all has settled: nobody, or sg."""


def talking(world: World, until: float = 1e9, every_s: float = 0.05) -> World:
    """Let MN1 and MN2 talk inside for a second."""
    world.run_until(0.5)
    world.talk(MN1, MN2, until, every_s)
    world.run_until(1.0)
    return world


def move(world: World, node: NodeIdentity, network: str) -> float:
    """Move a node, let all settle, and return when it was."""
    moved_at = world.now
    world.move(node, network)
    world.run_until(moved_at + SETTLED_S)
    return moved_at


def both_outside(world: World) -> float:
    """Let figure 2 happen; return when the second node left."""
    move(talking(world), MN2, "cell")
    return move(world, MN1, "wifi1")


def calm_paths(world: World, for_s: float = 1.0) -> set[str]:
    """Return the paths of all packets from now on, those with a fault among them."""
    since = world.now
    world.run_until(since + for_s + UNDER_WAY_S)
    return set(world.paths(since, since + for_s))


@pytest.mark.parametrize(
    ("vcm_at", "combined", "agent_delay_s"),
    [
        (VcmPlace.OWN, False, 0.0),
        (VcmPlace.OWN, True, 0.001),
        (VcmPlace.OWN, False, 0.05),
        (VcmPlace.GATEWAY, False, 0.0),
        (VcmPlace.GATEWAY, True, 0.05),
    ],
)
@pytest.mark.parametrize("public", [False, True])
def test_the_whole_walk(public: bool, vcm_at: VcmPlace, combined: bool, agent_delay_s: float):
    faults = Faults(agent_delay_s=agent_delay_s)
    world = talking(World(public=public, vcm_at=vcm_at, combined=combined, faults=faults))
    assert calm_paths(world) == {""}
    for node, network, path in WALK:
        move(world, node, network)
        assert calm_paths(world) == {path}, (node.name, network)
    assert world.outside_packets > 0
    assert world.stored == {}
    assert all(len(probe.arrived_at) <= 1 for probe in world.probes)


def optimised(world: World, for_s: float = 1.0) -> set[bool]:
    """Return whether packets from now on tell a care-of address themselves."""
    since = world.now
    world.run_until(since + for_s + UNDER_WAY_S)
    return {p.optimised for p in world.probes if since <= p.sent_at < since + for_s}


def bindings_between_nodes(world: World) -> set[tuple[str, IPv6Address, IPv6Address]]:
    """Return who believes which node to be where."""
    homes = {node.external_home_address for node in world.company.nodes}
    return {
        (node.name, entry.destination, entry.care_of_address)
        for node in world.nodes.values()
        for entry in node.kernel.entries()
        if isinstance(entry, RouteOptimisation)
        and entry.extension is Extension.ROUTING_HEADER
        and entry.destination in homes - {node.me.external_home_address}
    }


@pytest.mark.parametrize(
    ("agent_delay_s", "options"),
    [
        (0.0, {}),
        (0.05, {}),
        (0.0, {"binding_keys": True}),
        (0.0, {"sg_binding": GatewayBinding.NO}),
        (0.0, {"vcm_at": VcmPlace.GATEWAY}),
        (0.05, {"vcm_sa": VcmAssociation.DIRECT}),
    ],
)
def test_between_inside_and_outside_the_route_is_optimised_as_long_as_the_session_lives(
    agent_delay_s: float, options: dict[str, Any]
):
    world = talking(World(public=True, faults=Faults(agent_delay_s=agent_delay_s), **options))
    home = world.company.node("mn1").external_home_address
    inside = world.nodes[MN1].care_of_address_inside
    move(world, MN2, "cell")
    assert optimised(world) == {False}
    move(world, MN1, "wifi1")
    for _ in range(2):
        # mn1 returns, mn2 goes on; later, mn1 leaves again.
        move(world, MN1, LAN)
        world.run_until(world.now + 5.0)
        assert calm_paths(world) == world.by_gateway
        assert optimised(world) == {True}
        assert bindings_between_nodes(world) == {("mn2", home, inside)}
        move(world, MN2, "wifi2")
        assert optimised(world) == {True}
        move(world, MN1, "wifi1")
        world.run_until(world.now + 5.0)
        assert calm_paths(world) == {""}
        assert len(bindings_between_nodes(world)) == 2
    move(world, MN1, LAN)
    returned_at = move(world, MN2, LAN)
    assert calm_paths(world) == {""}
    assert optimised(world) == {False}
    assert bindings_between_nodes(world) == set()
    # By r22: an address that is optimistic asks for no neighbour (RFC 4429 section 3.3).
    said = [e for at, name, e in world.mobility if name == "mn2" and at > returned_at]
    assert BindingError in {type(effect.message) for effect in said}
    assert not any(effect.destination in world.company.vpn_prefix for effect in said)
    assert all(len(probe.arrived_at) <= 1 for probe in world.probes)


@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
def test_two_nodes_that_come_inside_at_once_do_not_stay_bound(agent_delay_s: float):
    world = World(public=True, faults=Faults(agent_delay_s=agent_delay_s))
    both_outside(world)
    world.move(MN2, LAN)
    move(world, MN1, LAN)
    world.run_until(world.now + 30.0)
    assert calm_paths(world) == {""}
    assert optimised(world) == {False}
    assert bindings_between_nodes(world) == set()


@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
def test_between_inside_and_outside_a_binding_ends_with_its_session(agent_delay_s: float):
    faults = Faults(agent_delay_s=agent_delay_s)
    world = World(public=True, faults=faults, pair_idle_s=20.0)
    talking(world, until=30.0)
    for node, network in ((MN2, "cell"), (MN1, "wifi1"), (MN1, LAN)):
        move(world, node, network)
    world.run_until(30.0)
    assert bindings_between_nodes(world) != set()
    world.run_until(60.0)
    assert world.events("optimisation_idle") == ["optimisation_idle"]
    assert bindings_between_nodes(world) == set()


@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
def test_the_whole_walk_with_a_vcm_association_beside_the_gateways(agent_delay_s: float):
    faults = Faults(agent_delay_s=agent_delay_s)
    world = talking(World(public=True, vcm_sa=VcmAssociation.DIRECT, faults=faults))
    for node, network, path in WALK:
        move(world, node, network)
        assert calm_paths(world) == {path}, (node.name, network)
    assert world.stored == {}


@pytest.mark.parametrize("vcm_at", [VcmPlace.OWN, VcmPlace.GATEWAY])
@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
@pytest.mark.parametrize("public", [False, True])
def test_the_whole_walk_without_bindings_at_the_gateway(
    public: bool, agent_delay_s: float, vcm_at: VcmPlace
):
    faults = Faults(agent_delay_s=agent_delay_s)
    world = talking(
        World(public=public, sg_binding=GatewayBinding.NO, vcm_at=vcm_at, faults=faults)
    )
    assert "sg" not in world.by_gateway
    for node, network, path in WALK:
        move(world, node, network)
        assert calm_paths(world) == (world.by_gateway if path else {""}), (node.name, network)
    assert world.stored == {}
    assert all(len(probe.arrived_at) <= 1 for probe in world.probes)
    sg = world.company.security_gateway
    updates = [e for _, _, e in world.mobility if isinstance(e.message, BindingUpdate)]
    told = {e.care_of_address for e in updates if e.destination == sg}
    assert all(here is not None and here in world.company.vpn_prefix for here in told)


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    ("best_path", "stations"),
    [(BestPath.VIA_GATEWAY, "sg-sg"), (BestPath.VIA_HOME_AGENTS, "ha")],
)
def test_packets_go_as_far_as_the_best_path_and_no_farther(
    best_path: BestPath, stations: str, public: bool
):
    world = talking(World(public=public, best_path=best_path))
    for node, network, path in WALK:
        moved_at = move(world, node, network)
        both_outside = path == "" and network != LAN
        assert calm_paths(world) == {stations if both_outside else path}, (node.name, network)
        later = [probe for probe in world.probes if probe.sent_at > moved_at + SETTLED_S]
        assert all(len(probe.arrived_at) == 1 for probe in later if probe.sent_at < world.now - 1)
    assert world.stored == {}
    assert bool(world.events("vcm_pair_minted")) is best_path.has_pairs
    homes = {node.external_home_address for node in world.company.nodes}
    assert not [e for _, _, e in world.mobility if e.destination in homes and e.source in homes]


@pytest.mark.parametrize("trigger", [Trigger.SESSION, Trigger.INITIATION])
def test_a_session_that_existed_goes_direct_only_where_that_triggers(trigger: Trigger):
    world = talking(World(trigger=trigger))
    direct = trigger is Trigger.SESSION
    for node, network, path in (*WALK[:4], (MN1, LAN, "sg"), (MN1, "wifi1", "")):
        move(world, node, network)
        hairpin = path == "" and not direct
        assert calm_paths(world) == {"sg-sg" if hairpin else path}, (node.name, network)


@pytest.mark.parametrize("trigger", [Trigger.SESSION, Trigger.INITIATION])
def test_a_session_that_begins_outside_goes_direct_only_where_that_triggers(trigger: Trigger):
    world = World(trigger=trigger)
    world.run_until(0.5)
    move(world, MN2, "cell")
    move(world, MN1, "wifi1")
    world.talk(MN1, MN2, until=1e9)
    world.run_until(world.now + SETTLED_S)
    assert calm_paths(world) == {"" if trigger is Trigger.INITIATION else "sg-sg"}


def test_a_vcm_in_sg_and_a_node_that_came_home_have_nothing_to_say_to_each_other():
    world = World(vcm_at=VcmPlace.GATEWAY)
    both_outside(world)
    # A report that nobody hears before the node is home.
    node = world.nodes[MN1]
    world.faults.loss = 1.0
    node.begin(node.core._endpoint.pair_idle(MN2.internal_home_address, 60, world.now))
    world.run_until(world.now + 0.1)
    world.faults.loss = 0.0
    move(world, MN1, LAN)
    world.run_until(world.now + 30)
    assert node.kernel.dropped["policy out"] > 0
    assert calm_paths(world) == {"sg"}


def test_the_switch_to_the_direct_path_loses_and_doubles_nothing():
    world = World()
    left_at = both_outside(world)
    world.run_until(world.now + UNDER_WAY_S)
    probes = [p for p in world.probes if left_at + 0.1 <= p.sent_at < left_at + SETTLED_S]
    assert len(probes) > 90
    assert [len(probe.arrived_at) for probe in probes] == [1] * len(probes)


def test_packets_go_through_the_gateway_then_the_home_agents_then_directly():
    world = World()
    left_at = both_outside(world)
    for source in (MN1, MN2):
        sent = [p for p in world.probes if p.source is source and p.sent_at >= left_at + 0.1]
        paths = [p.path for p in sent if p.arrived_at]
        changes = [paths[0], *(b for a, b in pairwise(paths) if a != b)]
        assert changes == ["sg-sg", "ha", ""]  # hairpin, then 214 and 216, then 220


def test_numerals_come_in_the_order_of_figure_2():
    world = World()
    left_at = both_outside(world)
    assert [
        (record.numeral, record.event)
        for at, _, record in world.records
        if record.numeral is not None and at >= left_at
    ] == [
        ("202", "sg_mn_external"),
        ("202", "sg_session_detected"),
        ("206", "vcm_offer_sent"),
        ("210", "vcm_offer_sent"),
        ("212", "vcm_offer_accepted"),
        ("212", "vcm_acceptance_forwarded"),
        ("208", "vcm_offer_accepted"),
        ("208", "vcm_acceptance_forwarded"),
        ("218", "binding"),
        ("218", "binding"),
    ]


@pytest.mark.parametrize("keys", KeyScheme)
def test_a_proposal_is_there_before_202_tells_of_the_session(keys: KeyScheme):
    world = World(keys=keys)
    both_outside(world)
    told = [(at, r.event) for at, _, r in world.records]
    proposed = [at for at, event in told if event == "vcm_proposal"]
    (minted_at,) = (at for at, event in told if event == "vcm_pair_minted")
    (detected_at,) = (at for at, event in told if event == "sg_session_detected")
    assert all(at <= minted_at for at in proposed[:2])
    # From s-sg to the VCM.
    assert minted_at - detected_at == pytest.approx(0.0002, abs=1e-6)
    assert calm_paths(world) == {""}


def test_a_handover_while_direct_loses_nothing_once_each_end_knows_where_the_other_is():
    world = World()
    both_outside(world)
    moved_at = move(world, MN1, "wifi2")
    world.run_until(world.now + UNDER_WAY_S)
    known_at = {(name, record.event): at for at, name, record in world.records if at > moved_at}
    for source, known in ((MN1, ("mn1", "care_of_address")), (MN2, ("mn2", "binding"))):
        probes = [
            p
            for p in world.probes
            if p.source is source and moved_at - 1 < p.sent_at < moved_at + SETTLED_S
        ]
        lost = [p.sent_at for p in probes if p.path == "lost"]
        assert lost
        assert min(lost) > moved_at - DELAY_S["cell"] - DELAY_S["wifi1"]
        assert max(lost) <= known_at[known]


def classic(**more: Any) -> World:
    """Return a world of nodes that wait, after the first advertisement of the LAN's router."""
    world = World(classic=True, **more)
    world.run_until(ADVERTISED_EVERY_S)
    return world


@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
def test_the_whole_walk_of_nodes_that_wait(agent_delay_s: float):
    world = talking(classic(faults=Faults(agent_delay_s=agent_delay_s)))
    for node, network, path in WALK:
        move(world, node, network)
        world.run_until(world.now + ADVERTISED_EVERY_S + RETRANS_TIMER_S)
        assert calm_paths(world) == {path}, (node.name, network)


def test_a_classic_node_sends_nothing_before_its_address_is_known_to_be_its_own():
    world = talking(classic())
    left_at = move(world, MN1, "wifi1")
    linked_at = left_at + LINKLESS_S
    advertised_at = (linked_at // ADVERTISED_EVERY_S + 1) * ADVERTISED_EVERY_S
    first, *_ = [at for at, name, _ in world.mobility if name == "mn1"]
    assert first == pytest.approx(advertised_at + RETRANS_TIMER_S)


@pytest.mark.parametrize("classic_nodes", [False, True])
def test_a_duplicate_is_told_to_all_who_know_of_it(classic_nodes: bool):
    make = classic if classic_nodes else World
    address = World().nodes[MN1].care_of_address("wifi2")
    world = make(taken=frozenset({address}))
    both_outside(world)
    world.run_until(world.now + ADVERTISED_EVERY_S + RETRANS_TIMER_S + SETTLED_S)
    move(world, MN1, "wifi2")
    world.run_until(world.now + ADVERTISED_EVERY_S + 2 * RETRANS_TIMER_S)
    assert calm_paths(world) == {""}
    other = world.nodes[MN1].care_of_address("wifi2", duplicates=1)
    assert [
        r.details["address"] for _, _, r in world.records if r.event == "address_duplicate"
    ] == [str(address)]
    told = {
        name: str(r.details["care_of_address"])
        for _, name, r in world.records
        if r.details.get("node", r.details.get("peer")) in ("mn1", str(MN1.external_home_address))
        and "care_of_address" in r.details
    }
    assert told == dict.fromkeys(("ha", "sg", "mn2"), str(other))


def test_a_node_whose_addresses_are_all_taken_is_back_at_its_next_link():
    node = World().nodes[MN1]
    taken = frozenset(node.care_of_address("wifi2", duplicates) for duplicates in range(4))
    world = World(taken=taken)
    both_outside(world)
    move(world, MN1, "wifi2")
    assert world.events("address_duplicate") == ["address_duplicate"] * 4
    assert calm_paths(world) == {"lost"}
    move(world, MN1, "cell")
    assert calm_paths(world) == {""}


def test_with_given_keys_one_message_tells_the_peer_of_a_handover():
    world = World(binding_keys=True)
    both_outside(world)
    world.mobility.clear()
    moved_at = move(world, MN1, "wifi2")
    told = [
        (at, type(effect.message))
        for at, name, effect in world.mobility
        if name == "mn1" and effect.destination == MN2.external_home_address
    ]
    ((sent_at, kind),) = told
    assert kind is BindingUpdate
    assert sent_at == pytest.approx(moved_at + LINKLESS_S + ROUTER_ANSWERS_S)
    assert calm_paths(world) == {""}


def test_no_test_is_made_where_keys_are_given():
    world = World(binding_keys=True)
    both_outside(world)
    move(world, MN1, "wifi2")
    move(world, MN2, "wifi1")
    kinds = {type(effect.message) for _, _, effect in world.mobility}
    assert kinds == {BindingUpdate, BindingAcknowledgement}


def test_renewal_brings_new_keys_and_no_change_of_path():
    world = World(binding_keys=True, pair_lifetime_s=20)
    both_outside(world)
    assert calm_paths(world, for_s=60) == {""}
    assert len(world.events("vcm_pair_minted")) >= 4
    move(world, MN1, "wifi2")
    assert calm_paths(world) == {""}


def test_both_ends_may_move_at_once_and_need_no_time_out():
    world = World()
    both_outside(world)
    moved_at = world.now
    world.move(MN1, "wifi2")
    world.move(MN2, "wifi1")
    world.run_until(moved_at + SETTLED_S)
    bound_at = [at for at, _, r in world.records if r.event == "binding" and at > moved_at]
    assert len(bound_at) >= 2
    assert max(bound_at) < moved_at + LINKLESS_S + INITIAL_BINDACK_TIMEOUT_S
    assert calm_paths(world) == {""}


def lost_since(world: World, since: float) -> list[float]:
    """Return when the packets were sent that never came, a little before some time, or later."""
    world.run_until(world.now + UNDER_WAY_S)
    until = world.now - UNDER_WAY_S
    return [
        p.sent_at for p in world.probes if since <= p.sent_at < until and len(p.arrived_at) != 1
    ]


@pytest.mark.parametrize("binding_keys", [False, True])
@pytest.mark.parametrize("agent_delay_s", [0.0, 0.01])
def test_a_soft_handover_loses_nothing(binding_keys: bool, agent_delay_s: float):
    world = World(binding_keys=binding_keys, faults=Faults(agent_delay_s=agent_delay_s))
    world.run_until(0.5)
    world.talk(MN1, MN2, 1e9, every_s=0.01)
    move(world, MN2, "cell")
    moved_at = move(world, MN1, "wifi1") + SETTLED_S
    for node, network in ((MN1, "wifi2"), (MN2, "wifi1"), (MN1, "cell"), (MN2, "wifi2")):
        world.move_softly(node, network)
        world.run_until(world.now + 1.5)
        assert set(world.paths(world.now - 0.5, world.now - 0.2)) == {""}
    assert lost_since(world, moved_at) == []


@pytest.mark.parametrize("begins_after_s", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25])
def test_a_soft_handover_while_traffic_goes_through_the_home_agents_loses_nothing(
    begins_after_s: float,
):
    world = World()
    move(talking(world, every_s=0.005), MN2, "cell")
    left_at = world.now
    world.move(MN1, "wifi1")
    while not world.events("outbound_switched"):
        world.run_until(world.now + 0.01)
    since = world.now
    world.run_until(since + begins_after_s)
    world.move_softly(MN2, "wifi2")
    world.run_until(since + SETTLED_S)
    assert lost_since(world, since) == []
    assert "ha" in world.paths(left_at)
    assert calm_paths(world) == {""}


def test_soft_handovers_of_both_ends_at_once_lose_nothing():
    world = World()
    left_at = both_outside(world)
    world.talk(MN1, MN2, 1e9, every_s=0.01)
    world.move_softly(MN1, "wifi2")
    world.run_until(world.now + 0.1)
    world.move_softly(MN2, "wifi1")
    world.run_until(world.now + SETTLED_S)
    assert lost_since(world, left_at + SETTLED_S) == []
    assert calm_paths(world) == {""}


@pytest.mark.parametrize("peer_inside", [False, True])
def test_a_soft_handover_by_way_of_the_gateway_loses_nothing(peer_inside: bool):
    world = talking(World(), every_s=0.01)
    if peer_inside:
        move(world, MN1, "wifi1")
    else:
        both_outside(world)
        move(world, MN2, LAN)
    since = world.now
    world.move_softly(MN1, "cell")
    world.run_until(world.now + SETTLED_S)
    assert lost_since(world, since) == []
    assert calm_paths(world) == {"sg"}


@pytest.mark.parametrize("overlap_s", [0.0, 0.001, 0.01, 0.05, 0.1, 0.2])
def test_when_the_former_link_dies_early_the_handover_goes_on_as_a_hard_one(overlap_s: float):
    world = World()
    both_outside(world)
    world.move_softly(MN1, "cell", overlap_s)
    world.run_until(world.now + SETTLED_S)
    assert calm_paths(world) == {""}


def test_a_node_whose_new_link_dies_goes_back_to_the_former_one():
    world = World()
    both_outside(world)
    world.move_softly(MN1, "wifi2", overlap_s=1e9)
    world.run_until(world.now + 0.1)
    world.nodes[MN1].detach(LINKS[1])
    world.run_until(world.now + SETTLED_S)
    assert calm_paths(world) == {""}


def test_a_pair_that_carries_nothing_ends_and_begins_anew():
    world = World(pair_idle_s=8.0)
    move(talking(world, until=7.0), MN2, "cell")
    move(world, MN1, "wifi1")
    assert world.events("outbound_switched") == ["outbound_switched"] * 2
    world.run_until(30)
    assert "session_idle" in world.events("session_idle")
    assert world.events("vcm_pair_withdrawn") == ["vcm_pair_withdrawn"]
    world.talk(MN1, MN2, until=40)
    world.run_until(world.now + SETTLED_S)
    assert calm_paths(world) == {""}


def test_three_nodes_talk_directly_in_pairs():
    world = talking(World())
    for one, other in ((MN2, MN3), (MN3, MN1)):
        world.talk(one, other, until=1e9)
    for node, network in ((MN1, "wifi1"), (MN2, "cell"), (MN3, "wifi2")):
        move(world, node, network)
    assert calm_paths(world) == {""}
    assert len(world.events("vcm_pair_minted")) == 3


def test_bindings_that_nobody_refreshes_end_and_the_gateway_goes_by_the_home_agent():
    # Minutes of it: a packet every now and then will do.
    world = World()
    move(talking(world, every_s=0.5), MN2, "cell")
    move(world, MN1, "wifi1")
    world.faults.loss = 1.0
    world.run_until(world.now + 700)
    assert "None" in {str(r.details.get("care_of_address")) for _, _, r in world.records}
    world.faults.loss = 0.0
    world.run_until(world.now + 60)
    assert calm_paths(world) == {""}


MOVES = st.lists(
    st.tuples(
        st.floats(0.0, 4.0),
        st.sampled_from([MN1, MN2]),
        st.sampled_from([LAN, *DELAY_S]),
        st.sampled_from([None, 0.0, 0.05, 0.5]),
    ),
    max_size=5,
)
FAULTS = st.builds(
    Faults,
    loss=st.sampled_from([0.0, 0.1, 0.3]),
    duplication=st.sampled_from([0.0, 0.5]),
    jitter_s=st.sampled_from([0.0, 0.05, 1.0]),
    agent_delay_s=st.sampled_from([0.0, 0.05, 0.5]),
)


@given(
    seed=st.integers(0, 2**32),
    faults=FAULTS,
    moves=MOVES,
    pair_lifetime_s=st.sampled_from([20, 3600]),
    binding_keys=st.booleans(),
    classic_nodes=st.booleans(),
    vcm_at=st.sampled_from([VcmPlace.OWN, VcmPlace.GATEWAY]),
    combined=st.booleans(),
    public=st.booleans(),
    sg_binding=st.sampled_from(GatewayBinding),
)
@share(0.2)
def test_whatever_happens_nothing_leaves_in_clear_and_all_ends_well(
    seed: int,
    faults: Faults,
    moves: list[tuple[float, NodeIdentity, str, float | None]],
    pair_lifetime_s: int,
    binding_keys: bool,
    classic_nodes: bool,
    vcm_at: VcmPlace,
    combined: bool,
    public: bool,
    sg_binding: GatewayBinding,
):
    world = World(
        seed,
        public,
        sg_binding=sg_binding,
        faults=faults,
        pair_lifetime_s=pair_lifetime_s,
        binding_keys=binding_keys,
        classic=classic_nodes,
        vcm_at=vcm_at,
        combined=combined,
    )
    world.run_until(2 * ADVERTISED_EVERY_S if classic_nodes else 0.0)
    talking(world, every_s=0.2)
    world.move(MN2, "cell")
    world.move(MN1, "wifi1")
    networks = {MN2: "cell", MN1: "wifi1"}
    for pause, node, network, overlap_s in moves:
        world.run_until(world.now + pause)
        if networks[node] != network:
            one_link = len(world.nodes[node].networks) == 1
            outside = LAN not in (network, networks[node])
            networks[node] = network
            # Classic handovers are hard.
            if overlap_s is not None and outside and one_link and not classic_nodes:
                world.move_softly(node, network, overlap_s)
            else:
                world.move(node, network)
    world.run_until(world.now + 3)
    world.faults = Faults()
    world.run_until(world.now + 80)
    at_home = [node for node, network in networks.items() if network == LAN]
    assert calm_paths(world) == (world.by_gateway if len(at_home) == 1 else {""})
    assert all(len(probe.arrived_at) <= 1 for probe in world.probes)


def to_the_fake_network(*, authenticates: bool, from_outside: bool) -> World:
    """Let MN1 talk to MN2, which stays inside, and be lured away from the LAN or from outside."""
    world = talking(World(authenticates=authenticates))
    if from_outside:
        move(world, MN1, "wifi1")
    move(world, MN1, FAKE)
    return world


def readable(packet: Packet) -> bool:
    """Tell whether a packet is a probe in clear."""
    return isinstance(packet.content, Datagram) and isinstance(packet.content.body, Probe)


@pytest.mark.parametrize("from_outside", [False, True])
def test_without_authentication_a_node_gives_its_traffic_to_a_network_that_looks_like_the_inside(
    from_outside: bool,
):
    world = to_the_fake_network(authenticates=False, from_outside=from_outside)
    assert any(readable(packet) for packet in world.taken_by_eve)


@pytest.mark.parametrize("from_outside", [False, True])
def test_with_authentication_not_one_packet_leaves_in_the_fake_network(from_outside: bool):
    world = to_the_fake_network(authenticates=True, from_outside=from_outside)
    assert world.taken_by_eve == []
    assert world.events("inside_not_verified") == ["inside_not_verified"]


@pytest.mark.parametrize("authenticates", [False, True])
def test_after_the_fake_network_a_direct_session_goes_on(authenticates: bool):
    world = World(authenticates=authenticates)
    both_outside(world)
    for network, path in ((FAKE, "lost"), ("wifi2", ""), (LAN, "sg")):
        move(world, MN1, network)
        assert calm_paths(world, 1.0) == {path}, network


@pytest.mark.parametrize("authenticates", [False, True])
def test_from_the_inside_a_node_can_go_on_as_well(authenticates: bool):
    world = to_the_fake_network(authenticates=authenticates, from_outside=False)
    move(world, MN1, "wifi2")
    assert calm_paths(world, 1.0) == {"sg"}


def test_the_whole_walk_of_nodes_that_authenticate_the_inside():
    world = talking(World(authenticates=True))
    for node, network, path in WALK:
        move(world, node, network)
        assert calm_paths(world) == {path}, (node.name, network)
    assert "inside_not_verified" not in [record.event for _, _, record in world.records]
