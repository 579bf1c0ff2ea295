"""What headers leave, against frames that a real kernel has sent and against sums made by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.limits import Way, limit_mbit, tcp_payload_bytes, udp_payload_bytes
from experiments.network_plan import INSIDE
from experiments.paths import PacketPath
from experiments.pcapng import read_frames
from mobivpn.host.mtu import esp_bytes, esp_overhead, inner_mtu
from mobivpn.ipsec.sa import EspAlgorithm

CAPTURES = Path(__file__).parent.parent / "support" / "captures"
GCM, CBC = EspAlgorithm.AES256GCM16, EspAlgorithm.AES256_SHA256
ECHO = 40 + 8 + 56
"""An echo request of `ping`, as an inner packet: what the captures have."""
RATES = dict.fromkeys(("lan", "sg", "ha", "wifi1", "wifi2", "cell"), 100.0)


def way(path: PacketPath, places: tuple[str, str] = ("wifi1", "cell")) -> Way:
    return Way(path, (INSIDE, INSIDE) if path is PacketPath.INSIDE else places, GCM)


@pytest.mark.parametrize(
    ("capture", "path"),
    [("direct", PacketPath.DIRECT), ("home-agents", PacketPath.VIA_HOME_AGENTS)],
)
def test_frames_are_as_long_as_a_real_kernels(capture: str, path: PacketPath):
    sizes = {len(frame) for _, frame in read_frames(CAPTURES / f"{capture}.pcapng")}
    assert max(sizes) == way(path).frame_bytes(ECHO)


def test_the_gateways_frames_have_one_extension_more_than_those_of_nodes_that_do_not_move():
    sizes = {len(frame) for _, frame in read_frames(CAPTURES / "hairpin.pcapng")}
    assert sizes == {way(PacketPath.VIA_GATEWAY).frame_bytes(ECHO) - 24}


@pytest.mark.parametrize("algorithm", list(EspAlgorithm))
def test_esp_adds_no_more_than_its_greatest_overhead(algorithm: EspAlgorithm):
    more = [esp_bytes(algorithm, content) - content for content in range(60, 100)]
    assert max(more) == esp_overhead(algorithm)
    assert max(more) - min(more) == algorithm.transform.block_bytes - 1


def test_a_datagram_on_the_direct_path_by_hand():
    """1352 = 40 + 8 + 1304; ESP: 8 + 8 + 1352 + 2 + 2 of padding + 16; headers 40 + 24 + 24."""
    assert udp_payload_bytes() == 1304
    assert tcp_payload_bytes() == 1280
    frame = 14 + 88 + 8 + 8 + 1356 + 16
    assert way(PacketPath.DIRECT).frame_bytes(inner_mtu()) == frame
    assert limit_mbit(way(PacketPath.DIRECT), "udp", RATES) == pytest.approx(100 * 1304 / frame)
    assert limit_mbit(way(PacketPath.DIRECT), "tcp", RATES) == pytest.approx(100 * 1280 / frame)


def test_acknowledgements_share_a_direction_where_packets_turn_round():
    frame = 14 + 64 + 8 + 8 + 1356 + 16
    acknowledgement = 14 + 64 + 8 + 8 + 76 + 16
    limit = limit_mbit(way(PacketPath.VIA_GATEWAY), "tcp", RATES)
    assert limit == pytest.approx(100 * 1280 / (frame + acknowledgement / 2))
    together = limit_mbit(way(PacketPath.DIRECT, ("wifi1", "wifi1")), "tcp", RATES)
    assert together < limit_mbit(way(PacketPath.DIRECT), "tcp", RATES)


def test_the_narrowest_link_on_the_way_counts():
    rates = {**RATES, "cell": 20.0, "ha": 10.0}
    direct = limit_mbit(way(PacketPath.DIRECT), "udp", rates)
    assert direct == pytest.approx(limit_mbit(way(PacketPath.DIRECT), "udp", RATES) / 5)
    by_home_agents = limit_mbit(way(PacketPath.VIA_HOME_AGENTS), "udp", rates)
    assert by_home_agents == pytest.approx(
        limit_mbit(way(PacketPath.VIA_HOME_AGENTS), "udp", RATES) / 10
    )
    inside = limit_mbit(way(PacketPath.INSIDE), "udp", rates)
    assert inside == pytest.approx(100 * 1304 / (14 + 1352))


def test_transport_mode_saves_an_inner_header():
    for path in (PacketPath.DIRECT, PacketPath.VIA_HOME_AGENTS):
        tunnel, transport = way(path), replace(way(path), is_public=True)
        assert tunnel.frame_bytes(1352) - transport.frame_bytes(1352) == 40


def test_without_bindings_at_sg_packets_to_it_are_in_the_home_agents_tunnel():
    unbound = replace(way(PacketPath.VIA_GATEWAY), binds_at_gateway=False)
    assert unbound.frame_bytes(1352) - way(PacketPath.VIA_GATEWAY).frame_bytes(1352) == 40 - 24
    assert ("ha", True) in unbound.links()


def test_blocks_of_a_cipher_are_padded():
    padded = replace(way(PacketPath.DIRECT), algorithm=CBC)
    assert padded.frame_bytes(1352) == 14 + 88 + 8 + 16 + 1360 + 16
