"""One pass over all captures of a run: every frame is looked at once, what matters is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from experiments.clear_text import (
    HOME_AGENT_LINK,
    clear_text_in,
    hardware_source,
    is_external,
)
from experiments.dissect import (
    Dissector,
    HomeAddress,
    Icmpv6,
    Ipv6,
    Layers,
    Mobility,
    RoutingHeader,
    Tcp,
    Udp,
)
from experiments.esp_keys import EspKeys
from experiments.measure.sealed import SealedPackets, Sighting, is_sealed_data
from experiments.measure.timeline import Timeline
from experiments.network_plan import NetworkPlan
from experiments.paths import path_of, tells_care_of_address
from experiments.pcapng import read_frames
from experiments.probe_format import PORT as PROBE_PORT
from experiments.probe_format import decode as decode_datagram
from experiments.resultset import ResultSet
from experiments.transfer import PORT as TRANSFER_PORT

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, NEIGHBOUR_ADVERTISEMENT = 133, 134, 136
NEIGHBOUR_DISCOVERY = (ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT)
SOLICITED_FLAG = 0x40
INSIDE_LINKS_OF_GATEWAY = ("sg-lan", "r22-sg")
"""The two links of s-sg: a capture time on either is an arrival at s-sg or one that follows it."""


class DatagramKey(NamedTuple):
    """A numbered datagram on a link (probe_format); each pair has a port of its own."""

    link: str
    port: int
    kind: int
    sender: int
    sequence: int


class SegmentKey(NamedTuple):
    """A segment of the TCP transfer on a link, from one home address to another.

    Sent again, it is the same.
    """

    link: str
    source: bytes
    destination: bytes
    sequence: int
    size: int


class PairPacket(NamedTuple):
    """A packet between the two ends of a pair, without its outermost header."""

    pair: tuple[str, str]
    content: Layers


class MessageSighting(NamedTuple):
    """A message on one link: `source` and `destination` are logical, home addresses if known.

    `outer` is the outermost pair of addresses: a home agent's link sees a message twice. So does
    r22's on the LAN, if it routes from there to there: with a lower `hop_limit`.
    """

    time_ns: int
    link: str
    protocol: str
    source: bytes
    destination: bytes
    outer: tuple[bytes, bytes]
    hop_limit: int
    content: bytes


class ClearText(NamedTuple):
    """A finding: a packet on an external link that could be read there."""

    time_ns: int
    link: str
    what: str


@dataclass(slots=True)
class Observations:
    """What the captures of a run show; times are CLOCK_REALTIME in nanoseconds."""

    frames_by_link: dict[str, int] = field(default_factory=dict)
    datagrams: dict[DatagramKey, Sighting] = field(default_factory=dict)
    sealed: SealedPackets = field(default_factory=SealedPackets)
    """Data in another system's tunnel, on the nodes' links."""
    segments: dict[SegmentKey, Sighting] = field(default_factory=dict)
    """Those of the TCP transfer that carry data."""
    pair_packets_at_gateway: dict[PairPacket, int] = field(default_factory=dict)
    """First arrival at s-sg of each packet between the two ends of a pair."""
    messages: list[MessageSighting] = field(default_factory=list)
    home_address_by_care_of_address: dict[bytes, bytes] = field(default_factory=dict)
    clear_text: list[ClearText] = field(default_factory=list)
    unopened_esp: int = 0


def observe(
    results: ResultSet,
    keys: EspKeys,
    plan: NetworkPlan,
    timeline: Timeline,
    pairs: Sequence[tuple[str, str]],
) -> Observations:
    """Read every capture of `results` once; `pairs` talk, each by a port of its own."""
    dissector = Dissector(keys)
    seen = Observations()
    for link in results.links():
        _LinkObserver(link, dissector, plan, timeline, pairs, seen).read(results)
    seen.unopened_esp = dissector.unopened
    seen.messages.sort(key=lambda message: message.time_ns)
    return seen


class _LinkObserver:
    """Looks at the frames of one link."""

    def __init__(
        self,
        link: str,
        dissector: Dissector,
        plan: NetworkPlan,
        timeline: Timeline,
        pairs: Sequence[tuple[str, str]],
        seen: Observations,
    ) -> None:
        self._link = link
        self._dissector = dissector
        self._plan = plan
        self._seen = seen
        self._node_link = link in plan.node_by_name
        self._end_link = any(link in pair for pair in pairs)
        self._probe_ports = range(PROBE_PORT, PROBE_PORT + len(pairs))
        self._gateway_link = link in INSIDE_LINKS_OF_GATEWAY
        self._external = is_external(link)
        self._outside = timeline.outside_intervals(link) if self._node_link else []
        home = {name: node.internal_home_address for name, node in plan.node_by_name.items()}
        self._pair_by_ends: Mapping[tuple[bytes, bytes], tuple[str, str]] = {
            (home[source], home[destination]): pair
            for pair in pairs
            for source, destination in (pair, pair[::-1])
        }

    def read(self, results: ResultSet) -> None:
        """Read the link's capture."""
        count = 0
        prefixes = self._plan.vpn_prefix_bytes
        attackers = frozenset(self._plan.fake_networks.values())
        for time_ns, frame in read_frames(results.capture_path(self._link)):
            count += 1
            layers = self._dissector.layers(frame)
            if self._is_external_at(time_ns) and hardware_source(frame) not in attackers:
                what = clear_text_in(
                    *(frame, layers, prefixes, self._plan.bare_esp_ends, self._plan.tunnel_end),
                    hides_home_tests=self._plan.is_ours and self._link != HOME_AGENT_LINK,
                )
                if what is not None:
                    self._seen.clear_text.append(ClearText(time_ns, self._link, what))
            if layers:
                self._look(time_ns, layers, len(frame))
        self._seen.frames_by_link[self._link] = count

    def _is_external_at(self, time_ns: int) -> bool:
        return self._external or any(begin <= time_ns < end for begin, end in self._outside)

    def _look(self, time_ns: int, layers: Layers, frame_bytes: int) -> None:
        last, end = layers[-1], self._plan.tunnel_end
        if end is not None and self._end_link and is_sealed_data(layers):
            sent = innermost_ends(layers)[1] == end.address
            sighting = self._sighting(time_ns, layers, frame_bytes)
            self._seen.sealed.add(self._link, sent, sighting)
        elif isinstance(last, Udp):
            if last.destination_port in self._probe_ports and self._end_link:
                self._look_at_datagram(time_ns, layers, last, frame_bytes)
            elif last.destination_port == self._plan.signalling_port:
                self._keep(time_ns, "signalling", layers, last.payload)
        elif isinstance(last, Tcp) and last.destination_port == TRANSFER_PORT and self._end_link:
            self._look_at_segment(time_ns, layers, last)
        elif isinstance(last, Mobility):
            self._keep(time_ns, "mobility", layers, last.message)
        elif isinstance(last, Icmpv6) and self._node_link and _is_discovery(last):
            content = bytes((last.type, last.code)) + last.body
            self._keep(time_ns, "neighbour discovery", layers, content)
        if self._gateway_link:
            self._look_at_gateway(time_ns, layers)

    def _look_at_datagram(self, time_ns: int, layers: Layers, udp: Udp, frame_bytes: int) -> None:
        datagram = decode_datagram(udp.payload)
        if datagram is None:
            return
        key = DatagramKey(
            self._link, udp.destination_port, datagram.kind, datagram.sender, datagram.sequence
        )
        if key not in self._seen.datagrams:
            self._seen.datagrams[key] = self._sighting(time_ns, layers, frame_bytes)
        self._learn_care_of_addresses(layers)

    def _look_at_segment(self, time_ns: int, layers: Layers, segment: Tcp) -> None:
        size = len(segment.payload)
        key = SegmentKey(self._link, *innermost_ends(layers), segment.sequence, size)
        if size and key not in self._seen.segments:
            self._seen.segments[key] = self._sighting(time_ns, layers)

    def _sighting(self, time_ns: int, layers: Layers, frame_bytes: int = 0) -> Sighting:
        return Sighting(
            time_ns,
            path_of(layers, self._plan),
            self._own_network(layers),
            tells_care_of_address(layers),
            frame_bytes,
        )

    def _own_network(self, layers: Layers) -> str | None:
        """Tell by which access network a frame goes: by the outer address that is the node's.

        The peer's is seen as well where both are in the same one, or the packet goes directly.
        """
        first, own = layers[0], self._plan.node_by_name[self._link].internal_home_address
        if not isinstance(first, Ipv6):
            return None
        end = self._plan.tunnel_end
        sent = innermost_ends(layers)[0] == own
        if end is not None:
            sent = first.destination == end.address
        return self._plan.access_network_of(first.source if sent else first.destination)

    def _look_at_gateway(self, time_ns: int, layers: Layers) -> None:
        first = layers[0]
        if not isinstance(first, Ipv6):
            return
        pair = self._pair_by_ends.get((first.source, first.destination))
        if pair is not None:
            packet = PairPacket(pair, layers[1:])
            earlier = self._seen.pair_packets_at_gateway.get(packet, time_ns)
            self._seen.pair_packets_at_gateway[packet] = min(time_ns, earlier)

    def _keep(self, time_ns: int, protocol: str, layers: Layers, content: bytes) -> None:
        first = layers[0]
        if not isinstance(first, Ipv6):
            return
        source, destination = innermost_ends(layers)
        outer = (first.source, first.destination)
        self._learn_care_of_addresses(layers)
        self._seen.messages.append(
            MessageSighting(
                *(time_ns, self._link, protocol, source, destination, outer, first.hop_limit),
                content,
            )
        )

    def _learn_care_of_addresses(self, layers: Layers) -> None:
        first, second = layers[0], layers[1] if len(layers) > 1 else None
        if isinstance(first, Ipv6) and isinstance(second, HomeAddress):
            self._seen.home_address_by_care_of_address[first.source] = second.address


def _is_discovery(message: Icmpv6) -> bool:
    """Whether it is a router's message, a solicitation of one, or an announcement unasked for."""
    if message.type == NEIGHBOUR_ADVERTISEMENT:
        return bool(message.body) and not message.body[0] & SOLICITED_FLAG
    return message.type in NEIGHBOUR_DISCOVERY


def innermost_ends(layers: Layers) -> tuple[bytes, bytes]:
    """Return source and destination of the innermost packet, home addresses where it has any."""
    source = destination = b""
    for layer in layers:
        if isinstance(layer, Ipv6):
            source, destination = layer.source, layer.destination
        elif isinstance(layer, HomeAddress):
            source = layer.address
        elif isinstance(layer, RoutingHeader) and layer.type == 2:
            destination = layer.address
    return source, destination
