"""The command line: ./lab run, verify, sweep, python, report, test, shell, list, doctor, clean.

Each error is one line (what, where, what to do), no traceback: exit code 2 for bad input, 3 for
missing packages, 1 when the verdict or the lab failed, 130 after Ctrl-C. Results go to standard
output; all that is said on the way goes to standard error.
"""

import contextlib
import os
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from experiments.errors import ResultError
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.variants import Variants
from vm import doctor as examination
from vm import lease, packages, places, signals
from vm.capacity import USUAL_LAB_MIB, vms_that_fit
from vm.clock import Clock
from vm.errors import LabCrashed, LabError
from vm.machine import Machine
from vm.progress import Progress

_STYLE = {
    examination.State.GOOD: "green",
    examination.State.LATER: "yellow",
    examination.State.BAD: "bold red",
    examination.State.NOTE: "dim",
}


class _Commands(click.Group):
    """Commands; an unknown one is told what there are."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            known = ", ".join(self.commands)
            raise LabError(f"no command is called '{args[0]}'; there are: {known}")
        return super().resolve_command(ctx, args)


class _Member(click.Choice[str]):
    """One of an enum's values."""

    def __init__(self, kind: type[Enum]) -> None:
        super().__init__([member.value for member in kind])
        self._kind = kind

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, self._kind):
            return value
        return self._kind(super().convert(value, param, ctx))


def _lab_options(command: Any) -> Any:
    """Give a command the options of a run."""
    for option in (
        click.option(
            "--memory",
            "memory_mib",
            type=click.IntRange(512, 65536),
            metavar="MIB",
            help=f"Memory of the lab VM.  [default: {USUAL_LAB_MIB}, more where many mobile nodes "
            "need it]",
        ),
        click.option(
            "--agent-delay",
            "agent_delay_ms",
            type=click.FloatRange(0, 1000),
            metavar="MS",
            help="Delay every agent's effects by this much.",
        ),
        click.option(
            "--algorithm",
            type=_Member(EspAlgorithm),
            help="The only ESP algorithm that nodes offer for their direct pairs.  "
            "[default: the scenario's, all]",
        ),
        click.option(
            "--binding-auth",
            type=click.Choice(["rr", "static"]),
            help="What authorises bindings between nodes: return routability, or keys that the "
            "VCM sends (RFC 4449).  [default: the scenario's, rr]",
        ),
        click.option(
            "--signalling-loss",
            "signalling_loss_percent",
            type=click.FloatRange(0, 100, max_open=True),
            metavar="PERCENT",
            help="Lose so many of the messages that nodes, gateway, home agent and VCM send.",
        ),
        click.option(
            "--runs",
            type=click.IntRange(1, 100_000),
            metavar="N",
            help="How many handovers to draw.  [default: the scenario's, 20]",
        ),
        click.option(
            "--handover",
            type=click.Choice(["hard", "soft", "classic"]),
            help="From one access network to another: the old link goes first (hard), the new one "
            "comes first (soft), or hard, with all of Mobile IPv6's own waiting (classic).  "
            "[default: the scenario's, hard]",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            metavar="N",
            help="What randomness in the run is drawn from.  [default: the scenario's, 1]",
        ),
        click.option(
            "--machine",
            type=_Member(Machine),
            default=Machine.AUTO.value,
            show_default=True,
            help="A lab VM, or the present kernel as root; auto prefers the VM.",
        ),
    ):
        command = option(command)
    for variant in reversed(fields(Variants)):
        kind = type(variant.default)
        command = click.option(
            f"--{variant.name.replace('_', '-')}",
            type=_Member(kind),
            help=f"{(kind.__doc__ or '').partition(' (')[0].rstrip('.')}.  "
            f"[default: the scenario's, {variant.default.value}]",
        )(command)
    return command


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """Gather the variants among a command's options."""
    names = {variant.name for variant in fields(Variants)}
    chosen = {name: given.pop(name) for name in tuple(given) if name in names}
    return {**given, "variants": {name: one for name, one in chosen.items() if one is not None}}


@contextlib.contextmanager
def _shown(progress: Progress) -> Iterator[None]:
    """End the progress shown, or leave its line where the end is to be told of."""
    try:
        yield
    except (KeyboardInterrupt, LabError):
        progress.abandon()
        raise
    progress.end()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=True,
)
@click.pass_context
def lab(context: click.Context) -> None:
    """A lab for mobile VPNs: IPsec, Mobile IPv6 and SDN, rootless and repeatable."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@lab.command()
@click.argument("scenario", metavar="NAME|SCENARIO.toml")
@click.option(
    "--clock",
    type=_Member(Clock),
    help="What makes time pass: virtual (computing takes none), cpu, or wall.  [default: virtual]",
)
@_lab_options
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Put the run's folder under this one.  [default: results/]",
)
@click.option(
    "--limit",
    "limit_s",
    type=click.FloatRange(min=1),
    metavar="S",
    help="End a run that takes longer, in wall-clock seconds.  [default: the scenario's]",
)
@click.option(
    "--page/--no-page", default=True, show_default=True, help="Draw plots and write the report."
)
@click.option("-v", "--verbose", is_flag=True, help="Show what the lab prints.")
def run(scenario: str, verbose: bool, results: Path | None, **options: Any) -> None:
    """Run an experiment or a scenario file, measure it, write its report."""
    from experiments import runner
    from experiments.study import studies

    progress = Progress()
    given = runner.Options(results=results or runner.RESULTS, **_options(options))
    if scenario in studies.NAMES:
        if verbose:
            raise LabError(f"-v: the runs of a study ('{scenario}') have no terminal")
        _run_study(scenario, given, progress)
        return
    runner.load(scenario, given)
    _need_packages(given.machine, progress)
    line = (lambda text: click.echo(text, err=True)) if verbose else (lambda text: None)
    with _shown(progress):
        folder = runner.run(scenario, given, runner.Watch(progress=progress, line=line))
    # Here, not above: what draws takes a second to import.
    from experiments import screen
    from experiments.resultset import ResultSet

    screen.show(folder, Console(stderr=True))
    click.echo(folder)
    if ResultSet(folder).load_summary()["verdict"] == "failed":
        sys.exit(1)


def _run_study(name: str, given: Any, progress: Progress) -> None:
    """Conduct a study; exit 1 where its verdict is failed."""
    from experiments import screen
    from experiments.study import conduct
    from experiments.study import folder as folders

    conduct.wanted(name, given)
    _need_packages(given.machine, progress)
    with _shown(progress):
        folder = conduct.carry_out(name, given, conduct.here(name, given), progress)
    results = folders.load(folder)
    screen.show_study(results, Console(stderr=True))
    click.echo(folder)
    if results.failed:
        sys.exit(1)


@lab.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Put the runs' folders under this one.  [default: results/]",
)
def verify(names: tuple[str, ...], results: Path | None) -> None:
    """Run experiments again and compare with the reference results."""
    from experiments import runner
    from experiments import verify as reference

    progress = Progress()
    chosen = names or tuple(reference.names())
    for name in chosen:
        reference.reference_of(name)
    given = runner.Options(results=results or runner.RESULTS, page=False)
    _need_packages(given.machine, progress)
    held = True
    for name in chosen:
        with _shown(progress):
            folder = reference.run_again(name, given, progress)
        moved = reference.compare(name, folder)
        held = held and not moved
        told = f"{len(moved)} value{'s' * (len(moved) > 1)} moved" if moved else "as the reference"
        click.echo(f"{name}: {told}")
        for value in moved:
            click.echo(f"  {value}")
    if not held:
        sys.exit(1)


class _Plot(click.ParamType):
    """VALUE:PARAMETER[:BY]."""

    name = "value:parameter[:by]"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        parts = str(value).split(":")
        if len(parts) not in (2, 3) or not all(parts):
            self.fail(f"'{value}' is not VALUE:PARAMETER or VALUE:PARAMETER:BY", param, ctx)
        return tuple(parts)


@lab.command()
@click.argument("sweep", metavar="NAME|SWEEP.toml")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Use the Dask cluster of this scheduler (tcp://HOST:PORT).  [default: one of this "
    "machine's own]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Runs at a time on this machine.  [default: as many as cores and memory hold]",
)
@click.option(
    "--plot",
    "plots",
    type=_Plot(),
    multiple=True,
    metavar="VALUE:PARAMETER[:BY]",
    help="Draw a value over a parameter, beside the sweep's own plots; can be repeated.",
)
@click.option("--clock", type=_Member(Clock), help="What makes time pass.  [default: virtual]")
@click.option("--machine", type=_Member(Machine), default=Machine.AUTO.value, show_default=True,
              help="Lab VMs, or the present kernel as root.")  # fmt: skip
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Keep runs, table and plots under this folder.  [default: results/sweeps/]",
)
def sweep(
    sweep: str, scheduler: str | None, workers: int | None, plots: Any, **options: Any
) -> None:
    """Run a scenario over many parameters and seeds."""
    from experiments import runner
    from experiments.sweep import cluster
    from experiments.sweep import plan as plans
    from experiments.sweep import sweep as sweeps

    progress = Progress()
    planned = plans.load(sweep)
    given = runner.Options(**{**options, "results": options["results"] or sweeps.RESULTS})
    _need_packages(given.machine, progress)
    most_mib = 0
    if scheduler is None:
        most_mib = max(runner.memory_of(one.scenario, given) for one in planned[1])
    where = cluster.Cluster(workers or vms_that_fit(most_mib), scheduler)
    extra = [plans.Plot(value=p[0], over=p[1], by=p[2] if p[2:] else None) for p in plots]
    with _shown(progress):
        outcome = sweeps.carry_out(*planned, given, where, progress, extra)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in outcome.verdicts.items())
    click.echo(
        f"{outcome.runs} runs, {outcome.known} of them known before: {verdicts or 'no result'}",
        err=True,
    )
    for key, why in outcome.failures.items():
        click.echo(f"no result   {key}: {why}", err=True)
    for picture in outcome.pictures:
        click.echo(f"plot        {outcome.folder / 'plots' / picture.name}.png", err=True)
    click.echo(outcome.folder)
    if not outcome.good:
        sys.exit(1)


@lab.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="With -m MODULE, or any other option of Python's, it is Python itself that runs.",
)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED,
                metavar="FILE [ARGUMENTS]...")  # fmt: skip
def python(arguments: tuple[str, ...]) -> None:
    """Run a Python program of your own, such as one that uses experiments.lab."""
    from experiments import user_program

    if arguments[0].startswith("-"):
        user_program.become_python(arguments)
    user_program.run(Path(arguments[0]), arguments[1:])


@lab.command(
    epilog="Of one folder, plots and report.html in it are drawn again. Two and more are overlaid "
    "in a new folder: their curves, their values side by side, the parameters that differ. Nothing "
    "is run or measured: summary.json and the tables are taken as they are (python -m "
    "experiments.analyse DIR measures a run again from its captures)."
)
@click.argument("folders", metavar="DIR...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    help="Put the overlay's folder under this one.  [default: results/]",
)
def report(folders: tuple[Path, ...], results: Path | None) -> None:
    """Draw a run's report again, or several runs over one another."""
    from jinja2 import TemplateError

    from experiments.errors import damaged

    with damaged(*folders, also=(TemplateError,)):
        _report(folders, results)


def _report(folders: tuple[Path, ...], results: Path | None) -> None:
    from experiments import runner
    from experiments.report import overlay, page
    from experiments.study import folder as studies

    if any(studies.is_study(folder) for folder in folders):
        if len(folders) > 1 or results is not None:
            raise LabError("a study is drawn again on its own, in its folder: name no other")
        studies.draw(studies.load(folders[0]))
        click.echo(f"report      {folders[0].resolve() / page.PAGE}", err=True)
        click.echo(folders[0].resolve())
        return
    records = overlay.load(folders)
    if len(records) > 1:
        folder = runner.create_folder(results or runner.RESULTS, "report", datetime.now())
        overlay.write(folder, records)
    elif results is not None:
        raise LabError("--results: one run is drawn in its own folder; name two, or leave it out")
    else:
        folder = folders[0].resolve()
        page.draw(records[0])
    click.echo(f"report      {folder / page.PAGE}", err=True)
    click.echo(folder)


@lab.command()
@click.argument("scenario", metavar="[NAME|SCENARIO.toml]", default="walk")
@click.option("--clock", type=_Member(Clock), help="What makes time pass.  [default: wall]")
@_lab_options
def shell(scenario: str, **options: Any) -> None:
    """Open a Mininet prompt in the booted topology."""
    from experiments import runner

    progress = Progress()
    given = runner.Options(**_options(options))
    runner.load(scenario, given)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LabError("a prompt needs a terminal: run ./lab shell on one")
    _need_packages(given.machine, progress)

    def say(line: str) -> None:
        progress.end()
        click.echo(line, err=True)

    sys.exit(runner.shell(scenario, given, runner.Watch(progress=progress, line=say)))


@lab.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]")
@click.pass_context
def test(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run the tests: on this machine, and in the lab what needs one."""
    if arguments[:1] in (("-h",), ("--help",)):
        click.echo(context.get_help())
        click.echo("\nArguments are pytest's (see pytest --help), such as tests/unit, -k NAME, -x.")
        return
    os.chdir(places.CHECKOUT)
    # In a fresh interpreter: see there.
    os.execv(sys.executable, [sys.executable, "-m", "vm.testing", *arguments])


@lab.command("list")
def list_() -> None:
    """List the experiments."""
    from experiments.scenario import SCENARIOS, STUDIES

    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold")
    table.add_column("what it shows")
    for path in sorted(SCENARIOS.glob("*.toml")):
        table.add_row(path.stem, _summary(path))
    for path in sorted(STUDIES.glob("*.toml")):
        table.add_row(path.stem, f"{_summary(path)} (a study: many runs)")
    Console().print(table)
    click.echo("\nRun one with: ./lab run NAME")


@lab.command()
def doctor() -> None:
    """Say what this machine has and lacks."""
    found = examination.examine()
    table = Table(box=None, pad_edge=False)
    for title in ("what", "state", "detail"):
        table.add_column(title, overflow="fold")
    for finding in found.findings:
        style = _STYLE[finding.state]
        table.add_row(finding.subject, f"[{style}]{finding.state.value}[/]", finding.detail)
    Console().print(table)
    if found.remedy:
        # Not wrapped: it is to be copied.
        click.echo(f"\nTo install what is missing:\n  {found.remedy}")
    sys.exit(0 if found.healthy else 1)


@lab.command()
@click.option(
    "--cache", is_flag=True, help="Remove the lab kernel and the virtual environment too."
)
def clean(cache: bool) -> None:
    """Remove what killed runs left behind."""
    removed = lease.sweep()
    if cache:
        removed += lease.remove_cache()
    click.echo("\n".join(f"removed {line}" for line in removed) or "nothing to remove")


def _need_packages(machine: Machine, progress: Progress) -> None:
    kernel = set() if machine is Machine.NATIVE else {packages.Need.KERNEL}
    packages.ensure({packages.Need.LAB, *kernel}, progress)
    progress.end()


def _summary(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["summary"])
    except (OSError, ValueError, KeyError):
        return "(damaged: ./lab run says how)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    from experiments.scenario import ScenarioError

    try:
        with signals.as_exceptions():
            for line in lease.sweep():
                click.echo(f"lab: removed {line}", err=True)
            code = lab.main(arguments, prog_name="./lab", standalone_mode=False)
            return code if isinstance(code, int) else 0
    except LabError as error:
        if isinstance(error, LabCrashed) and error.console:
            click.echo(error.console.rstrip(), err=True)
        return _fail(error, error.exit_code)
    except (ScenarioError, ResultError) as error:
        return _fail(error, 2)
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has enough of it; the interpreter must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _fail(message: object, code: int) -> int:
    click.echo(f"lab: {message}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
