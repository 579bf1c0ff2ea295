"""Figure 1 as it is built: delays, filters, nodes that move, and nothing left behind."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from mininet.log import setLogLevel
from mininet.net import Mininet

from experiments.programs import wait_until
from topologies.attachment import Attachment
from topologies.links import DEFAULT_LINKS, LinkProfile, shaping_script
from topologies.topo import build, configure
from vm import openvswitch

LOCAL_USE = 0x88B5
"""Local experimental EtherType 1 (IEEE 802)."""
SO_RCVBUFFORCE = 33

# Mininet 2.3 leaves the closing of its pipes to the collector.
pytestmark = [
    pytest.mark.lab,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def network_links() -> list[str]:
    names = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout
    return re.findall(r"mn\d|s-\w+|inet|wifi", names)


@pytest.fixture(scope="module")
def net() -> Iterator[Mininet]:
    setLogLevel("error")
    with openvswitch.running():
        network = build()
        try:
            network.start()
            configure(network, DEFAULT_LINKS, 1360)
            subprocess.run(["ovs-vsctl", "del-controller", "s-sg"], check=True)
            subprocess.run(["ovs-vsctl", "set-fail-mode", "s-sg", "standalone"], check=True)
            yield network
        finally:
            network.stop()
        # A cable goes with a namespace, which the kernel frees when it gets to it.
        wait_until("the network's links are gone", lambda: not network_links(), 5)


def round_trip_ms(net: Mininet, host: str, address: str) -> float:
    """Return the second round trip: the first may wait for neighbour discovery, asked twice."""
    answer = net.get(host).cmd(f"ping -c 2 -i 2 {address}")
    found = re.search(r"icmp_seq=2 .*time=([\d.]+) ms", answer)
    assert found, answer
    return float(found[1])


@pytest.mark.parametrize(
    ("host", "address", "delays_ms"),
    [
        ("fs", "fd00:10::9", 4 * 0.2),
        ("vcm", "fd00:5::5", 2 * (0.2 + 0.2 + 0.2)),
        ("wifi1", "2001:db8:5::5", 2 * (5 + 15)),
        ("wifi2", "2001:db8:ee::1", 2 * (8 + 20)),
        ("cell", "2001:db8:5::5", 2 * (30 + 15)),
    ],
)
def test_a_round_trip_is_the_sum_of_the_configured_delays(
    net: Mininet, host: str, address: str, delays_ms: float
):
    # Transmission of 118 bytes on each link comes to it, and ping rounds to three digits.
    assert delays_ms <= round_trip_ms(net, host, address) <= delays_ms * 1.02 + 0.15


def plug(net: Mininet) -> tuple[Attachment, list[tuple[str, str, str]]]:
    seen: list[tuple[str, str, str]] = []
    attachment = Attachment(net, DEFAULT_LINKS, lambda *event: seen.append(event))
    return attachment, seen


@pytest.mark.parametrize(
    ("node", "how", "gap_ms"),
    [("mn1", "replug", 0.0), ("mn2", "new", 0.0), ("mn3", "replug", 40.0)],
)
def test_a_node_moves_out_and_home_and_its_link_follows(
    net: Mininet, node: str, how: str, gap_ms: float
):
    attachment, seen = plug(net)
    attachment.begin(node)
    host, number = net.get(node), node[-1]
    began = time.monotonic()
    attachment.move(node, "wifi2", gap_ms, how)
    assert time.monotonic() - began >= gap_ms / 1000
    host.cmd(f"ip -6 addr add 2001:db8:2::d{number}/64 dev {attachment.interface(node)} nodad")
    assert round_trip_ms(net, node, "2001:db8:2::1") < 0.1
    attachment.move(node, "lan", gap_ms, how)
    host.cmd(f"ip -6 addr add fd00:10::d{number}/64 dev {attachment.interface(node)} nodad")
    assert round_trip_ms(net, node, "fd00:10::9") == pytest.approx(0.8, abs=0.02)
    assert [event for event, _, _ in seen] == [
        "link_up",
        "link_down",
        "link_up",
        "link_down",
        "link_up",
    ]
    attachment.close()


def test_in_a_soft_handover_a_node_has_both_links_until_the_former_one_goes(net: Mininet):
    attachment, seen = plug(net)
    attachment.begin("mn1")
    host = net.get("mn1")
    attachment.move("mn1", "wifi1")
    host.cmd(f"ip -6 addr flush scope global dev {attachment.interface('mn1')}")
    for network, number, other in (("wifi2", 2, 1), ("wifi1", 1, 2)):
        former = attachment.interface("mn1")
        host.cmd(f"ip -6 addr replace 2001:db8:{other}::d1/64 dev {former} nodad")
        attachment.begin_overlap("mn1", network)
        device = attachment.interface("mn1")
        host.cmd(f"ip -6 addr replace 2001:db8:{number}::d1/64 dev {device} nodad")
        for prefix in (1, 2):
            assert round_trip_ms(net, "mn1", f"2001:db8:{prefix}::1") < 0.1
        attachment.end_overlap("mn1", network)
        assert "NO-CARRIER" in host.cmd(f"ip link show {former}")
        assert round_trip_ms(net, "mn1", f"2001:db8:{number}::1") < 0.1
        host.cmd(f"ip -6 addr flush scope global dev {former}")
        assert attachment.network("mn1") == network
    assert seen[-4:] == [
        ("link_up", "mn1", "wifi2"),
        ("link_down", "mn1", "wifi1"),
        ("link_up", "mn1", "wifi1"),
        ("link_down", "mn1", "wifi2"),
    ]
    attachment.move("mn1", "lan")
    attachment.close()


def test_what_the_datapath_knows_of_a_cable_does_not_outlive_its_move(net: Mininet):
    attachment, _ = plug(net)
    for node in ("mn1", "mn3"):
        attachment.begin(node)
    answer = {
        network: net.get(network)
        .cmd(f"ip -br -6 addr show dev {network}-lan scope link")
        .split()[2]
        for network in ("cell", "wifi2")
    }

    def routers(device: str) -> str:
        return net.get("mn3").cmd(f"ping -c 2 -i 0.2 -w 1 ff02::2%{device}")

    attachment.move("mn3", "cell")
    device = attachment.interface("mn3")
    assert answer["cell"].partition("/")[0] in routers(device)
    attachment.begin_overlap("mn3", "wifi1")
    attachment.end_overlap("mn3", "wifi1")
    # As when both move in one instant: what is known of mn3's first cable is looked at once more.
    attachment.move("mn1", "cell")
    attachment.begin_overlap("mn3", "wifi2")
    assert attachment.interface("mn3") == device
    heard = routers(device)
    assert answer["wifi2"].partition("/")[0] in heard
    assert answer["cell"].partition("/")[0] not in heard
    attachment.end_overlap("mn3", "wifi2")
    attachment.move("mn1", "lan")
    attachment.move("mn3", "lan")
    attachment.close()


def test_an_access_router_drops_what_is_not_of_its_prefix(net: Mininet):
    attachment, _ = plug(net)
    attachment.begin("mn1")
    attachment.move("mn1", "wifi1")
    device = attachment.interface("mn1")
    node = net.get("mn1")
    node.cmd(f"ip -6 addr add 2001:db8:1::d1/64 dev {device} nodad")
    node.cmd(f"ip -6 addr add 2001:db8:2::d1/128 dev {device} nodad")
    node.cmd("ip -6 route replace default via 2001:db8:1::1")
    assert "2 received" in node.cmd("ping -c 2 -I 2001:db8:1::d1 2001:db8:5::5")
    assert "0 received" in node.cmd("ping -c 2 -W 1 -I 2001:db8:2::d1 2001:db8:5::5")
    attachment.move("mn1", "lan")


@pytest.mark.parametrize("gap_ms", [0.0, 20.0])
def test_carrier_loss_takes_next_hops_before_the_next_link_is_there(net: Mininet, gap_ms: float):
    attachment, _ = plug(net)
    attachment.begin("mn3")
    node, device = net.get("mn3"), attachment.interface("mn3")
    node.cmd(f"ip -6 nexthop add id 7 dev {device}; ip -6 route add fd00:99::/64 nhid 7")
    assert "fd00:99::" in node.cmd("ip -6 route")
    attachment.move("mn3", "cell", gap_ms)
    assert "fd00:99::" not in node.cmd("ip -6 route")
    assert node.cmd("ip -6 nexthop").strip() == ""
    attachment.move("mn3", "lan")


def lost_of_1000(seed: int) -> list[int]:
    """Return which of a thousand frames a device loses that loses a fifth."""
    pair = "ip link add loss type veth peer name loss-far"
    subprocess.run(pair.split(), check=True)
    try:
        script = "ip link set loss up; ip link set loss-far up\n"
        script += shaping_script([("loss", LinkProfile(0, 1000, 20.0))], seed)
        subprocess.run(["sh", "-e", "-c", script], check=True)
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as near,
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(LOCAL_USE)) as far,
        ):
            near.bind(("loss", 0))
            far.bind(("loss-far", 0))
            far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
            far.settimeout(1.0)
            for number in range(1000):
                near.send(bytes(12) + LOCAL_USE.to_bytes(2, "big") + b"%04d" % number)
            arrived: set[int] = set()
            with contextlib.suppress(TimeoutError):
                while True:
                    arrived.add(int(far.recv(100)[14:18]))
    finally:
        subprocess.run(["ip", "link", "delete", "loss"], check=True)
    return sorted(set(range(1000)) - arrived)


def test_losses_follow_from_the_seed_alone():
    first, again, other = lost_of_1000(1), lost_of_1000(1), lost_of_1000(2)
    assert 140 < len(first) < 260
    assert first == again
    assert first != other
