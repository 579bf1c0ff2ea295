"""Every starting point, order of moves and direction of traffic, from the cores of all roles.

That nothing leaves in clear is held for every packet, by the world itself.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.host.plan import NodeIdentity
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.variants import GatewayBinding
from tests.simulation.story.world import DELAY_S, LAN, Faults, World
from tests.support.company import MN1, MN2, MN3
from tests.support.examples import share

Pair = tuple[NodeIdentity, NodeIdentity]

AWAY = {MN1: "wifi1", MN2: "cell", MN3: "wifi2"}
"""Where each node is when it is outside."""
ALL_PAIRS: tuple[Pair, ...] = tuple(combinations(AWAY, 2))
SETTLED_S = 1.5
UNDER_WAY_S = 0.3
BINDING_OR_NOT = pytest.mark.parametrize("sg_binding", list(GatewayBinding))
IN_ANY_ORDER = pytest.mark.parametrize("leaving", [(MN1, MN2), (MN2, MN1)])


def starting(
    outside: Iterable[NodeIdentity] = (),
    pairs: Iterable[Pair] = ((MN1, MN2),),
    *,
    one_way: bool = False,
    every_s: float = 0.1,
    **more: object,
) -> World:
    """Let nodes be where they are for a second, then talk until all has settled."""
    world = World(start={node: AWAY[node] for node in outside}, **more)
    world.run_until(1.0)
    for one, other in pairs:
        world.talk(one, other, until=1e9, every_s=every_s, one_way=one_way)
    world.run_until(world.now + SETTLED_S)
    return world


def go(world: World, node: NodeIdentity, network: str) -> None:
    """Move a node and let all settle."""
    world.move(node, network)
    world.run_until(world.now + SETTLED_S)


def places(world: World) -> dict[NodeIdentity, str]:
    return {me: next(iter(node.networks.values())) for me, node in world.nodes.items()}


def expected_paths(world: World, at: Mapping[NodeIdentity, str], pair: Pair) -> frozenset[str]:
    """Return whom packets pass when all has settled: sg, where one of two is at home."""
    one_inside = [at[node] for node in pair].count(LAN) == 1
    return world.by_gateway if one_inside else frozenset({""})


def assert_settled(world: World, pairs: Iterable[Pair] = ((MN1, MN2),)) -> None:
    """All that is sent from now on takes the path that the nodes' places say, and arrives."""
    since = world.now
    world.run_until(since + 0.5 + UNDER_WAY_S)
    at = places(world)
    for pair in pairs:
        sent = world.paths(since, since + 0.5, among=pair)
        names = [(node.name, at[node]) for node in pair]
        assert sent, names
        assert sent.keys() <= expected_paths(world, at, pair), names


def assert_nothing_lost_since_known(world: World, since: float) -> None:
    """What was sent after the gateway and r22 knew of all absences arrived, once."""
    known = [at for at, _, record in world.records if record.event == "node_absent"]
    sent = [p for p in world.probes if max(since, *known) < p.sent_at < world.now - UNDER_WAY_S]
    assert sent
    assert {len(probe.arrived_at) for probe in sent} == {1}


def direct_associations(world: World, pair: Pair) -> list[SecurityAssociation]:
    """Return the SAs between two nodes' external home addresses in their kernels."""
    ends = {node.external_home_address for node in pair}
    return [
        entry
        for node in pair
        for entry in world.nodes[node].kernel.entries()
        if isinstance(entry, SecurityAssociation) and {entry.source, entry.destination} == ends
    ]


# One-way traffic


@IN_ANY_ORDER
@pytest.mark.parametrize("sender", [MN1, MN2])
def test_one_way_traffic_ends_direct_and_comes_back(leaving: Pair, sender: NodeIdentity):
    receiver = MN1 if sender is MN2 else MN2
    world = starting(pairs=[(sender, receiver)], one_way=True)
    for node in leaving:
        go(world, node, AWAY[node])
        assert_settled(world)
    assert_nothing_lost_since_known(world, 0.0)
    go(world, receiver, "wifi2")
    assert_settled(world)
    for node in leaving:
        go(world, node, LAN)
        assert_settled(world)


@pytest.mark.parametrize("sender", [MN1, MN2])
def test_a_pair_that_carries_packets_one_way_is_in_use_at_both_ends(sender: NodeIdentity):
    receiver = MN1 if sender is MN2 else MN2
    world = starting((MN1, MN2), [(sender, receiver)], one_way=True, every_s=0.4, pair_idle_s=4.0)
    world.run_until(20.0)
    assert world.events("session_idle", "vcm_pair_minted") == ["vcm_pair_minted"]
    assert_settled(world)


# Where nodes begin, and in which order they move


@pytest.mark.parametrize(
    ("outside", "leaving"),
    [
        ((), (MN1, MN2)),
        ((), (MN2, MN1)),
        ((MN1,), (MN2,)),
        ((MN2,), (MN1,)),
        ((MN1, MN2), ()),
    ],
)
@pytest.mark.parametrize("returning", [(MN1, MN2), (MN2, MN1)])
def test_two_nodes_from_any_beginning_in_any_order(
    outside: tuple[NodeIdentity, ...], leaving: tuple[NodeIdentity, ...], returning: Pair
):
    world = starting(outside)
    assert_settled(world)
    for node in leaving:
        go(world, node, AWAY[node])
        assert_settled(world)
    assert_nothing_lost_since_known(world, 0.0)
    for node in returning:
        go(world, node, LAN)
        assert_settled(world)
    assert world.stored == {}


@pytest.mark.parametrize("outside", [(), (MN1,), (MN3,), (MN1, MN2), (MN1, MN2, MN3)])
def test_three_nodes_with_three_sessions_from_any_beginning(outside: tuple[NodeIdentity, ...]):
    world = starting(outside, ALL_PAIRS)
    assert_settled(world, ALL_PAIRS)
    for node in AWAY:
        if node not in outside:
            go(world, node, AWAY[node])
            assert_settled(world, ALL_PAIRS)
    assert_nothing_lost_since_known(world, 0.0)
    assert len(world.events("vcm_pair_minted")) == 3
    for node in AWAY:
        go(world, node, LAN)
        assert_settled(world, ALL_PAIRS)
    assert all(not direct_associations(world, pair) for pair in ALL_PAIRS)


def test_a_session_with_one_peer_does_not_change_the_one_with_another():
    world = starting((MN1, MN2, MN3), ALL_PAIRS, every_s=0.02)
    since = world.now
    go(world, MN3, LAN)
    go(world, MN3, "cell")
    world.run_until(world.now + UNDER_WAY_S)
    assert set(world.paths(since, world.now - UNDER_WAY_S, among=(MN1, MN2))) == {""}


# Disturbed set-ups

DURING_SET_UP = [0.06, 0.1, 0.14, 0.18, 0.22, 0.28, 0.34, 0.45]
"""After the second node's move: its packets, 202, offers, acceptances and bindings are under way
then (s)."""


@pytest.mark.parametrize("after_s", DURING_SET_UP)
def test_of_a_session_that_ends_during_set_up_nothing_is_left(after_s: float):
    world = World(start={MN2: "cell"}, pair_idle_s=4.0)
    world.run_until(1.0)
    world.talk(MN1, MN2, until=2.0 + after_s, every_s=0.02)
    world.run_until(2.0)
    world.move(MN1, "wifi1")
    world.run_until(20.0)
    assert direct_associations(world, (MN1, MN2)) == []
    assert all(not context.managed_pairs for context in world.stored.values())
    world.talk(MN1, MN2, until=1e9)
    world.run_until(world.now + SETTLED_S)
    assert_settled(world)


@pytest.mark.parametrize("mover", [MN1, MN2])
@pytest.mark.parametrize("network", ["wifi2", LAN])
@pytest.mark.parametrize("after_s", DURING_SET_UP[::2])
def test_a_node_that_goes_on_or_comes_home_during_set_up(
    mover: NodeIdentity, network: str, after_s: float
):
    world = starting((MN2,))
    world.move(MN1, "wifi1")
    world.run_until(world.now + after_s)
    go(world, mover, network)
    assert_settled(world)
    if network == LAN:
        go(world, mover, "wifi2")
        assert_settled(world)


@BINDING_OR_NOT
@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_who_was_away_for_a_moment_is_at_home_whatever_overtakes_what(
    seed: int, public: bool, sg_binding: GatewayBinding
):
    world = starting(
        (),
        every_s=0.2,
        seed=seed,
        public=public,
        sg_binding=sg_binding,
        faults=Faults(jitter_s=1.0),
    )
    world.move(MN1, "wifi2")
    world.run_until(world.now + 0.06)
    go(world, MN1, LAN)
    assert_settled(world)


@BINDING_OR_NOT
@pytest.mark.parametrize("agent_delay_s", [0.0, 0.05])
@pytest.mark.parametrize("networks", [("wifi2", "wifi1"), (LAN, "wifi1")])
def test_a_node_that_bounces_is_direct_once_it_stops(
    networks: tuple[str, str], agent_delay_s: float, sg_binding: GatewayBinding
):
    faults = Faults(agent_delay_s=agent_delay_s)
    world = starting((MN1, MN2), sg_binding=sg_binding, faults=faults)
    for network in networks * 5:
        world.move(MN1, network, gap_s=0.02)
        world.run_until(world.now + 0.2)
    world.run_until(world.now + 2 * SETTLED_S)
    assert_settled(world)


# Whatever happens

NODES = st.sampled_from(list(AWAY))
PLACES = st.sampled_from([LAN, *DELAY_S])


@given(
    seed=st.integers(0, 2**32),
    faults=st.builds(
        Faults,
        loss=st.sampled_from([0.0, 0.2]),
        duplication=st.sampled_from([0.0, 0.5]),
        jitter_s=st.sampled_from([0.0, 0.05, 1.0]),
        agent_delay_s=st.sampled_from([0.0, 0.05]),
    ),
    start=st.dictionaries(NODES, PLACES),
    pairs=st.lists(st.sampled_from(ALL_PAIRS), min_size=1, unique=True),
    moves=st.lists(st.tuples(st.sampled_from([0.02, 0.2, 0.4, 3.0]), NODES, PLACES), max_size=8),
    one_way=st.booleans(),
    public=st.booleans(),
    sg_binding=st.sampled_from(GatewayBinding),
)
@share(0.2)
def test_from_any_beginning_by_any_moves_all_ends_well(
    seed: int,
    faults: Faults,
    start: dict[NodeIdentity, str],
    pairs: list[Pair],
    moves: list[tuple[float, NodeIdentity, str]],
    one_way: bool,
    public: bool,
    sg_binding: GatewayBinding,
):
    world = World(seed, public, faults=faults, start=start, sg_binding=sg_binding)
    at = dict.fromkeys(AWAY, LAN) | start
    world.run_until(1.0)
    for one, other in pairs:
        world.talk(one, other, until=1e9, every_s=0.2, one_way=one_way)
    for pause_s, node, network in moves:
        world.run_until(world.now + pause_s)
        if at[node] != network:
            at[node] = network
            world.move(node, network)
    world.run_until(world.now + 3)
    world.faults = Faults()
    world.run_until(world.now + 80)
    assert_settled(world, pairs)
    assert all(len(probe.arrived_at) <= 1 for probe in world.probes)
