"""The command line: bad input is one line and exit code 2; nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments import cli, runner
from vm import __main__ as usage
from vm import bootstrap, doctor, environment, packages, places
from vm.clock import Clock
from vm.doctor import Examination, Finding, State
from vm.errors import LabCrashed, LimitReached, PackagesMissing, Terminated
from vm.machine import Machine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "missing", lambda needs: [])


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nsummary = "x"\nduration_s = 9\n'
        '[[move]]\nat_s = 1\nnode = "mn1"\nto = "wifi1"\n'
    )
    return path


BAD = [
    (
        ["bogus"],
        "there are: run, verify, sweep, python, report, shell, test, list, doctor, clean",
    ),
    (["run"], "Missing argument 'NAME|SCENARIO.toml'"),
    (
        ["run", "nosuch"],
        "no experiment is called 'nosuch'; there are: ",
    ),
    (["run", "no/such.toml"], "no/such.toml: No such file or directory"),
    (["run", "walk", "--seeed", "1"], "No such option '--seeed'. Did you mean '--seed'?"),
    (["run", "walk", "--clock", "sun"], "'sun' is not one of 'virtual', 'cpu', 'wall'"),
    (["run", "walk", "--machine", "xen"], "'xen' is not one of 'uml', 'native', 'auto'"),
    (["run", "walk", "--seed", "-1"], "-1 is not in the range"),
    (["run", "walk", "--agent-delay", "soon"], "'soon' is not a valid float"),
    (["run", "walk", "--results", "/proc/none"], "/proc/none: results cannot be written here"),
    (["shell", "walk"], "a prompt needs a terminal"),
    (["python"], "Missing argument 'FILE"),
    (["python", "no/such.py"], "no/such.py: no such file; name a Python program"),
]


@pytest.mark.parametrize(("arguments", "expected"), BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lab: ")
    assert expected in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ('node = "mn9"', "node"),
        ('to = "mars"', "to"),
        ('to = "lan"', "mn1 is on lan already"),
        ("at_s = -1", "at_s"),
        ("speed = 3", "allowed here"),
        ("= 3", "line 5"),
    ],
)
def test_a_wrong_scenario_names_its_file_and_what_is_wrong(
    scenario: Path, wrong: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = wrong.partition(" ")[0]
    lines = scenario.read_text().splitlines()
    kept = [line for line in lines if not (key != "=" and line.startswith(f"{key} "))]
    kept.insert(4, wrong)
    scenario.write_text("\n".join(kept))
    assert cli.main(["run", str(scenario)]) == 2
    err = capsys.readouterr().err
    assert str(scenario) in err
    assert expected in err
    assert err.count("\n") == 1


def test_bad_input_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results"
    cli.main(["run", "walk", "--results", str(results), "--machine", "native", "--clock", "cpu"])
    assert not results.exists()


class Runner:
    """Stands for experiments.runner: notes what it is asked, answers as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.asked: list[runner.Options] = []
        self._answer = answer
        monkeypatch.setattr(runner, "run", self._run)

    def _run(self, scenario: str, options: runner.Options, watch: runner.Watch) -> Path:
        self.asked.append(options)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return Path(self._answer)


ENDS = [
    (LimitReached("not done after 5 s", "its last words"), 1, "its last words\nlab: not done"),
    (LabCrashed("the lab VM ended", "Kernel panic"), 1, "Kernel panic\nlab: the lab VM ended"),
    (PackagesMissing("missing on this machine: gone"), 3, "lab: missing on this machine: gone"),
    (Terminated(15), 143, "lab: ended by signal 15"),
    (KeyboardInterrupt(), 130, "lab: interrupted"),
]


@pytest.mark.parametrize(("error", "code", "expected"), ENDS)
def test_every_end_has_its_exit_code_and_no_traceback(
    error: BaseException,
    code: int,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Runner(monkeypatch, error)
    assert cli.main(["run", "walk"]) == code
    err = capsys.readouterr().err
    assert expected in err
    assert "Traceback" not in err


def test_options_reach_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = Runner(monkeypatch, KeyboardInterrupt())
    cli.main(
        [
            *("run", "walk", "--clock", "cpu", "--machine", "uml", "--seed", "7"),
            *("--agent-delay", "50", "--results", str(tmp_path), "--limit", "9", "--memory", "600"),
        ]
    )
    assert stand_in.asked == [
        runner.Options(
            machine=Machine.UML,
            clock=Clock.CPU,
            seed=7,
            agent_delay_ms=50,
            results=tmp_path,
            limit_s=9,
            memory_mib=600,
        )
    ]


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in cli.lab.commands:
        assert cli.main([name, "--help"]) == 0
        assert f"Usage: ./lab {name}" in capsys.readouterr().out


def test_the_usage_before_set_up_names_every_command() -> None:
    text = str(usage.__doc__)
    for name, command in cli.lab.commands.items():
        assert f"  {name:<8}{command.help}" in text


def test_the_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list"]) == 0
    assert "walk" in capsys.readouterr().out


@pytest.mark.parametrize(("state", "code"), [(State.GOOD, 0), (State.BAD, 1)])
def test_the_doctors_exit_code_tells_health(
    state: State, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Examination((Finding("a thing", state, "its detail"),), "apt-get install it")
    monkeypatch.setattr(doctor, "examine", lambda: found)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == code
    out = capsys.readouterr().out
    assert "its detail" in out
    assert "\n  apt-get install it\n" in out


def test_clean_removes_the_cache_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"
    kept = places.cache() / "kernels" / "x"
    kept.mkdir(parents=True)
    assert cli.main(["clean", "--cache"]) == 0
    assert not kept.exists()


class TestBeforeSetUp:
    """What the bootstrap does while there is no virtual environment."""

    @pytest.fixture(autouse=True)
    def no_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(environment, "find", lambda: None)

    @pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"]])
    def test_help_sets_nothing_up(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert bootstrap.main(arguments, "Usage: here") == 0
        assert capsys.readouterr().out == "Usage: here\n"

    def test_doctor_sets_nothing_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        bootstrap.main(["doctor"], "")
        assert "virtual environment        at first run" in capsys.readouterr().out
        assert not places.cache().exists()

    def test_clean_sets_nothing_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert bootstrap.main(["clean"], "") == 0
        assert capsys.readouterr().out == "nothing to remove\n"

    def test_an_unknown_command_sets_nothing_up(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert bootstrap.main(["bogus"], "") == 2
        assert "no command is called 'bogus'" in capsys.readouterr().err

    def test_missing_packages_end_it_with_exit_code_3(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def missing(needs: object, progress: object) -> None:
            raise PackagesMissing("missing on this machine: gone")

        monkeypatch.setattr(bootstrap, "ensure_packages", missing)
        assert bootstrap.main(["run", "walk"], "") == 3
        assert capsys.readouterr().err == "lab: missing on this machine: gone\n"


def test_the_script_finds_its_checkout_from_anywhere(tmp_path: Path) -> None:
    link = tmp_path / "my lab"
    link.symlink_to(places.CHECKOUT / "lab")
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "__main__.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(
        [link, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "./lab COMMAND" in done.stdout


def test_a_reader_who_has_enough_is_no_error() -> None:
    script = "from experiments import cli; import sys; sys.exit(cli.main(['run', '--help']))"
    command = f'{sys.executable} -c "{script}" 2>&1 | true'
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, **environment.variables()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_a_program_of_the_users_has_its_arguments_and_its_neighbours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["lab"])
    (tmp_path / "beside_mine.py").write_text("word = 'neighbour'")
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import sys\nfrom beside_mine import word\nif __name__ == '__main__':\n"
        "    print(sys.argv[1:], word)\n"
    )
    assert cli.main(["python", str(mine), "--seed", "3", "-h"]) == 0
    assert capsys.readouterr().out == "['--seed', '3', '-h'] neighbour\n"


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        ("experiments.lab.Refused('it has not ended')", 1, "lab: it has not ended\n"),
        ("experiments.lab.LabError('no kernel')", 2, "lab: no kernel\n"),
        ("experiments.lab.ScenarioError('move: mn1')", 2, "lab: move: mn1\n"),
        ("KeyboardInterrupt", 130, "\nlab: interrupted\n"),
    ],
)
def test_what_the_lab_has_to_say_to_a_program_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    raised: str,
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["lab"])
    mine = tmp_path / "mine.py"
    mine.write_text(f"import experiments.lab\nraise {raised}\n")
    assert cli.main(["python", str(mine)]) == code
    assert capsys.readouterr().err == told


def test_a_programs_own_error_is_traced_from_its_first_line_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["lab"])
    mine = tmp_path / "mine.py"
    mine.write_text("def f():\n    return 1 / 0\nf()\n")
    with pytest.raises(SystemExit) as caught:
        cli.main(["python", str(mine)])
    assert caught.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].strip() == f'File "{mine}", line 3, in <module>'
    assert lines[-1].startswith("ZeroDivisionError")


def test_options_of_pythons_are_for_python(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.cli",
            "python",
            "-c",
            "import vm, sys; print(sys.argv)",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **environment.variables(), "PYTHONSAFEPATH": "1"},
        check=True,
    )
    assert done.stdout == "['-c']\n"
