"""Read capture files: pcapng blocks (draft-ietf-opsawg-pcapng) to time-stamped frames."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.errors import ResultError

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6
OPTION_END = 0
OPTION_TIME_RESOLUTION = 9
OPTION_TIME_OFFSET = 14
LINK_TYPE_ETHERNET = 1
NANOSECONDS = 1_000_000_000


class RawFrame(NamedTuple):
    """One frame as captured: CLOCK_REALTIME in nanoseconds, bytes from the Ethernet header on."""

    time_ns: int
    data: bytes


class _Interface(NamedTuple):
    """How an interface of the section counts time: ticks per second, seconds to add."""

    ticks: int
    offset_s: int


def read_frames(path: Path) -> Iterator[RawFrame]:
    """Yield the Ethernet frames of a pcapng file in file order; raise ResultError if damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        yield from _blocks(data)
    except struct.error as error:
        raise ResultError(f"{path}: damaged capture ({error})") from error
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error


def _blocks(data: bytes) -> Iterator[RawFrame]:
    position, end, order = 0, len(data), "<"
    interfaces: list[_Interface] = []
    packet = struct.Struct("<IIIII")
    if end < 12 or data[:4] != b"\x0a\x0d\x0d\x0a":
        raise ValueError("not a pcapng file")
    while position < end:
        kind, length = struct.unpack_from(order + "II", data, position)
        if kind == SECTION_HEADER:
            magic = data[position + 8 : position + 12]
            order = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}.get(magic, "")
            if not order:
                raise ValueError("damaged capture (no byte order)")
            (length,) = struct.unpack_from(order + "I", data, position + 4)
            packet = struct.Struct(order + "IIIII")
            interfaces = []
        if length < 12 or length % 4 or position + length > end:
            raise ValueError(f"damaged capture (block of {length} bytes at {position})")
        if kind == ENHANCED_PACKET:
            number, high, low, captured, _ = packet.unpack_from(data, position + 8)
            if number >= len(interfaces) or captured > length - 32:
                raise ValueError(f"damaged capture (packet block at {position})")
            ticks, offset_s = interfaces[number]
            stamp = (high << 32) | low
            time_ns = (
                stamp if ticks == NANOSECONDS else stamp * NANOSECONDS // ticks
            ) + offset_s * NANOSECONDS
            yield RawFrame(time_ns, data[position + 28 : position + 28 + captured])
        elif kind == INTERFACE_DESCRIPTION:
            interfaces.append(_interface(data[position + 8 : position + length - 4], order))
        elif kind == SIMPLE_PACKET:
            raise ValueError("packet without a time stamp (simple packet block)")
        position += length


def _interface(body: bytes, order: str) -> _Interface:
    link_type, _, _ = struct.unpack_from(order + "HHI", body)
    if link_type != LINK_TYPE_ETHERNET:
        raise ValueError(f"link type {link_type} instead of Ethernet")
    ticks, offset_s, position = 1_000_000, 0, 8
    while position + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, position)
        if code == OPTION_END:
            break
        value = body[position + 4 : position + 4 + length]
        if code == OPTION_TIME_RESOLUTION:
            ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == OPTION_TIME_OFFSET:
            (offset_s,) = struct.unpack(order + "q", value)
        position += 4 + (length + 3) // 4 * 4
    return _Interface(ticks, offset_s)
