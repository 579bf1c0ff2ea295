"""The walk: the scenario's moves, one after another, under a steady stream of probes."""

from pathlib import Path

from experiments.programs import sleep_until
from experiments.scenario import Scenario
from experiments.testbed import Testbed


def run(scenario: Scenario, results: Path, scratch: Path) -> float:
    """Run a walk, return its time zero (s); what it leaves is described in docs/schema.md."""
    with Testbed(scenario, results, scratch) as testbed:
        testbed.dump_databases("start")
        begin = testbed.start_traffic()
        sleep_until(begin)
        testbed.record("walk_begin")
        for number, move in enumerate(scenario.move, 1):
            sleep_until(begin + move.at_s)
            testbed.check()
            testbed.dump_databases(f"before-move-{number}")
            testbed.record("walk_step", move.node, number=number, to=move.to)
            testbed.attachment.move(move.node, move.to, move.gap_ms, move.attach)
        sleep_until(begin + scenario.duration_s)
        testbed.check()
        testbed.dump_databases("end")
        testbed.record("walk_end")
    return begin
