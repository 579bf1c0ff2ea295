"""Carry out one scenario: a result folder, a lab that fills it, and then the figures and the page.

The part inside the lab is `python -m experiments.inside SPEC`, SPEC being the folder's spec.json:

    {"schema": 1, "scenario": {…}, "results": folder, "clock": "virtual", "machine": "uml",
     "revision": "…", "interactive": false, "requests": null}

It exits 0 when the scenario was carried through, whatever the figures say. `interactive` asks for a
Mininet prompt in the booted topology instead of the scenario's movements; `requests` is a folder in
which a user's program asks for movements (experiments.exchange).
"""

import compileall
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

from experiments import scenario as scenarios
from experiments.scenario import Scenario, ScenarioError
from mobivpn.ipsec.sa import EspAlgorithm
from vm import environment, kernel, machine, places
from vm.capacity import BESIDE_LAB_MIB, USUAL_LAB_MIB, available_memory_mib
from vm.clock import Clock
from vm.errors import LabCrashed, LabError
from vm.job import Job
from vm.machine import Machine

SPEC_SCHEMA = 1
RESULTS = places.CHECKOUT / "results"
CONSOLE_LOG = "console.log"
BASE_MIB, MIB_BY_NODE, MIB_BY_TWO_NODES = 256, 22, 0.05
"""What a lab has in use, as the study `scale` measures it, and some more: with no mobile node, for
each (agent, probes, capture), and for what each knows of each."""
_COMPLETE = "summary.json"
PACKAGES = ("agents", "controllers", "experiments", "src", "topologies", "vm")
"""All folders of the checkout that have code in them, tests apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user can say about a run, beside its scenario."""

    machine: Machine = Machine.AUTO
    clock: Clock | None = None
    seed: int | None = None
    agent_delay_ms: float | None = None
    algorithm: EspAlgorithm | None = None
    binding_auth: str | None = None
    signalling_loss_percent: float | None = None
    runs: int | None = None
    handover: str | None = None
    variants: Mapping[str, Enum] = field(default_factory=dict[str, Enum])
    results: Path = RESULTS
    limit_s: float | None = None
    memory_mib: int | None = None
    """Of the lab VM; None: what its scenario needs, and at least the usual."""
    page: bool = True
    """Whether to draw plots and page."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told of a run under way: of set-up steps, and of each line that the lab prints."""

    progress: kernel.Progress = lambda step, done, total: None
    line: Callable[[str], None] = lambda line: None


@dataclass(slots=True)
class _Lines:
    """Cut what the lab prints into lines; keep all of it in a file."""

    log: Path
    tell: Callable[[str], None]
    rest: bytes = field(default=b"")

    def __call__(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.tell(line.decode(errors="replace"))


def run(name_or_path: str, options: Options, watch: Watch | None = None) -> Path:
    """Run the scenario of that name, or in that file; see `carry_out`. Raises ScenarioError too."""
    return carry_out(load(name_or_path, options), options, watch)


def carry_out(scenario: Scenario, options: Options, watch: Watch | None = None) -> Path:
    """Run a scenario; return its result folder, summary, plots and page in it.

    A folder whose run was broken off is deleted; one whose lab failed stays, with its console.log.
    Raises LabError (one line).
    """
    watch = watch or Watch()
    place = machine.choose(options.machine, options.clock, usual=Clock.VIRTUAL)
    folder = create_folder(options.results, scenario.name, datetime.now())
    with answered_for(folder):
        lab_s = in_lab(folder, scenario, options, place, watch)
        evaluate(folder, options, watch, lab_s)
    return folder


@contextlib.contextmanager
def answered_for(folder: Path) -> Iterator[None]:
    """Delete a folder whose run is broken off; keep one whose lab failed, and say where it is.

    Makes one line of what is wrong with files.
    """
    try:
        yield
    except LabCrashed as error:
        error.args = (f"{error} (what it left: {folder})",)
        error.console = error.console or "(the lab printed nothing)"
        # For callers that let it become a traceback, such as tests.
        error.add_note(error.console)
        raise
    except (KeyboardInterrupt, LabError):
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise LabError(
            f"{error.filename or folder}: {error.strerror}; nothing is kept of this run"
        ) from error


def in_lab(
    folder: Path,
    scenario: Scenario,
    options: Options,
    place: tuple[Machine, Clock],
    watch: Watch,
    *,
    requests: Path | None = None,
    control: int | None = None,
) -> float:
    """Have a lab fill the folder, by the scenario or by what is asked for in `requests`.

    `control` as in `vm.boot.run`. Returns how long it took (s). Raises LabError, OSError.
    """
    used, clock = place
    if used is Machine.UML:
        kernel.ensure(watch.progress)
    # To build a kernel is no part of a run.
    began = time.monotonic()
    spec = write_spec(folder, scenario, clock, used, interactive=False, requests=requests)
    job = _job(spec, folder, scenario, options, clock)
    watch.progress("run the scenario in the lab", 0, 0)
    console = _Lines(folder / CONSOLE_LOG, watch.line)
    code = machine.run(
        job,
        used,
        console,
        progress=watch.progress,
        partial=(folder, _COMPLETE),
        control=control,
    )
    if code:
        raise LabCrashed(
            f"the scenario was not carried through: exit code {code}",
            "\n".join(_last_lines(folder / CONSOLE_LOG)),
        )
    took_s = time.monotonic() - began
    _note(folder, wall_seconds=took_s)
    return took_s


def evaluate(folder: Path, options: Options, watch: Watch, lab_s: float) -> None:
    """Measure what a lab has left and draw it, if that is asked for; note how long all took."""
    _note(folder, wall_by_part={"lab": lab_s, **_evaluate(folder, watch, page=options.page)})


def shell(name_or_path: str, options: Options, watch: Watch | None = None) -> int:
    """Boot a scenario's topology with a Mininet prompt on this terminal; return its exit code."""
    watch = watch or Watch()
    scenario = load(name_or_path, options)
    used, clock = machine.choose(options.machine, options.clock, usual=Clock.WALL)
    if used is Machine.UML:
        kernel.ensure(watch.progress)
    watch.line("booting the lab: about half a minute on the wall clock; exit or Ctrl-D ends it")
    folder = create_folder(places.cache() / "shells", "shell", datetime.now())
    try:
        spec = write_spec(folder, scenario, clock, used, interactive=True)
        job = _job(spec, folder, scenario, options, clock, interactive=True)
        return machine.run(
            job, used, lambda data: None, progress=watch.progress, partial=(folder, _COMPLETE)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def load(name_or_path: str, options: Options) -> Scenario:
    """Return the scenario with what the options change of it, for which there is memory.

    Raises ScenarioError.
    """
    scenario = scenarios.load(name_or_path, overrides(options))
    memory_of(scenario, options)
    return scenario


def memory_of(scenario: Scenario, options: Options) -> int:
    """Return the memory of a scenario's lab VM (MiB). Raises ScenarioError where it is too little.

    A VM takes no more of its memory than it comes to need: only that has to be there.
    """
    nodes = scenario.mobile_nodes
    needed = round(BASE_MIB + MIB_BY_NODE * nodes + MIB_BY_TWO_NODES * nodes**2)
    given = options.memory_mib or max(USUAL_LAB_MIB, needed)
    with_nodes = f"a lab with {nodes} mobile nodes needs {needed} MiB of memory"
    if given < needed:
        raise ScenarioError(
            f"--memory {given}: {with_nodes}; give it that, leave the option out, or set fewer "
            "mobile_nodes"
        )
    available = available_memory_mib()
    if options.machine is not Machine.NATIVE and needed + BESIDE_LAB_MIB > available:
        raise ScenarioError(
            f"mobile_nodes: {with_nodes}, {BESIDE_LAB_MIB} more beside it, and this machine has "
            f"{available} available; set fewer, or free some"
        )
    return given


def overrides(options: Options) -> dict[str, Any]:
    """Return what the options change of a scenario, by its keys."""
    given = {
        "seed": options.seed,
        "agent_delay_ms": options.agent_delay_ms,
        "algorithm": options.algorithm and options.algorithm.value,
        "binding_auth": options.binding_auth,
        "signalling_loss_percent": options.signalling_loss_percent,
        "handovers": None if options.runs is None else {"runs": options.runs},
        "handover": options.handover,
        "limit_s": options.limit_s,
        **{name: choice.value for name, choice in options.variants.items()},
    }
    return {key: value for key, value in given.items() if value is not None}


def create_folder(parent: Path, name: str, now: datetime) -> Path:
    """Make results/<date-time>-<name>; two in the same second get different names."""
    stamp = now.strftime("%Y-%m-%d-%H%M%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = parent.resolve() / f"{stamp}-{name}{f'-{number}' if number > 1 else ''}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                return folder
    except OSError as error:
        raise LabError(
            f"{parent}: results cannot be written here ({error.strerror}); "
            f"name another folder with --results"
        ) from error
    raise LabError(f"{parent}: a thousand runs in one second")


def write_spec(
    folder: Path,
    scenario: Scenario,
    clock: Clock,
    used: Machine,
    *,
    interactive: bool,
    requests: Path | None = None,
) -> Path:
    """Write what the part inside the lab is to do."""
    spec = folder / "spec.json"
    value = {
        "schema": SPEC_SCHEMA,
        "scenario": scenario.model_dump(mode="json"),
        "results": str(folder),
        "clock": clock.value,
        "machine": used.value,
        "revision": revision(),
        "interactive": interactive,
        "requests": None if requests is None else str(requests),
    }
    spec.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    return spec


def revision() -> str:
    """Return what the checkout is at, as git says; empty where it cannot say."""
    command = ["git", "-C", str(places.CHECKOUT), "describe", "--always", "--dirty"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.strip()


def precompile() -> None:
    """Compile the checkout's Python once here, where it lasts: inside a lab it would be lost."""
    for name in PACKAGES:
        compileall.compile_dir(places.CHECKOUT / name, quiet=2)


def _job(
    spec: Path,
    folder: Path,
    scenario: Scenario,
    options: Options,
    clock: Clock,
    *,
    interactive: bool = False,
) -> Job:
    precompile()
    size = shutil.get_terminal_size()
    terminal = {"TERM": os.environ.get("TERM", "dumb")} if interactive else {}
    return Job(
        command=(sys.executable, "-m", "experiments.inside", str(spec)),
        directory=places.CHECKOUT,
        environment=environment.variables() | terminal,
        writable=(folder,),
        clock=clock,
        memory_mib=memory_of(scenario, options),
        limit_s=None if interactive else scenario.limit_s,
        interactive=interactive,
        terminal_size=size if interactive else None,
    )


def _evaluate(folder: Path, watch: Watch, *, page: bool) -> dict[str, float]:
    """Measure and draw; return the seconds that each took."""
    # Here, not above: they take a second to import, and nothing before this needs them.
    from experiments.analyse import analyse

    began = time.monotonic()
    watch.progress("measure", 0, 0)
    analyse(folder)
    measured = time.monotonic()
    if not page:
        return {"analysis": measured - began}
    from experiments.report.page import write

    watch.progress("draw", 0, 0)
    write(folder)
    return {"analysis": measured - began, "report": time.monotonic() - measured}


def _note(folder: Path, **values: Any) -> None:
    """Add values to run.json that only the host knows."""
    path = folder / "run.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabCrashed(f"{path}: the lab left no account of the run") from error
    path.write_text(json.dumps({**known, **values}, indent=2) + "\n", encoding="utf-8")


def _last_lines(log: Path, count: int = 30) -> list[str]:
    with contextlib.suppress(OSError):
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
    return []
