"""What the kernel tells of IPsec to all that listen (netlink, XFRM).

Home address options that it has refused: a packet whose option no policy allows is dropped; who
sent it, and in whose name, is reported. The answer (RFC 6275 section 9.3.3) is the core's.

Associations that were used: the kernel tells how far their sequence numbers are (RFC 4303 3.4.3
has verified those), as the events for fail-over have it.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Generic, TypeVar

from agents.netlink import attributes, messages
from mobivpn.errors import CallerError
from mobivpn.ipsec.sa import Spi
from mobivpn.mip6.binding_errors import RefusedOption

T = TypeVar("T")

NETLINK_XFRM = 6
XFRMNLGRP_AEVENTS, XFRMNLGRP_REPORT = 5, 6
XFRM_MSG_NEWAE, XFRM_MSG_REPORT = 0x1E, 0x20
XFRMA_COADDR = 14
REPORT = struct.Struct("=B3x16s16s24x")
"""Protocol, then the selector: destination, source, and what is of no interest here."""
AEVENT = struct.Struct("!16xI28x")
"""Which association: behind its destination, the SPI."""

AEVENT_SYSCTLS = {"xfrm_aevent_etime": 1, "xfrm_aevent_rseqth": 0}
"""Tell of an association with its first packet, and every 100 ms while there are more: an interval
in tenths of a second, and no number of packets between."""


def refused_options(data: bytes) -> Iterator[RefusedOption]:
    """Yield the refused options that a netlink datagram tells of."""
    for kind, body in messages(data):
        if kind == XFRM_MSG_REPORT and len(body) >= REPORT.size:
            protocol, destination, source = REPORT.unpack_from(body)
            told = attributes(body[REPORT.size :])
            if protocol == socket.IPPROTO_DSTOPTS and XFRMA_COADDR in told:
                care_of_address = IPv6Address(told[XFRMA_COADDR])
                yield RefusedOption(IPv6Address(source), care_of_address, IPv6Address(destination))


def used_associations(data: bytes) -> Iterator[Spi]:
    """Yield the SPIs of the associations that a netlink datagram tells to have been used."""
    for kind, body in messages(data):
        if kind == XFRM_MSG_NEWAE and len(body) >= AEVENT.size:
            yield Spi(AEVENT.unpack_from(body)[0])


class KernelReports(Generic[T]):
    """The kernel's reports of one group, as they come and as `decode` reads them."""

    def __init__(self, group: int, decode: Callable[[bytes], Iterator[T]]) -> None:
        self.file = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM)
        self.file.bind((0, 1 << (group - 1)))
        self._decode = decode

    def read(self) -> Iterator[T]:
        """Yield what the datagram that is waiting tells of; a flood's overflow is nobody's loss."""
        try:
            yield from self._decode(self.file.recv(1 << 16))
        except OSError:
            return


def hear_of_refused_options() -> KernelReports[RefusedOption]:
    """Return the reports of home address options that no policy allows."""
    return KernelReports(XFRMNLGRP_REPORT, refused_options)


def hear_of_used_associations(sysctls: Path = Path("/proc/sys/net/core")) -> KernelReports[Spi]:
    """Return the reports of the use of associations that are installed from now on."""
    for name, value in AEVENT_SYSCTLS.items():
        try:
            (sysctls / name).write_text(str(value))
        except OSError as error:
            raise CallerError(f"{sysctls / name}: {error.strerror}") from error
    return KernelReports(XFRMNLGRP_AEVENTS, used_associations)
