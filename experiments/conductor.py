"""In the lab, does what a user's program asks for, instead of what the scenario has in store."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import floor
from pathlib import Path
from typing import IO

from experiments import exchange, schedule
from experiments.exchange import Answer, Ended, Request
from experiments.programs import end, sleep_until
from experiments.scenario import Move, Scenario
from experiments.testbed import Testbed

GRID_S = 0.001
"""What is asked for begins after all else that was due, at the next multiple of this if it is late:
microseconds by which two runs differ are then no difference of the moments that follow."""
TOLERANCE = 1e-6
LOOK_S = 0.01
"""Between two looks into an event log."""
USER = "user"
"""Who tells of the user's own events."""


class _Refused(Exception):
    """Nothing comes of a request; the text says why."""


@dataclass(slots=True)
class _Command:
    """A command under way, and where its output goes."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]


@dataclass(slots=True)
class Conductor:
    """Answers the requests in a folder, one after another, as a walk's `Conduct`."""

    folder: Path
    is_virtual: bool
    _made: list[Move] = field(default_factory=list[Move])
    _commands: list[_Command] = field(default_factory=list[_Command])
    _ended_at_s: float = 0.0

    def __call__(self, testbed: Testbed, begin: float) -> None:
        """Answer requests until one ends the run."""
        exchange.answer(self.folder, 0, Answer(now_s=0.0))
        try:
            for number in count(1):
                request = self._next(number)
                at_s = _turn(request.at_s, begin)
                testbed.check()
                if isinstance(request, exchange.End):
                    self._ended_at_s = at_s
                    return
                try:
                    answer = self._carry_out(request, at_s, testbed, begin)
                except _Refused as why:
                    answer = Answer(now_s=_next_moment(begin), refused=str(why))
                exchange.answer(self.folder, number, answer)
        finally:
            for command in self._commands:
                end(command.process)
                command.output.close()
                command.errors.close()

    def made(self, scenario: Scenario) -> Scenario:
        """Return the scenario with the moves that were made and the time that the run took."""
        traffic = scenario.traffic
        if traffic.stop_s is not None and traffic.stop_s >= self._ended_at_s:
            traffic = traffic.model_copy(update={"stop_s": None})
        made = {"move": tuple(self._made), "duration_s": self._ended_at_s, "traffic": traffic}
        return scenario.model_copy(update=made)

    def _next(self, number: int) -> Request:
        """Wait for a request by looking for it all the time: computing takes no virtual time."""
        while (request := exchange.request(self.folder, number)) is None:
            if not self.is_virtual:
                time.sleep(GRID_S)
        return request

    def _carry_out(self, request: Request, at_s: float, testbed: Testbed, begin: float) -> Answer:
        match request:
            case exchange.MakeMoves():
                moves = [move.model_copy(update={"at_s": at_s}) for move in request.moves]
                for due_s, step in schedule.steps(testbed, moves, first=len(self._made) + 1):
                    sleep_until(begin + due_s)
                    step()
                    at_s = due_s
                self._made += moves
                return Answer(now_s=round(at_s, 6))
            case exchange.StartCommand():
                return Answer(now_s=at_s, started=self._start(request, testbed))
            case exchange.AwaitCommand():
                ended = self._await_command(request)
                return Answer(now_s=_next_moment(begin), ended=ended)
            case exchange.AwaitEvent():
                line = self._await_event(request, at_s, testbed, begin)
                return Answer(now_s=_next_moment(begin), event=line)
            case exchange.WriteEvent():
                testbed.record(request.event, USER, **request.details)
                return Answer(now_s=at_s)
            case exchange.End():
                raise AssertionError("the end is carried out by ending")

    def _start(self, request: exchange.StartCommand, testbed: Testbed) -> int:
        known = sorted(host.name for host in testbed.net.hosts)
        if request.host not in known:
            raise _Refused(f"no host is called '{request.host}'; there are: {', '.join(known)}")
        output, errors = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115 (_content)
        process = testbed.host(request.host).popen(
            list(request.command), stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        self._commands.append(_Command(process, output, errors))
        testbed.record("command", USER, host=request.host, command=request.command)
        return len(self._commands)

    def _await_command(self, request: exchange.AwaitCommand) -> Ended:
        command = self._commands[request.number - 1]
        if request.interrupt:
            command.process.send_signal(signal.SIGINT)
        if not _has_ended(command.process, request.within_s):
            raise _Refused(f"it has not ended within {request.within_s:g} s")
        return Ended(
            exit_code=command.process.wait(),
            output=_content(command.output),
            errors=_content(command.errors),
        )

    def _await_event(
        self, request: exchange.AwaitEvent, at_s: float, testbed: Testbed, begin: float
    ) -> str:
        log = testbed.event_log(request.node)
        if not log.exists():
            known = ", ".join(sorted(path.stem for path in log.parent.glob(f"*{log.suffix}")))
            raise _Refused(f"nobody called '{request.node}' tells of events; there are: {known}")
        wanted = _teller(log, request.event, begin + request.since_s)
        for look in count():
            look_s = at_s + look * LOOK_S
            if look_s > at_s + request.within_s:
                break
            sleep_until(begin + look_s)
            testbed.check()
            if (line := wanted()) is not None:
                return line
        raise _Refused(
            f"{request.node} has told of no '{request.event}' within {request.within_s:g} s"
        )


def _turn(at_s: float, begin: float) -> float:
    """Wait until it is time for a request, and at least until all others have had their turn."""
    if time.time() - begin >= at_s:
        at_s = _next_moment(begin)
    sleep_until(begin + at_s)
    return at_s


def _next_moment(begin: float) -> float:
    """Return the next multiple of GRID_S after now (s after time zero)."""
    return round(GRID_S * (floor((time.time() - begin) / GRID_S + TOLERANCE) + 1), 6)


def _has_ended(process: subprocess.Popen[bytes], within_s: float) -> bool:
    """Wait for a process as long as that; Popen's own waiting looks every 50 ms."""
    if process.poll() is not None:
        return True
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], within_s)[0])
    finally:
        os.close(descriptor)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _teller(log: Path, event: str, since: float) -> Callable[[], str | None]:
    """Return what finds, of the lines written since its last call, the first of an event."""
    read = 0

    def look() -> str | None:
        nonlocal read
        with log.open("rb") as file:
            file.seek(read)
            while (line := file.readline()).endswith(b"\n"):
                read = file.tell()
                told = json.loads(line)
                if told["event"] == event and told["time"] >= since:
                    return line.decode()
        return None

    return look
