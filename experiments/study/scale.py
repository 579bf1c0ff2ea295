"""More and more pairs leave at the same moment: how long set-up takes, what sg and VCM carry."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from experiments.analyse import SETUP_RATIO_LIMIT, at_most, spread
from experiments.databases import read_databases
from experiments.pcapng import read_frames
from experiments.report.drawing import (
    INK,
    LOOKS,
    WIDTH_IN,
    Picture,
    blank,
    not_drawn,
)
from experiments.resultset import ResultSet, load_object
from experiments.study.study import Check, Row, Study
from topologies.addresses import node_name

PAIRS = (1, 2, 4, 8, 16, 32, 64)
LEAVE_AT_S = 0.5
GAP_MS = 1000.0
"""All are unplugged, then plugged in one by one, 6 ms each; then all get their links, one right
after the other: the gateway and the VCM never have more to do at a time than then."""
NETWORKS = ("wifi1", "cell")
"""Where the first and the second node of each pair go, as in the walk."""

LINKS = ("sg-ext", "sg-lan")
HOSTS = ("vcm", "sg")
PROGRAMS = ("vcm", "sg", "controller", "mn1")
"""Those whose memory is told; of the nodes' agents, one."""
BIN_S, TENTH_S = 0.01, 0.1
SHOWN_S = (0.95, 1.5)
"""What is shown of a run, from when the first is unplugged on."""

COLUMNS = ("pairs", "what", "of", "at_s", "value")
"""A row: with so many pairs, `what` is `value`; `of` is the pair, link, host or program.

`at_s` is when a hundredth of a second begins, after time zero.
"""
SETUP, BOUND, BEST_PATH, LOST, CLEAR = (
    "setup_ms",
    "setup_lower_bound_ms",
    "to_direct_ms",
    "lost_by_switch",
    "clear_text_packets",
)
PACKETS, BYTES, MESSAGES = "packets", "bytes", "messages"
RSS, MEMORY = "rss_mib", "lab_memory_mib"
ASSOCIATIONS, POLICIES = "sg_associations", "sg_policies"


def run_with(pairs: int) -> dict[str, Any]:
    """Return what a run with so many pairs changes: mn1 and mn2 are one, mn3 and mn4 the next."""
    names = [node_name(number) for number in range(1, 2 * pairs + 1)]
    of_pairs = list(zip(names[::2], names[1::2], strict=True))
    return {
        "mobile_nodes": len(names),
        "traffic.also_between": [list(pair) for pair in of_pairs[1:]],
        "move": [
            {"at_s": LEAVE_AT_S, "node": name, "to": network, "gap_ms": GAP_MS}
            for pair in of_pairs
            for name, network in zip(pair, NETWORKS, strict=True)
        ],
    }


# --- what is kept of a run ----------------------------------------------------------------------


def derive(folder: Path) -> dict[str, Any]:
    """Return the set-up times of all pairs, and the load: from captures, kernels and processes."""
    results = ResultSet(folder)
    run = results.load_run()
    pairs = 1 + len(run["other_pairs"])
    found = [*_of_pairs(results, run), *_of_links(results, run), *_of_messages(results, run)]
    found += [*_of_machine(folder), *_of_databases(results)]
    return {"rows": [dict(zip(COLUMNS, (pairs, *row), strict=True)) for row in found]}


Found = Iterator[tuple[str, str, float | None, float | None]]


def _of_pairs(results: ResultSet, run: Mapping[str, Any]) -> Found:
    for row in results.load_table("pairs"):
        name = f"{row['first']}-{row['second']}"
        known, end, best = (row[key] for key in ("both_outside_s", "setup_end_s", "best_path_s"))
        yield SETUP, name, None, _between_ms(known, end)
        yield BEST_PATH, name, None, _between_ms(known, best)
        # Where computing takes time, the links' delays are no bound to be near to.
        is_judged = run["clock"] == "virtual" and row["setup_lower_bound_ms"]
        yield BOUND, name, None, float(row["setup_lower_bound_ms"]) if is_judged else None
        yield LOST, name, None, int(row["lost_by_switch"])
    yield CLEAR, "", None, len(results.load_table("clear_text"))


def _between_ms(begin_s: str, end_s: str) -> float | None:
    return round(1000 * (float(end_s) - float(begin_s)), 3) if begin_s and end_s else None


def _of_links(results: ResultSet, run: Mapping[str, Any]) -> Found:
    for link in LINKS:
        packets: Counter[float] = Counter()
        octets: Counter[float] = Counter()
        for time_ns, frame in read_frames(results.capture_path(link)):
            at_s = _bin(time_ns / 1e9 - run["time_zero"])
            packets[at_s] += 1
            octets[at_s] += len(frame)
        for at_s in sorted(at for at in packets if at >= 0):
            yield PACKETS, link, at_s, packets[at_s]
            yield BYTES, link, at_s, octets[at_s]


def _of_messages(results: ResultSet, run: Mapping[str, Any]) -> Found:
    """Yield how many messages VCM and sg send and get: each was seen on a link."""
    counted: Counter[tuple[str, float]] = Counter()
    for row in results.load_table("messages"):
        at_s = _bin(float(row["sent_s"]) - run["time_zero"])
        for host in HOSTS:
            if host in (row["source"], row["destination"]) and at_s >= 0:
                counted[host, at_s] += 1
    for (host, at_s), count in sorted(counted.items()):
        yield MESSAGES, host, at_s, count


def _bin(after_s: float) -> float:
    return round(floor(after_s / BIN_S) * BIN_S, 3)


def _of_machine(folder: Path) -> Found:
    at_end = load_object(folder / "load.json")["end"]
    for name in PROGRAMS:
        yield RSS, name, None, at_end["programs"][name]["rss_mib"]
    yield MEMORY, "", None, at_end["memory_mib"]["used"]


def _of_databases(results: ResultSet) -> Found:
    (at_end,) = (
        database
        for database in read_databases(results.databases_path)
        if (database.moment, database.node) == ("end", "sg")
    )
    yield ASSOCIATIONS, "sg", None, len(at_end.associations)
    yield POLICIES, "sg", None, len(at_end.policies)


# --- values and checks --------------------------------------------------------------------------


def values_of(rows: Sequence[Row]) -> list[Row]:
    """Return one value for each number of pairs."""
    by_pairs = groupby(sorted(rows, key=_pairs), key=_pairs)
    return [_value(pairs, list(own)) for pairs, own in by_pairs]


def _pairs(row: Row) -> int:
    return int(row["pairs"])


def _value(pairs: int, rows: Sequence[Row]) -> Row:
    def of(what: str, name: str | None = None) -> list[Any]:
        return [row["value"] for row in _about(rows, what, name) if row["value"] is not None]

    def busiest(what: str, name: str) -> float:
        """Return the most of it in a tenth of a second."""
        by_tenth: Counter[int] = Counter()
        for row in _about(rows, what, name):
            by_tenth[floor(row["at_s"] / TENTH_S + BIN_S)] += row["value"]
        return max(by_tenth.values(), default=0)

    worst_ms, bounds_ms = max(of(SETUP), default=None), of(BOUND)
    return {
        "pairs": pairs,
        "pairs_direct": len(of(BEST_PATH)),
        **_spread("setup", of(SETUP)),
        "setup_lower_bound_ms": _one(bounds_ms),
        "setup_over_lower_bound_worst": worst_ms / bounds_ms[0] if worst_ms and bounds_ms else None,
        **_spread("to_direct", of(BEST_PATH)),
        "lost_by_switch": sum(of(LOST)),
        "clear_text_packets": sum(of(CLEAR)),
        **{f"{host}_messages": sum(of(MESSAGES, host)) for host in HOSTS},
        **{f"{host}_messages_in_busiest_tenth": busiest(MESSAGES, host) for host in HOSTS},
        **{
            f"{link}_{what}_in_busiest_tenth": busiest(what, link)
            for link in LINKS
            for what in (PACKETS, BYTES)
        },
        ASSOCIATIONS: _one(of(ASSOCIATIONS)),
        POLICIES: _one(of(POLICIES)),
        **{f"{name}_rss_mib": _one(of(RSS, name)) for name in PROGRAMS},
        MEMORY: _one(of(MEMORY)),
    }


def _about(rows: Sequence[Row], what: str, name: str | None = None) -> list[Row]:
    return [row for row in rows if row["what"] == what and name in (None, row["of"])]


def _one(found: Sequence[Any]) -> Any:
    return found[0] if found else None


def _spread(what: str, found_ms: Sequence[float]) -> dict[str, float | None]:
    return {f"{what}_{name}_ms": value for name, value in spread(found_ms).items()}


def judge(values: Sequence[Row]) -> list[Check]:
    """Hold every pair of every run against what one pair alone is held against."""
    ratios = [value["setup_over_lower_bound_worst"] for value in values]
    known = [ratio for ratio in ratios if ratio is not None]
    return [
        at_most("numbers of pairs without a run", len(PAIRS) - len(values), 0),
        at_most(
            "pairs that never are direct",
            sum(value["pairs"] - value["pairs_direct"] for value in values),
            0,
        ),
        at_most(
            "direct set-up / lower bound, the worst of all pairs",
            max(known, default=None),
            SETUP_RATIO_LIMIT if known or not values else None,
        ),
        at_most("probes lost by the switch", sum(v["lost_by_switch"] for v in values), 0),
        at_most("clear text packets outside", sum(v["clear_text_packets"] for v in values), 0),
    ]


# --- pictures -----------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's figures."""
    return [setup_times(values), load_over_time(rows), load_over_pairs(values)]


def setup_times(values: Sequence[Row]) -> Picture:
    """Return the set-up times over the number of pairs."""
    name, title = "setup", "How long it takes a pair to become direct, over the number of pairs"
    if not values:
        return not_drawn(name, title)
    figure = blank(WIDTH_IN, 3.4, layout="constrained")
    at = [value["pairs"] for value in values]
    panels = (("setup", "until both are acknowledged"), ("to_direct", "until both go directly"))
    for axes, (what, label), look in zip(figure.subplots(1, 2), panels, LOOKS, strict=False):
        middle, high, worst = (
            _gaps_as_nan([value[f"{what}_{key}_ms"] for value in values])
            for key in ("median", "p95", "worst")
        )
        axes.plot(at, middle, label="median", **look)
        axes.fill_between(at, middle, high, color=look["color"], alpha=0.25, linewidth=0,
                          label="to the 95th percentile")  # fmt: skip
        axes.plot(at, worst, color=look["color"], marker="_", markersize=11, linestyle="none",
                  label="the worst pair")  # fmt: skip
        if what == "setup" and values[0]["setup_lower_bound_ms"]:
            bounds = _gaps_as_nan([value["setup_lower_bound_ms"] for value in values])
            axes.plot(at, bounds, color=INK, linewidth=0.9, linestyle=(0, (2, 2)),
                      label="the links' delays alone")  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(at, [str(number) for number in at])
        axes.set_xlabel("pairs")
        axes.set_ylabel("after sg knows both outside (ms)")
        axes.set_title(label)
        axes.legend(loc="upper left")
        axes.margins(y=0.45)
    caption = (
        "All pairs leave at the same moment. From when sg knows both nodes of a pair to be outside "
        "until the later of them has its peer's acknowledgement (208, 212), and until packets of "
        "both directions have come by the direct path. From captures; probes go every 20 ms, so "
        "that the second is known to within that."
    )
    first, last = values[0], values[-1]
    told = (
        f"Median of the set-up: {_told_ms(first['setup_median_ms'])} with {first['pairs']} and "
        f"{_told_ms(last['setup_median_ms'])} with {last['pairs']} pairs, the worst "
        f"{_told_ms(last['setup_worst_ms'])}; until direct {_told_ms(first['to_direct_median_ms'])}"
        f" and {_told_ms(last['to_direct_median_ms'])}."
    )
    return Picture(name, title, caption, told, figure)


def _told_ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} ms"


def _gaps_as_nan(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def load_over_time(rows: Sequence[Row]) -> Picture:
    """Return what crosses sg's links and comes to VCM and sg, of the largest run."""
    name, title = "load-over-time", "What the gateway and the VCM carry while all pairs leave"
    if not rows:
        return not_drawn(name, title)
    most = max(map(_pairs, rows))
    own = [row for row in rows if row["pairs"] == most]
    figure = blank(WIDTH_IN, 4.6, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    times_s = np.arange(round(SHOWN_S[0] / BIN_S), round(SHOWN_S[1] / BIN_S)) * BIN_S
    peaks = []
    for axes, what, names in ((upper, PACKETS, LINKS), (lower, MESSAGES, HOSTS)):
        for one, look in zip(names, LOOKS, strict=False):
            value_by_bin = {row["at_s"]: row["value"] for row in _about(own, what, one)}
            counts = [value_by_bin.get(round(LEAVE_AT_S + at, 3), 0) for at in times_s]
            axes.step(times_s, counts, where="post", color=look["color"],
                      linestyle=look["linestyle"], label=one)  # fmt: skip
            peaks.append(f"{one} {max(counts):g}")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper right", ncols=2)
    upper.set_ylabel("frames in 10 ms")
    upper.set_title("on sg's links")
    lower.set_ylabel("messages in 10 ms")
    lower.set_title("to and from VCM and sg")
    lower.set_xlabel("after the first was unplugged (s)")
    caption = (
        f"{most} pairs, which leave at the same moment. Frames on sg's outer (sg-ext) and inner "
        "(sg-lan) link, both directions, and messages that VCM and sg send and get: binding "
        "updates, and those of the VCM's protocol. What is on the links beside them are the "
        "pairs' probes, until these go directly. From captures."
    )
    told = f"Most in 10 ms, frames on links and messages of hosts: {', '.join(peaks)}."
    return Picture(name, title, caption, told, figure)


def load_over_pairs(values: Sequence[Row]) -> Picture:
    """Return messages, kernel entries and memory over the number of pairs."""
    name, title = "load-over-pairs", "What grows with the number of pairs"
    if not values:
        return not_drawn(name, title)
    at = [value["pairs"] for value in values]
    panels: list[tuple[str, Sequence[tuple[str, str]]]] = [
        ("messages in all", [(f"{host}_messages", host) for host in HOSTS]),
        (
            "frames in the busiest 0.1 s",
            [(f"{link}_{PACKETS}_in_busiest_tenth", link) for link in LINKS],
        ),
        ("entries of sg's kernel", [(ASSOCIATIONS, "SAD"), (POLICIES, "SPD")]),
        ("memory of the lab (MiB)", [(MEMORY, "in use")]),
        ("memory of a program (MiB)", [(f"{p}_rss_mib", p) for p in PROGRAMS]),
    ]
    figure = blank(WIDTH_IN, 5.4, layout="constrained")
    places = figure.subplots(2, 3).flat
    for (label, lines), axes in zip(panels, places, strict=False):
        for (key, told), look in zip(lines, LOOKS, strict=False):
            axes.plot(at, _gaps_as_nan([value[key] for value in values]), label=told,
                      markersize=4, **look)  # fmt: skip
        axes.set_xticks([number for number in at if 4 * number >= max(at)])
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("pairs")
        axes.set_title(label)
        axes.legend()
    for axes in places:
        axes.remove()
    caption = (
        "Messages that VCM and sg send and get from time zero on; frames on sg's links, both "
        "directions; entries of sg's databases, and memory, at the end "
        "of the run; of a program all that is resident, shared pages with it; of the lab, what is "
        "not available. Processor time is not there: with the virtual clock computing takes none "
        "(docs/how-to/studies.md says why --clock cpu does not tell it either)."
    )
    last = values[-1]
    told = (
        f"With {last['pairs']} pairs: {last['vcm_messages']} messages at the VCM, "
        f"{last['sg_messages']} at sg; {last[ASSOCIATIONS]} associations and {last[POLICIES]} "
        f"policies in sg; {last[MEMORY]:.0f} MiB of memory."
    )
    return Picture(name, title, caption, told, figure)


STUDY = Study(
    name="scale",
    runs=tuple(run_with(pairs) for pairs in PAIRS),
    takes=frozenset({"seed", "embodiment", "sg_binding", "vcm_at", "notice", "limit_s"}),
    columns=COLUMNS,
    named_by=("pairs",),
    derive=derive,
    values_of=values_of,
    judge=judge,
    pictures=pictures,
    # Other versions of Python and of the libraries take other memory.
    varies=dict.fromkeys((*(f"{name}_{RSS}" for name in PROGRAMS), MEMORY), 0.25),
)
