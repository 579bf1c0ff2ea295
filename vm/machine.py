"""Where a job runs: in a lab VM, or in the present kernel."""

import platform
from enum import Enum
from pathlib import Path

from vm import boot, kernel, lease, native
from vm.clock import Clock
from vm.errors import LabError
from vm.job import Job

_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")


class Machine(Enum):
    """What a user can ask for."""

    UML = "uml"
    """A lab VM: user-mode Linux, no root rights needed."""

    NATIVE = "native"
    """The present kernel, as root, in namespaces of its own."""

    AUTO = "auto"
    """A lab VM where one can run, else the present kernel."""


def choose(asked: Machine, clock: Clock | None, *, usual: Clock) -> tuple[Machine, Clock]:
    """Return the machine and the clock that a run gets; raise LabError when it can have none.

    `usual` is the clock when none is asked for, on a machine that has it.
    """
    obstacle = uml_obstacle()
    if asked is Machine.UML or (asked is Machine.AUTO and obstacle is None):
        if obstacle is not None:
            raise LabError(f"no lab VM on this machine: {obstacle}")
        return Machine.UML, clock or usual
    if lacking := native.lacking():
        missing = f"the present kernel will not do: {'; '.join(lacking)}"
        raise LabError(f"no lab VM on this machine: {obstacle}; {missing}" if obstacle else missing)
    if clock not in (None, Clock.WALL):
        raise LabError(f"--clock {clock.value} needs a lab VM; native runs on the wall clock")
    return Machine.NATIVE, Clock.WALL


def uml_obstacle() -> str | None:
    """Say what keeps user-mode Linux from running here; None if nothing does."""
    if platform.machine() != "x86_64":
        return f"the lab kernel needs x86_64, this is {platform.machine()}"
    try:
        if _PTRACE_SCOPE.read_text(encoding="ascii").strip() == "3":
            return f"{_PTRACE_SCOPE} is 3: no process may trace another"
    except OSError:
        pass
    return None


def run(
    job: Job,
    machine: Machine,
    console: boot.Console,
    *,
    progress: kernel.Progress,
    partial: tuple[Path, str] | None = None,
    control: int | None = None,
) -> int:
    """Run the job on a chosen machine; return its exit code.

    `partial` is a folder to delete should this program be killed, and the file in it that would
    make it complete. `control` is a descriptor as in `boot.run`; a native job cannot be stopped.
    """
    binary = kernel.ensure(progress) if machine is Machine.UML else None
    with lease.hold() as held:
        if partial is not None:
            held.promise(*partial)
        if binary is not None:
            return boot.run(job, binary, console, held=held, control=control)
        return native.run(job, console, held=held, control=control)
