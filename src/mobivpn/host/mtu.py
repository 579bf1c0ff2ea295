"""The MTU of internal addresses: small enough that no change of path can ever stall a transfer.

It is that of the longest header stack which an inner packet meets on any path, whatever algorithm a
direct pair has. The associations that stand before have AES-GCM.
"""

from mobivpn.ipsec.sa import EspAlgorithm

IPV6_HEADER = 40
ROUTING_HEADER_TYPE_2 = 24
HOME_ADDRESS_OPTION = 24
ESP_HEADER = 8
ESP_TRAILER = 2
"""Pad length and next header; what pads them comes on top."""


def esp_overhead(algorithm: EspAlgorithm) -> int:
    """Return the most that ESP adds (bytes), its header and padding included."""
    its = algorithm.transform
    return ESP_HEADER + its.iv_bytes + ESP_TRAILER + its.block_bytes - 1 + its.icv_bytes


def esp_bytes(algorithm: EspAlgorithm, content: int) -> int:
    """Return the size of ESP, all of its fields, around `content` bytes (RFC 4303 section 2)."""
    its = algorithm.transform
    padded = -(-(content + ESP_TRAILER) // its.block_bytes) * its.block_bytes
    return ESP_HEADER + its.iv_bytes + padded + its.icv_bytes


ESP_OVERHEAD = esp_overhead(EspAlgorithm.AES256GCM16)
DIRECT_OVERHEAD = max(esp_overhead(algorithm) for algorithm in EspAlgorithm)

PATH_OVERHEAD = {
    "via_gateway": IPV6_HEADER + HOME_ADDRESS_OPTION + ESP_OVERHEAD,
    "optimised": IPV6_HEADER + HOME_ADDRESS_OPTION + ROUTING_HEADER_TYPE_2 + ESP_OVERHEAD,
    "via_home_agents": 2 * IPV6_HEADER + DIRECT_OVERHEAD,
    "direct": IPV6_HEADER + ROUTING_HEADER_TYPE_2 + HOME_ADDRESS_OPTION + DIRECT_OVERHEAD,
    "signalling": IPV6_HEADER + HOME_ADDRESS_OPTION + 2 * ESP_OVERHEAD,
}
"""Bytes that each path adds to an inner packet, nested ESP of the signalling included."""


def inner_mtu(link_mtu: int = 1500) -> int:
    """Return the MTU (bytes, a multiple of 8) for routes of internal addresses over `link_mtu`."""
    return (link_mtu - max(PATH_OVERHEAD.values())) // 8 * 8
