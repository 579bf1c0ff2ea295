"""Clear text: what of the VPN could be read on an external link, judged in two independent ways.

A packet is clear text if, outside any ESP, it holds an address of the VPN anywhere (also as a
neighbour discovery target, in a mobility option or quoted in an ICMPv6 error), or if it is UDP, TCP
or an echo (also in a fragment, in IPv4, under AH, quoted). Neighbour discovery, multicast listener
reports and mobility headers are none as long as they hold no VPN address, except for a test of the
home address between a node and its home agent, where they have an association to hide its token
(RFC 6275 section 5.2.5; beyond the home agent, on its own link, such a test goes as it is). What an
attacker says of the VPN in a network of its own is none either: it gives nothing away. Nor is an
address that is an end of ESP which goes between VPN addresses on purpose: that of the VCM, where
MN-VCM is direct.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path

from experiments.dissect import (
    ETHERNET_BYTES,
    Broken,
    Esp,
    Fragment,
    Icmpv6,
    Ipv4,
    Ipv6,
    Layers,
    Mobility,
    NextHeader,
    Tcp,
    Udp,
)
from experiments.errors import ResultError
from experiments.network_plan import TunnelEnd

ICMPV6_ECHO = (128, 129)
HOME_TESTS = (1, 3)
"""Mobility header types of HoTI and HoT."""
UPPER_LAYERS = (NextHeader.UDP, NextHeader.TCP, NextHeader.ICMPV6)
IPV4_UPPER_LAYERS = (1, NextHeader.UDP, NextHeader.TCP)
NANOSECONDS = 1_000_000_000

GATEWAY_LINK, HOME_AGENT_LINK, UPLINK, ATTACKER_LINK = "sg-ext", "ha", "uplink-", "eve"
FAKE_LINK = "{}-lan"
"""An attacker's own network, by its name."""
GIVEN_AWAY = "clear text packets in {}'s network"
"""The name of the check of one."""
ATTACKER_LINKS = (ATTACKER_LINK, FAKE_LINK.format(ATTACKER_LINK))
"""External links that no node moves to; a mobile node's link is external while it is outside."""


def is_external(link: str) -> bool:
    """Tell whether a link lies outside the company, whoever is attached."""
    return link in (GATEWAY_LINK, HOME_AGENT_LINK, *ATTACKER_LINKS) or link.startswith(UPLINK)


def hardware_source(frame: bytes) -> bytes:
    """Return who sent an Ethernet frame."""
    return frame[6:12]


def clear_text_in(
    frame: bytes,
    layers: Layers,
    vpn_prefixes: tuple[bytes, ...],
    bare_esp_ends: frozenset[tuple[bytes, bytes]] = frozenset(),
    tunnel_end: TunnelEnd | None = None,
    *,
    hides_home_tests: bool = False,
) -> str | None:
    """Return what of `frame` is clear text, or None; `layers` are those of the same frame.

    `bare_esp_ends` are (source, destination) of packets whose ESP may show these two addresses. A
    datagram of another system's tunnel (`tunnel_end`) is none, unless it shows an address.
    """
    ends = b"", b""
    for layer in layers:
        if isinstance(layer, Ipv6):
            ends = layer.source, layer.destination
        if isinstance(layer, Esp):
            # The first ESP hides all that follows; what stands before it is searched below.
            frame = frame[: _esp_offset(frame, layer)]
            if ends in bare_esp_ends:
                head, _, tail = frame.rpartition(b"".join(ends))
                frame = head + bytes(32) + tail
            break
        if isinstance(layer, Udp):
            ports = layer.source_port, layer.destination_port
            if tunnel_end is not None and tunnel_end.has(*ends, ports):
                break
            return "udp"
        if isinstance(layer, Tcp):
            return "tcp"
        if isinstance(layer, Icmpv6) and layer.type in ICMPV6_ECHO:
            return "echo"
        if hides_home_tests and isinstance(layer, Mobility) and layer.type in HOME_TESTS:
            return "home test"
        if isinstance(layer, Fragment) and layer.offset and layer.protocol in UPPER_LAYERS:
            return "fragment"
        if isinstance(layer, Ipv4) and layer.protocol in IPV4_UPPER_LAYERS:
            return "ipv4"
        if isinstance(layer, Broken) and layer.protocol in UPPER_LAYERS:
            return "cut short"
    for prefix in vpn_prefixes:
        if frame.find(prefix, ETHERNET_BYTES) >= 0:
            return "vpn address"
    return None


def _esp_offset(frame: bytes, esp: Esp) -> int:
    header = esp.spi.to_bytes(4, "big") + esp.sequence.to_bytes(4, "big")
    offset = frame.find(header, ETHERNET_BYTES)
    return len(frame) if offset < 0 else offset


def tshark_clear_text(
    captures: Mapping[str, Path],
    outside_intervals_by_link: Mapping[str, Sequence[tuple[int, int]]],
    vpn_prefixes: Iterable[bytes],
    tshark: str = "tshark",
    *,
    attackers: Iterable[bytes] = (),
    bare_esp_ends: Iterable[tuple[bytes, bytes]] = (),
    tunnel_end: TunnelEnd | None = None,
    hides_home_tests: bool = False,
) -> dict[str, int]:
    """Count clear text packets by link with tshark alone, without keys: nothing of ours judges.

    `captures` are those of links that are external at some time; a link that is in
    `outside_intervals_by_link` counts within these times [begin, end) in nanoseconds only. Frames
    from the hardware addresses of `attackers` do not count. ESP between two of `bare_esp_ends` may
    hold VPN addresses, and UDP of `tunnel_end` be UDP.
    """
    udp = "udp"
    if tunnel_end is not None:
        ports = " || ".join(f"udp.port == {port}" for port in sorted(tunnel_end.udp_ports))
        udp = f"(udp && !(ipv6.addr == {IPv6Address(tunnel_end.address)} && ({ports})))"
    wanted = [udp, "tcp", "icmp", "icmpv6.type == 128", "icmpv6.type == 129"]
    wanted += [
        f"(ipv6.fraghdr.offset > 0 && ipv6.fraghdr.nxt == {int(protocol)})"
        for protocol in UPPER_LAYERS
    ]
    bare = "".join(
        f" && !(esp && ipv6.src == {IPv6Address(source)} && ipv6.dst == {IPv6Address(destination)})"
        for source, destination in bare_esp_ends
    )
    wanted += [f"(frame contains {prefix.hex(':')}{bare})" for prefix in vpn_prefixes]
    counts = {}
    for link, path in sorted(captures.items()):
        tests = []
        if hides_home_tests and link != HOME_AGENT_LINK:
            tests = [f"mip6.mhtype == {kind}" for kind in HOME_TESTS]
        display_filter = "(" + " || ".join([*wanted, *tests]) + ")"
        display_filter += "".join(f" && !(eth.src == {own.hex(':')})" for own in attackers)
        if link in outside_intervals_by_link:
            times = [
                f"(frame.time_epoch >= {_epoch(begin)} && frame.time_epoch < {_epoch(end)})"
                for begin, end in outside_intervals_by_link[link]
            ]
            display_filter += " && (" + (" || ".join(times) or "frame.number == 0") + ")"
        command = [tshark, "-n", "-r", str(path), "-Y", display_filter]
        command += ["-T", "fields", "-e", "frame.number"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise ResultError(f"{path}: tshark: {result.stderr.strip().splitlines()[-1]}")
        counts[link] = len(result.stdout.split())
    return counts


def _epoch(time_ns: int) -> str:
    """Return a time as tshark's filters take it; they hold 32-bit seconds."""
    time_ns = min(time_ns, (2**31 - 1) * NANOSECONDS)
    return f"{time_ns // NANOSECONDS}.{time_ns % NANOSECONDS:09d}"
