"""The headers of a packet that decide whose session it is; payload is never looked at."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.errors import MalformedError

ETHERNET_HEADER = 14
ETHERTYPE_IPV6 = 0x86DD
IPV6_HEADER = 40

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
TCP, UDP = 6, 17


@dataclass(frozen=True, slots=True)
class PacketSummary:
    """An IPv6 packet: its addresses, its upper-layer protocol and, where it has them, its ports."""

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    source_port: int | None = None
    destination_port: int | None = None


def summarise(frame: bytes) -> PacketSummary:
    """Return the summary of an Ethernet frame, which may be cut short after its headers.

    Raise MalformedError for what is not IPv6, or ends within the IPv6 header. Ports are None where
    the packet has none or the frame does not reach that far.
    """
    if len(frame) < ETHERNET_HEADER + IPV6_HEADER:
        raise MalformedError("frame-too-short", f"{len(frame)} bytes")
    if int.from_bytes(frame[12:14], "big") != ETHERTYPE_IPV6:
        raise MalformedError("not-ipv6", frame[12:14].hex())
    packet = frame[ETHERNET_HEADER:]
    if packet[0] >> 4 != 6:
        raise MalformedError("not-ipv6", f"version {packet[0] >> 4}")
    next_header, offset = _upper_layer(packet)
    ports = packet[offset : offset + 4] if next_header in (TCP, UDP) else b""
    return PacketSummary(
        source=IPv6Address(packet[8:24]),
        destination=IPv6Address(packet[24:40]),
        next_header=next_header,
        source_port=int.from_bytes(ports[:2], "big") if len(ports) == 4 else None,
        destination_port=int.from_bytes(ports[2:], "big") if len(ports) == 4 else None,
    )


def _upper_layer(packet: bytes) -> tuple[int, int]:
    """Return protocol and offset of what follows the extension headers (RFC 8200 section 4)."""
    next_header, offset = packet[6], IPV6_HEADER
    while next_header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
        header = packet[offset : offset + 8]
        if len(header) < 8:
            break
        if next_header == FRAGMENT and int.from_bytes(header[2:4], "big") >> 3:
            # Not the first fragment: no upper-layer header follows.
            return header[0], len(packet)
        length = 8 if next_header == FRAGMENT else 8 * (header[1] + 1)
        next_header, offset = header[0], offset + length
    return next_header, offset
