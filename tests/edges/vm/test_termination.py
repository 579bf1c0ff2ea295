"""SIGTERM ends the whole session of ./lab test, whoever swallows exceptions on the way."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.programs import wait_until
from vm import places

TESTS = """
import time
from pathlib import Path

from hypothesis import given, strategies as st

HERE = Path(__file__).parent

def wait():
    (HERE / "waits").touch()
    time.sleep(60)

def test_that_lets_it_pass():
    wait()

@given(st.integers())
def test_of_hypothesis(number):
    wait()

def test_that_swallows_it():
    try:
        wait()
    except BaseException:
        pass

def test_after():
    (HERE / "went-on").touch()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "test", ["test_that_lets_it_pass", "test_of_hypothesis", "test_that_swallows_it"]
)
def test_a_signal_ends_the_session_and_not_just_its_present_test(
    tmp_path: Path, test: str, number: signal.Signals
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(TESTS)
    session = subprocess.Popen(
        [
            *(sys.executable, "-m", "experiments.cli", "test", "-p", "no:cacheprovider"),
            *(f"{path}::{test}", f"{path}::test_after"),
        ],
        cwd=places.CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until("the test that waits", (tmp_path / "waits").exists, 60)
        session.send_signal(number)
        assert session.wait(30) == 128 + number
    finally:
        session.kill()
        session.wait()
    assert not (tmp_path / "went-on").exists()
