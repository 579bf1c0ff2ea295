"""The gateway's session detector as a Ryu application: a shim around `sessions.gateway`.

The first packet of a flow comes here; a rule then switches the rest in the datapath and counts it
there. Mobile-to-mobile flows are mirrored to the VCM's monitor port, cut to their headers.
"""

import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3

from agents.event_log import EventLog
from controllers import gateway_link
from controllers.gateway_link import GatewayLink, NodeOutside
from mobivpn.errors import CallerError, MalformedError
from mobivpn.host.effects import Record
from mobivpn.sessions import gateway
from mobivpn.sessions.gateway import (
    Flow,
    ForwardPacket,
    GatewayCore,
    InstallFlow,
    Notify,
    PortRole,
    RemoveFlow,
)
from mobivpn.sessions.packet import summarise
from mobivpn.variants import Notice, Trigger

IPV6 = 0x86DD
PASS, ASK, KNOWN = 1, 10, 20
"""Priorities: what is none of the detector's business, what it has to see, what it has seen."""

MIRRORED_BYTES = 128
"""Ethernet, IPv6 and transport headers with room for options."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Which port is which, whose packets are sessions, and how the VCM is told of them."""

    ports: dict[PortRole, str]
    mobile_nodes: tuple[str, ...]
    infrastructure: tuple[str, ...]
    socket: str
    event_log: str
    idle_timeout_s: int = 30
    trigger: Trigger = Trigger.BOTH
    notice: Notice = Notice.SEPARATE

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """Read a configuration file (JSON); raise CallerError naming it and what is wrong."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise CallerError(f"{path}: {error}") from error


class GatewayApp(app_manager.RyuApp):
    """One switch, one core."""

    OFP_VERSIONS: ClassVar[list[int]] = [ofproto_v1_3.OFP_VERSION]
    configuration: ClassVar[Configuration]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        mine = self.configuration
        self._core = GatewayCore(
            mobile_nodes=frozenset(map(IPv6Address, mine.mobile_nodes)),
            infrastructure=frozenset(map(IPv6Address, mine.infrastructure)),
            idle_timeout_s=mine.idle_timeout_s,
            next_departure=time.time_ns() // 1000,
            trigger=mine.trigger,
            combined=mine.notice is Notice.COMBINED,
        )
        self._log = EventLog(Path(mine.event_log), "sg")
        path = Path(mine.socket)
        self._link = GatewayLink(gateway_link.application_path(path), gateway_link.agent_path(path))
        self._datapath: Any = None
        self._number: dict[PortRole, int] = {}
        hub.spawn(self._listen)

    def _listen(self) -> None:
        """Take what the sg agent tells."""
        while True:
            try:
                told = gateway_link.decode(self._link.receive())
            except MalformedError as error:
                self.logger.error("%s", error)
                continue
            now = time.monotonic()
            if not isinstance(told, NodeOutside):
                effects = self._core.pair_withdrawn(told.first, told.second, now, idle=told.idle)
            elif told.external_home_address is None:
                effects = self._core.node_internal(told.internal_home_address, now)
            else:
                effects = self._core.node_external(
                    told.internal_home_address,
                    told.external_home_address,
                    told.care_of_address,
                    now,
                )
            self._carry_out(effects, None)

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def _switch_joined(self, event: Any) -> None:
        self._datapath = event.msg.datapath
        # A switch keeps its table while it has no controller; these flows would never show up here.
        self._delete(self._parser.OFPMatch(), ofproto_v1_3.OFPFC_DELETE)
        self._send(self._parser.OFPPortDescStatsRequest(self._datapath, 0))

    @set_ev_cls(ofp_event.EventOFPPortDescStatsReply, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def _ports_told(self, event: Any) -> None:
        number_by_name = {port.name.decode(): port.port_no for port in event.msg.body}
        self._number = {role: number_by_name[self.configuration.ports[role]] for role in PortRole}
        for role in (PortRole.GATEWAY, PortRole.ROUTER):
            out = [self._parser.OFPActionOutput(self._number[role.opposite])]
            self._add(PASS, self._parser.OFPMatch(in_port=self._number[role]), out)
            ask = [self._parser.OFPActionOutput(ofproto_v1_3.OFPP_CONTROLLER, 0xFFFF)]
            for node in self.configuration.mobile_nodes:
                for field in ("ipv6_src", "ipv6_dst"):
                    match = {"in_port": self._number[role], "eth_type": IPV6, field: node}
                    self._add(ASK, self._parser.OFPMatch(**match), ask)
        self._carry_out(self._core.switch_joined(time.monotonic()), None)
        self._log.write(Record("switch_joined"))

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def _packet_in(self, event: Any) -> None:
        message = event.msg
        role = next(
            (r for r, number in self._number.items() if number == message.match["in_port"]), None
        )
        if role not in (PortRole.GATEWAY, PortRole.ROUTER):
            return
        try:
            packet = summarise(message.data)
        except MalformedError as error:
            # The datapath reads addresses without looking at the version.
            self.logger.warning("packet from %s dropped: %s", role.value, error)
            return
        self._carry_out(self._core.packet_in(role, packet, time.monotonic()), message)

    @set_ev_cls(ofp_event.EventOFPFlowRemoved, MAIN_DISPATCHER)
    def _flow_removed(self, event: Any) -> None:
        message = event.msg
        if message.reason != ofproto_v1_3.OFPRR_IDLE_TIMEOUT:
            return
        match = message.match
        role = next(r for r, number in self._number.items() if number == match["in_port"])
        flow = Flow(role, IPv6Address(match["ipv6_src"]), IPv6Address(match["ipv6_dst"]))
        self._carry_out(self._core.flow_removed(flow, time.monotonic()), None)

    @property
    def _parser(self) -> Any:
        return self._datapath.ofproto_parser

    def _carry_out(self, effects: list[gateway.Effect], packet: Any) -> None:
        for effect in effects:
            match effect:
                case ForwardPacket(out_port):
                    self._forward(packet, out_port)
                case InstallFlow():
                    self._install(effect)
                case RemoveFlow(flow):
                    strict = ofproto_v1_3.OFPFC_DELETE_STRICT
                    self._delete(self._match(flow), strict, KNOWN)
                case Notify(notice):
                    self._link.send(gateway_link.encode_notice(notice))
                case Record():
                    self._log.write(effect)

    def _forward(self, packet: Any, out_port: PortRole) -> None:
        self._send(
            self._parser.OFPPacketOut(
                datapath=self._datapath,
                buffer_id=ofproto_v1_3.OFP_NO_BUFFER,
                in_port=packet.match["in_port"],
                actions=[self._parser.OFPActionOutput(self._number[out_port])],
                data=packet.data,
            )
        )

    def _match(self, flow: Flow) -> Any:
        return self._parser.OFPMatch(
            in_port=self._number[flow.in_port],
            eth_type=IPV6,
            ipv6_src=str(flow.source),
            ipv6_dst=str(flow.destination),
        )

    def _install(self, effect: InstallFlow) -> None:
        actions = [self._parser.OFPActionOutput(self._number[effect.out_port])]
        if effect.mirror:
            monitor = self._number[PortRole.MONITOR]
            actions.append(self._parser.NXActionOutputTrunc(port=monitor, max_len=MIRRORED_BYTES))
        self._add(KNOWN, self._match(effect.flow), actions, effect.idle_timeout_s)

    def _add(self, priority: int, match: Any, actions: list[Any], idle_timeout_s: int = 0) -> None:
        apply = self._parser.OFPInstructionActions(ofproto_v1_3.OFPIT_APPLY_ACTIONS, actions)
        self._send(
            self._parser.OFPFlowMod(
                datapath=self._datapath,
                priority=priority,
                match=match,
                instructions=[apply],
                idle_timeout=idle_timeout_s,
                flags=ofproto_v1_3.OFPFF_SEND_FLOW_REM if idle_timeout_s else 0,
            )
        )

    def _delete(self, match: Any, command: int, priority: int = 0) -> None:
        self._send(
            self._parser.OFPFlowMod(
                datapath=self._datapath,
                command=command,
                priority=priority,
                match=match,
                out_port=ofproto_v1_3.OFPP_ANY,
                out_group=ofproto_v1_3.OFPG_ANY,
            )
        )

    def _send(self, message: Any) -> None:
        self._datapath.send_msg(message)
