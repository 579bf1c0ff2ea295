"""Every program that is started with a file: without it, or with a wrong one, one clear line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.configuration import Configuration, write
from tests.support.company import COMPANY

ROOT = Path(__file__).parents[3]
AGENTS = ("mobile_node", "home_agent", "security_gateway", "internal_router", "vcm")
PROGRAMS = [(f"agents.{name}", ()) for name in AGENTS] + [("controllers.main", ("--config",))]


def start(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *usage, last = done.stderr.strip().splitlines()
    assert all("usage" in line or line.startswith(" ") for line in usage)
    return last


@pytest.mark.parametrize(("module", "option"), PROGRAMS)
def test_without_a_file_the_usage_is_told(module: str, option: tuple[str, ...]):
    done = start(module)
    assert "usage: python -m" in done.stderr
    assert "required" in refused(done)


@pytest.mark.parametrize(("module", "option"), PROGRAMS)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("", "Input data was truncated"),
        ("no JSON", "malformed"),
        ('{"role": 5}', "Expected `str`"),
        ("{}", "missing required field"),
    ],
)
def test_a_wrong_file_is_named(
    tmp_path: Path, module: str, option: tuple[str, ...], content: str | None, words: str
):
    if content == '{"role": 5}' and option:
        content, words = '{"ports": []}', "Expected `object`"
    path = tmp_path / "given.json"
    if content is not None:
        path.write_text(content)
    last = refused(start(module, *option, str(path)))
    assert f"{path}: " in last
    assert words in last


@pytest.mark.parametrize(
    ("role", "words"),
    [("security_gateway", "outside_router and gateway_socket"), ("vcm", "needs a database")],
)
def test_what_a_role_needs_besides_is_named(tmp_path: Path, role: str, words: str):
    path = tmp_path / "given.json"
    write(Configuration(role, role, COMPANY, (), str(tmp_path / "events")), path)
    assert words in refused(start(f"agents.{role}", str(path)))
