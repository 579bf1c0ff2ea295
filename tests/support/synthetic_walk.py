"""A result folder of a walk that never was: every packet where and when an ideal run would have it.

Delays are the defaults; all times were worked out by hand from them (the comments say how), so that
what is measured can be compared with numbers that no code of ours computed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from experiments.probe_format import ECHO, PORT, PROBE, Datagram, encode
from experiments.transfer import PORT as TRANSFER_PORT
from mobivpn.ipsec.minting import mint_pair
from mobivpn.ipsec.sa import EspAlgorithm, Mode
from mobivpn.signalling.codec import encode as encode_signalling
from mobivpn.signalling.messages import (
    Acknowledge,
    Envelope,
    Message,
    PeerReady,
    SaAccept,
    SaOffer,
    SessionDetected,
)
from tests.support.company import DifferentBytes
from tests.support.offers import given, planned
from tests.support.packets import (
    Association,
    Content,
    ethernet,
    home_address,
    icmpv6,
    ipv6,
    mobility,
    routing_header,
    tcp,
    udp,
    write_pcapng,
)

BEGIN_NS = 1_767_225_600_000_000_000
END_MS = 7000.0
INNER = {"mn1": "fd00:10::d1", "mn2": "fd00:10::d2"}
HOME = {"mn1": "2001:db8:ee::d1", "mn2": "2001:db8:ee::d2"}
SENDER = {"mn1": 0xD1, "mn2": 0xD2}
PEER = {"mn1": "mn2", "mn2": "mn1"}
PREFIX = {"wifi1": "2001:db8:1::", "wifi2": "2001:db8:2::", "cell": "2001:db8:3::"}
GATEWAY, HOME_AGENT, VCM = "2001:db8:5::5", "2001:db8:ee::1", "fd00:10::9"
GATEWAY_INSIDE = "fd00:5::5"
TO_GATEWAY_MS = {"lan": 0.6, "wifi1": 20.0, "wifi2": 23.0, "cell": 45.0}

MOVES = (
    ("mn2", "lan", "cell", 1000.0, 1000.0),
    ("mn1", "lan", "wifi1", 2000.0, 2000.0),
    ("mn1", "wifi1", "wifi2", 3000.0, 3020.0),
    ("mn2", "cell", "wifi1", 4000.0, 4000.0),
    ("mn1", "wifi2", "lan", 5000.0, 5000.0),
    ("mn2", "wifi1", "lan", 6000.0, 6000.0),
)
INSIDE, GATE, AGENTS, DIRECT, LOST, REFUSED = "inside", "gateway", "agents", "direct", "lost", ""

SCHEDULE: dict[str, list[tuple[float, str, float]]] = {
    # (sent from this millisecond on, path, transit): what becomes of a datagram of a sender
    "mn1": [
        (0, INSIDE, 0.4),
        (999.6, LOST, 0),  # mn2 is gone before it arrives
        (1045.6, GATE, 45.6),  # r22 announces itself 46 after link down, and 0.4 to mn1
        (2000, GATE, 65.4),
        (2132.4, AGENTS, 75),  # 208 forwarded arrives
        (2400, DIRECT, 35),
        (3000, REFUSED, 0),
        (3020, AGENTS, 78),
        (3176, DIRECT, 38),  # 3020 + return routability over the home agents, 156
        (3962, LOST, 0),  # would arrive at mn2's old link
        (4039, DIRECT, 13),  # mn2's binding update arrives: 4000 + 3 x 13
        (5000, REFUSED, 0),
        (5000.8, GATE, 20.6),
        (5979.4, LOST, 0),
        (6001.2, INSIDE, 0.4),  # mn2's advertisement: 6000.8 + 0.4
    ],
    "mn2": [
        (0, INSIDE, 0.4),
        (1000, GATE, 45.6),
        (1954.4, LOST, 0),  # mn1 is gone before it arrives
        (1975, GATE, 65.4),  # at r22 from 2020.2 on, when sg has told it
        (2107.4, AGENTS, 75),  # 212 forwarded arrives
        (2450, DIRECT, 35),
        (2965, LOST, 0),
        (3214, DIRECT, 38),  # mn1's binding update arrives: 3176 + 38
        (4000, AGENTS, 53),
        (4026, DIRECT, 13),  # care-of test only, 26
        (4987, LOST, 0),
        (5022.6, GATE, 20.6),  # Withdraw arrives: 5000.8 + 0.6 + 0.6 + 20.6
        (6000, REFUSED, 0),
        (6000.8, INSIDE, 0.4),
    ],
}
EXPECTED_MOVES = (
    # worse direction's gap (up to the first datagram that was sent in time) and bound, probes lost
    ("mn2", "lan", "cell", 91.2, 91.2, 5),
    ("mn1", "lan", "wifi1", 65.4, 65.4, 2),
    ("mn1", "wifi1", "wifi2", 256.0, 252.0, 27),
    ("mn2", "cell", "wifi1", 53.0, 132.0, 7),
    ("mn1", "wifi2", "lan", 50.6, 43.2, 5),
    ("mn2", "wifi1", "lan", 10.4, 1.6, 4),
)


@dataclass
class SyntheticWalk:
    """Builds the folder; what is wrong with a run can be put in by a subclass or a callback.

    `fate` may change what becomes of a datagram: (sender, kind, sequence, path, transit) to
    (path, transit, copies).
    """

    folder: Path
    interval_ms: float = 10.0
    senders: tuple[str, ...] = ("mn1", "mn2")
    """With only one of them, nothing is echoed."""
    fate: Callable[[str, int, int, str, float], tuple[str, float, int]] = (
        lambda _sender, _kind, _sequence, path, transit: (path, transit, 1)
    )
    run: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    logs: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        ends = (("mn1", "sg"), ("mn2", "sg"), ("mn1", "mn2"), ("sg", "vcm"), ("mn1", "vcm"))
        ends = (*ends, ("mn2", "vcm"))
        names = [f"{a}-{b}" for one, other in ends for a, b in ((one, other), (other, one))]
        self.associations = {name: Association(0x1000 + n) for n, name in enumerate(names)}
        for link in ("mn1", "mn2", "sg-ext", "sg-lan", "r22-sg", "vcm", "ha"):
            self.frames[link] = []
        self.logs = {"mn1": [], "mn2": []}

    def write(self) -> Path:
        """Build all of it and return the folder."""
        for name in ("captures", "probes", "keys"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._attachments()
        self._signalling()
        self._mobility()
        self._traffic()
        self.folder.joinpath("run.json").write_text(json.dumps(self.run))
        self.folder.joinpath("events.jsonl").write_text(
            "".join(
                json.dumps(event) + "\n" for _, event in sorted(self.events, key=lambda e: e[0])
            )
        )
        self.folder.joinpath("keys", "esp_sa").write_text(
            "".join(association.esp_sa_line for association in self.associations.values())
        )
        for link, frames in self.frames.items():
            write_pcapng(self.folder / "captures" / f"{link}.pcapng", frames)
        header = "time_ns,event,kind,sender,sequence,sent_ns,turned_ns,detail\n"
        for node, lines in self.logs.items():
            self.folder.joinpath("probes", f"{node}.csv").write_text(
                header + "".join(line for _, line in sorted(lines))
            )
        return self.folder

    def segment(self, at_ms: float, sequence: int, path: str | None = None) -> None:
        """Let mn1 send mn2 a segment of the TCP transfer."""
        kept, transit = [(p, t) for begin, p, t in SCHEDULE["mn1"] if begin <= at_ms][-1]
        inner = ipv6(INNER["mn1"], INNER["mn2"], tcp(40000, TRANSFER_PORT, sequence, b"data"))
        self._on_links("mn1", at_ms, inner, path or kept, transit)

    def frame(self, link: str, at_ms: float, packet: Content) -> None:
        """Let a packet be captured."""
        self.frames[link].append((_ns(at_ms), ethernet(packet)))

    def event(self, at_ms: float, node: str, event: str, **details: Any) -> None:
        """Let something be told in events.jsonl."""
        time_ns = _ns(at_ms)
        time = f"{time_ns // 10**9}.{time_ns % 10**9:09d}"
        line = {"node": node, "event": event, "numeral": None, "details": details}
        self.events.append((time_ns, {"time": float(time), **line}))

    def place(self, node: str, at_ms: float) -> str:
        """Return where a node is."""
        place = "lan"
        for moving, _, target, down_ms, _ in MOVES:
            if moving == node and down_ms <= at_ms:
                place = target
        return place

    def care_of_address(self, node: str, at_ms: float) -> str:
        return PREFIX[self.place(node, at_ms)] + node[-1]

    def _attachments(self) -> None:
        for node, origin, target, down_ms, up_ms in MOVES:
            self.event(down_ms, node, "link_down", network=origin)
            self.event(up_ms, node, "link_up", network=target)

    def _traffic(self) -> None:
        for node in self.senders:
            for sequence in range(round(END_MS / self.interval_ms)):
                self._send(node, PROBE, sequence, sequence * self.interval_ms, node, 0.0)

    def _send(
        self, node: str, kind: int, sequence: int, at_ms: float, numbered_by: str, sent_ms: float
    ) -> None:
        if kind == PROBE:
            sent_ms = at_ms
        path, transit = [(p, t) for begin, p, t in SCHEDULE[node] if begin <= at_ms + 1e-9][-1]
        path, transit, copies = self.fate(node, kind, sequence, path, transit)
        turned_ns = _ns(at_ms) if kind == ECHO else 0
        datagram = Datagram(kind, SENDER[numbered_by], sequence, _ns(sent_ms), turned_ns)
        self._log(node, at_ms, "refused" if path == REFUSED else "sent", datagram)
        if path == REFUSED:
            return
        inner = ipv6(INNER[node], INNER[PEER[node]], udp(PORT, PORT, encode(datagram, 64)))
        self._on_links(node, at_ms, inner, path, transit)
        if path == LOST:
            return
        for _ in range(copies):
            self._log(PEER[node], at_ms + transit, "arrived", datagram)
        if kind == PROBE and PEER[node] in self.senders:
            self._send(PEER[node], ECHO, sequence, at_ms + transit, node, sent_ms)

    def _log(self, node: str, at_ms: float, event: str, datagram: Datagram) -> None:
        kind, sender, sequence, sent_ns, turned_ns = datagram
        detail = "ENETUNREACH" if event == "refused" else ""
        time_ns = _ns(at_ms)
        name = {PROBE: "probe", ECHO: "echo"}[kind]
        line = f"{time_ns},{event},{name},{sender:04x},{sequence},{sent_ns},{turned_ns},{detail}\n"
        self.logs[node].append((time_ns, line))

    def _on_links(self, node: str, at_ms: float, inner: Content, path: str, transit: float) -> None:
        peer, arrival_ms = PEER[node], at_ms + transit
        here = self.place(node, at_ms)
        if path in (DIRECT, AGENTS):
            there_at = self.care_of_address(peer, arrival_ms)
            here_at = self.care_of_address(node, at_ms)
            esp = self.associations[f"{node}-{peer}"].seal(inner)
            if path == DIRECT:
                both = home_address(HOME[node], esp)
                first = last = ipv6(here_at, there_at, routing_header(HOME[peer], both))
            else:
                homes = ipv6(HOME[node], HOME[peer], esp)
                first = ipv6(here_at, HOME_AGENT, homes)
                last = ipv6(HOME_AGENT, there_at, homes)
                self.frame("ha", at_ms + (arrival_ms - at_ms) / 2, last)
            self.frame(node, at_ms, first)
            self.frame(peer, arrival_ms, last)
            return
        if here == "lan":
            self.frame(node, at_ms, inner)
        else:
            sealed = self.associations[f"{node}-sg"].seal(inner)
            first = ipv6(
                self.care_of_address(node, at_ms), GATEWAY, home_address(HOME[node], sealed)
            )
            self.frame(node, at_ms, first)
            at_gateway_ms = at_ms + TO_GATEWAY_MS[here]
            self.frame("sg-ext", at_gateway_ms, first)
            self.frame("sg-lan", at_gateway_ms, inner)
            self.frame("r22-sg", at_gateway_ms + 0.2, inner)
        if path == LOST:
            return
        there = self.place(peer, arrival_ms)
        if there == "lan":
            self.frame(peer, arrival_ms, inner)
        else:
            sealed = self.associations[f"sg-{peer}"].seal(inner)
            routed = routing_header(HOME[peer], sealed)
            last = ipv6(GATEWAY, self.care_of_address(peer, arrival_ms), routed)
            left_gateway_ms = arrival_ms - TO_GATEWAY_MS[there]
            self.frame("r22-sg", left_gateway_ms, inner)
            self.frame("sg-lan", left_gateway_ms, inner)
            self.frame("sg-ext", left_gateway_ms + 15, last)
            self.frame(peer, arrival_ms, last)

    def _signalling(self) -> None:
        """202 is decided at 2020.0, when the first packet is at s-sg and both bindings stand."""
        pair = mint_pair(
            "pair1.1",
            1000,
            IPv6Address(HOME["mn1"]),
            IPv6Address(HOME["mn2"]),
            Mode.TUNNEL,
            EspAlgorithm.AES128GCM16,
            DifferentBytes(),
        )
        mn1, mn2 = (IPv6Address(INNER[name]) for name in ("mn1", "mn2"))
        one, two = (IPv6Address(HOME[name]) for name in ("mn1", "mn2"))
        plan, (first, second) = planned(pair), given(pair)
        to_mn1 = SaOffer(1, 1, mn2, two, plan.backward, plan.forward, first, 3600)
        to_mn2 = SaOffer(1, 1, mn1, one, plan.forward, plan.backward, second, 3600)
        self.message("sg", "vcm", 2020.0, 0.6, 1, SessionDetected(mn1, mn2))
        self.message("vcm", "sg", 2020.6, 0.6, 1, Acknowledge())
        self.message("vcm", "mn1", 2020.6, 20.6, 1, to_mn1)
        self.message("vcm", "mn2", 2020.6, 45.6, 2, to_mn2)
        self.message("mn1", "vcm", 2041.2, 20.6, 1, SaAccept(1, 1))
        self.message("mn2", "vcm", 2066.2, 45.6, 2, SaAccept(1, 1))
        self.message("vcm", "mn2", 2061.8, 45.6, 3, PeerReady(1, 1))
        self.message("vcm", "mn1", 2111.8, 20.6, 4, PeerReady(1, 1))

    def message(
        self,
        source: str,
        destination: str,
        at_ms: float,
        transit: float,
        number: int,
        body: Message,
    ) -> None:
        """Let a signalling message be seen on its first and its last link."""
        addresses = INNER | {"vcm": VCM, "sg": GATEWAY_INSIDE}
        payload = udp(5202, 5202, encode_signalling(Envelope(1, number, body)))
        esp = self.associations[f"{source}-{destination}"].seal(payload)
        packet = ipv6(addresses[source], addresses[destination], esp)
        delay = {"vcm": 0.2, "sg": 0.0, "mn1": 0.0, "mn2": 0.0}
        link = {"vcm": "vcm", "sg": "sg-lan", "mn1": "mn1", "mn2": "mn2"}
        for host, time in ((source, at_ms + delay[source]), (destination, at_ms + transit)):
            seen = packet
            if host in INNER:
                out = host == source
                sealed = self.associations[f"{host}-sg" if out else f"sg-{host}"].seal(packet)
                care_of = self.care_of_address(host, time)
                if out:
                    seen = ipv6(care_of, GATEWAY, home_address(HOME[host], sealed))
                else:
                    seen = ipv6(GATEWAY, care_of, routing_header(HOME[host], sealed))
            self.frame(link[host], time, seen)

    def _mobility(self) -> None:
        for node, at_ms, way_ms, sequence in (("mn2", 1000.0, 45.0, 1), ("mn1", 2000.0, 20.0, 1)):
            care_of = self.care_of_address(node, at_ms)
            update = self._update(sequence)
            out = self.associations[f"{node}-sg"].seal(update)
            first = ipv6(care_of, GATEWAY, home_address(HOME[node], out))
            self.frame(node, at_ms, first)
            self.frame("sg-ext", at_ms + way_ms, first)
            acknowledgement = mobility(6, bytes((0, 0)) + sequence.to_bytes(2, "big") + b"\0\x64")
            back = self.associations[f"sg-{node}"].seal(acknowledgement)
            last = ipv6(GATEWAY, care_of, routing_header(HOME[node], back))
            self.frame("sg-ext", at_ms + way_ms + 15, last)
            self.frame(node, at_ms + 2 * way_ms, last)
        self.frame("mn2", 1000.0, ipv6("fe80::2", "ff02::2", icmpv6(133, 0, bytes(4))))
        self.frame("mn2", 1000.0, ipv6("fe80::1", "ff02::1", icmpv6(134, 0, bytes(12))))
        self._handover("mn1", 3020.0, 3176.0, home_test=True)
        self._handover("mn2", 4000.0, 4026.0, home_test=False)

    def _handover(self, node: str, at_ms: float, update_ms: float, home_test: bool) -> None:
        care_of, peer = self.care_of_address(node, at_ms), PEER[node]
        there = self.care_of_address(peer, at_ms)
        if home_test:
            init = ipv6(HOME[node], HOME[peer], mobility(1, bytes(10)))
            self.frame(
                node, at_ms, ipv6(care_of, HOME_AGENT, self.associations["mn1-sg"].seal(init))
            )
        test = mobility(2, bytes(10))
        self.frame(node, at_ms, ipv6(care_of, there, routing_header(HOME[peer], test)))
        update = routing_header(HOME[peer], home_address(HOME[node], self._update(7)))
        self.frame(node, update_ms, ipv6(care_of, there, update))

    @staticmethod
    def _update(sequence: int) -> Content:
        return mobility(5, sequence.to_bytes(2, "big") + b"\xc0\0" + (100).to_bytes(2, "big"))


def _ns(at_ms: float) -> int:
    return BEGIN_NS + round(at_ms * 1_000_000)
