"""The conductor does what a user's program asks for, one request after another."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import exchange, programs
from experiments.conductor import GRID_S, Conductor
from experiments.exchange import (
    Answer,
    AwaitCommand,
    AwaitEvent,
    End,
    MakeMoves,
    Request,
    StartCommand,
    WriteEvent,
)
from experiments.scenario import Move, load


class Stage:
    """A conductor at work on a testbed that keeps what is done to it; time is the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.done: list[tuple[Any, ...]] = []
        self.events: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.check: Any = lambda: None
        self.conductor = Conductor(folder, is_virtual=False)
        self._asked = 0
        self.begin = time.time()
        self._thread = threading.Thread(target=self._conduct, daemon=True)
        self._thread.start()
        assert self.answer() == Answer(now_s=0.0)

    def ask(self, request: Request) -> Answer:
        self._asked += 1
        exchange.ask(self.folder, self._asked, request)
        return self.answer()

    def answer(self) -> Answer:
        deadline = time.monotonic() + 10
        while (found := exchange.answered(self.folder, self._asked)) is None:
            assert time.monotonic() < deadline, "no answer"
            time.sleep(0.001)
        return found

    def end(self) -> None:
        exchange.ask(self.folder, self._asked + 1, End(at_s=0.0))
        self.join()

    def join(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()

    def now_s(self) -> float:
        return time.time() - self.begin

    def _conduct(self) -> None:
        attachment = SimpleNamespace(
            network=lambda node: "lan",
            **{
                name: lambda *given, name=name: self.done.append((name, *given))
                for name in ("unplug", "plug", "connect")
            },
        )
        host = SimpleNamespace(name="mn1", popen=subprocess.Popen)
        testbed: Any = SimpleNamespace(
            scenario=load("walk"),
            attachment=attachment,
            net=SimpleNamespace(hosts=[host]),
            host=lambda name: host,
            check=lambda: self.check(),
            dump_databases=lambda moment, mover=None: self.done.append((moment,)),
            record=lambda event, node, /, **more: self.events.append((event, node, more)),
            event_log=lambda name: self.logs / f"{name}.events",
        )
        try:
            self.conductor(testbed, self.begin)
        except BaseException as error:
            self.error = error


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    if stage._thread.is_alive():
        stage.end()


def moves(*ways: tuple[Any, Any], at_s: float = 0.0) -> MakeMoves:
    made = tuple(Move(at_s=1.0, node=node, to=to, gap_ms=5.0) for node, to in ways)
    return MakeMoves(at_s=at_s, moves=made)


def on_grid(at_s: float) -> bool:
    return round(at_s / GRID_S, 6).is_integer()


def test_a_request_is_carried_out_at_its_moment(stage: Stage) -> None:
    answer = stage.ask(WriteEvent(at_s=0.2, event="mine", details={"node": "x"}))
    assert answer == Answer(now_s=0.2)
    assert stage.now_s() >= 0.2
    assert stage.events == [("mine", "user", {"node": "x"})]


def test_a_late_request_begins_at_a_moment_that_all_runs_have(stage: Stage) -> None:
    before_s = stage.now_s()
    answer = stage.ask(WriteEvent(at_s=0.0, event="mine", details={}))
    assert on_grid(answer.now_s)
    assert before_s < answer.now_s <= stage.now_s() + GRID_S


def test_a_move_is_over_when_the_node_has_its_link(stage: Stage) -> None:
    answer = stage.ask(moves(("mn1", "wifi1"), ("mn2", "cell"), at_s=0.1))
    assert answer.now_s == 0.105
    assert [what[:2] for what in stage.done] == [
        *(("before-move-1",), ("before-move-2",)),
        *((step, node) for step in ("unplug", "plug", "connect") for node in ("mn1", "mn2")),
    ]


def test_the_run_is_told_as_a_scenario_that_repeats_it(stage: Stage) -> None:
    stage.ask(moves(("mn1", "wifi1"), at_s=0.1))
    stage.ask(moves(("mn2", "cell"), at_s=0.2))
    stage.end()
    scenario = load("walk", {"traffic": {"stop_s": 9}})
    made = stage.conductor.made(scenario)
    assert [(m.node, m.to, m.at_s) for m in made.move] == [
        ("mn1", "wifi1", 0.1),
        ("mn2", "cell", 0.2),
    ]
    assert made.duration_s is not None
    assert 0.205 < made.duration_s <= stage.now_s()
    assert scenario.traffic.stop_s is not None
    assert made.traffic.stop_s is None, "it had not come to that"
    type(made).model_validate(made.model_dump(mode="json"))


def test_a_command_tells_its_exit_code_and_what_it_printed(stage: Stage) -> None:
    script = "echo out; echo err >&2; exit 7"
    started = stage.ask(StartCommand(at_s=0, host="mn1", command=("sh", "-c", script))).started
    assert started == 1
    answer = stage.ask(AwaitCommand(at_s=0, number=started, within_s=5))
    assert answer.ended == exchange.Ended(exit_code=7, output="out\n", errors="err\n")
    assert on_grid(answer.now_s)
    assert stage.events[0][:2] == ("command", "user")


def test_a_command_goes_on_while_other_things_are_asked_for(stage: Stage) -> None:
    stage.ask(StartCommand(at_s=0, host="mn1", command=("sleep", "60")))
    stage.ask(moves(("mn1", "wifi1")))
    asked_s = stage.now_s()
    answer = stage.ask(AwaitCommand(at_s=0, number=1, within_s=0.05))
    assert answer.refused == "it has not ended within 0.05 s"
    assert answer.now_s >= asked_s + 0.05
    stop = AwaitCommand(at_s=0, number=1, within_s=5, interrupt=True)
    ended = stage.ask(stop).ended
    assert ended is not None
    assert ended.exit_code == -2
    assert stage.ask(stop).ended == ended, "it can be asked again"


def test_what_is_still_running_ends_with_the_run(stage: Stage) -> None:
    stage.ask(StartCommand(at_s=0, host="mn1", command=("sleep", "60")))
    process = stage.conductor._commands[0].process
    stage.end()
    assert process.returncode == -15
    assert stage.error is None


def test_an_unknown_host_is_refused_and_the_run_goes_on(stage: Stage) -> None:
    refused = stage.ask(StartCommand(at_s=0, host="mn9", command=("true",))).refused
    assert refused == "no host is called 'mn9'; there are: mn1"
    assert stage.ask(moves(("mn1", "wifi1"))).refused is None


def test_an_event_from_before_does_not_count(stage: Stage) -> None:
    log = stage.logs / "mn1.events"

    def line(time_s: float, event: str) -> str:
        return json.dumps({"time": stage.begin + time_s, "node": "mn1", "event": event}) + "\n"

    log.write_text(line(-1, "direct") + line(0.01, "other"))
    wait = AwaitEvent(at_s=0, event="direct", node="mn1", since_s=0.0, within_s=0.1)
    assert "mn1 has told of no 'direct' within 0.1 s" in (stage.ask(wait).refused or "")
    log.write_text(log.read_text() + line(0.02, "direct"))
    told = stage.ask(wait).event
    assert told is not None
    assert json.loads(told)["time"] == pytest.approx(stage.begin + 0.02)


def test_who_tells_of_nothing_is_refused(stage: Stage) -> None:
    (stage.logs / "sg.events").touch()
    wait = AwaitEvent(at_s=0, event="direct", node="fs", since_s=0.0, within_s=0.1)
    assert stage.ask(wait).refused == "nobody called 'fs' tells of events; there are: sg"


def test_a_program_of_the_testbed_that_has_ended_ends_the_run(stage: Stage) -> None:
    def fail() -> None:
        raise programs.TestbedError("agent of mn1 ended")

    stage.check = fail
    exchange.ask(stage.folder, 1, moves(("mn1", "wifi1")))
    stage.join()
    assert isinstance(stage.error, programs.TestbedError)
    assert exchange.answered(stage.folder, 1) is None
