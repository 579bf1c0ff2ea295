"""The walk: the scenario's moves, one after another, under a steady stream of probes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from experiments.programs import sleep_until
from experiments.scenario import Move, Scenario
from experiments.testbed import Testbed


def run(scenario: Scenario, results: Path, scratch: Path) -> float:
    """Run a walk, return its time zero (s); what it leaves is described in docs/schema.md."""
    with Testbed(scenario, results, scratch) as testbed:
        testbed.dump_databases("start")
        begin = testbed.start_traffic()
        sleep_until(begin)
        testbed.record("walk_begin")
        for at_s, step in _steps(testbed):
            sleep_until(begin + at_s)
            step()
        sleep_until(begin + scenario.duration_s)
        testbed.check()
        testbed.dump_databases("end")
        testbed.record("walk_end")
    return begin


def _steps(testbed: Testbed) -> list[tuple[float, Callable[[], None]]]:
    """Return what is to be done when: the moves, and the ends of soft handovers' overlaps."""
    at: dict[str, str] = testbed.scenario.start.model_dump()
    steps: list[tuple[float, Callable[[], None]]] = []
    for number, move in enumerate(testbed.scenario.move, 1):
        soft = testbed.scenario.is_soft(at[move.node], move.to)
        at[move.node] = move.to
        steps.append((move.at_s, partial(_move, testbed, number, move, soft=soft)))
        if soft:
            end = partial(testbed.attachment.end_overlap, move.node, move.to)
            steps.append((move.at_s + move.overlap_ms / 1000, end))
    return sorted(steps, key=lambda step: step[0])


def _move(testbed: Testbed, number: int, move: Move, *, soft: bool) -> None:
    testbed.check()
    testbed.dump_databases(f"before-move-{number}")
    testbed.record("walk_step", move.node, number=number, to=move.to)
    if soft:
        testbed.attachment.begin_overlap(move.node, move.to)
    else:
        testbed.attachment.move(move.node, move.to, move.gap_ms, move.attach)
