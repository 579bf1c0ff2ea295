"""What a packet costs gateway, nodes and home agent, by path, ESP algorithm and size.

A router's cost of a packet is the time between the packet's two captures at its links, on the wall
clock: the lab's kernel has one processor, and does all that it has to do with a packet in one go.
(On the clock `cpu` no time passes within that: docs/adr/0026.) A node's is the time from sending to
the capture at its link, less what it is without ESP: a run of plain Mobile IPv6, all else being
equal. What opening costs shows at the gateway: at a node it is over when the program has been
woken, which takes ten times as long, and never the same.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from experiments.analyse import at_least, at_most
from experiments.dissect import Dissector, Udp
from experiments.esp_keys import read_esp_sa
from experiments.measure.probes import Leg
from experiments.measure.walk import Walk, measure
from experiments.paths import PacketPath
from experiments.pcapng import read_frames
from experiments.probe_format import decode
from experiments.report.drawing import (
    LOOKS,
    PATHS,
    WIDTH_IN,
    Picture,
    blank,
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
POINT = COLUMNS[:5]

ALGORITHMS = tuple(algorithm.value for algorithm in EspAlgorithm)
OPEN, SEAL, PASS_ON = "open", "seal", "pass on"
BIN_US = 0.1
ENOUGH = 50
"""Packets without which a median says little."""
NANOSECONDS_PER_US = 1000
TWICE = 2
SMALL, FULL = 64, 1304


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
        name: int.from_bytes(node.internal_home_address[-2:], "big")
        for name, node in walk.plan.node_by_name.items()
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
    """Return the cost of each point, beside a plain packet's, and for a gigabyte.

    The first quartile stands for it: what else the machine does makes a packet late, never early.
    """

    def point(row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in POINT)

    spread: dict[tuple[Any, ...], dict[str, float]] = {}
    for key, group in groupby(sorted(rows, key=point), key=point):
        found = [(row["cost_us"], row["count"]) for row in group]
        costs = np.repeat([cost for cost, _ in found], [count for _, count in found])
        low, middle, high = (float(x) for x in np.percentile(costs, (25, 50, 75)))
        spread[key] = {
            "samples": len(costs), "cost_us": low, "median_us": middle, "p75_us": high
        }  # fmt: skip
    values = []
    for key, own in spread.items():
        plain = spread.get((PacketPath.DIRECT.value, PLAIN, *key[2:]))
        beside_us = own["cost_us"] - plain["cost_us"] if plain else None
        shown_us = own["cost_us"] if beside_us is None else beside_us
        values.append(
            {
                **dict(zip(POINT, key, strict=True)),
                **own,
                "beside_plain_us": beside_us,
                "gigabyte_s": shown_us / key[-1] * 1e3,
            }
        )
    return sorted(
        values,
        key=lambda v: (
            PATHS.index(v["path"]), (PLAIN, *ALGORITHMS).index(v["algorithm"]), v["host"],
            v["work"], v["payload_bytes"],
        ),
    )  # fmt: skip


NODES = (("mn1", SEAL), ("mn2", SEAL))
WORK_OF_PATH: Mapping[str, Sequence[tuple[str, str]]] = {
    "via_gateway": (*NODES, ("sg", OPEN), ("sg", SEAL)),
    "via_home_agents": (*NODES, ("ha", PASS_ON)),
    "direct": NODES,
}
"""Who has work with a packet on each path; nobody else may see it."""


def judge(values: Sequence[Row]) -> list[Check]:
    """Judge what has to hold on any machine: who has work, and that ESP and bytes cost."""
    wanted = {
        (path, algorithm, host, work, size)
        for path, works in WORK_OF_PATH.items()
        for algorithm in (*ALGORITHMS, *([PLAIN] if path == PacketPath.DIRECT.value else []))
        for (host, work), size in product(works, (SMALL, FULL))
    }
    found = {tuple(v[key] for key in POINT): v for v in values}
    few = sum(key not in found or found[key]["samples"] < ENOUGH for key in wanted)
    protected = [v for v in values if v["algorithm"] != PLAIN and v["work"] in (OPEN, SEAL)]
    esp_us = [v["beside_plain_us"] for v in protected if v["beside_plain_us"] is not None]
    full_us = {tuple(v[k] for k in POINT[:4]): v["cost_us"] for v in protected
               if v["payload_bytes"] == FULL}  # fmt: skip
    growth_us = [
        full_us[key] - v["cost_us"]
        for v in protected
        if v["payload_bytes"] == SMALL and (key := tuple(v[k] for k in POINT[:4])) in full_us
    ]
    return [
        at_most(f"points with fewer than {ENOUGH} packets", few, 0),
        at_most("hosts that had work with packets that should pass them by",
                len(found.keys() - wanted), 0),
        at_least("what sealing costs a node beside a plain packet (us), the least",
                 min(esp_us, default=None), 0),
        at_least("what a full packet costs beside a small one (us), the least",
                 min(growth_us, default=None), 0),
    ]  # fmt: skip


# --- pictures -----------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's figure."""
    processor = next((row["processor"] for row in rows), "unknown")
    return [by_host(values, processor)]


PANELS: Sequence[tuple[str, str, str, str]] = (
    ("sg", OPEN, "via_gateway", "sg opens and\npasses on inside"),
    ("sg", SEAL, "via_gateway", "sg seals and\npasses on outside"),
    ("mn1", SEAL, "via_gateway", "a node seals,\nvia gateway"),
    ("mn1", SEAL, "direct", "a node seals,\ndirect"),
    ("ha", PASS_ON, "via_home_agents", "the home agent\npasses on"),
)


def by_host(values: Sequence[Row], processor: str) -> Picture:
    """Return the cost of a packet by algorithm, a panel for each kind of work."""
    name, title = "cost", "What a packet costs, by host and algorithm"
    if not values:
        why = "Not drawn: no run came to a result."
        return Picture(name, title, why, why, None)
    figure = blank(WIDTH_IN, 3.6, layout="constrained")
    told = []
    axes_of = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (host, work, path, label) in zip(axes_of, PANELS, strict=True):
        own = [v for v in values if (v["host"], v["work"], v["path"]) == (host, work, path)]
        for size, look in zip((SMALL, FULL), LOOKS, strict=False):
            points = {v["algorithm"]: v for v in own if v["payload_bytes"] == size}
            lines = [number for number, a in enumerate(ALGORITHMS) if a in points]
            of_size = [points[ALGORITHMS[number]] for number in lines]
            costs = [_shown_us(v) for v in of_size]
            axes.plot(costs, lines, **{**look, "linestyle": "none"}, markersize=6)
            for at, line in zip(costs, lines, strict=True):
                axes.annotate(f"{at:.0f}", (at, line), xytext=(0, 6), textcoords="offset points",
                              ha="center", fontsize=7)  # fmt: skip
            told += [
                f"{host}, {work}, {path.replace('_', ' ')}, {v['algorithm']}, {size} bytes: "
                f"{cost:.1f} us"
                for v, cost in zip(of_size, costs, strict=True)
            ]
        axes.set_title(label, fontsize=8)
        axes.set_xlim(0, 1.15 * axes.get_xlim()[1])
        axes.set_xlabel("us")
        axes.tick_params(axis="y", left=False)
    axes_of[0].set_yticks(range(len(ALGORITHMS)), ALGORITHMS)
    axes_of[0].set_ylim(len(ALGORITHMS) - 0.5, -0.5)
    figure.legend(
        handles=[
            Line2D([], [], **{**look, "linestyle": "none"}, markersize=6,
                   label=f"{size} bytes of payload")
            for size, look in zip((SMALL, FULL), LOOKS, strict=False)
        ],
        loc="outside upper left",
        ncols=2,
    )  # fmt: skip
    caption = (
        "Time between a packet's two captures at a host's links, the first quartile of hundreds of "
        "packets: with all that passing on takes. At a node from sending to departure, less what "
        "that takes without ESP. The kernel's generic C code, no AES instructions, on one "
        f"processor: {processor}. Figures are this machine's."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


def _shown_us(value: Row) -> float:
    beside = value["beside_plain_us"]
    return float(value["cost_us"] if beside is None else beside)


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
