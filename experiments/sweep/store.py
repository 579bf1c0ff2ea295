"""What is known of runs: a file for each, named by all that its result depends on."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.errors import ResultError
from experiments.resultset import load_object
from experiments.runner import PACKAGES
from vm import kernel, places
from vm.clock import Clock
from vm.machine import Machine

SCHEMA = 1


def inputs_of(machine: Machine, clock: Clock) -> dict[str, str]:
    """Return what results depend on beside their scenario: clock, kernel, and this program."""
    built = kernel.find() if machine is Machine.UML else None
    kernel_name = built.parent.name if built is not None else os.uname().release
    return {"clock": clock.value, "kernel": kernel_name, "program": _digest_of_program()}


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of finished runs."""

    folder: Path

    def make(self) -> None:
        """Make the folder, if it is not there. Raises ResultError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultError(
                f"{self.folder}: results cannot be written here ({error.strerror}); "
                f"name another folder with --results"
            ) from error

    def load(self, key: str) -> dict[str, Any] | None:
        """Return the record of a run, None if it is not finished. Raises ResultError."""
        path = self.folder / f"{key}.json"
        if not path.exists():
            return None
        try:
            record = load_object(path)
        except ResultError as error:
            raise ResultError(f"{error}; delete it to run it again") from error
        if record.get("schema") != SCHEMA:
            raise ResultError(
                f"{path}: not of schema {SCHEMA}, which this program reads; "
                f"delete it to run it again"
            )
        return record

    def save(self, key: str, record: Mapping[str, Any]) -> None:
        """Write the record of a finished run, all of it or nothing. Raises ResultError."""
        path = self.folder / f"{key}.json"
        partial = ""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            number, partial = tempfile.mkstemp(prefix=f".{key}-", dir=self.folder)
            with os.fdopen(number, "w", encoding="utf-8") as file:
                json.dump({"schema": SCHEMA, **record}, file, indent=1)
            os.replace(partial, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise ResultError(f"{path}: cannot be written ({error.strerror})") from error


def _digest_of_program() -> str:
    digest = hashlib.sha256()
    for name in (*PACKAGES, "setup.py"):
        root = places.CHECKOUT / name
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(f"{path.relative_to(places.CHECKOUT)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
