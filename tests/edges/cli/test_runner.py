"""A run's folder: made, filled by the lab, evaluated; deleted when the run is broken off."""

import errno
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from experiments import runner
from experiments.runner import Options
from vm import kernel, machine
from vm.clock import Clock
from vm.errors import LabCrashed, LabError, Terminated
from vm.job import Job
from vm.machine import Machine

NOW = datetime(2026, 11, 23, 15, 4, 5)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Job, Any], int]], None]:
    """Return what has a function stand for the lab."""

    def stand_in(carry_out: Callable[[Job, Any], int]) -> None:
        def run(job: Job, used: Machine, console: Any, **_: object) -> int:
            assert used is Machine.UML
            return carry_out(job, console)

        monkeypatch.setattr(machine, "run", run)

    monkeypatch.setattr(machine, "uml_obstacle", lambda: None)
    monkeypatch.setattr(kernel, "ensure", lambda progress: Path("/linux"))
    monkeypatch.setattr(runner, "precompile", lambda: None)
    monkeypatch.setattr(runner, "_evaluate", lambda folder, watch, *, page: {"analysis": 1.0})
    return stand_in


def spec_of(job: Job) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(Path(job.command[-1]).read_text())
    return spec


def account(job: Job, console: Any) -> int:
    """Do what the lab does when all goes well."""
    Path(spec_of(job)["results"], "run.json").write_text('{"schema": 1}')
    console(b"one\ntw")
    console(b"o\n")
    return 0


def test_a_folder_is_named_by_time_and_scenario(tmp_path: Path) -> None:
    folder = runner.create_folder(tmp_path / "new", "walk", NOW)
    assert folder == tmp_path / "new" / "2026-11-23-150405-walk"


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [runner.create_folder(tmp_path, "walk", NOW).name for _ in range(3)]
    assert names == [f"2026-11-23-150405-walk{end}" for end in ("", "-2", "-3")]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match="results cannot be written here"):
        runner.create_folder(tmp_path / "file", "walk", NOW)


def test_the_lab_is_told_all_that_it_must_know(lab: Any, tmp_path: Path) -> None:
    specs: list[dict[str, Any]] = []
    jobs: list[Job] = []

    def carry_out(job: Job, console: Any) -> int:
        specs.append(spec_of(job))
        jobs.append(job)
        return account(job, console)

    lab(carry_out)
    options = Options(results=tmp_path, seed=7, agent_delay_ms=50, limit_s=33, memory_mib=700)
    folder = runner.run("walk", options)
    (spec,), (job,) = specs, jobs
    assert spec["results"] == str(folder)
    assert (spec["clock"], spec["machine"], spec["interactive"]) == ("virtual", "uml", False)
    assert (spec["scenario"]["seed"], spec["scenario"]["agent_delay_ms"]) == (7, 50)
    assert (job.clock, job.limit_s, job.memory_mib) == (Clock.VIRTUAL, 33, 700)
    assert job.writable == (folder,)


def test_what_only_the_host_knows_is_added_to_the_account(lab: Any, tmp_path: Path) -> None:
    lab(account)
    lines: list[str] = []
    folder = runner.run("walk", Options(results=tmp_path), runner.Watch(line=lines.append))
    account_of_run = json.loads((folder / "run.json").read_text())
    assert account_of_run["wall_seconds"] >= 0
    assert set(account_of_run["wall_by_part"]) == {"lab", "analysis"}
    assert lines == ["one", "two"]
    assert (folder / "console.log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(15), LabError("no kernel")])
def test_a_run_that_is_broken_off_leaves_no_folder(
    lab: Any, tmp_path: Path, error: BaseException
) -> None:
    def carry_out(job: Job, console: Any) -> int:
        raise error

    lab(carry_out)
    with pytest.raises(type(error)):
        runner.run("walk", Options(results=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_no_folder(lab: Any, tmp_path: Path) -> None:
    def carry_out(job: Job, console: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "file"))

    lab(carry_out)
    with pytest.raises(LabError, match="file: No space left on device; nothing is kept"):
        runner.run("walk", Options(results=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_lab_leaves_what_it_said(lab: Any, tmp_path: Path) -> None:
    def carry_out(job: Job, console: Any) -> int:
        console(b"what went wrong\n")
        return 1

    lab(carry_out)
    with pytest.raises(LabCrashed, match="not carried through") as caught:
        runner.run("walk", Options(results=tmp_path))
    assert "what went wrong" in caught.value.console
    assert [path.name for path in next(tmp_path.iterdir()).iterdir()]


def test_a_lab_without_an_account_has_failed(lab: Any, tmp_path: Path) -> None:
    lab(lambda job, console: 0)
    with pytest.raises(LabCrashed, match="the lab left no account of the run"):
        runner.run("walk", Options(results=tmp_path))


def test_a_shell_is_interactive_on_the_wall_clock_and_leaves_nothing(
    lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def carry_out(job: Job, console: Any) -> int:
        assert spec_of(job)["interactive"]
        assert (job.interactive, job.clock, job.limit_s) == (True, Clock.WALL, None)
        return 4

    lab(carry_out)
    assert runner.shell("walk", Options()) == 4
    assert list((tmp_path / "mobivpn" / "shells").iterdir()) == []
