"""Frames to layers: against scapy's packets, against tshark and on captures of a real kernel."""

import shutil
import struct
import subprocess
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BU,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH, ESP, SecurityAssociation
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from experiments import dissect
from experiments.dissect import Dissector, Layers
from experiments.esp_keys import Combined, EspKey, EspKeys, read_esp_sa
from experiments.paths import PacketPath, joined, path_of, tells_care_of_address
from experiments.pcapng import read_frames

CAPTURES = Path(__file__).parents[2] / "support" / "captures"
KEY, SALT = bytes(range(16)), b"salt"
CARE_OF_1, CARE_OF_2 = "2001:db8:1::1", "2001:db8:2::1"
HOME_1, HOME_2 = "2001:db8:ee::d1", "2001:db8:ee::d2"
INNER_1, INNER_2 = "fd00:10::d1", "fd00:10::d2"
NO_KEYS = EspKeys([])


def packed(address: str) -> bytes:
    return IPv6Address(address).packed


def keys(spi: int = 0x501) -> EspKeys:
    return EspKeys([EspKey(spi, Combined(AESGCM(KEY), SALT))])


def layers_of(packet: Packet, esp_keys: EspKeys = NO_KEYS) -> Layers:
    return Dissector(esp_keys).layers(bytes(Ether() / packet))


def sealed(packet: Packet, extended: bool, spi: int = 0x501) -> Packet:
    """Return scapy's ESP tunnel around a packet."""
    association = SecurityAssociation(
        ESP,
        spi=spi,
        seq_num=7,
        crypt_algo="AES-GCM",
        crypt_key=KEY + SALT,
        tunnel_header=IPv6(src=HOME_1, dst=HOME_2),
        esn_en=extended,
        esn=0,
    )
    return association.encrypt(packet)


def test_udp_is_the_innermost_layer() -> None:
    layers = layers_of(IPv6(src=INNER_1, dst=INNER_2, hlim=9) / UDP(sport=1, dport=2) / b"abc")
    assert layers == (
        dissect.Ipv6(packed(INNER_1), packed(INNER_2), 9),
        dissect.Udp(1, 2, b"abc"),
    )


def test_tcp_payload_begins_after_its_options() -> None:
    segment = TCP(sport=1, dport=2, seq=3, ack=4, options=[("MSS", 1000)])
    layers = layers_of(IPv6() / segment / b"abc")
    assert layers[-1] == dissect.Tcp(1, 2, 3, 4, b"abc")


def test_padding_of_short_frames_is_no_payload() -> None:
    frame = bytes(Ether() / IPv6() / UDP(sport=1, dport=2) / b"a") + bytes(20)
    assert Dissector(NO_KEYS).layers(frame)[-1] == dissect.Udp(1, 2, b"a")


def test_home_address_and_routing_header_are_read() -> None:
    packet = (
        IPv6(src=CARE_OF_1, dst=CARE_OF_2)
        / IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME_2])
        / IPv6ExtHdrDestOpt(options=[HAO(hoa=HOME_1)])
        / UDP(sport=1, dport=2)
    )
    assert layers_of(packet)[1:3] == (
        dissect.RoutingHeader(2, 1, packed(HOME_2)),
        dissect.HomeAddress(packed(HOME_1)),
    )


def test_hop_by_hop_options_are_passed_over() -> None:
    packet = IPv6() / IPv6ExtHdrHopByHop() / UDP(sport=1, dport=2)
    assert isinstance(layers_of(packet)[-1], dissect.Udp)


@pytest.mark.parametrize("extended", [True, False])
def test_esp_is_opened_with_and_without_extended_sequence_numbers(extended: bool) -> None:
    packet = sealed(IPv6(src=INNER_1, dst=INNER_2) / UDP(sport=1, dport=2) / b"abc", extended)
    layers = layers_of(packet, keys())
    assert layers[1] == dissect.Esp(0x501, 7, True)
    assert layers[-1] == dissect.Udp(1, 2, b"abc")


def test_esp_with_a_wrong_tag_stays_closed_and_is_counted() -> None:
    frame = bytearray(bytes(Ether() / sealed(IPv6() / UDP(), extended=True)))
    frame[-1] ^= 1
    dissector = Dissector(keys())
    assert dissector.layers(bytes(frame))[-1] == dissect.Esp(0x501, 7, False)
    assert dissector.unopened == 1


def test_esp_of_an_unknown_spi_stays_closed() -> None:
    assert layers_of(sealed(IPv6() / UDP(), extended=True), keys(0x999))[-1] == dissect.Esp(
        0x501, 7, False
    )


def test_two_associations_may_share_an_spi() -> None:
    both = EspKeys([EspKey(0x501, Combined(AESGCM(key), SALT)) for key in (bytes(16), KEY)])
    assert isinstance(layers_of(sealed(IPv6() / UDP(), extended=True), both)[-1], dissect.Udp)


def test_a_mirrors_truncated_copy_is_not_counted_as_unopened() -> None:
    frame = bytes(Ether() / sealed(IPv6() / UDP() / bytes(200), extended=True))
    dissector = Dissector(keys())
    assert dissector.layers(frame[:128])[-1] == dissect.Esp(0x501, 7, False)
    assert dissector.unopened == 0


def test_a_quoted_packet_is_walked() -> None:
    quoted = IPv6(src=INNER_1, dst=INNER_2) / UDP(sport=1, dport=2) / b"abc"
    layers = layers_of(IPv6() / ICMPv6DestUnreach(code=1) / quoted)
    assert [type(layer) for layer in layers] == [
        dissect.Ipv6,
        dissect.Icmpv6,
        dissect.Quote,
        dissect.Ipv6,
        dissect.Udp,
    ]


def test_mobility_message_is_whole() -> None:
    message = bytes(MIP6MH_BU(seq=5, mhtime=100))
    layers = layers_of(IPv6(nh=135) / Raw(message))
    assert layers[-1] == dissect.Mobility(5, message)


def test_only_the_first_fragment_is_walked_on() -> None:
    first = layers_of(IPv6() / IPv6ExtHdrFragment(offset=0, m=1, id=3) / UDP(sport=1, dport=2))
    second = layers_of(IPv6() / IPv6ExtHdrFragment(offset=8, m=0, id=3, nh=17) / b"abcdefgh")
    assert first[1:] == (dissect.Fragment(3, 0, True, 17), dissect.Udp(1, 2, b""))
    assert second[1:] == (dissect.Fragment(3, 64, False, 17),)


def test_authentication_header_hides_nothing() -> None:
    packet = SecurityAssociation(AH, spi=300, auth_algo="HMAC-SHA1-96", auth_key=b"k").encrypt(
        IPv6() / UDP(sport=1, dport=2)
    )
    layers = layers_of(packet)
    assert isinstance(layers[1], dissect.Ah)
    assert isinstance(layers[-1], dissect.Udp)


def test_ipv4_vlan_and_echo() -> None:
    assert layers_of(IP() / UDP()) == (dissect.Ipv4(17),)
    assert isinstance(layers_of(Dot1Q(vlan=3) / IPv6() / UDP())[-1], dissect.Udp)
    echo = layers_of(IPv6() / ICMPv6EchoRequest(id=1, seq=2))[-1]
    assert isinstance(echo, dissect.Icmpv6)
    assert (echo.type, echo.code) == (128, 0)


def test_what_is_not_ip_has_no_layers() -> None:
    assert Dissector(NO_KEYS).layers(bytes(Ether(type=0x88CC) / b"lldp")) == ()


def test_endless_nesting_ends() -> None:
    packet: Packet = UDP()
    for _ in range(40):
        packet = IPv6() / packet
    assert layers_of(packet)[-1] == dissect.Broken("nested too deep", 41)


def test_unknown_protocol_is_broken() -> None:
    assert layers_of(IPv6(nh=253) / b"abc")[-1] == dissect.Broken("unknown protocol", 253)


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    for ethertype in (0x86DD, 0x0800, 0x8100):
        Dissector(keys()).layers(bytes(12) + struct.pack("!H", ethertype) + data)


@given(st.data())
def test_no_damaged_packet_raises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CAPTURES.glob("*.pcapng"))))
    frames = list(read_frames(name))
    frame = bytearray(data.draw(st.sampled_from(frames)).data)
    for _ in range(data.draw(st.integers(0, 4))):
        frame[data.draw(st.integers(14, len(frame) - 1))] = data.draw(st.integers(0, 255))
    Dissector(NO_KEYS).layers(bytes(frame[: data.draw(st.integers(0, len(frame)))]))


# What a real kernel sent (user-mode Linux 6.12), one capture for each path.


@pytest.mark.parametrize(
    ("capture", "path", "innermost", "optimised"),
    [
        ("home-agent-tunnel", PacketPath.VIA_GATEWAY, dissect.Icmpv6, {False}),
        ("hairpin", PacketPath.VIA_GATEWAY, dissect.Icmpv6, {False}),
        ("home-agents", PacketPath.VIA_HOME_AGENTS, dissect.Icmpv6, {False}),
        ("direct", PacketPath.DIRECT, dissect.Icmpv6, {False}),
        ("home-registration", None, dissect.Mobility, {True}),
    ],
)
def test_every_path_of_a_real_kernel_is_told(
    capture: str, path: PacketPath | None, innermost: type, optimised: set[bool], plan
) -> None:
    dissector = Dissector(read_esp_sa(CAPTURES / "esp_sa"))
    protected = []
    for frame in read_frames(CAPTURES / f"{capture}.pcapng"):
        layers = dissector.layers(frame.data)
        if any(isinstance(layer, dissect.Esp) for layer in layers):
            protected.append(layers)
    assert protected
    assert dissector.unopened == 0
    assert {path_of(layers, plan) for layers in protected} == {path}
    assert {type(layers[-1]) for layers in protected} == {innermost}
    assert {tells_care_of_address(layers) for layers in protected} == optimised


def test_a_packet_is_optimised_that_tells_a_care_of_address_itself() -> None:
    routed = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME_2])
    source_routed = IPv6ExtHdrRouting(type=0, addresses=[HOME_2])
    outer, inner = IPv6(src=CARE_OF_2, dst=HOME_1), IPv6(src=INNER_1, dst=INNER_2)
    assert tells_care_of_address(layers_of(inner / routed / UDP()))
    assert tells_care_of_address(layers_of(outer / inner / routed / UDP()))
    assert not tells_care_of_address(layers_of(outer / routed / inner / UDP()))
    assert not tells_care_of_address(layers_of(inner / source_routed / UDP()))


def test_no_esp_is_inside_unless_the_other_link_knows_better(plan) -> None:
    layers = layers_of(IPv6(src=INNER_1, dst=INNER_2) / UDP())
    assert path_of(layers, plan) is PacketPath.INSIDE
    assert joined(PacketPath.VIA_GATEWAY, PacketPath.INSIDE) is PacketPath.VIA_GATEWAY
    assert joined(PacketPath.VIA_HOME_AGENTS, PacketPath.DIRECT) is PacketPath.DIRECT
    assert joined(None, PacketPath.DIRECT) is None


def test_a_quoted_packet_names_no_path(plan) -> None:
    quoted = IPv6(src=INNER_1, dst=INNER_2) / UDP()
    assert path_of(layers_of(IPv6() / ICMPv6DestUnreach() / quoted), plan) is None


def test_one_home_agent_alone_is_not_direct(plan) -> None:
    esp = bytes(ESP(spi=0x501, seq=1)) + bytes(40)
    routed = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[HOME_2], nh=50)
    half = layers_of(IPv6(src=HOME_1, dst=CARE_OF_2) / routed / Raw(esp))
    assert path_of(half, plan) is PacketPath.VIA_HOME_AGENTS


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("capture", sorted(path.stem for path in CAPTURES.glob("*.pcapng")))
def test_tshark_reads_the_same_with_the_same_keys(capture: str) -> None:
    path = CAPTURES / f"{capture}.pcapng"
    command = ["tshark", "-n", "-r", str(path), "-o", "esp.enable_encryption_decode:TRUE"]
    for line in (CAPTURES / "esp_sa").read_text().splitlines():
        command += ["-o", f"uat:esp_sa:{line}"]
    command += ["-T", "fields", "-E", "occurrence=a"]
    for name in ("ipv6.hlim", "esp.spi", "mip6.mhtype", "icmpv6.type", "frame.time_epoch"):
        command += ["-e", name]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    dissector = Dissector(read_esp_sa(CAPTURES / "esp_sa"))
    ours = []
    for frame in read_frames(path):
        layers = dissector.layers(frame.data)
        ours.append(
            [
                ",".join(str(i.hop_limit) for i in layers if isinstance(i, dissect.Ipv6)),
                ",".join(f"0x{e.spi:08x}" for e in layers if isinstance(e, dissect.Esp)),
                ",".join(str(m.type) for m in layers if isinstance(m, dissect.Mobility)),
                ",".join(str(m.type) for m in layers if isinstance(m, dissect.Icmpv6)),
                f"{frame.time_ns // 10**9}.{frame.time_ns % 10**9:09d}",
            ]
        )
    assert [line.split("\t") for line in output.splitlines()] == ours
