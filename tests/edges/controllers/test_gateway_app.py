"""The Ryu application: OpenFlow event in, OpenFlow message out; the switch is played here."""

import json
import logging
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from ryu.controller import handler, ofp_event
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as of
from ryu.ofproto import ofproto_v1_3_parser as parser
from ryu.ofproto.ofproto_protocol import ProtocolDesc

import controllers.main  # noqa: F401 - before Ryu's application
from controllers import gateway_app, gateway_link
from mobivpn.signalling.messages import NodeExternal, NodeInternal, SessionDetected
from tests.support.company import COMPANY, MN1, MN2, MN3
from tests.support.packets import ethernet, ipv6, udp

SG, ROUTER, MONITOR = 4, 7, 9
PORTS = {"s-sg-sg": SG, "s-sg-r22": ROUTER, "s-sg-mon": MONITOR, "s-sg": of.OFPP_LOCAL}
FS = "fd00:10::f5"
NODE1, NODE2, NODE3 = (str(node.internal_home_address) for node in (MN1, MN2, MN3))


class Datapath(ProtocolDesc):
    """A switch that keeps what it is sent, and has it serialised as on the wire."""

    def __init__(self) -> None:
        super().__init__(of.OFP_VERSION)
        self.sent: list[Any] = []

    def send_msg(self, message: Any) -> None:
        message.serialize()
        self.sent.append(message)

    def taken(self) -> list[Any]:
        sent, self.sent = self.sent, []
        return sent


class LinkEnds(Exception):
    """No more datagrams."""


class Link:
    """The agent's end of the link."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.waiting: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(gateway_link.decode_notice(data))

    def receive(self) -> bytes:
        if not self.waiting:
            raise LinkEnds
        return self.waiting.pop(0)


@dataclass
class Events:
    """The event log: names are enough."""

    names: list[str]

    def write(self, record: Any) -> None:
        self.names.append(record.event)


@dataclass
class Gateway:
    app: Any
    datapath: Datapath
    link: Link
    listen: Any
    events: list[str]

    def join(self) -> list[Any]:
        features = parser.OFPSwitchFeatures(self.datapath, datapath_id=1)
        self.happens(ofp_event.EventOFPSwitchFeatures, features)
        reply = parser.OFPPortDescStatsReply(self.datapath)
        reply.body = [
            parser.OFPPort(number, "02:00:00:00:00:01", name.encode(), 0, 0, 0, 0, 0, 0, 0, 0)
            for name, number in PORTS.items()
        ]
        self.happens(ofp_event.EventOFPPortDescStatsReply, reply)
        return self.datapath.taken()

    def happens(self, event: Any, message: Any) -> None:
        (take,) = self.app.get_handlers(event(message))
        take(event(message))

    def packet_in(self, in_port: int, data: bytes) -> list[Any]:
        message = parser.OFPPacketIn(
            self.datapath, of.OFP_NO_BUFFER, len(data), reason=of.OFPR_ACTION, data=data
        )
        message.match = parser.OFPMatch(in_port=in_port)
        self.happens(ofp_event.EventOFPPacketIn, message)
        return self.datapath.taken()

    def flow_removed(self, in_port: int, source: str, destination: str, reason: int) -> None:
        match = parser.OFPMatch(
            in_port=in_port, eth_type=0x86DD, ipv6_src=source, ipv6_dst=destination
        )
        message = parser.OFPFlowRemoved(self.datapath, reason=reason, match=match)
        self.happens(ofp_event.EventOFPFlowRemoved, message)

    def told(self, *datagrams: bytes) -> list[Any]:
        """Let the agent tell something; return the notices that came back."""
        self.link.waiting += datagrams
        with pytest.raises(LinkEnds):
            self.listen()
        sent, self.link.sent = self.link.sent, []
        return sent


@pytest.fixture
def gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Gateway:
    spawned: list[Any] = []
    monkeypatch.setattr(hub, "spawn", spawned.append)
    link, events = Link(), []
    monkeypatch.setattr(gateway_app, "GatewayLink", lambda *paths: link)
    monkeypatch.setattr(gateway_app, "EventLog", lambda *arguments: Events(events))
    configuration = {
        "ports": {"sg": "s-sg-sg", "r22": "s-sg-r22", "monitor": "s-sg-mon"},
        "mobile_nodes": [NODE1, NODE2, NODE3],
        "infrastructure": [str(COMPANY.vcm)],
        "socket": str(tmp_path / "socket"),
        "event_log": str(tmp_path / "events"),
        "idle_timeout_s": 12,
        **getattr(request, "param", {}),
    }
    path = tmp_path / "controller.json"
    path.write_text(json.dumps(configuration))
    given = gateway_app.Configuration.read(path)
    monkeypatch.setattr(gateway_app.GatewayApp, "configuration", given, raising=False)
    app = gateway_app.GatewayApp()
    handler.register_instance(app)
    (listen,) = spawned
    return Gateway(app, Datapath(), link, listen, events)


@pytest.fixture
def joined(gateway: Gateway) -> Gateway:
    gateway.join()
    return gateway


def frame(source: str, destination: str, payload: bytes = b"secret payload") -> bytes:
    return ethernet(ipv6(source, destination, udp(4000, 5000, payload)))


def outside(node: Any) -> bytes:
    return gateway_link.encode(
        gateway_link.NodeOutside(node.internal_home_address, node.external_home_address, None)
    )


def inside(node: Any) -> bytes:
    return gateway_link.encode(gateway_link.NodeOutside(node.internal_home_address, None, None))


def rules(messages: list[Any], command: int = of.OFPFC_ADD) -> list[Any]:
    found = [m for m in messages if isinstance(m, parser.OFPFlowMod)]
    return [m for m in found if m.command == command]


def matched(rule: Any) -> dict[str, Any]:
    return dict(rule.match.items())


def actions(rule: Any) -> list[tuple[str, int, int]]:
    (instruction,) = rule.instructions
    assert instruction.type == of.OFPIT_APPLY_ACTIONS
    return [(type(a).__name__, a.port, a.max_len) for a in instruction.actions]


def test_a_switch_that_joins_is_emptied_before_anything_else(gateway: Gateway):
    first = gateway.join()[0]
    assert (first.command, first.table_id, matched(first)) == (of.OFPFC_DELETE, 0, {})
    assert (first.out_port, first.out_group) == (of.OFPP_ANY, of.OFPG_ANY)
    assert gateway.events == ["switch_joined"]


def test_the_standing_rules_pass_everything_and_ask_about_mobile_nodes(gateway: Gateway):
    added = rules(gateway.join())
    passing = {r.match["in_port"]: actions(r) for r in added if r.priority == gateway_app.PASS}
    assert [a[1] for a in passing[SG]] == [ROUTER]
    assert [a[1] for a in passing[ROUTER]] == [SG]
    assert len(passing) == 2
    asking = [r for r in added if r.priority == gateway_app.ASK]
    assert len(asking) + len(passing) == len(added)
    expected = {
        (port, field, node)
        for port in (SG, ROUTER)
        for field in ("ipv6_src", "ipv6_dst")
        for node in (NODE1, NODE2, NODE3)
    }
    seen = set()
    for rule in asking:
        match = matched(rule)
        ((field, node),) = [(k, v) for k, v in match.items() if k.startswith("ipv6")]
        assert match["eth_type"] == 0x86DD
        assert actions(rule) == [("OFPActionOutput", of.OFPP_CONTROLLER, of.OFPCML_NO_BUFFER)]
        seen.add((match["in_port"], field, node))
    assert seen == expected
    assert all(rule.idle_timeout == 0 for rule in added)


def test_a_first_packet_goes_on_and_its_flow_is_switched_from_then_on(joined: Gateway):
    data = frame(NODE1, FS)
    out, rule = joined.packet_in(SG, data)
    assert (out.data, out.in_port, out.buffer_id) == (data, SG, of.OFP_NO_BUFFER)
    assert [a.port for a in out.actions] == [ROUTER]
    assert rule.priority == gateway_app.KNOWN
    assert matched(rule) == {
        "in_port": SG,
        "eth_type": 0x86DD,
        "ipv6_src": NODE1,
        "ipv6_dst": FS,
    }
    assert (rule.idle_timeout, rule.hard_timeout) == (12, 0)
    assert rule.flags == of.OFPFF_SEND_FLOW_REM
    assert [port for _, port, _ in actions(rule)] == [ROUTER]


def test_flows_between_mobile_nodes_are_mirrored_from_sg_s_side_cut_to_headers(joined: Gateway):
    _, rule = joined.packet_in(SG, frame(NODE1, NODE2))
    assert actions(rule)[1:] == [("NXActionOutputTrunc", MONITOR, gateway_app.MIRRORED_BYTES)]
    _, rule = joined.packet_in(ROUTER, frame(NODE1, NODE2))
    assert [port for _, port, _ in actions(rule)] == [SG]


@pytest.mark.parametrize("port", [MONITOR, 99])
def test_what_comes_in_elsewhere_is_not_answered(joined: Gateway, port: int):
    assert joined.packet_in(port, frame(NODE1, NODE2)) == []


@pytest.mark.parametrize(
    "data",
    [b"", frame(NODE1, NODE2)[:50], ethernet((41, b"\x50" + bytes(60)))],
    ids=["empty", "cut", "version 5"],
)
def test_a_packet_that_is_no_ipv6_is_dropped_with_a_word(
    joined: Gateway, data: bytes, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING):
        assert joined.packet_in(SG, data) == []
    assert "packet from sg dropped" in caplog.text


def test_202_tells_who_is_outside_and_then_the_session(joined: Gateway):
    assert joined.told(outside(MN1)) != []
    joined.told(outside(MN2))
    joined.packet_in(SG, frame(NODE1, NODE2))
    *_, last = joined.told()
    assert last == SessionDetected(MN1.internal_home_address, MN2.internal_home_address)
    assert joined.events.count("sg_session_detected") == 1


def test_202_carries_the_correspondents_that_were_seen_before(joined: Gateway):
    joined.packet_in(ROUTER, frame(NODE2, NODE1))
    joined.packet_in(SG, frame(NODE1, FS))
    joined.told()
    (notice,) = joined.told(outside(MN1))
    assert isinstance(notice, NodeExternal)
    assert notice.external_home_address == MN1.external_home_address
    assert set(notice.correspondents) == {MN2.internal_home_address, IPv6Address(FS)}


def test_a_node_that_is_inside_again_is_told(joined: Gateway):
    joined.told(outside(MN1))
    assert joined.told(inside(MN1)) == [NodeInternal(MN1.internal_home_address)]


@pytest.mark.parametrize(
    ("gateway", "notices"),
    [
        ({"trigger": "session"}, [NodeExternal, NodeExternal, SessionDetected]),
        ({"trigger": "initiation"}, [NodeExternal, NodeExternal]),
        ({"notice": "combined"}, [NodeExternal, NodeExternal]),
    ],
    indirect=["gateway"],
)
def test_what_the_vcm_is_told_and_how_follows_the_configuration(
    joined: Gateway, notices: list[type]
):
    joined.told(outside(MN1))
    joined.packet_in(ROUTER, frame(NODE2, NODE1))
    assert [type(notice) for notice in joined.told(outside(MN2))] == notices


def test_a_pair_that_is_over_has_its_flows_looked_at_again(joined: Gateway):
    joined.told(outside(MN1), outside(MN2))
    joined.packet_in(SG, frame(NODE1, NODE2))
    joined.packet_in(SG, frame(NODE2, NODE1))
    over = gateway_link.PairOver(MN1.internal_home_address, MN2.internal_home_address, idle=True)
    joined.told(gateway_link.encode(over))
    removed = rules(joined.datapath.taken(), of.OFPFC_DELETE_STRICT)
    assert {(r.match["ipv6_src"], r.match["ipv6_dst"]) for r in removed} == {
        (NODE1, NODE2),
        (NODE2, NODE1),
    }
    assert all(r.priority == gateway_app.KNOWN and r.match["in_port"] == SG for r in removed)
    joined.packet_in(SG, frame(NODE1, NODE2))
    assert isinstance(joined.told()[-1], SessionDetected)


@pytest.mark.parametrize(
    ("reason", "sessions"),
    [(of.OFPRR_IDLE_TIMEOUT, 2), (of.OFPRR_DELETE, 1)],
    ids=["idle", "deleted"],
)
def test_only_idleness_ends_a_session(joined: Gateway, reason: int, sessions: int):
    joined.told(outside(MN1), outside(MN2))
    joined.packet_in(SG, frame(NODE1, NODE2))
    joined.flow_removed(SG, NODE1, NODE2, reason)
    joined.packet_in(SG, frame(NODE1, NODE2))
    assert [type(n) for n in joined.told()].count(SessionDetected) == sessions


def test_after_a_reconnection_every_flow_is_seen_again(joined: Gateway):
    joined.told(outside(MN1), outside(MN2))
    joined.packet_in(SG, frame(NODE1, NODE2))
    assert joined.join()[0].command == of.OFPFC_DELETE
    _, rule = joined.packet_in(SG, frame(NODE1, NODE2))
    assert rule.priority == gateway_app.KNOWN


def test_a_malformed_datagram_does_not_end_the_link(
    joined: Gateway, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        (notice,) = joined.told(b"what?", outside(MN1))
    assert isinstance(notice, NodeExternal)
    assert "bad-telling" in caplog.text
