"""What this machine has and lacks, and what a run on it would use."""

import os
import platform
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from vm import environment, kernel, machine, native, packages, places
from vm.capacity import MEMORY_MIB, available_memory_mib
from vm.clock import Clock
from vm.errors import LabError
from vm.machine import Machine

OPEN_FILES = 4096
"""A walk had 1300 open at a time."""
_DISK_MIB = 3072


class State(Enum):
    """How a finding stands."""

    GOOD = "ok"
    LATER = "at first run"
    BAD = "missing"
    NOTE = "-"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a lab needs, or could use."""

    subject: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings; `remedy` is the one line that installs what is missing."""

    findings: tuple[Finding, ...]
    remedy: str | None

    @property
    def healthy(self) -> bool:
        """Tell whether a run would work, or would set up by itself what is missing."""
        return all(finding.state is not State.BAD for finding in self.findings)


def examine() -> Examination:
    """Look at this machine; change nothing."""
    lacking = packages.missing(packages.Need)
    findings = [
        _packages(need, [package.name for package in lacking if package.need is need])
        for need in packages.Need
    ]
    findings += [_environment(), _kernel(), _user_mode_linux(), _native()]
    findings += [_memory(), _files(), _disk()]
    findings += [_use("run, test", Clock.VIRTUAL), _use("shell", Clock.WALL)]
    return Examination(tuple(findings), packages.install_line(lacking) if lacking else None)


def main(write: Callable[[str], None] = print) -> int:
    """Print the findings as plain text; return the exit code."""
    examination = examine()
    for finding in examination.findings:
        write(f"{finding.subject:<26} {finding.state.value:<13} {finding.detail}")
    if examination.remedy:
        write(f"\nTo install what is missing:\n  {examination.remedy}")
    return 0 if examination.healthy else 1


def _packages(need: packages.Need, lacking: list[str]) -> Finding:
    subject = f"packages for {need.value.removeprefix('the ').removeprefix('building the ')}"
    if not lacking:
        return Finding(subject, State.GOOD, "all there")
    if os.geteuid() == 0 and packages.find_program("apt-get"):
        return Finding(subject, State.LATER, f"will be installed: {' '.join(lacking)}")
    return Finding(subject, State.BAD, " ".join(lacking))


def _environment() -> Finding:
    subject = "virtual environment"
    if (python := environment.find()) is not None:
        return Finding(subject, State.GOOD, str(python.parent.parent))
    return Finding(subject, State.LATER, f"will be made: {environment.folder()}")


def _kernel() -> Finding:
    if (found := kernel.find()) is not None:
        return Finding("lab kernel", State.GOOD, str(found))
    return Finding("lab kernel", State.LATER, "will be built, about 4 min on 2 cores")


def _user_mode_linux() -> Finding:
    obstacle = machine.uml_obstacle()
    return Finding(
        "machine uml",
        State.NOTE if obstacle else State.GOOD,
        obstacle or "user-mode Linux runs here",
    )


def _native() -> Finding:
    lacking = native.lacking()
    detail = "; ".join(lacking) or f"Linux {platform.release()} has all features"
    return Finding("machine native", State.NOTE if lacking else State.GOOD, detail)


def _memory() -> Finding:
    available = available_memory_mib()
    state = State.GOOD if available >= MEMORY_MIB else State.BAD
    return Finding("memory", state, f"{available} MiB available, a run takes up to {MEMORY_MIB}")


def _files() -> Finding:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY or most >= OPEN_FILES:
        return Finding("open files", State.GOOD, f"enough for a lab's {OPEN_FILES}")
    detail = f"{most} allowed, a lab needs up to {OPEN_FILES}; raise the hard limit (ulimit -Hn)"
    return Finding("open files", State.BAD, detail)


def _disk() -> Finding:
    place = places.cache()
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free >> 20
    ready = environment.find() is not None and kernel.find() is not None
    enough = ready or free >= _DISK_MIB
    need = "" if ready else f", set-up takes {_DISK_MIB} for a while"
    if not os.access(place, os.W_OK):
        return Finding("cache", State.BAD, f"{place} cannot be written; set XDG_CACHE_HOME")
    return Finding(
        "cache", State.GOOD if enough else State.BAD, f"{free} MiB free in {place}{need}"
    )


def _use(what: str, usual: Clock) -> Finding:
    try:
        used, clock = machine.choose(Machine.AUTO, None, usual=usual)
    except LabError as error:
        return Finding(f"{what} would use", State.BAD, str(error))
    return Finding(f"{what} would use", State.GOOD, f"machine {used.value}, clock {clock.value}")
