"""How long packets take on each path, over the gateway's distance: where the direct path pays."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.analyse import at_most
from experiments.measure.bounds import path_ms
from experiments.measure.expected import best_path_of
from experiments.network_plan import INSIDE, plan_from_run
from experiments.paths import PacketPath
from experiments.report.drawing import (
    INK,
    LOOKS,
    PATH_COLOURS,
    PATH_MARKERS,
    PATH_NAMES,
    PATHS,
    WIDTH_IN,
    Picture,
    blank,
    not_drawn,
)
from experiments.resultset import ResultSet
from experiments.study.study import Check, Row, Study

GATEWAY_DELAYS_MS = (0.5, 5.0, 15.0, 30.0, 60.0, 120.0)
USUAL_MS = 15.0
"""The gateway's distance where nothing is said: of it, distributions are drawn."""
OUTSIDE = tuple(path.value for path in PacketPath if path is not PacketPath.INSIDE)

TRIP, ONE_WAY = "round_trip", "one_way"
COLUMNS = (
    "gateway_delay_ms",
    "path",
    "sender_place",
    "receiver_place",
    "measured",
    "configured_ms",
    "delay_ms",
    "count",
)
"""A row: so many packets took `delay_ms`; `configured_ms` is the sum of the links' delays."""
POINT = COLUMNS[:6]

RATIO_LIMIT = 1.02
"""As of a run's own check: what a median may be of the links' delays."""
TOLERANCE_MS = 0.1
"""Transmission of a packet on all links of its way, where delays are next to nothing: inside."""


def derive(folder: Path) -> dict[str, Any]:
    """Return the delays of the probes of a run that went by its best path, or inside.

    Those that a move or the switch has disturbed belong to that, and are left out.
    """
    results = ResultSet(folder)
    run = results.load_run()
    plan, best = plan_from_run(run), best_path_of(run).value
    counted: Counter[tuple[Any, ...]] = Counter()
    for probe in results.load_table("probes"):
        path, places = probe["path"], (probe["sender_place"], probe["receiver_place"])
        outside = INSIDE not in places
        settled = not probe["move"] and probe["phase"] == path and probe["arrived_s"]
        if not settled or not (path == "inside" or (path == best and outside)):
            continue
        point = plan.delay_ms["sg"], path, *places
        one_way_ms = path_ms(PacketPath(path), *places, plan)
        took_ms = round(1000 * (float(probe["arrived_s"]) - float(probe["sent_s"])), 3)
        counted[*point, ONE_WAY, one_way_ms, took_ms] += 1
        if probe["echo_path"] == path and probe["rtt_ms"]:
            counted[*point, TRIP, 2 * one_way_ms, float(probe["rtt_ms"])] += 1
    return {
        "rows": [
            dict(zip(COLUMNS, (*row, count), strict=True)) for row, count in sorted(counted.items())
        ]
    }


def values_of(rows: Sequence[Row]) -> list[Row]:
    """Return median and percentiles of each distance, path, pair of places and kind of delay."""

    def point(row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in POINT)

    values = []
    for key, group in groupby(sorted(rows, key=point), key=point):
        delays_ms = _delays_ms(group)
        low, middle, high = np.percentile(delays_ms, (5, 50, 95))
        values.append(
            {
                **dict(zip(POINT, key, strict=True)),
                "samples": len(delays_ms),
                "median_ms": float(middle),
                "p05_ms": float(low),
                "p95_ms": float(high),
            }
        )
    return values


def _delays_ms(rows: Any) -> Any:
    found = [(row["delay_ms"], row["count"]) for row in rows]
    return np.repeat([delay for delay, _ in found], [count for _, count in found])


def judge(values: Sequence[Row]) -> list[Check]:
    """Hold each median against the sum of the configured delays."""
    checks = []
    for path in PATHS:
        own = [value for value in values if value["path"] == path]
        late = [v["median_ms"] - RATIO_LIMIT * v["configured_ms"] for v in own]
        checks.append(
            at_most(
                f"{PATH_NAMES[path]}: medians beyond {RATIO_LIMIT:g} x the links' delays (ms), the "
                "worst",
                max(late, default=None),
                TOLERANCE_MS,
            )
        )
    early = sum(value["median_ms"] < value["configured_ms"] for value in values)
    missing = len(GATEWAY_DELAYS_MS) * len(PATHS) - len(
        {(value["gateway_delay_ms"], value["path"]) for value in values}
    )
    return [
        *checks,
        at_most("medians below the links' delays", early, 0),
        at_most("paths without a sample at some distance", missing, 0),
    ]


# --- pictures -----------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's figures."""
    return [over_distance(values), saved(values), distributions(rows)]


def _by_places(values: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield the values of each two places outside, whichever of them sends."""

    def places(value: Row) -> str:
        return " and ".join(sorted((value["sender_place"], value["receiver_place"])))

    outside = [v for v in values if v["path"] != "inside"]
    for name, group in groupby(sorted(outside, key=places), key=places):
        yield name, list(group)


def _lines(values: Sequence[Row], path: str) -> list[tuple[float, float, float, float, float]]:
    """Return (distance, median, 5 %, 95 %, links' delays) of a path, both senders together."""
    found: dict[float, list[Row]] = {}
    for value in values:
        if value["path"] == path and value["measured"] == TRIP:
            found.setdefault(value["gateway_delay_ms"], []).append(value)
    return [
        (
            at,
            float(np.mean([v["median_ms"] for v in own])),
            min(v["p05_ms"] for v in own),
            max(v["p95_ms"] for v in own),
            own[0]["configured_ms"],
        )
        for at, own in sorted(found.items())
    ]


def over_distance(values: Sequence[Row]) -> Picture:
    """Return round trips over the gateway's distance, a panel for each two places."""
    title = "Round trip on each path, over the gateway's distance"
    panels = list(_by_places(values))
    inside = [v for v in values if v["path"] == "inside"]
    if not panels:
        why = "no run has a probe that came back with its path known"
        return not_drawn("over-distance", title, why)
    figure = blank(WIDTH_IN, 4.2, layout="constrained")
    told = []
    axes_of = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    for axes, (name, own) in zip(axes_of, panels, strict=True):
        for path in PATHS:
            line = _lines(inside if path == "inside" else own, path)
            if not line:
                continue
            at, middle, low, high, configured = (list(part) for part in zip(*line, strict=True))
            colour = PATH_COLOURS[path]
            axes.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
            axes.plot(at, configured, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), zorder=4)
            axes.plot(at, middle, color=colour, marker=PATH_MARKERS[path], markersize=5, zorder=3)
            told.append(
                f"nodes in {name}, {PATH_NAMES[path]}: {middle[0]:.1f} to {middle[-1]:.1f} ms"
            )
        axes.set_title(f"nodes in {name}")
        _distance_axis(axes)
    axes_of[0].set_ylabel("round trip (ms)")
    axes_of[0].set_yscale("symlog", linthresh=1)
    axes_of[0].set_ylim(0, 1.5 * max(value["p95_ms"] for value in values))
    axes_of[0].set_yticks([0, 1, 10, 100, 500], ["0", "1", "10", "100", "500"])
    handles = _path_handles()
    handles.append(Line2D([], [], color=INK, linestyle=(0, (2, 2)), linewidth=0.9,
                          label="the links' delays alone"))  # fmt: skip
    figure.legend(handles=handles, loc="outside upper left", ncols=5)
    caption = (
        "Marks: medians of probes that went, and whose echoes came, by the path, while nothing "
        "moved; bands: from 5 to 95 % of them (mostly narrower than a mark: nothing else is on the "
        "links). Dashed: twice the sum of the configured delays. Logarithmic above 1 ms. One run "
        "for each path and distance, kept on its path by --best-path."
    )
    return Picture("over-distance", title, caption, f"Round trips. {'; '.join(told)}.", figure)


def _path_handles() -> list[Line2D]:
    return [
        Line2D([], [], color=PATH_COLOURS[p], marker=PATH_MARKERS[p], markersize=5,
               label=PATH_NAMES[p])
        for p in PATHS
    ]  # fmt: skip


def _distance_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_xticks(GATEWAY_DELAYS_MS, [f"{delay:g}" for delay in GATEWAY_DELAYS_MS])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("gateway's distance (ms, one way)")


def saved(values: Sequence[Row]) -> Picture:
    """Return what the direct path saves of the round trip through the gateway."""
    name, title = "saved", "What the direct path saves"
    figure = blank(WIDTH_IN, 3.6, layout="constrained")
    share, absolute = figure.subplots(1, 2)
    told = []
    for (places, own), look in zip(_by_places(values), LOOKS, strict=False):
        hub = {at: middle for at, middle, *_ in _lines(own, "via_gateway")}
        direct = {at: middle for at, middle, *_ in _lines(own, "direct")}
        at = sorted(hub.keys() & direct.keys())
        gained = [hub[x] - direct[x] for x in at]
        shares = [100 * gain / hub[x] for gain, x in zip(gained, at, strict=True)]
        if not at:
            continue
        label = f"nodes in {places}"
        share.plot(at, shares, label=label, markersize=5, **look)
        absolute.plot(at, gained, label=label, markersize=5, **look)
        told.append(
            f"{label}: {gained[0]:.1f} ms ({shares[0]:.0f} %) at {at[0]:g} ms, "
            f"{gained[-1]:.1f} ms ({shares[-1]:.0f} %) at {at[-1]:g} ms"
        )
    if not told:
        why = "no distance has both a run through the gateway and a direct one"
        return not_drawn(name, title, why)
    share.set_ylabel("saved of the round trip through the gateway (%)")
    share.set_ylim(0, 100)
    absolute.set_ylabel("saved (ms)")
    absolute.set_yscale("log")
    absolute.yaxis.set_major_formatter(lambda ms, _: f"{ms:g}")
    for axes in (share, absolute):
        _distance_axis(axes)
    share.legend()
    caption = (
        "Median round trip through the gateway less that of the direct path, as its share and in "
        f"milliseconds. The direct path is never the longer one: it saves both passes of the "
        f"gateway's link, four times its delay. {'; '.join(told)}. The right-hand curves lie on "
        "one another: what is saved in milliseconds does not depend on where the nodes are, its "
        "share does."
    )
    return Picture(name, title, caption, f"Saved. {'; '.join(told)}.", figure)


def distributions(rows: Sequence[Row]) -> Picture:
    """Return the distributions at the usual distance, of round trips and one way."""
    name, title = "distributions", f"Distributions with the gateway {USUAL_MS:g} ms away"
    usual = [row for row in rows if row["gateway_delay_ms"] == USUAL_MS]
    if not usual:
        why = f"no run with the gateway {USUAL_MS:g} ms away came to a result"
        return not_drawn(name, title, why)
    figure = blank(WIDTH_IN, 3.8, layout="constrained")
    told = []
    for axes, (measured, what) in zip(
        figure.subplots(1, 2, sharey=True), ((TRIP, "round trip"), (ONE_WAY, "one way")),
        strict=True,
    ):  # fmt: skip
        for path in PATHS:
            delays_ms = np.sort(
                _delays_ms(r for r in usual if r["path"] == path and r["measured"] == measured)
            )
            if not len(delays_ms):
                continue
            share = 100 * np.arange(1, len(delays_ms) + 1) / len(delays_ms)
            axes.step(
                [delays_ms[0], *delays_ms], [0, *share], where="post", color=PATH_COLOURS[path],
                marker=PATH_MARKERS[path], markersize=5, markevery=max(1, len(delays_ms) // 6),
            )  # fmt: skip
            told.append(
                f"{what} {PATH_NAMES[path]}, {len(delays_ms)} probes: {delays_ms[0]:.1f} to "
                f"{delays_ms[-1]:.1f} ms, median {np.median(delays_ms):.1f} ms"
            )
        axes.set_xlabel(f"{what} (ms)")
        axes.set_xlim(left=0)
        axes.set_ylim(0, 101)
    figure.legend(handles=_path_handles(), loc="outside upper left", ncols=4)
    figure.axes[0].set_ylabel("probes that took so long, or less (%)")
    caption = (
        "All probes of the runs with this distance that nothing disturbed, from all pairs of "
        "places, which make the steps. Within a step packets differ by what they wait for each "
        "other on a link, a fraction of a millisecond: time is virtual, and nothing else is there."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


STUDY = Study(
    name="latency",
    runs=[
        {"best_path": path, "links.sg.delay_ms": delay_ms}
        for delay_ms in GATEWAY_DELAYS_MS
        for path in OUTSIDE
    ],
    takes=frozenset({"seed", "embodiment", "sg_binding", "vcm_at", "algorithm", "limit_s"}),
    columns=COLUMNS,
    named_by=POINT,
    derive=derive,
    values_of=values_of,
    judge=judge,
    pictures=pictures,
)
