"""The numbered datagrams of the traffic program, as bytes: shared by who sends and who reads them.

A probe goes from one end to the other; the other turns it round at once as an echo that carries the
probe's own number. `sender` is the last two bytes of the address of the end that numbered it.
"""

import struct
from typing import NamedTuple

PORT = 7007
MAGIC = b"MVPb"
PROBE, ECHO = 1, 2
KINDS = {PROBE: "probe", ECHO: "echo"}
HEADER = struct.Struct("!4sBxHIQQ")
"""Magic, kind, sender, sequence number, sent (ns), turned round (ns; 0 in a probe)."""
SMALLEST_BYTES = HEADER.size
USUAL_BYTES = 64
HEADERS_BYTES = 40 + 8
"""Of a datagram's own headers, IPv6 and UDP."""


class Datagram(NamedTuple):
    """A probe or its echo; times are CLOCK_REALTIME in nanoseconds."""

    kind: int
    sender: int
    sequence: int
    sent_ns: int
    turned_ns: int


def sender_of(address: bytes) -> int:
    """Return the number by which an end is known that has this address, 16 bytes."""
    return int.from_bytes(address[-2:], "big")


def encode(datagram: Datagram, size: int = SMALLEST_BYTES) -> bytes:
    """Return the datagram, filled with zeros up to `size` bytes."""
    return HEADER.pack(MAGIC, *datagram).ljust(size, b"\0")


def decode(payload: bytes) -> Datagram | None:
    """Return the datagram in a UDP payload, or None if it is something else."""
    if len(payload) < SMALLEST_BYTES or payload[:4] != MAGIC or payload[4] not in KINDS:
        return None
    return Datagram(*HEADER.unpack_from(payload)[1:])
