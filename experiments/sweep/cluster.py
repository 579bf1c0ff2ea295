"""Carry out runs on Dask: on a cluster of this machine's own, or on one that is there already.

Each worker runs one lab VM at a time. A run that did not come to a result is tried a second time.
"""

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

from experiments import runner
from experiments.resultset import ResultSet
from experiments.scenario import Scenario
from experiments.sweep.plan import Wanted
from experiments.sweep.store import Store
from vm import lease, places
from vm.errors import LabError

ATTEMPTS = 2
CONNECT_WITHIN_S = 10
GONE_WITHIN_S = 5.0

Derive = Callable[[Path], dict[str, Any]]
"""Takes what is to be kept of a run, beside its summary, out of its folder."""

Told = Callable[[int, int], None]
"""Called with how many runs are over, and of how many."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where runs are carried out: at a scheduler's address, or here, so many at once."""

    workers: int
    scheduler: str | None = None


def carry_out(
    wanted: Mapping[str, Wanted],
    options: runner.Options,
    store: Store,
    cluster: Cluster,
    told: Told,
    run_one: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, str]:
    """Run all of `wanted` (by key) into the store; return why some came to no result, by key.

    `run_one` runs one of them, on a worker. Raises LabError where there is no cluster.
    """
    run_one = run_one or run_on_worker
    failures: dict[str, str] = {}
    store.folder.mkdir(parents=True, exist_ok=True)
    with _client(cluster, len(wanted)) as client:
        begun: dict[str, tuple[str, int]] = {}

        def begin(key: str, attempt: int) -> Any:
            scenario = wanted[key].scenario.model_dump(mode="json")
            name = f"{key}-{attempt}"
            begun[name] = key, attempt
            return client.submit(run_one, key, scenario, options, store, key=name)

        over = 0
        futures = as_completed([begin(key, 1) for key in wanted], loop=client.loop)
        for future in futures:
            key, attempt = begun[future.key]
            try:
                store.save(key, future.result())
                over += 1
            except (LabError, KilledWorker) as error:
                if attempt < ATTEMPTS:
                    futures.add(begin(key, attempt + 1))
                else:
                    failures[key] = _reason(error)
                    over += 1
            finally:
                future.release()
            told(over, len(wanted))
    return failures


def run_on_worker(
    key: str,
    scenario: dict[str, Any],
    options: runner.Options,
    store: Store,
    derive: Derive = lambda folder: {},
) -> dict[str, Any]:
    """Run one scenario on a worker; return its record, which is in the store if that is here too.

    So what is finished outlives the worker. The record has the summary, and what `derive` adds.
    """
    if (known := store.load(key)) is not None:
        return known
    folder = runner.carry_out(Scenario.model_validate(scenario), options)
    try:
        record = {"summary": ResultSet(folder).load_summary(), **derive(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if store.folder.is_dir():
        store.save(key, record)
    return record


def results_of_workers() -> Path:
    """Return where a worker has the folder of the run under way."""
    return places.cache() / "sweeps"


def _reason(error: Exception) -> str:
    if isinstance(error, KilledWorker):
        return "its worker was killed again and again"
    return str(error)


@contextlib.contextmanager
def _client(cluster: Cluster, runs: int) -> Iterator[Client]:
    if cluster.scheduler is not None:
        try:
            client = Client(cluster.scheduler, timeout=CONNECT_WITHIN_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise LabError(
                f"--scheduler {cluster.scheduler}: no Dask scheduler answers there ({error})"
            ) from error
        with client:
            yield client
        return
    try:
        # A lab VM is no part of its worker's memory, and a run that takes long is none that hangs.
        quiet = {"distributed.worker.memory.terminate": False, "distributed.admin.tick.limit": "1h"}
        with (
            dask.config.set(quiet),
            LocalCluster(
                n_workers=min(cluster.workers, runs),
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address=":0",  # a free port; None would be 8787, which may be taken
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            ) as local,
            Client(local, set_as_default=False) as client,
        ):
            yield client
    except BaseException:
        _tidy_behind_workers()
        raise


def _tidy_behind_workers() -> None:
    """Remove what runs under way had when Ctrl-C ended their workers: once their VMs are gone."""
    ends_at = time.monotonic() + GONE_WITHIN_S
    here = results_of_workers()
    while time.monotonic() < ends_at and here.is_dir() and any(here.iterdir()):
        lease.sweep()
        time.sleep(0.1)
