"""What counts as clear text, judged by our walk and by tshark alone."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.clear_text import clear_text_in, is_external, tshark_clear_text
from experiments.dissect import Dissector, Layers
from experiments.esp_keys import EspKeys
from experiments.network_plan import NetworkPlan, TunnelEnd
from tests.support.packets import (
    MOBILITY,
    TCP,
    UDP,
    Association,
    Content,
    ethernet,
    home_address,
    icmpv6,
    ipv6,
    mobility,
    packed,
    routing_header,
    udp,
    write_pcapng,
)

OUT_1, OUT_2, GATEWAY = "2001:db8:1::1", "2001:db8:2::1", "2001:db8:5::5"
HOME_1, HOME_2 = "2001:db8:ee::d1", "2001:db8:ee::d2"
IN_1, IN_2 = "fd00:10::d1", "fd00:10::d2"
PROBE = udp(7007, 7007, bytes(40))
INNER = ipv6(IN_1, IN_2, PROBE)


def fragment(protocol: int, offset: int, payload: bytes) -> Content:
    return 44, bytes((protocol, 0)) + (offset << 3).to_bytes(2, "big") + bytes(4) + payload


def tcp() -> Content:
    return TCP, bytes.fromhex("0050005000000001000000005002ffff00000000")


def sealed(content: Content) -> Content:
    return Association(0x501).seal(content)


def quoting(packet: Content) -> Content:
    return icmpv6(1, 0, bytes(4) + packet[1])


CLEAR = {
    "vpn_addresses": ipv6(IN_1, IN_2, PROBE),
    "udp_between_strangers": ipv6(OUT_1, OUT_2, PROBE),
    "tcp": ipv6(OUT_1, OUT_2, tcp()),
    "echo_request": ipv6(OUT_1, OUT_2, icmpv6(128, 0, bytes(8))),
    "echo_reply": ipv6(OUT_1, OUT_2, icmpv6(129, 0, bytes(8))),
    "udp_in_a_tunnel": ipv6(OUT_1, OUT_2, INNER),
    "udp_behind_a_routing_header": ipv6(OUT_1, OUT_2, routing_header(HOME_2, PROBE)),
    "udp_quoted": ipv6(OUT_1, OUT_2, quoting(ipv6(OUT_2, OUT_1, PROBE))),
    "vpn_address_quoted": ipv6(OUT_1, OUT_2, quoting(ipv6(IN_1, OUT_1, sealed(PROBE)))),
    "vpn_home_address_option": ipv6(OUT_1, OUT_2, home_address(IN_1, sealed(INNER))),
    "vpn_address_in_a_routing_header": ipv6(OUT_1, OUT_2, routing_header(IN_1, sealed(INNER))),
    "vpn_address_in_a_mobility_option": ipv6(
        OUT_1, OUT_2, mobility(5, bytes(6) + b"\x03\x10" + packed(IN_1))
    ),
    "vpn_address_solicited": ipv6(OUT_1, OUT_2, icmpv6(135, 0, bytes(4) + packed(IN_2))),
    "later_fragment_of_udp": ipv6(OUT_1, OUT_2, fragment(UDP, 8, bytes(16))),
    "first_fragment_of_udp": ipv6(OUT_1, OUT_2, fragment(*PROBE[:1], 0, PROBE[1])),
}
SAFE = {
    "direct": ipv6(OUT_1, OUT_2, routing_header(HOME_2, home_address(HOME_1, sealed(INNER)))),
    "via_gateway": ipv6(OUT_1, GATEWAY, home_address(HOME_1, sealed(INNER))),
    "home_agents_tunnel": ipv6(OUT_1, OUT_2, ipv6(HOME_1, HOME_2, sealed(INNER))),
    "esp_quoted": ipv6(OUT_1, OUT_2, quoting(ipv6(OUT_2, OUT_1, sealed(INNER)))),
    "binding_update": ipv6(OUT_1, OUT_2, mobility(5, bytes(6))),
    "router_advertisement": ipv6("fe80::1", "ff02::1", icmpv6(134, 0, bytes(12))),
    "neighbour_solicitation": ipv6("fe80::1", "fe80::2", icmpv6(135, 0, bytes(4) + packed(OUT_1))),
    "no_next_header": ipv6(OUT_1, OUT_2, (59, b"")),
    "fragment_of_esp": ipv6(OUT_1, OUT_2, fragment(50, 8, bytes(16))),
    "mobility_alone": ipv6(OUT_1, OUT_2, (MOBILITY, bytes.fromhex("3b00010000000000"))),
}


def captured(packet: Content) -> tuple[bytes, Layers]:
    """Return a packet as the frame that it goes in, and what is seen of that without keys."""
    frame = ethernet(packet)
    return frame, Dissector(EspKeys([])).layers(frame)


def write_packets(path: Path, packets: Iterable[Content]) -> None:
    write_pcapng(path, [(n, ethernet(packet)) for n, packet in enumerate(packets)])


@pytest.mark.parametrize("name", CLEAR)
def test_clear_text_is_found(name: str, plan: NetworkPlan) -> None:
    frame, layers = captured(CLEAR[name])
    assert clear_text_in(frame, layers, plan.vpn_prefix_bytes)


@pytest.mark.parametrize("name", SAFE)
def test_protected_packets_and_signalling_are_no_clear_text(name: str, plan: NetworkPlan) -> None:
    frame, layers = captured(SAFE[name])
    assert clear_text_in(frame, layers, plan.vpn_prefix_bytes) is None


VCM = "fd00:10::9"
TO_VCM, FROM_VCM = (ipv6(*ends, sealed(PROBE)) for ends in ((HOME_1, VCM), (VCM, HOME_1)))
BARE = {
    "to_vcm": (ipv6(OUT_1, OUT_2, TO_VCM), None),
    "from_vcm": (FROM_VCM, None),
    "vcm_without_esp": (ipv6(HOME_1, VCM, (59, b"")), "vpn address"),
    "vcm_in_clear": (ipv6(HOME_1, VCM, PROBE), "udp"),
    "vcm_and_a_stranger": (ipv6(OUT_1, VCM, sealed(PROBE)), "vpn address"),
    "esp_of_another_host": (ipv6(HOME_1, IN_2, sealed(PROBE)), "vpn address"),
    "vpn_address_around_it": (ipv6(OUT_1, IN_2, TO_VCM), "vpn address"),
    "vpn_address_beside_it": (
        ipv6(HOME_1, VCM, home_address(IN_1, sealed(PROBE))),
        "vpn address",
    ),
}


@pytest.mark.parametrize("name", BARE)
def test_a_direct_vcms_own_esp_may_show_its_address_and_nothing_else_may(
    name: str, plan: NetworkPlan
) -> None:
    packet, expected = BARE[name]
    frame, layers = captured(packet)
    direct = replace(plan, vcm_is_direct=True)
    found = clear_text_in(frame, layers, direct.vpn_prefix_bytes, direct.bare_esp_ends)
    assert found == expected
    assert clear_text_in(frame, layers, plan.vpn_prefix_bytes, plan.bare_esp_ends) is not None


TUNNEL = TunnelEnd(packed(GATEWAY), frozenset({51820}))
TUNNELLED = {
    "to_the_hub": (ipv6(OUT_1, GATEWAY, udp(51820, 51820, bytes(140))), None),
    "from_the_hub": (ipv6(GATEWAY, OUT_1, udp(51820, 51820, bytes(140))), None),
    "vpn_address_in_it": (ipv6(OUT_1, GATEWAY, udp(51820, 51820, packed(IN_1))), "vpn address"),
    "another_port": (ipv6(OUT_1, GATEWAY, udp(7007, 7007, bytes(140))), "udp"),
    "strangers": (ipv6(OUT_1, OUT_2, udp(51820, 51820, bytes(140))), "udp"),
}


@pytest.mark.parametrize("name", TUNNELLED)
def test_another_systems_tunnel_is_no_clear_text_unless_it_shows_an_address(
    name: str, plan: NetworkPlan
) -> None:
    packet, expected = TUNNELLED[name]
    frame, layers = captured(packet)
    prefixes = plan.vpn_prefix_bytes
    assert clear_text_in(frame, layers, prefixes, tunnel_end=TUNNEL) == expected
    assert clear_text_in(frame, layers, prefixes) is not None


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_alone_finds_the_same_of_another_systems_tunnel(
    tmp_path: Path, plan: NetworkPlan
) -> None:
    path = tmp_path / "tunnelled.pcapng"
    write_packets(path, (packet for packet, _ in TUNNELLED.values()))
    found = tshark_clear_text({"here": path}, {}, plan.vpn_prefix_bytes, tunnel_end=TUNNEL)
    assert found == {"here": sum(expected is not None for _, expected in TUNNELLED.values())}


HOME_TESTS = {
    "home_test_init": (ipv6(OUT_1, OUT_2, ipv6(HOME_1, HOME_2, mobility(1, bytes(10)))), True),
    "home_test": (ipv6(OUT_2, OUT_1, ipv6(HOME_2, HOME_1, mobility(3, bytes(18)))), True),
    "home_test_sealed": (ipv6(OUT_2, OUT_1, sealed(INNER)), False),
    "care_of_test": (ipv6(OUT_1, OUT_2, mobility(4, bytes(18))), False),
}


@pytest.mark.parametrize("name", HOME_TESTS)
def test_a_home_test_is_hidden_where_nodes_have_an_association_for_it(
    name: str, plan: NetworkPlan
) -> None:
    packet, is_shown = HOME_TESTS[name]
    frame, layers = captured(packet)
    found = clear_text_in(frame, layers, plan.vpn_prefix_bytes, hides_home_tests=True)
    assert found == ("home test" if is_shown else None)
    assert clear_text_in(frame, layers, plan.vpn_prefix_bytes) is None


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_alone_finds_the_same_of_home_tests(tmp_path: Path, plan: NetworkPlan) -> None:
    path = tmp_path / "tests.pcapng"
    write_packets(path, (packet for packet, _ in HOME_TESTS.values()))
    links = {"here": path, "ha": path}
    found = tshark_clear_text(links, {}, plan.vpn_prefix_bytes, hides_home_tests=True)
    # On the home agent's own link a test is on its way to the peer, or from it.
    assert found == {"here": sum(is_shown for _, is_shown in HOME_TESTS.values()), "ha": 0}


def test_udp_in_ipv4_is_clear_text(plan: NetworkPlan) -> None:
    frame = bytes(12) + b"\x08\x00" + bytes(9) + b"\x11" + bytes(10)
    assert clear_text_in(frame, Dissector(EspKeys([])).layers(frame), plan.vpn_prefix_bytes)


def test_a_header_cut_short_is_clear_text(plan: NetworkPlan) -> None:
    frame = ethernet(ipv6(OUT_1, OUT_2, (UDP, b"\0")))
    assert clear_text_in(frame, Dissector(EspKeys([])).layers(frame), plan.vpn_prefix_bytes)


def test_links_outside_the_company_are_external() -> None:
    assert all(map(is_external, ("sg-ext", "ha", "eve", "uplink-cell")))
    assert not any(map(is_external, ("sg-lan", "r22-sg", "r22-lan", "vcm", "mn1", "monitor")))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_alone_finds_the_same(tmp_path: Path, plan: NetworkPlan) -> None:
    clear, safe = tmp_path / "clear.pcapng", tmp_path / "safe.pcapng"
    write_packets(clear, CLEAR.values())
    write_packets(safe, SAFE.values())
    times = {"within": [(5, len(CLEAR) - 1)], "never": []}
    bare = tmp_path / "bare.pcapng"
    write_packets(bare, (packet for packet, _ in BARE.values()))
    direct = replace(plan, vcm_is_direct=True)
    prefixes, ends = direct.vpn_prefix_bytes, direct.bare_esp_ends
    assert tshark_clear_text({"bare": bare}, {}, prefixes) == {"bare": len(BARE)}
    # Of an address around or beside the VCM's ESP, tshark's filter knows nothing.
    found = tshark_clear_text({"bare": bare}, {}, prefixes, bare_esp_ends=ends)
    assert found == {"bare": len(BARE) - 4}
    counts = tshark_clear_text(
        {"clear": clear, "safe": safe, "within": clear, "never": clear},
        times,
        plan.vpn_prefix_bytes,
    )
    assert counts == {"clear": len(CLEAR), "safe": 0, "within": len(CLEAR) - 6, "never": 0}
