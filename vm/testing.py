"""The test session of ./lab test, in an interpreter of its own.

By then the command line has imported a part of the core, which coverage would not have seen.
"""

import os
import sys
from collections.abc import Sequence

import pytest

from vm import places
from vm.termination import Termination


def main(arguments: Sequence[str]) -> int:
    """Run the tests with these arguments of pytest and return its exit code."""
    options = ["-p", "vm.pytest_lab"]
    if not os.access(places.CHECKOUT, os.W_OK):
        # A checkout that this user cannot write to has no place for what they keep between runs.
        options += ["-p", "no:cacheprovider"]
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(places.cache() / "hypothesis")
        os.environ["COVERAGE_FILE"] = str(places.cache() / "coverage")
    if not arguments:
        # A part of the tests need not reach every branch of the core; the whole has to.
        options += ["--cov=mobivpn", "--cov-branch", "--cov-fail-under=100"]
        options += ["--cov-report=term-missing:skip-covered"]
    termination = Termination()
    code = pytest.main([*options, *arguments], plugins=[termination])
    return termination.exit_code(int(code))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
