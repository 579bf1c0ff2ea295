"""The address plan and the default links, as run.json describes them."""

from typing import Any

import pytest

from experiments.network_plan import NetworkPlan, plan_from_run


@pytest.fixture
def run_description() -> dict[str, Any]:
    """Return a run.json of the default walk."""

    def link(delay_ms: float, rate_mbit: float) -> dict[str, float]:
        return {"delay_ms": delay_ms, "rate_mbit": rate_mbit, "loss_percent": 0}

    nodes = {
        f"mn{i}": {
            "internal_home_address": f"fd00:10::d{i}",
            "external_home_address": f"2001:db8:ee::d{i}",
        }
        for i in (1, 2, 3)
    }
    return {
        "schema": 1,
        "experiment": "walk",
        "embodiment": 1,
        "clock": "virtual",
        "seed": 1,
        "agent_delay_ms": 0,
        "versions": {"mobivpn": "0.1.0"},
        "links": {
            "lan": link(0.2, 1000),
            "sg": link(15, 100),
            "ha": link(20, 100),
            "wifi1": link(5, 50),
            "wifi2": link(8, 50),
            "cell": link(30, 20),
        },
        "addresses": {
            "vpn_prefixes": ["fd00:10::/64", "fd00:5::/64"],
            "security_gateway": "2001:db8:5::5",
            "security_gateway_inside": "fd00:5::5",
            "internal_router": "fd00:5::1",
            "vcm": "fd00:10::9",
            "home_agent": "2001:db8:ee::1",
            "signalling_port": 5202,
            "nodes": nodes,
        },
        "pair": ["mn1", "mn2"],
        "wall_seconds": 60.5,
    }


@pytest.fixture
def plan(run_description: dict[str, Any]) -> NetworkPlan:
    """Return the default plan."""
    return plan_from_run(run_description)
