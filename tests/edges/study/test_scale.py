"""The study of many pairs: its runs, what is read of one and derived, what fails, the figures."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.report.drawing import style
from experiments.runner import Options, memory_of
from experiments.scenario import ScenarioError
from experiments.study import conduct
from experiments.study.conduct import wanted
from experiments.study.scale import (
    COLUMNS,
    PAIRS,
    PROGRAMS,
    derive,
    judge,
    pictures,
    run_with,
    values_of,
)
from tests.support.sample_results import write_sample


def load_with(used_mib: float) -> dict[str, Any]:
    """Return load.json's account of one moment."""
    return {
        "memory_mib": {"total": 1500.0, "used": used_mib},
        "programs": {name: {"rss_mib": 36.0} for name in PROGRAMS},
    }


@pytest.fixture(params=["virtual", "cpu"])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a walk of one pair, with the memory that its programs took."""
    folder = write_sample(tmp_path / "walk")
    run = json.loads((folder / "run.json").read_text())
    run |= {"clock": request.param, "other_pairs": []}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "load.json").write_text(
        json.dumps({"start": load_with(200.0), "end": load_with(300.0)})
    )
    return folder


def of(rows: list[dict[str, Any]], what: str, name: str) -> list[Any]:
    return [row["value"] for row in rows if (row["what"], row["of"]) == (what, name)]


def test_a_runs_figures_are_those_of_its_files(sample: Path):
    rows = derive(sample)["rows"]
    virtual = json.loads((sample / "run.json").read_text())["clock"] == "virtual"
    assert all(list(row) == list(COLUMNS) and row["pairs"] == 1 for row in rows)
    (took_ms,) = of(rows, "setup_ms", "mn1-mn2")
    (bound_ms,) = of(rows, "setup_lower_bound_ms", "mn1-mn2")
    (direct_ms,) = of(rows, "to_direct_ms", "mn1-mn2")
    # Where computing takes time, no bound is held against the set-up.
    assert bound_ms == (112.4 if virtual else None)
    assert 112.4 <= took_ms <= direct_ms
    assert of(rows, "lost_by_switch", "mn1-mn2") == [0]
    assert of(rows, "clear_text_packets", "") == [0]
    assert of(rows, "rss_mib", "vcm") == [36.0]
    assert of(rows, "lab_memory_mib", "") == [300.0]
    # The sample's gateway has one association of each node when both are home.
    assert (of(rows, "sg_associations", "sg"), of(rows, "sg_policies", "sg")) == ([2], [0])
    summary = json.loads((sample / "summary.json").read_text())
    assert sum(of(rows, "packets", "sg-ext")) > summary["probes"]["sent"] / 10
    assert sum(of(rows, "bytes", "sg-ext")) > 100 * sum(of(rows, "packets", "sg-ext"))
    assert sum(of(rows, "messages", "vcm")) > 6


def test_each_run_has_its_pairs_who_all_leave_at_once():
    runs = [one.scenario for one in wanted("scale", Options())]
    assert [len(run.traffic.pairs) for run in runs] == list(PAIRS)
    for run in runs:
        nodes = [node for pair in run.traffic.pairs for node in pair]
        assert nodes == list(run.place_at_start)
        assert [move.node for move in run.move] == nodes
        assert len({(move.at_s, move.gap_ms) for move in run.move}) == 1
        assert {run.move[n].to for n in range(0, len(nodes), 2)} == {"wifi1"}


def test_nodes_that_are_plugged_in_one_by_one_are_all_there_when_the_gap_ends():
    most = run_with(max(PAIRS))
    assert 6 * len(most["move"]) < most["move"][0]["gap_ms"]


# --- memory -------------------------------------------------------------------------------------


def test_many_nodes_get_the_memory_that_they_need(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "available_memory_mib", lambda: 1 << 20)
    given = [memory_of(one.scenario, Options()) for one in wanted("scale", Options())]
    assert given[0] == 1536
    assert given[-1] > 1536
    assert given == sorted(given)
    asked = [
        memory_of(one.scenario, Options(memory_mib=9000)) for one in wanted("scale", Options())
    ]
    assert set(asked) == {9000}


def test_a_machine_or_an_option_with_too_little_memory_is_told_of_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
):
    with pytest.raises(ScenarioError, match=r"^--memory 700: a lab with \d+ mobile nodes needs"):
        wanted("scale", Options(memory_mib=700))
    monkeypatch.setattr(runner, "available_memory_mib", lambda: 1400)
    told = r"^mobile_nodes: a lab with \d+ mobile nodes needs \d+ MiB .* has 1400 available; set f"
    with pytest.raises(ScenarioError, match=told) as error:
        wanted("scale", Options())
    assert "\n" not in str(error.value)
    # The usual three fit all the same.
    assert runner.load("walk", Options()).mobile_nodes == 3


def test_so_many_runs_go_at_a_time_as_have_memory_for_the_largest(
    monkeypatch: pytest.MonkeyPatch,
):
    asked: list[int] = []
    monkeypatch.setattr(runner, "available_memory_mib", lambda: 1 << 20)
    monkeypatch.setattr(conduct, "vms_that_fit", lambda lab_mib: asked.append(lab_mib) or 3)
    assert conduct.here("scale", Options()).workers == 3
    assert asked == [max(memory_of(one.scenario, Options()) for one in wanted("scale", Options()))]


# --- values, checks, figures --------------------------------------------------------------------


def rows_with(pairs: int, **changed: Any) -> list[dict[str, Any]]:
    """Return what a run with so many pairs leaves; `changed` is so of its last pair or of all."""
    told = {"setup": 113.0, "direct": 450.0, "lost": 0, "clear": 0, "bound": 112.4}
    last = told | changed
    found: list[tuple[Any, ...]] = []
    for number in range(1, pairs + 1):
        own, name = last if number == pairs else told, f"pair{number}"
        found += [
            ("setup_ms", name, None, own["setup"]),
            ("to_direct_ms", name, None, own["direct"]),
            ("setup_lower_bound_ms", name, None, last["bound"]),
            ("lost_by_switch", name, None, own["lost"]),
        ]
    found.append(("clear_text_packets", "", None, last["clear"]))
    for at_s in (1.58, 1.59, 1.60):
        found += [("packets", link, at_s, 10 * pairs) for link in ("sg-ext", "sg-lan")]
        found += [("bytes", link, at_s, 2000 * pairs) for link in ("sg-ext", "sg-lan")]
        found += [("messages", host, at_s, 5 * pairs) for host in ("vcm", "sg")]
    for name in PROGRAMS:
        found.append(("rss_mib", name, None, 36.0))
    found += [
        ("lab_memory_mib", "", None, 250.0 + 45 * pairs),
        ("sg_associations", "sg", None, 5 + 16 * pairs),
        ("sg_policies", "sg", None, 7 + 16 * pairs),
    ]
    return [dict(zip(COLUMNS, (pairs, *row), strict=True)) for row in found]


def every(**changed: Any) -> list[dict[str, Any]]:
    """Return the rows of all runs, `changed` in the largest."""
    return [
        row
        for pairs in reversed(PAIRS)
        for row in rows_with(pairs, **(changed if pairs == max(PAIRS) else {}))
    ]


def failed(rows: list[dict[str, Any]]) -> list[str]:
    return [check["name"] for check in judge(values_of(rows)) if not check["passed"]]


def test_each_number_of_pairs_is_one_value():
    values = values_of(every(setup=120.0))
    assert [value["pairs"] for value in values] == list(PAIRS)
    last = values[-1]
    assert (last["setup_median_ms"], last["setup_p95_ms"]) == (113.0, 113.0)
    assert (last["setup_worst_ms"], last["pairs_direct"]) == (120.0, max(PAIRS))
    assert last["setup_over_lower_bound_worst"] == pytest.approx(120.0 / 112.4)
    assert last["vcm_messages"] == 15 * max(PAIRS)
    # Of three hundredths of a second, two are in the same tenth.
    assert last["vcm_messages_in_busiest_tenth"] == 10 * max(PAIRS)
    assert last["sg-ext_bytes_in_busiest_tenth"] == 4000 * max(PAIRS)
    assert last["vcm_rss_mib"] == 36.0


def test_runs_as_they_are_pass():
    assert failed(every()) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"direct": None}, "pairs that never are direct"),
        ({"setup": 124.0}, "direct set-up / lower bound, the worst of all pairs"),
        ({"lost": 1}, "probes lost by the switch"),
        ({"clear": 1}, "clear text packets outside"),
    ],
)
def test_one_pair_that_is_not_as_it_should_be_fails_the_study(changed: dict[str, Any], told: str):
    assert failed(every(**changed)) == [told]


def test_a_run_that_is_missing_fails():
    assert failed(rows_with(2)) == ["numbers of pairs without a run"]
    assert "numbers of pairs without a run" in failed([])


def test_off_the_virtual_clock_set_up_is_told_and_not_judged():
    rows = [row for pairs in PAIRS for row in rows_with(pairs, setup=900.0, bound=None)]
    assert failed(rows) == []
    assert values_of(rows)[-1]["setup_worst_ms"] == 900.0


def test_the_figures_are_drawn_and_say_why_where_there_is_nothing(tmp_path: Path):
    no_bound = [row for pairs in PAIRS for row in rows_with(pairs, bound=None)]
    with style():
        drawn = pictures(values_of(every()), every())
        without_bound = pictures(values_of(no_bound), no_bound)
        empty = pictures([], [])
    for picture in (*drawn, *without_bound):
        picture.save(tmp_path)
        assert (tmp_path / f"{picture.name}.pdf").stat().st_size > 1000
    setup, over_time, over_pairs = drawn
    assert "113.0 ms with 1 and 113.0 ms with" in setup.alternative
    assert f"vcm {5 * max(PAIRS)}" in over_time.alternative
    assert "with the virtual clock computing takes none" in over_pairs.caption
    assert all(picture.figure is None for picture in empty)
    assert all(picture.caption.startswith("Not drawn: ") for picture in empty)
