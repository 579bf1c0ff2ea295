"""Conduct a study: carry out its runs, derive its values, judge and draw them."""

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from experiments import runner
from experiments import scenario as scenarios
from experiments.analyse import FAILED, PASSED, at_most
from experiments.resultset import SCHEMA
from experiments.scenario import STUDIES, ScenarioError
from experiments.study import folder as folders
from experiments.study import studies
from experiments.study.study import Row
from experiments.sweep.cluster import Cluster
from experiments.sweep.plan import Wanted, nested
from experiments.sweep.runs import results_of
from experiments.sweep.store import Store
from vm import kernel
from vm.capacity import vms_that_fit
from vm.clock import Clock

STORE = Path("studies", "runs")
OPTION_NAMES = {
    "agent_delay_ms": "agent-delay",
    "signalling_loss_percent": "signalling-loss",
    "handovers": "runs",
    "limit_s": "limit",
}


def wanted(name: str, options: runner.Options) -> list[Wanted]:
    """Return a study's runs, all of them changed by the options, if there is memory for each.

    Raises ScenarioError.
    """
    study, given = studies.load(name), runner.overrides(options)
    for key in given:
        if key not in study.takes:
            names = ", ".join(f"--{option_name(key)}" for key in sorted(study.takes))
            raise ScenarioError(
                f"--{option_name(key)}: the study '{study.name}' does not take it; of a scenario's "
                f"options it takes {names}"
            )
    if study.clock is not None and options.clock not in (None, study.clock):
        raise ScenarioError(
            f"--clock {options.clock.value}: the study '{study.name}' runs on the clock "
            f"'{study.clock.value}' alone"
        )
    path, data = STUDIES / f"{study.name}.toml", studies.base_of(study.name)
    runs = [
        Wanted(run, scenarios.checked(path, data, {**nested(run), **given})) for run in study.runs
    ]
    for one in runs:
        runner.memory_of(one.scenario, options)
    return runs


def here(name: str, options: runner.Options) -> Cluster:
    """Return a cluster of this machine's own that has memory for any run of a study.

    On the wall clock one run at a time: each would disturb the other.
    """
    most_mib = max(runner.memory_of(one.scenario, options) for one in wanted(name, options))
    return Cluster(1 if studies.load(name).clock is Clock.WALL else vms_that_fit(most_mib))


def option_name(key: str) -> str:
    """Return the name of the option that sets a key of a scenario."""
    return OPTION_NAMES.get(key, key.replace("_", "-"))


def carry_out(
    name: str,
    options: runner.Options,
    where: Cluster,
    progress: kernel.Progress,
    store: Store | None = None,
) -> Path:
    """Conduct a study; return its result folder. Raises ScenarioError, ResultError or LabError.

    Runs that the store knows are not run again; the usual one is beside the results.
    """
    study, given = studies.load(name), runner.overrides(options)
    runs = wanted(name, options)
    if study.clock is not None:
        options = replace(options, clock=study.clock)
    began, started = time.monotonic(), datetime.now()
    store = store or Store(options.results.resolve() / STORE)
    results = results_of(runs, options, where, store, progress, study.derive)
    progress("draw", 0, 0)
    summaries = [record["summary"] for _, record in results.found]
    rows: list[Row] = [row for _, record in results.found for row in record["rows"]]
    values = study.values_of(rows)
    failed = [s for s in summaries if s["verdict"] != PASSED]
    clock = summaries[0]["clock"] if summaries else None
    checks = [
        at_most("runs without a result", results.wanted - len(results.found), 0),
        at_most("runs that failed a check of their own", len(failed), 0),
        *study.judge(values),
    ]
    folder = runner.create_folder(options.results, name, started)
    summary = {
        "schema": SCHEMA,
        "verdict": PASSED if all(check["passed"] for check in checks) else FAILED,
        "study": name,
        "summary": studies.base_of(name)["summary"],
        "clock": clock,
        "options": {option_name(key): value for key, value in given.items()},
        "versions": summaries[0]["versions"] if summaries else {},
        "runs": [
            {
                **{k: value for k, value in one.parameters.items() if not isinstance(value, list)},
                "verdict": record["summary"]["verdict"],
                "failed_checks": [
                    c["name"] for c in record["summary"]["checks"] if not c["passed"]
                ],
            }
            for one, record in results.found
        ],
        "known_before": results.known,
        "wall_seconds": time.monotonic() - began,
        "values": values,
        "checks": checks,
    }
    folders.save(folder, summary, rows)
    if options.page:
        folders.draw(folders.load(folder))
    return folder
