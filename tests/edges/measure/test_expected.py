"""What to expect of a pair follows from a scenario's places and moves, and from nothing else."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.measure.expected import (
    SETTLING,
    Stage,
    attributed_until_ns,
    best_path_of,
    expected_path,
    expected_places,
    places_of_run,
    silent_at_end_s,
    stages,
    traffic_span_ns,
)
from experiments.measure.timeline import END_OF_TIME_NS, Timeline, read_timeline
from experiments.network_plan import NetworkPlan
from experiments.paths import PacketPath
from experiments.resultset import Event
from experiments.scenario import SCENARIOS, load

MS = 1_000_000
PAIR = ("mn1", "mn2")
ALWAYS = (0, END_OF_TIME_NS)
ACCESS = frozenset({"wifi1", "wifi2", "cell"})


def timeline(*told: tuple[int, str, str], **start: str) -> Timeline:
    """Return a timeline from (ms, node, network) of moves that take no time."""
    events = [Event(0, node, "link_up", None, {"network": start[node]}) for node in start]
    for at_ms, node, network in told:
        events.append(Event(at_ms * MS, node, "link_down", None, {}))
        events.append(Event(at_ms * MS + 1, node, "link_up", None, {"network": network}))
    return read_timeline(events, ACCESS)


def found(
    plan: NetworkPlan, made: Timeline, traffic_ns: tuple[int, int] = ALWAYS
) -> list[tuple[str, bool]]:
    """Return (path, whether it settles) of each stage of MN1 and MN2."""
    expected = stages(places_of_run({}, made, PAIR), made, PAIR, plan, traffic_ns)
    return [(stage.path.value, stage.settles) for stage in expected]


@pytest.mark.parametrize("other", ["lan", "wifi1", "cell"])
@pytest.mark.parametrize("one", ["lan", "wifi1", "cell"])
def test_two_nodes_talk_directly_where_both_are_outside(one: str, other: str) -> None:
    path = expected_path((one, other))
    outside = (one != "lan") + (other != "lan")
    assert path is (PacketPath.INSIDE, PacketPath.VIA_GATEWAY, PacketPath.DIRECT)[outside]


@pytest.mark.parametrize("best", [PacketPath.VIA_GATEWAY, PacketPath.VIA_HOME_AGENTS])
def test_a_pair_outside_goes_as_far_as_the_best_path(plan: NetworkPlan, best: PacketPath) -> None:
    """As a set-up needs 113 ms, and a packet by the home agents 75."""
    for stay_ms in (150, 300, 700):
        made = timeline(
            (5000, "mn1", "wifi1"), (5000 + stay_ms, "mn1", "lan"), mn1="lan", mn2="cell"
        )
        expected = stages(places_of_run({}, made, PAIR), made, PAIR, plan, ALWAYS, "both", best)
        needed_ms = 91 if best is PacketPath.VIA_GATEWAY else 91 + 113 + 75
        assert [(stage.path, stage.settles) for stage in expected] == [
            (PacketPath.VIA_GATEWAY, True),
            (best, stay_ms >= SETTLING * needed_ms),
            (PacketPath.VIA_GATEWAY, True),
        ]
    assert best_path_of({"variants": {"best_path": best.value}}) is best
    assert best_path_of({}) is PacketPath.DIRECT


def test_places_begin_where_the_scenario_says_and_follow_its_moves() -> None:
    moves = [("mn3", "cell"), ("mn2", "wifi1"), ("mn1", "lan")]
    assert expected_places({"mn1": "cell"}, moves, PAIR) == [
        ("cell", "lan"),
        ("cell", "wifi1"),
        ("lan", "wifi1"),
    ]


def test_moves_of_other_nodes_begin_no_stage(plan: NetworkPlan) -> None:
    made = timeline((1000, "mn3", "cell"), mn1="lan", mn2="lan", mn3="lan")
    assert found(plan, made) == [("inside", True)]


def test_a_place_that_a_node_only_passes_settles_nothing(plan: NetworkPlan) -> None:
    bounces = [(9000 + 200 * i, "mn1", ("wifi2", "wifi1")[i % 2]) for i in range(3)]
    made = timeline((5000, "mn1", "wifi1"), *bounces, mn1="lan", mn2="cell")
    direct = "direct"
    assert found(plan, made) == [
        ("via_gateway", True),
        (direct, True),
        (direct, False),
        (direct, False),
        (direct, True),
    ]


def test_a_set_up_that_is_disturbed_settles_nothing(plan: NetworkPlan) -> None:
    """The bounds: 91 ms for leaving, 113 for the set-up, 226 for the bindings: all of it."""
    for stay_ms, settles in ((150, False), (400, False), (700, True)):
        made = timeline(
            (5000, "mn1", "wifi1"), (5000 + stay_ms, "mn1", "lan"), mn1="lan", mn2="cell"
        )
        assert found(plan, made)[1] == ("direct", settles)


@pytest.mark.parametrize(
    ("begin_ms", "end_ms", "settles"), [(0, 60, 0), (0, 900, 1), (600, 900, 0)]
)
def test_traffic_has_to_last_as_long_as_the_switch(
    plan: NetworkPlan, begin_ms: int, end_ms: int, settles: int
) -> None:
    made = timeline(mn1="wifi1", mn2="cell")
    assert found(plan, made, (begin_ms * MS, end_ms * MS)) == [("direct", bool(settles))]


def test_nothing_is_expected_of_a_stage_without_traffic(plan: NetworkPlan) -> None:
    made = timeline((1000, "mn1", "wifi1"), mn1="lan", mn2="lan")
    assert found(plan, made, (2000 * MS, 9000 * MS)) == [("inside", False), ("via_gateway", True)]


def test_what_is_lost_in_passing_is_lost_by_the_moves(plan: NetworkPlan) -> None:
    made = timeline(
        (5000, "mn1", "wifi1"),
        (9000, "mn1", "wifi2"),
        (9200, "mn1", "wifi1"),
        mn1="lan",
        mn2="cell",
    )
    expected = stages(places_of_run({}, made, PAIR), made, PAIR, plan, ALWAYS)
    bound_ms = 150 + 70
    assert [until / MS for until in attributed_until_ns(expected)] == [
        0,
        9200,
        pytest.approx(9200 + SETTLING * bound_ms, abs=0.01),
    ]


@pytest.mark.parametrize("is_public", [False, True])
def test_with_public_addresses_a_session_that_was_direct_goes_on_optimised(
    plan: NetworkPlan, is_public: bool
) -> None:
    made = timeline(
        (5000, "mn2", "cell"),
        (10000, "mn1", "wifi1"),
        (15000, "mn1", "lan"),
        (20000, "mn2", "wifi2"),
        (25000, "mn2", "lan"),
        (30000, "mn2", "cell"),
        mn1="lan",
        mn2="lan",
    )
    public = replace(plan, is_public=is_public)
    expected = stages(places_of_run({}, made, PAIR), made, PAIR, public, ALWAYS)
    optimised = [False, False, False, is_public, is_public, False, False]
    assert [stage.optimised for stage in expected] == optimised


@pytest.mark.parametrize(("stay_ms", "optimised"), [(3000, False), (4000, True)])
def test_a_short_stay_inside_is_not_expected_to_be_optimised(
    plan: NetworkPlan, stay_ms: int, optimised: bool
) -> None:
    made = timeline((5000, "mn1", "lan"), (5000 + stay_ms, "mn1", "wifi1"), mn1="wifi1", mn2="cell")
    public = replace(plan, is_public=True)
    expected = stages(places_of_run({}, made, PAIR), made, PAIR, public, ALWAYS)
    assert expected[1].settles
    assert expected[1].optimised is optimised


def test_stages_without_moves_attribute_nothing() -> None:
    stage = Stage(("lan", "lan"), PacketPath.INSIDE, 0, END_OF_TIME_NS, 0.0, True)
    assert attributed_until_ns([stage]) == []


def test_traffic_lasts_as_the_scenario_says() -> None:
    traffic: dict[str, Any] = {"start_s": 1.0, "stop_s": None}
    run = {"time_zero": 100.0, "scenario": {"duration_s": 30.0, "traffic": traffic}}
    assert traffic_span_ns(run) == (101_000_000_000, 130_000_000_000)
    assert silent_at_end_s(run) == 0
    traffic["stop_s"] = 5.0
    assert traffic_span_ns(run) == (101_000_000_000, 105_000_000_000)
    assert silent_at_end_s(run) == 25
    assert traffic_span_ns({}) == ALWAYS


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.toml")))
def test_every_walk_goes_direct_but_for_those_that_show_something_else(
    name: str, plan: NetworkPlan
) -> None:
    """From the scenario alone, as if its moves took no time."""
    scenario = load(name)
    if scenario.experiment != "walk":
        return
    made = timeline(
        *((round(1000 * move.at_s), move.node, move.to) for move in scenario.move),
        **scenario.place_at_start,
    )
    run = {"time_zero": 0.0, "scenario": scenario.model_dump(mode="json")}
    for pair in scenario.traffic.pairs:
        expected = stages(places_of_run({}, made, pair), made, pair, plan, traffic_span_ns(run))
        direct = any(s.settles and s.path is PacketPath.DIRECT for s in expected)
        assert direct is (name not in {"short-session", "fake_network"})
