"""The virtual environment: found when complete, never half there, its failures in one line."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vm import environment, places
from vm.errors import LabError
from vm.progress import Progress

SETUP = """
from setuptools import setup
setup(name="x", install_requires=["a==1", "b"], extras_require={"test": ["c"], "dev": ["d"]})
"""


def test_requirements_are_read_from_the_literals_of_setup() -> None:
    assert environment.requirements(SETUP) == ["a==1", "b", "c"]
    assert environment.requirements(SETUP, ("dev",)) == ["a==1", "b", "d"]


def test_a_setup_that_calls_nothing_is_told() -> None:
    with pytest.raises(LabError, match=r"no call of setup\(\)"):
        environment.requirements("x = 1")


def test_this_projects_requirements_are_readable_and_pinned() -> None:
    names = environment.requirements(environment.SETUP.read_text(encoding="utf-8"))
    assert "ryu==4.34" in names
    assert all("=" in name for name in names)


def test_an_environment_without_its_stamp_is_not_one(cache: Path) -> None:
    folder = environment.folder()
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    assert environment.find() is None
    (folder / "complete").touch()
    assert environment.find() == folder / "bin" / "python"


def test_other_requirements_are_another_environment(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.folder()
    other = tmp_path / "setup.py"
    other.write_text(SETUP)
    monkeypatch.setattr(environment, "SETUP", other)
    assert environment.folder() != before


@pytest.fixture
def fake_pip(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have `python -m venv` make a python that acts as this script says."""
    script = tmp_path / "pip"
    python = tmp_path / "python3"
    python.write_text(
        "#!/bin/sh\n"
        f'case "$*" in *supervisor.py*) exec {sys.executable} "$@";; esac\n'
        'for last in "$@"; do :; done\n'
        f'mkdir -p "$last/bin" && cp {script} "$last/bin/python"\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return script


def test_a_complete_environment_is_made_once(fake_pip: Path) -> None:
    fake_pip.write_text('#!/bin/sh\necho "$PIP_CONSTRAINT" > "$(dirname "$0")/../constraint"\n')
    fake_pip.chmod(0o755)
    python = environment.ensure(Progress())
    constraint = (environment.folder() / "constraint").read_text().strip()
    assert Path(constraint).read_text(encoding="utf-8") == "setuptools<67\n"
    fake_pip.unlink()
    assert environment.ensure(Progress()) == python


def test_a_failed_install_leaves_nothing_and_says_why(fake_pip: Path) -> None:
    fake_pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found for a'; exit 1\n")
    fake_pip.chmod(0o755)
    with pytest.raises(LabError, match="No matching distribution found for a"):
        environment.ensure(Progress())
    assert not environment.folder().exists()
    assert list(places.runs().glob("[!.]*")) == []


def test_what_a_killed_set_up_left_is_made_anew(fake_pip: Path) -> None:
    fake_pip.write_text("#!/bin/sh\n")
    fake_pip.chmod(0o755)
    folder = environment.folder()
    folder.mkdir(parents=True)
    (folder / "half").touch()
    environment.ensure(Progress())
    assert not (folder / "half").exists()


def test_two_set_ups_at_once_make_one_environment(fake_pip: Path) -> None:
    fake_pip.write_text(f"#!/bin/sh\necho made >> {fake_pip}.log; sleep 0.3\n")
    fake_pip.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        made = [pool.submit(environment.ensure, Progress()) for _ in range(3)]
    assert {each.result() for each in made} == {environment.find()}
    assert Path(f"{fake_pip}.log").read_text() == "made\n"


def test_no_network_is_told_in_so_many_words() -> None:
    said = "WARNING: Retrying\n  NewConnectionError('...: Failed')\nERROR: No matching distribution"
    assert "cannot be reached" in environment.reason(said)
    assert environment.reason("a\nERROR: b\nc") == "ERROR: b"
    assert environment.reason("a\nlast\n\n") == "last"
    assert environment.reason("") == "it said nothing"
