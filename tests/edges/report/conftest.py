"""One measured walk for all tests of the report; a test that changes files gets a copy."""

import shutil
from pathlib import Path

import pytest

from experiments.report.record import Record, load
from tests.support.sample_results import write_sample

UNREAD = shutil.ignore_patterns("captures", "keys", "plots", "report.html")
"""What the report does not read."""


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a walk that passed; not to be changed."""
    return write_sample(tmp_path_factory.mktemp("results") / "2026-01-01-000000-walk")


@pytest.fixture(scope="session")
def record(measured: Path) -> Record:
    """Return what the report reads of it."""
    return load(measured)


@pytest.fixture
def folder(measured: Path, tmp_path: Path) -> Path:
    """Return a copy to change."""
    copy = tmp_path / "2026-01-01-000000-walk"
    shutil.copytree(measured, copy, ignore=UNREAD)
    return copy


@pytest.fixture
def plain(folder: Path) -> Path:
    """Return a copy of which little can be drawn, so that its page is written fast."""
    for name in ("moves", "probes", "phases"):
        (folder / f"{name}.csv").unlink()
    return folder
