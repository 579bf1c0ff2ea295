"""The handover microscope's figures: where each millisecond of a handover went."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.report.drawing import (
    BAR,
    INK,
    MUTED,
    PATH_COLOURS,
    WIDTH_IN,
    Picture,
    blank,
    milliseconds,
    not_drawn,
)
from experiments.report.record import Handover, Move, Record

FEWEST_FOR_SPREAD = 8
"""Handovers below which their spread says nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the way to the first packet on the new path: it lasts until a step is taken."""

    name: str
    until: str
    colour: str
    hatch: str = ""


STAGES = (
    Stage("no link", "link_up", BAR),
    Stage("router solicitation", "router_solicitation", MUTED),
    Stage("router advertisement", "router_advertisement", PATH_COLOURS["via_gateway"], "////"),
    Stage("care-of address", "care_of_address", INK),
    Stage("return routability", "peer_update", PATH_COLOURS["via_home_agents"], "xxxx"),
    Stage("binding update to the peer", "binding_at_peer", PATH_COLOURS["direct"], r"\\\\"),
    Stage("first packet from the peer", "inbound_arrived", PATH_COLOURS["inside"], "...."),
)
"""What has to be done, one after the other, before the first packet comes in by the direct path."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something that begins with one step and ends with another."""

    name: str
    begin: str
    end: str
    colour: str


EXCHANGES = (
    Exchange("no link", "link_down", "link_up", BAR),
    Exchange("router solicitation, advertisement", "router_solicitation", "router_advertisement",
             PATH_COLOURS["via_gateway"]),
    Exchange("care-of address in use", "router_advertisement", "care_of_address", INK),
    Exchange("binding update to ha, acknowledgement", "home_update", "home_acknowledgement", MUTED),
    Exchange("binding update to sg, acknowledgement", "gateway_update", "gateway_acknowledgement",
             MUTED),
    Exchange("home test init, home test", "home_test_init", "home_test",
             PATH_COLOURS["via_home_agents"]),
    Exchange("care-of test init, care-of test", "care_of_test_init", "care_of_test",
             PATH_COLOURS["via_home_agents"]),
    Exchange("binding update to the peer", "peer_update", "binding_at_peer",
             PATH_COLOURS["direct"]),
    Exchange("its acknowledgement", "binding_at_peer", "peer_acknowledgement",
             PATH_COLOURS["direct"]),
    Exchange("first packet out", "outbound_sent", "outbound_arrived", PATH_COLOURS["inside"]),
    Exchange("first packet in", "inbound_sent", "inbound_arrived", PATH_COLOURS["inside"]),
)  # fmt: skip


def pictures(record: Record) -> list[Picture]:
    """Return the figures of a run's handovers; none for a run without any."""
    if not record.handovers:
        return []
    move_by_index = {move.index: move for move in record.moves}
    known = [
        (move_by_index[handover.move], handover)
        for handover in record.handovers
        if handover.move in move_by_index
    ]
    shown = [pair for pair in known if pair[0] in record.detailed_moves]
    drawn = [waterfall(shown, record.detailed_moves_told), exchanges(known)]
    if len(known) >= FEWEST_FOR_SPREAD:
        drawn.append(spread([move for move, _ in known]))
    return drawn


def _since_begin_ms(handover: Handover, step: str) -> float | None:
    at_s = handover.at_s.get(step)
    begin_s = min(handover.at_s["link_down"], handover.at_s["link_up"])
    return None if at_s is None else 1000 * (at_s - begin_s)


def stages_of(handover: Handover) -> list[tuple[Stage, float, float]]:
    """Return the stages that a handover took, with their begin and end in ms since link down.

    A step that was not taken, or was over before the one above it, leaves its stage out.
    """
    found = []
    begin_ms = 0.0
    for stage in STAGES:
        end_ms = _since_begin_ms(handover, stage.until)
        if end_ms is not None and end_ms > begin_ms:
            found.append((stage, begin_ms, end_ms))
            begin_ms = end_ms
    return found


def waterfall(shown: Sequence[tuple[Move, Handover]], told: str) -> Picture:
    """Return one row a handover: the stages until the first packet came in by the new path."""
    name, title = "handover-stages", "Where each millisecond of a handover went"
    if not shown:
        why = "none of the moves shown is a handover"
        return not_drawn(name, title, why)
    figure = blank(WIDTH_IN, 1.3 + 0.3 * len(shown), layout="constrained")
    axes = figure.subplots()
    for row, (move, handover) in enumerate(shown):
        for stage, begin_ms, end_ms in stages_of(handover):
            _bar(axes, -row, begin_ms, end_ms, stage.colour, stage.hatch)
        outbound_ms = _since_begin_ms(handover, "outbound_arrived")
        if outbound_ms is not None:
            axes.plot([outbound_ms], [-row], marker="D", color=INK, markersize=4)
        if move.inbound.lower_bound_ms is not None:
            axes.plot(
                [move.inbound.lower_bound_ms], [-row], marker="|", color=INK, markersize=14,
                markeredgewidth=2,
            )  # fmt: skip
        if move.inbound.gap_ms is not None:
            axes.annotate(
                f"{move.inbound.gap_ms:.1f}", (move.inbound.gap_ms, -row), xytext=(7, 0),
                textcoords="offset points", va="center", fontsize=8,
            )  # fmt: skip
    axes.set_yticks(
        [-row for row in range(len(shown))],
        [f"{move.index + 1}  {move.title}" for move, _ in shown],
    )
    _plain(axes, len(shown))
    axes.set_xlabel("time (ms) since link down")
    axes.legend(
        handles=[
            *(Patch(facecolor=s.colour, hatch=s.hatch, edgecolor="#ffffff", label=s.name)
              for s in STAGES),
            Line2D([], [], marker="D", color=INK, linestyle="none", markersize=4,
                   label="first packet out arrives"),
            Line2D([], [], marker="|", color=INK, linestyle="none", markersize=10,
                   markeredgewidth=2, label="lower bound, inbound"),
        ],
        loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=3, borderaxespad=0.2,
    )  # fmt: skip
    caption = (
        "Each handover from link down to the arrival of the first packet that the peer sent to the "
        "new care-of address, in stages of which each waits for the one before; all read from "
        "captures on the nodes' own links. The bound is propagation alone (docs/schema.md)." + told
    )
    words = "; ".join(
        f"{move.title}: "
        + ", ".join(f"{stage.name} {end - begin:.1f} ms" for stage, begin, end in stages_of(taken))
        for move, taken in shown
    )
    return Picture(name, title, caption, f"{words}.", figure)


def exchanges(known: Sequence[tuple[Move, Handover]]) -> Picture:
    """Return all exchanges of the handover whose gap is the median."""
    name, title = "handover-exchanges", "One handover, exchange by exchange"
    complete = sorted((p for p in known if p[0].gap_ms is not None), key=lambda p: p[0].gap_ms or 0)
    if not complete:
        why = "no handover of this run has a first arrival in both directions"
        return not_drawn(name, title, why)
    move, handover = complete[(len(complete) - 1) // 2]
    taken = [
        (exchange, begin, end)
        for exchange in EXCHANGES
        if (begin := _since_begin_ms(handover, exchange.begin)) is not None
        and (end := _since_begin_ms(handover, exchange.end)) is not None
    ]
    figure = blank(WIDTH_IN, 0.8 + 0.27 * len(taken), layout="constrained")
    axes = figure.subplots()
    for row, (exchange, begin_ms, end_ms) in enumerate(taken):
        _bar(axes, -row, begin_ms, end_ms, exchange.colour)
        axes.plot(
            [begin_ms, end_ms], [-row, -row], color=INK, marker="|", markersize=7, linewidth=0
        )
        axes.annotate(
            f"{begin_ms:.1f} to {end_ms:.1f}", (end_ms, -row), xytext=(7, 0),
            textcoords="offset points", va="center", fontsize=8,
        )  # fmt: skip
    for way, dashes in ((move.outbound, "dotted"), (move.inbound, "solid")):
        if way.lower_bound_ms is not None:
            axes.axvline(way.lower_bound_ms, color=INK, linewidth=0.9, linestyle=dashes)
    axes.set_yticks(
        [-row for row in range(len(taken))], [exchange.name for exchange, _, _ in taken]
    )
    _plain(axes, len(taken))
    axes.set_xlabel("time (ms) since link down")
    chosen = "the only one" if len(complete) == 1 else f"of {len(complete)}, the one in the middle"
    caption = (
        f"Handover {move.index + 1} ({move.title}), {chosen} by its gap: every exchange from the "
        "first sending of its request to the first arrival of its answer, read from captures. "
        "Vertical lines: the lower bounds of the first arrival, solid to the node that moved, "
        "dotted from it."
    )
    words = "; ".join(f"{e.name} from {b:.1f} to {end:.1f} ms" for e, b, end in taken)
    return Picture(name, title, caption, f"{move.title}: {words}.", figure)


def spread(moves: Sequence[Move]) -> Picture:
    """Return how the gaps are spread: a box for each pair of networks, and how many are below."""
    name, title = "handover-spread", "How long handovers took"
    ways: dict[tuple[str, str], list[float]] = {}
    gaps_by_way: Mapping[str, list[float]] = {"from the node": [], "to the node": []}
    for move in moves:
        if move.gap_ms is not None:
            ways.setdefault((move.origin, move.target), []).append(move.gap_ms)
        for label, way in zip(gaps_by_way, (move.outbound, move.inbound), strict=True):
            if way.gap_ms is not None:
                gaps_by_way[label].append(way.gap_ms)
    if not ways:
        why = "no handover of this run has a first arrival in both directions"
        return not_drawn(name, title, why)
    figure = blank(WIDTH_IN, 3.4, layout="constrained")
    boxes, shares = figure.subplots(1, 2, width_ratios=[1.25, 1])
    labels = sorted(ways)
    line = {"color": INK, "linewidth": 0.9}
    boxes.boxplot(
        [ways[label] for label in labels], whis=(0, 100), patch_artist=True, widths=0.5,
        boxprops={"facecolor": BAR, "edgecolor": INK, "linewidth": 0.7}, whiskerprops=line,
        capprops=line, medianprops={"color": PATH_COLOURS["via_gateway"], "linewidth": 1.8},
    )  # fmt: skip
    ticks = [f"{origin}\nto {target}\n({len(ways[origin, target])})" for origin, target in labels]
    boxes.set_xticks(range(1, len(labels) + 1), ticks)
    boxes.set_ylim(bottom=0)
    boxes.set_ylabel("gap (ms), the worse direction")
    boxes.grid(visible=False, axis="x")
    for (label, gaps), (colour, dashes) in zip(
        gaps_by_way.items(),
        ((PATH_COLOURS["direct"], "solid"), (PATH_COLOURS["via_gateway"], "dashed")),
        strict=True,
    ):
        draw_share(shares, gaps, len(gaps), color=colour, linestyle=dashes, label=label)
    shares.set_xlabel("gap (ms)")
    shares.legend(loc="lower right")
    every = [gap for gaps in ways.values() for gap in gaps]
    caption = (
        f"{len(every)} handovers: median {milliseconds(median(every))}, longest "
        f"{milliseconds(max(every))}. Left: by networks (how many in brackets), the worse "
        "direction of each; boxes from the first to the third quartile, whiskers to the extremes. "
        "Right: the share of handovers after which a packet of that direction had arrived."
    )
    words = "; ".join(
        f"{origin} to {target}: median {milliseconds(median(gaps))}, longest "
        f"{milliseconds(max(gaps))}"
        for (origin, target), gaps in sorted(ways.items())
    )
    return Picture(name, title, caption, f"{words}.", figure)


def draw_share(axes: Axes, gaps: Sequence[float], of: int, **look: Any) -> None:
    """Draw how many of so many handovers had a gap at or below each value."""
    share = [100 * rank / of for rank in range(len(gaps) + 1)]
    axes.step([0, *sorted(gaps)], share, where="post", **look)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 104)
    axes.set_ylabel("handovers at or below (%)")


def _bar(
    axes: Axes, row: float, begin_ms: float, end_ms: float, colour: str, hatch: str = ""
) -> None:
    axes.barh(
        row, end_ms - begin_ms, left=begin_ms, height=0.56, facecolor=colour, hatch=hatch,
        edgecolor="#ffffff", linewidth=0.4,
    )  # fmt: skip


def _plain(axes: Axes, rows: int) -> None:
    axes.set_ylim(-rows + 0.4, 0.6)
    axes.set_xlim(left=0, right=1.14 * axes.get_xlim()[1])
    axes.tick_params(axis="y", left=False)
    axes.grid(visible=False, axis="y")
