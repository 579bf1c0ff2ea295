"""The lab kernel: user-mode Linux, built once from its source and kept in the cache.

A kernel is known by what went into it: the options (kernel.config), the compiler (kernel-cc.sh and
kernel-headers.h), the recipe below and the source archive. When the archive has gone (it is only
needed to build), the newest kernel of the same options, compiler and recipe is good.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from vm import boot, lease, places
from vm.errors import LabError

OPTIONS = Path(__file__).resolve().parent / "kernel.config"
_COMPILER = OPTIONS.with_name("kernel-cc.sh")
_HEADERS = OPTIONS.with_name("kernel-headers.h")
_DEBIAN_SOURCE = Path("/usr/src/linux-source-6.12.tar.xz")
_SOURCE_VARIABLE = "MOBIVPN_KERNEL_SOURCE"

# Raise by one when the recipe below changes the kernel that comes out.
_RECIPE = 3
# How many files are compiled: for the progress shown, nothing depends on it.
_OBJECTS = 756
_SPACE_MIB = 1400

# What no user-mode kernel is built of, most of the archive. Kconfig files stay: they are read.
_LEFT_OUT = (
    "*.dts", "*.dtsi", "*.rst", "*/Documentation/*.txt", "*/Documentation/*.yaml",
    "*/tools/perf/*", "*/tools/testing/*", "*/sound/*.[ch]", "*/fs/*fs/*.txt",
    *(f"*/arch/{name}*/*.[chS]" for name in ("a", "c", "h", "l", "m", "n", "o", "p", "r", "s")),
    *(
        f"*/drivers/{name}/*.[ch]"
        for name in ("accel", "gpu", "iio", "infiniband", "media", "net/ethernet", "net/wireless",
                     "scsi", "staging", "usb", "video")
    ),
)  # fmt: skip

Progress = Callable[[str, int, int], None]
"""Called with the step's name, how much of it is done, and of how much (0: not known)."""


def source() -> Path:
    """Return the archive of the kernel's source, which may not be there."""
    return Path(os.environ.get(_SOURCE_VARIABLE) or _DEBIAN_SOURCE)


def find() -> Path | None:
    """Return the lab kernel if it has been built."""
    archive, kernels = source(), places.cache() / "kernels"
    if archive.is_file():
        exact = kernels / _name(archive) / "linux"
        return exact if exact.is_file() else None
    built = kernels.glob(f"{_options_hash()}-*/linux")
    return max(built, key=lambda path: path.stat().st_mtime_ns, default=None)


def ensure(progress: Progress) -> Path:
    """Return the lab kernel; build it if need be, or wait for whoever is building it."""
    if (kernel := find()) is not None:
        return kernel
    kernels = places.cache() / "kernels"
    try:
        kernels.mkdir(parents=True, exist_ok=True)
        with _alone(kernels / ".lock", progress):
            return find() or _build(kernels, progress)
    except OSError as error:
        raise LabError(f"cannot build the lab kernel in {kernels}: {error.strerror}") from error


def missing(options: str, configuration: str) -> list[str]:
    """Return the options (lines of a fragment) that the final configuration does not have."""
    stands = set(configuration.splitlines())
    lacking = []
    for line in options.splitlines():
        name, _, value = line.partition("=")
        if not name.startswith("CONFIG_"):
            continue
        if value == "n":
            if any(other.startswith(f"{name}=") for other in stands):
                lacking.append(line)
        elif line not in stands:
            lacking.append(line)
    return lacking


def _build(kernels: Path, progress: Progress) -> Path:
    archive = source()
    if not archive.is_file():
        raise LabError(
            f"{archive}: the kernel's source is not there; ./lab doctor says how to install it"
        )
    if shutil.disk_usage(kernels).free < _SPACE_MIB << 20:
        raise LabError(f"no space: building the lab kernel needs {_SPACE_MIB} MiB in {kernels}")
    with lease.hold() as held:
        tree = held.folder / "linux"
        tree.mkdir()
        progress("unpack the kernel's source", 0, 0)
        _unpack(archive, tree, held)
        progress("configure the lab kernel", 0, 0)
        _configure(tree, held)
        _compile(tree, held, progress)
        kernel = kernels / _name(archive) / "linux"
        kernel.parent.mkdir(exist_ok=True)
        partial = kernel.with_suffix(".partial")
        shutil.copy2(tree / "linux", partial)
        shutil.copy2(tree / ".config", kernel.with_name("config"))
        os.replace(partial, kernel)
        return kernel


def _unpack(archive: Path, tree: Path, held: lease.Lease) -> None:
    patterns = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    command = ["tar", "--extract", "--strip-components=1", f"--file={archive}", *patterns]
    _do(command, tree, held, what=f"unpack {archive}")


def _configure(tree: Path, held: lease.Lease) -> None:
    options = OPTIONS.read_text(encoding="utf-8")
    (tree / "lab.config").write_text(options, encoding="utf-8")
    command = ["make", "ARCH=um", "KCONFIG_ALLCONFIG=lab.config", "allnoconfig"]
    _do(command, tree, held, what="configure")
    configuration = (tree / ".config").read_text(encoding="utf-8")
    if lacking := missing(options, configuration):
        raise LabError(
            f"{OPTIONS}: this kernel source cannot have {', '.join(lacking)}; "
            f"use another source, or change the options that this one no longer has"
        )


def _compile(tree: Path, held: lease.Lease, progress: Progress) -> None:
    done = 0

    def count(line: str) -> None:
        nonlocal done
        if line.startswith("  CC "):
            done += 1
            progress("compile the lab kernel", min(done, _OBJECTS), _OBJECTS)

    shutil.copy(_COMPILER, tree / "lab-cc")
    shutil.copy(_HEADERS, tree / "lab-headers.h")
    # -O1 compiles a sixth faster than -O2 or -Os, and the lab is no slower for it.
    make = ["make", "ARCH=um", "CC=./lab-cc", "KCFLAGS=-O1"]
    # One more than there are processors: somebody is always waiting for the disk.
    jobs = f"-j{len(os.sched_getaffinity(0)) + 1}"
    # The first file alone: with it the headers are precompiled.
    for targets in (["kernel/utsname.o"], [jobs, "linux"]):
        _do([*make, *targets], tree, held, what="compile", each_line=count)


def _do(
    command: list[str],
    tree: Path,
    held: lease.Lease,
    *,
    what: str,
    each_line: Callable[[str], None] = lambda line: None,
) -> None:
    """Run one step of the build; say how it failed."""
    said: deque[str] = deque(maxlen=400)
    rest = b""

    def take(data: bytes) -> None:
        nonlocal rest
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            said.append(line.decode(errors="replace"))
            each_line(said[-1])

    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "XZ_DEFAULTS": "--threads=0",
        "KBUILD_BUILD_USER": "mobivpn",
        "KBUILD_BUILD_HOST": "lab",
        "KBUILD_BUILD_TIMESTAMP": "2026-01-01",
    }
    status = boot.supervise(command, take, held=held, environment=environment, directory=tree)
    if status:
        telling = [line for line in said if "rror" in line or "***" in line] or list(said)
        raise LabError(
            f"building the lab kernel failed (to {what}, status {status}): "
            + " | ".join(telling[:3])
        )


@contextlib.contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Wait until nobody else builds a kernel in this cache."""
    with open(lock, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("wait for another build of the lab kernel", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _name(archive: Path) -> str:
    state = archive.stat()
    identity = f"{archive.name} {state.st_size} {state.st_mtime_ns}"
    return f"{_options_hash()}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _options_hash() -> str:
    content = [path.read_bytes() for path in (OPTIONS, _COMPILER, _HEADERS)]
    return hashlib.sha256(b"\n".join([b"%d" % _RECIPE, *content])).hexdigest()[:16]


def release(kernel: Path) -> str:
    """Return the kernel's release, such as 6.12.57."""
    try:
        said = subprocess.run(
            [kernel, "--version"], capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(f"{kernel}: this machine cannot run the lab kernel: {error}") from error
    return said.stdout.strip()
