"""An interactive job has the terminal, and the terminal is as it was afterwards."""

import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

from vm import places

ASKER = """
import sys
from pathlib import Path
from vm import boot, lease
from vm.clock import Clock
from vm.job import Job
with lease.hold() as held:
    command = ("sh", "-i")
    job = Job(command=command, directory=Path("/"), clock=Clock.WALL, interactive=True,
              environment={"PS1": "ready> "}, terminal_size=(123, 45))
    sys.exit(boot.run(job, Path(sys.argv[1]), lambda data: None, held=held))
"""


class Terminal:
    """A terminal with a lab's shell on it."""

    def __init__(self, kernel: Path) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", ASKER, kernel],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=places.CHECKOUT,
            start_new_session=True,
        )
        self.theirs = theirs
        self.seen = ""

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} not in {self.seen!r}"
            if select.select([self.ours], [], [], left)[0]:
                self.seen += os.read(self.ours, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())


def test_a_prompt_takes_input_and_ctrl_c_and_its_exit_code_comes_back(
    cache: Path, lab_kernel: Path
) -> None:
    terminal = Terminal(lab_kernel)
    try:
        terminal.wait_for("ready> ")
        terminal.type("echo $((6 * 7))\r")
        terminal.wait_for("42")
        terminal.type("stty size\r")
        terminal.wait_for("45 123")
        # Told by the program itself: one that a shell is about to begin may miss the signal.
        terminal.type("sh -c \"echo beg''un; exec sleep 1000\"\r")
        terminal.wait_for("begun")
        terminal.type("\x03")
        terminal.wait_for("ready> ")
        terminal.type("exit 5\r")
        assert terminal.process.wait(timeout=30) == 5
        assert termios.tcgetattr(terminal.theirs) == terminal.before
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.ours)
        os.close(terminal.theirs)
