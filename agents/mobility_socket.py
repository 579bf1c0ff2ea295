"""Mobility headers (protocol 135) over a raw socket; the kernel adds what policies ask for.

Checksum, home address option and ESP are the kernel's; what it took off a received packet it tells
as ancillary data (RFC 3542). A type 2 routing header is given with the message: an answer goes to
the care-of address that was asked from, be it bound or not (RFC 6275 section 9.5.4).
"""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.host.plan import SIGNALLING_PRIORITY

IPPROTO_MH = 135
SO_MARK = 36
HOME_ADDRESS_OPTION, PAD1 = 201, 0
ROUTING_TYPE_2 = 2


@dataclass(frozen=True, slots=True)
class MobilityDatagram:
    """A received mobility header with its addresses.

    `source` is the home address where the packet carried one; `care_of_address` is where it really
    came from then.
    """

    data: bytes
    source: IPv6Address
    destination: IPv6Address
    care_of_address: IPv6Address | None


def home_address_option(destination_options: bytes) -> IPv6Address | None:
    """Return the address in the home address option of a destination options header.

    The kernel has swapped it with the packet's source: what stands in the option is the care-of
    address (RFC 6275 section 9.3.1).
    """
    position = 2
    while position < len(destination_options):
        kind = destination_options[position]
        if kind == PAD1:
            position += 1
            continue
        if position + 1 >= len(destination_options):
            return None
        length = destination_options[position + 1]
        value = destination_options[position + 2 : position + 2 + length]
        if kind == HOME_ADDRESS_OPTION and len(value) == 16:
            return IPv6Address(value)
        position += 2 + length
    return None


def routing_header(care_of_address: IPv6Address) -> bytes:
    """Return a type 2 routing header by way of `care_of_address` (RFC 6275 section 6.4.1).

    As the kernel wants it from a sender: it swaps the address with the packet's destination.
    """
    return struct.pack("!BBBB4x", 0, 2, ROUTING_TYPE_2, 1) + care_of_address.packed


class MobilitySocket:
    """Sends from, and receives for, every address of this host."""

    def __init__(self) -> None:
        self.file = socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_MH)
        self.file.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, SIGNALLING_PRIORITY)
        for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVDSTOPTS):
            self.file.setsockopt(socket.IPPROTO_IPV6, option, 1)

    def read(self) -> Iterator[MobilityDatagram]:
        """Yield the message that is waiting."""
        data, ancillary, _, source = self.file.recvmsg(2048, 1024)
        destination: IPv6Address | None = None
        care_of_address: IPv6Address | None = None
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                destination = IPv6Address(value[:16])
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_DSTOPTS:
                care_of_address = home_address_option(value) or care_of_address
        if destination is not None:
            peer = IPv6Address(source[0].partition("%")[0])
            yield MobilityDatagram(data, peer, destination, care_of_address)

    def send(
        self,
        message: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        mark: int = 0,
        care_of_address: IPv6Address | None = None,
    ) -> None:
        """Send a mobility header; raise OSError where there is no way out at the moment.

        Policies may tell a `mark` other than 0. `care_of_address` is where `destination` is.
        """
        self.file.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        information = source.packed + struct.pack("=I", 0)
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, information)]
        if care_of_address is not None:
            header = routing_header(care_of_address)
            ancillary.append((socket.IPPROTO_IPV6, socket.IPV6_RTHDR, header))
        self.file.sendmsg([message], ancillary, 0, (str(destination), 0))
