"""The walk: moves, one after another, under a steady stream of probes."""

import json
from collections.abc import Callable
from pathlib import Path

from experiments import bulk, schedule
from experiments.load import load_of
from experiments.programs import sleep_until
from experiments.scenario import Scenario
from experiments.testbed import Testbed

Conduct = Callable[[Testbed, float], None]
"""What happens in a walk from its time zero, which it is given, to its end."""


def by_scenario(testbed: Testbed, begin: float) -> None:
    """Make the scenario's moves, and wait for its end."""
    for at_s, step in schedule.steps(testbed, testbed.scenario.move):
        sleep_until(begin + at_s)
        step()
    assert testbed.scenario.duration_s is not None
    sleep_until(begin + testbed.scenario.duration_s)


def run(scenario: Scenario, results: Path, scratch: Path, conduct: Conduct = by_scenario) -> float:
    """Run a walk, return its time zero (s); what it leaves is described in docs/schema.md."""
    with Testbed(scenario, results, scratch) as testbed:
        testbed.dump_databases("start")
        load = {"start": load_of(testbed.pid_by_program)}
        begin = testbed.start_traffic()
        sleep_until(begin)
        testbed.record("walk_begin")
        conduct(testbed, begin)
        testbed.check()
        # Before anything ends, and when captures and logs are largest.
        load["end"] = load_of(testbed.pid_by_program)
        (results / "load.json").write_text(json.dumps(load, indent=2) + "\n")
        testbed.dump_databases("end")
        testbed.record("walk_end")
        if scenario.bulk is not None:
            testbed.stop_captures()
            bulk.run(testbed, scenario.bulk, results / "bulk", scratch)
    return begin
