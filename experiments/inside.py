"""What runs inside the lab: `python -m experiments.inside SPEC.json` (see experiments.runner).

Exit code 0 when the scenario was carried through; else the reason is the last line printed.
"""

import json
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments import handover, walk
from experiments.conductor import Conductor
from experiments.programs import TestbedError
from experiments.resultset import SCHEMA
from experiments.scenario import Scenario
from experiments.systems import systems
from experiments.testbed import Testbed, links_of
from topologies.addresses import EVE, INSIDE_LINK, fixed_mac
from vm import openvswitch
from vm.clock import Clock

EXPERIMENTS = {"walk": walk.run, "handover": handover.run}
PACKAGES = ("mininet", "ryu", "scapy", "cryptography", "matplotlib")


def describe(spec: dict[str, Any], scenario: Scenario) -> dict[str, Any]:
    """Return run.json: all that a reader of the results must know (docs/schema.md)."""
    plan = scenario.plan
    company = plan.company
    pairs = scenario.traffic.pairs
    ends = {node for pair in pairs for node in pair}
    other = systems.load(scenario.system)
    return {
        "schema": SCHEMA,
        "experiment": scenario.experiment,
        "scenario": scenario.model_dump(mode="json"),
        "embodiment": int(scenario.embodiment.value),
        "variants": {name: choice.value for name, choice in asdict(scenario.variants).items()},
        "clock": spec["clock"],
        "machine": spec["machine"],
        "seed": scenario.seed,
        "agent_delay_ms": scenario.agent_delay_ms,
        "binding_auth": scenario.binding_auth,
        "algorithms": {
            name: [algorithm.value for algorithm in scenario.algorithms_of(name)]
            for name in sorted(ends)
        },
        "signalling_loss_percent": scenario.signalling_loss_percent,
        "handover": scenario.handover,
        "versions": _versions(spec["revision"]),
        "links": {
            name: {
                "delay_ms": link.delay_ms,
                "rate_mbit": link.rate_mbit,
                "loss_percent": link.loss_percent,
            }
            for name, link in links_of(scenario).items()
        },
        "addresses": {
            "vpn_prefixes": [str(company.vpn_prefix)],
            "security_gateway": str(company.security_gateway),
            "security_gateway_inside": str(company.security_gateway_inside),
            "internal_router": str(company.internal_router),
            "vcm": str(company.vcm),
            "home_agent": str(company.home_agent),
            "signalling_port": company.signalling_port,
            "access_networks": {network.name: str(network.prefix) for network in plan.access},
            "fake_networks": {EVE: fixed_mac(INSIDE_LINK)} if scenario.visits_eve else {},
            "nodes": {
                node.name: {
                    "internal_home_address": str(node.internal_home_address),
                    "external_home_address": str(node.external_home_address),
                }
                for node in company.nodes
            },
        },
        "pair": list(pairs[0]),
        "other_pairs": [list(pair) for pair in pairs[1:]],
        "start": scenario.place_at_start,
        **({} if other is None else {"tunnel_ports": sorted(other.udp_ports)}),
        "moves": _moves(scenario),
    }


def _moves(scenario: Scenario) -> list[dict[str, str]]:
    """Return the moves of the nodes that talk."""
    ends = {node for pair in scenario.traffic.pairs for node in pair}
    changes = scenario.move if scenario.handovers is None else handover.draw(scenario)
    return [{"node": c.node, "to": c.to} for c in changes if c.node in ends]


def _versions(revision: str) -> dict[str, str]:
    switch = subprocess.run(
        ["ovs-vswitchd", "--version"], capture_output=True, text=True, check=True
    ).stdout.split("\n")[0]
    return {
        "mobivpn": version("mobivpn") if _installed("mobivpn") else "checkout",
        "revision": revision,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openvswitch": switch.rpartition(" ")[2],
        **{name: version(name) for name in PACKAGES},
    }


def _installed(name: str) -> bool:
    try:
        version(name)
    except ModuleNotFoundError:
        return False
    return True


def carry_out(spec: dict[str, Any]) -> None:
    """Run the scenario of a spec, or its topology with a prompt."""
    scenario = Scenario.model_validate(spec["scenario"])
    results = Path(spec["results"])
    with (
        tempfile.TemporaryDirectory(prefix="mobivpn-", dir="/run") as scratch,
        openvswitch.running(),
    ):
        if spec["interactive"]:
            _prompt(scenario, results, Path(scratch))
            return
        run = describe(spec, scenario)
        path = results / "run.json"
        path.write_text(json.dumps(run, indent=2))
        if spec["requests"] is None:
            run["time_zero"] = EXPERIMENTS[scenario.experiment](scenario, results, Path(scratch))
        else:
            is_virtual = spec["clock"] == Clock.VIRTUAL.value
            conductor = Conductor(Path(spec["requests"]), is_virtual)
            run["time_zero"] = walk.run(scenario, results, Path(scratch), conductor)
            made = conductor.made(scenario)
            run |= {"scenario": made.model_dump(mode="json"), "moves": _moves(made)}
            run["conducted"] = True
        path.write_text(json.dumps(run, indent=2))


def _prompt(scenario: Scenario, results: Path, scratch: Path) -> None:
    from mininet.cli import CLI
    from mininet.log import setLogLevel

    with Testbed(scenario, results, scratch) as testbed:
        # What its commands print goes through its log.
        setLogLevel("info")
        CLI(testbed.net)
        setLogLevel("error")


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    try:
        carry_out(json.loads(Path(arguments[0]).read_text()))
    except TestbedError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
