"""Scenarios beside the walk, as a user runs them: each has its checks from its own moves."""

from collections.abc import Sequence

import pytest

from tests.support.runs import Run, asked


@pytest.mark.runs(asked("one-way-udp"), asked("three-nodes"))
def test_a_scenario_passes_its_checks(runs: Sequence[Run]):
    assert [run.failed for run in runs] == [[], []]
    assert [run.summary["verdict"] for run in runs] == ["passed", "passed"]
