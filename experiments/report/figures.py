"""The figures of a run, each a function of its result set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from experiments.report import handovers
from experiments.report.drawing import (
    BAR,
    INK,
    LOST,
    MUTED,
    PAPER,
    PATH_COLOURS,
    PATH_MARKERS,
    PATH_NAMES,
    PATHS,
    PHASE_COLOURS,
    PHASE_HATCHES,
    WIDTH_IN,
    Picture,
    bare,
    blank,
    milliseconds,
    not_drawn,
    style,
)
from experiments.report.record import (
    MOST_DETAILED_MOVES,
    Message,
    Move,
    Phase,
    Probe,
    Record,
    Way,
)

CELLS_ACROSS, CELLS_UP = 900, 260
"""The grid of a scatter: of all points in one cell, as small as a printed dot, one is drawn."""

SHORTEST_LABEL_SHARE = 0.075
"""Share of the time axis below which a block is too narrow for its name."""

BEFORE_SWITCH_S, AFTER_SWITCH_S = 0.06, 0.18
AFTER_MOVE_S = 0.08


def pictures(record: Record) -> list[Picture]:
    """Return all figures of a run, in the order in which the page shows them."""
    with style():
        drawn = [
            round_trip_time(record),
            switch_to_direct(record),
            moves(record),
            gaps(record),
            *handovers.pictures(record),
        ]
        if record.transfers:
            drawn.append(transfer(record))
        return drawn


def thinned(
    points: Iterable[tuple[float, float, str]], width: float, height: float
) -> list[tuple[float, float, str]]:
    """Return the first point of each kind in each cell of the picture, in their order.

    What is left out would have been printed on the same spot in the same colour.
    """
    seen: set[tuple[int, int, str]] = set()
    kept = []
    for x, y, kind in points:
        cell = (
            int(CELLS_ACROSS * x / width) if width else 0,
            int(CELLS_UP * y / height) if height else 0,
            kind,
        )
        if cell not in seen:
            seen.add(cell)
            kept.append((x, y, kind))
    return kept


def merged(phases: Sequence[Phase]) -> list[Phase]:
    """Return the phases with neighbours of one name put together."""
    found: list[Phase] = []
    for phase in phases:
        if found and found[-1].name == phase.name:
            found[-1] = Phase(phase.name, found[-1].begin_s, phase.end_s)
        else:
            found.append(phase)
    return found


def places(record: Record, node: str) -> list[tuple[str, float, float]]:
    """Return where a node was: (place, from, to) in seconds."""
    own = [move for move in record.moves if move.node == node]
    if not own:
        return [(record.start[node], 0.0, record.end_s)] if node in record.start else []
    begins = [0.0, *(move.begin_s for move in own)]
    names = [own[0].origin, *(move.target for move in own)]
    return list(zip(names, begins, [*begins[1:], record.end_s], strict=True))


# --- round-trip time over time ------------------------------------------------------------------


def round_trip_time(record: Record) -> Picture:
    """Return the round-trip time of every probe over the run, coloured by path.

    One way it is the delay: nothing comes back.
    """
    one_way = record.one_way is not None
    what = "One-way delay" if one_way else "Round-trip time"
    title = f"{what}, by the path that the packets took"
    points = trips(record, one_way)
    if not points:
        came = "arrived" if one_way else "came back"
        why = f"no probe of this run {came} with its path known"
        return not_drawn("round-trip-time", title, why)
    end_s = record.end_s
    top = 1.12 * max(rtt for _, rtt, _ in points)
    kept = thinned(points, end_s, top)
    lanes = _lanes(record)
    heights = [0.95, 3.5, 0.3 + 0.17 * len(lanes)]
    figure = blank(WIDTH_IN, 1.25 + sum(heights), layout="constrained")
    band, axes, below = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    _draw_places(band, record, end_s)
    for path in PATHS:
        _scatter(axes, [(x, y) for x, y, kind in kept if kind == path], path, size=9)
    _draw_shortest(axes, record)
    axes.set_ylim(0, top)
    axes.set_ylabel(f"{what.lower()} (ms)")
    _mark_moves(axes, record.moves, labelled=len(record.moves) <= MOST_DETAILED_MOVES)
    _path_legend(axes, record, {kind for _, _, kind in kept})
    _draw_lanes(below, lanes, record)
    below.set_xlim(-0.005 * end_s, 1.005 * end_s)
    below.set_xlabel("time since the first probe (s)")
    echoed = f"{len(points)} of {len(record.probes)} probes"
    thinning = (
        ""
        if len(kept) == len(points)
        else f" Dots that would be printed on one spot are drawn once: {len(kept)} are shown."
    )
    caption = (
        f"{echoed} of {_what_was_timed(record)}, told from the packet headers on the "
        "two ends' own links; the legend has the medians. Dashed lines: a move's link down. Below: "
        f"every lost probe when it was sent, and every event that the hosts logged (filled: "
        f"{record.pair[0]}; hollow: {record.pair[1]}; bar: another host).{thinning}"
    )
    return Picture("round-trip-time", title, caption, _told_round_trips(record, points), figure)


def trips(record: Record, one_way: bool) -> list[tuple[float, float, str]]:
    """Return (sent, in s; round-trip time or delay, in ms; path) of every probe with one."""
    return [
        (probe.sent_s, took_ms, path)
        for probe in record.probes
        for took_ms, path in (
            (probe.delay_ms, probe.path) if one_way else (probe.rtt_ms, probe.round_trip_path),
        )
        if took_ms is not None and path
    ]


def _what_was_timed(record: Record) -> str:
    if record.one_way:
        return (
            f"{' to '.join(record.one_way)}, from program to program, since nothing comes back, "
            "by their paths"
        )
    return (
        f"{' and '.join(record.pair)}: each was turned round by the other end at once, and both it "
        "and its echo took the same path"
    )


def _told_round_trips(record: Record, points: Sequence[tuple[float, float, str]]) -> str:
    parts = []
    for path in PATHS:
        values = [rtt for _, rtt, kind in points if kind == path]
        if values:
            parts.append(
                f"{PATH_NAMES[path]} {min(values):.1f} to {max(values):.1f} ms "
                f"(median {median(values):.1f} ms, {len(values)} probes)"
            )
    order = ", then ".join(
        PATH_NAMES.get(phase.name, "switching to direct") for phase in merged(record.phases)
    )
    what = "One-way delays" if record.one_way else "Round-trip times"
    return f"{what} over time. {'; '.join(parts)}. The phases in order: {order}."


def _scatter(
    axes: Axes, points: Sequence[tuple[float, float]], path: str, size: float, hollow: bool = False
) -> None:
    colour = PATH_COLOURS[path]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        linestyle="none",
        marker=PATH_MARKERS[path],
        markersize=size**0.5,
        markerfacecolor="none" if hollow else colour,
        markeredgecolor=colour,
        markeredgewidth=0.8 if hollow else 0,
    )


def _draw_places(axes: Axes, record: Record, end_s: float) -> None:
    """Draw where the ends were, and the phases, as three rows of blocks."""
    rows = [
        *((node, places(record, node)) for node in record.pair),
        ("phase", [(p.name, p.begin_s, p.end_s) for p in merged(record.phases)]),
    ]
    bare(axes)
    for row, (_, blocks) in enumerate(rows):
        for name, begin, end in blocks:
            _draw_block(axes, -row, name, begin, end)
            if end - begin > SHORTEST_LABEL_SHARE * end_s:
                text = PATH_NAMES.get(name, name)
                weight = "bold" if name in PHASE_COLOURS else "normal"
                middle = (begin + end) / 2
                axes.text(middle, -row, text, ha="center", va="center_baseline", fontweight=weight)
    axes.set_yticks([0, -1, -2], [name for name, _ in rows])
    axes.tick_params(left=False)
    axes.set_ylim(-2.5, 0.5)


def _draw_block(axes: Axes, row: float, name: str, begin: float, end: float) -> None:
    """Draw a place or a phase: its ground, its hatch (an SVG needs that apart), its outline."""

    def layer(**look: Any) -> None:
        axes.barh(row, end - begin, left=begin, height=0.78, **look)

    colour = PHASE_COLOURS.get(name)
    if colour is None:
        layer(facecolor=PAPER if name == "lan" else BAR, linewidth=0)
    else:
        layer(facecolor=colour, alpha=0.25, linewidth=0)
        hatch = PHASE_HATCHES.get(name)
        layer(facecolor="none", edgecolor=colour, alpha=0.45, hatch=hatch, linewidth=0)
    layer(facecolor="none", edgecolor=MUTED, linewidth=0.7)


def _draw_shortest(axes: Axes, record: Record) -> None:
    """Draw what the best path takes where that was measured: in the first interval on it."""
    shortest, best = record.shortest_ms, record.first(record.best_path)
    if shortest is not None and best is not None and best.name != "via_gateway":
        ends = [best.begin_s, best.end_s]
        axes.plot(ends, [shortest] * 2, color=INK, linewidth=0.9, zorder=3)


def _mark_moves(axes: Axes, moved: Sequence[Move], labelled: bool) -> None:
    for move in moved:
        axes.axvline(move.link_down_s, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        if labelled:
            axes.annotate(
                f"{move.node} to {move.target}",
                (move.link_down_s, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                rotation=0,
                fontsize=8,
            )


def _path_legend(axes: Axes, record: Record, shown: set[str]) -> None:
    """Name the paths with the summary's medians."""
    handles = []
    for path in PATHS:
        if path in shown:
            known = record.trip_ms(path)
            label = PATH_NAMES[path] + (f" {milliseconds(known)}" if known is not None else "")
            handles.append(_sample(label, PATH_MARKERS[path], PATH_COLOURS[path]))
    shortest = record.shortest_ms
    best = record.best_path
    if shortest is not None and best != "via_gateway" and record.first(best) is not None:
        label = f"shortest path {milliseconds(shortest)}"
        handles.append(Line2D([], [], color=INK, linewidth=0.9, label=label))
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=len(handles),
        handletextpad=0.4, columnspacing=1.2, borderaxespad=0.2, handlelength=1.2, fontsize=8.5,
    )  # fmt: skip


def _sample(label: str, marker: str, colour: str, hollow: bool = False) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker=marker,
        markersize=5,
        markeredgecolor=colour,
        markerfacecolor="none" if hollow else colour,
        label=label,
    )


@dataclass(frozen=True, slots=True)
class _Lane:
    """A row of moments: (time, who) each; losses are drawn as such."""

    name: str
    moments: Sequence[tuple[float, str]]
    losses: bool = False


def _lanes(record: Record) -> list[_Lane]:
    """Return the lost probes of each end, then the events by their names, in order of time."""
    lanes = [
        _Lane(
            f"probe lost, from {node}",
            [(p.sent_s, node) for p in record.probes if p.sender == node and p.lost],
            losses=True,
        )
        for node in record.pair
    ]
    by_name: dict[str, list[tuple[float, str]]] = {}
    for event in record.events:
        if 0 <= event.at_s <= 1.005 * record.end_s and event.node != "testbed":
            by_name.setdefault(event.event, []).append((event.at_s, event.node))
    for name, moments in by_name.items():
        others = sorted({node for _, node in moments} - set(record.pair))
        lanes.append(_Lane(f"{name} ({', '.join(others)})" if others else name, moments))
    return lanes


def _draw_lanes(axes: Axes, lanes: Sequence[_Lane], record: Record) -> None:
    first, second = record.pair
    for row, lane in enumerate(lanes):
        for node, marker, hollow in ((first, "o", False), (second, "o", True), ("", "|", False)):
            times = [
                at
                for at, who in lane.moments
                if who == node or (not node and who not in record.pair)
            ]
            axes.plot(
                times,
                [-row] * len(times),
                linestyle="none",
                marker="x" if lane.losses else marker,
                markersize=4 if node else 6,
                markeredgewidth=0.8 if node else 1.1,
                markeredgecolor=LOST if lane.losses else INK,
                markerfacecolor="none" if hollow else INK,
            )
    axes.set_yticks([-row for row in range(len(lanes))], [lane.name for lane in lanes])
    axes.tick_params(axis="y", labelsize=8, left=False)
    axes.set_ylim(-len(lanes) + 0.4, 0.6)
    axes.grid(visible=False, axis="x")
    _mark_moves(axes, record.moves, labelled=False)


# --- the switch from the gateway to the direct path ---------------------------------------------


def switch_to_direct(record: Record) -> Picture:
    """Return the first switch: what was sent for it, and the delay of every probe meanwhile."""
    title = "The switch to the direct path, packet by packet"
    name = "switch-to-direct"
    switch = record.first("switch_to_direct")
    if switch is None:
        why = "the pair never began to switch to the direct path in this run"
        if record.best_path == "via_gateway":
            why = "in this run the VCM makes no pairs, the gateway is the best path"
        return not_drawn(name, title, why)
    messages = _switch_messages(record, switch)
    first = min([switch.begin_s, *(message.sent_s for message in messages)])
    begin, end = first - BEFORE_SWITCH_S, switch.end_s + AFTER_SWITCH_S
    # Times count from the session's detection, so that the chart reads as a stopwatch.
    probes = [p for p in record.probes if begin <= p.sent_s <= end]
    height = 0.22 * (len(messages) + 1)
    figure = blank(WIDTH_IN, 3.6 + height, layout="constrained")
    above, axes = figure.subplots(2, 1, sharex=True, height_ratios=[height, 2.6])
    _draw_messages(above, messages, first)
    _draw_setup(above, record, messages, first)
    _draw_delays(axes, probes, record.pair, first)
    axes.legend(
        handles=_delay_legend(probes, record.pair), loc="lower left", bbox_to_anchor=(-0.01, 1.0),
        ncols=5, handletextpad=0.1, columnspacing=1.0, borderaxespad=0.2, fontsize=8.5,
    )  # fmt: skip
    axes.set_xlim(1000 * (begin - first), 1000 * (end - first))
    axes.set_xlabel("time (ms) since the gateway's first message about the session, or the offer")
    axes.set_ylabel("one-way delay (ms)")
    setup, bound = record.value("direct_setup_ms"), record.value("direct_setup_lower_bound_ms")
    lost = sum(probe.lost and probe.move is None for probe in probes)
    others = sum(probe.lost and probe.move is not None for probe in probes)
    moved = f"; {others} more in view belong to the move before it" if others else ""
    setup_text = ""
    if setup is not None:
        setup_text = f"Set-up took {milliseconds(setup)}; its bound is {milliseconds(bound)}. "
    if setup is not None and bound is not None and setup < bound:
        setup_text += (
            "It can be shorter than its bound by up to one probe interval: its clock starts with "
            "the pair's first packet, but the gateway may decide before that, with the binding. "
        )
    caption = (
        "Above: the messages of the switch, each from sending to arrival, read from captures with "
        "their ESP opened, with figure 2's numerals; dark, signalling; light, Mobile IPv6. "
        "Below: every probe at the time when it was "
        f"sent; filled, from {record.pair[0]}; hollow, from {record.pair[1]}. {setup_text}"
        f"Probes lost by the switch: {lost}{moved}."
    )
    told = "; ".join(
        f"{_label(m)} at {1000 * (m.sent_s - first):.1f} ms for {m.transit_ms:.1f} ms"
        for m in messages
    )
    return Picture(name, title, caption, f"Messages of the switch: {told}. {setup_text}", figure)


def _switch_messages(record: Record, switch: Phase) -> list[Message]:
    """Return the numbered messages of the switch, with the session's detection before it."""
    told = [
        message.sent_s
        for message in record.messages
        if message.name in ("SessionDetected", "NodeExternal") and message.sent_s <= switch.begin_s
    ]
    begin = max(told, default=switch.begin_s)
    return [m for m in record.messages if m.numeral and begin <= m.sent_s < switch.end_s]


def _label(message: Message) -> str:
    return f"{message.numeral} {message.name}, {message.source or '?'} to {message.destination}"


def _draw_messages(axes: Axes, messages: Sequence[Message], zero_s: float) -> None:
    for row, message in enumerate(messages):
        begin = 1000 * (message.sent_s - zero_s)
        colour = MUTED if message.protocol == "signalling" else BAR
        axes.barh(-row, message.transit_ms, left=begin, height=0.5, color=colour, linewidth=0)
        axes.plot(
            [begin, begin + message.transit_ms], [-row, -row], color=INK, marker="|", markersize=7,
            linewidth=0,
        )  # fmt: skip
    axes.set_yticks([-row for row in range(len(messages))], [_label(m) for m in messages])
    axes.tick_params(axis="y", labelsize=8, left=False)
    axes.tick_params(axis="x", bottom=False, labelbottom=False)
    axes.spines["bottom"].set_visible(False)
    axes.set_ylim(-max(1, len(messages)) + 0.3, 1.7)


def _draw_setup(axes: Axes, record: Record, messages: Sequence[Message], zero_s: float) -> None:
    """Draw the time that the summary calls the set-up: it ends with the last `PeerReady`."""
    setup, bound = record.value("direct_setup_ms"), record.value("direct_setup_lower_bound_ms")
    ready = [message.arrived_s for message in messages if message.name == "PeerReady"]
    if setup is None or not ready:
        return
    end = 1000 * (max(ready) - zero_s)
    axes.plot(
        [end - setup, end], [1, 1], color=PATH_COLOURS["direct"], linewidth=2,
        marker="|", markersize=9, markeredgewidth=1.6,
    )  # fmt: skip
    axes.annotate(
        f"set-up {milliseconds(setup)} (bound {milliseconds(bound)})", (end, 1), xytext=(7, 0),
        textcoords="offset points", va="center", fontsize=8,
    )  # fmt: skip


def _draw_delays(axes: Axes, probes: Sequence[Probe], pair: tuple[str, str], zero_s: float) -> None:
    """Draw the one-way delays of probes in milliseconds from a moment, and the lost ones."""
    first, second = pair
    for path in PATHS:
        for sender, hollow in ((first, False), (second, True)):
            points = [
                (1000 * (probe.sent_s - zero_s), probe.delay_ms)
                for probe in probes
                if probe.path == path and probe.sender == sender and probe.delay_ms is not None
            ]
            _scatter(axes, points, path, size=14, hollow=hollow)
    known = [probe.delay_ms for probe in probes if probe.delay_ms is not None]
    top = max(known, default=0.0) or 1.0
    axes.set_ylim(-0.14 * top, 1.12 * top)
    for row, sender in enumerate(pair):
        lost = [1000 * (p.sent_s - zero_s) for p in probes if p.lost and p.sender == sender]
        axes.plot(
            lost,
            [-(0.05 + 0.05 * row) * top] * len(lost),
            linestyle="none",
            marker="x" if not row else "+",
            markersize=4,
            markeredgewidth=0.9,
            color=LOST,
        )


def _delay_legend(probes: Sequence[Probe], pair: tuple[str, str]) -> list[Line2D]:
    shown = {probe.path for probe in probes}
    handles = [
        _sample(PATH_NAMES[path], PATH_MARKERS[path], PATH_COLOURS[path])
        for path in PATHS
        if path in shown
    ]
    if handles:
        handles.append(_sample(f"from {pair[0]}", "o", MUTED))
        handles.append(_sample(f"from {pair[1]}", "o", MUTED, hollow=True))
    for sender, marker in zip(pair, "x+", strict=True):
        if any(probe.lost and probe.sender == sender for probe in probes):
            handles.append(_sample(f"lost, {sender}", marker, LOST))
    return handles


# --- moves --------------------------------------------------------------------------------------


def moves(record: Record) -> Picture:
    """Return one panel a move: the delay of every probe around its link down."""
    name, title = "moves", "Every move, packet by packet"
    if not record.moves:
        why = "no move was measured in this run"
        return not_drawn(name, title, why)
    shown = record.detailed_moves
    columns = 2
    rows = -(-len(shown) // columns)
    figure = blank(WIDTH_IN, 0.6 + 2.35 * rows, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    flat = [axes for line in grid for axes in line]
    for axes in flat[len(shown) :]:
        axes.set_visible(False)
    for move, axes in zip(shown, flat, strict=False):
        _draw_move(axes, move, record)
    for line in grid:
        line[0].set_ylabel("one-way delay (ms)")
    for axes in flat[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel("time (ms) since link down")
    figure.legend(
        handles=[
            *_delay_legend(record.probes, record.pair),
            Patch(facecolor=BAR, alpha=0.5, label="no link"),
        ],
        loc="outside upper left",
        ncols=9,
        handletextpad=0.2,
        columnspacing=1.0,
        fontsize=8.5,
    )
    caption = (
        f"Every probe at the time when it was sent; filled, from {record.pair[0]}; hollow, from "
        f"{record.pair[1]}; lost ones below zero. Shaded: the time without a link. Vertical lines: "
        "the first arrival on the new path, solid from the node that moved, dotted to it."
        f"{record.detailed_moves_told}"
    )
    told = "; ".join(
        f"{move.title}: gap {milliseconds(move.gap_ms)}, {move.lost} lost" for move in shown
    )
    return Picture(name, title, caption, f"One panel for each move. {told}.", figure)


def _draw_move(axes: Axes, move: Move, record: Record) -> None:
    zero = move.link_down_s
    settled = move.settled_s
    next_move = min((m.begin_s for m in record.moves if m.begin_s > zero), default=record.end_s)
    after = max(0.0, settled - zero) * 1.25 + AFTER_MOVE_S if settled is not None else 1.0
    begin, end = move.begin_s - 0.35 * after, min(zero + after, max(next_move, zero + 0.05))
    probes = [probe for probe in record.probes if begin <= probe.sent_s <= end]
    _draw_delays(axes, probes, record.pair, zero)
    axes.axvspan(0, 1000 * (move.link_up_s - zero), color=BAR, alpha=0.5, linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for way, dashes in ((move.outbound, "solid"), (move.inbound, "dotted")):
        if way.first_arrival_s is not None:
            axes.axvline(
                1000 * (way.first_arrival_s - zero), color=INK, linewidth=0.9, linestyle=dashes
            )
    axes.set_xlim(1000 * (begin - zero), 1000 * (end - zero))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_title(f"{move.index + 1}  {move.title} ({move.kind}), {move.lost} lost")


def gaps(record: Record) -> Picture:
    """Return each move's time without traffic against what propagation alone needs."""
    name, title = "gaps", "Time without traffic, against its lower bound"
    measured = [move for move in record.detailed_moves if _ways(move)]
    if not measured:
        why = "no move of this run has a first arrival on its new path"
        return not_drawn(name, title, why)
    lines = [(move, label, way) for move in measured for label, way in _ways(move)]
    figure = blank(WIDTH_IN, 0.9 + 0.27 * len(lines), layout="constrained")
    axes = figure.subplots()
    for row, (_, _, way) in enumerate(lines):
        _draw_gap(axes, -row, way)
    axes.set_yticks(
        [-row for row in range(len(lines))],
        [f"{move.index + 1}  {move.title}, {label}" for move, label, _ in lines],
    )
    for (row, (move, _, _)), (_, (following, _, _)) in pairwise(enumerate(lines)):
        if move is not following:
            axes.axhline(-row - 0.5, color=BAR, linewidth=0.6)
    axes.set_xlim(left=0, right=1.16 * max(way.gap_ms or 0 for _, _, way in lines) + 1)
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.tick_params(axis="y", left=False)
    axes.set_xlabel("time (ms) from link down to the first arrival on the new path")
    axes.grid(visible=False, axis="y")
    axes.legend(
        handles=[
            Line2D([], [], marker="o", color=INK, linestyle="none", label="measured gap"),
            Line2D([], [], marker="|", color=INK, linestyle="none", markersize=10,
                   markeredgewidth=2, label="lower bound: propagation alone"),
        ],
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handletextpad=0.1,
        borderaxespad=0.2,
    )  # fmt: skip
    caption = (
        "From link down to the first probe or echo that crossed the moved node's new link and "
        "arrived at the other program, in both directions, the time without a link included. The "
        "bound assumes that every host acts in no time and that a packet is always waiting; "
        f"docs/schema.md derives it.{record.detailed_moves_told}"
    )
    told = "; ".join(
        f"{move.title}, {label}: {milliseconds(way.gap_ms)} against "
        f"{milliseconds(way.lower_bound_ms)}"
        for move, label, way in lines
    )
    return Picture(name, title, caption, f"{told}.", figure)


def _ways(move: Move) -> list[tuple[str, Way]]:
    ways = ((f"from {move.node}", move.outbound), (f"to {move.node}", move.inbound))
    return [(label, way) for label, way in ways if way.gap_ms is not None]


def _draw_gap(axes: Axes, row: float, way: Way) -> None:
    gap, bound = way.gap_ms, way.lower_bound_ms
    if gap is None:
        return
    axes.barh(row, gap, height=0.42, color=BAR, linewidth=0)
    axes.plot([gap], [row], marker="o", color=INK, markersize=5)
    text = f"{gap:.1f}"
    if bound is not None:
        axes.plot([bound], [row], marker="|", color=INK, markersize=12, markeredgewidth=2)
        text += f"  (bound {bound:.1f})"
    axes.annotate(
        text, (max(gap, bound or 0), row), xytext=(7, 0), textcoords="offset points",
        va="center", fontsize=8,
    )  # fmt: skip


# --- a TCP transfer -----------------------------------------------------------------------------


def transfer(record: Record) -> Picture:
    """Return what a TCP transfer's ends passed in every 100 ms."""
    name, title = "transfer", "A TCP transfer across every move"
    ends = {node: passed for node, passed in record.transfers.items() if passed}
    if not ends:
        why = "no byte of the TCP transfer passed"
        return not_drawn(name, title, why)
    figure: Figure = blank(WIDTH_IN, 1.0 + 1.5 * len(ends), layout="constrained")
    panels = figure.subplots(len(ends), 1, sharex=True, squeeze=False)
    for (node, passed), axes in zip(ends.items(), panels[:, 0], strict=True):
        axes.bar(
            [entry.at_s for entry in passed],
            [entry.count * 8 / 1e5 for entry in passed],
            width=0.1, align="edge", color=PATH_COLOURS["direct"], linewidth=0,
        )  # fmt: skip
        axes.set_ylabel("Mbit/s")
        axes.set_title(node)
        axes.set_ylim(bottom=0)
        _mark_moves(axes, record.moves, labelled=False)
    panels[-1, 0].set_xlabel("time since the first probe (s)")
    caption = (
        "What each end's program passed to or got from its socket, in bins of 100 ms. Dashed "
        "lines: a move's link down."
    )
    told = "; ".join(
        f"{node}: {sum(entry.count for entry in passed)} bytes in {len(passed)} bins"
        for node, passed in ends.items()
    )
    return Picture(name, title, caption, f"{told}.", figure)
