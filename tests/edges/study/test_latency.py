"""The study of latency: which probes count, what is derived of them, what fails, what is drawn."""

from pathlib import Path
from typing import Any

import pytest

from experiments.report.drawing import PATHS, style
from experiments.study.latency import (
    COLUMNS,
    GATEWAY_DELAYS_MS,
    ONE_WAY,
    STUDY,
    TRIP,
    derive,
    judge,
    pictures,
    values_of,
)
from tests.support.sample_results import write_sample

PLACES = (("cell", "wifi1"), ("cell", "wifi2"), ("wifi1", "wifi2"))
PASSING_MS = {"inside": 0.4, "via_gateway": 35.4, "via_home_agents": 75.0, "direct": 35.0}


def row(**changed: Any) -> dict[str, Any]:
    values = (15.0, "direct", "wifi1", "cell", TRIP, 70.0, 70.3, 10)
    return {**dict(zip(COLUMNS, values, strict=True)), **changed}


def full_grid() -> list[dict[str, Any]]:
    """Return rows of every distance, path and pair of places, a little above the links' delays."""
    rows = []
    for distance in GATEWAY_DELAYS_MS:
        for path in PATHS:
            for one, other in PLACES if path != "inside" else (("lan", "lan"),):
                far = 2 * distance if path == "via_gateway" else 0
                for measured, times in ((ONE_WAY, 1), (TRIP, 2)):
                    ms = times * (PASSING_MS[path] + far)
                    point = {
                        "gateway_delay_ms": distance,
                        "path": path,
                        "measured": measured,
                        "configured_ms": ms,
                    }
                    for sender, receiver in ((one, other), (other, one)):
                        ends = {"sender_place": sender, "receiver_place": receiver}
                        rows.append(row(**point, **ends, delay_ms=ms + 0.01, count=9))
                        rows.append(row(**point, **ends, delay_ms=ms + 0.09, count=1))
    return rows


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what is kept of the walk that goes direct."""
    return derive(write_sample(tmp_path_factory.mktemp("results") / "walk"))["rows"]


def test_probes_count_inside_and_on_the_best_path_and_nowhere_else(walked: list[dict[str, Any]]):
    assert {r["path"] for r in walked} == {"inside", "direct"}
    assert {r["configured_ms"] for r in walked if r["path"] == "inside"} == {0.4, 0.8}
    far = [r for r in walked if {r["sender_place"], r["receiver_place"]} == {"wifi1", "cell"}]
    assert {(r["measured"], r["configured_ms"]) for r in far} == {(ONE_WAY, 35.0), (TRIP, 70.0)}
    assert all(r["delay_ms"] >= r["configured_ms"] for r in walked)


def test_probes_of_moves_and_of_the_switch_are_left_out(walked: list[dict[str, Any]]):
    """Those would be late: they waited for a link, or took the home agents' path."""
    assert all(r["delay_ms"] <= 1.02 * r["configured_ms"] + 0.1 for r in walked)


def test_values_are_of_one_path_two_places_and_one_kind_each():
    values = values_of(full_grid())
    assert len(values) == len(GATEWAY_DELAYS_MS) * 2 * (1 + 3 * 3 * 2)
    (direct,) = [
        v
        for v in values
        if (v["gateway_delay_ms"], v["path"], v["measured"]) == (15.0, "direct", TRIP)
        and (v["sender_place"], v["receiver_place"]) == ("wifi1", "cell")
    ]
    assert (direct["samples"], direct["configured_ms"]) == (10, 70.0)
    assert direct["median_ms"] == pytest.approx(70.01)
    assert 70.01 <= direct["p05_ms"] <= direct["p95_ms"] <= 70.09


def failed(rows: list[dict[str, Any]]) -> list[str]:
    return [check["name"] for check in judge(values_of(rows)) if not check["passed"]]


def test_medians_as_long_as_the_links_delays_pass():
    assert failed(full_grid()) == []


def test_a_late_median_an_early_one_and_a_missing_path_fail():
    late = row(delay_ms=71.6, count=1000)
    assert failed([*full_grid(), late]) == [
        "direct: medians beyond 1.02 x the links' delays (ms), the worst"
    ]
    early = row(delay_ms=69.9, count=1000)
    assert failed([*full_grid(), early]) == ["medians below the links' delays"]
    some = [r for r in full_grid() if r["path"] != "direct" or r["gateway_delay_ms"] != 5.0]
    assert failed(some) == ["paths without a sample at some distance"]
    assert len(failed([])) == len(PATHS) + 1


def test_every_figure_is_drawn_and_says_why_where_there_is_nothing(tmp_path: Path):
    rows = full_grid()
    with style():
        drawn = pictures(values_of(rows), rows)
        empty = pictures([], [])
    for picture in drawn:
        picture.save(tmp_path)
        assert (tmp_path / f"{picture.name}.pdf").stat().st_size > 1000
    gained = "nodes in cell and wifi1: 2.8 ms (4 %) at 0.5 ms, 480.8 ms (87 %) at 120 ms"
    assert gained in drawn[1].caption
    assert all(p.figure is None and p.caption.startswith("Not drawn: ") for p in empty)


def test_runs_are_every_path_at_every_distance():
    assert len(STUDY.runs) == len(GATEWAY_DELAYS_MS) * 3
    assert {run["best_path"] for run in STUDY.runs} == {*PATHS} - {"inside"}
