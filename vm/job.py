"""What runs in a lab, as values; and the texts that tell the lab's first process of it."""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vm.clock import Clock
from vm.errors import LabError

# What is mounted in every lab VM, over a private copy of the host's root file system. /tmp is part
# of that copy: a checkout or a results folder may lie in it.
_MOUNTS = (
    ("sys", "/sys", "sysfs", "defaults"),
    ("debug", "/sys/kernel/debug", "debugfs", "defaults"),
    ("dev", "/dev", "devtmpfs", "defaults"),
    ("devpts", "/dev/pts", "devpts", "X-mount.mkdir"),
    ("shm", "/dev/shm", "tmpfs", "X-mount.mkdir"),
    ("run", "/run", "tmpfs", "mode=755"),
)

# The same for every run, whoever starts it: no variable of the user's reaches a job.
_ENVIRONMENT = {
    "HOME": "/run/home",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONUNBUFFERED": "1",
    # What Mininet and Ryu import is half the time of a lab's start: no DNS for eventlet, and for
    # distutils not the whole of setuptools.
    "EVENTLET_NO_GREENDNS": "yes",
    "SETUPTOOLS_USE_DISTUTILS": "stdlib",
    "TERM": "dumb",
    # Not /tmp, where other users' files may be in the way.
    "TMPDIR": "/run/tmp",
    "TZ": "UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command to run as root in a lab, and what the lab must be like."""

    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    writable: tuple[Path, ...] = ()
    """Folders of the host that the job writes to; all else that it writes is gone with the lab."""
    clock: Clock = Clock.VIRTUAL
    memory_mib: int = 1536
    limit_s: float | None = None
    """Wall-clock time after which the job counts as hung."""
    interactive: bool = False
    terminal_size: tuple[int, int] | None = None
    """Columns and lines of the terminal that an interactive job has."""

    def __post_init__(self) -> None:
        for folder in self.writable:
            if not folder.is_absolute():
                raise ValueError(f"not an absolute path: {folder}")
            if any(sign in str(folder) for sign in ',\n"\\'):
                # Mount options cannot tell such a sign from their own punctuation.
                raise LabError(
                    f"{folder}: the lab cannot write to a folder whose path has a comma, a quote, "
                    f"a backslash or a line break; name another one"
                )


def script(job: Job) -> str:
    """Return the shell script that becomes the job."""
    environment = {**_ENVIRONMENT, **job.environment}
    lines = (
        "#!/bin/sh",
        # The kernel hands what it does not know of its command line to its first process.
        "unset LAB_RUN LAB_TERMINAL OLDPWD mem uml_dir",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
        'mkdir -p "$HOME" "$TMPDIR"',
        *(f"stty columns {size[0]} rows {size[1]}" for size in (job.terminal_size,) if size),
        f"cd {shlex.quote(str(job.directory))} || exit 127",
        f"exec {shlex.join(job.command)}",
    )
    return "\n".join(lines) + "\n"


def fstab(run: Path, writable: Iterable[Path]) -> str:
    """Return the table of file systems of a lab VM: fixed ones, and folders of the host."""
    rows = list(_MOUNTS)
    for folder in (run, *writable):
        name = _escaped(str(folder))
        rows.append(("none", name, "hostfs", f"{name},X-mount.mkdir"))
    return "".join(f"{' '.join(row)} 0 0\n" for row in rows)


def kernel_arguments(job: Job, *, run: Path, init: Path) -> list[str]:
    """Return the lab kernel's command line, the program itself left out.

    The job's console is the second one (tty1, on standard input and output); the kernel's own is
    the first, on standard error, so that what the job prints is nothing but what the job printed.
    """
    terminal = ["LAB_TERMINAL=--ctty"] if job.interactive else []
    return [
        f"mem={job.memory_mib}M",
        *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        f'init="{init}"',
        *("con=null", "con0=null,fd:2", "con1=fd:0,fd:1"),
        *("quiet", "noreboot", f"uml_dir={run}/uml/", "umid=lab"),
        *job.clock.kernel_arguments,
        f'LAB_RUN="{run}"',
        *terminal,
    ]


def _escaped(path: str) -> str:
    """Escape what separates fields in fstab(5)."""
    return path.replace(" ", "\\040").replace("\t", "\\011")
