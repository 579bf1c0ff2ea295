"""Runs on a cluster: what is finished is kept, what fails is tried again, once."""

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.resultset import ResultSet
from experiments.scenario import load as load_scenario
from experiments.sweep.cluster import Cluster, carry_out, run_on_worker
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


def test_whatever_a_run_ends_with_the_others_go_on(tmp_path: Path):
    def one(key: str, _scenario: Any, _options: Any, _store: Store) -> dict[str, Any]:
        from experiments.errors import ResultError

        if key == "second":
            raise ResultError("captures/mn1.pcapng: damaged")
        if key == "third":
            raise OSError(28, "No space left on device")
        return {"summary": {}}

    failures, store, _ = run_all(tmp_path, one)
    assert failures == {
        "second": "captures/mn1.pcapng: damaged",
        "third": "OSError: [Errno 28] No space left on device",
    }
    assert [key for key in KEYS if store.load(key)] == ["first", "fourth"]


@contextmanager
def mute() -> Iterator[str]:
    """Listen, and say nothing; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:9", "nonsense", "foo://there:1", ""])
def test_a_scheduler_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], address: Any
):
    from experiments.sweep import cluster

    monkeypatch.setattr(cluster, "CONNECT_WITHIN_S", 1)
    with mute() as listens:
        asked = listens if address is None else address
        with pytest.raises(LabError, match="no Dask scheduler answers there") as error:
            carry_out(
                {"a": Wanted({}, load_scenario("walk"))},
                runner.Options(),
                Store(tmp_path / "runs"),
                Cluster(1, asked),
                lambda done, total: None,
            )
    assert str(error.value).startswith(f"--scheduler {asked}: ")
    assert "\n" not in str(error.value)
    gc.collect()
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_the_folder_of_a_run_that_failed_a_check_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str
):
    ran = tmp_path / "cache" / "run"
    ran.mkdir(parents=True)
    summary = {"schema": 1, "verdict": verdict}
    monkeypatch.setattr(runner, "carry_out", lambda scenario, options: ran)
    monkeypatch.setattr(ResultSet, "load_summary", lambda results: summary)
    (ran / "events.jsonl").write_text("what happened")
    store = Store(tmp_path / "sweeps" / "runs")
    store.folder.mkdir(parents=True)
    scenario = load_scenario("walk").model_dump(mode="json")
    assert run_on_worker("a", scenario, runner.Options(), store) == {"summary": summary}
    assert not ran.exists()
    kept = [path.relative_to(tmp_path) for path in tmp_path.rglob("events.jsonl")]
    assert kept == ([] if verdict == "passed" else [Path("sweeps/failed/a/events.jsonl")])
