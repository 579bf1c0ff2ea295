"""The results of many runs: what is known is not run again, and is only what was asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.scenario import load
from experiments.sweep import runs
from experiments.sweep.cluster import Cluster
from experiments.sweep.plan import Wanted
from experiments.sweep.store import Store
from vm.clock import Clock
from vm.machine import Machine

WANTED = [Wanted({"seed": n}, load("walk", {"seed": n})) for n in (1, 2)]


def first_kind(folder: Path) -> dict[str, Any]:
    return {"rows": [1]}


def second_kind(folder: Path) -> dict[str, Any]:
    return {"rows": [2]}


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Carry out runs at once, all but those with seed 9; return the seeds of each time."""
    times: list[list[int]] = []

    def carry_out(
        missing: Any, options: Any, store: Store, where: Any, told: Any, run_one: Any
    ) -> dict[str, str]:
        times.append([one.scenario.seed for one in missing.values()])
        derive = run_one.keywords["derive"] if run_one is not None else (lambda folder: {})
        for key, one in missing.items():
            if one.scenario.seed != 9:
                store.save(key, {"summary": {}, **derive(Path())})
        return {key: "no luck" for key, one in missing.items() if one.scenario.seed == 9}

    monkeypatch.setattr(runs.cluster, "carry_out", carry_out)
    monkeypatch.setattr(runs.machine, "choose", lambda *_, usual: (Machine.NATIVE, Clock.VIRTUAL))
    return times


def results(
    folder: Path,
    wanted: list[Wanted] = WANTED,
    derive: Callable[[Path], dict[str, Any]] | None = None,
) -> runs.Results:
    store = Store(folder / "runs")
    return runs.results_of(
        wanted, runner.Options(), Cluster(1), store, lambda step, done, total: None, derive
    )


def test_what_is_known_is_not_run_again(tmp_path: Path, carried_out: list[list[int]]):
    assert results(tmp_path, WANTED[:1]).known == 0
    again = results(tmp_path)
    assert (again.wanted, again.known) == (2, 1)
    assert [one.scenario.seed for one, _ in again.found] == [1, 2]
    assert results(tmp_path).known == 2
    assert carried_out == [[1], [2]]


def test_what_was_kept_for_another_question_is_not_known(
    tmp_path: Path, carried_out: list[list[int]]
):
    kept = [
        results(tmp_path, derive=derive).found[0][1].get("rows")
        for derive in (None, first_kind, second_kind, first_kind)
    ]
    assert kept == [None, [1], [2], [1]]
    assert len(carried_out) == 3


def test_a_run_without_a_result_is_told_and_not_among_those_found(
    tmp_path: Path, carried_out: list[list[int]]
):
    nine = Wanted({"seed": 9}, load("walk", {"seed": 9}))
    found = results(tmp_path, [*WANTED, nine])
    assert list(found.failures.values()) == ["no luck"]
    assert (found.wanted, len(found.found)) == (3, 2)
