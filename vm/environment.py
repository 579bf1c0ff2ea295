"""The virtual environment: made once for each setup.py and set of constraints, kept in the cache.

It sees the distribution's Python packages (Debian's mininet is one). The checkout itself is not
installed in it: programs find it by PYTHONPATH, so that checkouts with the same dependencies share
one. The lab VM uses it too, at the same path.
"""

import ast
import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from vm import boot, lease, places
from vm.errors import LabError
from vm.progress import Progress

SETUP = places.CHECKOUT / "setup.py"
CONSTRAINTS = places.CHECKOUT / "constraints"
_EXTRAS = ("test",)
_STAMP = "complete"


def requirements(setup_text: str, extras: tuple[str, ...] = _EXTRAS) -> list[str]:
    """Return what the literal call of setup() in this text says to install."""
    for node in ast.walk(ast.parse(setup_text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "setup"
        ):
            given = {word.arg: word.value for word in node.keywords}
            wanted: list[str] = ast.literal_eval(given["install_requires"])
            optional: dict[str, list[str]] = ast.literal_eval(given["extras_require"])
            return [*wanted, *(name for extra in extras for name in optional[extra])]
    raise LabError(f"{SETUP}: no call of setup() in it")


def folder() -> Path:
    """Return where the environment for this checkout is, or will be."""
    inputs = (
        sys.version_info[:2],
        os.path.realpath(sys.executable),
        requirements(SETUP.read_text(encoding="utf-8")),
        *(file.read_text(encoding="utf-8") for file in sorted(CONSTRAINTS.glob("*.txt"))),
    )
    return places.cache() / f"venv-{hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]}"


def find() -> Path | None:
    """Return the environment's Python if it is complete."""
    here = folder()
    return here / "bin" / "python" if (here / _STAMP).is_file() else None


def ensure(progress: Progress) -> Path:
    """Return the environment's Python; make the environment if need be.

    One that is not complete (its maker was killed) is made anew. It stays where it is made: an
    environment's scripts name their own path.
    """
    if (python := find()) is not None:
        return python
    here = folder()
    try:
        here.parent.mkdir(parents=True, exist_ok=True)
        with _alone(here.with_name("venv.lock"), progress):
            if (python := find()) is not None:
                return python
            shutil.rmtree(here, ignore_errors=True)
            try:
                _make(here, progress)
            except BaseException:
                shutil.rmtree(here, ignore_errors=True)
                raise
    except OSError as error:
        raise LabError(f"cannot make the virtual environment {here}: {error.strerror}") from error
    progress.end()
    return here / "bin" / "python"


def variables() -> dict[str, str]:
    """Return the variables by which programs of the checkout find its packages."""
    return {"PYTHONPATH": f"{places.CHECKOUT}:{places.CHECKOUT / 'src'}"}


def _make(here: Path, progress: Progress) -> None:
    with lease.hold() as held:
        progress("make the virtual environment")
        command = [sys.executable, "-m", "venv", "--system-site-packages", str(here)]
        _do(command, "make it", held)
        progress("install Python packages")
        command = [
            *(str(here / "bin" / "python"), "-m", "pip", "install", "--no-input", "--no-color"),
            *("--disable-pip-version-check", "--retries=2"),
            *requirements(SETUP.read_text(encoding="utf-8")),
        ]
        _do(command, "install the Python packages", held)
    (here / _STAMP).touch()


def _do(command: list[str], what: str, held: lease.Lease) -> None:
    said: list[bytes] = []
    # By the variable, constraints reach the isolated builds too: Ryu's needs an old setuptools.
    variables = {**os.environ, "PIP_CONSTRAINT": str(CONSTRAINTS / "ryu-build.txt")}
    variables.pop("PYTHONPATH", None)
    if boot.supervise(command, said.append, held=held, environment=variables):
        output = b"".join(said).decode(errors="replace")
        raise LabError(f"the virtual environment: cannot {what}: {reason(output)}")


def reason(said: str) -> str:
    """Return the line that tells most of what pip or venv said."""
    network = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if any(sign in said for sign in network):
        return "the package index cannot be reached; connect this machine to the network once"
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1]


@contextlib.contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    with open(lock, "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("wait for another set-up of the virtual environment")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
