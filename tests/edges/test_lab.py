"""A testbed as a Python object: entered, asked, left; ended in order whatever goes wrong."""

import json
import os
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments import exchange, lab, runner
from experiments.exchange import Answer
from experiments.lab import Options, Refused, Testbed
from experiments.scenario import ScenarioError, load
from vm import kernel, machine, packages
from vm.clock import Clock
from vm.errors import LabCrashed, LabError
from vm.job import Job
from vm.machine import Machine
from vm.supervisor import CONTINUE, PAUSE

Answers = Callable[[exchange.Request], Answer]


class Lab:
    """Stands for the lab: answers requests as it is told to, and keeps what came."""

    def __init__(self) -> None:
        self.answers: Answers = lambda request: Answer(now_s=request.at_s)
        self.asked: list[exchange.Request] = []
        self.words: list[bytes] = []
        self.code = 0
        self.running = 0

    def run(self, job: Job, used: Machine, console: Any, *, control: int, **_: object) -> int:
        self.running += 1
        try:
            return self._run(job, console, control)
        finally:
            self.running -= 1

    def _run(self, job: Job, console: Any, control: int) -> int:
        spec = json.loads(Path(job.command[-1]).read_text())
        folder = Path(spec["requests"])
        exchange.answer(folder, 0, Answer(now_s=0.0))
        number = 1
        while word := os.read(control, 1):
            self.words.append(word)
            if word == PAUSE:
                continue
            request = exchange.request(folder, number)
            assert request is not None, "told to go on without a request"
            self.asked.append(request)
            if isinstance(request, exchange.End):
                Path(spec["results"], "run.json").write_text('{"schema": 1}')
                return self.code
            try:
                exchange.answer(folder, number, self.answers(request))
            except LookupError as crash:
                console(f"last words: {crash}\n".encode())
                return 1
            number += 1
        raise LabCrashed("ended on request")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    stand_in = Lab()
    monkeypatch.setattr(machine, "uml_obstacle", lambda: None)
    monkeypatch.setattr(machine, "run", stand_in.run)
    monkeypatch.setattr(kernel, "ensure", lambda progress: Path("/linux"))
    monkeypatch.setattr(packages, "ensure", lambda needs, progress: None)
    monkeypatch.setattr(runner, "precompile", lambda: None)
    monkeypatch.setattr(runner, "_evaluate", lambda folder, watch, *, page: {"analysis": 1.0})
    yield stand_in
    assert stand_in.running == 0


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(results=tmp_path / "runs")


def left(options: Options) -> list[str]:
    return [path.name for path in options.results.iterdir()]


def test_between_two_calls_the_lab_stands_still(stand_in: Lab, options: Options) -> None:
    with Testbed("walk", options) as one:
        one.move("mn1", "wifi1")
        one.record("mine", value=3)
    assert stand_in.words == [PAUSE, CONTINUE, PAUSE, CONTINUE, PAUSE, CONTINUE]
    assert [request.do for request in stand_in.asked] == ["move", "record", "end"]


def test_on_the_wall_clock_nothing_is_stopped(
    stand_in: Lab, options: Options, tmp_path: Path
) -> None:
    # A lab that is told neither to stop nor to go on: it must not wait for a word.
    stand_in._run = lambda job, console, control: 1  # type: ignore[method-assign]
    with (
        pytest.raises(LabCrashed, match="not carried through"),
        Testbed("walk", Options(results=tmp_path, clock=Clock.WALL)),
    ):
        pass
    assert stand_in.words == []


def test_waiting_is_done_with_what_is_asked_for_next(stand_in: Lab, options: Options) -> None:
    with Testbed("walk", options) as one:
        one.wait(1.5)
        one.wait_until(4)
        assert stand_in.asked == []
        assert one.now_s == 4
        one.move("mn1", "wifi1")
        one.wait(2)
    assert [request.at_s for request in stand_in.asked] == [4, 6]


def test_how_late_it_is_follows_from_what_was_done(stand_in: Lab, options: Options) -> None:
    stand_in.answers = lambda request: Answer(now_s=request.at_s + 0.02)
    with Testbed("walk", options) as one:
        one.wait(1)
        one.move("mn1", "wifi1")
        assert one.now_s == 1.02


def test_a_run_that_is_left_is_measured(stand_in: Lab, options: Options) -> None:
    with Testbed("walk", options) as one, pytest.raises(LabError, match="no results before"):
        _ = one.results
    assert one.results.folder.parent == options.results
    assert not (one.results.folder / lab.REQUESTS).exists()
    run = json.loads(one.results.run_path.read_text())
    assert set(run["wall_by_part"]) == {"lab", "analysis"}


def experiment(one: Testbed, then: Callable[[], object] = lambda: None) -> None:
    """Move a node, and then do what may go wrong."""
    with one:
        one.move("mn1", "wifi1")
        then()


def test_an_error_in_the_block_ends_the_lab_and_leaves_no_folder(
    stand_in: Lab, options: Options
) -> None:
    one = Testbed("walk", options)
    with pytest.raises(ZeroDivisionError):
        experiment(one, lambda: 1 / 0)
    assert left(options) == []
    with pytest.raises(LabError, match="not running"):
        one.wait(1)


def test_ctrl_c_while_the_lab_works_ends_it_and_leaves_no_folder(
    stand_in: Lab, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(folder: Path, number: int) -> Answer | None:
        if number == 0:
            return Answer(now_s=0.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(exchange, "answered", interrupt)
    with pytest.raises(KeyboardInterrupt):
        experiment(Testbed("walk", options))
    assert left(options) == []


def test_a_lab_that_fails_is_told_where_it_was_asked_and_leaves_what_it_said(
    stand_in: Lab, options: Options
) -> None:
    def crash(request: exchange.Request) -> Answer:
        raise LookupError("agent of mn1 ended with code 1")

    stand_in.answers = crash
    with pytest.raises(LabCrashed, match="what it left: ") as caught:
        experiment(Testbed("walk", options), lambda: pytest.fail("went on without a lab"))
    assert str(caught.value).count("what it left") == 1
    assert "agent of mn1 ended" in caught.value.console
    assert len(left(options)) == 1


def test_a_lab_that_fails_at_the_end_is_told_when_it_is_left(
    stand_in: Lab, options: Options
) -> None:
    stand_in.code = 1
    with pytest.raises(LabCrashed, match="exit code 1"), Testbed("walk", options):
        pass
    assert len(left(options)) == 1


def test_what_is_refused_is_told_and_the_run_goes_on(stand_in: Lab, options: Options) -> None:
    stand_in.answers = lambda request: Answer(now_s=request.at_s + 1, refused="it has not ended")
    with Testbed("walk", options) as one:
        with pytest.raises(Refused, match="it has not ended"):
            one.wait_for("outbound_switched", "mn1")
        assert one.now_s == 1
    assert one.results.folder.exists()


def test_a_command_is_typed(stand_in: Lab, options: Options) -> None:
    def answers(request: exchange.Request) -> Answer:
        if isinstance(request, exchange.StartCommand):
            return Answer(now_s=0.1, started=4)
        assert isinstance(request, exchange.AwaitCommand)
        assert (request.number, request.within_s) == (4, 3)
        return Answer(now_s=0.2, ended=exchange.Ended(exit_code=0, output="o", errors="e"))

    stand_in.answers = answers
    with Testbed("walk", options) as one:
        done = one.host("mn1").run(["ping", "-c", 1], within_s=3)
    assert done == lab.Completed(("ping", "-c", "1"), 0, "o", "e")


def test_an_event_is_typed(stand_in: Lab, options: Options) -> None:
    line = '{"time": 1767225601.25, "node": "mn1", "event": "x", "numeral": "210"}'
    stand_in.answers = lambda request: Answer(now_s=2.0, event=line)
    with Testbed("walk", options) as one:
        event = one.wait_for("x", "mn1")
    assert (event.time_ns, event.numeral) == (1767225601_250000000, "210")


WRONG: list[tuple[Callable[[Testbed], object], str]] = [
    (lambda one: one.move("mn1", "wifi9"), "move: to: Input should be 'lan', 'wifi1'"),  # type: ignore[arg-type]
    (lambda one: one.move("fs", "wifi1"), "move: node: 'fs' is no mobile node"),
    (lambda one: one.move("mn4", "wifi1"), "move: there is no mn4"),
    (lambda one: one.move("mn1", "wifi1", gap_ms=-1), "move: gap_ms: "),
    (lambda one: one.move("mn1", "lan"), "move: mn1 is on lan already"),
    (lambda one: one.move("mn1", "eve"), "has no network of eve's"),
    (lambda one: one.wait(-1), "wait: -1 s are less than none"),
    (lambda one: one.wait_until(-3), "wait_until: -3 s are over, it is 0 s"),
    (lambda one: one.host("mn1").run("ping fs"), "a command is a list of words"),
    (lambda one: one.record("link_up"), "'link_up' is what the testbed's own events are called"),
    (lambda one: one.host("inet").address, "host 'inet': no address to give; there are: fs, "),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG)
def test_what_cannot_be_is_told_before_the_lab_is_asked(
    stand_in: Lab, options: Options, wrong: Callable[[Testbed], object], told: str
) -> None:
    with Testbed("walk", options) as one, pytest.raises(ScenarioError) as caught:
        wrong(one)
    assert told in str(caught.value)
    assert [request.do for request in stand_in.asked] == ["end"]


def test_a_node_can_go_back_to_where_it_was(stand_in: Lab, options: Options) -> None:
    with Testbed("walk", options) as one:
        one.move("mn1", "wifi1")
        one.move_together({"mn1": "lan", "mn2": "cell"}, gap_ms=7)
    moves = stand_in.asked[1]
    assert isinstance(moves, exchange.MakeMoves)
    assert [(move.node, move.to, move.gap_ms) for move in moves.moves] == [
        ("mn1", "lan", 7),
        ("mn2", "cell", 7),
    ]


def test_a_scenario_of_ones_own_and_its_addresses(stand_in: Lab, options: Options) -> None:
    mine = load("walk", {"name": "mine", "embodiment": "2", "links": {"cell": {"delay_ms": 9}}})
    with Testbed(mine, options) as one:
        assert one.scenario.links.cell.delay_ms == 9
        assert one.host("mn1").address == IPv6Address("2001:db8:ee::d1")
    assert one.results.folder.name.endswith("-mine")


def test_every_mobile_node_of_a_scenario_has_an_address(stand_in: Lab, options: Options) -> None:
    given = load("walk", {"mobile_nodes": 16})
    with Testbed(given, options) as one:
        assert one.host("mn16").address == given.plan.company.node("mn16").internal_home_address


def test_drawn_moves_are_no_experiment_of_ones_own() -> None:
    with pytest.raises(ScenarioError, match="take one of the experiment 'walk'"):
        Testbed("handover")


def test_options_change_the_scenario(options: Options) -> None:
    assert Testbed(load("walk"), Options(seed=9)).scenario.seed == 9


def test_the_cpu_clock_is_refused(stand_in: Lab, tmp_path: Path) -> None:
    with (
        pytest.raises(LabError, match="clock cpu"),
        Testbed("walk", Options(results=tmp_path, clock=Clock.CPU)),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_testbed_is_entered_once(stand_in: Lab, options: Options) -> None:
    with Testbed("walk", options) as one:
        pass
    with pytest.raises(LabError, match="entered once"), one:
        pass
