"""Link events of this host, from rtnetlink (RFC 3549): nothing is polled.

The kernel's message is decoded here, in a few lines, because importing a netlink library takes
longer than everything else that an agent does at its start.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFLA_ADDRESS, IFLA_IFNAME = 1, 3
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class LinkFound:
    """A link can carry packets."""

    device: str
    hardware_address: bytes


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link has gone: its carrier, or the whole interface."""

    device: str


def decode(data: bytes) -> Iterator[tuple[bool, str, bytes]]:
    """Yield (usable, device, hardware address) for each link message in a netlink datagram."""
    while len(data) >= HEADER.size:
        length, kind, _, _, _ = HEADER.unpack_from(data)
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, _, flags, _ = LINK.unpack_from(data, HEADER.size)
            attributes = dict(_attributes(data[HEADER.size + LINK.size : length]))
            name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
            usable = kind == RTM_NEWLINK and bool(flags & IFF_UP and flags & IFF_LOWER_UP)
            yield usable, name, attributes.get(IFLA_ADDRESS, b"")
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


class LinkMonitor:
    """Tells of links whose name begins with `prefix`; those that stand already come first."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._usable: dict[str, bytes] = {}
        self.file = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.file.bind((0, RTMGRP_LINK))
        request = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        self.file.send(
            HEADER.pack(HEADER.size + len(request), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
            + request
        )

    def read(self) -> Iterator[LinkFound | LinkLost]:
        """Yield what the datagram that is waiting says has changed."""
        for usable, device, hardware_address in decode(self.file.recv(1 << 16)):
            if not device.startswith(self._prefix) or usable == (device in self._usable):
                continue
            if usable:
                self._usable[device] = hardware_address
                yield LinkFound(device, hardware_address)
            else:
                del self._usable[device]
                yield LinkLost(device)
