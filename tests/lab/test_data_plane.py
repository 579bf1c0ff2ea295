"""The kernel agrees with the databases: every path of the seed's figure 2, one ping each.

No agents and no Mininet here: namespaces, the core's databases carried in by `agents.kernel`, and
what the packets do. Delays are left out; what is asserted is the way a packet takes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from agents.key_log import KeyLog
from experiments.dissect import ETHERNET_BYTES, Dissector, Fragment, Icmpv6
from experiments.esp_keys import read_esp_sa
from experiments.pcapng import read_frames
from mobivpn.host.associations import FIRST_PAIR_REQID
from mobivpn.host.keyring import Keyring
from mobivpn.host.movement import Detached, Inside, Outside
from mobivpn.host.mtu import (
    HOME_ADDRESS_OPTION,
    IPV6_HEADER,
    ROUTING_HEADER_TYPE_2,
    esp_overhead,
)
from mobivpn.host.node_databases import Bindings, DirectPair
from mobivpn.ipsec.databases import Databases
from mobivpn.ipsec.minting import plan_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.ipsec.selector import host
from mobivpn.signalling.messages import SaOffer
from mobivpn.variants import KeyScheme, VcmPlace
from mobivpn.vcm.secrets import make_secrets
from tests.support.company import COMPANY, MN1, MN2
from tests.support.plain_network import CARE_OF, HA, HOSTS, SG, Plain, in_host, ip, outside, ping

pytestmark = pytest.mark.lab

ICMPV6_HEADER = 8
ECHO = (128, 129)
"""ICMPv6's types of a request and its reply."""


@pytest.fixture
def plain() -> Iterator[Plain]:
    network = Plain()
    yield network
    network.close()


@pytest.fixture
def vcm_in_sg() -> Iterator[Plain]:
    network = Plain(replace(COMPANY, vcm_at=VcmPlace.GATEWAY))
    yield network
    network.close()


class Watch:
    """What comes to a router while the block runs, as (outer source and destination, protocols)."""

    def __init__(self, tmp_path: os.PathLike[str], router: str = "inet") -> None:
        self.path = os.fspath(tmp_path) + f"/{router}.pcap"
        self.router = router

    def __enter__(self) -> "Watch":
        self.process = subprocess.Popen(
            [
                *(
                    "ip",
                    "netns",
                    "exec",
                    self.router,
                    "tcpdump",
                    "-U",
                    "-n",
                    "-i",
                    "any",
                    "-Q",
                    "in",
                ),
                *("-w", self.path, "ip6 and not (ip6 multicast or (icmp6 and ip6[40] >= 133))"),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        while "listening on" not in (line := self.process.stderr.readline()):
            assert line, "tcpdump ended before it began"
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["sleep", "2"], check=True)
        self.process.terminate()
        self.process.communicate()

    def packets(self) -> list[tuple[str, str, str]]:
        out = subprocess.run(
            [
                *("tshark", "-r", self.path, "-T", "fields", "-E", "occurrence=f"),
                *("-e", "ipv6.src", "-e", "ipv6.dst", "-e", "frame.protocols"),
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return [
            (source, destination, protocols.split("ipv6", 1)[1])
            for source, destination, protocols in (line.split("\t") for line in out.splitlines())
        ]


class Capture:
    """Whole frames on mn1's access network, as the testbed captures them."""

    def __init__(self, path: Path) -> None:
        self._command = [
            *("ip", "netns", "exec", "inet", "dumpcap", "-q", "-i", "to1"),
            *("-f", "ip6 and not icmp6", "-w", str(path)),
        ]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        while "File:" not in (line := self._process.stderr.readline()):
            assert line, "dumpcap ended before it began"

    def __exit__(self, *_: object) -> None:
        subprocess.run(["sleep", "2"], check=True)
        self._process.terminate()
        self._process.communicate()


def dropped() -> list[str]:
    """What XFRM counted as an error anywhere, for the reader of a failure."""
    return [
        f"{name} {line}"
        for name in HOSTS
        for line in in_host(name, "cat", "/proc/net/xfrm_stat").splitlines()
        if not line.endswith("\t0")
    ]


def test_a_bound_node_reaches_the_vcm_through_the_gateway(plain: Plain, tmp_path):
    plain.leave(bound=True)
    with Watch(tmp_path) as watch:
        assert ping("mn1", MN1.internal_home_address, COMPANY.vcm), dropped()
    assert {(s, d) for s, d, _ in watch.packets()} == {
        (str(CARE_OF["mn1"]), str(SG)),
        (str(SG), str(CARE_OF["mn1"])),
    }
    assert all("esp" in protocols for _, _, protocols in watch.packets())


@pytest.mark.parametrize("bound", [True, False])
def test_a_vcm_in_sg_and_a_node_outside_speak_under_the_mn_sg_association(
    vcm_in_sg: Plain, tmp_path, bound: bool
):
    vcm_in_sg.leave(bound=bound)
    with Watch(tmp_path) as watch, Watch(tmp_path, "r22") as inside:
        assert ping("mn1", MN1.internal_home_address, COMPANY.vcm), dropped()
        assert ping("sg", COMPANY.vcm, MN1.internal_home_address), dropped()
    packets = watch.packets()
    assert len(packets) >= 4
    assert all("esp" in protocols for _, _, protocols in packets)
    assert inside.packets() == []


def test_a_vcm_in_sg_and_whoever_has_no_association_never_speak(vcm_in_sg: Plain):
    """Before the policies stand, all of it would arrive."""
    file_server, inside = IPv6Address("fd00:10::16"), COMPANY.security_gateway_inside
    ip("-n r22 route add fd00:10::9 via fd00:5::5")
    ip("-n vcm route add fd00:10::9 via fd00:10::1")
    spoken = [("vcm", file_server, COMPANY.vcm), ("sg", COMPANY.vcm, file_server)]
    spoken.append(("sg", inside, COMPANY.vcm))
    assert all(ping(*said) for said in spoken), dropped()
    vcm_in_sg.put("sg", vcm_in_sg.gateway.at({"mn1": CARE_OF["mn1"]}))
    assert not any(ping(*said) for said in spoken)


def test_without_a_binding_at_sg_the_home_agent_carries_the_traffic(plain: Plain, tmp_path):
    plain.leave(bound=False)
    with Watch(tmp_path) as watch:
        assert ping("mn1", MN1.internal_home_address, COMPANY.vcm), dropped()
    ends = {(s, d) for s, d, _ in watch.packets()}
    assert (str(CARE_OF["mn1"]), str(HA)) in ends
    assert (str(HA), str(CARE_OF["mn1"])) in ends
    assert (str(CARE_OF["mn1"]), str(SG)) not in ends


def test_two_nodes_outside_talk_by_the_hairpin_and_the_lan_side_sees_it(plain: Plain, tmp_path):
    plain.leave(bound=True)
    before = in_host("r22", "cat", "/sys/class/net/tosg/statistics/rx_packets")
    assert ping("mn1", MN1.internal_home_address, MN2.internal_home_address), dropped()
    after = in_host("r22", "cat", "/sys/class/net/tosg/statistics/rx_packets")
    assert int(after) - int(before) >= 2


def direct(
    plain: Plain,
    *,
    optimised: bool,
    algorithm: EspAlgorithm = EspAlgorithm.AES128GCM16,
    scheme: KeyScheme = KeyScheme.SEPARATE,
) -> dict[str, DirectPair]:
    """Give both nodes a direct pair; return each one's end of it."""
    plan = plan_pair(
        "pair1.1",
        FIRST_PAIR_REQID,
        MN1.external_home_address,
        MN2.external_home_address,
        Mode.TUNNEL,
        algorithm,
        os.urandom,
        inner=(host(MN1.internal_home_address), host(MN2.internal_home_address)),
    )
    own_keys = os.urandom if scheme is KeyScheme.BLIND else None
    keyrings = Keyring([algorithm], own_keys), Keyring([algorithm], own_keys)
    proposals = keyrings[0].proposal(0.0), keyrings[1].proposal(0.0)
    secrets = make_secrets(scheme, algorithm, proposals, os.urandom)
    ends: dict[str, DirectPair] = {}
    for me, peer, sends, receives, keyring, keys in (
        (MN1, MN2, plan.forward, plan.backward, keyrings[0], secrets[0]),
        (MN2, MN1, plan.backward, plan.forward, keyrings[1], secrets[1]),
    ):
        homes = peer.internal_home_address, peer.external_home_address
        receiving, sending = keyring.associations(
            SaOffer(1, 1, *homes, receives, sends, keys, 3600)
        )
        bindings = Bindings(optimised=frozenset({SG}))
        if optimised:
            home = peer.external_home_address
            bindings = replace(
                bindings,
                optimised=frozenset({SG, home}),
                peers=((home, CARE_OF[peer.name]),),
            )
        ends[me.name] = DirectPair(peer, (receiving,), sending)
        plain.put(me.name, plain.node[me.name].at(outside(me.name), bindings, [ends[me.name]]))
    return ends


def test_first_packets_of_a_direct_pair_go_through_the_home_agents(plain: Plain, tmp_path):
    plain.leave(bound=True)
    direct(plain, optimised=False)
    with Watch(tmp_path) as watch:
        assert ping("mn1", MN1.internal_home_address, MN2.internal_home_address), dropped()
    ends = {(s, d) for s, d, _ in watch.packets()}
    assert (str(CARE_OF["mn1"]), str(HA)) in ends
    assert (str(HA), str(CARE_OF["mn2"])) in ends


def test_with_bindings_a_direct_pair_goes_from_care_of_to_care_of_address(plain: Plain, tmp_path):
    plain.leave(bound=True)
    direct(plain, optimised=True)
    with Watch(tmp_path) as watch:
        assert ping("mn1", MN1.internal_home_address, MN2.internal_home_address), dropped()
    assert {(s, d) for s, d, _ in watch.packets()} == {
        (str(CARE_OF["mn1"]), str(CARE_OF["mn2"])),
        (str(CARE_OF["mn2"]), str(CARE_OF["mn1"])),
    }


def test_unprotected_data_between_bound_nodes_goes_from_care_of_to_care_of_address(
    plain: Plain, tmp_path
):
    plain.leave(bound=True)
    for me, peer in ((MN1, MN2), (MN2, MN1)):
        home = peer.external_home_address
        bindings = Bindings(optimised=frozenset({SG, home}), peers=((home, CARE_OF[peer.name]),))
        plain.put(me.name, plain.node[me.name].at(outside(me.name), bindings))
    with Watch(tmp_path) as watch:
        assert ping("mn1", MN1.external_home_address, MN2.external_home_address), dropped()
    assert {(s, d) for s, d, _ in watch.packets()} == {
        (str(CARE_OF["mn1"]), str(CARE_OF["mn2"])),
        (str(CARE_OF["mn2"]), str(CARE_OF["mn1"])),
    }


def test_unprotected_data_of_the_gateway_goes_to_the_care_of_address(plain: Plain, tmp_path):
    plain.leave(bound=True)
    with Watch(tmp_path) as watch:
        assert ping("sg", SG, MN1.external_home_address), dropped()
    ends = {(s, d) for s, d, _ in watch.packets()}
    assert (str(SG), str(CARE_OF["mn1"])) in ends
    assert (str(HA), str(CARE_OF["mn1"])) not in ends


def echoes_by_tshark(capture: Path, configuration: Path) -> list[str]:
    """Return the types of the echo requests and replies that tshark finds with its keys."""
    command = ["tshark", "-n", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE"]
    command += ["-Y", "icmpv6.type in {128, 129}", "-T", "fields", "-e", "icmpv6.type"]
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(configuration)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("scheme", "algorithm"),
    [
        (KeyScheme.SEPARATE, EspAlgorithm.AES128GCM16),
        (KeyScheme.SHARED, EspAlgorithm.AES256GCM16),
        (KeyScheme.ASYMMETRIC, EspAlgorithm.CHACHA20POLY1305),
        (KeyScheme.BLIND, EspAlgorithm.AES128_SHA256),
        (KeyScheme.SHARED, EspAlgorithm.AES256_SHA256),
    ],
)
def test_every_scheme_and_algorithm_carries_traffic_that_the_key_log_opens(
    plain: Plain, tmp_path: Path, scheme: KeyScheme, algorithm: EspAlgorithm
):
    plain.key_log = KeyLog(tmp_path / "esp_sa")
    plain.leave(bound=True)
    direct(plain, optimised=True, algorithm=algorithm, scheme=scheme)
    # Odd, so that every algorithm pads as much as it ever does.
    size = 1279
    payload = size - IPV6_HEADER - ICMPV6_HEADER
    with Capture(tmp_path / "wire.pcapng"):
        assert ping("mn1", MN1.internal_home_address, MN2.internal_home_address, payload), dropped()
    dissector = Dissector(read_esp_sa(tmp_path / "esp_sa"))
    layers_by_frame = {
        frame.data: dissector.layers(frame.data) for frame in read_frames(tmp_path / "wire.pcapng")
    }
    layers = [layer for found in layers_by_frame.values() for layer in found]
    kinds = [layer.type for layer in layers if isinstance(layer, Icmpv6)]
    assert [kind for kind in kinds if kind in ECHO] == list(ECHO)
    assert not any(isinstance(layer, Fragment) for layer in layers)
    assert dissector.unopened == 0
    extensions = ROUTING_HEADER_TYPE_2 + HOME_ADDRESS_OPTION
    added = IPV6_HEADER + extensions + esp_overhead(algorithm)
    assert max(map(len, layers_by_frame)) == ETHERNET_BYTES + size + added
    if algorithm is not EspAlgorithm.CHACHA20POLY1305:
        # Which tshark 4.0 does not know in ESP.
        assert echoes_by_tshark(tmp_path / "wire.pcapng", tmp_path) == ["128", "129"]


@pytest.mark.parametrize("away", [True, False])
def test_a_detached_node_sends_nothing_and_takes_nothing_in_clear(
    plain: Plain, tmp_path, away: bool
):
    plain.leave(bound=True)
    place = outside("mn1") if away else Detached()
    plain.put("mn1", plain.node["mn1"].at(place))
    ip(f"-n inet route add {MN1.internal_home_address} via {CARE_OF['mn1']} dev to1")
    with Watch(tmp_path) as watch:
        assert not ping("inet", IPv6Address("2001:db8:5::1"), MN1.internal_home_address)
        ping("mn1", MN1.internal_home_address, COMPANY.vcm)
    inner = {"fd00:10::d1", "fd00:10::9"}
    assert not [p for p in watch.packets() if {p[0], p[1]} & inner and p[0] == "fd00:10::d1"]


TALK = """
import socket, sys, time
own, peer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
line = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
line.bind((own, 7777)); line.connect((peer, 7777)); line.setblocking(False)
time.sleep(1)
heard = set()
for number in range(count):
    line.send(number.to_bytes(4, "big"))
    time.sleep(0.002)
    while True:
        try:
            heard.add(line.recv(4))
        except BlockingIOError:
            break
line.settimeout(2)
try:
    while len(heard) < count:
        heard.add(line.recv(4))
except TimeoutError:
    pass
print(len(heard))
"""
"""Talk to a peer over a connected socket, which keeps its route as long as it may."""


FORMER = outside("mn1")
NEW = Outside("eth1", IPv6Address("fe80::1"), IPv6Address("2001:db8:3::d1"), 1)
"""Where mn1 is before and after its soft handover."""


def give_second_link(plain: Plain) -> None:
    """Let mn1 have a link to a third network, whose router drops foreign sources, as all do."""
    ip("link add eth1 index 150 netns mn1 type veth peer name to3 index 151 netns inet")
    for address in ("2001:db8:3::1/64", "fe80::1/64"):
        ip(f"-n inet address add {address} dev to3 nodad")
    ip("-n inet link set to3 up")
    ip("-n mn1 link set eth1 up")
    for device, prefix in (("to1", "2001:db8:1::/64"), ("to3", "2001:db8:3::/64")):
        ip(f"-n inet rule add from {prefix} iif {device} lookup main preference 10")
        ip(f"-n inet rule add blackhole iif {device} preference 11")


def heard_meanwhile(count: int, steps: Sequence[Callable[[], object]]) -> list[str]:
    """Take steps while the two nodes talk; return how much each heard of the other."""
    talkers = [
        subprocess.Popen(
            [
                *("ip", "netns", "exec", me.name, sys.executable, "-c", TALK),
                *(str(me.internal_home_address), str(peer.internal_home_address), str(count)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for me, peer in ((MN1, MN2), (MN2, MN1))
    ]
    time.sleep(1.3)
    for step in steps:
        step()
        time.sleep(0.15)
    return [talker.communicate()[0] for talker in talkers]


def test_a_soft_handover_under_load_loses_nothing_in_either_direction(plain: Plain):
    plain.leave(bound=True)
    ends = direct(plain, optimised=True)
    give_second_link(plain)
    home, peer_home = MN1.external_home_address, MN2.external_home_address
    care_of = CARE_OF | {"mn1": NEW.care_of_address}

    def mn1(known: set[IPv6Address], *others: Outside) -> Databases:
        """Return what mn1 holds when `known` are told of its new address."""
        told = {SG, HA, peer_home} - known
        bindings = Bindings(
            optimised=frozenset({SG, peer_home}),
            peers=((peer_home, CARE_OF["mn2"]),),
            by_former=dict.fromkeys(told, FORMER.care_of_address) if others else {},
        )
        return plain.node["mn1"].at(NEW, bindings, [ends["mn1"]], others)

    mn2 = Bindings(optimised=frozenset({SG, home}), peers=((home, NEW.care_of_address),))
    steps = (
        lambda: plain.put("mn1", mn1(set(), FORMER)),
        lambda: plain.put("mn2", plain.node["mn2"].at(outside("mn2"), mn2, [ends["mn2"]])),
        lambda: plain.put("mn1", mn1({peer_home}, FORMER)),
        lambda: plain.put("ha", plain.home_agent.at(care_of)),
        lambda: plain.put("sg", plain.gateway.at(care_of)),
        lambda: plain.put("mn1", mn1({peer_home, SG, HA}, FORMER)),
        lambda: ip("-n inet link set to1 down"),
        lambda: plain.put("mn1", mn1({peer_home, SG, HA})),
    )
    assert heard_meanwhile(1000, steps) == ["1000\n"] * 2, dropped()


def test_a_soft_handover_through_the_home_agents_loses_nothing_in_either_direction(plain: Plain):
    plain.leave(bound=True)
    ends = direct(plain, optimised=False)
    give_second_link(plain)
    care_of = CARE_OF | {"mn1": NEW.care_of_address}

    def mn1(known: bool, *others: Outside) -> Databases:
        by_former = {HA: FORMER.care_of_address, SG: FORMER.care_of_address}
        bindings = Bindings(
            optimised=frozenset({SG}), by_former=by_former if others and not known else {}
        )
        return plain.node["mn1"].at(NEW, bindings, [ends["mn1"]], others)

    former = [("mn1", FORMER.care_of_address)]
    steps = (
        lambda: plain.put("mn1", mn1(False, FORMER)),
        lambda: plain.put("ha", plain.home_agent.at(care_of, former)),
        lambda: plain.put("mn1", mn1(True, FORMER)),
        lambda: ip("-n inet link set to1 down"),
        lambda: plain.put("mn1", mn1(True)),
        lambda: plain.put("ha", plain.home_agent.at(care_of)),
    )
    assert heard_meanwhile(1000, steps) == ["1000\n"] * 2, dropped()


def test_carrier_loss_takes_the_inside_routes_before_any_agent_can(plain: Plain):
    plain.put("mn1", plain.node["mn1"].at(Inside("eth0", IPv6Address("fe80::1"))))
    assert "dev eth0" in ip("-n mn1 route get fd00:10::9")
    ip("-n inet link set to1 down")
    assert "DOWN" in ip("-n mn1 -br link show eth0")
    ip("-n inet link set to1 up")
    assert "dev vpn0" in ip("-n mn1 route get fd00:10::9")
