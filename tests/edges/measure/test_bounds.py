"""Lower bounds against sums made by hand from the default delays."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.errors import ResultError
from experiments.measure.bounds import (
    Authorisation,
    move_bound,
    pair_bound_ms,
    path_ms,
    setup_bound_ms,
)
from experiments.measure.timeline import Move
from experiments.network_plan import NetworkPlan, plan_from_run
from experiments.paths import PacketPath

LAN, SG, HA, WIFI1, WIFI2, CELL = 0.2, 15, 20, 5, 8, 30


def move(origin: str, target: str, gap_ms: float = 0) -> Move:
    return Move("mn1", origin, target, 0, round(gap_ms * 1e6))


@pytest.mark.parametrize(
    ("stations", "expected"),
    [
        (("lan", "lan"), 2 * LAN),
        (("lan", "r22"), 2 * LAN),
        (("lan", "sg"), 3 * LAN),
        (("sg", "vcm"), 3 * LAN),
        (("vcm", "lan"), 2 * LAN),
        (("wifi1", "sg"), WIFI1 + SG),
        (("wifi1", "cell"), WIFI1 + CELL),
        (("wifi1", "wifi1"), 0),
        (("cell", "ha", "wifi2"), CELL + 2 * HA + WIFI2),
        (("cell", "vcm"), CELL + SG + 3 * LAN),
        (("sg", "r22", "sg"), 2 * LAN),
        (("sg",), 0),
    ],
)
def test_propagation_is_the_sum_along_the_stations(
    plan: NetworkPlan, stations: tuple[str, ...], expected: float
) -> None:
    assert plan.propagation_ms(*stations) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("vcm_at", "to_sg", "to_cell"),
    [
        ("vcm", 3 * LAN, CELL + SG + 3 * LAN),
        ("fs", 3 * LAN, CELL + SG + 3 * LAN),
        ("r22", LAN, CELL + SG + LAN),
        ("sg", 0, CELL + SG),
    ],
)
def test_the_vcm_is_as_far_away_as_the_host_that_it_is_on(
    run_description: dict[str, Any], vcm_at: str, to_sg: float, to_cell: float
) -> None:
    plan = plan_from_run({**run_description, "variants": {"vcm_at": vcm_at}})
    assert plan.propagation_ms("sg", "vcm") == pytest.approx(to_sg)
    assert plan.propagation_ms("vcm", "cell") == pytest.approx(to_cell)


def test_an_unknown_place_is_told(plan: NetworkPlan) -> None:
    with pytest.raises(ResultError, match="no link profile is called 'wifi9'"):
        plan.propagation_ms("wifi9", "sg")


def test_leaving_while_the_peer_is_inside(plan: NetworkPlan) -> None:
    """Inbound: update to sg, sg to r22, r22 to the peer and back, by sg to the node."""
    bound = move_bound(
        move("lan", "cell", 20), "lan", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.outbound_ms == pytest.approx(20 + CELL + SG + 3 * LAN)
    assert bound.inbound_ms == pytest.approx(20 + 2 * (CELL + SG + LAN) + 4 * LAN)
    assert bound.worse_ms == bound.inbound_ms


def test_leaving_while_the_peer_is_outside(plan: NetworkPlan) -> None:
    bound = move_bound(
        move("lan", "wifi1"), "cell", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.outbound_ms == pytest.approx(WIFI1 + SG + 2 * LAN + SG + CELL)
    assert bound.inbound_ms == pytest.approx(2 * (WIFI1 + SG + LAN))


def test_handover_through_the_gateway(plan: NetworkPlan) -> None:
    bound = move_bound(
        move("wifi1", "wifi2"), "lan", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.outbound_ms == pytest.approx(WIFI2 + SG + 3 * LAN)
    assert bound.inbound_ms == pytest.approx(2 * (WIFI2 + SG))


@pytest.mark.parametrize(
    ("authorisation", "tests"),
    [
        (Authorisation.BOTH_TESTS, 2 * (WIFI2 + HA + HA + CELL)),
        (Authorisation.CARE_OF_TEST, 2 * (WIFI2 + HA + HA + CELL)),
        (Authorisation.NO_TEST, 0),
    ],
)
def test_direct_handover_needs_the_tests_that_were_done(
    plan: NetworkPlan, authorisation: Authorisation, tests: float
) -> None:
    bound = move_bound(move("wifi1", "wifi2", 5), "cell", PacketPath.DIRECT, authorisation, plan)
    direct = WIFI2 + CELL
    assert bound.inbound_ms == pytest.approx(5 + tests + 2 * direct)
    assert bound.outbound_ms == pytest.approx(5 + min(direct + 2 * HA, tests + direct))


def test_returning_from_the_direct_path(plan: NetworkPlan) -> None:
    """Inbound: to sg, to the VCM, its order to the peer, whose packets then take the gateway."""
    bound = move_bound(
        move("wifi2", "lan"), "wifi1", PacketPath.DIRECT, Authorisation.NO_TEST, plan
    )
    advertised = 4 * LAN
    assert bound.outbound_ms == pytest.approx(advertised + 3 * LAN + SG + WIFI1)
    order = 3 * LAN + 3 * LAN + 3 * LAN + SG + WIFI1
    assert bound.inbound_ms == pytest.approx(advertised + order + WIFI1 + SG + 3 * LAN)


def test_returning_without_a_direct_path(plan: NetworkPlan) -> None:
    bound = move_bound(
        move("wifi2", "lan"), "wifi1", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.inbound_ms == pytest.approx(4 * LAN + 3 * LAN + LAN + 2 * LAN)


def test_returning_to_a_peer_inside(plan: NetworkPlan) -> None:
    bound = move_bound(
        move("wifi2", "lan"), "lan", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.outbound_ms == pytest.approx(4 * LAN + 2 * LAN)
    assert bound.inbound_ms == pytest.approx(4 * LAN + 4 * LAN)


def test_setup_takes_the_slower_chain(plan: NetworkPlan) -> None:
    to_wifi1, to_cell = 3 * LAN + SG + WIFI1, 3 * LAN + SG + CELL
    for places in (("wifi1", "cell"), ("cell", "wifi1")):
        assert setup_bound_ms(places, plan) == pytest.approx(3 * LAN + 2 * to_cell + to_wifi1)


def test_the_proposal_to_a_direct_vcm_comes_behind_202_by_the_home_agent(
    plan: NetworkPlan,
) -> None:
    direct = replace(plan, vcm_is_direct=True)
    to_wifi1, to_cell = (3 * LAN + SG + 2 * HA + way for way in (WIFI1, CELL))
    for places in (("wifi1", "cell"), ("cell", "wifi1")):
        expected = 2 * HA + 3 * LAN + 2 * to_cell + to_wifi1
        assert setup_bound_ms(places, direct) == pytest.approx(expected)


def test_without_bindings_at_sg_all_between_it_and_the_outside_goes_by_the_home_agent(
    run_description: dict[str, Any],
) -> None:
    plan = plan_from_run({**run_description, "variants": {"sg_binding": "no"}})
    to_wifi1, to_cell = WIFI1 + 2 * HA + SG, CELL + 2 * HA + SG
    assert plan.propagation_ms("wifi1", "sg") == plan.propagation_ms("sg", "wifi1") == to_wifi1
    assert plan.propagation_ms("lan", "sg") == pytest.approx(3 * LAN)
    assert plan.vcm_ms("cell") == pytest.approx(3 * LAN + to_cell)
    bound = move_bound(
        move("wifi2", "wifi1"), "cell", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, plan
    )
    assert bound.outbound_ms == pytest.approx(to_wifi1 + 2 * LAN + to_cell)
    # What is at the home agent when that hears of the handover.
    assert bound.inbound_ms == pytest.approx(2 * (WIFI1 + HA))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (PacketPath.DIRECT, WIFI1 + CELL),
        (PacketPath.VIA_HOME_AGENTS, WIFI1 + 2 * HA + CELL),
        (PacketPath.VIA_GATEWAY, WIFI1 + 2 * SG + 2 * LAN + CELL),
    ],
)
def test_a_path_takes_the_delays_along_it(
    plan: NetworkPlan, path: PacketPath, expected: float
) -> None:
    for ends in (("wifi1", "cell"), ("cell", "wifi1")):
        assert path_ms(path, *ends, plan) == pytest.approx(expected)


def test_where_nodes_do_no_route_optimisation_a_handover_is_between_node_and_home_agent(
    plan: NetworkPlan,
) -> None:
    used = PacketPath.VIA_HOME_AGENTS
    bound = move_bound(move("wifi1", "wifi2", 5), "cell", used, Authorisation.NO_TEST, plan)
    assert bound.outbound_ms == pytest.approx(5 + WIFI2 + 2 * HA + CELL)
    assert bound.inbound_ms == pytest.approx(5 + 2 * (WIFI2 + HA))


def test_a_pair_is_used_when_its_set_up_is_over_and_found_directly_after_the_tests(
    plan: NetworkPlan,
) -> None:
    places = ("wifi1", "cell")
    needed = {
        path: pair_bound_ms(path, places, plan) - setup_bound_ms(places, plan)
        for path in (PacketPath.VIA_HOME_AGENTS, PacketPath.DIRECT)
    }
    by_home_agent = WIFI1 + 2 * HA + CELL
    assert needed == pytest.approx(
        {
            PacketPath.VIA_HOME_AGENTS: by_home_agent,
            PacketPath.DIRECT: 2 * by_home_agent + 2 * (WIFI1 + CELL),
        }
    )


def test_delays_of_a_scenario_count(plan: NetworkPlan) -> None:
    slow = replace(plan, delay_ms={**plan.delay_ms, "cell": 300.0})
    assert path_ms(PacketPath.DIRECT, "wifi1", "cell", slow) == (WIFI1 + 300)


@pytest.mark.parametrize("missing", ["addresses", "links"])
def test_a_run_without_a_plan_is_told(run_description, missing: str) -> None:
    del run_description[missing]
    with pytest.raises(ResultError, match=f"'{missing}' is missing"):
        plan_from_run(run_description)


def test_a_run_with_a_wrong_address_is_told(run_description) -> None:
    run_description["addresses"]["vcm"] = "nowhere"
    with pytest.raises(ResultError, match=r"run\.json: .*nowhere"):
        plan_from_run(run_description)


@pytest.mark.parametrize("overlap_ms", [500, 50, 10])
def test_an_overlap_is_taken_off_the_bound_of_a_soft_handover(
    plan: NetworkPlan, overlap_ms: float
) -> None:
    soft = move("wifi1", "wifi2", -overlap_ms)
    bound = move_bound(soft, "cell", PacketPath.DIRECT, Authorisation.NO_TEST, plan)
    assert bound.outbound_ms == pytest.approx(max(0, WIFI2 + CELL - overlap_ms))
    assert bound.inbound_ms == pytest.approx(max(0, 2 * (WIFI2 + CELL) - overlap_ms))


@pytest.fixture
def public(plan: NetworkPlan) -> NetworkPlan:
    """Embodiment 2: r22 routes home addresses, inside as well."""
    return replace(plan, is_public=True)


def test_the_embodiment_of_a_run_is_in_its_plan(run_description: dict[str, Any]) -> None:
    assert plan_from_run({**run_description, "embodiment": 2}).is_public
    assert not plan_from_run({**run_description, "embodiment": 1}).is_public


def test_public_addresses_leaving_while_the_peer_is_inside(public: NetworkPlan) -> None:
    """Inbound: update to sg, sg to r22, where the peer's packets pass already, back by sg."""
    bound = move_bound(
        move("lan", "cell", 20), "lan", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, public
    )
    assert bound.inbound_ms == pytest.approx(20 + 2 * (CELL + SG + LAN))


def test_public_addresses_returning_to_a_peer_inside(public: NetworkPlan) -> None:
    """Outbound: by r22. Inbound: update to sg, sg to r22, what is there."""
    bound = move_bound(
        move("wifi2", "lan"), "lan", PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, public
    )
    assert bound.outbound_ms == pytest.approx(4 * LAN + 4 * LAN)
    assert bound.inbound_ms == pytest.approx(4 * LAN + 3 * LAN + LAN + 2 * LAN)


@pytest.mark.parametrize("optimised", [False, True])
def test_who_has_sent_to_a_nodes_address_on_the_lan_has_to_be_told_that_it_left(
    public: NetworkPlan, optimised: bool
) -> None:
    """Inbound: update to sg; at once what is at r22, or word to the peer and its next packet."""
    bound = move_bound(
        move("lan", "wifi1"), "cell", False, Authorisation.NO_TEST, public, optimised=optimised
    )
    told = 2 * (SG + CELL) if optimised else 0
    assert bound.inbound_ms == pytest.approx(2 * (WIFI1 + SG) + 2 * LAN + told)
