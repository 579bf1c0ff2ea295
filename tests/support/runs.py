"""Runs for tests to look at: asked for with the command that a user would give, each made once."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from experiments.scenario import SCENARIOS
from vm import places

FINE, COARSE = "probe_interval_ms = 5.0", "probe_interval_ms = 20.0"


@dataclass(frozen=True)
class Asked:
    """`./lab run` with these arguments, or another command of a run.

    `written` is the name and the text of a scenario file that is not there yet: the run is of it;
    or of a program's.
    """

    arguments: tuple[str, ...]
    written: tuple[str, str] | None = None
    command: str = "run"


def asked(*arguments: str, written: tuple[str, str] | None = None) -> Asked:
    """Return a run to ask for."""
    return Asked(arguments, written)


def program(name: str, text: str) -> Asked:
    """Return a run to ask for by a Python program, which leaves it under its own `runs`."""
    return Asked((), (name, text), "python")


def coarse(name: str, *arguments: str) -> Asked:
    """Return a run without a page, of an experiment with a quarter of its probes: for what is not
    timed."""
    fine = (SCENARIOS / f"{name}.toml").read_text(encoding="utf-8")
    assert FINE in fine
    text = fine.replace(FINE, COARSE)
    return asked("--no-page", *arguments, written=(f"coarse-{name}.toml", text))


@dataclass(frozen=True)
class Run:
    """A run that is over, the command that repeats it, and what that printed."""

    folder: Path
    command: str
    said: str

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Its summary.json."""
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary

    @property
    def failed(self) -> list[Any]:
        """The checks that it did not pass."""
        return [check for check in self.summary["checks"] if not check["passed"]]


class Runs:
    """Makes runs in the background, `at_once` at a time, in the order in which they are wanted."""

    def __init__(self, at_once: int) -> None:
        self._pool = ThreadPoolExecutor(at_once)
        # As it is now: tests change it while runs are under way.
        paths = f"{places.CHECKOUT}:{places.CHECKOUT / 'src'}"
        self._environment = {**os.environ, "PYTHONPATH": paths}
        self._python, self._checkout = sys.executable, places.CHECKOUT
        self._made: dict[Asked, Future[Run]] = {}
        self._under_way: set[subprocess.Popen[str]] = set()
        self._over = False

    def want(self, wanted: Iterable[Asked], results: Path) -> None:
        """Begin runs, unless they were wanted before."""
        for one in wanted:
            if one not in self._made:
                self._made[one] = self._pool.submit(self._make, one, results)

    def __getitem__(self, one: Asked) -> Run:
        """Wait for a run; fail the test that looks at it if there is none."""
        try:
            return self._made[one].result()
        except RuntimeError as error:
            pytest.fail(str(error), pytrace=False)

    def close(self) -> None:
        """End what is under way: each run cleans up behind itself."""
        self._over = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in tuple(self._under_way):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        self._pool.shutdown(wait=True)

    def _make(self, one: Asked, results: Path) -> Run:
        arguments = [*_written(one, results), *one.arguments]
        words = [self._python, "-m", "experiments.cli", one.command, *arguments]
        directory = self._checkout
        if one.command == "python":
            directory = results / Path(arguments[0]).stem
            directory.mkdir()
        else:
            words += ["--results", str(results)]
        process = subprocess.Popen(
            words,
            cwd=directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._under_way.add(process)
        if self._over:
            process.terminate()
        said, complained = process.communicate()
        self._under_way.discard(process)
        command = shlex.join(["./lab", one.command, *arguments])
        if one.command == "python" and not process.returncode:
            return Run(next((directory / "runs").iterdir()), command, said)
        if not said.strip():
            raise RuntimeError(f"{command}: {process.returncode}\n{complained}")
        # Where the verdict is "failed", the test that looks at it says why.
        return Run(Path(said.strip().splitlines()[-1]), command, said)


def _written(one: Asked, results: Path) -> list[str]:
    if one.written is None:
        return []
    name, text = one.written
    path = results / name
    # Others that are asked for alike may be reading it.
    partial = results / f".{name}-{threading.get_ident()}"
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
    return [str(path)]
