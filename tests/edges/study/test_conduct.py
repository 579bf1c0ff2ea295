"""A study as a user has it: options, its folder, its verdict, its page, its exit code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, runner, verify
from experiments.errors import ResultError
from experiments.report.drawing import Picture
from experiments.scenario import ScenarioError
from experiments.study import conduct, folder, studies
from experiments.study.study import Study
from experiments.sweep.cluster import Cluster
from experiments.sweep.plan import Wanted
from experiments.sweep.runs import Results
from experiments.sweep.store import Store
from mobivpn.variants import Embodiment, GatewayBinding
from vm import lease, packages

SUMMARY = {
    "verdict": "passed",
    "clock": "virtual",
    "versions": {"mobivpn": "0.1.0", "revision": "0123abc"},
    "checks": [{"name": "probes duplicated", "value": 0, "limit": 0, "passed": True}],
}
FAILED = {
    **SUMMARY,
    "verdict": "failed",
    "checks": [{"name": "probes duplicated", "value": 3, "limit": 0, "passed": False}],
}
ROWS = [{"delay_ms": 1.5, "path": "direct"}, {"delay_ms": None, "path": "inside"}]
SMALL = Study(
    name="latency",
    runs=[{"best_path": "direct"}, {"best_path": "via_gateway"}],
    takes=frozenset({"seed", "embodiment"}),
    columns=("delay_ms", "path"),
    named_by=("path",),
    varies={"rows": 0.01},
    derive=lambda folder: {"rows": ROWS},
    values_of=lambda rows: [{"path": "direct", "rows": len(rows), "greatest_ms": 1.5}],
    judge=lambda values: [],
    pictures=lambda values, rows: [Picture("none", "None", f"{rows}", "", None)],
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "missing", lambda needs: [])
    monkeypatch.setattr(lease, "sweep", list)
    monkeypatch.setattr(studies, "load", lambda name: SMALL)


@pytest.fixture
def stores() -> list[Store]:
    """Where results were looked for."""
    return []


@pytest.fixture
def runs_of(monkeypatch: pytest.MonkeyPatch, stores: list[Store]) -> Callable[..., list[Wanted]]:
    """Let runs come to these summaries, None for no result; return those that were wanted."""

    def come_to(*summaries: Any) -> list[Wanted]:
        asked: list[Wanted] = []

        def results_of(wanted: list[Wanted], _: Any, __: Any, store: Store, *___: Any) -> Results:
            asked.extend(wanted)
            stores.append(store)
            found = [
                (one, {"summary": summary, "rows": ROWS})
                for one, summary in zip(wanted, summaries, strict=True)
                if summary is not None
            ]
            return Results(len(wanted), 1, found, {})

        monkeypatch.setattr(conduct, "results_of", results_of)
        return asked

    return come_to


def conducted(tmp_path: Path, **options: Any) -> folder.StudyResults:
    given = runner.Options(results=tmp_path / "results", **options)
    return folder.load(
        conduct.carry_out("latency", given, Cluster(1), lambda step, done, total: None)
    )


def test_a_study_leaves_summary_rows_and_page(tmp_path: Path, runs_of: Any):
    asked = runs_of(SUMMARY, SUMMARY)
    found = conducted(tmp_path, seed=7, variants={"embodiment": Embodiment.PUBLIC})
    assert [one.scenario.seed for one in asked] == [7, 7]
    assert [one.scenario.best_path.value for one in asked] == ["direct", "via_gateway"]
    assert next(iter(found.summary.items())) == ("schema", 1)
    assert list(found.summary)[1] == "verdict"
    assert found.summary["verdict"] == "passed"
    assert found.summary["values"] == [{"path": "direct", "rows": 4, "greatest_ms": 1.5}]
    assert found.rows == ROWS * 2
    assert folder.command(found.summary) == "./lab run latency --seed 7 --embodiment 2"
    page = (found.folder / "report.html").read_text()
    assert "Passed: 2 of 2 checks, 2 runs" in page
    assert "./lab run latency --seed 7" in page
    assert "greatest_ms" in page


@pytest.mark.parametrize(
    ("second", "told"),
    [(None, "runs without a result"), (FAILED, "runs that failed a check of their own")],
)
def test_a_run_without_a_result_and_one_that_failed_fail_the_study(
    tmp_path: Path, runs_of: Any, second: Any, told: str
):
    runs_of(SUMMARY, second)
    found = conducted(tmp_path)
    assert found.summary["verdict"] == "failed"
    assert [check["name"] for check in found.failed] == [told]
    assert told in (found.folder / "report.html").read_text()


def test_a_study_of_which_no_run_came_to_a_result_has_a_page(tmp_path: Path, runs_of: Any):
    runs_of(None, None)
    assert conducted(tmp_path).summary["verdict"] == "failed"


def test_the_folder_is_told_last_and_a_failed_verdict_is_exit_code_1(
    tmp_path: Path, runs_of: Any, capsys: pytest.CaptureFixture[str]
):
    for summary, code in ((SUMMARY, 0), (FAILED, 1)):
        runs_of(SUMMARY, summary)
        results = tmp_path / str(code)
        arguments = ["run", "latency", "--results", str(results)]
        if code:
            with pytest.raises(SystemExit, match="1"):
                cli.main(arguments)
        else:
            assert cli.main(arguments) == 0
        out, err = capsys.readouterr()
        (made,) = [path for path in results.iterdir() if path.name.endswith("-latency")]
        assert out == f"{made}\n"
        assert "report" in err


def test_a_study_is_drawn_again_from_its_folder(
    tmp_path: Path, runs_of: Any, capsys: pytest.CaptureFixture[str]
):
    runs_of(SUMMARY, SUMMARY)
    made = conducted(tmp_path, page=False).folder
    assert not (made / "report.html").exists()
    assert cli.main(["report", str(made)]) == 0
    assert capsys.readouterr().out == f"{made}\n"
    assert (made / "report.html").exists()
    assert cli.main(["report", str(made), str(made)]) == 2
    assert "a study is drawn again on its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--best-path", "direct"], "--best-path: the study 'latency' does not take it"),
        (["--runs", "3"], "--runs: the study 'latency' does not take it; of a scenario's options"),
        (["--agent-delay", "1"], "--agent-delay: the study .* it takes --embodiment, --seed"),
        (["-v"], "-v: the runs of a study"),
    ],
)
def test_what_a_study_does_not_take_is_refused_in_one_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["run", "latency", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert re.search(told, err)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": 9}, "schema 9"),
        ({"study": "sideways"}, "no study is called 'sideways'; there are: latency"),
        ({"values": None, "checks": None}, "'values' is missing"),
    ],
)
def test_a_damaged_study_is_told_in_one_line(
    tmp_path: Path, runs_of: Any, change: dict[str, Any], told: str
):
    runs_of(SUMMARY, SUMMARY)
    made = conducted(tmp_path, page=False)
    damaged = {k: v for k, v in {**made.summary, **change}.items() if v is not None}
    (made.folder / "summary.json").write_text(json.dumps(damaged))
    with pytest.raises(ResultError, match=told):
        folder.load(made.folder)


@pytest.mark.parametrize("name", studies.NAMES)
@pytest.mark.parametrize(
    "variants",
    [{}, {"embodiment": Embodiment.PUBLIC}, {"sg_binding": GatewayBinding.NO}],
)
def test_every_run_of_every_study_is_a_scenario(
    name: str, variants: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    taken = {key: one for key, one in variants.items() if key in studies.load(name).takes}
    runs = conduct.wanted(name, runner.Options(variants=taken, seed=3))
    assert len(runs) == len(studies.load(name).runs)
    assert {one.scenario.seed for one in runs} == {3}
    keys = {one.key({}) for one in runs}
    assert len(keys) == len(runs)
    with pytest.raises(ScenarioError, match="does not take it"):
        conduct.wanted(name, runner.Options(handover="soft"))


def test_a_study_is_verified_by_new_runs_and_what_moved_is_named(
    tmp_path: Path,
    runs_of: Any,
    stores: list[Store],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    runs_of(SUMMARY, SUMMARY)
    known = conducted(tmp_path)
    reference = dict(known.summary) | {"known_before": 7, "wall_seconds": 99.0}
    monkeypatch.setattr(verify, "REFERENCE", tmp_path)
    path = tmp_path / "latency.json"

    path.write_text(json.dumps(reference))
    arguments = ["verify", "latency", "--results", str(tmp_path / "results")]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == "latency: as the reference\n"
    assert stores[-1] != stores[0]
    assert not stores[-1].folder.exists()

    path.write_text(
        json.dumps(reference | {"values": [{"path": "direct", "rows": 4.03, "greatest_ms": 1.7}]})
    )
    with pytest.raises(SystemExit, match="1"):
        cli.main(arguments)
    assert capsys.readouterr().out.splitlines() == [
        "latency: 1 value moved",
        "  values.direct.greatest_ms: 1.7 -> 1.5 (by -0.200)",
    ]
