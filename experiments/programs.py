"""Programs in the hosts of a testbed: started, waited for, ended; what one prints is kept."""

import json
import os
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

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[bytes]: ...


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


class Program:
    """One Python program of this project, running in a host."""

    def __init__(
        self, host: Host, module: str, arguments: Sequence[str], log: Path, name: str = ""
    ) -> None:
        self.name = name or module.rpartition(".")[2]
        self._log = log
        with log.open("ab") as output:
            self._process = host.popen(
                [sys.executable, "-m", module, *arguments],
                cwd=CHECKOUT,
                env={**os.environ, "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def check(self) -> None:
        """Raise TestbedError with the program's last words if it has ended."""
        code = self._process.poll()
        if code is not None:
            lines = self._log.read_text(errors="replace").strip().splitlines()
            last = " | ".join(lines[-3:]) or "it printed nothing"
            raise TestbedError(f"{self.name} ended with code {code}: {last}")

    def ask_to_end(self) -> None:
        """Send SIGTERM and do not wait."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self, within_s: float = 10.0) -> None:
        """End the program by SIGTERM; one that does not obey is killed and reported."""
        self.ask_to_end()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise TestbedError(f"{self.name} did not end within {within_s:g} s") from None


def logged(path: Path, event: str) -> list[dict[str, Any]]:
    """Return the events of one name in a host's event log."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["event"] == event]
