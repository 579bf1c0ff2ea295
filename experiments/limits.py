"""What headers leave of a link's rate: the most that two nodes' data can reach on each path.

A frame counts as netem counts it: the packet and its Ethernet header of 14 bytes, without preamble,
frame check sequence and gap. Every inner packet has the MTU of internal addresses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from experiments.network_plan import LAN
from experiments.paths import PacketPath
from mobivpn.host.mtu import (
    HOME_ADDRESS_OPTION,
    IPV6_HEADER,
    ROUTING_HEADER_TYPE_2,
    esp_bytes,
    inner_mtu,
)
from mobivpn.ipsec.sa import EspAlgorithm

ETHERNET_HEADER = 14
UDP_HEADER = 8
TCP_HEADER = 20 + 12
"""With the time stamps option (RFC 7323), padded."""
SEGMENTS_PER_ACKNOWLEDGEMENT = 2
"""RFC 1122 section 4.2.3.2: at least every second full segment is acknowledged; no GRO here.

A receiver that reads at once has Linux acknowledge more often (`tcp_cleanup_rbuf`): less is left.
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How two nodes' packets travel: path, access networks, and what decides on their headers."""

    path: PacketPath
    places: tuple[str, str]
    algorithm: EspAlgorithm
    """Of the direct pair."""
    is_public: bool = False
    binds_at_gateway: bool = True
    given_algorithm: EspAlgorithm = EspAlgorithm.AES256GCM16
    """Of MN-SG."""

    def packet_bytes(self, inner: int) -> int:
        """Return the size of a packet on the links outside that has an inner one of so many bytes.

        The longest on its way; on the path through the gateway both halves are as long.
        """
        if self.path is PacketPath.INSIDE:
            return inner
        if self.path is PacketPath.VIA_GATEWAY:
            # Home address option one way, routing header the other; or the home agent's tunnel.
            more = HOME_ADDRESS_OPTION if self.binds_at_gateway else IPV6_HEADER
            return IPV6_HEADER + more + esp_bytes(self.given_algorithm, inner)
        # Transport mode, where addresses are public: the inner header is the outer one.
        content = inner - IPV6_HEADER if self.is_public else inner
        protected = IPV6_HEADER + esp_bytes(self.algorithm, content)
        if self.path is PacketPath.VIA_HOME_AGENTS:
            return IPV6_HEADER + protected
        return protected + HOME_ADDRESS_OPTION + ROUTING_HEADER_TYPE_2

    def frame_bytes(self, inner: int) -> int:
        """Return what a link outside counts for an inner packet of so many bytes."""
        return ETHERNET_HEADER + self.packet_bytes(inner)

    def links(self) -> Iterator[tuple[str, bool]]:
        """Yield the link profiles on the way, and whether packets of both directions cross each."""
        if self.path is PacketPath.INSIDE:
            yield LAN, False
            return
        one, other = self.places
        for place in sorted({one, other}):
            yield place, one == other
        if self.path is PacketPath.VIA_GATEWAY:
            yield "sg", True
        if self.path is PacketPath.VIA_HOME_AGENTS or (
            self.path is PacketPath.VIA_GATEWAY and not self.binds_at_gateway
        ):
            yield "ha", True


def udp_payload_bytes() -> int:
    """Return what a datagram of the greatest size carries."""
    return inner_mtu() - IPV6_HEADER - UDP_HEADER


def tcp_payload_bytes() -> int:
    """Return what a segment of the greatest size carries."""
    return inner_mtu() - IPV6_HEADER - TCP_HEADER


def limit_mbit(way: Way, protocol: str, rate_mbit: Mapping[str, float]) -> float:
    """Return the most payload (Mbit/s) of `udp` or `tcp` in one direction.

    Where a link's one direction has the packets of both (twice through the gateway), it has TCP's
    acknowledgements beside the data.
    """
    payload = tcp_payload_bytes() if protocol == "tcp" else udp_payload_bytes()
    data = way.frame_bytes(inner_mtu())
    acknowledgement = way.frame_bytes(IPV6_HEADER + TCP_HEADER) / SEGMENTS_PER_ACKNOWLEDGEMENT
    return min(
        rate_mbit[link] * payload / (data + (acknowledgement if both and protocol == "tcp" else 0))
        for link, both in way.links()
    )
