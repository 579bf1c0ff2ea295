"""Messages and attributes of a netlink datagram (RFC 3549 section 2.3.2).

Decoded here, in a few lines, because importing a netlink library takes longer than everything else
that an agent does at its start.
"""

import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, what is behind the header) of each message that is there as a whole."""
    return _pieces(data, HEADER)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the values of attributes by their type."""
    return dict(_pieces(data, ATTRIBUTE))


def _pieces(data: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """Both begin with length and type, and end at a multiple of 4 bytes."""
    while len(data) >= header.size:
        length, kind, *_ = header.unpack_from(data)
        if not header.size <= length <= len(data):
            return
        yield kind, data[header.size : length]
        data = data[(length + 3) & ~3 :]
