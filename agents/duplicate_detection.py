"""Duplicate address detection for the addresses of absent nodes (RFC 4862 section 5.4).

The kernel does it for addresses of its own only. A solicitation of this kind has no source, which a
raw ICMPv6 socket cannot leave out: it leaves by one whose packets are whole.
"""

import logging
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

from agents.neighbour_discovery import HOP_LIMIT, ICMP6_FILTER, NEIGHBOUR_ADVERTISEMENT

NEIGHBOUR_SOLICITATION = 135
SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
UNSPECIFIED = IPv6Address("::")
ADVERTISEMENT_BYTES = 24

log = logging.getLogger(__name__)


def checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """Return the checksum of an ICMPv6 message whose checksum field is zero (RFC 4443 2.3)."""
    length = struct.pack("!I3xB", len(message), socket.IPPROTO_ICMPV6)
    words = source.packed + destination.packed + length + message
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def solicitation(address: IPv6Address) -> tuple[bytes, IPv6Address]:
    """Return the packet that asks who has `address`, and the group that it goes to."""
    group = IPv6Address(SOLICITED_NODE | int(address) & 0xFFFFFF)
    message = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + address.packed
    summed = checksum(UNSPECIFIED, group, message)
    message = message[:2] + summed.to_bytes(2, "big") + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, HOP_LIMIT)
    return header + UNSPECIFIED.packed + group.packed + message, group


def claimed(data: bytes, source: IPv6Address) -> IPv6Address | None:
    """Return the address that a message shows to be taken, or about to be, by its sender."""
    if len(data) < ADVERTISEMENT_BYTES or data[1] != 0:
        return None
    if data[0] == NEIGHBOUR_ADVERTISEMENT or (
        data[0] == NEIGHBOUR_SOLICITATION and source == UNSPECIFIED
    ):
        return IPv6Address(data[8:24])
    return None


class DuplicateDetection:
    """Asks on one link, and hears who has which address there."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._index = socket.if_nametoindex(device)
        self.file = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        passing = bytearray(b"\xff" * 32)
        for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
            word, bit = divmod(kind, 32)
            mask = struct.unpack_from("=I", passing, word * 4)[0] & ~(1 << bit)
            struct.pack_into("=I", passing, word * 4, mask)
        self.file.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(passing))
        self.file.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        self.file.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)

    def ask(self, address: IPv6Address) -> None:
        """Ask whether anybody has `address`."""
        packet, group = solicitation(address)
        try:
            self._sender.sendto(packet, (str(group), 0, 0, self._index))
        except OSError as error:
            log.info("duplicate address detection on %s: %s", self._device, error)

    def read(self) -> Iterator[IPv6Address]:
        """Yield the address that is claimed by the message that is waiting (RFC 4861 7.1)."""
        data, ancillary, _, source = self.file.recvmsg(2048, 256)
        limits = [
            struct.unpack_from("=i", value)[0]
            for level, kind, value in ancillary
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT
        ]
        address = claimed(data, IPv6Address(source[0].partition("%")[0]))
        if address is not None and limits == [HOP_LIMIT]:
            yield address
