"""Frames to layers: IPv6 with all that the lab puts around a payload, ESP opened by its keys.

An exact header walk instead of a general dissector: a walk has 10^5 frames and more. What is not
understood or cut short ends in a `Broken` layer, never in an exception. Addresses stay 16 bytes:
comparing them is most of the work, and bytes compare ten times faster than address objects.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from experiments.esp_keys import EspKeys

ETHERNET_BYTES = 14
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_IPV4 = 0x0800
ETHERTYPES_VLAN = (0x8100, 0x88A8)
IPV6_BYTES = 40
OPTION_HOME_ADDRESS = 201
ICMPV6_ERRORS = range(1, 5)
MOST_LAYERS = 32
"""Deeper nesting than this is no packet of the lab; RFC 2473 asks for a limit as well."""


class NextHeader(IntEnum):
    """Protocol numbers that the walk knows."""

    HOP_BY_HOP = 0
    IPV4 = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    ROUTING = 43
    FRAGMENT = 44
    ESP = 50
    AH = 51
    ICMPV6 = 58
    NO_NEXT = 59
    DESTINATION = 60
    MOBILITY = 135


class Ipv4(NamedTuple):
    """An IPv4 header: nothing in the lab sends it, so all that is known is its protocol."""

    protocol: int


class Ipv6(NamedTuple):
    """An IPv6 header (RFC 8200)."""

    source: bytes
    destination: bytes
    hop_limit: int


class HomeAddress(NamedTuple):
    """The home address option: the sender's home address (RFC 6275 section 6.3)."""

    address: bytes


class RoutingHeader(NamedTuple):
    """A routing header; of type 2, `address` is the receiver's home address (6275, 6.4)."""

    type: int
    segments_left: int
    address: bytes


class Fragment(NamedTuple):
    """A fragment header; the walk ends here unless `offset` is 0."""

    identification: int
    offset: int
    more: bool
    protocol: int


class Esp(NamedTuple):
    """An ESP header; what follows in the list is its payload, if `opened`."""

    spi: int
    sequence: int
    opened: bool


class Ah(NamedTuple):
    """An authentication header (RFC 4302): authenticates, hides nothing."""

    spi: int
    sequence: int


class Mobility(NamedTuple):
    """A mobility header message (RFC 6275 section 6.1), whole, checksum included."""

    type: int
    message: bytes


class Icmpv6(NamedTuple):
    """An ICMPv6 message; `body` is what follows the checksum. An error's quote comes after it."""

    type: int
    code: int
    body: bytes


class Quote(NamedTuple):
    """From here on the layers are those of a packet quoted in an ICMPv6 error."""


class Udp(NamedTuple):
    """A UDP datagram."""

    source_port: int
    destination_port: int
    payload: bytes


class Tcp(NamedTuple):
    """A TCP segment."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    payload: bytes


class Broken(NamedTuple):
    """Bytes that cannot be walked: cut short, nested too deep, or of an unknown protocol."""

    reason: str
    protocol: int


Layer = (
    Ipv4
    | Ipv6
    | HomeAddress
    | RoutingHeader
    | Fragment
    | Esp
    | Ah
    | Mobility
    | Icmpv6
    | Quote
    | Udp
    | Tcp
    | Broken
)
Layers = tuple[Layer, ...]

_IPV6_HEADER = struct.Struct("!xxxxHBB16s16s")
_TWO_PORTS = struct.Struct("!HH")
_TCP_HEADER = struct.Struct("!HHII")
_ESP_HEADER = struct.Struct("!II")
_FRAGMENT_HEADER = struct.Struct("!BxHI")


class Dissector:
    """Walks frames; remembers ESP packets, since the same one crosses many links of the lab."""

    def __init__(self, keys: EspKeys) -> None:
        self._keys = keys
        self._inner_by_esp: dict[bytes, Layers] = {}
        self.unopened = 0
        """Different ESP packets that no key opened (cut short ones, as on a mirror, excepted)."""

    def layers(self, frame: bytes) -> Layers:
        """Return the layers of an Ethernet frame, outermost first; () if it is not IP."""
        layers: list[Layer] = []
        offset = ETHERNET_BYTES
        ethertype = int.from_bytes(frame[12:14], "big")
        while ethertype in ETHERTYPES_VLAN:
            ethertype = int.from_bytes(frame[offset + 2 : offset + 4], "big")
            offset += 4
        if ethertype == ETHERTYPE_IPV6:
            self._walk(NextHeader.IPV6, frame[offset:], layers, whole=True)
        elif ethertype == ETHERTYPE_IPV4:
            self._walk(NextHeader.IPV4, frame[offset:], layers, whole=True)
        return tuple(layers)

    def _walk(self, protocol: int, data: bytes, layers: list[Layer], whole: bool) -> None:
        """Append the layers of `data`, which begins with a header of `protocol`.

        `whole` is False for what may end early without being damaged: a quote, a mirror's copy.
        """
        try:
            while len(layers) < MOST_LAYERS:
                if protocol == NextHeader.IPV6:
                    length, next_protocol, hop_limit, source, destination = (
                        _IPV6_HEADER.unpack_from(data)
                    )
                    if data[0] >> 4 != 6:
                        raise ValueError("not IPv6")
                    layers.append(Ipv6(source, destination, hop_limit))
                    whole = whole and len(data) >= IPV6_BYTES + length
                    data = data[IPV6_BYTES : IPV6_BYTES + length]
                    protocol = next_protocol
                elif protocol == NextHeader.ESP:
                    self._open(data, layers, whole)
                    return
                elif protocol == NextHeader.UDP:
                    source_port, destination_port = _TWO_PORTS.unpack_from(data)
                    layers.append(Udp(source_port, destination_port, data[8:]))
                    return
                elif protocol in (NextHeader.HOP_BY_HOP, NextHeader.DESTINATION):
                    size = 8 * (data[1] + 1)
                    if protocol == NextHeader.DESTINATION:
                        layers.extend(_home_addresses(data[2:size]))
                    protocol, data = data[0], data[size:]
                elif protocol == NextHeader.ROUTING:
                    size = 8 * (data[1] + 1)
                    layers.append(RoutingHeader(data[2], data[3], data[8:24]))
                    protocol, data = data[0], data[size:]
                elif protocol == NextHeader.FRAGMENT:
                    next_protocol, place, identification = _FRAGMENT_HEADER.unpack_from(data)
                    fragment = Fragment(
                        identification, place & 0xFFF8, bool(place & 1), next_protocol
                    )
                    layers.append(fragment)
                    if fragment.offset:
                        return
                    whole = whole and not fragment.more
                    protocol, data = next_protocol, data[8:]
                elif protocol == NextHeader.TCP:
                    source_port, destination_port, sequence, acknowledged = _TCP_HEADER.unpack_from(
                        data
                    )
                    payload = data[data[12] >> 4 << 2 :]
                    layers.append(
                        Tcp(source_port, destination_port, sequence, acknowledged, payload)
                    )
                    return
                elif protocol == NextHeader.MOBILITY:
                    layers.append(Mobility(data[2], data[: 8 * (data[1] + 1)]))
                    return
                elif protocol == NextHeader.ICMPV6:
                    layers.append(Icmpv6(data[0], data[1], data[4:]))
                    if data[0] not in ICMPV6_ERRORS:
                        return
                    layers.append(Quote())
                    protocol, data, whole = NextHeader.IPV6, data[8:], False
                elif protocol == NextHeader.AH:
                    spi, sequence = _ESP_HEADER.unpack_from(data, 4)
                    layers.append(Ah(spi, sequence))
                    protocol, data = data[0], data[4 * (data[1] + 2) :]
                elif protocol == NextHeader.IPV4:
                    layers.append(Ipv4(data[9]))
                    return
                elif protocol == NextHeader.NO_NEXT:
                    return
                else:
                    raise ValueError("unknown protocol")
            raise ValueError("nested too deep")
        except (IndexError, struct.error):
            layers.append(Broken("cut short", protocol))
        except ValueError as error:
            layers.append(Broken(str(error), protocol))

    def _open(self, esp: bytes, layers: list[Layer], whole: bool) -> None:
        inner = self._inner_by_esp.get(esp)
        if inner is None:
            spi, sequence = _ESP_HEADER.unpack_from(esp)
            payload = self._keys.decrypt(esp)
            found: list[Layer] = [Esp(spi, sequence, payload is not None)]
            if payload is not None:
                self._walk(payload[0], payload[1], found, whole=True)
            elif whole:
                self.unopened += 1
            inner = self._inner_by_esp[esp] = tuple(found)
        layers.extend(inner)


def _home_addresses(options: bytes) -> Iterator[HomeAddress]:
    """Yield the home address options in the options of a destination options header."""
    position = 0
    while position < len(options):
        if options[position] == 0:
            position += 1
            continue
        length = options[position + 1]
        if options[position] == OPTION_HOME_ADDRESS:
            address = options[position + 2 : position + 2 + length]
            if len(address) != 16:
                raise ValueError("home address option of a wrong length")
            yield HomeAddress(address)
        position += 2 + length
