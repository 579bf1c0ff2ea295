"""A steady TCP transfer for a whole walk: one end sends at a fixed rate, the other counts.

    python -m experiments.transfer --role send --local fd00:10::d1 --peer fd00:10::d2 --output FILE

Both ends log bytes for each bin of 100 ms (docs/schema.md): the sender what the socket took, the
receiver what it delivered. A connection that breaks is logged and not made again: whether a
transfer survives a switch is what is to be shown. Ends at SIGTERM, or when its sender stops.
"""

import argparse
import contextlib
import errno
import select
import signal
import socket
import time
from pathlib import Path
from typing import TextIO

HEADER_LINE = "time_ns,event,bytes,detail\n"
PORT = 7008
NANOSECONDS = 1_000_000_000
BIN_NS = 100_000_000
CHUNK_NS = 10_000_000
RECEIVE_BYTES = 1 << 16


class ByteLog:
    """Bytes by bins of 100 ms: a line for each bin in which any byte passed."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._bin = self._bytes = 0

    def passed(self, now_ns: int, count: int) -> None:
        """Count bytes that passed at `now_ns`."""
        if now_ns // BIN_NS != self._bin:
            self.flush()
            self._bin = now_ns // BIN_NS
        self._bytes += count

    def event(self, now_ns: int, event: str, detail: str = "") -> None:
        """Log what happened to the connection."""
        self.flush()
        self._output.write(f"{now_ns},{event},,{detail}\n")

    def flush(self) -> None:
        """Write the present bin."""
        if self._bytes:
            self._output.write(f"{self._bin * BIN_NS},bytes,{self._bytes},\n")
        self._bytes = 0


def send(
    connection: socket.socket, stop: socket.socket, options: argparse.Namespace, log: ByteLog
) -> None:
    """Send at a rate; what could not be sent while the path was down is caught up on."""
    begin_ns, sent = time.time_ns(), 0
    chunk = bytes(RECEIVE_BYTES)
    while True:
        now = time.time_ns()
        if options.stop_at and now >= options.stop_at * NANOSECONDS:
            return
        due = round((now - begin_ns) * options.rate_kbit * 1000 / 8 / NANOSECONDS)
        writable: list[socket.socket] = []
        if due > sent:
            readable, writable, _ = select.select([stop], [connection], [])
        else:
            readable, _, _ = select.select([stop], [], [], CHUNK_NS / NANOSECONDS)
        if readable:
            return
        if writable:
            with contextlib.suppress(BlockingIOError):
                count = connection.send(chunk[: min(due - sent, len(chunk))])
                log.passed(time.time_ns(), count)
                sent += count


def receive(connection: socket.socket, stop: socket.socket, log: ByteLog) -> None:
    """Count what arrives until the connection ends."""
    while True:
        readable, _, _ = select.select([stop, connection], [], [])
        if stop in readable:
            return
        count = len(connection.recv(RECEIVE_BYTES))
        if not count:
            log.event(time.time_ns(), "closed")
            return
        log.passed(time.time_ns(), count)


def connect(options: argparse.Namespace) -> socket.socket:
    """Return the connection: the sender calls, the receiver listens."""
    if options.role == "receive":
        with socket.create_server((options.local, PORT), family=socket.AF_INET6) as server:
            return server.accept()[0]
    caller = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    caller.bind((options.local, 0))
    delay_s = 0.0
    while options.start_at and (delay_s := options.start_at - time.time()) > 0:
        time.sleep(delay_s)
    caller.connect((options.peer, PORT))
    return caller


def main(arguments: list[str] | None = None) -> None:
    """Run one end of the transfer."""
    parser = argparse.ArgumentParser(prog="python -m experiments.transfer", description=__doc__)
    parser.add_argument("--role", required=True, choices=("send", "receive"))
    parser.add_argument("--local", required=True, help="internal home address of this end")
    parser.add_argument("--peer", required=True, help="internal home address of the other end")
    parser.add_argument("--output", required=True, type=Path, help="CSV file to write")
    parser.add_argument("--rate-kbit", type=float, default=1000.0)
    parser.add_argument(
        "--start-at", type=float, default=0.0, help="CLOCK_REALTIME, seconds; default: at once"
    )
    parser.add_argument("--stop-at", type=float, default=0.0, help="the same; default: SIGTERM")
    options = parser.parse_args(arguments)
    if options.rate_kbit <= 0:
        parser.error("--rate-kbit must be positive")
    stop, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt_if_unconnected)
    with options.output.open("w") as output:
        output.write(HEADER_LINE)
        log = ByteLog(output)
        try:
            with connect(options) as connection:
                signal.signal(signal.SIGTERM, lambda *_: None)
                signal.signal(signal.SIGINT, lambda *_: None)
                connection.setblocking(False)
                log.event(time.time_ns(), "connected")
                if options.role == "send":
                    send(connection, stop, options, log)
                else:
                    receive(connection, stop, log)
        except OSError as error:
            log.event(time.time_ns(), "broken", errno.errorcode.get(error.errno or 0, str(error)))
        finally:
            log.flush()


def _interrupt_if_unconnected(*_: object) -> None:
    raise InterruptedError(errno.EINTR, "ended before there was a connection")


if __name__ == "__main__":
    main()
