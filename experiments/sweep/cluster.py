"""Carry out runs on Dask: on a cluster of this machine's own, or on one that is there already.

Each worker runs one lab VM at a time. A run that did not come to a result is tried a second time,
whatever the reason; that of the second time is told.
"""

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, KilledWorker, LocalCluster, Security, as_completed, rpc
from distributed.client import FutureCancelledError

from experiments import runner
from experiments.analyse import PASSED
from experiments.errors import ResultError
from experiments.resultset import ResultSet
from experiments.scenario import Scenario
from experiments.sweep.plan import FAILED, Wanted
from experiments.sweep.store import Store
from vm import lease, places
from vm.errors import LabError

ATTEMPTS = 2
CONNECT_WITHIN_S = 10
GONE_WITHIN_S = 5.0
FAILED_KEPT = 10
"""So many folders of runs that failed a check stay, to be looked at."""

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
    store.make()
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
            record, failure = _outcome(future, over)
            future.release()
            if record is not None:
                store.save(key, record)
            elif attempt < ATTEMPTS:
                futures.add(begin(key, attempt + 1))
                continue
            else:
                failures[key] = failure
            over += 1
            told(over, len(wanted))
    return failures


def _outcome(future: Any, over: int) -> tuple[dict[str, Any] | None, str]:
    """Return what came of a run: its record, or else why there is none."""
    try:
        return future.result(), ""
    except FutureCancelledError as error:
        raise LabError(
            f"the Dask scheduler is gone; {over} runs are over and kept, the same command goes on "
            f"from there"
        ) from error
    except KilledWorker:
        return None, "its worker was killed again and again"
    except Exception as error:  # Whatever a run ends with is that run's: the others go on.
        if isinstance(error, LabError | ResultError):
            return None, str(error)
        return None, f"{type(error).__name__}: {error}"


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
        if store.folder.is_dir():
            store.save(key, record)
            if record["summary"]["verdict"] != PASSED:
                _keep(folder, store.folder.parent / FAILED / key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return record


def _keep(folder: Path, kept: Path) -> None:
    """Put a run's folder where a person looks for it, as long as there are few."""
    if len(list(kept.parent.glob("*"))) < FAILED_KEPT:
        # One that there is no room for is not worth the loss of its record.
        with contextlib.suppress(OSError):
            shutil.copytree(folder, kept, dirs_exist_ok=True)


def results_of_workers() -> Path:
    """Return where a worker has the folder of the run under way."""
    return places.cache() / "sweeps"


@contextlib.contextmanager
def _client(cluster: Cluster, runs: int) -> Iterator[Client]:
    if cluster.scheduler is not None:
        _find(cluster.scheduler)
        with Client(cluster.scheduler, timeout=CONNECT_WITHIN_S, set_as_default=False) as client:
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


def _find(scheduler: str) -> None:
    """Raise LabError unless a Dask scheduler answers at an address.

    Dask's own limit is the connection's: whoever listens there and says nothing would be waited
    for, and a client that was not made prints a traceback when it goes.
    """

    async def ask() -> None:
        arguments = Security().get_connection_args("client")
        async with rpc(scheduler, timeout=CONNECT_WITHIN_S, connection_args=arguments) as asked:
            await asked.identity()

    try:
        asyncio.run(asyncio.wait_for(ask(), CONNECT_WITHIN_S))
    except Exception as error:  # Each transport and each wrong partner has its own.
        why = str(error) or f"nothing within {CONNECT_WITHIN_S} s"
        raise LabError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({why.splitlines()[0]}); "
            f"it is given as tcp://HOST:PORT"
        ) from error


def _tidy_behind_workers() -> None:
    """Remove what runs under way had when Ctrl-C ended their workers: once their VMs are gone."""
    ends_at = time.monotonic() + GONE_WITHIN_S
    here = results_of_workers()
    while time.monotonic() < ends_at and here.is_dir() and any(here.iterdir()):
        lease.sweep()
        time.sleep(0.1)
