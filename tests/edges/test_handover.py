"""Handovers are drawn evenly and repeatably; one is complete when everybody knows of it."""

import json
from collections import Counter
from dataclasses import asdict
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.handover import ACCESS_NETWORKS, Registrations, draw, who_must_know
from experiments.scenario import load
from mobivpn.variants import BestPath, GatewayBinding, Variants
from topologies.addresses import PLAN

COMPANY = PLAN.company
PEER = COMPANY.node("mn2").external_home_address
PEERS = ("2001:db8:ee::1", "2001:db8:5::5", "2001:db8:ee::d2")


def ways(seed: int, runs: int) -> list[tuple[str, str, str]]:
    """Return (node, from, to) of each handover that a seed draws."""
    here: dict[str, str] = {}
    found = []
    for change in draw(load("handover", {"seed": seed, "handovers": {"runs": runs}})):
        if change.node in here:
            found.append((change.node, here[change.node], change.to))
        here[change.node] = change.to
    return found


@pytest.mark.parametrize("seed", range(20))
def test_all_ordered_pairs_of_networks_come_up_for_both_nodes_about_equally_often(seed: int):
    used = Counter(ways(seed, 120))
    assert len(used) == 2 * len(ACCESS_NETWORKS) * (len(ACCESS_NETWORKS) - 1)
    assert max(used.values()) - min(used.values()) <= 2


def test_twenty_runs_come_by_every_ordered_pair_of_networks():
    for seed in range(20):
        pairs = {(origin, target) for _, origin, target in ways(seed, 20)}
        assert len(pairs) == len(ACCESS_NETWORKS) * (len(ACCESS_NETWORKS) - 1)


def test_a_handover_always_goes_elsewhere():
    assert all(origin != target for _, origin, target in ways(1, 200))


def test_the_seed_decides():
    assert ways(1, 40) == ways(1, 40)
    assert ways(1, 40) != ways(2, 40)


def test_pauses_are_within_the_scenarios():
    scenario = load("handover", {"handovers": {"pause_s": (0.5, 0.6)}})
    assert all(0.5 <= change.pause_s <= 0.6 for change in list(draw(scenario))[2:])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "mn1.events"
    path.touch()
    return path


def told(log: Path, time: float, phase: str, *peers: str) -> None:
    with log.open("a") as file:
        for peer in peers:
            event = {"event": "registration", "details": {"peer": peer, "phase": phase}}
            file.write(json.dumps({"time": time, **event}) + "\n")


def test_a_handover_is_complete_when_all_have_acknowledged_since(log: Path):
    registrations = Registrations(log, PEERS)
    told(log, 1.0, "registered", *PEERS)
    assert registrations.stand(1.0)
    assert not registrations.stand(2.0)
    told(log, 2.5, "registered", *PEERS[:2])
    assert not registrations.stand(2.0)
    told(log, 2.6, "registered", PEERS[2])
    assert registrations.stand(2.0)


def test_a_registration_that_begins_anew_does_not_stand(log: Path):
    registrations = Registrations(log, PEERS)
    told(log, 1.0, "registered", *PEERS)
    told(log, 1.1, "moved", PEERS[2])
    assert not registrations.stand(0.0)


@pytest.mark.parametrize(
    ("variants", "told"),
    [
        (Variants(), {COMPANY.home_agent, COMPANY.security_gateway, PEER}),
        (Variants(sg_binding=GatewayBinding.NO), {COMPANY.home_agent, PEER}),
        (
            Variants(best_path=BestPath.VIA_HOME_AGENTS),
            {COMPANY.home_agent, COMPANY.security_gateway},
        ),
    ],
)
def test_a_handover_waits_for_those_alone_whom_a_node_tells(
    variants: Variants, told: set[IPv6Address]
):
    scenario = load("handover", {name: one.value for name, one in asdict(variants).items()})
    assert set(who_must_know("mn2", scenario)) == {str(address) for address in told}
