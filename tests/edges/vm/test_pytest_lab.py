"""Lab tests are carried out in lab VMs and reported like any other."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vm import places
from vm.pytest_lab import spread

LAB_TESTS = """
import os, platform, pytest

def test_on_the_machine():
    assert "MOBIVPN_LAB" not in os.environ

@pytest.mark.lab
class TestInTheLab:
    def test_passes(self):
        assert "MOBIVPN_LAB" in os.environ and os.geteuid() == 0

    def test_fails(self):
        print("what it printed")
        assert platform.node() == "not this"

    @pytest.mark.skip(reason="not now")
    def test_skips(self): ...

    @pytest.mark.parametrize("value", ["a b", "[x]"])
    def test_values(self, value, tmp_path): ...

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

@pytest.mark.lab
def test_error(broken): ...
"""


def run(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests as ./lab test does, in a session of their own."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text(
        "[pytest]\nmarkers = lab: x\naddopts = --import-mode=importlib\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "vm.pytest_lab", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": f"{places.CHECKOUT}:{places.CHECKOUT / 'src'}"}
    return subprocess.run(
        [*command, "--color=no", "-rA", *arguments, str(folder / "test_it.py")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_reports_of_the_lab_are_the_sessions_own(lab_kernel: Path, tmp_path: Path) -> None:
    done = run(tmp_path, LAB_TESTS, f"--junitxml={tmp_path}/junit.xml")
    assert done.returncode == 1
    assert "1 failed, 4 passed, 1 skipped, 1 error" in done.stdout
    assert "what it printed" in done.stdout
    assert "RuntimeError: no fixture" in done.stdout
    assert 'tests="7"' in (tmp_path / "junit.xml").read_text()


def test_selection_is_pytests_own(lab_kernel: Path, tmp_path: Path) -> None:
    done = run(tmp_path, LAB_TESTS, "-k", "test_values")
    assert done.returncode == 0
    assert "2 passed, 5 deselected" in done.stdout


def test_a_session_without_lab_tests_needs_no_lab(tmp_path: Path) -> None:
    done = run(tmp_path, LAB_TESTS, "-m", "not lab", "--lab-machine=native")
    assert done.returncode == 0
    assert "1 passed, 6 deselected" in done.stdout


def test_a_test_that_ends_the_lab_fails_with_those_that_never_ran(
    lab_kernel: Path, tmp_path: Path
) -> None:
    text = (
        "import os, pytest\npytestmark = pytest.mark.lab\n"
        "def test_before(): ...\n"
        "def test_kills(): open('/proc/sysrq-trigger', 'w').write('c')\n"
        "def test_after(): ...\n"
    )
    done = run(tmp_path, text)
    assert done.returncode == 1
    assert "2 failed, 1 passed" in done.stdout
    assert "Kernel panic" in done.stdout


def test_a_hung_test_is_ended_at_the_limit(lab_kernel: Path, tmp_path: Path) -> None:
    text = "import pytest\n@pytest.mark.lab\ndef test_hangs():\n    while True: pass\n"
    done = run(tmp_path, text, "--lab-limit=15")
    assert done.returncode == 1
    assert "not done after 15 s" in done.stdout


def test_files_are_spread_whole_and_evenly() -> None:
    tests = ["a::1", "a::2", "a::3", "b::1", "b::2", "c::1"]
    groups = spread(tests, 2)
    assert sorted(map(len, groups)) == [3, 3]
    assert sorted(test for group in groups for test in group) == tests
    assert spread(tests, 9) == [["a::1", "a::2", "a::3"], ["b::1", "b::2"], ["c::1"]]


@pytest.mark.parametrize("how", [[], ["-p", "vm.pytest_lab", "-n", "1"]])
def test_without_the_plugin_or_in_many_processes_lab_tests_are_skipped(how: list[str]) -> None:
    common = ["-q", "-p", "no:cacheprovider", "tests/lab", "-rs"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *how, *common],
        cwd=places.CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "needs a lab: run ./lab test" in done.stdout
    assert pytest.ExitCode(done.returncode) is pytest.ExitCode.OK
