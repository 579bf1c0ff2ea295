"""Link events of this host, from rtnetlink (RFC 3549): nothing is polled.

The kernel's message is decoded here, in a few lines, because importing a netlink library takes
longer than everything else that an agent does at its start.
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RTMGRP_LINK, RTMGRP_IPV6_IFADDR = 0x1, 0x100
NLMSG_DONE = 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFLA_ADDRESS, IFLA_IFNAME = 1, 3
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
RT_SCOPE_LINK = 253
HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBi")
ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class LinkFound:
    """A link can carry packets, and the host has an address on it to begin with."""

    device: str
    hardware_address: bytes


@dataclass(frozen=True, slots=True)
class LinkLost:
    """A link has gone: its carrier, or the whole interface."""

    device: str


@dataclass(frozen=True, slots=True)
class LinkTold:
    """A netlink message about an interface: whether it is up with a carrier."""

    index: int
    device: str
    hardware_address: bytes
    usable: bool


@dataclass(frozen=True, slots=True)
class LinkLocalTold:
    """A netlink message about an interface's link-local address."""

    index: int
    present: bool


@dataclass(frozen=True, slots=True)
class DumpDone:
    """What was asked for has been told."""


def decode(data: bytes) -> Iterator[LinkTold | LinkLocalTold | DumpDone]:
    """Yield what a netlink datagram tells of links and link-local addresses."""
    while len(data) >= HEADER.size:
        length, kind, _, _, _ = HEADER.unpack_from(data)
        if kind == NLMSG_DONE:
            yield DumpDone()
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, index, flags, _ = LINK.unpack_from(data, HEADER.size)
            attributes = dict(_attributes(data[HEADER.size + LINK.size : length]))
            name = attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
            usable = kind == RTM_NEWLINK and bool(flags & IFF_UP and flags & IFF_LOWER_UP)
            yield LinkTold(index, name, attributes.get(IFLA_ADDRESS, b""), usable)
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            _, _, _, scope, index = ADDRESS.unpack_from(data, HEADER.size)
            if scope == RT_SCOPE_LINK:
                yield LinkLocalTold(index, kind == RTM_NEWADDR)
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


class LinkTable:
    """Links whose name begins with `prefix`, and which of them can be used."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._links: dict[int, LinkTold] = {}
        self._link_local: set[int] = set()
        self._found: dict[int, str] = {}

    def told(self, message: LinkTold | LinkLocalTold) -> Iterator[LinkFound | LinkLost]:
        """Take a message; yield what it changes."""
        if isinstance(message, LinkLocalTold):
            (self._link_local.add if message.present else self._link_local.discard)(message.index)
        elif message.device.startswith(self._prefix):
            self._links[message.index] = message
        link = self._links.get(message.index)
        if link is None:
            return
        usable = link.usable and message.index in self._link_local
        if usable and message.index not in self._found:
            self._found[message.index] = link.device
            yield LinkFound(link.device, link.hardware_address)
        elif not usable and message.index in self._found:
            yield LinkLost(self._found.pop(message.index))


class LinkMonitor:
    """Tells of links as they come and go; those that stand already come first."""

    def __init__(self, prefix: str) -> None:
        self._table = LinkTable(prefix)
        self.file = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.file.bind((0, RTMGRP_LINK | RTMGRP_IPV6_IFADDR))
        # One dump at a time is all that the kernel does for a socket.
        self._requests = [
            (RTM_GETADDR, ADDRESS.pack(socket.AF_INET6, 0, 0, 0, 0)),
            (RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)),
        ]
        self._ask()

    def read(self) -> Iterator[LinkFound | LinkLost]:
        """Yield what the datagram that is waiting says has changed."""
        for message in decode(self.file.recv(1 << 16)):
            if isinstance(message, DumpDone):
                self._ask()
            else:
                yield from self._table.told(message)

    def _ask(self) -> None:
        if self._requests:
            kind, body = self._requests.pop()
            length = HEADER.size + len(body)
            self.file.send(HEADER.pack(length, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
