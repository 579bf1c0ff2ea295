"""The walk: the scenario's moves, one after another, under a steady stream of probes."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments import bulk
from experiments.load import load_of
from experiments.programs import sleep_until
from experiments.scenario import Move, Scenario
from experiments.testbed import Testbed


def run(scenario: Scenario, results: Path, scratch: Path) -> float:
    """Run a walk, return its time zero (s); what it leaves is described in docs/schema.md."""
    with Testbed(scenario, results, scratch) as testbed:
        testbed.dump_databases("start")
        load = {"start": load_of(testbed.pid_by_program)}
        begin = testbed.start_traffic()
        sleep_until(begin)
        testbed.record("walk_begin")
        for at_s, step in _steps(testbed):
            sleep_until(begin + at_s)
            step()
        sleep_until(begin + scenario.duration_s)
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


def _steps(testbed: Testbed) -> list[tuple[float, Callable[[], None]]]:
    """Return what is to be done when.

    Nodes that move in the same instant are unplugged one right after the other: each kind of step
    is done for all of them before the next.
    """
    at = dict(testbed.scenario.place_at_start)
    attachment = testbed.attachment
    steps: list[tuple[float, int, Callable[[], None]]] = []
    for number, move in enumerate(testbed.scenario.move, 1):
        soft = testbed.scenario.is_soft(at[move.node], move.to)
        at[move.node] = move.to
        node, to, begin_s = move.node, move.to, move.at_s
        steps.append((begin_s, 0, partial(_announce, testbed, number, move)))
        if soft:
            end_s = begin_s + move.overlap_ms / 1000
            steps.append((begin_s, 1, partial(attachment.plug_second, node, to)))
            steps.append((begin_s, 2, partial(attachment.connect_second, node, to)))
            steps.append((end_s, 3, partial(attachment.end_overlap, node, to)))
        else:
            end_s = begin_s + move.gap_ms / 1000
            steps.append((begin_s, 1, partial(attachment.unplug, node, move.attach)))
            steps.append((begin_s, 2, partial(attachment.plug, node, to)))
            steps.append((end_s, 3, partial(attachment.connect, node, to, move.gap_ms)))
    return [(at_s, step) for at_s, _, step in sorted(steps, key=lambda step: step[:2])]


def _announce(testbed: Testbed, number: int, move: Move) -> None:
    testbed.check()
    testbed.dump_databases(f"before-move-{number}", move.node)
    testbed.record("walk_step", move.node, number=number, to=move.to)
