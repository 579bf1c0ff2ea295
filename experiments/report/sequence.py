"""Sequence charts of the real messages, beside figure 2's numerals: one chart a move.

A row is one message as captures show it, in the order of sending; a dot on a lifeline is a host on
whose link the message was seen on its way. Packets of the pair's own traffic stand in a row when
they are the first of their sender on another path: that is where 214, 216 and 220 are.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes

from experiments.report.drawing import (
    GRID,
    INK,
    MUTED,
    PAPER,
    PATH_COLOURS,
    PATH_NAMES,
    WIDTH_IN,
    Picture,
    blank,
    not_drawn,
    style,
)
from experiments.report.record import Message, Move, Record

QUIET_S = 1.0
"""A move's chart ends where nothing was sent for so long."""
ROWS_AT_MOST = 70

ROW_IN = 0.31
SENT_IN, TOOK_IN, NUMERAL_IN = 0.5, 0.98, 1.36
FIRST_LIFELINE_IN, LAST_LIFELINE_IN = 2.05, 7.1
WORDS_IN = 7.45
TURN = 0.2
"""Share of a row by which a message that turns round comes back lower."""

ORDER = ("wifi1", "wifi2", "cell", "eve", "ha", "sg", "r22", "vcm", "fs")
"""Behind the mobile nodes."""
NODE = re.compile(r"mn[0-9]+")
HOST_BY_LINK = {
    "sg-ext": "sg",
    "sg-lan": "sg",
    "r22-sg": "r22",
    "r22-lan": "r22",
    "uplink-wifi1": "wifi1",
    "uplink-wifi2": "wifi2",
    "uplink-cell": "cell",
}
ROUTERS = ("wifi1", "wifi2", "cell", "ha", "sg", "r22")
ROUTER_BY_PLACE = {"lan": "r22"}
DATA = "data"
NUMERAL_BY_PATH = {"via_home_agents": "214, 216", "direct": "220"}

SEED_WORDS = {
    "202": "SG tells the VCM",
    "204": "the VCM acknowledges",
    "206": "secrets for MN2",
    "208": "MN2's acknowledgement",
    "210": "secrets for MN1",
    "212": "MN1's acknowledgement",
    "214, 216": "first packet, forwarded by HA",
    "218": "return routability, binding",
    "220": "addressed to the CoA",
}
"""What the seed says of a numeral, in few words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One arrow: the hosts that a message passed, from its source to its destination."""

    sent_s: float
    transit_ms: float | None
    hops: tuple[str, ...]
    name: str
    numeral: str
    words: str
    path: str = ""

    @property
    def to_all(self) -> bool:
        return len(self.hops) == 1


def pictures(record: Record) -> list[Picture]:
    """Return one sequence chart for each move."""
    with style():
        return [chart(record, move) for move in record.detailed_moves]


def chart(record: Record, move: Move) -> Picture:
    """Return the chart of what was sent from a move's beginning until all was quiet."""
    name = f"sequence-{move.index + 1}"
    title = f"Move {move.index + 1}, {move.title}: the messages"
    rows = rows_of(record, move)
    if not rows:
        why = "no message of this move was seen"
        return not_drawn(name, title, why)
    shown = rows[:ROWS_AT_MOST]
    hosts = _lifelines(shown, record.pair)
    figure = blank(WIDTH_IN, ROW_IN * (len(shown) + 2.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, WIDTH_IN)
    axes.set_ylim(len(shown) + 0.6, -2.0)
    step = (LAST_LIFELINE_IN - FIRST_LIFELINE_IN) / max(1, len(hosts) - 1)
    x_by_host = {host: FIRST_LIFELINE_IN + step * i for i, host in enumerate(hosts)}
    _draw_frame(axes, x_by_host, len(shown))
    for number, row in enumerate(shown):
        _draw_row(axes, number, row, x_by_host, move.begin_s, step)
    left_out = (
        f" {len(rows) - len(shown)} later rows are left out; messages.csv has them all."
        if len(shown) < len(rows)
        else ""
    )
    caption = (
        "Every message from the first change of a link until nothing was sent for "
        f"{QUIET_S:g} s, as captures show it with ESP opened; times in milliseconds since link "
        "down, and on the way. A dot: seen on that host's link. Coloured: the first probe of a "
        "node on another path. Router advertisements after the node's first are left out."
        f"{left_out}"
    )
    return Picture(name, title, caption, _told(shown, move.begin_s), figure)


def rows_of(record: Record, move: Move) -> list[Row]:
    """Return the rows of a move's chart in the order of sending."""
    later = (m.begin_s for m in record.moves if m.begin_s > move.begin_s)
    end_s = min(later, default=float("inf"))
    span = [m for m in record.messages if move.begin_s <= m.sent_s < end_s]
    messages = list(_until_quiet(list(_relevant(span, move)), move))
    firsts = list(_first_packets(record, move.begin_s, end_s))
    last = max([m.sent_s for m in messages] + [row.sent_s for row in firsts], default=0.0)
    # What has no number of its own is a new one with each move.
    known = {_identity(m) for m in record.messages if m.details and m.sent_s < move.begin_s}
    rows = [row for row in firsts if row.sent_s <= last]
    for message in messages:
        again = _identity(message) in known and message.protocol != "neighbour discovery"
        known.add(_identity(message))
        rows.append(_row(message, move, again))
    return sorted(rows, key=lambda row: row.sent_s)


def _relevant(messages: Iterable[Message], move: Move) -> Iterator[Message]:
    """Leave out neighbour discovery of others, and advertisements after the first."""
    advertised = False
    for message in messages:
        if message.protocol == "neighbour discovery":
            if move.node not in (message.source, message.destination, *message.links):
                continue
            if message.name == "RouterAdvertisement":
                if advertised or message.sent_s < move.link_up_s:
                    continue
                advertised = True
        yield message


def _until_quiet(messages: Sequence[Message], move: Move) -> Iterator[Message]:
    last = move.link_up_s
    for message in messages:
        if message.sent_s - last > QUIET_S:
            return
        last = max(last, message.sent_s)
        yield message


def _first_packets(record: Record, begin_s: float, end_s: float) -> Iterator[Row]:
    """Yield the first probe of each sender on a path that its probe before had not taken."""
    for sender, receiver in (record.pair, record.pair[::-1]):
        path = ""
        for probe in record.probes:
            if probe.sender != sender or not probe.path:
                continue
            if path and probe.path != path and begin_s <= probe.sent_s < end_s:
                passed = {"via_gateway": ("sg",), "via_home_agents": ("ha",)}.get(probe.path, ())
                numeral = NUMERAL_BY_PATH.get(probe.path, "")
                yield Row(
                    sent_s=probe.sent_s,
                    transit_ms=probe.delay_ms,
                    hops=(sender, *passed, receiver),
                    name=f"first probe {PATH_NAMES[probe.path]}",
                    numeral=numeral,
                    words=SEED_WORDS.get(numeral, ""),
                    path=probe.path,
                )
            path = probe.path


def _identity(message: Message) -> tuple[Any, ...]:
    details = tuple(sorted((key, str(value)) for key, value in message.details.items()))
    return (message.name, message.source, message.destination, details)


def _row(message: Message, move: Move, again: bool) -> Row:
    words = SEED_WORDS.get(message.numeral, "")
    if message.name == "PeerReady" and words:
        words += ", forwarded"
    elif not message.numeral:
        words = _details(message)
    return Row(
        sent_s=message.sent_s,
        transit_ms=message.transit_ms,
        hops=_hops(message, move),
        name=message.name + (" (again)" if again else ""),
        numeral=message.numeral,
        words=words,
    )


def _details(message: Message) -> str:
    parts = []
    if message.details.get("status"):
        parts.append(f"status {message.details['status']}")
    if "lifetime_s" in message.details:
        parts.append(f"lifetime {message.details['lifetime_s']} s")
    return ", ".join(parts)


def _hops(message: Message, move: Move) -> tuple[str, ...]:
    """Return the hosts of a message, those on the way by the links on which it was seen."""
    source = ROUTER_BY_PLACE.get(message.source, message.source)
    destination = ROUTER_BY_PLACE.get(message.destination, message.destination)
    if message.name == "RouterSolicitation" and not destination:
        destination = ROUTER_BY_PLACE.get(move.target, move.target)
    on_the_way = [HOST_BY_LINK.get(link, link) for link in message.links]
    if not source and on_the_way:
        source = on_the_way[0]
    ends = (source, destination)
    # A switch floods what it cannot place yet: other hosts see that, but only routers pass it on.
    between = [host for host in on_the_way if host in ROUTERS and host not in ends]
    hops = [source, *dict.fromkeys(between), destination]
    return tuple(host for host in hops if host)


def _lifelines(rows: Sequence[Row], pair: tuple[str, str]) -> list[str]:
    hosts = {host for row in rows for host in row.hops} | set(pair)
    nodes = sorted(filter(NODE.fullmatch, hosts), key=lambda node: (len(node), node))
    known = [*nodes, *(host for host in ORDER if host in hosts)]
    return known + sorted(hosts - set(known))


def _told(rows: Sequence[Row], zero_s: float) -> str:
    lines = []
    for row in rows:
        numeral = f" ({row.numeral})" if row.numeral else ""
        way = (
            " by ".join((row.hops[0], ", ".join(row.hops[1:-1]))) if row.hops[1:-1] else row.hops[0]
        )
        end = "all" if row.to_all else row.hops[-1]
        lines.append(f"{1000 * (row.sent_s - zero_s):.1f} ms: {row.name}{numeral}, {way} to {end}")
    return "; ".join(lines) + "."


def _draw_frame(axes: Axes, x_by_host: dict[str, float], rows: int) -> None:
    for x, text, side in (
        (SENT_IN, "sent", "right"),
        (TOOK_IN, "took", "right"),
        (NUMERAL_IN, "fig. 2", "center"),
        (WORDS_IN, "in the seed's words, or details", "left"),
    ):
        axes.text(x, -1.2, text, ha=side, va="center", fontsize=8, color=MUTED)
    for host, x in x_by_host.items():
        axes.plot([x, x], [-0.75, rows + 0.3], color=MUTED, linewidth=0.8, zorder=1)
        axes.text(x, -1.2, host, ha="center", va="center", fontweight="bold")
    axes.hlines([-0.8], 0.1, WIDTH_IN - 0.1, color=MUTED, linewidth=0.6)
    below = [number + 0.72 for number in range(rows)]
    axes.hlines(below, 0.1, WIDTH_IN - 0.1, color=GRID, linewidth=0.4, zorder=0)


def _draw_row(
    axes: Axes, number: int, row: Row, x_by_host: dict[str, float], zero_s: float, step: float
) -> None:
    y = number + 0.25
    colour = PATH_COLOURS.get(row.path, INK)
    weight = 1.8 if row.path else 1.0
    axes.text(
        SENT_IN, y, f"{1000 * (row.sent_s - zero_s):.1f}", ha="right", va="center", fontsize=8
    )
    if row.transit_ms is not None:
        axes.text(
            TOOK_IN, y, f"+{row.transit_ms:.1f}", ha="right", va="center", fontsize=8, color=MUTED
        )
    axes.text(NUMERAL_IN, y, row.numeral, ha="center", va="center", fontsize=8, fontweight="bold")
    axes.text(WORDS_IN, y, row.words, ha="left", va="center", fontsize=7.5, color=MUTED)
    xs = [x_by_host[host] for host in row.hops]
    if row.to_all:
        xs.append(xs[0] + 0.45 * step * (-1 if xs[0] == max(x_by_host.values()) else 1))
    points = _with_turns(xs, y)
    axes.plot(*zip(*points, strict=True), color=colour, linewidth=weight, zorder=2)
    axes.annotate(
        "",
        points[-1],
        xytext=points[-2],
        arrowprops={
            "arrowstyle": "-|>,head_width=0.18,head_length=0.42",
            "color": colour,
            "linewidth": weight,
            "shrinkA": 0,
            "shrinkB": 0,
        },
        zorder=3,
    )
    passed = xs[1:-1]
    heights = [_height_at(points, x) for x in passed]
    axes.plot(passed, heights, linestyle="none", marker="o", markersize=4, color=colour, zorder=4)
    axes.text(
        (min(xs) + max(xs)) / 2,
        number + 0.12,
        row.name,
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=colour if row.path else INK,
        fontweight="bold" if row.path else "normal",
        # Lifelines do not cross the words.
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
        zorder=1.5,
    )


def _with_turns(xs: Sequence[float], y: float) -> list[tuple[float, float]]:
    """Return the polyline through the hosts; where it turns round, it steps down."""
    points = [(xs[0], y)]
    heading = 0.0
    for here, there in pairwise(xs):
        if heading * (there - here) < 0:
            y += TURN
            points.append((here, y))
        heading = there - here
        points.append((there, y))
    return points


def _height_at(points: Sequence[tuple[float, float]], x: float) -> float:
    heights = [y for at, y in points if at == x]
    return sum(heights) / len(heights)
