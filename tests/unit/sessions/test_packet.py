"""Headers of packets that come to the controller (mobivpn.sessions.packet)."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobivpn.errors import MalformedError
from mobivpn.sessions.packet import PacketSummary, summarise

MN1, MN2 = IPv6Address("fd00:10::d1"), IPv6Address("fd00:10::d2")
HOME = IPv6Address("2001:db8:ee::d2")
UDP, TCP, ESP, ICMPV6, NO_NEXT = 17, 6, 50, 58, 59
PORTS = bytes.fromhex("1b5f1452")


def frame(next_header: int, payload: bytes = b"", ethertype: int = 0x86DD) -> bytes:
    ethernet = bytes(12) + ethertype.to_bytes(2, "big")
    fixed = bytes((0x60, 0, 0, 0)) + len(payload).to_bytes(2, "big") + bytes((next_header, 64))
    return ethernet + fixed + MN1.packed + MN2.packed + payload


def extension(next_header: int, length: int = 8) -> bytes:
    return bytes((next_header, length // 8 - 1)) + bytes(length - 2)


def fragment(next_header: int, offset: int) -> bytes:
    return bytes((next_header, 0)) + (offset << 3 | 1).to_bytes(2, "big") + bytes(4)


@pytest.mark.parametrize("protocol", [UDP, TCP])
def test_addresses_protocol_and_ports_are_read(protocol: int):
    assert summarise(frame(protocol, PORTS)) == PacketSummary(MN1, MN2, protocol, 7007, 5202)


@pytest.mark.parametrize("protocol", [ESP, ICMPV6, NO_NEXT])
def test_what_has_no_ports_has_none(protocol: int):
    assert summarise(frame(protocol, PORTS)) == PacketSummary(MN1, MN2, protocol)


def test_extension_headers_are_passed_over():
    headers = extension(43) + extension(60, 24) + extension(44, 16) + fragment(UDP, 0)
    assert summarise(frame(0, headers + PORTS)) == PacketSummary(MN1, MN2, UDP, 7007, 5202)


def test_the_headers_of_mobile_ipv6_tell_the_home_addresses():
    routing = bytes((60, 2, 2, 1)) + bytes(4) + HOME.packed
    option = bytes((UDP, 2, 0, 1, 0, 0, 201, 16)) + MN2.packed
    summary = summarise(frame(43, routing + option + PORTS))
    assert (summary.source, summary.destination) == (MN1, MN2)
    assert (summary.source_home_address, summary.destination_home_address) == (MN2, HOME)
    assert summary.destination_port == 5202


@pytest.mark.parametrize(
    "header",
    [
        bytes((UDP, 2, 0, 1)) + bytes(4) + MN2.packed,
        bytes((UDP, 0, 2, 1)) + bytes(4),
    ],
    ids=["another type", "no address"],
)
def test_no_other_routing_header_does(header: bytes):
    assert summarise(frame(43, header + PORTS)) == PacketSummary(MN1, MN2, UDP, 7007, 5202)


@pytest.mark.parametrize(
    "options", [bytes((1, 4, 0, 0, 0, 0)), bytes((201, 4, 1, 2, 3, 4)), bytes((5, 200)) + bytes(4)]
)
def test_no_other_option_does(options: bytes):
    packet = frame(60, bytes((UDP, 0)) + options + PORTS)
    assert summarise(packet) == PacketSummary(MN1, MN2, UDP, 7007, 5202)


def test_a_later_fragment_has_no_ports():
    assert summarise(frame(44, fragment(UDP, 4) + PORTS)) == PacketSummary(MN1, MN2, UDP)


def test_a_frame_cut_short_after_its_headers_is_read_as_far_as_it_goes():
    assert summarise(frame(UDP, PORTS[:3])) == PacketSummary(MN1, MN2, UDP)
    assert summarise(frame(60, extension(UDP)[:7])) == PacketSummary(MN1, MN2, 60)


def test_a_frame_cut_within_its_headers_is_malformed():
    with pytest.raises(MalformedError) as error:
        summarise(frame(UDP)[:53])
    assert error.value.reason == "frame-too-short"


def test_another_protocol_is_malformed():
    ipv4_in_ipv6 = bytearray(frame(UDP))
    ipv4_in_ipv6[14] = 0x45
    for other in (frame(UDP, ethertype=0x0806), bytes(ipv4_in_ipv6)):
        with pytest.raises(MalformedError) as error:
            summarise(other)
        assert error.value.reason == "not-ipv6"


@given(st.integers(0, 255), st.binary(max_size=80))
def test_any_payload_is_summarised(next_header: int, payload: bytes):
    summary = summarise(frame(next_header, payload))
    assert (summary.source, summary.destination) == (MN1, MN2)
