"""The traffic programs over a link with a delay, in virtual time: what they log is the link's."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from experiments.measure.transfers import read_transfers

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
DELAY_MS, RATE_MBIT = 35.0, 20.0
ENDS = {"traffic1": "fd00:10::d1", "traffic2": "fd00:10::d2"}
FRAME_BYTES = 14 + 40 + 8 + 64
EXPECTED_RTT_MS = 2 * (DELAY_MS + FRAME_BYTES * 8 / RATE_MBIT / 1000)


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@pytest.fixture
def link() -> Iterator[None]:
    """Two namespaces, one link between them."""
    try:
        for name in ENDS:
            run(f"ip netns add {name}")
            for scope in ("all", "default"):
                setting = f"net.ipv6.conf.{scope}.accept_dad=0"
                run(f"ip netns exec {name} sysctl -qw {setting}")
        first, second = ENDS
        run(f"ip link add t0 netns {first} type veth peer name t0 netns {second}")
        for name, address in ENDS.items():
            run(f"ip -n {name} link set t0 up")
            run(f"ip -n {name} addr add {address}/64 dev t0 nodad")
            shape = f"netem delay {DELAY_MS}ms rate {RATE_MBIT}mbit limit 10000"
            run(f"ip netns exec {name} tc qdisc add dev t0 root {shape}")
        yield
    finally:
        for name in ENDS:
            subprocess.run(["ip", "netns", "del", name], check=False)


def start(host: str, program: str, output: Path, *arguments: str) -> subprocess.Popen[bytes]:
    (peer,) = [address for name, address in ENDS.items() if name != host]
    command = ["ip", "netns", "exec", host, sys.executable, "-m", f"experiments.{program}"]
    command += ["--local", ENDS[host], "--peer", peer, "--output", str(output), *arguments]
    return subprocess.Popen(command, cwd=ROOT)


def end(*programs: subprocess.Popen[bytes]) -> None:
    for program in programs:
        program.terminate()
    for program in programs:
        assert program.wait(30) == 0


@pytest.mark.usefixtures("link")
def test_probes_leave_on_time_and_round_trips_are_the_links(tmp_path: Path) -> None:
    start_at = time.time() + 5
    programs = [
        start(name, "probes", tmp_path / f"{name}.csv", "--start-at", str(start_at))
        for name in ENDS
    ]
    time.sleep(9)
    end(*programs)
    for name in ENDS:
        lines = (tmp_path / f"{name}.csv").read_text().splitlines()[1:]
        rows = [line.split(",") for line in lines]
        assert {row[1] for row in rows} == {"sent", "arrived"}
        sent = {int(r[4]): int(r[5]) for r in rows if r[1:3] == ["sent", "probe"]}
        late_ms = [t / 1e6 - start_at * 1e3 - 5 * n for n, t in sent.items() if n]
        assert max(late_ms) < 0.1
        trips = [
            (int(r[0]) - int(r[5])) / 1e6 for r in rows if r[1:3] == ["arrived", "echo"] and r[4]
        ]
        assert len(trips) == len(sent) > 700
        assert median(trips) == pytest.approx(EXPECTED_RTT_MS, abs=0.01)


@pytest.mark.usefixtures("link")
def test_a_transfer_is_steady_over_the_link(tmp_path: Path) -> None:
    first, second = ENDS
    receiver = start(second, "transfer", tmp_path / "in.csv", "--role", "receive")
    start_at = str(time.time() + 3)
    sender = start(
        first, "transfer", tmp_path / "out.csv", "--role", "send", "--start-at", start_at
    )
    time.sleep(8)
    end(sender)
    time.sleep(1)
    end(receiver)
    received, sent = read_transfers([tmp_path / "in.csv", tmp_path / "out.csv"])
    assert received.total_bytes == sent.total_bytes > 500_000
    assert received.longest_stall_ms == 0
    assert sent.broken == received.broken == ""
