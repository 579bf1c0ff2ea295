"""Netlink messages as the kernel writes them, byte by byte (RFC 3549 section 2.3.2)."""

import struct


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def attributes(*numbered: tuple[int, bytes]) -> bytes:
    data = b""
    for number, value in numbered:
        data += struct.pack("=HH", 4 + len(value), number) + value
        data += bytes(-len(data) % 4)
    return data
