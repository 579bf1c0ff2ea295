"""Run a job in a lab VM: boot it, pass its console on, bring its exit code back, leave nothing.

Runs as an ordinary user; inside, the job is root over its own kernel.
"""

import contextlib
import os
import select
import shutil
import subprocess
import sys
import termios
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from vm import lease
from vm.errors import LabCrashed, LabError, LimitReached
from vm.job import Job, fstab, kernel_arguments, script
from vm.supervisor import PAUSE

_HERE = Path(__file__).resolve().parent
INIT = _HERE / "init.sh"
SUPERVISOR = _HERE / "supervisor.py"
_TAIL_BYTES = 8192
_MEMORY_FOLDERS = (Path("/dev/shm"),)

Console = Callable[[bytes], None]


def run(
    job: Job, kernel: Path, console: Console, *, held: lease.Lease, control: int | None = None
) -> int:
    """Run the job in a VM of this kernel; return its exit code.

    `console` gets what the job prints, as it comes (an interactive job has the terminal itself).
    `control` is a descriptor that tells the VM to stop and to go on (supervisor.PAUSE, CONTINUE),
    and by its end to end (LabCrashed). Whatever way this ends, the VM's processes are gone when it
    returns or raises.

    Raises LimitReached at the job's limit, LabCrashed if the VM ends without the job's exit code,
    LabError if it cannot start.
    """
    folder = held.folder
    (folder / "uml").mkdir()
    (folder / "job").write_text(script(job), encoding="utf-8")
    (folder / "fstab").write_text(fstab(folder, job.writable), encoding="utf-8")
    command = [str(kernel), *kernel_arguments(job, run=folder, init=INIT)]
    environment = {"TMPDIR": str(_memory_folder(job.memory_mib, folder)), "PATH": os.defpath}
    machine_log = folder / "machine.log"
    with open(machine_log, "wb") as log:
        status = supervise(
            command,
            console,
            held=held,
            environment=environment,
            errors=log,
            limit_s=job.limit_s,
            interactive=job.interactive,
            control=control,
        )
    with contextlib.suppress(OSError, ValueError):
        return int((folder / "exit").read_text(encoding="ascii"))
    raise LabCrashed(
        f"the lab VM ended with status {status} before its job did", _tail_of(machine_log)
    )


def supervise(
    command: list[str],
    console: Console,
    *,
    held: lease.Lease,
    environment: dict[str, str],
    errors: IO[bytes] | None = None,
    directory: Path | None = None,
    limit_s: float | None = None,
    interactive: bool = False,
    control: int | None = None,
) -> int:
    """Run a command whose processes end with it, with this program, or at the limit.

    `console` gets its standard output, and its standard error unless `errors` does. Returns its
    exit code as a shell would. `control` as in `run`; time in which the command is stopped does not
    count towards the limit. Raises LimitReached, LabCrashed at the end of `control`, LabError if it
    cannot be started.
    """
    lifeline, mine = os.pipe()
    read, write = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), str(lifeline), *command],
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else write,
            stderr=errors if errors is not None else None if interactive else write,
            cwd=directory,
            env=environment,
            pass_fds=(lifeline, held.descriptor),
        )
    except OSError as error:
        os.close(mine)
        os.close(read)
        raise LabError(f"cannot start {command[0]}: {error.strerror}") from error
    finally:
        os.close(lifeline)
        os.close(write)
    tail: deque[bytes] = deque(maxlen=64)
    with _terminal_as_it_was(), os.fdopen(read, "rb", buffering=0) as output:
        try:
            _pass_on(output.fileno(), console, tail, limit_s, control, mine)
            return process.wait()
        except LimitReached as error:
            error.console = b"".join(tail)[-_TAIL_BYTES:].decode(errors="replace")
            raise
        finally:
            # The supervisor ends all that it started when this pipe closes.
            os.close(mine)
            process.wait()


def _pass_on(
    output: int,
    console: Console,
    tail: deque[bytes],
    limit_s: float | None,
    control: int | None,
    lifeline: int,
) -> None:
    """Read what the job prints until it ends or its time is up; tell the supervisor to pause it."""
    left_s, paused = limit_s, False
    while True:
        if left_s is not None and left_s <= 0:
            raise LimitReached(f"not done after {limit_s:g} s of wall-clock time: ended")
        began = time.monotonic()
        watched = [output] if control is None else [output, control]
        ready = select.select(watched, [], [], None if paused else left_s)[0]
        if left_s is not None and not paused:
            left_s -= time.monotonic() - began
        if control in ready:
            if not (word := os.read(control, 1)):
                raise LabCrashed("ended on request")
            paused = word == PAUSE
            with contextlib.suppress(BrokenPipeError):  # It has just ended by itself.
                os.write(lifeline, word)
        if output not in ready:
            continue
        if not (data := os.read(output, 65536)):
            return
        # The guest's terminal ends lines as terminals do.
        data = data.replace(b"\r\n", b"\n")
        tail.append(data)
        console(data)


def _memory_folder(memory_mib: int, folder: Path) -> Path:
    """Return where the VM's memory, an unlinked file, can be: in memory, else on disk."""
    for candidate in (*_MEMORY_FOLDERS, folder):
        with contextlib.suppress(OSError):
            state = os.statvfs(candidate)
            no_exec = state.f_flag & os.ST_NOEXEC
            if shutil.disk_usage(candidate).free > memory_mib << 20 and not no_exec:
                return candidate
    raise LabError(
        f"no space for the lab VM's memory: {memory_mib} MiB are needed in /dev/shm or in "
        f"{folder}; free some, or ask for less with --memory"
    )


@contextlib.contextmanager
def _terminal_as_it_was() -> Iterator[None]:
    """Give the terminal its settings back, which a killed VM cannot."""
    try:
        settings = termios.tcgetattr(0)
    except (termios.error, OSError):
        yield
        return
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, settings)


def _tail_of(log: Path) -> str:
    with contextlib.suppress(OSError):
        return log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
    return ""
