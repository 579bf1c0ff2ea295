"""Runs on a cluster: what is finished is kept, what fails is tried again, once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.scenario import load as load_scenario
from experiments.sweep.cluster import Cluster, carry_out
from experiments.sweep.plan import Wanted
from experiments.sweep.store import Store
from vm.errors import LabError

KEYS = ("first", "second", "third", "fourth")

# Dask's own threads and processes close their sockets a moment after their users are gone.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def run_all(
    folder: Path, one: Callable[..., dict[str, Any]], workers: int = 2
) -> tuple[dict[str, str], Store, list[tuple[int, int]]]:
    wanted = {key: Wanted({}, load_scenario("walk", {"seed": n})) for n, key in enumerate(KEYS)}
    store, told = Store(folder / "runs"), list[tuple[int, int]]()
    failures = carry_out(
        wanted,
        runner.Options(results=folder),
        store,
        Cluster(workers),
        lambda done, total: told.append((done, total)),
        one,
    )
    return failures, store, told


def test_what_fails_once_is_tried_again_and_what_fails_twice_is_told(tmp_path: Path):
    # Inside a function: what a worker cannot import is sent to it.
    def one(key: str, scenario: dict[str, Any], _options: Any, store: Store) -> dict[str, Any]:
        from vm.errors import LabCrashed

        tries = len(list(store.folder.glob(f"{key}.try*")))
        (store.folder / f"{key}.try{tries}").touch()
        if key == "third" or (key == "second" and not tries):
            raise LabCrashed("the lab is gone")
        return {"summary": {"seed": scenario["seed"]}}

    failures, store, told = run_all(tmp_path, one)
    assert failures == {"third": "the lab is gone"}
    assert {key: store.load(key) for key in KEYS} == {
        "first": {"schema": 1, "summary": {"seed": 0}},
        "second": {"schema": 1, "summary": {"seed": 1}},
        "third": None,
        "fourth": {"schema": 1, "summary": {"seed": 3}},
    }
    assert len(list(store.folder.glob("*.try*"))) == 6
    assert told[-1] == (4, 4)


def test_a_killed_worker_loses_no_finished_run(tmp_path: Path):
    def one(key: str, _scenario: Any, _options: Any, store: Store) -> dict[str, Any]:
        import os
        import signal

        known = store.load(key)
        if known is not None:
            return known
        # Who begins counts: what is finished must never begin again.
        with (store.folder / f"{key}.begun").open("a") as file:
            file.write("x")
        store.save(key, {"summary": {}})
        marker = store.folder / "killed"
        if key == "second" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"summary": {}}

    failures, store, _ = run_all(tmp_path, one, workers=1)
    assert failures == {}
    assert (store.folder / "killed").exists()
    assert {(store.folder / f"{key}.begun").read_text() for key in KEYS} == {"x"}


def test_a_scheduler_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from experiments.sweep import cluster

    monkeypatch.setattr(cluster, "CONNECT_WITHIN_S", 1)
    with pytest.raises(LabError, match=r"--scheduler tcp://127\.0\.0\.1:9: no Dask scheduler"):
        carry_out(
            {"a": Wanted({}, load_scenario("walk"))},
            runner.Options(),
            Store(tmp_path / "runs"),
            Cluster(1, "tcp://127.0.0.1:9"),
            lambda done, total: None,
        )
