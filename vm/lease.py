"""The folder of a run under way, which tells by a lock whether its owner still lives.

The owner (and its supervisor, who inherits the descriptor) holds a lock on the file `lease`. The
kernel drops the lock when they are gone, however they went; whoever then comes by ends what
processes are left and deletes the folder, with what it had promised to delete.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vm import places
from vm.errors import LabError

_LEASE = "lease"
_PARTIAL = "partial"


@dataclass(frozen=True, slots=True)
class Lease:
    """A run's folder while it is held."""

    folder: Path
    descriptor: int

    def promise(self, partial: Path, unless: str) -> None:
        """Have the folder `partial` deleted should this run die before `partial/unless` exists."""
        text = f"{partial}\n{unless}\n"
        (self.folder / _PARTIAL).write_text(text, encoding="utf-8", errors="surrogateescape")


@contextlib.contextmanager
def hold() -> Iterator[Lease]:
    """Make a run's folder, hold it, and delete it at the end."""
    runs = places.runs()
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with _guard(runs):
            folder = Path(tempfile.mkdtemp(prefix="", dir=runs))
            descriptor = os.open(folder / _LEASE, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise LabError(
            f"cannot make a folder for the run in {runs}: {error.strerror}; "
            f"free some space, or set XDG_CACHE_HOME to a folder that you can write"
        ) from error
    try:
        yield Lease(folder, descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep() -> list[str]:
    """Remove what runs left behind that were killed; return what was removed, a line each."""
    runs = places.runs()
    if not runs.is_dir():
        return []
    removed: list[str] = []
    # Read-only for this user: then nothing in it can be this user's, or be swept.
    with contextlib.suppress(PermissionError), _guard(runs):
        for folder in sorted(runs.iterdir()):
            if folder.is_dir() and not _held(folder):
                removed += _remove(folder)
    return removed


def _remove(folder: Path) -> list[str]:
    ended = end_processes_of(folder)
    removed = [f"{ended} processes of a killed run"] if ended else []
    with contextlib.suppress(OSError, ValueError):
        partial, unless = (
            (folder / _PARTIAL).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        )
        if Path(partial).is_dir() and not (Path(partial) / unless).exists():
            shutil.rmtree(partial)
            removed.append(f"{partial} (a killed run's unfinished results)")
    shutil.rmtree(folder, ignore_errors=True)
    return [*removed, f"{folder} (a killed run's folder)"]


def end_processes_of(folder: Path) -> int:
    """Kill each of this user's processes that works in the folder, or names it; count them."""
    ended = 0
    deadline = time.monotonic() + 10
    while victims := [pid for pid in _processes() if _belongs(pid, folder)]:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended = max(ended, len(victims))
        if time.monotonic() > deadline:
            break
        # A killed process takes a moment to go; nothing tells who is not its parent.
        time.sleep(0.01)
    return ended


def _processes() -> list[int]:
    me = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != me]


def _belongs(pid: int, folder: Path) -> bool:
    """Tell whether a process has the folder on its command line, or as its working directory."""
    with contextlib.suppress(OSError):
        if os.fsencode(folder) + b"/" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return True
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder)
    return False


def _held(folder: Path) -> bool:
    """Tell whether a live process holds the folder."""
    try:
        descriptor = os.open(folder / _LEASE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return True
        raise
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def _guard(runs: Path) -> Iterator[None]:
    """Keep others out between the making of a folder and its lock."""
    descriptor = os.open(runs / ".guard", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_cache() -> list[str]:
    """Delete all that set-up made, unless a run is under way; return what was removed."""
    runs = places.runs()
    if runs.is_dir() and any(path.is_dir() for path in runs.iterdir()):
        raise LabError(f"a run is under way ({runs}): end it, then clean the cache")
    removed = []
    for path in sorted(places.cache().glob("*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        removed.append(str(path))
    return removed
