"""What TCP and UDP reach on each path at each link rate, and what that puts on sg's links."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from experiments.analyse import at_least, at_most
from experiments.bulk import COUNTED, PROTOCOLS, way_of
from experiments.clear_text import hardware_source
from experiments.pcapng import read_frames
from experiments.report.drawing import (
    BAR,
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
from experiments.scenario import Scenario
from experiments.study import studies
from experiments.study.study import Check, Row, Study
from mobivpn.host.mtu import inner_mtu
from topologies.addresses import fixed_mac
from topologies.links import DEFAULT_LINKS

RATES_MBIT = (10, 100, 1000)
SECONDS = {10: (4, 2), 100: (4, 2), 1000: (3, 1)}
"""Of TCP and UDP, by rate. Of TCP's bytes the second half counts: by then it is out of slow start
on the longest path. At 1 Gbit/s that has to do: each second is 90 000 packets on every link."""

COLUMNS = (
    "rate_mbit",
    "path",
    "during",
    "where",
    "begin_s",
    "seconds",
    "bytes",
    "packets",
    "lost_packets",
    "retransmissions",
    "limit_mbit",
    "frame_bytes",
    "computed_frame_bytes",
)
"""A row: in `seconds` from `begin_s` on, so many bytes passed somewhere while something went on.

`during` is `tcp` or `udp`, and counts from the transfer's begin, or `walk`, and counts from time
zero. `where` is `receiver` (payload), an interface and a direction (whole frames), or `whole`: the
transfer itself, with what is known of all of it.
"""
OF_TRANSFER = COLUMNS[7:]

TCP_SHARE = 0.95
"""Of the limit that headers leave; window and queue hold more than the path."""
BEYOND = 1.01
"""A limit that is exceeded is none; but Linux may acknowledge more than two segments at once, and
that of a link which data and acknowledgements share is then a little higher."""
QUIET_SHARE = 0.001
"""Of the payload: what sg may still have of it when the path passes sg by (signalling)."""
BIN_S = 0.1
SHOWN_RATE_MBIT = RATES_MBIT[-1]


def _row(run: Mapping[str, Any], during: str, where: str, **values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), **run, "during": during, "where": where, **values}


def derive(folder: Path) -> dict[str, Any]:
    """Return what a run's transfers reached, and what passed sg meanwhile and before."""
    results = ResultSet(folder)
    described = results.load_run()
    scenario = Scenario.model_validate(described["scenario"])
    way = way_of(scenario)
    run = {"rate_mbit": described["links"]["sg"]["rate_mbit"], "path": way.path.value}
    rows = [*_walk_rows(results, run, described["time_zero"], scenario.duration_s or 0.0)]
    for protocol in PROTOCOLS:
        own = folder / "bulk" / protocol
        told, receiver = (
            json.loads((own / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("transfer", "receiver")
        )
        end = receiver["end"]["sum_received" if protocol == "tcp" else "sum"]
        rows.append(
            _row(
                run, protocol, "whole",
                begin_s=0.0, seconds=end["seconds"], bytes=end["bytes"],
                packets=end.get("packets"), lost_packets=end.get("lost_packets"),
                retransmissions=receiver["end"].get("sum_sent", {}).get("retransmits"),
                limit_mbit=told["limit_mbit"],
                frame_bytes=_usual_frame_bytes(own / "samples", scenario.traffic.between)
                if protocol == "udp" else None,
                computed_frame_bytes=way.frame_bytes(inner_mtu()) if protocol == "udp" else None,
            )
        )  # fmt: skip
        rows += [
            _row(run, protocol, "receiver", begin_s=i["start"], seconds=i["seconds"],
                 bytes=i["bytes"])
            for i in (interval["sum"] for interval in receiver["intervals"])
        ]  # fmt: skip
        rows += [
            _row(run, protocol, f"{device} {way_}", begin_s=0.0, seconds=end["seconds"],
                 bytes=counted[f"{x}_bytes"], packets=counted[f"{x}_packets"])
            for device, counted in told["counters"].items()
            for way_, x in (("in", "rx"), ("out", "tx"))
        ]  # fmt: skip
    return {"rows": rows}


def _usual_frame_bytes(samples: Path, ends: Sequence[str]) -> int:
    """Return the size that most large frames have on the links of both ends; 0 if they differ."""
    usual = set()
    for end in ends:
        sizes = Counter(len(frame) for _, frame in read_frames(samples / f"{end}.pcapng"))
        usual.add(max(sizes, key=lambda size, of=sizes: (of[size] * (size > inner_mtu()), size)))
    return usual.pop() if len(usual) == 1 else 0


def _walk_rows(
    results: ResultSet, run: Mapping[str, Any], zero_s: float, end_s: float
) -> Iterator[dict[str, Any]]:
    """Yield what passed sg's two links in each bin of the walk, from their captures."""
    for link in ("sg-ext", "sg-lan"):
        own = bytes.fromhex(fixed_mac(link).replace(":", ""))
        passed: Counter[tuple[int, str]] = Counter()
        for time_ns, frame in read_frames(results.capture_path(link)):
            at_s = time_ns / 1e9 - zero_s
            if 0 <= at_s < end_s:
                way = "out" if hardware_source(frame) == own else "in"
                passed[int(at_s / BIN_S), way] += len(frame)
        for (number, way), count in sorted(passed.items()):
            begin_s = round(number * BIN_S, 3)
            yield _row(run, "walk", f"{link} {way}", begin_s=begin_s, seconds=BIN_S, bytes=count)


def values_of(rows: Sequence[Row]) -> list[Row]:
    """Return what each transfer reached, and the bytes that each link had of a byte of payload."""
    values = []
    for whole in (row for row in rows if row["where"] == "whole"):
        own = [r for r in rows if all(r[k] == whole[k] for k in ("rate_mbit", "path", "during"))]
        reached = steady_mbit([r for r in own if r["where"] == "receiver"])
        # What TCP still has under way when its time is over is on links, and not in the payload.
        exact = whole["during"] == "udp"
        links = {
            f"{name.replace('-', '_').replace(' ', '_')}_bytes_per_byte": next(
                (r["bytes"] / whole["bytes"] for r in own if exact and r["where"] == name), None
            )
            for _, device in COUNTED
            for name in (f"{device} in", f"{device} out")
        }
        values.append(
            {
                "rate_mbit": whole["rate_mbit"],
                "path": whole["path"],
                "protocol": whole["during"],
                "goodput_mbit": reached,
                "limit_mbit": whole["limit_mbit"],
                "goodput_over_limit": reached and reached / whole["limit_mbit"],
                "transfer_s": whole["seconds"],
                "payload_bytes": whole["bytes"],
                **{key: whole[key] for key in OF_TRANSFER if key not in ("packets", "limit_mbit")},
                **links,
            }
        )
    order = {path: number for number, path in enumerate(PATHS)}
    return sorted(values, key=lambda v: (v["rate_mbit"], order[v["path"]], v["protocol"]))


def steady_mbit(intervals: Sequence[Row]) -> float | None:
    """Return the payload rate of a transfer's second half, by its receiver, in whole intervals.

    The last interval may be no whole one.
    """
    half = sum(interval["bytes"] for interval in intervals) / 2
    passed, late = 0, list[Row]()
    for interval in intervals:
        if passed >= half:
            late.append(interval)
        passed += interval["bytes"]
    late = late[:-1]
    took_s = sum(interval["seconds"] for interval in late)
    return sum(interval["bytes"] for interval in late) * 8e-6 / took_s if took_s else None


def judge(values: Sequence[Row]) -> list[Check]:
    """Hold what was reached against what headers leave."""

    def of(protocol: str, path: str | None = None) -> list[Row]:
        return [v for v in values if v["protocol"] == protocol and path in (None, v["path"])]

    checks = []
    for path in PATHS:
        shares = [v["goodput_over_limit"] for v in of("tcp", path)]
        least = min(shares) if shares and None not in shares else None
        checks.append(at_least(f"{PATH_NAMES[path]}: TCP / limit, the least", least, TCP_SHARE))
    every = [v["goodput_over_limit"] for v in values if v["goodput_over_limit"] is not None]
    lost = [v["lost_packets"] for v in of("udp")]
    wrong = sum(v["frame_bytes"] != v["computed_frame_bytes"] for v in of("udp"))
    past = [
        max(v[f"sg_ext_{way}_bytes_per_byte"] for way in ("in", "out"))
        for path in ("inside", "via_home_agents", "direct")
        for v in of("udp", path)
    ]
    return [
        *checks,
        at_most("goodput / limit, the greatest", max(every, default=None), BEYOND),
        at_most("UDP packets lost at 95 % of the limit", sum(lost) if lost else None, 0),
        at_most("transfers whose frames have another size than computed", wrong, 0),
        at_most(
            "bytes on sg's outer link per byte of payload that does not pass sg, the most",
            max(past, default=None),
            QUIET_SHARE,
        ),
        at_most("paths and rates without a transfer",
                2 * len(PATHS) * len(RATES_MBIT) - len(values), 0),
    ]  # fmt: skip


# --- pictures -----------------------------------------------------------------------------------


def pictures(values: Sequence[Row], rows: Sequence[Row]) -> list[Picture]:
    """Return the study's figures."""
    return [goodput(values), load(values), switch(rows), slow_start(values, rows)]


def goodput(values: Sequence[Row]) -> Picture:
    """Return what each path and protocol reached, beside its limit, a panel for each rate."""
    name, title = "goodput", "What TCP and UDP reach, and what headers leave"
    rates = sorted({value["rate_mbit"] for value in values})
    if not rates:
        return not_drawn(name, title)
    figure = blank(WIDTH_IN, 4.0, layout="constrained")
    told = []
    for axes, rate in zip(np.atleast_1d(figure.subplots(1, len(rates))), rates, strict=True):
        for value in (v for v in values if v["rate_mbit"] == rate):
            place = PATHS.index(value["path"]) + (0.21 if value["protocol"] == "udp" else -0.21)
            reached, limit = value["goodput_mbit"] or 0.0, value["limit_mbit"]
            axes.bar(
                place, reached, 0.38, color=PATH_COLOURS[value["path"]], edgecolor=INK,
                linewidth=0.5, hatch="////" if value["protocol"] == "udp" else None,
                alpha=0.6 if value["protocol"] == "udp" else 1,
            )  # fmt: skip
            axes.plot([place - 0.21, place + 0.21], [limit, limit], color=INK, linewidth=1.6)
            share = 100 * reached / limit
            axes.annotate(f"{share:.0f} %", (place, 0.03 * rate), ha="center", va="bottom",
                          rotation=90, fontsize=8, color=INK,
                          bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6},
                          )  # fmt: skip
            told.append(
                f"{rate:g} Mbit/s, {PATH_NAMES[value['path']]}, {value['protocol'].upper()}: "
                f"{reached:.1f} of {limit:.1f} Mbit/s"
            )
        axes.axhline(rate, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        axes.set_title(f"all links at {rate:g} Mbit/s")
        axes.set_ylim(0, 1.06 * rate)
        axes.set_xticks(range(len(PATHS)), [PATH_NAMES[p].replace(" ", "\n") for p in PATHS])
        axes.tick_params(axis="x", bottom=False)
        axes.grid(visible=False, axis="x")
    figure.axes[0].set_ylabel("payload (Mbit/s)")
    handles: list[Any] = [
        Patch(facecolor=BAR, edgecolor=INK, linewidth=0.5, label="TCP"),
        Patch(facecolor=BAR, edgecolor=INK, linewidth=0.5, hatch="////", alpha=0.6,
              label="UDP, sent at 95 % of its limit"),
    ]  # fmt: skip
    handles += [
        figure.axes[0].plot([], [], color=INK, linewidth=1.6, label="limit that headers leave")[0],
        figure.axes[0].plot(
            [], [], color=INK, linewidth=0.8, linestyle=(0, (2, 2)), label="links' rate"
        )[0],
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    caption = (
        "Payload that arrived, of TCP in the second half of a transfer (its slow start is over), "
        "by iperf3; the number is its share of the limit. The limit is the payload of a full "
        "packet over what the narrowest link counts for it, every header outside ESP and in it, "
        "padding and the Ethernet header included; through gateway and home agent TCP's "
        "acknowledgements share a link's direction with the data."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


def load(values: Sequence[Row]) -> Picture:
    """Return what sg's links and the home agent's had of each byte of payload, by path."""
    name, title = "load", "What gateway and home agent carry of each byte of payload"
    shown = max((value["rate_mbit"] for value in values), default=None)
    own = [v for v in values if v["rate_mbit"] == shown and v["protocol"] == "udp"]
    if not own:
        return not_drawn(name, title)
    links = [
        (f"{label} {way}", f"{device.replace('-', '_')}_{way}_bytes_per_byte")
        for device, label in (("sg-ext", "sg, outside"), ("sg-lan", "sg, inside"),
                              ("ha-eth0", "home agent"))
        for way in ("in", "out")
    ]  # fmt: skip
    figure = blank(WIDTH_IN, 3.4, layout="constrained")
    axes = figure.subplots()
    told = []
    for number, value in enumerate(own):
        places = np.arange(len(links)) + 0.2 * (number - (len(own) - 1) / 2)
        heights = [value[key] or 0.0 for _, key in links]
        axes.bar(
            places, heights, 0.18, color=PATH_COLOURS[value["path"]], edgecolor=INK, linewidth=0.5,
            label=PATH_NAMES[value["path"]],
        )  # fmt: skip
        axes.plot(
            places, heights, linestyle="none", marker=PATH_MARKERS[value["path"]], markersize=4,
            color=INK,
        )  # fmt: skip
        carried = ", ".join(
            f"{label} {height:.3f}" for (label, _), height in zip(links, heights, strict=True)
        )
        told.append(f"{PATH_NAMES[value['path']]}: {carried}")
    axes.set_xticks(range(len(links)), [label.replace(", ", ",\n") for label, _ in links])
    axes.tick_params(axis="x", bottom=False)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("bytes on the link\nper byte of payload")
    axes.axhline(1, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    figure.legend(loc="outside upper left", ncols=4)
    caption = (
        f"Interface counters over a UDP transfer, links at {shown:g} Mbit/s, as multiples of the "
        "payload; above 1 (dashed) are headers. Before the switch a byte passes the gateway's "
        "outer link twice and its inner one twice, after it none; first packets (214, 216) pass "
        "the home agent's link twice."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


def switch(rows: Sequence[Row]) -> Picture:
    """Return the load on sg's links over time while two nodes leave and go direct."""
    name, title = "switch", "Load on the gateway's links before and after the switch"
    walks = [r for r in rows if r["during"] == "walk" and r["path"] == "direct"]
    shown = max((r["rate_mbit"] for r in walks), default=None)
    own = [r for r in walks if r["rate_mbit"] == shown]
    if not own:
        return not_drawn(name, title, "no run that goes direct came to a result")
    base = studies.base_of("throughput")
    end_s = base["duration_s"]
    figure = blank(WIDTH_IN, 3.6, layout="constrained")
    axes = figure.subplots()
    told = []
    bins = np.arange(0, end_s, BIN_S)
    wheres = ("sg-ext in", "sg-ext out", "sg-lan in", "sg-lan out")
    labels = ("outer link, in", "outer link, out", "inner link, in", "inner link, out")
    for where, label, look in zip(wheres, labels, LOOKS, strict=False):
        by_bin = {round(r["begin_s"] / BIN_S): r["bytes"] for r in own if r["where"] == where}
        kbit = [by_bin.get(round(at / BIN_S), 0) * 8e-3 / BIN_S for at in bins]
        axes.plot(
            bins + BIN_S / 2, kbit, label=label, markersize=4, markevery=5, linewidth=1.3, **look
        )
        told.append(f"{label}: {max(kbit):.0f} kbit/s at most, {kbit[-5]:.0f} at the end")
    for move in base["move"]:
        axes.axvline(move["at_s"], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(
            f"{move['node']} leaves", (move["at_s"], 1), xycoords=("data", "axes fraction"),
            xytext=(3, -3), textcoords="offset points", va="top", fontsize=8,
        )  # fmt: skip
    axes.set_xlim(0, end_s)
    axes.set_ylim(0, 1.12 * axes.get_ylim()[1])
    axes.set_xlabel("time since the first probe (s)")
    axes.set_ylabel("frames on the link (kbit/s)")
    figure.legend(loc="outside upper left", ncols=4)
    caption = (
        "All frames on sg's two links in each tenth of a second, from captures: the nodes' probes, "
        "the same number all the time, and signalling. Inside they do not pass sg; with one node "
        "outside they pass it once each way, with both outside twice, until the pair is direct."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


def slow_start(values: Sequence[Row], rows: Sequence[Row]) -> Picture:
    """Return what a TCP transfer reached over time on each path."""
    name, title = "slow-start", f"TCP over time, all links at {SHOWN_RATE_MBIT:g} Mbit/s"
    figure = blank(WIDTH_IN, 3.4, layout="constrained")
    axes = figure.subplots()
    told = []
    for path in PATHS:
        own = [
            r for r in rows
            if (r["rate_mbit"], r["path"], r["during"], r["where"])
            == (SHOWN_RATE_MBIT, path, "tcp", "receiver")
        ][:-1]  # fmt: skip
        if not own:
            continue
        mbit = [r["bytes"] * 8e-6 / r["seconds"] for r in own]
        axes.plot(
            [r["begin_s"] + r["seconds"] / 2 for r in own], mbit, color=PATH_COLOURS[path],
            marker=PATH_MARKERS[path], markersize=4, label=PATH_NAMES[path],
        )  # fmt: skip
        told.append(f"{PATH_NAMES[path]}: {max(mbit):.0f} Mbit/s at most")
    if not told:
        return not_drawn(name, title, "no such transfer came to a result")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("time since the transfer's begin (s)")
    axes.set_ylabel("payload that arrived (Mbit/s)")
    figure.legend(loc="outside upper left", ncols=4)
    caption = (
        "Payload in each tenth of a second, by the receiver; the last, partial one is left out. "
        "Slow start doubles it each round trip: the longer the path, the later it is filled."
    )
    return Picture(name, title, caption, f"{'; '.join(told)}.", figure)


def _runs() -> Iterator[dict[str, Any]]:
    for rate in RATES_MBIT:
        tcp_s, udp_s = SECONDS[rate]
        of_rate = {
            **{f"links.{name}.rate_mbit": rate for name in DEFAULT_LINKS},
            "bulk.tcp_s": tcp_s,
            "bulk.udp_s": udp_s,
        }
        yield {**of_rate, "move": [], "duration_s": 1.0}
        yield from ({**of_rate, "best_path": path} for path in PATHS if path != "inside")


STUDY = Study(
    name="throughput",
    runs=tuple(_runs()),
    takes=frozenset({"seed", "embodiment", "sg_binding", "algorithm", "limit_s"}),
    columns=COLUMNS,
    named_by=("rate_mbit", "path", "protocol"),
    derive=derive,
    values_of=values_of,
    judge=judge,
    pictures=pictures,
    varies=dict.fromkeys(
        ("goodput_mbit", "goodput_over_limit", "transfer_s", "payload_bytes"), 0.01
    ),
)
