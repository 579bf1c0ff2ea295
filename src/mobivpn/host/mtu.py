"""The MTU of internal addresses: small enough that no change of path can ever stall a transfer.

The longest header stack that an inner packet meets (issue of every path):
direct, RFC 6275 section 6.4 and 6.3 around ESP in tunnel mode.
"""

IPV6_HEADER = 40
ROUTING_HEADER_TYPE_2 = 24
HOME_ADDRESS_OPTION = 24
ESP_HEADER = 8
GCM_IV = 8
GCM_ICV = 16
ESP_TRAILER = 5
"""Pad length, next header, and the padding that aligns them to 4 bytes."""

ESP_OVERHEAD = ESP_HEADER + GCM_IV + GCM_ICV + ESP_TRAILER

PATH_OVERHEAD = {
    "via_gateway": IPV6_HEADER + HOME_ADDRESS_OPTION + ESP_OVERHEAD,
    "via_home_agents": 2 * IPV6_HEADER + ESP_OVERHEAD,
    "direct": IPV6_HEADER + ROUTING_HEADER_TYPE_2 + HOME_ADDRESS_OPTION + ESP_OVERHEAD,
    "signalling": IPV6_HEADER + HOME_ADDRESS_OPTION + 2 * ESP_OVERHEAD,
}
"""Bytes that each path adds to an inner packet, nested ESP of the signalling included."""


def inner_mtu(link_mtu: int = 1500) -> int:
    """Return the MTU (bytes, a multiple of 8) for routes of internal addresses over `link_mtu`."""
    return (link_mtu - max(PATH_OVERHEAD.values())) // 8 * 8
