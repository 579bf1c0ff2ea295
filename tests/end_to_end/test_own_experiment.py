"""An experiment of one's own: the page does what it says, and thinking takes no virtual time."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import nbclient
import nbformat
import pytest

from experiments.report import record, reproduction
from experiments.verify import TOLERANCE_MS, moved
from tests.support.runs import Run, program
from vm import environment, lease, places

DOCS = places.CHECKOUT / "docs"
PAGE = (DOCS / "your-own-experiment.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
CODE, PING = (text for kind, text in BLOCKS[:3] if kind == "python")
PRINTED = next(text for kind, text in BLOCKS if not kind)

AT_ONCE = program("mine.py", CODE)
THOUGHTFUL = program(
    "thoughtful.py",
    "import time\n" + CODE.replace("\n    lab.", "\n    time.sleep(0.7)\n    lab."),
)


def words(text: str) -> list[str | float]:
    """Return a text's words, the numbers among them as such."""
    return [float(word) if re.fullmatch(r"[\d.]+", word) else word for word in text.split()]


@pytest.mark.runs(AT_ONCE)
def test_the_page_goes_from_an_empty_file_to_a_figure_in_30_lines(runs: Sequence[Run]):
    (run,) = runs
    assert len(CODE.splitlines()) <= 30
    assert run.failed == []
    picture = run.folder.parent.parent / "mine.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.runs(AT_ONCE)
def test_the_page_tells_the_figures_that_everybody_gets(runs: Sequence[Run]):
    (run,) = runs
    said, told = words(run.said), words(PRINTED)
    assert len(said) == len(told)
    for one, other in zip(said, told, strict=True):
        assert one == (
            pytest.approx(other, abs=TOLERANCE_MS) if isinstance(other, float) else other
        )


@pytest.mark.runs(AT_ONCE, THOUGHTFUL)
def test_what_a_program_thinks_takes_no_virtual_time(runs: Sequence[Run]):
    at_once, thoughtful = runs
    assert THOUGHTFUL.written is not None
    assert THOUGHTFUL.written[1].count("time.sleep") >= 7
    assert [str(value) for value in moved(at_once.summary, thoughtful.summary)] == []


@pytest.mark.long
@pytest.mark.runs(AT_ONCE)
def test_the_moves_of_a_program_can_be_repeated_as_a_scenario(runs: Sequence[Run], tmp_path: Path):
    (run,) = runs
    scenario = tmp_path / "walk.toml"
    scenario.write_text(reproduction.scenario_toml(record.load(run.folder)))
    done = command("run", str(scenario), "--no-page", "--results", str(tmp_path))
    said, complained = done.communicate()
    assert done.returncode == 0, complained
    again = Run(Path(said.strip()), "", said)
    assert [str(value) for value in moved(run.summary, again.summary)] == []


@pytest.mark.long
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", environment.variables()["PYTHONPATH"])
    notebook = nbformat.read(DOCS / "your-own-experiment.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "results are not committed"
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert len(list((tmp_path / "runs").iterdir())) == 1


PROGRAM = """
import time
from pathlib import Path
from experiments.lab import Options, Testbed
with Testbed("walk", Options(results=Path("runs"), page=False)) as lab:
    print("entered", flush=True)
"""


@pytest.fixture
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Nothing may be left of what these programs start."""
    yield
    assert lease.sweep() == []
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in told.splitlines() if str(tmp_path) in line] == []


def command(*words: str, cwd: Path = places.CHECKOUT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", *words],
        cwd=cwd,
        env={**os.environ, **environment.variables()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def started(tmp_path: Path, block: str) -> subprocess.Popen[str]:
    path = tmp_path / "mine.py"
    path.write_text(PROGRAM + "".join(f"    {line}\n" for line in block.splitlines()))
    return command("python", str(path), cwd=tmp_path)


def states_below(pid: int) -> list[str]:
    """Return the states of a process's children and theirs, letters of proc(5)."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            stat = Path(f"/proc/{child}/stat").read_text()
            found += [stat.rpartition(")")[2].split()[0], *states_below(int(child))]
    return found


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_ctrl_c_while_a_program_thinks_leaves_nothing(tmp_path: Path):
    process = started(tmp_path, "time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "entered\n"
    deadline = time.monotonic() + 10
    while "T" not in (states := states_below(process.pid)):
        assert time.monotonic() < deadline, f"the VM does not stand still: {states}"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complained.splitlines()[-1] == "lab: interrupted"
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_a_lab_that_crashes_under_a_program_is_one_line_and_its_console(tmp_path: Path):
    crash = "echo c > /proc/sysrq-trigger"
    process = started(tmp_path, f"lab.host('mn1').run(['sh', '-c', '{crash}'])")
    _, complained = process.communicate(timeout=200)
    assert process.returncode == 1
    assert "Kernel panic" in complained
    assert "Traceback" not in complained
    assert complained.splitlines()[-1].startswith("lab: the lab VM ended with status ")
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(folder) in complained.splitlines()[-1]


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_a_program_runs_commands_while_nodes_move(tmp_path: Path):
    process = started(tmp_path, PING)
    said, complained = process.communicate(timeout=300)
    assert process.returncode == 0, complained
    received = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    assert received is not None
    sent, came = map(int, received.groups())
    assert 10 <= sent <= 12
    assert sent - 3 <= came < sent, "what was under way when the link went is lost"
