"""What is missing on the machine, and who can install it."""

import os
import subprocess
from pathlib import Path

import pytest

from vm import kernel, packages
from vm.errors import PackagesMissing
from vm.packages import Need, Package
from vm.progress import Progress

HERE = Package("here", Need.LAB, lambda: True)
GONE = Package("gone", Need.LAB, lambda: False)
BUILD = Package("build", Need.KERNEL, lambda: False)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGES", (HERE, GONE, BUILD))
    monkeypatch.setattr(kernel, "find", lambda: None)


def as_user(monkeypatch: pytest.MonkeyPatch, uid: int, *, apt: bool = True) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(packages, "find_program", lambda name: "/usr/bin/apt-get" if apt else None)


def test_only_what_is_needed_is_missed() -> None:
    assert packages.missing({Need.LAB}) == [GONE]
    assert packages.missing({Need.LAB, Need.KERNEL}) == [GONE, BUILD]
    assert packages.missing({Need.PYTHON}) == []


def test_a_built_kernel_needs_nothing_to_build_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "find", lambda: Path("/linux"))
    assert packages.missing(Need) == [GONE]


def test_an_ordinary_user_gets_the_exact_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    as_user(monkeypatch, 1000)
    with pytest.raises(PackagesMissing) as caught:
        packages.ensure({Need.LAB}, Progress())
    assert str(caught.value).splitlines()[1].strip() == (
        "sudo apt-get update && sudo env DEBIAN_FRONTEND=noninteractive "
        "apt-get install -y --no-install-recommends gone"
    )
    assert caught.value.exit_code == 3


def test_another_distribution_gets_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0, apt=False)
    with pytest.raises(PackagesMissing, match=r"\(names as in Debian 12\): gone"):
        packages.ensure({Need.LAB}, Progress())


def test_nothing_is_done_when_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGES", (HERE,))
    packages.ensure(Need, Progress())


class Apt:
    """Stands for apt-get: notes what it is asked, answers as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int = 0, said: str = "") -> None:
        self.asked: list[list[str]] = []
        self._answer = subprocess.CompletedProcess([], status, said)
        monkeypatch.setattr(subprocess, "run", self._run)

    def _run(
        self, command: list[str], *, env: dict[str, str], **_: object
    ) -> subprocess.CompletedProcess[str]:
        assert env["DEBIAN_FRONTEND"] == "noninteractive"
        self.asked.append(command)
        return self._answer


def test_root_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0)
    apt = Apt(monkeypatch)
    arrives = iter((False, True))
    late = Package("late", Need.LAB, lambda: next(arrives))
    monkeypatch.setattr(packages, "PACKAGES", (HERE, late))
    packages.ensure({Need.LAB}, Progress())
    assert apt.asked[0][-1] == "update"
    assert apt.asked[1][-2:] == ["--no-install-recommends", "late"]


def test_a_failed_installation_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0)
    Apt(monkeypatch, status=100, said="Reading\nErr:1 no such host\nE: Unable to fetch\n")
    with pytest.raises(PackagesMissing, match=r"^apt-get update failed: Err:1 .* \| E: Unable"):
        packages.ensure({Need.LAB}, Progress())


def test_an_installation_that_did_not_help_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(monkeypatch, 0)
    Apt(monkeypatch)
    with pytest.raises(PackagesMissing, match="installed, and yet not there: gone"):
        packages.ensure({Need.LAB}, Progress())
