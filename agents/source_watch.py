"""Whose packets come in by an interface: a packet socket (packet(7)) that reads addresses alone."""

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4
IPV6_HEADER, SOURCE, NEXT_HEADER = 40, slice(8, 24), 6
ICMPV6, NEIGHBOUR_ADVERTISEMENT = 58, 136
ADVERTISED, TARGET = 64, slice(48, 64)
"""The least length of an IPv6 packet with a neighbour advertisement, and where its target is."""


def senders(packet: bytes) -> Iterator[IPv6Address]:
    """Yield who is at the other end of a link: a packet's source, and whom it advertises."""
    if len(packet) < IPV6_HEADER:
        return
    yield IPv6Address(packet[SOURCE])
    advertises = packet[NEXT_HEADER] == ICMPV6 and len(packet) >= ADVERTISED
    if advertises and packet[IPV6_HEADER] == NEIGHBOUR_ADVERTISEMENT:
        yield IPv6Address(packet[TARGET])


class SourceWatch:
    """The senders of what a device receives, IPv6 only."""

    def __init__(self, device: str) -> None:
        self.file = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IPV6))
        self.file.bind((device, ETH_P_IPV6))

    def read(self) -> Iterator[IPv6Address]:
        """Yield the senders of the packet that is waiting."""
        packet, (_, _, kind, *_) = self.file.recvfrom(ADVERTISED)
        if kind != PACKET_OUTGOING:
            yield from senders(packet)
