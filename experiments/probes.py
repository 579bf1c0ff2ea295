"""Traffic program, one per end: numbered, time-stamped probes at fixed times, and echoes of them.

    python -m experiments.probes --local fd00:10::d1 --peer fd00:10::d2 --output FILE

Runs in a node's own namespace until SIGTERM, then stops sending, goes on receiving for `--linger`
and ends. Every sending and every arrival is one line of the output (docs/schema.md). One way, an
end only sends (`--role send`) or only receives, and nothing is echoed. It waits in select() only,
so that virtual time can pass; imports are few, since a lab kernel starts it slowly.
"""

import argparse
import errno
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from experiments.probe_format import (
    ECHO,
    KINDS,
    PORT,
    PROBE,
    SMALLEST_BYTES,
    USUAL_BYTES,
    Datagram,
    sender_of,
)
from experiments.probe_format import decode as decode_datagram
from experiments.probe_format import encode as encode_datagram

HEADER_LINE = "time_ns,event,kind,sender,sequence,sent_ns,turned_ns,detail\n"
NANOSECONDS = 1_000_000_000
SO_TIMESTAMPNS = 35
"""Receive time stamps by the kernel, socket(7): Python's socket module does not name it."""
TIMESPEC = struct.Struct("@qq")
OUTPUT_BUFFER_BYTES = 1 << 20
MOST_BYTES = 2048
LONG_WAIT_NS = 20_000_000
"""Select() may wake a thousandth of its time too late: a longer wait is cut short and renewed."""


class ProbeEnd:
    """One end: what is due is sent, what arrives is logged, probes among it are turned round."""

    def __init__(
        self, endpoint: socket.socket, sender: int, output: TextIO, options: argparse.Namespace
    ) -> None:
        self._socket = endpoint
        self._peer = (options.peer, options.port)
        self._sender = sender
        self._sizes = options.payload_bytes
        self._echoes = options.role == "both"
        self._output = output
        self._sequence = 0

    def send_probe(self) -> None:
        """Send the next probe; a number that cannot be sent is used up all the same."""
        now = time.time_ns()
        self._send(Datagram(PROBE, self._sender, self._sequence, now, 0), now)
        self._sequence += 1

    def receive_all(self) -> None:
        """Log what has arrived and turn probes round, unless traffic is one-way."""
        for payload, arrived_ns in self._arrivals():
            datagram = decode_datagram(payload)
            if datagram is None:
                self._output.write(f"{arrived_ns},foreign,,,,,,{len(payload)} bytes\n")
                continue
            self._log(arrived_ns, "arrived", datagram)
            if self._echoes and datagram.kind == PROBE:
                now = time.time_ns()
                self._send(datagram._replace(kind=ECHO, turned_ns=now), now)

    def _arrivals(self) -> Iterator[tuple[bytes, int]]:
        while True:
            try:
                payload, ancillary, _, _ = self._socket.recvmsg(
                    MOST_BYTES, socket.CMSG_SPACE(TIMESPEC.size)
                )
            except BlockingIOError:
                return
            except OSError as error:
                self._output.write(f"{time.time_ns()},error,,,,,,{_name(error)}\n")
                continue
            arrived_ns = time.time_ns()
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = TIMESPEC.unpack(data)
                    arrived_ns = seconds * NANOSECONDS + nanoseconds
            yield payload, arrived_ns

    def _send(self, datagram: Datagram, now: int) -> None:
        try:
            size = self._sizes[datagram.sequence % len(self._sizes)]
            self._socket.sendto(encode_datagram(datagram, size), self._peer)
        except OSError as error:
            self._log(now, "refused", datagram, _name(error))
        else:
            self._log(now, "sent", datagram)

    def _log(self, time_ns: int, event: str, datagram: Datagram, detail: str = "") -> None:
        kind, sender, sequence, sent_ns, turned_ns = datagram
        self._output.write(
            f"{time_ns},{event},{KINDS[kind]},{sender:04x},{sequence},{sent_ns},{turned_ns},{detail}\n"
        )


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error))


def open_endpoint(local: str, port: int) -> socket.socket:
    """Return a non-blocking UDP socket bound to an address, with kernel receive time stamps."""
    endpoint = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    endpoint.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    endpoint.bind((local, port))
    endpoint.setblocking(False)
    return endpoint


def wake_exactly() -> None:
    """Ask for timers without slack, so that a probe leaves when it is due."""
    try:
        Path("/proc/self/timerslack_ns").write_text("1")
    except OSError:
        print("probes: timer slack stays as it is", file=sys.stderr)


def run(end: ProbeEnd, endpoint: socket.socket, options: argparse.Namespace) -> None:
    """Send every interval from the start time to the stop time or SIGTERM, then linger."""
    wake_up, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    interval_ns = round(options.interval_ms * 1_000_000)
    start_ns = round(options.start_at * NANOSECONDS) if options.start_at else time.time_ns()
    stop_ns = round(options.stop_at * NANOSECONDS) if options.stop_at else None
    due_ns = None if options.role == "receive" else start_ns
    ends_at_ns = None
    while ends_at_ns is None or time.time_ns() < ends_at_ns:
        wake_at_ns = due_ns if ends_at_ns is None else ends_at_ns
        readable, _, _ = select.select([endpoint, wake_up], [], [], _wait_s(wake_at_ns))
        if wake_up in readable:
            wake_up.recv(64)
            ends_at_ns = time.time_ns() + round(options.linger_ms * 1_000_000)
        if endpoint in readable:
            end.receive_all()
        while ends_at_ns is None and due_ns is not None and due_ns <= time.time_ns():
            end.send_probe()
            due_ns += interval_ns
            if stop_ns is not None and due_ns >= stop_ns:
                due_ns = None


def _wait_s(until_ns: int | None) -> float | None:
    """Return how long to wait for a moment, None for none, at first."""
    if until_ns is None:
        return None
    wait_ns = max(0, until_ns - time.time_ns())
    if wait_ns > LONG_WAIT_NS:
        wait_ns = wait_ns * 99 // 100
    return wait_ns / NANOSECONDS


def main(arguments: list[str] | None = None) -> None:
    """Run one end of the probe traffic."""
    parser = argparse.ArgumentParser(prog="python -m experiments.probes", description=__doc__)
    parser.add_argument("--local", required=True, help="internal home address of this end")
    parser.add_argument("--peer", required=True, help="internal home address of the other end")
    parser.add_argument("--output", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--role", choices=("both", "send", "receive"), default="both")
    parser.add_argument("--port", type=int, default=PORT, help="of both ends")
    parser.add_argument("--interval-ms", type=float, default=5.0)
    parser.add_argument(
        "--payload-bytes", type=int, nargs="+", default=[USUAL_BYTES], help="of them in turn"
    )
    parser.add_argument(
        "--start-at", type=float, default=0.0, help="CLOCK_REALTIME, seconds; default: at once"
    )
    parser.add_argument("--stop-at", type=float, default=0.0, help="the same; default: SIGTERM")
    parser.add_argument("--linger-ms", type=float, default=500.0)
    options = parser.parse_args(arguments)
    if options.interval_ms <= 0:
        parser.error("--interval-ms must be positive")
    if not all(SMALLEST_BYTES <= size <= MOST_BYTES for size in options.payload_bytes):
        parser.error(f"--payload-bytes must be {SMALLEST_BYTES} to {MOST_BYTES}")
    wake_exactly()
    with (
        open_endpoint(options.local, options.port) as endpoint,
        options.output.open("w", buffering=OUTPUT_BUFFER_BYTES) as output,
    ):
        output.write(HEADER_LINE)
        sender = sender_of(socket.inet_pton(socket.AF_INET6, options.local))
        run(ProbeEnd(endpoint, sender, output, options), endpoint, options)


if __name__ == "__main__":
    main()
