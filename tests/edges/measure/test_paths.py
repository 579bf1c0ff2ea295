"""Which way a packet went where the system is not the seed's (experiments.paths, its bounds)."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.dissect import HomeAddress, Ipv6, Layer, RoutingHeader, Udp
from experiments.measure.bounds import Authorisation, move_bound, path_ms
from experiments.measure.timeline import Move
from experiments.network_plan import NetworkPlan, TunnelEnd, plan_from_run
from experiments.paths import PacketPath, path_of
from tests.support.packets import packed

SG, NODE, PEER, AGENT = (
    packed(a) for a in ("2001:db8:5::5", "2001:db8:1::1", "2001:db8:3::2", "2001:db8:ee::1")
)
PROBE = Udp(7007, 7007, bytes(64))
HEADERS = (RoutingHeader(2, 1, bytes(16)), HomeAddress(bytes(16)))
WIREGUARD = TunnelEnd(SG, frozenset({51820}))


@pytest.fixture
def hub(plan: NetworkPlan) -> NetworkPlan:
    return replace(plan, system="wireguard", tunnel_end=WIREGUARD)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((Ipv6(NODE, SG, 64), Udp(51820, 51820, b"")), PacketPath.VIA_GATEWAY),
        ((Ipv6(SG, NODE, 64), Udp(51820, 51820, b"")), PacketPath.VIA_GATEWAY),
        ((Ipv6(NODE, PEER, 64), Udp(51820, 51820, b"")), PacketPath.INSIDE),
        ((Ipv6(NODE, SG, 64), PROBE), PacketPath.INSIDE),
    ],
)
def test_what_is_of_another_systems_tunnel_went_by_its_hub(
    layers: tuple[Layer, ...], expected: PacketPath, hub: NetworkPlan, plan: NetworkPlan
):
    assert path_of(layers, hub) is expected
    assert path_of(layers, plan) is PacketPath.INSIDE


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((Ipv6(NODE, PEER, 64), *HEADERS, PROBE), PacketPath.DIRECT),
        ((Ipv6(NODE, PEER, 64), HEADERS[0], PROBE), PacketPath.VIA_HOME_AGENTS),
        ((Ipv6(AGENT, PEER, 64), Ipv6(NODE, PEER, 64), PROBE), PacketPath.VIA_HOME_AGENTS),
    ],
    ids=["both headers", "routing header", "tunnel"],
)
def test_plain_packets_are_direct_by_both_headers_of_route_optimisation(
    layers: tuple[Layer, ...], expected: PacketPath, plan: NetworkPlan
):
    assert path_of(layers, replace(plan, system="mip6")) is expected


def test_a_hub_turns_packets_round_by_itself(plan: NetworkPlan, hub: NetworkPlan):
    ways = [path_ms(PacketPath.VIA_GATEWAY, "wifi1", "cell", of) for of in (plan, hub)]
    assert ways[0] - ways[1] == pytest.approx(2 * plan.delay_ms["lan"])
    assert ways[1] == pytest.approx(sum(plan.delay_ms[n] for n in ("wifi1", "sg", "sg", "cell")))


def test_a_hub_alone_has_to_hear_that_a_node_has_left(plan: NetworkPlan, hub: NetworkPlan):
    move = Move("mn1", "lan", "wifi1", 0, 20_000_000)
    outside, inside = (
        [
            move_bound(move, there, PacketPath.VIA_GATEWAY, Authorisation.NO_TEST, of).inbound_ms
            for of in (plan, hub)
        ]
        for there in ("cell", "lan")
    )
    to_hub_and_back = 2 * (plan.delay_ms["wifi1"] + plan.delay_ms["sg"])
    assert outside[1] == pytest.approx(20 + to_hub_and_back)
    assert outside[0] > outside[1]
    assert inside[0] == inside[1]


def test_a_run_tells_of_its_system_and_of_its_tunnels(run_description: dict[str, Any]):
    described = run_description | {"variants": {"system": "wireguard"}, "tunnel_ports": [51820]}
    found = plan_from_run(described)
    assert found.tunnel_end == TunnelEnd(found.security_gateway, frozenset({51820}))
    assert not found.is_ours
    ours = plan_from_run(run_description)
    assert ours.is_ours
    assert ours.tunnel_end is None
    assert plan_from_run(run_description | {"variants": {"system": "mip6"}}).is_open
