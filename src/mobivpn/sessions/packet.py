"""The headers of a packet that decide whose session it is; payload is never looked at."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from mobivpn.errors import MalformedError

ETHERNET_HEADER = 14
ETHERTYPE_IPV6 = 0x86DD
IPV6_HEADER = 40

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
TCP, UDP = 6, 17
TYPE_2, HOME_ADDRESS_OPTION, PAD_1 = 2, 201, 0
"""A routing header's type, and options (RFC 6275 sections 6.4 and 6.3)."""


@dataclass(frozen=True, slots=True)
class PacketSummary:
    """An IPv6 packet: its addresses, its upper-layer protocol and, where it has them, its ports.

    Where an address is a care-of address, a header of Mobile IPv6 tells the home address.
    """

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    source_port: int | None = None
    destination_port: int | None = None
    source_home_address: IPv6Address | None = None
    destination_home_address: IPv6Address | None = None


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
    next_header, offset, homes = _upper_layer(packet)
    ports = packet[offset : offset + 4] if next_header in (TCP, UDP) else b""
    return PacketSummary(
        source=IPv6Address(packet[8:24]),
        destination=IPv6Address(packet[24:40]),
        next_header=next_header,
        source_port=int.from_bytes(ports[:2], "big") if len(ports) == 4 else None,
        destination_port=int.from_bytes(ports[2:], "big") if len(ports) == 4 else None,
        source_home_address=homes.get(DESTINATION_OPTIONS),
        destination_home_address=homes.get(ROUTING),
    )


def _upper_layer(packet: bytes) -> tuple[int, int, dict[int, IPv6Address]]:
    """Return protocol and offset of what follows the extension headers (RFC 8200 section 4).

    And the home addresses that these tell, by the header's number.
    """
    next_header, offset = packet[6], IPV6_HEADER
    homes: dict[int, IPv6Address] = {}
    while next_header in (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS):
        header = packet[offset : offset + 8]
        if len(header) < 8:
            break
        if next_header == FRAGMENT and int.from_bytes(header[2:4], "big") >> 3:
            # Not the first fragment: no upper-layer header follows.
            return header[0], len(packet), homes
        length = 8 if next_header == FRAGMENT else 8 * (header[1] + 1)
        home = _home_address(next_header, packet[offset : offset + length])
        if len(home) == 16:
            homes[next_header] = IPv6Address(home)
        next_header, offset = header[0], offset + length
    return next_header, offset, homes


def _home_address(protocol: int, header: bytes) -> bytes:
    """Return the home address in an extension header; what is not 16 bytes is none."""
    if protocol == ROUTING and header[2] == TYPE_2:
        return header[8:24]
    position = 2
    while protocol == DESTINATION_OPTIONS and position + 1 < len(header):
        if header[position] == HOME_ADDRESS_OPTION:
            return header[position + 2 : position + 18]
        position += 1 if header[position] == PAD_1 else 2 + header[position + 1]
    return b""
