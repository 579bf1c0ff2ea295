"""Whom a packet on an interface tells of (agents.source_watch)."""

from ipaddress import IPv6Address

from agents.source_watch import senders
from tests.support.packets import icmpv6, ipv6, packed, udp

NODE, ROUTER, PEER = "fd00:10::d1", "fe80::1", "fd00:10::d2"


def test_a_packet_tells_of_its_source():
    _, packet = ipv6(NODE, PEER, udp(7007, 7007, bytes(8)))
    assert list(senders(packet)) == [IPv6Address(NODE)]


def test_an_advertisement_tells_of_its_target_as_well():
    _, packet = ipv6(ROUTER, "ff02::1", icmpv6(136, 0, b"\x20\0\0\0" + packed(NODE)))
    assert list(senders(packet)) == [IPv6Address(ROUTER), IPv6Address(NODE)]


def test_other_icmp_and_what_is_cut_short_tell_of_no_target():
    _, solicitation = ipv6(ROUTER, "ff02::1", icmpv6(135, 0, bytes(4) + packed(NODE)))
    assert list(senders(solicitation)) == [IPv6Address(ROUTER)]
    _, short = ipv6(ROUTER, "ff02::1", icmpv6(136, 0, bytes(4)))
    assert list(senders(short)) == [IPv6Address(ROUTER)]
    assert list(senders(short[:20])) == []
