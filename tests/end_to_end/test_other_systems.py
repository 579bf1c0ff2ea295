"""Other VPNs on the same network: a node leaves, changes networks and comes home; all is told."""

from collections.abc import Sequence

import pytest

from experiments.resultset import ResultSet
from experiments.second_opinion import clear_text_by_tshark
from mobivpn.variants import System
from tests.support.runs import Run, asked

SHORT = """
name = "other"
summary = "Both leave, one changes networks, both come home"
duration_s = 8.5
traffic = {between = ["mn1", "mn2"], probe_interval_ms = 20}
move = [
    {at_s = 1.0, node = "mn2", to = "cell"},
    {at_s = 2.0, node = "mn1", to = "wifi1"},
    {at_s = 3.5, node = "mn1", to = "wifi2"},
    {at_s = 5.5, node = "mn1", to = "lan", attach = "new"},
    {at_s = 7.0, node = "mn2", to = "lan"},
]
"""
RUNS = {
    system: asked("--no-page", "--system", system.value, written=("other.toml", SHORT))
    for system in System
    if system.is_foreign
}
EXPECTED = {
    System.WIREGUARD: ("via_gateway", 40 + 8 + 16 + 16),
    System.STRONGSWAN: ("via_gateway", 40 + 36),
    System.MIP6: ("direct", 24 + 24),
}
"""Path and overhead outside: IPv6, UDP and WireGuard's own (112 bytes need no padding); IPv6 and
ESP of AES-GCM; the two headers of route optimisation."""


@pytest.mark.parametrize(
    "system", [pytest.param(s, marks=pytest.mark.runs(one)) for s, one in RUNS.items()]
)
def test_another_system_carries_a_walk_on_its_path_and_is_measured(
    system: System, runs: Sequence[Run]
):
    (run,) = runs
    assert run.failed == []
    best, overhead = EXPECTED[system]
    clear = sum(clear_text_by_tshark(run.folder).values())
    assert clear == run.summary["clear_text_packets_outside"]
    assert (clear > 0) is (system is System.MIP6)
    probes = list(ResultSet(run.folder).load_table("probes"))
    outside = [
        p
        for p in probes
        if p["phase"] == best
        and p["path"]
        and "lan" not in (p["sender_place"], p["receiver_place"])
    ]
    on_path = [p for p in outside if p["path"] == best]
    assert len(on_path) >= 0.9 * len(outside) > 0
    assert {int(p["overhead_bytes"]) for p in on_path} == {overhead}
    moves = list(ResultSet(run.folder).load_table("moves"))
    assert all(m["outbound_gap_ms"] and m["inbound_gap_ms"] for m in moves)
    assert sum(int(m["lost"]) for m in moves) > 0
