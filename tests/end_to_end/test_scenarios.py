"""Scenarios beside the walk, as a user runs them: each has its checks from its own moves."""

import json

import pytest

from experiments import runner
from experiments.runner import Options


@pytest.mark.parametrize("name", ["one-way-udp", "three-nodes"])
def test_a_scenario_passes_its_checks(name: str, tmp_path_factory: pytest.TempPathFactory):
    folder = runner.run(name, Options(results=tmp_path_factory.mktemp("results")))
    summary = json.loads((folder / "summary.json").read_text())
    assert [check for check in summary["checks"] if not check["passed"]] == []
    assert summary["verdict"] == "passed"
