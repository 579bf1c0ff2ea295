"""The walk with the seed's system, with a hub alone, and with other VPNs: what differs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.analyse import at_most
from experiments.measure.timeline import MoveKind
from experiments.network_plan import INSIDE
from experiments.report.drawing import (
    INK,
    LOST,
    MUTED,
    PATH_COLOURS,
    PATH_NAMES,
    WIDTH_IN,
    Picture,
    blank,
    not_drawn,
)
from experiments.resultset import ResultSet
from experiments.study.study import Check, Row, Study

RUNS: Mapping[str, Mapping[str, str]] = {
    "hub only": {"best_path": "via_gateway"},
    "embodiment 1": {"embodiment": "1"},
    "embodiment 2": {"embodiment": "2"},
    "WireGuard": {"system": "wireguard"},
    "strongSwan": {"system": "strongswan"},
    "plain MIPv6": {"system": "mip6"},
}
"""What is compared, and what each changes of the study's scenario."""
USUAL = {"system": "mobivpn", "embodiment": "1", "best_path": "direct"}
DIRECT = ("embodiment 1", "embodiment 2", "plain MIPv6")
"""Those whose traffic leaves the gateway."""
OPEN = "plain MIPv6"
"""What protects nothing: its clear text is shown, and not judged."""

TRIP, GAP, OVERHEAD, DIRECT_AFTER, CLEAR = (
    "round_trip_ms",
    "gap_ms",
    "overhead_bytes",
    "direct_after_s",
    "clear_text_packets",
)
COLUMNS = ("system", "what", "detail", "value", "count")
"""A row: of `count` things, each is `value`; `detail` says of which path, places or move.

The `count` of a move is what was lost by it.
"""
KIND_NAMES = {
    MoveKind.LEAVING: "leaves the company",
    MoveKind.HANDOVER: "changes networks",
    MoveKind.RETURNING: "comes home",
}
KIND_LOOKS: Mapping[MoveKind, Mapping[str, Any]] = {
    kind: {
        "color": colour,
        "marker": marker,
        "linestyle": "none",
        "markersize": 6,
        "alpha": 0.85,
    }
    for kind, colour, marker in zip(
        KIND_NAMES, (INK, PATH_COLOURS["via_home_agents"], MUTED), "osv", strict=True
    )
}
"""No colour of a path that the figure shows."""


def name_of(scenario: Mapping[str, Any]) -> str:
    """Return what a run of the study is of."""
    return next(
        name
        for name, changed in RUNS.items()
        if all(scenario[key] == value for key, value in {**USUAL, **changed}.items())
    )


def derive(folder: Path) -> dict[str, Any]:
    """Return what a run shows of its system, from its tables."""
    results = ResultSet(folder)
    run = results.load_run()
    name, best = name_of(run["scenario"]), run["variants"]["best_path"]
    moves = list(results.load_table("moves"))
    trips: Counter[tuple[str, float]] = Counter()
    overheads: Counter[tuple[str, int]] = Counter()
    for probe in results.load_table("probes"):
        places = probe["sender_place"], probe["receiver_place"]
        if probe["path"] != best or probe["phase"] != best or INSIDE in places:
            continue
        if probe["overhead_bytes"]:
            overheads[best, int(probe["overhead_bytes"])] += 1
        if probe["echo_path"] == best and probe["rtt_ms"]:
            trips[" and ".join(sorted(places)), float(probe["rtt_ms"])] += 1
    gaps = [(_told(move), _worse_gap_ms(move), int(move["lost"])) for move in moves]
    found = [
        *((TRIP, detail, value, count) for (detail, value), count in sorted(trips.items())),
        *((OVERHEAD, detail, value, count) for (detail, value), count in sorted(overheads.items())),
        *((GAP, detail, value, count) for detail, value, count in gaps),
        (DIRECT_AFTER, "", _direct_after_s(moves, results.load_table("phases")), 1),
        (CLEAR, "", None, len(list(results.load_table("clear_text")))),
    ]
    return {"rows": [dict(zip(COLUMNS, (name, *row), strict=True)) for row in found]}


def _told(move: Mapping[str, str]) -> str:
    return f"{move['kind']}: {move['node']}, {move['from']} to {move['to']}"


def _worse_gap_ms(move: Mapping[str, str]) -> float | None:
    gaps = [move["outbound_gap_ms"], move["inbound_gap_ms"]]
    return max(map(float, gaps)) if all(gaps) else None


def _direct_after_s(
    moves: Sequence[Mapping[str, str]], phases: Sequence[Mapping[str, str]]
) -> float | None:
    """Return when both directions are direct, from when both nodes have a link outside."""
    leaving = [float(m["link_up_s"]) for m in moves if m["kind"] == MoveKind.LEAVING.value]
    direct = [float(phase["begin_s"]) for phase in phases if phase["phase"] == "direct"]
    return direct[0] - max(leaving[:2]) if direct else None


def values_of(rows: Sequence[Row]) -> list[Row]:
    """Return one row a system: medians, the gap of each move, what was lost in all."""
    values = []
    order = list(RUNS)
    all_places = sorted({row["detail"] for row in rows if row["what"] == TRIP})
    all_moves = dict.fromkeys(row["detail"] for row in rows if row["what"] == GAP)
    ordered = sorted(rows, key=lambda row: order.index(row["system"]))
    for name, group in groupby(ordered, key=lambda row: row["system"]):
        own = list(group)
        gaps = [row for row in own if row["what"] == GAP]
        trips = [row for row in own if row["what"] == TRIP]
        values.append(
            {
                "system": name,
                "path": next((row["detail"] for row in own if row["what"] == OVERHEAD), None),
                **{
                    f"round_trip_ms, {places}": _median([r for r in trips if r["detail"] == places])
                    for places in all_places
                },
                **{
                    f"gap_ms, {move}": next((r["value"] for r in gaps if r["detail"] == move), None)
                    for move in all_moves
                },
                "lost_probes": sum(row["count"] for row in gaps),
                "overhead_bytes": _median([row for row in own if row["what"] == OVERHEAD]),
                "direct_after_s": next(
                    (row["value"] for row in own if row["what"] == DIRECT_AFTER), None
                ),
                "clear_text_packets": sum(row["count"] for row in own if row["what"] == CLEAR),
            }
        )
    return values


def _median(rows: Sequence[Row]) -> float | None:
    if not rows:
        return None
    return float(np.median(np.repeat([r["value"] for r in rows], [r["count"] for r in rows])))


def _of(value: Row, what: str) -> dict[str, float | None]:
    """Return what a system has of something, by its detail."""
    return {
        key.removeprefix(f"{what}, "): number
        for key, number in value.items()
        if key.startswith(f"{what}, ")
    }


def judge(values: Sequence[Row]) -> list[Check]:
    """Hold the systems against what each is to be, and the direct ones against the hub."""
    by_name = {value["system"]: value for value in values}
    never = [n for n in DIRECT if n in by_name and by_name[n]["direct_after_s"] is None]
    hub = _of(by_name["hub only"], TRIP) if "hub only" in by_name else {}
    ratios = [
        trip / hub[places]
        for name in DIRECT
        for places, trip in _of(by_name.get(name, {}), TRIP).items()
        if trip and hub.get(places)
    ]
    unknown = sum(None in (*_of(v, TRIP).values(), v["overhead_bytes"]) for v in values)
    return [
        at_most("systems without a run", len(RUNS) - len(values), 0),
        at_most("systems without a round trip or an overhead", unknown, 0),
        at_most("direct systems that never are direct", len(never), 0),
        at_most("direct round trip / hub only, the greatest", max(ratios, default=None), 1),
        at_most(
            "clear text packets outside",
            sum(v["clear_text_packets"] for v in values if v["system"] != OPEN),
            0,
        ),
    ]


# --- the picture --------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's one figure."""
    return [side_by_side(values)]


def side_by_side(values: Sequence[Row]) -> Picture:
    """Return all systems, a line each, a panel for each thing that is compared."""
    name, title = "compare", "One walk, with each system"
    if not values:
        return not_drawn(name, title)
    figure = blank(WIDTH_IN, 1.5 + 0.5 * len(values), layout="constrained")
    axes_of = figure.subplots(1, 5, sharey=True, width_ratios=(3, 5, 2.2, 2.6, 2.6))
    lines = range(len(values))
    trips = [_first(_of(value, TRIP)) for value in values]
    colours = [PATH_COLOURS.get(value["path"] or "", INK) for value in values]
    _bars(axes_of[0], trips, colours, "{:.1f}")
    axes_of[0].set_title("round trip (ms)")
    for line, value in zip(lines, values, strict=True):
        for detail, gap_ms in _of(value, GAP).items():
            if gap_ms is not None:
                axes_of[1].plot(gap_ms, line, **KIND_LOOKS[_kind(detail)])
    axes_of[1].set_title("interruption by each move (ms)")
    axes_of[1].set_xlim(left=0)
    _bars(axes_of[2], [value["lost_probes"] for value in values], [LOST] * len(values), "{:.0f}")
    axes_of[2].set_title("lost packets")
    overheads = [value["overhead_bytes"] for value in values]
    _bars(axes_of[3], overheads, colours, "{:.0f}")
    axes_of[3].set_title("overhead (bytes)")
    after = [value["direct_after_s"] for value in values]
    _bars(axes_of[4], after, colours, "{:.2f}", nothing="never")
    axes_of[4].set_title("direct after (s)")
    axes_of[0].set_yticks(lines, [value["system"] for value in values])
    axes_of[0].set_ylim(len(values) - 0.5, -0.5)
    for axes in axes_of:
        axes.grid(visible=axes is axes_of[1], axis="x")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", left=False)
    kinds = [
        Line2D([], [], label=f"a node {told}", **KIND_LOOKS[kind])
        for kind, told in KIND_NAMES.items()
    ]
    paths = [
        Line2D([], [], color=PATH_COLOURS[path], linewidth=5, label=PATH_NAMES[path])
        for path in ("via_gateway", "direct")
    ]
    figure.legend(handles=[*paths, *kinds], loc="outside upper left", ncols=5)
    places = next(iter(_of(values[0], TRIP)), "the first two networks")
    caption = (
        f"Round trip: median with the nodes in {places}, on the path where the system leaves them. "
        "Interruption: from link down to the first arrival by the new link, in the direction that "
        "waits longer. Lost: probes of all moves, one each 5 ms and direction. Overhead: what the "
        "larger packet on the two nodes' links has beside the plain one. Direct after: from the "
        "second node's link outside until both directions are direct. From captures and the ends' "
        "own logs; colour: the path."
    )
    told = "; ".join(_in_words(value) for value in values)
    return Picture(name, title, caption, f"{told}.", figure)


def _bars(
    axes: Axes,
    values: Sequence[float | None],
    colours: Sequence[str],
    form: str,
    nothing: str = "no sample",
) -> None:
    axes.barh(
        range(len(values)), [value or 0 for value in values], 0.6, color=colours, edgecolor=INK,
        linewidth=0.5,
    )  # fmt: skip
    for line, value in enumerate(values):
        text = nothing if value is None else form.format(value)
        axes.annotate(text, (value or 0, line), xytext=(3, 0), textcoords="offset points",
                      va="center", fontsize=8)  # fmt: skip
    axes.set_xlim(0, 1.45 * max((value for value in values if value), default=1))


def _first(values: Mapping[str, float | None]) -> float | None:
    return next(iter(values.values()), None)


def _kind(detail: str) -> MoveKind:
    """Return which kind of move a detail is of."""
    return MoveKind(detail.partition(":")[0])


def _in_words(value: Row) -> str:
    trip, overhead, after = (
        _first(_of(value, TRIP)), value["overhead_bytes"], value["direct_after_s"]
    )  # fmt: skip
    gaps = [gap for gap in _of(value, GAP).values() if gap is not None]
    parts = [
        f"round trip {trip:.1f} ms" if trip else "no round trip",
        f"interruptions {min(gaps):.1f} to {max(gaps):.1f} ms" if gaps else "no interruption",
        f"{value['lost_probes']} lost",
        f"{overhead:.0f} bytes overhead" if overhead else "no overhead known",
        "never direct" if after is None else f"direct after {after:.2f} s",
    ]
    return f"{value['system']}: {', '.join(parts)}"


STUDY = Study(
    name="compare",
    runs=tuple(RUNS.values()),
    takes=frozenset({"seed", "limit_s"}),
    columns=COLUMNS,
    named_by=("system",),
    derive=derive,
    values_of=values_of,
    judge=judge,
    pictures=pictures,
)
