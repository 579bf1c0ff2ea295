"""Which machine and clock a run gets, and what the doctor says of it."""

from io import StringIO
from pathlib import Path

import pytest

from vm import capacity, doctor, machine, native, packages
from vm.clock import Clock
from vm.doctor import State
from vm.errors import LabError
from vm.machine import Machine
from vm.progress import Progress

ALL_BUILT_IN = dict.fromkeys((option for _, option, _ in native.FEATURES), "y")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Return what changes this machine; to begin with, all is possible."""
    monkeypatch.setattr(machine, "uml_obstacle", lambda: None)
    monkeypatch.setattr(native, "lacking", list)
    return monkeypatch


def choose(asked: Machine, clock: Clock | None = None) -> tuple[Machine, Clock]:
    return machine.choose(asked, clock, usual=Clock.VIRTUAL)


def test_auto_prefers_the_lab_vm(here: pytest.MonkeyPatch) -> None:
    assert choose(Machine.AUTO) == (Machine.UML, Clock.VIRTUAL)
    assert choose(Machine.AUTO, Clock.CPU) == (Machine.UML, Clock.CPU)


def test_auto_is_native_where_no_lab_vm_can_run(here: pytest.MonkeyPatch) -> None:
    here.setattr(machine, "uml_obstacle", lambda: "no ptrace")
    assert choose(Machine.AUTO) == (Machine.NATIVE, Clock.WALL)
    with pytest.raises(LabError, match="no ptrace"):
        choose(Machine.UML)


def test_native_runs_on_the_wall_clock_only(here: pytest.MonkeyPatch) -> None:
    assert choose(Machine.NATIVE, Clock.WALL) == (Machine.NATIVE, Clock.WALL)
    with pytest.raises(LabError, match="--clock virtual needs a lab VM"):
        choose(Machine.NATIVE, Clock.VIRTUAL)


def test_what_native_lacks_is_named(here: pytest.MonkeyPatch) -> None:
    here.setattr(native, "lacking", lambda: ["the kernel lacks Mobile IPv6"])
    with pytest.raises(LabError, match="will not do: the kernel lacks Mobile IPv6"):
        choose(Machine.NATIVE)


def test_where_nothing_can_run_both_reasons_are_named(here: pytest.MonkeyPatch) -> None:
    here.setattr(machine, "uml_obstacle", lambda: "no ptrace")
    here.setattr(native, "lacking", lambda: ["no ESP"])
    with pytest.raises(LabError, match=r"no ptrace.*no ESP"):
        choose(Machine.AUTO)


def test_user_mode_linux_needs_its_processor_and_ptrace(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scope = tmp_path / "ptrace_scope"
    monkeypatch.setattr(machine, "_PTRACE_SCOPE", scope)
    assert machine.uml_obstacle() is None
    scope.write_text("3\n")
    assert "no process may trace another" in str(machine.uml_obstacle())
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert "this is aarch64" in str(machine.uml_obstacle())


def test_a_feature_counts_when_built_in_or_loadable() -> None:
    assert native.absent_features(ALL_BUILT_IN, lambda module: False) == []
    modules = dict.fromkeys(ALL_BUILT_IN, "m")
    assert native.absent_features(modules, lambda module: module != "mip6") == ["Mobile IPv6"]
    assert len(native.absent_features({}, lambda module: True)) == len(native.FEATURES)


def test_a_kernel_configuration_is_read_as_written() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=m\nCONFIG_D="x=y"\n'
    assert native.parsed(text) == {"CONFIG_B": "y", "CONFIG_C": "m", "CONFIG_D": '"x=y"'}


def test_an_ordinary_user_cannot_run_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(native, "configuration_of_the_present_kernel", lambda: ALL_BUILT_IN)
    assert native.lacking() == ["root rights are needed"]
    monkeypatch.setattr(native, "configuration_of_the_present_kernel", lambda: None)
    assert "the kernel's configuration cannot be read" in native.lacking()


def test_a_machine_that_sets_up_by_itself_is_healthy(
    here: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here.setenv("XDG_CACHE_HOME", str(tmp_path))
    here.setattr(packages, "missing", lambda needs: [])
    said: list[str] = []
    assert doctor.main(said.append) == 0
    text = "\n".join(said)
    assert "lab kernel                 at first run" in text
    assert "run, test would use        ok            machine uml, clock virtual" in text
    assert "shell would use            ok            machine uml, clock wall" in text
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_come_with_the_line_that_installs_them(here: pytest.MonkeyPatch) -> None:
    gone = packages.Package("gone", packages.Need.LAB, lambda: False)
    here.setattr(packages, "PACKAGES", (gone,))
    here.setattr(doctor.os, "geteuid", lambda: 1000)
    examination = doctor.examine()
    assert not examination.healthy
    assert examination.remedy is not None
    assert examination.remedy.endswith("gone")
    assert [f.detail for f in examination.findings if f.state is State.BAD] == ["gone"]


def test_available_memory_is_read_in_mebibytes() -> None:
    assert capacity.available_memory_mib("MemFree: 1 kB\nMemAvailable:  2097152 kB\n") == 2048
    assert capacity.available_memory_mib("") == 0


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_on_a_file_is_a_line_a_step() -> None:
    stream = StringIO()
    progress = Progress(stream)
    progress("one", 0, 0)
    for done in range(101):
        progress("two", done, 100)
    progress.end()
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["one ...", "two ...", "  10 %"]
    assert lines[-1] == "  100 %"


def test_progress_on_a_terminal_is_one_line_kept_up_to_date() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress("one", 0, 100)
    progress("two", 0, 0)
    progress.end()
    assert stream.getvalue().count("\n") == 2
    assert "\r\x1b[Kone: done in 0 s\n" in stream.getvalue()
    progress("three", 0, 0)
    progress.abandon()
    assert stream.getvalue().endswith("three ... (0 s)\n")
