"""The Ryu application at a real Open vSwitch: what the datapath does, by its counters and wires."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import controllers.main  # noqa: F401 - before Ryu's application
from controllers.gateway_app import KNOWN, MIRRORED_BYTES
from controllers.gateway_link import (
    GatewayLink,
    NodeOutside,
    PairOver,
    agent_path,
    application_path,
    decode_notice,
    encode,
)
from mobivpn.signalling.messages import SessionDetected
from tests.support.company import COMPANY, MN1, MN2
from tests.support.packets import ethernet, ipv6, udp
from vm import openvswitch

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
BRIDGE, IDLE_S, PORT = "s-sg", 3, 6653
PORTS = {"sg": "s-sg-sg", "r22": "s-sg-r22", "monitor": "s-sg-mon"}
INSIDE1, INSIDE2 = MN1.internal_home_address, MN2.internal_home_address
SO_RCVBUFFORCE = 33
PACKET_IN = "10"
SESSION = SessionDetected(INSIDE1, INSIDE2)


def run(command: str) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True).stdout


class Wire:
    """What is plugged into a port of the switch."""

    def __init__(self, device: str) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20)
        self.socket.bind((device, 0))

    def send(self, *frames: bytes, every_s: float = 0.0) -> None:
        for frame in frames:
            self.socket.send(frame)
            time.sleep(every_s)

    def received(self, count: int, within_s: float = 5.0) -> list[bytes]:
        """Return `count` frames, or as many as have come when time is up."""
        deadline, frames = time.monotonic() + within_s, []
        while len(frames) < count and (left := deadline - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frames.append(self.socket.recv(2048))
            except TimeoutError:
                break
        return frames

    def silent(self, for_s: float = 0.5) -> bool:
        return self.received(1, for_s) == []


class Gateway:
    """The switch, what is plugged into it, and the other end of the application's link."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.wire = {role: Wire(f"{role}0") for role in PORTS}
        self._link_path = folder / "link"
        self.link = GatewayLink(agent_path(self._link_path), application_path(self._link_path))
        self.link.file.settimeout(10)
        for file in (*(wire.socket for wire in self.wire.values()), self.link.file):
            stack.callback(file.close)
        configuration = {
            "ports": PORTS,
            "mobile_nodes": [str(node.internal_home_address) for node in COMPANY.nodes],
            "infrastructure": [str(COMPANY.vcm)],
            "socket": str(application_path(self._link_path)),
            "event_log": str(folder / "events"),
            "idle_timeout_s": IDLE_S,
        }
        self._configuration = folder / "controller.json"
        self._configuration.write_text(json.dumps(configuration))
        self._openflow = folder / "openflow.pcapng"
        self._capture = subprocess.Popen(
            [*f"dumpcap -q -i lo -w {self._openflow} -f".split(), f"tcp port {PORT}"],
            stderr=subprocess.DEVNULL,
        )
        stack.callback(self._end, self._capture)
        self.controller: subprocess.Popen[bytes]

    def start_controller(self) -> None:
        joined = self._joined()
        self.controller = subprocess.Popen(
            [sys.executable, "-m", "controllers.main", "--config", str(self._configuration)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        )
        self._stack.callback(self._end, self.controller)
        deadline = time.monotonic() + 60
        while self._joined() == joined:
            assert self.controller.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        # The rules were sent before the event was written.
        time.sleep(0.1)

    def _joined(self) -> int:
        path = self._folder / "events"
        return path.read_text().count("switch_joined") if path.exists() else 0

    @staticmethod
    def _end(program: subprocess.Popen[bytes]) -> None:
        program.terminate()
        program.wait(10)

    def tell_outside(self) -> None:
        for node in (MN1, MN2):
            told = NodeOutside(node.internal_home_address, node.external_home_address, None)
            self.link.send(encode(told))
            self.notice()

    def notice(self) -> object:
        return decode_notice(self.link.receive())

    def known(self) -> int:
        """Return the number of flows that the switch knows."""
        rules = run(f"ovs-ofctl -O OpenFlow13 --no-names dump-flows {BRIDGE}")
        return rules.count(f"priority={KNOWN},")

    def asked(self) -> int:
        """Return how many packets have come to the controller; by the wire: rules' counters
        are credited to what stands in the table when they are read."""
        time.sleep(0.5)
        self._end(self._capture)
        types = run(
            f"tshark -r {self._openflow} -d tcp.port=={PORT},openflow "
            "-Y openflow_v4 -T fields -e openflow_v4.type"
        )
        return types.replace(",", " ").split().count(PACKET_IN)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with ExitStack() as stack:
        stack.enter_context(openvswitch.running())
        run(f"ovs-vsctl add-br {BRIDGE}")
        stack.callback(run, f"ovs-vsctl del-br {BRIDGE}")
        run(f"ovs-vsctl set bridge {BRIDGE} protocols=OpenFlow13 fail-mode=secure")
        for role, port in PORTS.items():
            run(f"ip link add {role}0 type veth peer name {port}")
            stack.callback(run, f"ip link del {role}0")
            for device in (f"{role}0", port):
                run(f"sysctl -qw net.ipv6.conf.{device}.disable_ipv6=1")
                run(f"ip link set {device} up")
            run(f"ovs-vsctl add-port {BRIDGE} {port}")
        run(f"ovs-vsctl set-controller {BRIDGE} tcp:127.0.0.1:{PORT}")
        made = Gateway(tmp_path, stack)
        made.start_controller()
        yield made


def frames(count: int, source: object = INSIDE1, destination: object = INSIDE2) -> list[bytes]:
    return [
        ethernet(ipv6(str(source), str(destination), udp(4000, 5000, bytes([i]) * 1000)))
        for i in range(count)
    ]


def test_a_known_flow_never_visits_the_controller(gateway: Gateway):
    gateway.tell_outside()
    sent = frames(200)
    gateway.wire["sg"].send(*sent, every_s=0.01)
    assert gateway.wire["r22"].received(200) == sent
    assert gateway.notice() == SESSION
    assert gateway.asked() == 1


def test_the_monitor_gets_headers_of_mobile_to_mobile_packets_from_sg_s_side(gateway: Gateway):
    sent = frames(50)
    gateway.wire["sg"].send(*sent, every_s=0.01)
    mirrored = gateway.wire["monitor"].received(49)
    # The first one has shown the flow to the controller.
    assert mirrored == [frame[:MIRRORED_BYTES] for frame in sent[1:]]

    gateway.wire["r22"].send(*sent, every_s=0.01)
    assert gateway.wire["sg"].received(50) == sent
    to_the_file_server = frames(50, destination="fd00:10::f5")
    gateway.wire["sg"].send(*to_the_file_server, every_s=0.01)
    assert gateway.wire["r22"].received(100) == sent + to_the_file_server
    assert gateway.wire["monitor"].silent()


def test_an_idle_flow_is_forgotten_and_seen_again(gateway: Gateway):
    gateway.tell_outside()
    sent = frames(10)
    gateway.wire["sg"].send(*sent[:5], every_s=0.5)
    assert gateway.notice() == SESSION
    time.sleep(IDLE_S - 1)
    gateway.wire["sg"].send(sent[5])
    time.sleep(IDLE_S - 1)
    assert gateway.known() == 1
    time.sleep(3)
    assert gateway.known() == 0
    gateway.wire["sg"].send(*sent[6:], every_s=0.1)
    assert gateway.notice() == SESSION
    assert gateway.wire["r22"].received(10) == sent
    assert gateway.asked() == 2


def test_the_next_packet_of_a_pair_that_is_over_is_a_trigger_again(gateway: Gateway):
    gateway.tell_outside()
    sent = frames(6)
    gateway.wire["sg"].send(*sent[:3], every_s=0.1)
    assert gateway.notice() == SESSION
    gateway.link.send(encode(PairOver(INSIDE1, INSIDE2, idle=True)))
    time.sleep(0.2)
    assert gateway.known() == 0
    gateway.wire["sg"].send(*sent[3:], every_s=0.1)
    assert gateway.notice() == SESSION
    assert gateway.wire["r22"].received(6) == sent


def test_without_its_controller_known_flows_go_on_and_the_next_controller_sees_them(
    gateway: Gateway,
):
    sent = frames(6)
    gateway.wire["sg"].send(*sent[:2], every_s=0.1)
    gateway.controller.send_signal(signal.SIGKILL)
    gateway.controller.wait()
    gateway.wire["sg"].send(*sent[2:4], every_s=0.1)
    assert gateway.wire["r22"].received(4) == sent[:4]
    gateway.wire["r22"].send(*frames(1, INSIDE2, INSIDE1))
    assert gateway.wire["sg"].silent()

    gateway.start_controller()
    gateway.tell_outside()
    gateway.wire["sg"].send(*sent[4:], every_s=0.1)
    assert gateway.wire["r22"].received(2) == sent[4:]
    assert gateway.notice() == SESSION
    assert gateway.asked() == 2
