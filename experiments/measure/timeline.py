"""Where each mobile node was at each moment, as the testbed attached it."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from experiments.network_plan import INSIDE
from experiments.resultset import Event

LINK_DOWN, LINK_UP = "link_down", "link_up"
END_OF_TIME_NS = 2**63 - 1
EVENT_RESOLUTION_NS = 1000
"""Times in events.jsonl may be floats: 0.24 us apart in this century."""


class MoveKind(Enum):
    """What a change of attachment is; the values are names of phases, too."""

    LEAVING = "leaving"
    HANDOVER = "handover"
    RETURNING = "returning"


@dataclass(frozen=True, slots=True)
class Move:
    """A node's way from one network to another.

    Between `down_ns` and `up_ns` it has no link; in a soft handover `up_ns` comes first, and
    between the two it has both links.
    """

    node: str
    origin: str
    target: str
    down_ns: int
    up_ns: int

    @property
    def begin_ns(self) -> int:
        """When the first of the two links changes."""
        return min(self.down_ns, self.up_ns)

    @property
    def earliest_new_ns(self) -> int:
        """From here on a captured frame may be one on the new link: the cable has been moved."""
        return self.up_ns - EVENT_RESOLUTION_NS

    @property
    def latest_old_ns(self) -> int:
        """From here on a captured frame cannot be one on the old link.

        A node may notice a little later than the testbed that its link is gone.
        """
        instant = self.up_ns - self.down_ns <= 2 * EVENT_RESOLUTION_NS
        return self.up_ns + (EVENT_RESOLUTION_NS if instant else -EVENT_RESOLUTION_NS)

    @property
    def kind(self) -> MoveKind:
        if self.target == INSIDE:
            return MoveKind.RETURNING
        return MoveKind.LEAVING if self.origin == INSIDE else MoveKind.HANDOVER


@dataclass(frozen=True, slots=True)
class Timeline:
    """The attachments of a run: moves in order of time, and the place of each node at each time."""

    moves: tuple[Move, ...]
    _changes_by_node: Mapping[str, tuple[tuple[int, str], ...]] = field(repr=False)

    def place_at(self, node: str, time_ns: int) -> str:
        """Return where a node is; from the beginning of a move on, where it is going to."""
        changes = self._changes_by_node.get(node, ())
        index = bisect_right(changes, time_ns, key=lambda change: change[0])
        return changes[index - 1][1] if index else INSIDE

    def outside_intervals(self, node: str) -> list[tuple[int, int]]:
        """Return the times, [begin, end), in which a node's link counts as external.

        From link up outside to link up inside. What a node sends into its old link before it has
        noticed the loss is on the old link; with no time between down and up, in doubt, a link is
        external.
        """
        intervals: list[tuple[int, int]] = []
        begin: int | None = None
        for move in (move for move in self.moves if move.node == node):
            if begin is None:
                begin = move.earliest_new_ns if move.origin == INSIDE else 0
            if move.target == INSIDE:
                intervals.append((begin, move.latest_old_ns))
                begin = None
        if begin is not None:
            intervals.append((begin, END_OF_TIME_NS))
        elif not any(move.node == node for move in self.moves):
            place = self.place_at(node, END_OF_TIME_NS)
            return [] if place == INSIDE else [(0, END_OF_TIME_NS)]
        return intervals

    def next_move_ns(self, time_ns: int, node: str | None = None) -> int:
        """Return when the next move after `time_ns` begins, of `node` or of any."""
        return min(
            (m.begin_ns for m in self.moves if m.begin_ns > time_ns and node in (None, m.node)),
            default=END_OF_TIME_NS,
        )

    def last_move_ns(self, time_ns: int, node: str) -> int:
        """Return when the last move of a node before `time_ns` began, 0 for none."""
        return max(
            (m.begin_ns for m in self.moves if m.begin_ns < time_ns and m.node == node), default=0
        )


def read_timeline(events: Iterable[Event], access_networks: frozenset[str]) -> Timeline:
    """Return the timeline told by the testbed's `link_down` and `link_up` events.

    A network that is no access network is the inside, whatever it is called. A second link up
    without a link down before it begins a soft handover, which the next link down ends.
    """
    moves: list[Move] = []
    changes: dict[str, list[tuple[int, str]]] = {}
    down_by_node: dict[str, tuple[int, str]] = {}
    up_by_node: dict[str, tuple[int, str, str]] = {}
    for event in sorted(events, key=lambda event: event.time_ns):
        if event.event not in (LINK_DOWN, LINK_UP):
            continue
        network = str(event.details.get("network", ""))
        place = network if network in access_networks else INSIDE
        own = changes.setdefault(event.node, [])
        if event.event == LINK_DOWN and event.node in up_by_node:
            up_ns, origin, target = up_by_node.pop(event.node)
            moves.append(Move(event.node, origin, target, event.time_ns, up_ns))
            continue
        if event.event == LINK_DOWN:
            down_by_node[event.node] = (event.time_ns, own[-1][1] if own else place)
            continue
        down = down_by_node.pop(event.node, None)
        if down is None:
            if own:
                up_by_node[event.node] = (event.time_ns, own[-1][1], place)
            own.append((event.time_ns if own else 0, place))
            continue
        down_ns, origin = down
        if not own:
            own.append((0, origin))
        own.append((down_ns, place))
        moves.append(Move(event.node, origin, place, down_ns, event.time_ns))
    moves.sort(key=lambda move: move.begin_ns)
    return Timeline(tuple(moves), {node: tuple(own) for node, own in changes.items()})
