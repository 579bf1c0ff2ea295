"""Places, moves and external times from the testbed's events."""

import pytest

from experiments.measure.timeline import END_OF_TIME_NS, MoveKind, Timeline, read_timeline
from experiments.resultset import Event

ACCESS = frozenset({"wifi1", "wifi2", "cell"})


def timeline(*events: tuple[int, str, str]) -> Timeline:
    return read_timeline([Event(t, "mn1", e, None, {"network": n}) for t, e, n in events], ACCESS)


def test_a_node_is_inside_unless_told() -> None:
    assert timeline().place_at("mn1", 5) == "lan"
    assert timeline().outside_intervals("mn1") == []


def test_a_move_is_from_link_down_to_link_up() -> None:
    found = timeline((0, "link_up", "lan"), (10, "link_down", "lan"), (12, "link_up", "cell"))
    (move,) = found.moves
    assert (move.origin, move.target, move.down_ns, move.up_ns) == ("lan", "cell", 10, 12)
    assert move.kind is MoveKind.LEAVING


def test_from_link_down_on_a_node_is_where_it_is_going() -> None:
    found = timeline((10, "link_down", "lan"), (12, "link_up", "cell"))
    assert [found.place_at("mn1", t) for t in (9, 10, 12)] == ["lan", "cell", "cell"]


@pytest.mark.parametrize(
    ("origin", "target", "kind"),
    [
        ("lan", "cell", MoveKind.LEAVING),
        ("cell", "wifi1", MoveKind.HANDOVER),
        ("cell", "lan", MoveKind.RETURNING),
    ],
)
def test_kinds_of_moves(origin: str, target: str, kind: MoveKind) -> None:
    found = timeline((10, "link_down", origin), (12, "link_up", target))
    assert found.moves[0].kind is kind


def test_what_is_sent_between_down_and_up_is_on_the_old_link() -> None:
    found = timeline(
        (10_000, "link_down", "lan"),
        (20_000, "link_up", "cell"),
        (30_000, "link_down", "cell"),
        (40_000, "link_up", "lan"),
    )
    assert found.outside_intervals("mn1") == [(19_000, 39_000)]


def test_without_a_gap_a_link_is_external_in_doubt() -> None:
    found = timeline(
        (10_000, "link_down", "lan"),
        (10_000, "link_up", "cell"),
        (30_000, "link_down", "cell"),
        (30_000, "link_up", "lan"),
        (50_000, "link_down", "lan"),
        (50_000, "link_up", "wifi1"),
    )
    assert found.outside_intervals("mn1") == [(9_000, 31_000), (49_000, END_OF_TIME_NS)]


def test_a_node_that_starts_outside_is_outside_from_the_beginning() -> None:
    start = (0, "link_up", "wifi1")
    assert timeline(start).outside_intervals("mn1") == [(0, END_OF_TIME_NS)]
    moved = timeline(start, (10, "link_down", "wifi1"), (12, "link_up", "cell"))
    assert moved.outside_intervals("mn1") == [(0, END_OF_TIME_NS)]
    home = timeline(start, (10_000, "link_down", "wifi1"), (20_000, "link_up", "lan"))
    assert home.outside_intervals("mn1") == [(0, 19_000)]


def test_the_next_move_of_a_node_or_of_any() -> None:
    found = timeline((10, "link_down", "lan"), (12, "link_up", "cell"))
    assert found.next_move_ns(5) == found.next_move_ns(5, "mn1") == 10
    assert found.next_move_ns(10) == found.next_move_ns(5, "mn2") == END_OF_TIME_NS


SOFT = ((0, "link_up", "wifi1"), (20, "link_up", "cell"), (70, "link_down", "wifi1"))


def test_a_link_that_comes_before_the_other_goes_is_a_soft_handover() -> None:
    (move,) = timeline(*SOFT).moves
    assert (move.origin, move.target, move.down_ns, move.up_ns) == ("wifi1", "cell", 70, 20)
    assert move.kind is MoveKind.HANDOVER
    assert move.begin_ns == 20


def test_from_the_second_link_on_a_node_is_where_it_is_going() -> None:
    found = timeline(*SOFT, (90, "link_down", "cell"), (95, "link_up", "lan"))
    assert [found.place_at("mn1", t) for t in (19, 20, 70, 90)] == ["wifi1", "cell", "cell", "lan"]
    assert [move.begin_ns for move in found.moves] == [20, 90]
    assert found.next_move_ns(20) == 90
