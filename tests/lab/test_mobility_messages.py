"""Mobility messages that must not be, and home addresses that are taken: agents on real kernels.

The attacker is scapy, on the router of figure 1 in plain namespaces: it can send from any address,
and what is answered to addresses of the router comes back to it.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet6 import (
    HAO,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
)

from agents.configuration import Configuration, GivenAssociation, write
from agents.duplicate_detection import NEIGHBOUR_SOLICITATION, solicitation
from agents.mobility_socket import MobilityDatagram, MobilitySocket
from controllers.gateway_link import GatewayLink, agent_path, application_path
from mobivpn.host.associations import Purpose, share_of
from mobivpn.host.movement import Detached
from mobivpn.host.node_databases import Bindings, NodeDatabases
from mobivpn.ipsec.minting import SaPair
from mobivpn.ipsec.selector import host
from mobivpn.mip6 import codec
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingError,
    BindingUpdate,
    ErrorStatus,
    Message,
    Status,
)
from tests.support.company import COMPANY, MN1, MN2
from tests.support.namespaces import in_namespace
from tests.support.plain_network import CARE_OF, HA, SG, Plain, ip, outside, ping

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
ATTACKER = IPv6Address("2001:db8:5::1")
STRANGER = IPv6Address("2001:db8:77::77")
HOME1, HOME2 = MN1.external_home_address, MN2.external_home_address
WITHIN_S = 20.0
PARAMETER_PROBLEM = 4


def wait_for(what: str, condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WITHIN_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.02)
    return found


class Agents:
    """The agents of some hosts, as programs in their namespaces."""

    def __init__(self, plain: Plain, folder: Path, stack: ExitStack) -> None:
        self.plain, self._folder, self.stack = plain, folder, stack
        self.given = plain.node["mn1"].associations

    def start(self, name: str, role: str, node: str | None = None, **devices: str) -> None:
        path = self._folder / f"{name}.json"
        configuration = Configuration(
            role=role,
            name=name,
            company=COMPANY,
            associations=tuple(
                GivenAssociation(purpose, of, pair)
                for (purpose, of), pair in share_of(self.given, role, node).items()
            ),
            event_log=str(self._folder / f"{name}.events"),
            devices=devices,
            outside_router=IPv6Address("2001:db8:5::1"),
            gateway_socket=str(self._folder / "gateway.socket"),
        )
        write(configuration, path)
        log = (self._folder / f"{name}.log").open("wb")
        self.stack.callback(log.close)
        program = subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", f"agents.{role}", str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
            stdout=log,
            stderr=log,
        )
        self.stack.callback(program.wait)
        self.stack.callback(program.terminate)
        wait_for(f"agent of {name}", lambda: self.events(name, "agent_ready"))

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        path = self._folder / f"{name}.events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [e["details"] for e in map(json.loads, lines) if e["event"] == event]

    def home_agent(self) -> None:
        self.start("ha", "home_agent", home="eth0")

    def gateway(self) -> None:
        path = self._folder / "gateway.socket"
        link = GatewayLink(application_path(path), agent_path(path))
        self.stack.callback(link.file.close)
        self.start("sg", "security_gateway", inside="lan", outside="ext")

    def mobile_node(self) -> IPv6Address:
        """Start mn2's agent on its access network; return its care-of address."""
        self.start("mn2", "mobile_node", node="mn2", links="eth")
        advertisement = (
            IPv6(src="fe80::1", dst="ff02::1", hlim=255)
            / ICMPv6ND_RA(routerlifetime=1800)
            / ICMPv6NDOptPrefixInfo(prefix="2001:db8:2::", prefixlen=64)
        )
        send("inet", advertisement, "to2")
        (found,) = wait_for("a care-of address", lambda: self.events("mn2", "care_of_address"))
        return IPv6Address(found["care_of_address"])


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[Agents]:
    plain = Plain()
    with ExitStack() as stack:
        stack.callback(plain.close)
        yield Agents(plain, tmp_path, stack)


def send(namespace: str, packet: IPv6, device: str | None = None) -> None:
    """Let any packet out, from whatever address it says."""
    data = bytes(packet)
    with in_namespace(namespace):
        index = socket.if_nametoindex(device) if device else 0
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(data, (str(packet.dst), 0, 0, index))


class Listener:
    """A host's mobility socket, without an agent."""

    def __init__(self, agents: Agents, namespace: str) -> None:
        with in_namespace(namespace):
            self.socket = MobilitySocket()
        agents.stack.callback(self.socket.file.close)

    def next(self, within_s: float = 3.0) -> MobilityDatagram | None:
        self.socket.file.settimeout(within_s)
        try:
            return next(self.socket.read())
        except TimeoutError:
            return None

    def next_message(self, within_s: float = 3.0) -> Message | None:
        found = self.next(within_s)
        return None if found is None else codec.decode(found.data)

    def update(self, home: IPv6Address, peer: IPv6Address, message: BindingUpdate) -> None:
        self.socket.send(codec.encode(message, home, peer), home, peer)


class Icmp:
    """ICMPv6 as a host gets it."""

    def __init__(self, agents: Agents, namespace: str) -> None:
        with in_namespace(namespace):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            group = solicitation(HOME1)[1].packed
            for index, _ in socket.if_nameindex():
                membership = group + struct.pack("=I", index)
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        agents.stack.callback(self.socket.close)
        self.socket.settimeout(2.0)

    def of_type(self, kind: int) -> list[tuple[IPv6Address, bytes]]:
        """Return (source, message) of what comes within two seconds."""
        found: list[tuple[IPv6Address, bytes]] = []
        while True:
            try:
                data, source = self.socket.recvfrom(2048)
            except TimeoutError:
                return [(s, d) for s, d in found if d[0] == kind]
            found.append((IPv6Address(source[0].partition("%")[0]), data))


def registration(sequence: int, lifetime_s: int = 600, care_of: str = "mn1") -> BindingUpdate:
    return BindingUpdate(
        sequence,
        lifetime_s,
        home_registration=True,
        alternate_care_of_address=CARE_OF[care_of] if lifetime_s else None,
    )


def mobility(kind: int, data: bytes = bytes(2), payload: int = 59, units: int | None = None):
    """Return (source, destination) -> mobility header with a right checksum, whatever it says."""

    def made(source: IPv6Address, destination: IPv6Address) -> bytes:
        length = (6 + len(data)) // 8 - 1 if units is None else units
        header = struct.pack("!BBBBH", payload, length, kind, 0, 0) + data
        checksum = codec.mobility_checksum(source, destination, header)
        return header[:4] + checksum.to_bytes(2, "big") + header[6:]

    return made


def xfrm_errors(name: str) -> dict[str, int]:
    text = subprocess.run(
        ["ip", "netns", "exec", name, "cat", "/proc/net/xfrm_stat"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


# Section 10.3.1: duplicate address detection


def test_a_first_registration_is_bound_at_once_and_acknowledged_after_a_second(agents: Agents):
    agents.home_agent()
    agents.plain.put("mn1", agents.plain.node["mn1"].at(outside("mn1")))
    node, neighbour = Listener(agents, "mn1"), Icmp(agents, "inet")
    begun = time.monotonic()
    node.update(HOME1, HA, registration(1))
    wait_for("a binding", lambda: agents.events("ha", "home_binding_changed"))
    assert time.monotonic() - begun < 0.5
    assert node.next_message() == BindingAcknowledgement(Status.ACCEPTED, 1, 600)
    assert 0.9 < time.monotonic() - begun < 1.5
    (asked,) = [
        data[8:24]
        for source, data in neighbour.of_type(NEIGHBOUR_SOLICITATION)
        if source == IPv6Address("::")
    ]
    assert IPv6Address(asked) == HOME1
    node.update(HOME1, HA, registration(2))
    assert node.next_message(0.5) == BindingAcknowledgement(Status.ACCEPTED, 2, 600)


def claim_by_advertisement() -> None:
    neighbour = "fe80::bad"
    send(
        "inet",
        IPv6(src=neighbour, dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=str(HOME1), R=0, S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:99"),
        "toha",
    )


def claim_by_detection_of_its_own() -> None:
    send("inet", IPv6(solicitation(HOME1)[0]), "toha")


@pytest.mark.parametrize("claim", [claim_by_advertisement, claim_by_detection_of_its_own])
def test_a_duplicate_on_the_home_link_is_told_to_the_care_of_address(
    agents: Agents, claim: Callable[[], None]
):
    agents.home_agent()
    agents.plain.put("mn1", agents.plain.node["mn1"].at(outside("mn1")))
    node = Listener(agents, "mn1")
    node.update(HOME1, HA, registration(1))
    wait_for("a binding", lambda: agents.events("ha", "home_binding_changed"))
    claim()
    refusal = Status.DUPLICATE_ADDRESS_DETECTION_FAILED
    assert node.next_message() == BindingAcknowledgement(refusal, 1, 0)
    last = agents.events("ha", "home_binding_changed")[-1]
    assert last["care_of_address"] == "None"
    assert "to-mn1" not in ip("-n ha link show")


# Sections 10.4.1 and 10.4.5: interception


def test_the_home_agent_answers_for_a_node_that_is_away_and_not_for_one_that_is_back(
    agents: Agents,
):
    agents.home_agent()
    agents.plain.put("mn1", agents.plain.node["mn1"].at(outside("mn1")))
    node = Listener(agents, "mn1")
    ip(f"-n inet route del {HOME1}")
    node.update(HOME1, HA, registration(1))
    assert node.next_message() == BindingAcknowledgement(Status.ACCEPTED, 1, 600)
    # A neighbour finds the node where the home agent is, and reaches it.
    assert ping("inet", IPv6Address("2001:db8:ee::ff"), HOME1)
    own = json.loads(ip("-n ha -j link show eth0"))[0]["address"]
    assert own in ip(f"-n inet neighbour show {HOME1}")

    # The node comes back to its home link (section 11.5.5).
    ip("-n inet link set toha netns mn1")
    ip("-n mn1 link set toha up")
    ip(f"-n mn1 address add {HOME1}/128 dev toha nodad")
    agents.plain.put("mn1", agents.plain.node["mn1"].at(Detached()))
    ip(f"-n mn1 route add {HA} dev toha")
    node.update(HOME1, HA, registration(2, 0))
    assert node.next_message() == BindingAcknowledgement(Status.ACCEPTED, 2, 0)
    assert ip("-n ha neighbour show proxy") == ""
    assert ping("ha", HA, HOME1)


def test_a_nodes_tunnel_carries_nothing_in_the_name_of_another(agents: Agents):
    agents.plain.put("ha", agents.plain.home_agent.at(dict(CARE_OF)))
    heard = Icmp(agents, "inet")
    for inner in (HOME1, HOME2):
        echo = IPv6(src=str(inner), dst=str(ATTACKER)) / ICMPv6EchoRequest()
        send("inet", IPv6(src=str(CARE_OF["mn1"]), dst=str(HA)) / echo)
    assert [source for source, _ in heard.of_type(128)] == [HOME1]


# RFC 4877 section 4.1: nobody speaks for another


@pytest.mark.parametrize("peer", [HA, SG])
def test_an_update_for_somebody_elses_home_address_has_no_effect(agents: Agents, peer: IPv6Address):
    name, purpose = "ha", Purpose.NODE_HOME_AGENT
    if peer == SG:
        name, purpose = "sg", Purpose.NODE_GATEWAY_MOBILITY
        agents.gateway()
    else:
        agents.home_agent()
    own = agents.given[purpose, "mn1"]
    message = registration(1) if peer == HA else BindingUpdate(1, 600)

    # mn1 puts mn2's home address into packets under its own association.
    stolen = SaPair(
        replace(own.forward, source=HOME2, inner_source=host(HOME2)),
        replace(own.backward, destination=HOME2, inner_destination=host(HOME2)),
    )
    impostor = NodeDatabases(MN2, COMPANY, {**agents.given, (purpose, "mn2"): stolen})
    agents.plain.put("mn1", impostor.at(outside("mn1")))
    node = Listener(agents, "mn1")
    node.update(HOME2, peer, message)
    assert node.next(3.0) is None
    assert xfrm_errors(name)["XfrmInStateMismatch"] == 1
    assert not agents.events("ha", "home_binding_changed")
    assert not agents.events("sg", "sg_binding_changed")

    # In its own name the same association is good.
    agents.plain.put("mn1", agents.plain.node["mn1"].at(outside("mn1")))
    for sequence in (2, 3):
        node.update(HOME1, peer, replace(message, sequence=sequence))
    answer = node.next_message()
    assert isinstance(answer, BindingAcknowledgement)
    assert answer.status == Status.ACCEPTED


# Sections 9.3.1 and 9.3.3: a home address option without a binding


def to_node(care_of_address: IPv6Address) -> tuple[str, Any]:
    return str(care_of_address), IPv6ExtHdrRouting(type=2, segleft=1, addresses=[str(HOME2)])


@pytest.mark.parametrize("own", [HA, SG, HOME2, None])
def test_data_with_a_home_address_that_is_not_bound_is_answered_by_an_error_and_not_delivered(
    agents: Agents, own: IPv6Address | None
):
    agents.home_agent()
    where = {HA: "ha", SG: "sg"}.get(own, "mn2")
    route, destination = None, str(own)
    if where == "sg":
        agents.gateway()
    if where == "mn2":
        care_of_address = agents.mobile_node()
        wait_for("a binding", lambda: agents.events("ha", "home_binding_changed"))
        destination, route = to_node(care_of_address)
        if own is None:
            route, own = None, care_of_address
    attacker, delivered = Listener(agents, "inet"), Icmp(agents, where)
    headers = IPv6(src=str(ATTACKER), dst=destination)
    if route is not None:
        headers = headers / route
    option = IPv6ExtHdrDestOpt(options=[HAO(hoa=str(STRANGER))])
    send("inet", headers / option / ICMPv6EchoRequest())
    error = attacker.next()
    assert error is not None
    assert error.source == own
    assert codec.decode(error.data) == BindingError(ErrorStatus.UNKNOWN_BINDING, STRANGER)
    assert not [source for source, _ in delivered.of_type(128)]


def test_data_with_a_bound_home_address_is_taken_from_its_care_of_address_only(agents: Agents):
    plain = agents.plain
    plain.put("mn2", plain.node["mn2"].at(outside("mn2"), Bindings(peers=((HOME1, ATTACKER),))))
    delivered = Icmp(agents, "mn2")
    destination, route = to_node(CARE_OF["mn2"])
    for number, source in enumerate((ATTACKER, IPv6Address("2001:db8:ee::ff"))):
        send(
            "inet",
            IPv6(src=str(source), dst=destination)
            / route
            / IPv6ExtHdrDestOpt(options=[HAO(hoa=str(HOME1))])
            / ICMPv6EchoRequest(id=number),
        )
    assert [(source, data[4:6]) for source, data in delivered.of_type(128)] == [(HOME1, b"\0\0")]


# Section 9.2: what is no mobility header, or of no known type


@pytest.mark.parametrize(
    ("header", "pointer"),
    [
        (mobility(5, bytes(10), payload=6), 40),
        (mobility(5, bytes(2)), 41),
        (mobility(3, bytes(10)), 41),
    ],
    ids=["payload-protocol", "short-update", "short-test"],
)
def test_a_header_with_a_wrong_field_is_answered_by_the_kernel_with_a_parameter_problem(
    agents: Agents, header: Any, pointer: int
):
    agents.home_agent()
    heard = Icmp(agents, "inet")
    send("inet", IPv6(src=str(ATTACKER), dst=str(HA), nh=135) / header(ATTACKER, HA))
    problems = [data for _, data in heard.of_type(PARAMETER_PROBLEM)]
    assert [(d[1], struct.unpack_from("!I", d, 4)[0]) for d in problems] == [(0, pointer)]
    assert agents.events("ha", "mobility_dropped") == []


@pytest.mark.parametrize("units", [0, 7], ids=["checksum", "truncated"])
def test_the_kernel_drops_a_wrong_checksum_and_what_is_longer_than_its_packet(
    agents: Agents, units: int
):
    agents.home_agent()
    attacker = Listener(agents, "inet")
    header = bytearray(mobility(99, units=units)(ATTACKER, HA))
    if not units:
        header[4] ^= 1
    send("inet", IPv6(src=str(ATTACKER), dst=str(HA), nh=135) / bytes(header))
    assert attacker.next(2.0) is None


@pytest.mark.parametrize("own", [HA, SG, HOME2])
def test_a_message_of_unknown_type_is_answered_by_an_error(agents: Agents, own: IPv6Address):
    if own == SG:
        agents.gateway()
    else:
        agents.home_agent()
    if own == HOME2:
        agents.mobile_node()
        wait_for("a binding", lambda: agents.events("ha", "home_binding_changed"))
    attacker = Listener(agents, "inet")
    send("inet", IPv6(src=str(ATTACKER), dst=str(own), nh=135) / mobility(99)(ATTACKER, own))
    error = attacker.next_message()
    unspecified = IPv6Address("::")
    assert error == BindingError(ErrorStatus.UNRECOGNISED_MESSAGE_TYPE, unspecified)


def test_a_flood_of_bad_messages_is_one_line_a_second_and_leaves_the_agent_alive(agents: Agents):
    agents.home_agent()
    agents.plain.put("mn1", agents.plain.node["mn1"].at(outside("mn1")))
    packet = IPv6(src=str(ATTACKER), dst=str(HA), nh=135) / mobility(0)(ATTACKER, HA)
    begun = time.monotonic()
    for _ in range(100):
        send("inet", packet)
        time.sleep(0.02)
    lasted_s = time.monotonic() - begun

    def counted() -> int:
        return sum(d["not-for-a-home-agent"] for d in agents.events("ha", "mobility_dropped"))

    wait_for("the last drop", lambda: counted() == 100)
    assert len(agents.events("ha", "mobility_dropped")) <= lasted_s + 2
    node = Listener(agents, "mn1")
    node.update(HOME1, HA, registration(1))
    assert node.next_message() == BindingAcknowledgement(Status.ACCEPTED, 1, 600)
