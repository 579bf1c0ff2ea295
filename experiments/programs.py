"""Programs in the hosts of a testbed: started, waited for, ended; what one prints is kept."""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

CHECKOUT = Path(__file__).parent.parent


class TestbedError(Exception):
    """The testbed could not do what the scenario asks; the text says what and where to look."""


class Host(Protocol):
    """What is asked of a Mininet node."""

    name: str

    def enter(self) -> None: ...


def wait_until(what: str, condition: Callable[[], bool], within_s: float) -> None:
    """Wait for a condition, looking every 10 ms; raise TestbedError naming it when time is up."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() >= deadline:
            raise TestbedError(f"waited {within_s:g} s for this in vain: {what}")
        time.sleep(0.01)


def sleep_until(at: float) -> None:
    """Sleep until a moment of CLOCK_REALTIME (s), which nobody sets while a lab runs."""
    time.sleep(max(0.0, at - time.time()))


def let_others_go_first(process: int) -> None:
    """Run a program that only watches when everybody else waits.

    Computing takes no virtual time, but reading the clock takes a moment: dumpcap does so three
    times for a packet, and Linux would let it run on for milliseconds while others are due.
    """
    os.sched_setscheduler(process, os.SCHED_IDLE, os.sched_param(0))


def go_first(process: int = 0) -> None:
    """Run a program of the network (0: this one) as soon as it is due."""
    with contextlib.suppress(PermissionError):  # natively, in a container
        os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(1))


def end(process: subprocess.Popen[bytes], name: str = "") -> None:
    """End a process by SIGTERM; one that does not obey is killed and reported by its name."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise TestbedError(f"{name or process.args} did not end") from None


class Program:
    """One Python program of this project, `python -m MODULE`, running in a host.

    It is forked off, not executed: in user-mode Linux, to begin a Python and to import what all of
    these programs do takes seconds. What is imported before is not imported again.
    """

    def __init__(
        self, host: Host, module: str, arguments: Sequence[str], log: Path, name: str = ""
    ) -> None:
        self.name = name or module.rpartition(".")[2]
        self._log = log
        self._process = multiprocessing.get_context("fork").Process(
            target=_become, args=(host, module, arguments, log), daemon=True
        )
        self._process.start()

    @property
    def pid(self) -> int:
        """The process, which has no program of its own below it."""
        assert self._process.pid is not None
        return self._process.pid

    def check(self) -> None:
        """Raise TestbedError with the program's last words if it has ended."""
        code = self._process.exitcode
        if code is not None:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            last = " | ".join(lines[-3:]) or "it printed nothing"
            raise TestbedError(f"{self.name} ended with code {code}: {last}")

    def ask_to_end(self) -> None:
        """Send SIGTERM and do not wait."""
        self._process.terminate()

    def stop(self, within_s: float = 10.0) -> None:
        """End the program by SIGTERM; one that does not obey is killed and reported."""
        self.ask_to_end()
        self._process.join(within_s)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TestbedError(f"{self.name} did not end within {within_s:g} s")


def _become(host: Host, module: str, arguments: Sequence[str], log: Path) -> None:
    """Make of a forked process the program that `python -m module` in that host would be."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with log.open("ab") as output:
        for standard in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), standard.fileno())
    host.enter()
    go_first()
    os.chdir(CHECKOUT)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__")


def logged(path: Path, event: str) -> list[dict[str, Any]]:
    """Return the events of one name in a host's event log."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]
