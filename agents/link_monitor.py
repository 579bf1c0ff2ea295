"""Links of this host and the fate of their addresses, from rtnetlink (RFC 3549): no polling."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address

from agents.netlink import HEADER, attributes, messages

RTMGRP_LINK, RTMGRP_IPV6_IFADDR = 0x1, 0x100
NLMSG_DONE = 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFLA_ADDRESS, IFLA_IFNAME = 1, 3
IFA_ADDRESS, IFA_FLAGS = 1, 8
IFA_F_OPTIMISTIC, IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x4, 0x8, 0x40
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBi")
FLAGS = struct.Struct("=I")


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
class AddressUsable:
    """An address of a link can be used: nobody else has it, or the host is optimistic."""

    device: str
    address: IPv6Address


@dataclass(frozen=True, slots=True)
class AddressDuplicate:
    """Another host of the link has an address."""

    device: str
    address: IPv6Address


News = LinkFound | LinkLost | AddressUsable | AddressDuplicate


@dataclass(frozen=True, slots=True)
class LinkTold:
    """A netlink message about an interface: whether it is up with a carrier."""

    index: int
    device: str
    hardware_address: bytes
    usable: bool


class AddressState(Enum):
    """What may be done with an address of an interface."""

    USABLE = "usable"
    TENTATIVE = "tentative"
    DUPLICATE = "duplicate"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class AddressTold:
    """A netlink message about an address of an interface."""

    index: int
    address: IPv6Address
    state: AddressState


@dataclass(frozen=True, slots=True)
class DumpDone:
    """What was asked for has been told."""


def decode(data: bytes) -> Iterator[LinkTold | AddressTold | DumpDone]:
    """Yield what a netlink datagram tells of links and IPv6 addresses."""
    for kind, body in messages(data):
        if kind == NLMSG_DONE:
            yield DumpDone()
        elif kind in (RTM_NEWLINK, RTM_DELLINK):
            _, _, index, flags, _ = LINK.unpack_from(body)
            told = attributes(body[LINK.size :])
            name = told.get(IFLA_IFNAME, b"").rstrip(b"\0").decode()
            usable = kind == RTM_NEWLINK and bool(flags & IFF_UP and flags & IFF_LOWER_UP)
            yield LinkTold(index, name, told.get(IFLA_ADDRESS, b""), usable)
        elif kind in (RTM_NEWADDR, RTM_DELADDR):
            _, _, _, _, index = ADDRESS.unpack_from(body)
            told = attributes(body[ADDRESS.size :])
            address = IPv6Address(told[IFA_ADDRESS])
            (flags,) = FLAGS.unpack(told[IFA_FLAGS])
            state = _state(flags) if kind == RTM_NEWADDR else AddressState.GONE
            yield AddressTold(index, address, state)


def _state(flags: int) -> AddressState:
    if flags & IFA_F_DADFAILED:
        return AddressState.DUPLICATE
    if flags & IFA_F_TENTATIVE and not flags & IFA_F_OPTIMISTIC:
        return AddressState.TENTATIVE
    return AddressState.USABLE


class LinkTable:
    """Links whose name begins with `prefix`, and which of them and their addresses can be used."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._links: dict[int, LinkTold] = {}
        self._link_local: set[int] = set()
        self._found: dict[int, str] = {}

    def told(self, message: LinkTold | AddressTold) -> Iterator[News]:
        """Take a message; yield what it changes."""
        if isinstance(message, AddressTold):
            if not message.address.is_link_local:
                yield from self._address_told(message)
                return
            usable = message.state is AddressState.USABLE
            (self._link_local.add if usable else self._link_local.discard)(message.index)
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

    def _address_told(self, message: AddressTold) -> Iterator[News]:
        link = self._links.get(message.index)
        if link is not None and message.state is AddressState.USABLE:
            yield AddressUsable(link.device, message.address)
        if link is not None and message.state is AddressState.DUPLICATE:
            yield AddressDuplicate(link.device, message.address)


class LinkMonitor:
    """Tells of links as they come and go, those that stand already first, and of addresses."""

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

    def read(self) -> Iterator[News]:
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
