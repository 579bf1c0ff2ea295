"""The traffic programs against each other, over the loopback interface as it is."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.measure.transfers import read_transfers
from experiments.probe_format import ECHO, PROBE, Datagram, decode, encode

ROOT = Path(__file__).parents[2]


def has_ipv6_loopback() -> bool:
    return (
        "::1"
        in subprocess.run(
            ["ip", "-6", "addr", "show", "dev", "lo"], capture_output=True, text=True, check=False
        ).stdout
    )


def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a program; return when it runs so far that it has opened its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"experiments.{program}", *arguments], cwd=ROOT
    )
    output, deadline = Path(arguments[arguments.index("--output") + 1]), time.monotonic() + 30
    while not output.exists():
        assert time.monotonic() < deadline, f"{program} does not begin"
        time.sleep(0.01)
    return process


def end(*programs: subprocess.Popen[bytes]) -> None:
    for program in programs:
        program.send_signal(signal.SIGTERM)
    for program in programs:
        assert program.wait(timeout=20) == 0


def test_datagrams_survive_encoding() -> None:
    datagram = Datagram(ECHO, 0xD1, 7, 123, 456)
    assert decode(encode(datagram, 64)) == datagram
    assert len(encode(datagram, 64)) == 64


@pytest.mark.parametrize("payload", [b"", b"MVPb", b"x" * 40, b"MVPb\x09" + bytes(40)])
def test_other_payloads_are_no_datagrams(payload: bytes) -> None:
    assert decode(payload) is None


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_a_probe_end_sends_on_time_turns_probes_round_and_logs_all(tmp_path: Path) -> None:
    """Talking to itself, an end sees each of its probes twice: as the peer's, and as an echo."""
    log = tmp_path / "mn1.csv"
    program = start(
        *("probes", "--local", "::1", "--peer", "::1", "--output", str(log)),
        *("--interval-ms", "5", "--linger-ms", "100"),
    )
    time.sleep(1.5)
    end(program)
    header, *lines = log.read_text().splitlines()
    assert header == "time_ns,event,kind,sender,sequence,sent_ns,turned_ns,detail"
    rows = [line.split(",") for line in lines]
    counts = {
        (event, kind): [int(row[4]) for row in rows if row[1:3] == [event, kind]]
        for event in ("sent", "arrived")
        for kind in ("probe", "echo")
    }
    numbers = counts["sent", "probe"]
    assert len(numbers) > 100
    assert numbers == list(range(len(numbers)))
    assert all(found == numbers for found in counts.values())
    sent_ns = [int(row[5]) for row in rows if row[1:3] == ["sent", "probe"]]
    mean_ms = (sent_ns[-1] - sent_ns[0]) / 1e6 / (len(sent_ns) - 1)
    assert mean_ms == pytest.approx(5, abs=0.1)


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_one_way_an_end_only_sends_until_it_has_to_stop(tmp_path: Path) -> None:
    """Talking to itself, it would see echoes, if there were any."""
    log = tmp_path / "mn1.csv"
    now = time.time()
    program = start(
        *("probes", "--local", "::1", "--peer", "::1", "--output", str(log), "--role", "send"),
        *("--interval-ms", "5", "--linger-ms", "0", "--port", "7010"),
        *("--start-at", str(now + 0.6), "--stop-at", str(now + 0.6975)),
    )
    time.sleep(1.2)
    end(program)
    rows = [line.split(",") for line in log.read_text().splitlines()[1:]]
    assert {(row[1], row[2]) for row in rows} == {("sent", "probe"), ("arrived", "probe")}
    assert [int(row[4]) for row in rows if row[1] == "sent"] == list(range(20))


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_one_way_an_end_only_receives(tmp_path: Path) -> None:
    log = tmp_path / "mn2.csv"
    program = start(
        *("probes", "--local", "::1", "--peer", "::1", "--output", str(log), "--role", "receive"),
        *("--interval-ms", "5", "--linger-ms", "0", "--port", "7011"),
    )
    time.sleep(0.5)
    payload = encode(Datagram(PROBE, 0xD1, 3, 1, 0))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, ("::1", 7011))
    time.sleep(0.2)
    end(program)
    rows = [line.split(",") for line in log.read_text().splitlines()[1:]]
    assert [row[1:5] for row in rows] == [["arrived", "probe", "00d1", "3"]]


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_what_cannot_be_sent_is_logged_and_used_up(tmp_path: Path) -> None:
    log = tmp_path / "mn1.csv"
    program = start(
        *("probes", "--local", "::1", "--peer", "::ffff:192.0.2.1", "--output", str(log)),
        *("--interval-ms", "5", "--linger-ms", "0"),
    )
    time.sleep(1.0)
    end(program)
    rows = [line.split(",") for line in log.read_text().splitlines()[1:]]
    assert {row[1] for row in rows} == {"refused"}
    assert {row[7] for row in rows} == {"ENETUNREACH"}
    assert [int(row[4]) for row in rows] == list(range(len(rows)))


@pytest.mark.parametrize(
    ("program", "arguments", "complaint"),
    [
        ("probes", ("--interval-ms", "0"), "--interval-ms must be positive"),
        ("probes", ("--payload-bytes", "8"), "--payload-bytes must be 28 to 2048"),
        ("transfer", ("--role", "send", "--rate-kbit", "0"), "--rate-kbit must be positive"),
    ],
)
def test_a_wrong_option_is_told(
    tmp_path: Path, program: str, arguments: tuple[str, ...], complaint: str
) -> None:
    ends = ("--local", "::1", "--peer", "::1", "--output", str(tmp_path / "log"))
    result = subprocess.run(
        [sys.executable, "-m", f"experiments.{program}", *ends, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert complaint in result.stderr


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_a_transfer_is_steady_and_both_ends_count_the_same(tmp_path: Path) -> None:
    receiver_log, sender_log = tmp_path / "mn2.csv", tmp_path / "mn1.csv"
    ends = ("--local", "::1", "--peer", "::1")
    receiver = start("transfer", "--role", "receive", *ends, "--output", str(receiver_log))
    time.sleep(0.5)
    sender = start(
        *("transfer", "--role", "send", *ends, "--output", str(sender_log)),
        *("--rate-kbit", "800", "--start-at", str(time.time() + 0.5)),
    )
    time.sleep(2.0)
    end(sender)
    assert receiver.wait(timeout=20) == 0  # the connection was closed
    sent, received = read_transfers([sender_log, receiver_log])
    assert sent.broken == ""
    assert received.broken == ""
    assert sent.total_bytes == received.total_bytes > 30_000
    assert received.longest_stall_ms is not None


@pytest.mark.skipif(not has_ipv6_loopback(), reason="no IPv6 loopback address")
def test_an_end_that_is_never_called_ends_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "mn2.csv"
    receiver = start(
        *("transfer", "--role", "receive", "--local", "::1", "--peer", "::1", "--output", str(log))
    )
    time.sleep(1.0)
    os.kill(receiver.pid, signal.SIGTERM)
    assert receiver.wait(timeout=20) == 0
    (never,) = read_transfers([log])
    assert never.broken == "EINTR"
