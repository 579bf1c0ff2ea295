"""What the security gateway decides (seed: 20); runs in the Ryu process, sans I/O.

Hairpin traffic crosses the gateway's switch twice: decrypted from sg to the LAN, and back from the
router to be encrypted again. Only the pass from sg counts and is mirrored. What comes from the
router's side and is not on its second pass has an inside node as its source; that counts as well.

A node is known by its home address or, as headers tell them to be one, by its care-of address: with
public addresses, those inside have some.
"""

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.host.effects import Record
from mobivpn.ipsec.selector import IPPROTO_MH
from mobivpn.sessions.detector import Detector, Session
from mobivpn.sessions.packet import PacketSummary
from mobivpn.signalling.messages import (
    MAX_CORRESPONDENTS,
    MAX_SESSIONS,
    MoreCorrespondents,
    NodeExternal,
    NodeInternal,
    SessionDetected,
)
from mobivpn.variants import Trigger


class PortRole(Enum):
    """What is at the other end of a port of the gateway's switch."""

    GATEWAY = "sg"
    ROUTER = "r22"
    MONITOR = "monitor"

    @property
    def opposite(self) -> "PortRole":
        """Where what comes in here goes."""
        return PortRole.ROUTER if self is PortRole.GATEWAY else PortRole.GATEWAY


@dataclass(frozen=True, slots=True)
class Flow:
    """All packets from one address to another that come in by one port."""

    in_port: PortRole
    source: IPv6Address
    destination: IPv6Address


def _order(flow: Flow) -> tuple[str, IPv6Address, IPv6Address]:
    return (flow.in_port.value, flow.source, flow.destination)


@dataclass(frozen=True, slots=True)
class ForwardPacket:
    """Let the packet that came to the controller go on by a port."""

    out_port: PortRole


@dataclass(frozen=True, slots=True)
class InstallFlow:
    """Switch a flow in the datapath until it is idle; `mirror` its headers to the monitor port."""

    flow: Flow
    out_port: PortRole
    mirror: bool
    idle_timeout_s: int


@dataclass(frozen=True, slots=True)
class RemoveFlow:
    """Let the next packet of a flow come to the controller again."""

    flow: Flow


Notice = NodeExternal | MoreCorrespondents | NodeInternal | SessionDetected


@dataclass(frozen=True, slots=True)
class Notify:
    """Send the VCM a notice (202) over the SG-VCM association."""

    notice: Notice


Effect = ForwardPacket | InstallFlow | RemoveFlow | Notify | Record


@dataclass(frozen=True, slots=True)
class _External:
    external_home_address: IPv6Address
    care_of_address: IPv6Address | None
    departure: int
    told: tuple[Session, ...] = ()
    """Sessions whose detection is in every notice of this departure: a later one replaces an
    earlier one that has not arrived."""


@dataclass(slots=True)
class GatewayCore:
    """The session detector between the events of a switch and the VCM.

    `mobile_nodes` are internal home addresses; `infrastructure` are addresses whose packets are
    no session of anybody (the VCM's). `trigger` says which sessions the VCM is told of; those that
    a node's leaving makes are told in the `NodeExternal` of that node if notices are `combined`.
    `next_departure` has to be greater than any number that an earlier start of this program has
    used.
    """

    mobile_nodes: frozenset[IPv6Address]
    infrastructure: frozenset[IPv6Address] = frozenset()
    idle_timeout_s: int = 30
    next_departure: int = 1
    trigger: Trigger = Trigger.BOTH
    combined: bool = False
    _detector: Detector[Flow] = field(init=False)
    _second_passes: set[Flow] = field(default_factory=set[Flow])
    _external: dict[IPv6Address, _External] = field(default_factory=dict[IPv6Address, _External])
    _home_by_care_of_address: dict[IPv6Address, IPv6Address] = field(
        default_factory=dict[IPv6Address, IPv6Address]
    )

    def __post_init__(self) -> None:
        self._detector = Detector[Flow](self.trigger)

    @property
    def deadline(self) -> float | None:
        """None: it is the switch that counts idle time."""
        return None

    def switch_joined(self, now: float) -> list[Effect]:
        """The switch has (re)connected and its table is empty: every flow will show up again."""
        self._detector.flows_lost()
        self._second_passes.clear()
        return []

    def packet_in(self, in_port: PortRole, packet: PacketSummary, now: float) -> list[Effect]:
        """A packet of an unknown flow has come to the controller.

        One of Mobile IPv6's own belongs to no session, and stands for no flow.
        """
        if packet.next_header == IPPROTO_MH:
            return [ForwardPacket(in_port.opposite)]
        flow = Flow(in_port, packet.source, packet.destination)
        for care_of_address, home_address in (
            (packet.source, packet.source_home_address),
            (packet.destination, packet.destination_home_address),
        ):
            if home_address is not None and home_address in self.mobile_nodes:
                self._home_by_care_of_address[care_of_address] = home_address
        mobile = set(self._ends(flow)) & self.mobile_nodes
        effects: list[Effect] = [
            ForwardPacket(in_port.opposite),
            InstallFlow(
                flow,
                in_port.opposite,
                mirror=in_port is PortRole.GATEWAY and len(mobile) == 2,
                idle_timeout_s=self.idle_timeout_s,
            ),
        ]
        if not self._of_somebody(flow):
            return effects
        if flow.in_port is PortRole.ROUTER and flow.source in self._external:
            self._second_passes.add(flow)
            return effects
        session = Session.between(*self._ends(flow))
        known = self._detector.is_live(session)
        detected = self._detector.flow_seen(session, flow)
        if not known and not detected:
            for node in (session.first, session.second):
                effects += self._external_notices(node)
        return [*effects, *self._session_notices(detected)]

    def flow_removed(self, flow: Flow, now: float) -> list[Effect]:
        """A flow has been idle. That ends its session at the gateway, never a direct pair."""
        self._second_passes.discard(flow)
        if self._of_somebody(flow):
            self._detector.flow_ended(Session.between(*self._ends(flow)), flow)
        return []

    def node_external(
        self,
        internal_home_address: IPv6Address,
        external_home_address: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
    ) -> list[Effect]:
        """The outbound SA of a node has become active, or its binding stands (202).

        Told again for a node that is outside already, as after a handover, it changes nothing.
        """
        if internal_home_address in self._external:
            return []
        detected = self._detector.node_left(internal_home_address)
        told = tuple(detected[:MAX_SESSIONS]) if self.combined else ()
        self._external[internal_home_address] = _External(
            external_home_address, care_of_address, self.next_departure, told
        )
        self.next_departure += 1
        return [
            *self._external_notices(internal_home_address),
            Record(
                "sg_mn_external",
                "202",
                {
                    "node": str(internal_home_address),
                    "external_home_address": str(external_home_address),
                    "correspondents": [
                        str(a) for a in self._detector.correspondents(internal_home_address)
                    ],
                },
            ),
            *self._session_notices(detected, told),
        ]

    def node_internal(self, internal_home_address: IPv6Address, now: float) -> list[Effect]:
        """A node is back inside; the VCM has to know.

        What was the second pass of its packets is the only one now, and has to count.
        """
        if self._external.pop(internal_home_address, None) is None:
            return []
        self._detector.node_returned(internal_home_address)
        uncounted = {f for f in self._second_passes if f.source == internal_home_address}
        self._second_passes -= uncounted
        return [
            Notify(NodeInternal(internal_home_address)),
            Record("sg_mn_internal", None, {"node": str(internal_home_address)}),
            *(RemoveFlow(flow) for flow in sorted(uncounted, key=_order)),
        ]

    def pair_withdrawn(
        self, first: IPv6Address, second: IPv6Address, now: float, *, idle: bool = False
    ) -> list[Effect]:
        """Two nodes are not direct any more: their next packet has to be a trigger again.

        Their flows may still be in the switch, where nobody would see it. A pair that was `idle`
        ends the session; one that ended otherwise leaves it to be detected once more, unless the
        trigger has not been met since (the pair was one of an earlier absence).
        """
        session = Session.between(first, second)
        if idle:
            flows = self._detector.end(session)
        elif self._detector.was_detected(session):
            flows = self._detector.forget(session)
        else:
            return []
        return [RemoveFlow(flow) for flow in sorted(flows, key=_order)]

    def _ends(self, flow: Flow) -> tuple[IPv6Address, IPv6Address]:
        """Return the addresses under which the ends of a flow are known."""
        homes = self._home_by_care_of_address
        return (
            homes.get(flow.source, flow.source),
            homes.get(flow.destination, flow.destination),
        )

    def _of_somebody(self, flow: Flow) -> bool:
        """Tell whether a flow is a mobile node's with a correspondent."""
        ends = set(self._ends(flow))
        return len(ends) == 2 and bool(ends & self.mobile_nodes) and not ends & self.infrastructure

    def _external_notices(self, node: IPv6Address) -> list[Effect]:
        """Return 202 with all correspondents of a node, in as many messages as they need."""
        outside = self._external.get(node)
        if outside is None:
            return []
        peers = self._detector.correspondents(node)
        return [
            Notify(
                NodeExternal(
                    internal_home_address=node,
                    external_home_address=outside.external_home_address,
                    departure=outside.departure,
                    care_of_address=outside.care_of_address,
                    correspondents=peers[:MAX_CORRESPONDENTS],
                    in_session_with=tuple(
                        peer
                        for session in outside.told
                        if self._detector.is_detected(session)
                        and (peer := session.peer_of(node)) is not None
                    ),
                )
            ),
            *(
                Notify(MoreCorrespondents(node, peers[first : first + MAX_CORRESPONDENTS]))
                for first in range(MAX_CORRESPONDENTS, len(peers), MAX_CORRESPONDENTS)
            ),
        ]

    def _session_notices(
        self, detected: list[Session], told: tuple[Session, ...] = ()
    ) -> list[Effect]:
        """Return 202 with sessions, but those that have been `told` already."""
        effects: list[Effect] = []
        for session in detected:
            if session not in told:
                effects.append(Notify(SessionDetected(session.first, session.second)))
            nodes = [str(session.first), str(session.second)]
            effects.append(Record("sg_session_detected", "202", {"nodes": nodes}))
        return effects
