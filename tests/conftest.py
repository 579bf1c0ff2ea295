"""What holds for all tests: which are run, and that Hypothesis does not race the clock."""

import os
from collections.abc import Callable
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
    """Let the matrix of options and the long tests be asked for."""
    parser.addoption(
        "--matrix", action="store_true", help="the whole matrix of options, and nothing else"
    )
    parser.addoption("--long", action="store_true", help="the tests marked long as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not asked for; skip lab tests where there is no lab.

    ./lab test has its plugin carry them out in one.
    """
    if config.getoption("matrix"):
        _leave_out(config, items, lambda item: item.get_closest_marker("matrix") is None)
    if not config.getoption("long"):
        _leave_out(config, items, lambda item: item.get_closest_marker("long") is not None)
    if config.pluginmanager.has_plugin("lab-outside") or _in_a_lab():
        return
    skip = pytest.mark.skip(reason="needs a lab: run ./lab test, without -n")
    for item in items:
        if item.get_closest_marker("lab") is not None:
            item.add_marker(skip)


def _leave_out(
    config: pytest.Config, items: list[pytest.Item], unwanted: Callable[[pytest.Item], bool]
) -> None:
    left_out = [item for item in items if unwanted(item)]
    items[:] = [item for item in items if not unwanted(item)]
    config.hook.pytest_deselected(items=left_out)


def _in_a_lab() -> bool:
    processor = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return bool(os.environ.get("MOBIVPN_LAB")) or "User Mode Linux" in processor
