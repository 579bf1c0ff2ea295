"""Router solicitations and advertisements, unsolicited neighbour advertisements (RFC 4861).

The kernel's own processing is off (`accept_ra=0`): it would make addresses and routes on a new
link before the policies for them stand.
"""

import logging
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from mobivpn.errors import CallerError

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, NEIGHBOUR_ADVERTISEMENT = 133, 134, 136
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
PREFIX_INFORMATION, TARGET_LINK_LAYER_ADDRESS = 3, 2
OVERRIDE, ROUTER = 0x20000000, 0x80000000
ICMP6_FILTER = 1
HOP_LIMIT = 255
SO_RCVMARK = 75
"""Tell the mark of what is received (Linux 5.19); Python's socket module has no name for it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouterHeard:
    """A router advertisement, as far as movement detection needs it."""

    device: str
    router: IPv6Address
    prefixes: tuple[IPv6Network, ...]
    lifetime_s: int
    verified: bool = False


def decode_advertisement(data: bytes) -> tuple[int, tuple[IPv6Network, ...]] | None:
    """Return (router lifetime in s, prefixes) of an advertisement, None if it is malformed."""
    if len(data) < 16 or data[0] != ROUTER_ADVERTISEMENT or data[1] != 0:
        return None
    prefixes: list[IPv6Network] = []
    options = data[16:]
    while options:
        if len(options) < 2 or not options[1] or len(options) < options[1] * 8:
            return None
        if options[0] == PREFIX_INFORMATION and options[1] == 4 and options[2] <= 128:
            address = IPv6Address(options[16:32])
            prefixes.append(IPv6Network((address, options[2]), strict=False))
        options = options[options[1] * 8 :]
    return struct.unpack_from("!H", data, 6)[0], tuple(prefixes)


class NeighbourDiscovery:
    """One raw ICMPv6 socket that hears router advertisements on every link.

    What bears `verified_mark` was authenticated on its way here, by the kernel's AH.
    """

    def __init__(self, verified_mark: int = 0) -> None:
        self._verified_mark = verified_mark
        self.file = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        only_advertisements = bytearray(b"\xff" * 32)
        word, bit = divmod(ROUTER_ADVERTISEMENT, 32)
        struct.pack_into("=I", only_advertisements, word * 4, 0xFFFFFFFF & ~(1 << bit))
        self.file.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(only_advertisements))
        for option in (socket.IPV6_RECVPKTINFO, socket.IPV6_RECVHOPLIMIT):
            self.file.setsockopt(socket.IPPROTO_IPV6, option, 1)
        for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
            self.file.setsockopt(socket.IPPROTO_IPV6, option, HOP_LIMIT)
        if verified_mark:
            try:
                self.file.setsockopt(socket.SOL_SOCKET, SO_RCVMARK, 1)
            except OSError as error:
                raise CallerError(
                    f"what AH has verified cannot be told: it needs Linux 5.19 ({error.strerror})"
                ) from error

    def read(self) -> Iterator[RouterHeard]:
        """Yield the advertisement that is waiting, if it is a valid one (RFC 4861 6.1.2)."""
        data, ancillary, _, source = self.file.recvmsg(2048, 256)
        index = hop_limit = mark = 0
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                index = struct.unpack_from("=I", value, 16)[0]
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
                hop_limit = struct.unpack_from("=i", value)[0]
            if level == socket.SOL_SOCKET and kind == socket.SO_MARK:
                mark = struct.unpack_from("=I", value)[0]
        router = IPv6Address(source[0].partition("%")[0])
        decoded = decode_advertisement(data)
        if decoded is None or hop_limit != HOP_LIMIT or not router.is_link_local:
            return
        try:
            device = socket.if_indextoname(index)
        except OSError:
            return  # the interface has gone meanwhile, and its links with it
        verified = bool(mark & self._verified_mark)
        yield RouterHeard(device, router, decoded[1], decoded[0], verified)

    def solicit(self, device: str) -> None:
        """Ask the routers on a link for an advertisement."""
        self._send(device, ALL_ROUTERS, struct.pack("!BBHI", ROUTER_SOLICITATION, 0, 0, 0))

    def announce(
        self,
        address: IPv6Address,
        device: str,
        hardware_address: bytes,
        router: IPv6Address | None = None,
    ) -> None:
        """Tell a link where `address` is now; it need not be an address of ours.

        All nodes, which are to believe it, or else one router, which may not have known.
        """
        message = (
            struct.pack("!BBHI", NEIGHBOUR_ADVERTISEMENT, 0, 0, 0 if router else OVERRIDE)
            + address.packed
            + struct.pack("!BB", TARGET_LINK_LAYER_ADDRESS, 1)
            + hardware_address
        )
        self._send(device, str(router or ALL_NODES), message)

    def _send(self, device: str, destination: str, message: bytes) -> None:
        try:
            index = socket.if_nametoindex(device)
            information = bytes(16) + struct.pack("=I", index)
            self.file.sendmsg(
                [message],
                [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, information)],
                0,
                (destination, 0, 0, index),
            )
        except OSError as error:
            # The link has gone meanwhile; its loss is on its way to us.
            log.info("neighbour discovery on %s: %s", device, error)
