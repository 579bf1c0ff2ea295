"""A schedule of moves: who is unplugged, plugged and connected when, and in which order."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from experiments import schedule
from experiments.scenario import Move, load


class Attachment:
    """Keeps what is asked of it."""

    def __init__(self, asked: list[tuple[Any, ...]]) -> None:
        self._asked = asked

    def network(self, node: str) -> str:
        return "lan"

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self._asked.append((name, *arguments))


def carried_out(moves: Sequence[Move], handover: str = "hard", first: int = 1) -> list[Any]:
    """Return (at_s, what) of each step of a schedule."""
    asked: list[tuple[Any, ...]] = []
    testbed: Any = SimpleNamespace(
        scenario=load("walk", {"handover": handover}),
        attachment=Attachment(asked),
        check=lambda: None,
        dump_databases=lambda moment, mover=None: asked.append(("dump", moment)),
        record=lambda event, node, **details: asked.append((event, node, details["number"])),
    )
    found = []
    for at_s, step in schedule.steps(testbed, moves, first):
        asked.clear()
        step()
        found.append((at_s, asked[-1]))
    return found


def move(node: Any, to: Any, at_s: float = 5.0, **more: Any) -> Move:
    return Move(at_s=at_s, node=node, to=to, **more)


def test_a_hard_move_has_its_gap_between_unplugging_and_connecting() -> None:
    assert carried_out([move("mn1", "wifi1", gap_ms=100, attach="new")], first=7) == [
        (5.0, ("walk_step", "mn1", 7)),
        (5.0, ("unplug", "mn1", "new")),
        (5.0, ("plug", "mn1", "wifi1")),
        (pytest.approx(5.1), ("connect", "mn1", "wifi1", 100)),
    ]


def test_nodes_that_move_in_one_instant_take_each_step_together() -> None:
    steps = carried_out([move("mn1", "wifi1"), move("mn2", "cell")])
    assert [(what[0], what[1]) for _, what in steps] == [
        (step, node)
        for step in ("walk_step", "unplug", "plug", "connect")
        for node in ("mn1", "mn2")
    ]


def test_a_soft_move_from_one_access_network_to_another_overlaps() -> None:
    moves = [move("mn1", "wifi1"), move("mn1", "cell", at_s=9.0, overlap_ms=300)]
    steps = carried_out(moves, "soft")
    assert [what[0] for at_s, what in steps if at_s < 9] == [
        *("walk_step", "unplug", "plug", "connect")
    ]
    assert steps[4:] == [
        (9.0, ("walk_step", "mn1", 2)),
        (9.0, ("plug_second", "mn1", "cell")),
        (9.0, ("connect_second", "mn1", "cell")),
        (pytest.approx(9.3), ("end_overlap", "mn1", "cell")),
    ]
