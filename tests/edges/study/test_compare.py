"""The comparison of systems: what is read of a run, what is derived, what fails, what is drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.report.drawing import style
from experiments.runner import Options
from experiments.study.compare import (
    COLUMNS,
    DIRECT,
    RUNS,
    STUDY,
    derive,
    judge,
    name_of,
    pictures,
    values_of,
)
from experiments.study.conduct import wanted
from tests.support.sample_results import write_sample

MOVES = (
    "leaving: mn2, lan to cell",
    "handover: mn1, wifi1 to wifi2",
    "returning: mn1, wifi2 to lan",
)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a walk of embodiment 1 that goes direct."""
    folder = write_sample(tmp_path_factory.mktemp("results") / "walk")
    run = json.loads((folder / "run.json").read_text())
    run["variants"] = {"system": "mobivpn", "embodiment": "1", "best_path": "direct"}
    run["scenario"] |= run["variants"]
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_a_runs_figures_are_those_of_its_tables(sample: Path):
    rows = derive(sample)["rows"]
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert {row["system"] for row in rows} == {"embodiment 1"}
    of = {what: [row for row in rows if row["what"] == what] for what in {r["what"] for r in rows}}
    assert {row["detail"] for row in of["round_trip_ms"]} == {"cell and wifi1", "cell and wifi2",
                                                              "wifi1 and wifi2"}  # fmt: skip
    # IPv6, routing header, home address option, ESP of AES-GCM in tunnel mode.
    assert {row["value"] for row in of["overhead_bytes"]} == {40 + 24 + 24 + 36}
    assert len(of["gap_ms"]) == 6
    assert of["gap_ms"][0]["detail"] == MOVES[0]
    (after,) = of["direct_after_s"]
    assert 0 < after["value"] < 1
    assert [row["count"] for row in of["clear_text_packets"]] == [0]


def test_every_run_of_the_study_is_known_by_its_scenario():
    runs = wanted("compare", Options())
    names = [name_of(one.scenario.model_dump(mode="json")) for one in runs]
    assert names == list(RUNS)
    assert len(STUDY.runs) == len(RUNS)


def row(system: str, what: str, detail: str, value: Any, count: int = 1) -> dict[str, Any]:
    return dict(zip(COLUMNS, (system, what, detail, value, count), strict=True))


def rows_of(system: str, **changed: Any) -> list[dict[str, Any]]:
    """Return what a system's run leaves."""
    direct = system in DIRECT
    told = {"trip": 70.0 if direct else 130.0, "after": 0.4 if direct else None, "lost": 5}
    told |= {"clear": 0, "overhead": 124} | changed
    return [
        row(system, "round_trip_ms", "cell and wifi1", told["trip"], 90),
        row(system, "round_trip_ms", "cell and wifi1", 500.0, 10),
        row(system, "overhead_bytes", "direct" if direct else "via_gateway", told["overhead"], 50),
        *(row(system, "gap_ms", move, 40.0 + n, told["lost"]) for n, move in enumerate(MOVES)),
        row(system, "direct_after_s", "", told["after"]),
        row(system, "clear_text_packets", "", None, told["clear"]),
    ]


def every(**changed: Any) -> list[dict[str, Any]]:
    """Return the rows of all systems, `changed` in embodiment 2."""
    return [
        one for name in reversed(RUNS)
        for one in rows_of(name, **(changed if name == "embodiment 2" else {}))
    ]  # fmt: skip


def failed(rows: list[dict[str, Any]]) -> list[str]:
    return [check["name"] for check in judge(values_of(rows)) if not check["passed"]]


def test_each_system_is_one_line_in_the_order_of_the_study():
    values = values_of(every())
    assert [value["system"] for value in values] == list(RUNS)
    assert len({tuple(value) for value in values}) == 1
    second = values[1]
    assert second["round_trip_ms, cell and wifi1"] == 70.0
    assert second[f"gap_ms, {MOVES[1]}"] == 41.0
    assert (second["lost_probes"], second["overhead_bytes"]) == (15, 124)
    assert values[0]["direct_after_s"] is None


def test_what_has_no_sample_is_there_without_a_value():
    some = [r for r in every() if (r["system"], r["detail"]) != ("WireGuard", MOVES[2])]
    (wireguard,) = [v for v in values_of(some) if v["system"] == "WireGuard"]
    assert wireguard[f"gap_ms, {MOVES[2]}"] is None


def test_systems_as_they_are_pass():
    assert failed(every()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"after": None}, "direct systems that never are direct"),
        ({"trip": 131.0}, "direct round trip / hub only, the greatest"),
        ({"clear": 3}, "clear text packets outside"),
        ({"overhead": None}, "systems without a round trip or an overhead"),
    ],
)
def test_what_is_not_as_it_should_be_fails(changed: dict[str, Any], told: str):
    rows = every(**changed)
    if "overhead" in changed:
        rows = [r for r in rows if (r["what"], r["value"]) != ("overhead_bytes", None)]
    assert failed(rows) == [told]


def test_a_system_that_is_missing_fails():
    assert "systems without a run" in failed(rows_of("hub only"))
    assert "systems without a run" in failed([])


def test_the_figure_is_drawn_and_says_why_where_there_is_nothing(tmp_path: Path):
    with style():
        (drawn,) = pictures(values_of(every()), every())
        (empty,) = pictures([], [])
    drawn.save(tmp_path)
    assert (tmp_path / "compare.pdf").stat().st_size > 1000
    assert "WireGuard: round trip 130.0 ms" in drawn.alternative
    assert "never direct" in drawn.alternative
    assert empty.figure is None
    assert empty.caption.startswith("Not drawn: ")
