"""The kernel agrees with the databases: every path of the seed's figure 2, one ping each.

No agents and no Mininet here: namespaces, the core's databases carried in by `agents.kernel`, and
what the packets do. Delays are left out; what is asserted is the way a packet takes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from agents.kernel import Kernel
from agents.key_log import KeyLog
from experiments.dissect import ETHERNET_BYTES, Dissector, Fragment, Icmpv6
from experiments.esp_keys import read_esp_sa
from experiments.pcapng import read_frames
from mobivpn.host.associations import FIRST_PAIR_REQID, mint_associations
from mobivpn.host.fixed_databases import HomeAgentDatabases, ManagerDatabases, RouterDatabases
from mobivpn.host.gateway_databases import GatewayDatabases
from mobivpn.host.keyring import Keyring
from mobivpn.host.movement import Detached, Inside, Outside
from mobivpn.host.mtu import (
    HOME_ADDRESS_OPTION,
    IPV6_HEADER,
    ROUTING_HEADER_TYPE_2,
    esp_overhead,
)
from mobivpn.host.node_databases import Bindings, DirectPair, NodeDatabases
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.databases import Databases, difference
from mobivpn.ipsec.minting import plan_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.ipsec.selector import host
from mobivpn.signalling.messages import SaOffer
from mobivpn.variants import KeyScheme
from mobivpn.vcm.secrets import make_secrets

pytestmark = pytest.mark.lab

MN1, MN2 = (
    NodeIdentity(f"mn{i}", IPv6Address(f"fd00:10::d{i}"), IPv6Address(f"2001:db8:ee::d{i}"))
    for i in (1, 2)
)
COMPANY = Company(
    vpn_prefix=IPv6Network("fd00:10::/64"),
    security_gateway=IPv6Address("2001:db8:5::5"),
    security_gateway_inside=IPv6Address("fd00:5::5"),
    internal_router=IPv6Address("fd00:5::1"),
    vcm=IPv6Address("fd00:10::9"),
    home_agent=IPv6Address("2001:db8:ee::1"),
    nodes=(MN1, MN2),
)
CARE_OF = {"mn1": IPv6Address("2001:db8:1::d1"), "mn2": IPv6Address("2001:db8:2::d2")}
SG, HA = COMPANY.security_gateway, COMPANY.home_agent
ICMPV6_HEADER = 8
ECHO = (128, 129)
"""ICMPv6's types of a request and its reply."""
HOSTS = ("mn1", "mn2", "inet", "sg", "r22", "vcm", "ha")


def ip(arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["ip", "-6", *arguments.split()], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def in_host(name: str, *command: str, check: bool = True) -> str:
    return subprocess.run(
        ["ip", "netns", "exec", name, *command], capture_output=True, text=True, check=check
    ).stdout


class Plain:
    """Figure 1 without Mininet: one veth a link, the two nodes on their access networks."""

    def __init__(self) -> None:
        for name in HOSTS:
            ip(f"netns add {name}")
            forwarding = int(name in ("inet", "sg", "r22", "ha"))
            in_host(
                name,
                "sysctl",
                "-wq",
                "net.ipv6.conf.all.accept_dad=0",
                "net.ipv6.conf.default.accept_dad=0",
                "net.ipv6.conf.default.accept_ra=0",
                f"net.ipv6.conf.all.forwarding={forwarding}",
                f"net.ipv6.conf.all.proxy_ndp={forwarding}",
            )
            ip(f"-n {name} link set lo up")
        for number, (one, device, other, far) in enumerate(
            (
                ("mn1", "eth0", "inet", "to1"),
                ("mn2", "eth0", "inet", "to2"),
                ("sg", "ext", "inet", "tosg"),
                ("ha", "eth0", "inet", "toha"),
                ("sg", "lan", "r22", "tosg"),
                ("vcm", "eth0", "r22", "lan"),
            )
        ):
            # Different numbers at both ends: only then the kernel hurries with carrier events.
            near_index, far_index = 100 + 2 * number, 101 + 2 * number
            ip(
                f"link add {device} index {near_index} netns {one} type veth "
                f"peer name {far} index {far_index} netns {other}"
            )
            ip(f"-n {one} link set {device} up")
            ip(f"-n {other} link set {far} up")
        for name, device, address in (
            ("inet", "to1", "2001:db8:1::1/64"),
            ("inet", "to2", "2001:db8:2::1/64"),
            ("inet", "tosg", "2001:db8:5::1/64"),
            ("inet", "toha", "2001:db8:ee::ff/64"),
            ("sg", "ext", "2001:db8:5::5/64"),
            ("sg", "lan", "fd00:5::5/64"),
            ("r22", "tosg", "fd00:5::1/64"),
            ("r22", "lan", "fd00:10::1/64"),
            ("vcm", "eth0", "fd00:10::9/64"),
            ("ha", "eth0", "2001:db8:ee::1/64"),
            ("inet", "to1", "fe80::1/64"),
            ("inet", "to2", "fe80::1/64"),
        ):
            ip(f"-n {name} address add {address} dev {device} nodad")
        for name, route in (
            ("sg", "default via 2001:db8:5::1"),
            ("sg", "fd00:10::/64 via fd00:5::1"),
            ("r22", "default via fd00:5::5"),
            ("vcm", "default via fd00:10::1"),
            ("ha", "default via 2001:db8:ee::ff"),
            ("inet", "2001:db8:ee::d1 via 2001:db8:ee::1"),
            ("inet", "2001:db8:ee::d2 via 2001:db8:ee::1"),
        ):
            ip(f"-n {name} route add {route}")
        given = mint_associations(COMPANY, EspAlgorithm.AES128GCM16, os.urandom)
        self.node = {n.name: NodeDatabases(n, COMPANY, given) for n in COMPANY.nodes}
        self.gateway = GatewayDatabases(COMPANY, given, "lan", "ext", IPv6Address("2001:db8:5::1"))
        self.home_agent = HomeAgentDatabases(COMPANY, given, "eth0")
        self.router = RouterDatabases(COMPANY, given, "lan", "tosg")
        self.manager = ManagerDatabases(COMPANY, given)
        self._held: dict[str, Databases] = dict.fromkeys(HOSTS, ())
        self.key_log = KeyLog(None)

    def put(self, name: str, wanted: Databases) -> None:
        """Bring one host's kernel to the wanted databases."""
        Kernel(self.key_log, run=partial(self._run, name)).apply(
            difference(self._held[name], wanted)
        )
        self._held[name] = wanted

    @staticmethod
    def _run(name: str, arguments: list[str], text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "-n", name, "-6", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    def leave(self, *, bound: bool) -> None:
        """Both nodes outside, known to sg and ha; `bound`: sg has their bindings."""
        care_of = dict(CARE_OF)
        self.put("sg", self.gateway.at(care_of if bound else dict.fromkeys(care_of)))
        self.put("ha", self.home_agent.at(care_of))
        self.put("r22", self.router.at(COMPANY.nodes))
        self.put("vcm", self.manager.all())
        for name in CARE_OF:
            self.put(
                name,
                self.node[name].at(
                    outside(name), Bindings(optimised=frozenset({SG})) if bound else Bindings()
                ),
            )

    def close(self) -> None:
        for name in HOSTS:
            subprocess.run(["ip", "netns", "del", name], check=False)


def outside(name: str) -> Outside:
    return Outside("eth0", IPv6Address("fe80::1"), CARE_OF[name])


@pytest.fixture
def plain() -> Iterator[Plain]:
    network = Plain()
    yield network
    network.close()


class Watch:
    """What crosses inet while the block runs, as (outer source, outer destination, protocols)."""

    def __init__(self, tmp_path: os.PathLike[str]) -> None:
        self.path = os.fspath(tmp_path) + "/watch.pcap"

    def __enter__(self) -> "Watch":
        self.process = subprocess.Popen(
            [
                *("ip", "netns", "exec", "inet", "tcpdump", "-U", "-n", "-i", "any", "-Q", "in"),
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


def ping(name: str, source: IPv6Address, destination: IPv6Address, payload_bytes: int = 56) -> bool:
    done = subprocess.run(
        [
            *("ip", "netns", "exec", name, "ping", "-c", "1", "-W", "1", "-M", "do"),
            *("-s", str(payload_bytes), "-I", str(source), str(destination)),
        ],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


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


def test_a_soft_handover_under_load_loses_nothing_in_either_direction(plain: Plain):
    plain.leave(bound=True)
    ends = direct(plain, optimised=True)
    ip("link add eth1 index 150 netns mn1 type veth peer name to3 index 151 netns inet")
    for name, device, address in (
        ("inet", "to3", "2001:db8:3::1/64"),
        ("inet", "to3", "fe80::1/64"),
    ):
        ip(f"-n {name} link set {device} up")
        ip(f"-n {name} address add {address} dev {device} nodad")
    ip("-n mn1 link set eth1 up")
    for device, prefix in (("to1", "2001:db8:1::/64"), ("to3", "2001:db8:3::/64")):
        ip(f"-n inet rule add from {prefix} iif {device} lookup main preference 10")
        ip(f"-n inet rule add blackhole iif {device} preference 11")
    home, peer_home = MN1.external_home_address, MN2.external_home_address
    former = outside("mn1")
    new = Outside("eth1", IPv6Address("fe80::1"), IPv6Address("2001:db8:3::d1"), 1)
    care_of = CARE_OF | {"mn1": new.care_of_address}

    def mn1(known: set[IPv6Address], *others: Outside) -> Databases:
        """Return what mn1 holds when `known` are told of its new address."""
        told = {SG, HA, peer_home} - known
        bindings = Bindings(
            optimised=frozenset({SG, peer_home}),
            peers=((peer_home, CARE_OF["mn2"]),),
            by_former=dict.fromkeys(told, former.care_of_address) if others else {},
        )
        return plain.node["mn1"].at(new, bindings, [ends["mn1"]], others)

    mn2 = Bindings(optimised=frozenset({SG, home}), peers=((home, new.care_of_address),))
    count = 1000
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
    for step in (
        lambda: plain.put("mn1", mn1(set(), former)),
        lambda: plain.put("mn2", plain.node["mn2"].at(outside("mn2"), mn2, [ends["mn2"]])),
        lambda: plain.put("mn1", mn1({peer_home}, former)),
        lambda: plain.put("ha", plain.home_agent.at(care_of)),
        lambda: plain.put("sg", plain.gateway.at(care_of)),
        lambda: plain.put("mn1", mn1({peer_home, SG, HA}, former)),
        lambda: ip("-n inet link set to1 down"),
        lambda: plain.put("mn1", mn1({peer_home, SG, HA})),
    ):
        step()
        time.sleep(0.15)
    assert [talker.communicate()[0] for talker in talkers] == [f"{count}\n"] * 2, dropped()


def test_carrier_loss_takes_the_inside_routes_before_any_agent_can(plain: Plain):
    plain.put("mn1", plain.node["mn1"].at(Inside("eth0", IPv6Address("fe80::1"))))
    assert "dev eth0" in ip("-n mn1 route get fd00:10::9")
    ip("-n inet link set to1 down")
    assert "DOWN" in ip("-n mn1 -br link show eth0")
    ip("-n inet link set to1 up")
    assert "dev vpn0" in ip("-n mn1 route get fd00:10::9")
