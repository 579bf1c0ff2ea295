"""Router advertisements under the kernel's AH: which ones an agent is told to believe.

Two namespaces and a link: r22's kernel signs as its databases say, the node's verifies, and between
the two an attacker plays what it likes. Every test ends with an advertisement in clear, which is
heard: what was sent before it, and is not heard by then, was dropped.
"""

import select
import socket
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address, IPv6Network

import pytest

from agents.kernel import Kernel
from agents.key_log import KeyLog
from agents.neighbour_discovery import NeighbourDiscovery, RouterHeard
from mobivpn.host.advertisements import (
    VERIFIED_MARK,
    heard_under,
    mint_advertisements,
    sent_under,
)
from mobivpn.ipsec.databases import Entry, difference
from mobivpn.ipsec.sa import AuthenticationAssociation, Spi
from mobivpn.ipsec.selector import host
from tests.support.company import DifferentBytes
from tests.support.namespaces import in_namespace

pytestmark = pytest.mark.lab

R22, OTHER = IPv6Address("fe80::22"), IPv6Address("fe80::bad")
PREFIX = IPv6Network("fd00:10::/64")
ASSOCIATION = mint_advertisements(R22, DifferentBytes())
ALL_NODES = "ff02::1"
NAMES = ("inside", "node")
UNHEARD = "eth1"
"""An interface of r22 to where the node does not listen."""
WITHIN_S = 10.0
ETH_P_ALL = 3
"""What leaves is seen only by sockets for all protocols, packet(7)."""
AH, ICMPV6 = 51, 58
NEXT_HEADER = 14 + 6
FENCE_LIFETIME_S = 9
HANDED_ON_WITHIN_S = 0.2
"""What it has verified the kernel hands on in a task of its own: one in clear can overtake it."""


def ip(name: str, arguments: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["ip", "-6", "-n", name, *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def must(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def packet_socket(device: str) -> socket.socket:
    """Return a socket that sees what leaves by a device, and can put frames there."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind((device, ETH_P_ALL))
    wire.settimeout(WITHIN_S)
    return wire


class Link:
    """r22 and a node on one link."""

    def __init__(self) -> None:
        for name in NAMES:
            must("ip", "netns", "add", name)
            for key in ("accept_dad", "accept_ra", "router_solicitations"):
                for where in ("all", "default"):
                    setting = f"net.ipv6.conf.{where}.{key}=0"
                    must("ip", "netns", "exec", name, "sysctl", "-wq", setting)
        for device, far, far_end in (("eth0", "node", "eth0"), (UNHEARD, "inside", "eth2")):
            must(
                *f"ip link add {device} netns inside type veth".split(),
                *f"peer name {far_end} netns {far}".split(),
            )
            for name, interface in (("inside", device), (far, far_end)):
                must("ip", "-n", name, "link", "set", interface, "addrgenmode", "none", "up")
        self.kernels = {name: Kernel(KeyLog(None), partial(ip, name)) for name in NAMES}
        self._held: tuple[Entry, ...] = ()
        for address, device in ((R22, "eth0"), (R22, UNHEARD), (OTHER, "eth0")):
            must(*f"ip -n inside address add {address}/64 dev {device} nodad".split())
        must(*["ip", "-n", "node", "address", "add", "fe80::d1/64", "dev", "eth0", "nodad"])
        self.kernels["node"].apply(difference((), (heard_under(ASSOCIATION),)))
        with in_namespace("node"):
            self.discovery = NeighbourDiscovery(VERIFIED_MARK)
        with in_namespace("inside"):
            self.wires = {device: packet_socket(device) for device in ("eth0", UNHEARD)}

    def sign(self, association: AuthenticationAssociation | None) -> None:
        """Let r22 sign with an association from now on, or with none."""
        wanted: tuple[Entry, ...] = ()
        if association is not None:
            (held, policy), (_, other) = (sent_under(association, device) for device in self.wires)
            wanted = (held, policy, other)
        self.kernels["inside"].apply(difference(self._held, wanted))
        self._held = wanted

    def advertise(
        self, source: IPv6Address = R22, lifetime_s: int = 1800, device: str = "eth0"
    ) -> bytes:
        """Let r22's kernel send an advertisement; return the frame."""
        option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0)
        body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, lifetime_s, 0, 0) + option
        return self.send(body + PREFIX.network_address.packed, source, device)

    def send(self, message: bytes, source: IPv6Address = R22, device: str = "eth0") -> bytes:
        """Let r22's kernel send an ICMPv6 message to all nodes; return the frame."""
        with in_namespace("inside"):
            index = socket.if_nametoindex(device)
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, ICMPV6) as sender:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
                sender.bind((str(source), 0, 0, index))
                sender.sendto(message, (ALL_NODES, 0, 0, index))
        while True:
            frame = self.wires[device].recv(2048)
            # Other ICMPv6 on a young link is multicast listener reports, to other groups.
            if frame[14 + 24 : 14 + 40] == IPv6Address(ALL_NODES).packed:
                return frame

    def heard(self) -> list[RouterHeard]:
        """Return what the node's agent hears, but for the advertisement in clear that ends it."""
        self.sign(None)
        self.advertise(lifetime_s=FENCE_LIFETIME_S)
        found: list[RouterHeard] = []
        wait_s = WITHIN_S
        with in_namespace("node"):
            while select.select([self.discovery.file], [], [], wait_s)[0]:
                found += self.discovery.read()
                if RouterHeard("eth0", R22, (PREFIX,), FENCE_LIFETIME_S) in found:
                    wait_s = HANDED_ON_WITHIN_S
        found.remove(RouterHeard("eth0", R22, (PREFIX,), FENCE_LIFETIME_S))
        return found


@pytest.fixture
def link() -> Iterator[Link]:
    try:
        made = Link()
        yield made
        for wire in made.wires.values():
            wire.close()
        made.discovery.file.close()
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def test_an_advertisement_that_ah_has_verified_is_believed(link: Link):
    link.sign(ASSOCIATION)
    frame = link.advertise()
    assert frame[NEXT_HEADER] == AH
    assert link.heard() == [RouterHeard("eth0", R22, (PREFIX,), 1800, verified=True)]


def test_one_in_clear_is_heard_and_not_believed(link: Link):
    assert link.advertise()[NEXT_HEADER] == ICMPV6
    assert link.heard() == [RouterHeard("eth0", R22, (PREFIX,), 1800, verified=False)]


@pytest.mark.parametrize(
    "forged",
    [
        replace(ASSOCIATION, key=bytes(32)),
        replace(ASSOCIATION, spi=Spi(ASSOCIATION.spi + 1)),
    ],
    ids=["wrong key", "unknown SPI"],
)
def test_a_forged_one_never_leaves_the_kernel(link: Link, forged: AuthenticationAssociation):
    link.sign(forged)
    assert link.advertise()[NEXT_HEADER] == AH
    assert link.heard() == []


def test_what_was_changed_under_way_never_leaves_the_kernel(link: Link):
    link.sign(ASSOCIATION)
    frame = bytearray(link.advertise())
    link.heard()
    frame[-1] ^= 1  # the prefix
    # The next sequence number, so that it is not refused for being old.
    position = NEXT_HEADER - 6 + 40 + 8
    (sequence,) = struct.unpack_from("!I", frame, position)
    struct.pack_into("!I", frame, position, sequence + 1)
    link.wires["eth0"].send(frame)
    assert link.heard() == []


def test_a_replayed_one_never_leaves_the_kernel(link: Link):
    link.sign(ASSOCIATION)
    frame = link.advertise()
    assert [heard.verified for heard in link.heard()] == [True]
    link.wires["eth0"].send(frame)
    assert link.heard() == []


def test_one_that_the_node_has_not_heard_can_be_shown_to_it_once(link: Link):
    """What docs/concepts/fake-network.md says is left."""
    link.sign(ASSOCIATION)
    recorded = link.advertise(device=UNHEARD)
    assert link.heard() == []
    link.wires["eth0"].send(recorded)
    assert [heard.verified for heard in link.heard()] == [True]
    link.wires["eth0"].send(recorded)
    assert link.heard() == []


def test_one_that_the_node_has_not_heard_is_of_no_use_once_it_is_too_old(link: Link):
    link.sign(ASSOCIATION)
    recorded = link.advertise(device=UNHEARD)
    for _ in range(ASSOCIATION.anti_replay_window):
        link.advertise()
    assert {heard.verified for heard in link.heard()} == {True}
    link.wires["eth0"].send(recorded)
    assert link.heard() == []


def test_the_association_speaks_for_no_other_router(link: Link):
    other = replace(
        ASSOCIATION,
        source=OTHER,
        selector=replace(ASSOCIATION.selector, remote_prefix=host(OTHER)),
    )
    link.sign(other)
    assert link.advertise(OTHER)[NEXT_HEADER] == AH
    assert link.heard() == []


def test_what_else_the_router_tells_all_nodes_goes_in_clear(link: Link):
    link.sign(ASSOCIATION)
    advertisement = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + PREFIX[0xD1].packed
    assert link.send(advertisement)[NEXT_HEADER] == ICMPV6
