"""Duplicate address detection as the kernel does it: a node goes on where its address is taken."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments.programs import wait_until
from experiments.scenario import load
from experiments.testbed import Testbed
from mobivpn.host.movement import interface_identifier
from topologies.addresses import PLAN
from topologies.topo import fixed_mac, in_host
from vm import openvswitch

pytestmark = [
    pytest.mark.lab,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NETWORK = next(network for network in PLAN.access if network.name == "wifi1")
HARDWARE_ADDRESS = bytes.fromhex(fixed_mac("mn1-eth0").replace(":", ""))
FIRST, SECOND = (
    NETWORK.prefix[interface_identifier(HARDWARE_ADDRESS, duplicates)] for duplicates in (0, 1)
)
WITHIN_S = 10.0
GAP_MS = 20.0
"""Open vSwitch needs a moment to forget where a port's packets went before."""


class Lab:
    """A testbed whose mn3 sits in wifi1 with the address that mn1 will want there."""

    def __init__(self, testbed: Testbed, scratch: Path) -> None:
        self.testbed, self._scratch = testbed, scratch
        testbed.attachment.move("mn3", NETWORK.name, GAP_MS)
        device = testbed.attachment.interface("mn3")
        in_host(testbed.host("mn3"), f"ip address add {FIRST}/128 dev {device} nodad\n")

    def run(self, host: str, *command: str) -> str:
        process = self.testbed.host(host).popen(list(command), stdout=subprocess.PIPE)
        return str(process.communicate()[0].decode())

    def addresses(self) -> str:
        return self.run("mn1", "ip", "-6", "address", "show", "scope", "global")

    def events(self, name: str) -> list[dict[str, Any]]:
        path = self._scratch / f"{name}.events"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def told(self, host: str, event: str) -> list[str]:
        """Return the care-of addresses of mn1 that a host has logged events of."""
        details = (e["details"] for e in self.events(host) if e["event"] == event)
        return [d["care_of_address"] for d in details if d.get("node", host) in ("mn1", host)]

    def bound_to(self, address: object) -> set[str]:
        """Return whose kernels send to this care-of address."""
        home = PLAN.company.node("mn1").external_home_address
        (way,) = json.loads(self.run("ha", "ip", "-json", "-6", "route", "get", str(home)))
        told = {
            "ha": self.run("ha", "ip", "-6", "tunnel", "show", way["dev"]),
            "sg": self.run("sg", "ip", "-6", "xfrm", "state", "list", "nokeys"),
        }
        return {host for host, text in told.items() if str(address) in text.split()}


@pytest.fixture(scope="module", params=["hard", "classic"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    scratch = tmp_path_factory.mktemp("scratch")
    scenario = load("walk", {"handover": request.param})
    with (
        openvswitch.running(),
        Testbed(scenario, tmp_path_factory.mktemp("results"), scratch) as testbed,
    ):
        yield Lab(testbed, scratch)


def test_a_node_whose_address_is_taken_goes_on_with_another_one(lab: Lab):
    moved_at = time.time()
    lab.testbed.attachment.move("mn1", NETWORK.name, GAP_MS)
    for host, event in (("ha", "home_binding_changed"), ("sg", "sg_binding_changed")):
        wait_until(event, lambda h=host, e=event: str(SECOND) in lab.told(h, e), WITHIN_S)
    assert lab.bound_to(SECOND) == {"ha", "sg"}
    assert lab.bound_to(FIRST) == set()
    assert f"{SECOND}/128" in lab.addresses()
    assert str(FIRST) not in lab.addresses()
    found = [e["details"] for e in lab.events("mn1") if e["event"] == "address_duplicate"]
    assert [details["address"] for details in found] == [str(FIRST)]
    settled = [e for e in lab.events("mn1") if e["event"] == "care_of_address"]
    classic = lab.testbed.scenario.handover == "classic"
    # One that waits has not even tried to use the address that it could not have.
    assert [e["details"]["care_of_address"] for e in settled] == [
        *([] if classic else [str(FIRST)]),
        str(SECOND),
    ]
    assert (settled[-1]["time"] - moved_at >= 1.0) is classic
    own = PLAN.company.node("mn1").internal_home_address
    answer = lab.run("mn1", "ping", "-c", "2", "-I", str(own), str(PLAN.company.vcm))
    assert "2 received" in answer


def test_a_router_that_looks_for_a_node_hears_of_its_new_address_at_once(lab: Lab):
    """Packets for a node that is not there yet: the router asks for it each second (RFC 4861)."""
    cell = next(network for network in PLAN.access if network.name == "cell")
    own = bytes.fromhex(fixed_mac("mn2-eth0").replace(":", ""))
    address = cell.prefix[interface_identifier(own, 0)]
    neighbour = ("ip", "-json", "-6", "neighbour", "show", str(address), "dev", "cell-lan")
    waiting = lab.testbed.host("cell").popen(["ping", "-c", "1", "-W", "5", str(address)])
    time.sleep(0.3)
    assert [entry["state"] for entry in json.loads(lab.run("cell", *neighbour))] == [["INCOMPLETE"]]
    lab.testbed.attachment.move("mn2", cell.name, GAP_MS)
    time.sleep(0.1)
    (entry,) = json.loads(lab.run("cell", *neighbour))
    waiting.kill()
    # The classic one still waits for the router, or for its address: it has nothing to say yet.
    assert ("lladdr" in entry) is (lab.testbed.scenario.handover == "hard")
