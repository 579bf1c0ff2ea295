"""Moves: how long each direction had no path, and which datagrams were under way meanwhile."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from experiments.measure.probes import Leg, Phase, Traffic
from experiments.measure.timeline import EVENT_RESOLUTION_NS, Move, MoveKind, Timeline

RECEIVER_NS = 1_000_000
"""So late a program of a lab may run that has something to do (docs/plan-handovers.md)."""

PHASE_BY_KIND = {
    MoveKind.LEAVING: Phase.LEAVING,
    MoveKind.HANDOVER: Phase.HANDOVER,
    MoveKind.RETURNING: Phase.RETURNING,
}


@dataclass(frozen=True, slots=True)
class Window:
    """One direction during a move: from its beginning to the first arrival on the new path.

    `first_sent_ns` is when the datagram that arrived first was sent.
    """

    move: Move
    source: str
    destination: str
    first_arrival_ns: int | None
    first_sent_ns: int | None = None

    @property
    def outbound(self) -> bool:
        """Whether the node that moves is the sender."""
        return self.source == self.move.node

    @property
    def gap_ns(self) -> int | None:
        """Time from link down to the first arrival on the new path, 0 if that came before."""
        if self.first_arrival_ns is None:
            return None
        return max(0, self.first_arrival_ns - self.move.down_ns)


def windows_of(traffic: Traffic, timeline: Timeline, pair: tuple[str, str]) -> list[list[Window]]:
    """Return for each move of one of the pair, in order of time, the windows of its directions.

    One-way traffic has only one.
    """
    legs_by_direction: dict[tuple[str, str], list[Leg]] = {
        direction: [] for direction in traffic.directions(pair)
    }
    for leg in traffic.legs():
        if leg.arrived_ns is not None:
            legs_by_direction[leg.source, leg.destination].append(leg)
    for legs in legs_by_direction.values():
        legs.sort(key=lambda leg: leg.arrived_ns or 0)
    return [
        [_window(move, timeline, direction, legs) for direction, legs in legs_by_direction.items()]
        for move in timeline.moves
        if move.node in pair
    ]


def _window(
    move: Move, timeline: Timeline, direction: tuple[str, str], legs: Sequence[Leg]
) -> Window:
    """Find the first datagram of a direction that crossed the moved node's new link.

    `legs` have arrived, and are in the order in which they did.
    """
    next_move_ns = timeline.next_move_ns(move.begin_ns, move.node)
    # A router holds packets for a node that it looks for: one that comes back soon gets them then,
    # and they were sent for the place that it has left, whatever its new path is.
    last_move_ns = timeline.last_move_ns(move.begin_ns, move.node)
    first = bisect_left(legs, move.earliest_new_ns, key=lambda leg: leg.arrived_ns or 0)
    for leg in islice(legs, first, None):
        if leg.sent_ns < last_move_ns:
            continue
        outbound = leg.source == move.node
        crossed_ns, network = (
            (leg.left_ns, leg.left_by) if outbound else (leg.landed_ns, leg.landed_by)
        )
        if network is not None and network != move.target:
            continue
        if crossed_ns is None:
            crossed_ns = leg.sent_ns if outbound else leg.arrived_ns
        if crossed_ns is not None and move.up_ns - EVENT_RESOLUTION_NS <= crossed_ns < next_move_ns:
            return Window(move, *direction, leg.arrived_ns, leg.sent_ns)
    return Window(move, *direction, None)


def assign_to_moves(
    legs: Iterable[Leg],
    windows: list[list[Window]],
    timeline: Timeline,
    at_least_until_ns: Sequence[int] = (),
) -> None:
    """Give each leg that was under way in a window to that move (its index and its phase).

    `legs` are of one direction, in the order of sending. A lost one counts as under way from when
    it was seen to leave, for as long as the last one before it that arrived, and a millisecond for
    the receiver, whose link may go before it has looked at what came. A window lasts until
    link down at least, and without an arrival until the node's next move; and in any case until the
    time that is given for its move.
    """
    transit_ns = 0
    over = 0
    for leg in legs:
        if leg.transit_ns is not None:
            transit_ns = leg.transit_ns
        ends_ns = leg.arrived_ns or max(leg.sent_ns, leg.left_ns or 0) + transit_ns + RECEIVER_NS
        for index in range(over, len(windows)):
            window = next((w for w in windows[index] if w.source == leg.source), None)
            if window is None:
                continue
            if ends_ns < window.move.begin_ns:
                break
            least_ns = at_least_until_ns[index] if index < len(at_least_until_ns) else 0
            if leg.sent_ns <= max(least_ns, _until_ns(window, timeline)):
                leg.move = index
                leg.phase = PHASE_BY_KIND[window.move.kind]
                break
            if index == over:
                over += 1


def _until_ns(window: Window, timeline: Timeline) -> int:
    until_ns = window.first_arrival_ns
    if until_ns is None:
        until_ns = timeline.next_move_ns(window.move.begin_ns, window.move.node)
    return max(until_ns, window.move.down_ns)
