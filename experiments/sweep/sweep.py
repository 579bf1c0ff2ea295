"""Carry out a sweep: run what is not known yet, then table and plots of all of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from experiments import runner
from experiments.errors import ResultError
from experiments.report.drawing import Picture
from experiments.sweep import figures, table
from experiments.sweep.cluster import Cluster
from experiments.sweep.plan import STORE, Plot, Sweep, Wanted
from experiments.sweep.runs import results_of
from experiments.sweep.store import Store
from vm import kernel

RESULTS = runner.RESULTS / "sweeps"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has come of a sweep: of how many runs, how many were known, which came to nothing."""

    folder: Path
    runs: int
    known: int
    failures: dict[str, str]
    verdicts: dict[str, int]
    pictures: list[Picture]

    @property
    def good(self) -> bool:
        """Whether every run came to a result, and passed its checks."""
        return not self.failures and set(self.verdicts) <= {"passed"}


def carry_out(
    sweep: Sweep,
    wanted: Iterable[Wanted],
    options: runner.Options,
    where: Cluster,
    progress: kernel.Progress,
    plots: Iterable[Plot] = (),
) -> Outcome:
    """Carry out a sweep, of which `wanted` are the runs (`plan.load`).

    Results are kept in `options.results`/runs, whatever sweep they are of: what is there is not run
    again. Raises ScenarioError, ResultError or LabError in one line.
    """
    plots = (*sweep.plot, *plots)
    store = Store(options.results.resolve() / STORE)
    results = results_of(wanted, options, where, store, progress)
    progress("draw", 0, 0)
    folder = options.results.resolve() / sweep.name
    rows = [
        ({**one.parameters, "seed": one.scenario.seed}, record["summary"])
        for one, record in results.found
    ]
    result = table.table_of(rows)
    pictures: list[Picture] = []
    try:
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        if rows:
            table.write(result, folder)
            for plot in plots:
                picture = figures.draw(sweep, result, plot)
                picture.save(folder / "plots")
                pictures.append(picture)
    except OSError as error:
        raise ResultError(f"{folder}: cannot be written ({error.strerror})") from error
    verdicts = result["verdict"].value_counts().to_dict() if rows else {}
    return Outcome(folder, results.wanted, results.known, results.failures, verdicts, pictures)
