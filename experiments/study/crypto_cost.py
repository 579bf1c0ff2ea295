"""What a packet costs gateway, nodes and home agent, by path, ESP algorithm and size.

A router's cost of a packet is the time between the packet's two captures at its links, on the wall
clock: the lab's kernel has one processor, and does all that it has to do with a packet in one go.
(On the clock `cpu` no time passes within that: docs/adr/0026.) A node's is the time from sending to
the capture at its link, which plain Mobile IPv6 needs as well: a run of that is the zero. What
opening costs shows at the gateway: at a node it is over when the program has been woken, which
takes ten times as long, and never the same.

Two sizes of packets tell what each packet costs, and what each byte.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments.analyse import at_least, at_most
from experiments.dissect import Dissector, Udp
from experiments.esp_keys import read_esp_sa
from experiments.measure.probes import Leg
from experiments.measure.walk import Walk, measure
from experiments.paths import PacketPath
from experiments.pcapng import read_frames
from experiments.probe_format import decode, sender_of
from experiments.report.drawing import (
    LOOKS,
    PATHS,
    WIDTH_IN,
    Picture,
    blank,
    not_drawn,
)
from experiments.resultset import ResultSet
from experiments.study.study import Check, Row, Study
from mobivpn.ipsec.sa import EspAlgorithm
from vm.clock import Clock

PLAIN = "none"
"""The algorithm of plain Mobile IPv6, which is direct."""
COLUMNS = (
    "path",
    "algorithm",
    "host",
    "work",
    "payload_bytes",
    "cost_us",
    "count",
    "processor",
)
"""A row: so many packets with so much payload cost a host `cost_us` for a kind of work."""
POINT = COLUMNS[:4]

ALGORITHMS = tuple(algorithm.value for algorithm in EspAlgorithm)
OPEN, SEAL, PASS_ON = "open", "seal", "pass on"
BIN_US = 0.1
ENOUGH = 50
"""Packets without which a median says little."""
NANOSECONDS_PER_US = 1000
TWICE = 2
SIZES = SMALL, FULL = 64, 1304


class _Name(NamedTuple):
    """A datagram, whichever link it is on."""

    kind: int
    sender: int
    sequence: int


def derive(folder: Path) -> dict[str, Any]:
    """Return what the packets of a run cost the hosts on their way."""
    results = ResultSet(folder)
    walk = measure(results)
    dissector = Dissector(read_esp_sa(results.keys_path))
    passed = {link: _passes(results, link, dissector) for link in ("sg-ext", "sg-lan", "ha")}
    sizes = walk.run["scenario"]["traffic"]["payload_bytes"]
    identity = {
        name: sender_of(node.internal_home_address) for name, node in walk.plan.node_by_name.items()
    }
    counted: Counter[tuple[Any, ...]] = Counter()
    for probe in walk.traffic.probes():
        there, back = probe.forward, probe.echo
        if back is None or not _is_settled(walk, there) or not _is_settled(walk, back):
            continue
        size = sizes[there.sequence % len(sizes)]
        costs = [
            cost
            for leg in (there, back)
            for cost in _at_routers(passed, _Name(leg.kind, identity[there.source], leg.sequence))
        ]
        if there.left_ns is not None:
            costs.append((there.source, SEAL, there.left_ns - there.sent_ns))
        for host, work, cost_ns in costs:
            bins = round(cost_ns / NANOSECONDS_PER_US / BIN_US)
            counted[host, work, size, round(bins * BIN_US, 1)] += 1
    path, algorithm = walk.best_path.value, _algorithm(walk)
    processor = _processor(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "rows": [
            dict(zip(COLUMNS, (path, algorithm, *point, count, processor), strict=True))
            for point, count in sorted(counted.items())
        ]
    }


def _is_settled(walk: Walk, leg: Leg) -> bool:
    phase = leg.phase and leg.phase.value
    return leg.path is walk.best_path and phase == walk.best_path.value


def _passes(results: ResultSet, link: str, dissector: Dissector) -> defaultdict[_Name, list[int]]:
    """Return when each numbered datagram passed a link (ns), each time."""
    passes: defaultdict[_Name, list[int]] = defaultdict(list)
    for time_ns, frame in read_frames(results.capture_path(link)):
        layers = dissector.layers(frame)
        if layers and isinstance(layers[-1], Udp):
            datagram = decode(layers[-1].payload)
            if datagram is not None:
                name = _Name(datagram.kind, datagram.sender, datagram.sequence)
                passes[name].append(time_ns)
    return passes


def _at_routers(
    passed: Mapping[str, Mapping[_Name, list[int]]], name: _Name
) -> Iterator[tuple[str, str, int]]:
    """Yield what a datagram cost sg, whose links it passes twice, and the home agent."""
    outside, inside, away = (passed[link].get(name, []) for link in ("sg-ext", "sg-lan", "ha"))
    if len(outside) == len(inside) == TWICE:
        yield "sg", OPEN, inside[0] - outside[0]
        yield "sg", SEAL, outside[1] - inside[1]
    if len(away) == TWICE:
        yield "ha", PASS_ON, away[1] - away[0]


def _algorithm(walk: Walk) -> str:
    """Return what protected the packets of a run: the pair's, or at the gateway the given one."""
    if not walk.plan.is_ours:
        return PLAIN
    gateway = walk.best_path is PacketPath.VIA_GATEWAY
    return str(walk.run["scenario"]["given_algorithm" if gateway else "algorithm"])


def _processor(cpuinfo: str) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1] if found else "unknown"


def values_of(rows: Sequence[Row]) -> list[Row]:
    """Return what each work costs by the packet, and by the gigabyte.

    The first quartile stands for a size: what else the machine does makes a packet late, never
    early.
    """

    def point(row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in POINT)

    values = []
    for key, group in groupby(sorted(rows, key=point), key=point):
        own = list(group)
        small, full = (_spread(row for row in own if row["payload_bytes"] == s) for s in SIZES)
        known = small["us"] is not None and full["us"] is not None
        by_byte_us = (full["us"] - small["us"]) / (FULL - SMALL) if known else None
        values.append(
            {
                **dict(zip(POINT, key, strict=True)),
                **{f"small_{name}": value for name, value in small.items()},
                **{f"full_{name}": value for name, value in full.items()},
                "packet_us": None if by_byte_us is None else small["us"] - SMALL * by_byte_us,
                "gigabyte_s": None if by_byte_us is None else by_byte_us * 1e3,
            }
        )
    return sorted(
        values,
        key=lambda v: (
            PATHS.index(v["path"]), (PLAIN, *ALGORITHMS).index(v["algorithm"]), v["host"],
            v["work"],
        ),
    )  # fmt: skip


def _spread(rows: Iterable[Row]) -> dict[str, float | None]:
    """Return first quartile, median and third quartile of costs, and how many there are."""
    found = [(row["cost_us"], row["count"]) for row in rows]
    costs = np.repeat([cost for cost, _ in found], [count for _, count in found])
    if not len(costs):
        return {"us": None, "median_us": None, "p75_us": None, "samples": 0}
    low, middle, high = (float(x) for x in np.percentile(costs, (25, 50, 75)))
    return {"us": low, "median_us": middle, "p75_us": high, "samples": len(costs)}


NODES = (("mn1", SEAL), ("mn2", SEAL))
WORK_OF_PATH: Mapping[str, Sequence[tuple[str, str]]] = {
    "via_gateway": (*NODES, ("sg", OPEN), ("sg", SEAL)),
    "via_home_agents": (*NODES, ("ha", PASS_ON)),
    "direct": NODES,
}
"""Who has work with a packet on each path; nobody else may see it."""


def judge(values: Sequence[Row]) -> list[Check]:
    """Judge what has to hold on any machine: who has work with a packet, and that bytes cost."""
    wanted = {
        (path, algorithm, host, work)
        for path, works in WORK_OF_PATH.items()
        for algorithm in (*ALGORITHMS, *([PLAIN] if path == PacketPath.DIRECT.value else []))
        for host, work in works
    }
    found = {tuple(v[key] for key in POINT): v for v in values}
    few = sum(
        key not in found or min(found[key]["small_samples"], found[key]["full_samples"]) < ENOUGH
        for key in wanted
    )
    at_sg = [v["gigabyte_s"] for v in values if v["host"] == "sg" and v["gigabyte_s"] is not None]
    return [
        at_most(f"points with fewer than {ENOUGH} packets of a size", few, 0),
        at_most("hosts that had work with packets that should pass them by",
                len(found.keys() - wanted), 0),
        at_least("what a gigabyte costs sg (s), the least", min(at_sg, default=None), 0),
    ]  # fmt: skip


# --- pictures -----------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's figures."""
    processor = next((row["processor"] for row in rows), "unknown")
    how = (
        "The first quartile of hundreds of packets between two captures at a host's links, with "
        "all that passing on takes; at a node from sending to departure, the program included. "
        f"The kernel's generic C code, no AES instructions, on one processor: {processor}. "
        "Figures are this machine's."
    )
    return [by_packet(values, how), by_gigabyte(values, how)]


PANELS: Sequence[tuple[str, str, str, str]] = (
    ("sg", OPEN, "via_gateway", "sg opens and\npasses on inside"),
    ("sg", SEAL, "via_gateway", "sg seals and\npasses on outside"),
    ("mn1", SEAL, "via_gateway", "a node sends,\nvia gateway"),
    ("mn1", SEAL, "direct", "a node sends,\ndirect"),
    ("ha", PASS_ON, "via_home_agents", "the home agent\npasses on"),
)


def by_packet(values: Sequence[Row], how: str) -> Picture:
    """Return the cost of a packet by algorithm, a panel for each kind of work."""
    name, title = "packet", "What a packet costs, by host and algorithm"
    if not values:
        return not_drawn(name, title)
    figure = blank(WIDTH_IN, 3.6, layout="constrained")
    told = []
    lines = (PLAIN, *ALGORITHMS)
    axes_of = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (*point, label) in zip(axes_of, PANELS, strict=True):
        own = [v for v in values if [v["host"], v["work"], v["path"]] == point]
        for size, look in zip(("small", "full"), LOOKS, strict=False):
            shown = [v for v in own if v[f"{size}_us"] is not None]
            at = [lines.index(v["algorithm"]) for v in shown]
            axes.plot([v[f"{size}_us"] for v in shown], at, **_dots(look))
            for value, line in zip(shown, at, strict=True):
                up = 6 if size == "full" else -12
                axes.annotate(f"{value[f'{size}_us']:.0f}", (value[f"{size}_us"], line),
                              xytext=(0, up), textcoords="offset points", ha="center",
                              fontsize=7)  # fmt: skip
        told += [_in_words(v) for v in own]
        axes.set_title(label, fontsize=8)
        axes.set_xlim(0, 1.15 * axes.get_xlim()[1])
        axes.set_xlabel("us")
        axes.tick_params(axis="y", left=False)
    _name_lines(axes_of[0], ["no ESP", *ALGORITHMS])
    figure.legend(
        handles=[
            Line2D([], [], **_dots(look), label=f"{size} bytes of payload")
            for size, look in zip(SIZES, LOOKS, strict=False)
        ],
        loc="outside upper left",
        ncols=2,
    )
    return Picture(name, title, how, f"{'; '.join(told)}.", figure)


def by_gigabyte(values: Sequence[Row], how: str) -> Picture:
    """Return what the bytes of a gigabyte cost, by algorithm, for each kind of work."""
    name, title = "gigabyte", "What a gigabyte's bytes cost, by host and algorithm"
    shown = [v for v in values if v["gigabyte_s"] is not None and v["algorithm"] != PLAIN]
    if not shown:
        return not_drawn(name, title)
    figure = blank(WIDTH_IN, 3.2, layout="constrained")
    axes = figure.subplots()
    for (*point, label), look in zip(PANELS, LOOKS, strict=False):
        own = [v for v in shown if [v["host"], v["work"], v["path"]] == point]
        axes.plot(
            [v["gigabyte_s"] for v in own], [ALGORITHMS.index(v["algorithm"]) for v in own],
            **_dots(look), label=label.replace("\n", " "),
        )  # fmt: skip
    axes.set_xlabel("processor time for a gigabyte of payload, beside what each packet costs (s)")
    axes.tick_params(axis="y", left=False)
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    _name_lines(axes, ALGORITHMS)
    figure.legend(loc="outside upper left", ncols=3)
    caption = (
        f"The difference between packets of {FULL} and of {SMALL} bytes of payload, for a gigabyte "
        f"of such bytes: what each packet costs on top is in the table. {how}"
    )
    return Picture(name, title, caption, f"{'; '.join(map(_in_words, shown))}.", figure)


def _dots(look: Mapping[str, Any]) -> dict[str, Any]:
    return {**look, "linestyle": "none", "markersize": 6}


def _name_lines(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def _in_words(value: Row) -> str:
    parts = [
        f"{size} bytes {value[f'{name}_us']:.1f} us"
        for name, size in zip(("small", "full"), SIZES, strict=True)
        if value[f"{name}_us"] is not None
    ]
    if value["gigabyte_s"] is not None:
        parts.append(f"{value['gigabyte_s']:.1f} s for a gigabyte")
    point = " ".join(str(value[key]).replace("_", " ") for key in POINT)
    return f"{point}: {', '.join(parts)}"


STUDY = Study(
    name="crypto_cost",
    runs=[
        {"system": "mip6"},
        *(
            {"best_path": path, key: algorithm.value}
            for path, key in (
                ("via_gateway", "given_algorithm"),
                ("via_home_agents", "algorithm"),
                ("direct", "algorithm"),
            )
            for algorithm in EspAlgorithm
        ),
    ],
    takes=frozenset({"seed", "limit_s"}),
    columns=COLUMNS,
    named_by=POINT,
    derive=derive,
    values_of=values_of,
    judge=judge,
    pictures=pictures,
    clock=Clock.WALL,
)
