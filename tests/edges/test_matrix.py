"""The matrix of options: what its runs have together, and that only it is run when asked for."""

import subprocess
import sys
from pathlib import Path

from tests.support.matrix import (
    OPTIONS,
    SAMPLE,
    at_random,
    is_accepted,
    matrix,
    pairs_of,
    sample,
    values_of,
)
from vm import places

HERE = Path(__file__)
FEWEST = 40
OTHER_SEED = 2


def test_every_two_values_that_a_scenario_takes_are_together_in_a_run():
    possible = pairs_of(*filter(is_accepted, at_random(6000, OTHER_SEED)))
    assert pairs_of(*matrix()) == possible
    assert all(is_accepted(row) for row in matrix())
    assert len(matrix()) >= FEWEST


def test_every_value_is_in_a_run_of_the_sample():
    assert len(sample()) == SAMPLE
    assert values_of(*sample()) == {
        (name, value) for name, values in OPTIONS.items() for value in values
    }


def test_the_whole_matrix_is_run_alone():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q"]
    said = subprocess.run(
        [*command, "--matrix", "tests/end_to_end", str(HERE)],
        cwd=places.CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    tests = [line for line in said.stdout.splitlines() if "::" in line]
    assert len(tests) == len(matrix())
    assert all(test.startswith("tests/end_to_end/test_matrix.py::") for test in tests)
