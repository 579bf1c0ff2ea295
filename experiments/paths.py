"""Which way a packet went, told from its outer headers as they stood on a node's own link."""

from enum import Enum

from experiments.dissect import Esp, HomeAddress, Ipv6, Layers, Quote, RoutingHeader, Udp
from experiments.network_plan import NetworkPlan


class PacketPath(Enum):
    """The ways between two nodes of the VPN; the values stand in every table of a result set."""

    INSIDE = "inside"
    VIA_GATEWAY = "via_gateway"
    VIA_HOME_AGENTS = "via_home_agents"
    DIRECT = "direct"


OF_PAIRS = frozenset({PacketPath.VIA_HOME_AGENTS, PacketPath.DIRECT})
"""Those of packets under an SA pair that the VCM has made."""


def path_of(layers: Layers, plan: NetworkPlan) -> PacketPath | None:
    """Return the path that the outer headers of a packet name; None for what is none of them.

    ESP with sg at one end: via the gateway. ESP between two external home addresses: direct when it
    goes from care-of address to care-of address (routing header type 2 and home address option,
    no tunnel), else through at least one home agent. No ESP at all: inside, as far as this link
    can know; the other end's link tells whether the gateway was passed. Another system's tunnels
    all end at the gateway.
    """
    source = destination = b""
    tunnelled = home_address = routed = False
    for layer in layers:
        if isinstance(layer, Ipv6):
            tunnelled = bool(source)
            source, destination = layer.source, layer.destination
            home_address = routed = False
        elif isinstance(layer, HomeAddress):
            source, home_address = layer.address, True
        elif isinstance(layer, RoutingHeader):
            if layer.type == 2:
                destination, routed = layer.address, True
        elif isinstance(layer, Esp):
            homes = plan.external_home_addresses
            if plan.security_gateway in (source, destination):
                return PacketPath.VIA_GATEWAY
            if source in homes and destination in homes:
                if home_address and routed and not tunnelled:
                    return PacketPath.DIRECT
                return PacketPath.VIA_HOME_AGENTS
            return None
        elif isinstance(layer, Udp) and is_tunnels(source, destination, layer, plan):
            return PacketPath.VIA_GATEWAY
        elif isinstance(layer, Quote):
            return None
    if plan.is_open:
        # Without both headers, one of the two home agents is on the way.
        is_direct = home_address and routed and not tunnelled
        return PacketPath.DIRECT if is_direct else PacketPath.VIA_HOME_AGENTS
    return PacketPath.INSIDE if source else None


def is_tunnels(source: bytes, destination: bytes, datagram: Udp, plan: NetworkPlan) -> bool:
    """Tell whether a datagram is a packet of another system's tunnel."""
    ports = datagram.source_port, datagram.destination_port
    return plan.tunnel_end is not None and plan.tunnel_end.has(source, destination, ports)


def tells_care_of_address(layers: Layers) -> bool:
    """Tell whether the innermost packet tells a care-of address, by a header of its own.

    On the direct path it does; through the gateway, where the route between a node inside and one
    outside is optimised (docs/adr/0023).
    """
    told = False
    for layer in layers:
        if isinstance(layer, Ipv6):
            told = False
        elif isinstance(layer, HomeAddress):
            told = True
        elif isinstance(layer, RoutingHeader):
            told |= layer.type == 2
    return told


def joined(sender: PacketPath | None, receiver: PacketPath | None) -> PacketPath | None:
    """Return the path of one packet seen as `sender` on its sender's link, `receiver` on the other.

    The receiver's link decides, since home agents act on the way; but only the sender's link knows
    of the gateway when the receiver is inside. None when either sighting is missing.
    """
    if sender is None or receiver is None:
        return None
    if PacketPath.VIA_GATEWAY in (sender, receiver):
        return PacketPath.VIA_GATEWAY
    return receiver
