"""What the lab's first process is told."""

import subprocess
from pathlib import Path

import pytest

from vm.clock import VIRTUAL_START_NS, Clock
from vm.errors import LabError
from vm.job import Job, fstab, kernel_arguments, script


def job(*command: str, **more: object) -> Job:
    return Job(command=command, directory=Path("/"), **more)  # type: ignore[arg-type]


def home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}


def test_a_job_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    hard = ["a b", "it's", '"x"', "$HOME", "*", "", "new\nline", "\\"]
    text = script(job("printf", "[%s]", *hard, environment=home(tmp_path)))
    said = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert said.stdout == "".join(f"[{argument}]" for argument in hard)


def test_a_job_gets_no_variable_of_the_users(tmp_path: Path) -> None:
    text = script(job("env", environment={**home(tmp_path), "NAME": "a 'value'"}))
    said = subprocess.run(
        ["sh", "-c", text], capture_output=True, text=True, check=True, env={"LAB_RUN": "/x"}
    )
    names = {line.partition("=")[0] for line in said.stdout.splitlines()}
    assert "NAME=a 'value'" in said.stdout
    assert "PYTHONHASHSEED=0" in said.stdout
    assert "LAB_RUN" not in names


def test_a_job_whose_directory_is_not_there_fails(tmp_path: Path) -> None:
    nowhere = Job(command=("true",), directory=tmp_path / "no", environment=home(tmp_path))
    done = subprocess.run(["sh", "-c", script(nowhere)], capture_output=True, check=False)
    assert done.returncode == 127


def test_folders_of_the_host_are_mounted_at_their_own_path() -> None:
    table = fstab(Path("/run/1"), [Path("/home/me/my results")])
    assert "none /run/1 hostfs /run/1,X-mount.mkdir 0 0\n" in table
    assert (
        "none /home/me/my\\040results hostfs /home/me/my\\040results,X-mount.mkdir 0 0\n" in table
    )


@pytest.mark.parametrize("sign", [",", '"', "\\", "\n"])
def test_a_folder_that_mount_options_cannot_name_is_refused(sign: str) -> None:
    with pytest.raises(LabError, match="name another one"):
        job("true", writable=(Path(f"/a{sign}b"),))


def test_a_folder_must_be_absolute() -> None:
    with pytest.raises(ValueError, match="absolute"):
        job("true", writable=(Path("results"),))


def test_virtual_time_starts_at_the_same_moment_in_every_run() -> None:
    assert f"time-travel-start={VIRTUAL_START_NS}" in Clock.VIRTUAL.kernel_arguments
    assert "time-travel=inf-cpu" in Clock.VIRTUAL.kernel_arguments
    assert "time-travel" in Clock.CPU.kernel_arguments
    assert Clock.WALL.kernel_arguments == ()


def test_only_an_interactive_job_gets_the_terminal() -> None:
    places = {"run": Path("/r"), "init": Path("/i")}
    assert "LAB_TERMINAL=--ctty" in kernel_arguments(job("sh", interactive=True), **places)
    assert "LAB_TERMINAL=--ctty" not in kernel_arguments(job("sh"), **places)
