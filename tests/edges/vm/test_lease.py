"""Folders of runs: deleted at the end, and by the next command when their owner was killed."""

import subprocess
import sys
from pathlib import Path

import pytest

from vm import lease, places
from vm.errors import LabError

HOLDER = """
import sys, time
from pathlib import Path
from vm import lease
with lease.hold() as held:
    if len(sys.argv) > 1:
        held.promise(Path(sys.argv[1]), "summary.json")
    print(held.folder, flush=True)
    time.sleep(60)
"""


class Holder:
    """Another program that holds a run's folder."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=places.CHECKOUT,
        )
        assert self.process.stdout is not None
        self.folder = Path(self.process.stdout.readline().strip())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_a_folder_is_gone_when_its_run_is(cache: Path) -> None:
    with lease.hold() as held:
        assert held.folder.is_dir()
    assert list(places.runs().glob("[!.]*")) == []


def test_a_folder_is_gone_when_its_run_failed(cache: Path) -> None:
    with pytest.raises(RuntimeError), lease.hold():
        raise RuntimeError
    assert list(places.runs().glob("[!.]*")) == []


def test_the_folder_of_a_live_run_is_left_alone(cache: Path) -> None:
    holder = Holder()
    try:
        assert lease.sweep() == []
        assert holder.folder.is_dir()
    finally:
        holder.kill()


def test_the_folder_of_a_killed_run_is_removed(cache: Path) -> None:
    holder = Holder()
    holder.kill()
    assert holder.folder.is_dir()
    assert any(str(holder.folder) in line for line in lease.sweep())
    assert not holder.folder.exists()


def test_a_process_of_a_killed_run_is_ended(cache: Path) -> None:
    holder = Holder()
    orphan = subprocess.Popen(["sleep", "60"], cwd=holder.folder)
    holder.kill()
    assert lease.sweep()[0] == "1 processes of a killed run"
    assert orphan.wait(timeout=5) == -9


def test_unfinished_results_of_a_killed_run_are_removed(cache: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    Holder(str(results)).kill()
    lease.sweep()
    assert not results.exists()


def test_finished_results_of_a_killed_run_stay(cache: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "summary.json").touch()
    Holder(str(results)).kill()
    lease.sweep()
    assert results.exists()


def test_nothing_to_sweep_where_nothing_ever_ran(cache: Path) -> None:
    assert lease.sweep() == []
    assert not cache.exists()


def test_the_cache_is_not_removed_under_a_run(cache: Path) -> None:
    with lease.hold(), pytest.raises(LabError, match="a run is under way"):
        lease.remove_cache()
    lease.remove_cache()
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(LabError, match="set XDG_CACHE_HOME"), lease.hold():
        pass
