"""The study of throughput: what is read of a run, what is derived, what fails, what is drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments.bulk import way_of
from experiments.limits import Way
from experiments.network_plan import INSIDE
from experiments.paths import PacketPath
from experiments.report.drawing import PATHS, style
from experiments.scenario import load
from experiments.study.throughput import (
    COLUMNS,
    RATES_MBIT,
    STUDY,
    derive,
    judge,
    pictures,
    steady_mbit,
    values_of,
)
from mobivpn.ipsec.sa import EspAlgorithm
from tests.support.packets import write_pcapng
from tests.support.sample_results import write_sample

FRAME_BYTES = 14 + 1352
COUNTERS = {"rx_bytes": 0, "rx_packets": 0, "tx_bytes": 0, "tx_packets": 0}


def interval(begin_s: float, seconds: float, count: int) -> dict[str, Any]:
    return {"start": begin_s, "seconds": seconds, "bytes": count}


def told(protocol: str, bytes_each: int = 100_000) -> dict[str, Any]:
    """Return what iperf3's receiver tells of a second, with as much as is read of it."""
    sums = [{"sum": interval(n / 10, 0.1, bytes_each)} for n in range(10)]
    whole = {"seconds": 1.0, "bytes": 10 * bytes_each}
    if protocol == "udp":
        return {"intervals": sums, "end": {"sum": {**whole, "packets": 767, "lost_packets": 0}}}
    return {"intervals": sums, "end": {"sum_received": whole, "sum_sent": {"retransmits": 0}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a walk that ends inside, with transfers behind it."""
    made = write_sample(tmp_path_factory.mktemp("results") / "walk")
    for protocol in ("tcp", "udp"):
        own = made / "bulk" / protocol
        (own / "samples").mkdir(parents=True)
        (own / "receiver.json").write_text(json.dumps(told(protocol)))
        counters = {"sg-ext": COUNTERS, "sg-lan": COUNTERS, "ha-eth0": COUNTERS}
        (own / "transfer.json").write_text(json.dumps({"limit_mbit": 9.0, "counters": counters}))
        for link in ("mn1", "mn2"):
            sizes = [90] * 5 + [FRAME_BYTES] * 3 + [1500]
            frames = [(n, bytes(size)) for n, size in enumerate(sizes)]
            write_pcapng(own / "samples" / f"{link}.pcapng", frames)
    return made


def test_a_transfer_is_read_with_what_passed_sg_meanwhile_and_before(folder: Path):
    rows = derive(folder)["rows"]
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert {(row["rate_mbit"], row["path"]) for row in rows} == {(100.0, "inside")}
    (udp,) = [r for r in rows if r["during"] == "udp" and r["where"] == "whole"]
    assert (udp["bytes"], udp["lost_packets"], udp["limit_mbit"]) == (1_000_000, 0, 9.0)
    assert udp["frame_bytes"] == udp["computed_frame_bytes"] == FRAME_BYTES
    assert len([r for r in rows if r["during"] == "tcp" and r["where"] == "receiver"]) == 10
    walk = [r for r in rows if r["during"] == "walk"]
    assert {r["where"].split()[0] for r in walk} == {"sg-ext", "sg-lan"}
    assert all(r["begin_s"] >= 0 and r["bytes"] > 0 for r in walk)


def test_frames_that_differ_at_the_two_ends_have_no_size(folder: Path, tmp_path: Path):
    sample = folder / "bulk" / "udp" / "samples" / "mn2.pcapng"
    kept = sample.read_bytes()
    write_pcapng(sample, [(n, bytes(1400)) for n in range(3)])
    try:
        rows = derive(folder)["rows"]
    finally:
        sample.write_bytes(kept)
    assert {r["frame_bytes"] for r in rows if r["where"] == "whole"} == {None, 0}


def test_a_rate_is_that_of_the_second_half_of_the_bytes_without_the_last_interval():
    slow = [interval(n / 10, 0.1, 1000) for n in range(5)]
    fast = [interval(0.5 + n / 10, 0.1, 125_000) for n in range(8)]
    assert steady_mbit([*slow, *fast, interval(1.3, 0.01, 70)]) == pytest.approx(10.0)
    assert steady_mbit(fast[:2]) is None
    assert steady_mbit([]) is None


def all_rows(**of_direct: Any) -> list[dict[str, Any]]:
    """Return rows of every path and rate, each at 96 % of its limit."""
    rows = []
    for rate in RATES_MBIT:
        for path in PATHS:
            for protocol in ("tcp", "udp"):
                own = {**dict.fromkeys(COLUMNS), "rate_mbit": rate, "path": path}
                own |= {"during": protocol, "begin_s": 0.0, "seconds": 1.0}
                each = round(rate * 0.9 * 0.96 * 1e5 / 8)
                whole = {"where": "whole", "bytes": 10 * each, "limit_mbit": rate * 0.9}
                whole |= {"lost_packets": 0, "frame_bytes": 9, "computed_frame_bytes": 9}
                rows.append({**own, **whole, **(of_direct if path == "direct" else {})})
                for n in range(10):
                    more = {"where": "receiver", "begin_s": n / 10, "seconds": 0.1, "bytes": each}
                    rows.append({**own, **more})
                for device in ("sg-ext", "sg-lan", "ha-eth0"):
                    for way in ("in", "out"):
                        count = 11 * each if path == "via_gateway" else 0
                        rows.append({**own, "where": f"{device} {way}", "bytes": count})
            for n in range(60):
                row = {"during": "walk", "where": "sg-ext in", "begin_s": n / 10, "seconds": 0.1}
                rows.append({**dict.fromkeys(COLUMNS), "rate_mbit": rate, "path": path, **row,
                             "bytes": 1000})  # fmt: skip
    return rows


def failed(rows: list[dict[str, Any]]) -> list[str]:
    return [check["name"] for check in judge(values_of(rows)) if not check["passed"]]


def test_transfers_near_their_limits_pass():
    assert failed(all_rows()) == []


@pytest.mark.parametrize(
    ("change", "told_of"),
    [
        ({"limit_mbit": 2000.0}, ["direct: TCP / limit, the least"]),
        ({"limit_mbit": 5.0}, ["goodput / limit, the greatest"]),
        ({"lost_packets": 1}, ["UDP packets lost at 95 % of the limit"]),
        ({"frame_bytes": 10}, ["transfers whose frames have another size than computed"]),
    ],
)
def test_what_is_below_or_beyond_its_limit_fails(change: dict[str, Any], told_of: list[str]):
    assert failed(all_rows(**change)) == told_of


def test_traffic_at_sg_that_should_pass_it_by_fails():
    rows = all_rows()
    for row in rows:
        if (row["path"], row["where"]) == ("direct", "sg-ext in"):
            row["bytes"] = 100_000
    assert failed(rows) == [
        "bytes on sg's outer link per byte of payload that does not pass sg, the most"
    ]


def test_a_transfer_that_is_missing_fails():
    assert "paths and rates without a transfer" in failed(all_rows()[: len(all_rows()) // 2])
    assert len(failed([])) == len(PATHS) + 4


def test_every_figure_is_drawn_and_says_why_where_there_is_nothing(tmp_path: Path):
    rows = all_rows()
    with style():
        drawn, empty = pictures(values_of(rows), rows), pictures([], [])
    for picture in drawn:
        picture.save(tmp_path)
        assert (tmp_path / f"{picture.name}.pdf").stat().st_size > 1000
    assert all(p.figure is None and p.caption.startswith("Not drawn: ") for p in empty)


def test_runs_are_every_path_at_every_rate_and_end_where_their_path_is():
    assert len(STUDY.runs) == len(RATES_MBIT) * len(PATHS)


def test_the_way_of_a_transfer_is_that_on_which_the_walk_ends():
    assert way_of(load("walk")).path is PacketPath.INSIDE
    outside = load("walk", {"move": [], "start": {"mn1": "wifi1", "mn2": "cell"}})
    assert way_of(outside) == Way(
        PacketPath.DIRECT, ("wifi1", "cell"), EspAlgorithm.AES256GCM16, False, True
    )
    changed = {"best_path": "via_gateway", "embodiment": "2", "sg_binding": "no"}
    hub = load("walk", {"move": [], "start": {"mn1": "wifi1", "mn2": "wifi1"}, **changed})
    assert way_of(hub) == Way(
        PacketPath.VIA_GATEWAY, ("wifi1", "wifi1"), EspAlgorithm.AES256GCM16, True, False
    )
    half = load("walk", {"move": [], "start": {"mn1": "wifi1"}})
    assert way_of(half).places == ("wifi1", INSIDE)
