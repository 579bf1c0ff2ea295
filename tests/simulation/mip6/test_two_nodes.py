"""Two mobile nodes, their home agent and a gateway, on a network that does its worst."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.mip6.effects import RegistrationChanged
from mobivpn.mip6.messages import MessageType
from mobivpn.mip6.registration import CORRESPONDENT, Phase
from mobivpn.mip6.settings import MobileNodeSettings
from tests.simulation.mip6.network import (
    GATEWAY,
    HOME_AGENT,
    Faults,
    Host,
    Network,
    bound_at,
    care_of_address,
    phases,
    two_nodes,
)
from tests.support.examples import share

REGISTERED = (Phase.REGISTERED,) * 3


def assert_all_agree(network: Network, first: Host, second: Host) -> None:
    home_agent, gateway = network.hosts[HOME_AGENT], network.hosts[GATEWAY]
    for node, peer in ((first, second), (second, first)):
        assert phases(node, peer) == REGISTERED
        for host in (home_agent, gateway, peer):
            assert bound_at(host, node) == node.location


def registered_at(node: Host, peer: Host, since: float) -> float:
    return next(
        at
        for at, change in node.changes
        if isinstance(change, RegistrationChanged)
        and at > since
        and change.peer == peer.address
        and change.phase is Phase.REGISTERED
    )


def test_two_nodes_outside_find_the_direct_path():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    assert_all_agree(network, first, second)


def test_a_handover_is_told_to_everybody_without_a_retransmission():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    first.move(care_of_address(3, 1))
    network.run(10.9)
    assert_all_agree(network, first, second)


def test_in_a_soft_handover_packets_leave_from_where_the_peer_knows_the_node():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    first.changes.clear()
    first.move_softly(care_of_address(3, 1), 0.5)
    network.run(12)
    assert_all_agree(network, first, second)
    for peer in network.hosts.values():
        to_peer = [
            (change.phase, change.optimised, change.source_address)
            for _, change in first.changes
            if isinstance(change, RegistrationChanged) and change.peer == peer.address
        ]
        former, new = care_of_address(1, 1), care_of_address(3, 1)
        assert not to_peer or to_peer[-2:] == [
            (Phase.MOVING, True, former),
            (Phase.REGISTERED, True, new),
        ]
        assert all(optimised for _, optimised, _ in to_peer)


@pytest.mark.parametrize("overlap_s", [0.001, 0.03, 0.05, 0.1, 0.15, 0.3])
def test_a_former_link_that_dies_early_costs_no_waiting(overlap_s: float):
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    first.move_softly(care_of_address(3, 1), overlap_s)
    network.run(10.9)
    assert_all_agree(network, first, second)


def test_the_home_token_is_used_again_after_a_movement():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    network.sent.clear()
    first.move(care_of_address(3, 1))
    network.run(12)
    kinds = [kind for _, _, kind in network.sent]
    assert MessageType.CARE_OF_TEST_INIT in kinds
    assert MessageType.HOME_TEST_INIT not in kinds
    assert_all_agree(network, first, second)


def test_during_a_handover_the_peer_is_optimised_from_the_update_on():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    first.changes.clear()
    first.move(care_of_address(3, 1))
    network.run(12)
    to_peer = [
        (change.phase, change.optimised)
        for _, change in first.changes
        if isinstance(change, RegistrationChanged) and change.peer == second.address
    ]
    assert to_peer == [
        (Phase.MOVED, False),
        (Phase.MOVING, True),
        (Phase.REGISTERED, True),
    ]


@pytest.mark.parametrize("update_twice", [False, True])
def test_two_nodes_that_move_in_the_same_instant_find_each_other_again(update_twice: bool):
    network = Network()
    first, second, _ = two_nodes(network, MobileNodeSettings(update_twice=update_twice))
    network.run(10)
    first.move(care_of_address(3, 1))
    second.move(care_of_address(4, 2))
    network.run(14)
    assert_all_agree(network, first, second)


def test_sending_the_update_both_ways_saves_the_retransmission_when_both_move():
    """The tests go by the home agents and arrive; the direct update goes to a stale address."""
    network = Network()
    first, second, _ = two_nodes(network, MobileNodeSettings(update_twice=True))
    network.run(10)
    first.move(care_of_address(3, 1))
    network.run(10.02)
    second.move(care_of_address(4, 2))
    network.run(10.99)
    assert_all_agree(network, first, second)
    assert registered_at(first, second, 10) < 11


def test_a_node_that_loses_its_link_for_a_while_is_registered_again_afterwards():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    first.move(None)
    network.run(25)
    assert phases(first, second) == (Phase.DETACHED,) * 3
    first.move(care_of_address(1, 1))
    network.run(26)
    assert_all_agree(network, first, second)


def test_bindings_are_refreshed_for_hours():
    network = Network()
    first, second, _ = two_nodes(network)
    for hour in range(1, 4):
        network.run(3600.0 * hour)
        for node, peer in ((first, second), (second, first)):
            assert all(phase.optimised for phase in phases(node, peer))
            assert bound_at(peer, node) == node.location
    lost = [
        change
        for _, change in first.changes
        if isinstance(change, RegistrationChanged) and change.phase is Phase.UPDATING
    ]
    assert len(lost) == 3


def test_a_deletion_ends_the_binding_on_both_ends():
    network = Network()
    first, second, _ = two_nodes(network)
    network.run(10)
    assert first.mobile is not None
    first.carry_out(first.mobile.deregister(second.address, network.now))
    network.run(12)
    assert first.mobile.phase(second.address) is Phase.IDLE
    assert bound_at(second, first) is None
    first.carry_out(first.mobile.register(second.address, CORRESPONDENT, network.now))
    network.run(14)
    assert_all_agree(network, first, second)


@pytest.mark.parametrize(("seed", "overlap_s"), [(7, None), (7, 0.1), (1, 5.0)])
def test_three_hundred_handovers_with_a_tenth_of_the_signalling_lost_all_end_direct(
    seed: int, overlap_s: float | None
):
    network = Network(seed, faults=Faults(loss=0.1))
    first, second, _ = two_nodes(network)
    network.run(100)
    for number in range(300):
        node, other = ((first, 1), (second, 2))[number % 2], ((second, 2), (first, 1))[number % 2]
        if number % 10 == 0:
            other[0].move(care_of_address(10 + number, other[1]))
        location = care_of_address(1000 + number, node[1])
        if overlap_s is None:
            node[0].move(location)
        else:
            node[0].move_softly(location, overlap_s)
        network.run(network.now + 100)
        assert_all_agree(network, first, second)


moves = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=15),
        st.sampled_from([0, 1]),
        st.sampled_from([None, 3, 4, 5]),
        st.sampled_from([None, 0.0, 0.05, 0.5, 10.0]),
    ),
    max_size=8,
)


@share(1)
@given(
    seed=st.integers(0, 2**32 - 1),
    loss=st.floats(0, 0.5),
    duplication=st.floats(0, 0.5),
    jitter_s=st.floats(0, 2),
    replay=st.floats(0, 0.5),
    moves=moves,
    update_twice=st.booleans(),
)
def test_every_registration_ends_registered_or_failed_and_both_ends_agree(
    seed: int,
    loss: float,
    duplication: float,
    jitter_s: float,
    replay: float,
    moves: list[tuple[float, int, int | None, float | None]],
    update_twice: bool,
):
    network = Network(seed, Faults(loss, duplication, jitter_s, replay))
    nodes = two_nodes(network, MobileNodeSettings(update_twice=update_twice))[:2]
    for when, which, place, overlap_s in moves:
        location = None if place is None else care_of_address(place, which + 1)
        if location is None or overlap_s is None:
            network.at(when, lambda node=nodes[which], location=location: node.move(location))
        else:
            network.at(when, partial(nodes[which].move_softly, location, overlap_s))
    for which, node in enumerate(nodes):
        network.at(15.5, lambda node=node, which=which: node.move(care_of_address(6, which + 1)))
    network.run(150)
    network.faults = Faults()
    network.run(300)
    for node, peer in (nodes, nodes[::-1]):
        home, gateway, correspondent = phases(node, peer)
        assert (home, gateway) == (Phase.REGISTERED, Phase.REGISTERED)
        assert bound_at(network.hosts[HOME_AGENT], node) == node.location
        assert bound_at(network.hosts[GATEWAY], node) == node.location
        assert correspondent in (Phase.REGISTERED, Phase.FAILED)
        if correspondent is Phase.REGISTERED:
            assert bound_at(peer, node) == node.location
