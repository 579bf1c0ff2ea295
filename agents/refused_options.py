"""Home address options that the kernel has refused, as it reports them (netlink, XFRM).

A packet whose option no policy allows is dropped; who sent it, and in whose name, is told to all
that listen. The answer (RFC 6275 section 9.3.3) is the core's.
"""

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

from mobivpn.mip6.binding_errors import RefusedOption

NETLINK_XFRM = 6
XFRMNLGRP_REPORT = 6
XFRM_MSG_REPORT = 0x20
XFRMA_COADDR = 14
HEADER = struct.Struct("=IHHII")
REPORT = struct.Struct("=B3x16s16s24x")
"""Protocol, then the selector: destination, source, and what is of no interest here."""
ATTRIBUTE = struct.Struct("=HH")


def decode(data: bytes) -> Iterator[RefusedOption]:
    """Yield the refused options that a netlink datagram tells of."""
    while len(data) >= HEADER.size:
        length, kind, _, _, _ = HEADER.unpack_from(data)
        if kind == XFRM_MSG_REPORT and length >= HEADER.size + REPORT.size:
            protocol, destination, source = REPORT.unpack_from(data, HEADER.size)
            attributes = dict(_attributes(data[HEADER.size + REPORT.size : length]))
            if protocol == socket.IPPROTO_DSTOPTS and XFRMA_COADDR in attributes:
                care_of_address = IPv6Address(attributes[XFRMA_COADDR])
                yield RefusedOption(IPv6Address(source), care_of_address, IPv6Address(destination))
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data)
        yield kind, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


class RefusedOptions:
    """The kernel's reports, as they come."""

    def __init__(self) -> None:
        self.file = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
        self.file.bind((0, 1 << (XFRMNLGRP_REPORT - 1)))

    def read(self) -> Iterator[RefusedOption]:
        """Yield what the datagram that is waiting tells of; a flood's overflow is nobody's loss."""
        try:
            yield from decode(self.file.recv(1 << 16))
        except OSError:
            return
