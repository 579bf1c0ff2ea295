"""Transfers behind a walk: what iperf3 reaches between real kernels, against what headers leave."""

from collections.abc import Sequence

import pytest

from experiments.study.throughput import derive, values_of
from tests.support.runs import Run, asked

SLOW = """
name = "bulk"
summary = "Both leave, go direct, and fill the path"
duration_s = 3.0
traffic = {between = ["mn1", "mn2"]}
bulk = {tcp_s = 3, udp_s = 1}
move = [
    {at_s = 0.5, node = "mn2", to = "cell"},
    {at_s = 1.5, node = "mn1", to = "wifi1"},
]
[links]
wifi1 = {rate_mbit = 10}
cell = {rate_mbit = 10}
"""
BULK = asked("--no-page", written=("bulk.toml", SLOW))


@pytest.mark.runs(BULK)
def test_a_direct_path_is_filled_up_to_what_headers_leave(runs: Sequence[Run]):
    (run,) = runs
    assert run.failed == []
    udp, tcp = sorted(
        values_of(derive(run.folder)["rows"]), key=lambda v: v["protocol"], reverse=True
    )
    assert tcp["limit_mbit"] == pytest.approx(10 * 1280 / 1490)
    assert 0.98 <= tcp["goodput_over_limit"] <= 1.005
    assert udp["lost_packets"] == 0
    assert udp["goodput_over_limit"] == pytest.approx(0.95, abs=0.01)
    assert udp["frame_bytes"] == udp["computed_frame_bytes"] == 1490
    assert udp["sg_ext_in_bytes_per_byte"] + udp["sg_ext_out_bytes_per_byte"] <= 0.001
