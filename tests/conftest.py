"""What holds for all tests: which are run, and that Hypothesis does not race the clock."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure; in CI the same examples are tried every time.
settings.register_profile(
    "mobivpn", deadline=None, max_examples=20, derandomize=bool(os.environ.get("CI"))
)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("mobivpn")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the matrix of options be asked for."""
    parser.addoption(
        "--matrix", action="store_true", help="the whole matrix of options, and nothing else"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for; skip lab tests where there is no lab.

    ./lab test has its plugin carry them out in one.
    """
    if config.getoption("matrix"):
        others = [item for item in items if item.get_closest_marker("matrix") is None]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)
    if config.pluginmanager.has_plugin("lab-outside") or _in_a_lab():
        return
    skip = pytest.mark.skip(reason="needs a lab: run ./lab test, without -n")
    for item in items:
        if item.get_closest_marker("lab") is not None:
            item.add_marker(skip)


def _in_a_lab() -> bool:
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return bool(os.environ.get("MOBIVPN_LAB")) or "User Mode Linux" in processor
