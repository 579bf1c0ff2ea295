"""The results of many runs: those that are known are read, those that are missing carried out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from experiments import runner
from experiments.sweep import cluster
from experiments.sweep.cluster import Cluster, Derive
from experiments.sweep.plan import Wanted
from experiments.sweep.store import Store, inputs_of
from vm import kernel, machine
from vm.clock import Clock
from vm.machine import Machine


@dataclass(frozen=True, slots=True)
class Results:
    """What has come of runs: of how many, how many were known, and why some came to nothing."""

    wanted: int
    known: int
    found: Sequence[tuple[Wanted, Mapping[str, Any]]]
    """Each run that came to a result with its record, in the order in which they were wanted."""
    failures: dict[str, str]


def results_of(
    wanted: Iterable[Wanted],
    options: runner.Options,
    where: Cluster,
    store: Store,
    progress: kernel.Progress,
    derive: Derive | None = None,
) -> Results:
    """Return the results of runs; what is in the store is not run again.

    Their records have what `derive`, a function of a module, adds. Raises ScenarioError,
    ResultError or LabError in one line.
    """
    used, clock = machine.choose(options.machine, options.clock, usual=Clock.VIRTUAL)
    if used is Machine.UML:
        kernel.ensure(progress)
    inputs = inputs_of(used, clock)
    run_one = None
    if derive is not None:
        inputs["derived"] = f"{derive.__module__}.{derive.__qualname__}"
        run_one = partial(cluster.run_on_worker, derive=derive)
    runs = {one.key(inputs): one for one in wanted}
    records = {key: store.load(key) for key in runs}
    missing = {key: one for key, one in runs.items() if records[key] is None}
    failures: dict[str, str] = {}
    if missing:
        failures = cluster.carry_out(
            missing,
            replace(
                options,
                machine=used,
                clock=clock,
                page=False,
                results=cluster.results_of_workers(),
            ),
            store,
            where,
            lambda done, total: progress(f"carry out {total} runs", done, total),
            run_one,
        )
        records |= {key: store.load(key) for key in missing}
    found = [(one, record) for key, one in runs.items() if (record := records[key]) is not None]
    return Results(len(runs), len(runs) - len(missing), found, failures)
