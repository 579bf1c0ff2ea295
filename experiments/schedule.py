"""A schedule of moves: what is done to nodes' cables, and when."""

from collections.abc import Callable, Iterable
from functools import partial

from experiments.scenario import Move
from experiments.testbed import Testbed


def steps(
    testbed: Testbed, moves: Iterable[Move], first: int = 1
) -> list[tuple[float, Callable[[], None]]]:
    """Return what is to be done when (s after time zero); the moves are numbered from `first` on.

    Nodes that move in the same instant are unplugged one right after the other: each kind of step
    is done for all of them before the next.
    """
    scenario, attachment = testbed.scenario, testbed.attachment
    at = {node: attachment.network(node) for node in scenario.place_at_start}
    found: list[tuple[float, int, Callable[[], None]]] = []
    for number, move in enumerate(moves, first):
        soft = scenario.is_soft(at[move.node], move.to)
        at[move.node] = move.to
        node, to, begin_s = move.node, move.to, move.at_s
        found.append((begin_s, 0, partial(_announce, testbed, number, move)))
        if soft:
            end_s = begin_s + move.overlap_ms / 1000
            found.append((begin_s, 1, partial(attachment.plug_second, node, to)))
            found.append((begin_s, 2, partial(attachment.connect_second, node, to)))
            found.append((end_s, 3, partial(attachment.end_overlap, node, to)))
        else:
            end_s = begin_s + move.gap_ms / 1000
            found.append((begin_s, 1, partial(attachment.unplug, node, move.attach)))
            found.append((begin_s, 2, partial(attachment.plug, node, to)))
            found.append((end_s, 3, partial(attachment.connect, node, to, move.gap_ms)))
    return [(at_s, step) for at_s, _, step in sorted(found, key=lambda step: step[:2])]


def _announce(testbed: Testbed, number: int, move: Move) -> None:
    testbed.check()
    testbed.dump_databases(f"before-move-{number}", move.node)
    testbed.record("walk_step", move.node, number=number, to=move.to)
