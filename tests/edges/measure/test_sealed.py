"""Data in another system's tunnel, matched by time (experiments.measure.sealed)."""

import pytest

from experiments.dissect import Esp, Ipv6, Layer, Udp
from experiments.measure.sealed import WITHIN_NS, SealedPackets, Sighting, is_sealed_data
from experiments.paths import PacketPath

OUTER = Ipv6(bytes(16), bytes(16), 64)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (Esp(1, 1, False), True),
        (Esp(1, 1, True), False),
        (Udp(51820, 51820, b"\x04\0\0\0" + bytes(140)), True),
        (Udp(51820, 51820, b"\x04\0\0\0" + bytes(28)), False),
        (Udp(51820, 51820, b"\x01\0\0\0" + bytes(144)), False),
    ],
    ids=["closed ESP", "opened ESP", "data", "keepalive", "handshake"],
)
def test_data_is_told_from_what_else_a_tunnel_has(last: Layer, expected: bool):
    assert is_sealed_data((OUTER, last)) is expected


def seen(time_ns: int) -> Sighting:
    return Sighting(time_ns, PacketPath.VIA_GATEWAY, "cell", frame_bytes=206)


def test_what_is_sent_is_the_next_packet_on_the_link_and_what_arrives_the_last_one():
    sealed = SealedPackets()
    for time_ns in (1_000, 6_000, 9_000):
        sealed.add("mn1", True, seen(time_ns))
        sealed.add("mn1", False, seen(time_ns + 500))
    assert sealed.sent_at("mn1", 1_001) == seen(6_000)
    assert sealed.sent_at("mn1", 6_000) == seen(6_000)
    assert sealed.arrived_at("mn1", 6_499) == seen(1_500)
    assert sealed.arrived_at("mn1", 6_500) == seen(6_500)
    assert sealed.arrived_at("mn1", 1_000) is None
    assert sealed.sent_at("mn2", 1_000) is None


def test_what_is_on_the_link_at_another_time_is_something_else():
    sealed = SealedPackets()
    sealed.add("mn1", True, seen(10 * WITHIN_NS))
    assert sealed.sent_at("mn1", 9 * WITHIN_NS) == seen(10 * WITHIN_NS)
    assert sealed.sent_at("mn1", 9 * WITHIN_NS - 1) is None
