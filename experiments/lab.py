"""An experiment of your own: a running testbed as a Python object.

docs/your-own-experiment.md goes from an empty file to a figure. In short:

    with Testbed("walk") as lab:
        lab.wait(1)
        lab.move("mn1", "wifi1")
        lab.wait(5)
    print(lab.results.load_summary()["verdict"])
"""

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from experiments import exchange, runner
from experiments import scenario as scenarios
from experiments.exchange import Answer, Request
from experiments.resultset import Event, ResultSet
from experiments.runner import Options, Watch
from experiments.scenario import Attach, Move, Network, Node, Scenario, ScenarioError
from vm import machine, packages
from vm.clock import Clock
from vm.errors import LabCrashed, LabError
from vm.machine import Machine
from vm.progress import Progress
from vm.supervisor import CONTINUE, PAUSE

__all__ = [
    "Clock",
    "Command",
    "Completed",
    "Host",
    "LabError",
    "Machine",
    "Options",
    "Refused",
    "ScenarioError",
    "Testbed",
]

REQUESTS = "requests"
"""The folder of requests and answers, in the run's folder while it is under way."""
MADE_BY_THE_TESTBED = frozenset({"link_down", "link_up"})
"""Events by which a run is measured."""

Word = str | int | float | Path | IPv6Address
"""A word of a command."""


class Refused(LabError):
    """The lab could not do what was asked of it, and says why; the run goes on."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended: what it was, its exit code, what it printed."""

    command: tuple[str, ...]
    exit_code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Host:
    """A host of the testbed, to run commands in: `fs`, `sg`, `mn1`, `inet`, …"""

    name: str
    _testbed: "Testbed"

    @property
    def address(self) -> IPv6Address:
        """By which address others talk to it: a node's is its (internal) home address."""
        addresses = self._testbed.scenario.plan.addresses
        if self.name not in addresses:
            known = ", ".join(addresses)
            raise ScenarioError(f"host '{self.name}': no address to give; there are: {known}")
        return addresses[self.name]

    def run(self, command: Sequence[Word], within_s: float = 60.0) -> Completed:
        """Run a command (a list of words) to its end, as root of the host.

        Raises Refused if it has not ended after `within_s` virtual seconds.
        """
        return self.start(command).wait(within_s)

    def start(self, command: Sequence[Word]) -> "Command":
        """Start a command and let it run while the experiment goes on; the end ends it."""
        if isinstance(command, str) or not command:
            raise ScenarioError(f"{self.name}: a command is a list of words, not {command!r}")
        words = tuple(map(str, command))
        request = exchange.StartCommand(at_s=self._testbed.now_s, host=self.name, command=words)
        answer = self._testbed._ask(request)
        assert answer.started is not None
        return Command(self.name, words, answer.started, self._testbed)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that has been started in a host."""

    host: str
    command: tuple[str, ...]
    _number: int
    _testbed: "Testbed"

    def wait(self, within_s: float = 60.0) -> Completed:
        """Let it run to its end; raise Refused if that takes more virtual time than this."""
        return self._ended(within_s, interrupt=False)

    def stop(self, within_s: float = 10.0) -> Completed:
        """End it as Ctrl-C does (SIGINT): what it counts, it tells then."""
        return self._ended(within_s, interrupt=True)

    def _ended(self, within_s: float, *, interrupt: bool) -> Completed:
        answer = self._testbed._ask(
            exchange.AwaitCommand(
                at_s=self._testbed.now_s,
                number=self._number,
                within_s=within_s,
                interrupt=interrupt,
            ),
            f"{self.host}: {' '.join(self.command)}: ",
        )
        assert answer.ended is not None
        return Completed(self.command, **answer.ended.model_dump())


class Testbed:
    """A testbed that does what your program says, instead of the moves of a scenario.

    `scenario` is a name (`./lab list`), a file or a Scenario; its moves and its duration are left
    out. `options` are those of `./lab run`. Entering it boots the lab VM, builds the network, and
    starts the agents and the scenario's traffic: then it is 0 s. Leaving it ends the traffic and
    measures the run, as `./lab run` does. Between two calls the VM is stopped: your program may
    take as long as it wants, no virtual time passes, and who runs it again gets the same figures.
    """

    __test__ = False

    def __init__(
        self,
        scenario: str | Path | Scenario,
        options: Options = Options(),  # noqa: B008 (frozen)
        watch: Watch | None = None,
    ) -> None:
        self.scenario = _loaded(scenario, options)
        self._options = options
        self._progress = Progress()
        self._watch = watch or Watch(progress=self._progress)
        self._places: dict[str, str] = self.scenario.place_at_start
        self._now_s = 0.0
        self._asked = 0
        self._folder: Path | None = None
        self._under_way: _UnderWay | None = None
        self._results: ResultSet | None = None

    def __enter__(self) -> Self:
        if self._folder is not None:
            raise LabError("a testbed is entered once: make another one")
        place = self._place()
        folder = self._folder = runner.create_folder(
            self._options.results, self.scenario.name, datetime.now()
        )
        with runner.answered_for(folder):
            (folder / REQUESTS).mkdir()
            self._under_way = _UnderWay(
                lambda control: runner.in_lab(
                    folder,
                    self.scenario,
                    self._options,
                    place,
                    self._watch,
                    requests=folder / REQUESTS,
                    control=control,
                ),
                can_pause=place == (Machine.UML, Clock.VIRTUAL),
            )
            try:
                self._answer()
            except BaseException:
                self._under_way.end()
                raise
        self._progress.end()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        under_way, folder = self._opened()
        self._under_way = None
        try:
            if error is None:
                with runner.answered_for(folder):
                    self._finish(under_way, folder)
        finally:
            under_way.end()
            if error is not None and error is not under_way.failure:
                shutil.rmtree(folder, ignore_errors=True)
            self._progress.abandon()

    @property
    def now_s(self) -> float:
        """How late it is: virtual seconds since the first probe was due."""
        return self._now_s

    @property
    def results(self) -> ResultSet:
        """The folder of the run, measured; there once the testbed has been left."""
        if self._results is None:
            raise LabError("there are no results before the testbed has been left")
        return self._results

    def wait(self, seconds: float) -> None:
        """Let so much virtual time pass before what you ask for next."""
        if seconds < 0:
            raise ScenarioError(f"wait: {seconds:g} s are less than none")
        self._opened()
        self._now_s = round(self._now_s + seconds, 6)

    def wait_until(self, at_s: float) -> None:
        """Let virtual time pass until that moment."""
        if at_s < self._now_s:
            raise ScenarioError(f"wait_until: {at_s:g} s are over, it is {self._now_s:g} s")
        self.wait(at_s - self._now_s)

    def wait_for(
        self, event: str, node: str, *, since_s: float | None = None, within_s: float = 60.0
    ) -> Event:
        """Wait until a node's agent tells of an event (docs/schema.md, events.jsonl); return it.

        One before `since_s`, by default now, does not count. Raises Refused after `within_s`.
        """
        answer = self._ask(
            exchange.AwaitEvent(
                at_s=self._now_s,
                event=event,
                node=node,
                since_s=self._now_s if since_s is None else since_s,
                within_s=within_s,
            )
        )
        assert answer.event is not None
        return Event.parse(answer.event)

    def move(
        self,
        node: Node,
        to: Network,
        *,
        gap_ms: float = 20.0,
        attach: Attach = "replug",
        overlap_ms: float = 500.0,
    ) -> None:
        """Take a node to another network; return when it has its link there.

        `gap_ms` is the time without a link, `attach` whether its interface is plugged over or a
        new one made; with the scenario's `handover = "soft"` it has both links for `overlap_ms`.
        """
        self.move_together({node: to}, gap_ms=gap_ms, attach=attach, overlap_ms=overlap_ms)

    def move_together(
        self,
        to: Mapping[Node, Network],
        *,
        gap_ms: float = 20.0,
        attach: Attach = "replug",
        overlap_ms: float = 500.0,
    ) -> None:
        """Take several nodes to other networks in the same instant; as `move` else."""
        shared = {"at_s": 1.0, "gap_ms": gap_ms, "attach": attach, "overlap_ms": overlap_ms}
        try:
            moves = tuple(
                Move.model_validate({"node": node, "to": network, **shared})
                for node, network in to.items()
            )
        except ValidationError as error:
            raise ScenarioError(f"move: {scenarios.first_error(error, Move)}") from error
        for move in moves:
            if move.node not in self._places:
                raise ScenarioError(f"move: {self.scenario.no_such_node(move.node)}")
            if move.to == self._places[move.node]:
                raise ScenarioError(f"move: {move.node} is on {move.to} already")
            if move.to == "eve" and not self.scenario.visits_eve:
                raise ScenarioError(
                    f"move: scenario '{self.scenario.name}' has no network of eve's; take one "
                    f"in which a node goes there, such as fake_network"
                )
        self._ask(exchange.MakeMoves(at_s=self._now_s, moves=moves))
        self._places |= {move.node: move.to for move in moves}

    def host(self, name: str) -> Host:
        """Return a host, to run commands in."""
        return Host(name, self)

    def record(self, event: str, **details: str | float | bool | None) -> None:
        """Write an event of your own into events.jsonl, as of node `user`."""
        if event in MADE_BY_THE_TESTBED:
            raise ScenarioError(f"record: '{event}' is what the testbed's own events are called")
        self._ask(exchange.WriteEvent(at_s=self._now_s, event=event, details=dict(details)))

    def _place(self) -> tuple[Machine, Clock]:
        place = machine.choose(self._options.machine, self._options.clock, usual=Clock.VIRTUAL)
        if place[1] is Clock.CPU:
            raise LabError("clock cpu: no experiment of your own; take the virtual one, or wall")
        kernel = {packages.Need.KERNEL} if place[0] is Machine.UML else set()
        packages.ensure({packages.Need.LAB, *kernel}, self._progress)
        return place

    def _opened(self) -> tuple["_UnderWay", Path]:
        if self._under_way is None or self._folder is None:
            raise LabError("the testbed is not running: use it inside `with Testbed(…) as lab:`")
        return self._under_way, self._folder

    def _ask(self, request: Request, what: str = "") -> Answer:
        """Have the lab do something; raise what ended the lab, or Refused."""
        under_way, folder = self._opened()
        self._asked += 1
        exchange.ask(folder / REQUESTS, self._asked, request)
        under_way.go_on()
        with runner.answered_for(folder):
            answer = self._answer()
        if answer.refused is not None:
            raise Refused(f"{what}{answer.refused}")
        return answer

    def _answer(self) -> Answer:
        """Wait for the answer to the last request."""
        under_way, folder = self._opened()
        while (answer := exchange.answered(folder / REQUESTS, self._asked)) is None:
            if under_way.is_over(wait_s=0.002):
                raise under_way.failure or LabCrashed("the lab ended before it was asked to")
        under_way.pause()
        self._now_s = answer.now_s
        return answer

    def _finish(self, under_way: "_UnderWay", folder: Path) -> None:
        """End the run in order, and measure it."""
        exchange.ask(folder / REQUESTS, self._asked + 1, exchange.End(at_s=self._now_s))
        under_way.go_on()
        under_way.is_over(wait_s=None)
        if under_way.failure is not None:
            raise under_way.failure
        shutil.rmtree(folder / REQUESTS)
        runner.evaluate(folder, self._options, self._watch, under_way.took_s)
        self._progress.end()
        self._results = ResultSet(folder)


class _UnderWay:
    """A lab under way in a thread of its own: stopped, told to go on, ended."""

    def __init__(self, in_lab: Callable[[int], float], *, can_pause: bool) -> None:
        self.failure: BaseException | None = None
        self.took_s = 0.0
        self._in_lab = in_lab
        self._can_pause = can_pause
        self._control, self._mine = os.pipe()
        self._thread = threading.Thread(target=self._carry_out, daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop the VM: it uses no processor, and its time stands still."""
        if self._can_pause:
            os.write(self._mine, PAUSE)

    def go_on(self) -> None:
        """Let the VM go on."""
        if self._can_pause:
            os.write(self._mine, CONTINUE)

    def is_over(self, *, wait_s: float | None) -> bool:
        """Wait so long for the end of the lab, or without a limit; tell whether it has come."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def end(self) -> None:
        """End the lab if it still runs; return when nothing of it does."""
        os.close(self._mine)
        self._thread.join()
        os.close(self._control)

    def _carry_out(self) -> None:
        try:
            self.took_s = self._in_lab(self._control)
        except BaseException as error:  # It is raised where the lab is waited for.
            self.failure = error


def _loaded(given: str | Path | Scenario, options: Options) -> Scenario:
    changes = runner.overrides(options)
    if isinstance(given, Scenario):
        scenario = scenarios.checked(Path(given.name), given.model_dump(mode="json"), changes)
    else:
        scenario = scenarios.load(str(given), changes)
    if scenario.experiment != "walk":
        raise ScenarioError(
            f"scenario '{scenario.name}': its moves are drawn by the experiment "
            f"'{scenario.experiment}'; take one of the experiment 'walk'"
        )
    return scenario
