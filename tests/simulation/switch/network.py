"""Gateway, VCM and mobile nodes in memory, on a virtual clock and a network that does its worst.

Every actor is the core that runs in the lab. What the edges do is done here: datagrams are
delivered (lost, doubled, reordered), kernels take changes (later, in order, or refuse them), the
gateway's switch matches flows and counts their idle time, packets go where kernels send them.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from itertools import count
from typing import Any

from mobivpn.clock import earliest
from mobivpn.host.effects import Record
from mobivpn.host.keyring import Keyring
from mobivpn.host.node_databases import DirectPair
from mobivpn.host.plan import NodeIdentity
from mobivpn.host.sa_endpoint import SaEndpoint, Settle
from mobivpn.ipsec.sa import EspAlgorithm, SecurityAssociation
from mobivpn.sessions.gateway import (
    Flow,
    ForwardPacket,
    GatewayCore,
    InstallFlow,
    Notify,
    PortRole,
    RemoveFlow,
)
from mobivpn.sessions.packet import PacketSummary
from mobivpn.signalling import codec
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal
from mobivpn.signalling.messages import PairWithdrawn, Request
from mobivpn.variants import KeyScheme, Trigger
from mobivpn.vcm.context import MobileNodeContext, RemoveContext, StoreContext
from mobivpn.vcm.manager import Manager
from tests.support.company import COMPANY, MN1, MN2, MN3, DifferentBytes

UDP = 17
SIGNALLING_DELAY_S = {MN1: 0.0206, MN2: 0.0456, MN3: 0.0236}
"""One way between a node and the VCM: wifi1, cell, wifi2."""
BINDING_DELAY_S = 0.02


@dataclass
class Faults:
    """What goes wrong, as probabilities, and within which time."""

    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    kernel_delay_s: float = 0.0
    refusal: float = 0.0


class Node:
    """A mobile node: the core, and a kernel that obeys it after a while."""

    def __init__(self, identity: NodeIdentity, epoch: int, keyring: Keyring) -> None:
        self.identity = identity
        signalling = SignallingEndpoint(epoch, [COMPANY.vcm])
        self.endpoint = SaEndpoint(identity, COMPANY, signalling, keyring)
        self.outside = False
        self.kernel: dict[NodeIdentity, DirectPair] = {}
        self.kernel_free_at = 0.0
        self.forgotten_up_to = 0
        """The last pair of which it may have been an end when it last came home."""

    @property
    def address(self) -> IPv6Address:
        return self.identity.internal_home_address

    def encrypts_for(self, peer: "Node") -> SecurityAssociation | None:
        pair = self.kernel.get(peer.identity)
        return pair.outbound if pair is not None else None

    def decrypts(self, sa: SecurityAssociation) -> bool:
        held = (a for pair in self.kernel.values() for a in pair.associations)
        return sa.destination == self.identity.external_home_address and sa in held


@dataclass
class World:
    """All actors, and what happens next."""

    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    lifetime_s: int = 3600
    idle_timeout_s: int = 30
    trigger: Trigger = Trigger.BOTH
    combined: bool = False
    direct_delay_s: float = 0.035
    keys: KeyScheme = KeyScheme.SEPARATE
    algorithms: dict[NodeIdentity, tuple[EspAlgorithm, ...]] = field(default_factory=dict)
    """What nodes propose, if not all."""
    now: float = 0.0
    records: list[tuple[float, str, Record]] = field(default_factory=list)
    paths: Counter[str] = field(default_factory=Counter)
    """How many packets went `lan`, `gateway`, `direct`, or were `lost`."""
    visits: Counter[Flow] = field(default_factory=Counter)
    """How many packets of a flow have come to the controller."""
    stored: dict[IPv6Address, MobileNodeContext] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)
    deaf_to: type[Request] | None = None
    """A kind of message that the VCM does not get."""
    unheard: list[tuple[IPv6Address, SendSignal]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._order = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._flows: dict[Flow, tuple[InstallFlow, float]] = {}
        own_keys = DifferentBytes() if self.keys is KeyScheme.BLIND else None
        self.nodes = {
            identity: Node(
                identity, 1, Keyring(self.algorithms.get(identity, tuple(EspAlgorithm)), own_keys)
            )
            for identity in COMPANY.nodes
        }
        self._by_address = {node.address: node for node in self.nodes.values()}
        self.manager = Manager(
            epoch=1,
            security_gateway=COMPANY.security_gateway_inside,
            nodes=self._by_address,
            random_bytes=DifferentBytes(),
            lifetime_s=self.lifetime_s,
            keys=self.keys,
        )
        self.gateway = GatewayCore(
            mobile_nodes=frozenset(self._by_address),
            infrastructure=frozenset({COMPANY.vcm}),
            idle_timeout_s=self.idle_timeout_s,
            trigger=self.trigger,
            combined=self.combined,
        )
        self._sg = SignallingEndpoint(1, [COMPANY.vcm, COMPANY.internal_router])

    # Time

    def run_until(self, end: float) -> None:
        """Let everything happen that is due until `end`, and hold the invariant at each step."""
        while True:
            actors = (self.manager, self._sg, *(n.endpoint for n in self.nodes.values()))
            due = earliest(
                (
                    self._events[0][0] if self._events else None,
                    *(actor.deadline for actor in actors),
                    self._idle_at(),
                )
            )
            if due is None or due > end:
                self.now = end
                return
            self.now = max(self.now, due)
            self._step()
            self.assert_nobody_encrypts_in_vain()

    def _step(self) -> None:
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        if _is_due(self.manager.deadline, self.now):
            self._from_manager(self.manager.timer_expired(self.now))
        if _is_due(self._sg.deadline, self.now):
            self._from_sg(self._sg.timer_expired(self.now))
        for node in self.nodes.values():
            if _is_due(node.endpoint.deadline, self.now):
                self._from_node(node, node.endpoint.timer_expired(self.now))
        for flow, (rule, used_at) in tuple(self._flows.items()):
            if self.now >= used_at + rule.idle_timeout_s:
                del self._flows[flow]
                self._from_gateway(self.gateway.flow_removed(flow, self.now))

    def _idle_at(self) -> float | None:
        return earliest(at + rule.idle_timeout_s for rule, at in self._flows.values())

    def at(self, time: float, happens: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._events, (time, next(self._order), happens))

    # What users do

    def leave(self, identity: NodeIdentity) -> None:
        """A node is outside; its binding reaches sg a little later."""
        node = self.nodes[identity]
        node.outside = True
        self._from_node(node, node.endpoint.went_outside(self.now))
        self.at(self.now + BINDING_DELAY_S, lambda: self._tell_gateway(node, outside=True))

    def return_home(self, identity: NodeIdentity, *, unnoticed: bool = False) -> None:
        """A node is inside; unless it is gone again at once, sg hears of it."""
        node = self.nodes[identity]
        node.outside = False
        minted = [r for _, _, r in self.records if r.event == "vcm_pair_minted"]
        node.forgotten_up_to = max((int(str(r.details["pair"])) for r in minted), default=0)
        self._from_node(node, node.endpoint.came_inside())
        if not unnoticed:
            self.at(self.now + 0.001, lambda: self._tell_gateway(node, outside=False))

    def talk(
        self, one: NodeIdentity, other: NodeIdentity, until: float, every_s: float = 0.05
    ) -> None:
        """Let two nodes send each other packets, from now on."""
        for source, destination in ((one, other), (other, one)):
            self.at(self.now, lambda s=source, d=destination: self.packet(s, d))
        if self.now + every_s <= until:
            self.at(self.now + every_s, lambda: self.talk(one, other, until, every_s))

    def packet(self, source: NodeIdentity, destination: NodeIdentity) -> None:
        """A node sends a packet; it goes where the kernels and the switch send it."""
        sender, receiver = self.nodes[source], self.nodes[destination]
        sa = sender.encrypts_for(receiver)
        if sa is not None:
            self.at(self.now + self.direct_delay_s, lambda: self._arrives(sa, receiver))
            return
        for in_port, takes in (
            (PortRole.GATEWAY, sender.outside),
            (PortRole.ROUTER, receiver.outside),
        ):
            if takes:
                self._switch(Flow(in_port, sender.address, receiver.address))
        self.paths["gateway" if sender.outside or receiver.outside else "lan"] += 1

    def hear_the_first(self, identity: NodeIdentity) -> None:
        """Let the VCM hear the first of what it was deaf to of a node, once."""
        address = identity.internal_home_address
        sent = next(sent for source, sent in self.unheard if source == address)
        self._from_manager(self.manager.datagram_received(address, sent.payload, self.now))

    # What can be asked

    def protected(self, one: NodeIdentity, other: NodeIdentity) -> bool:
        """Tell whether two nodes encrypt for each other, and can decrypt it."""
        first, second = self.nodes[one], self.nodes[other]
        there, back = first.encrypts_for(second), second.encrypts_for(first)
        return (
            there is not None
            and back is not None
            and second.decrypts(there)
            and first.decrypts(back)
        )

    def untouched(self, *identities: NodeIdentity) -> bool:
        """Tell whether nothing of any pair is left in the kernels of some nodes."""
        return all(not self.nodes[identity].kernel for identity in identities)

    def events(self, *names: str) -> list[str]:
        """Return the recorded events of these names, in order."""
        return [record.event for _, _, record in self.records if record.event in names]

    def assert_nobody_encrypts_in_vain(self) -> None:
        """No end encrypts what the other cannot decrypt, unless the other has gone home."""
        for sender in self.nodes.values():
            for peer, pair in sender.kernel.items():
                receiver = self.nodes[peer]
                if pair.outbound is None or not receiver.outside:
                    continue
                number = int(pair.outbound.name.removeprefix("pair").split(".")[0])
                if number > receiver.forgotten_up_to:
                    assert receiver.decrypts(pair.outbound), (self.now, sender.identity.name)

    def installed_keys(self) -> list[bytes]:
        """Return the keying material of all direct associations in all kernels."""
        return [
            sa.key
            for node in self.nodes.values()
            for pair in node.kernel.values()
            for sa in pair.associations
        ]

    # Between the actors

    def _tell_gateway(self, node: Node, *, outside: bool) -> None:
        """Let sg know; what is not true any more has been overtaken by what is."""
        if node.outside != outside:
            return
        me = node.identity
        self._from_gateway(
            self.gateway.node_external(
                me.internal_home_address, me.external_home_address, None, self.now
            )
            if outside
            else self.gateway.node_internal(me.internal_home_address, self.now)
        )

    def _switch(self, flow: Flow) -> None:
        known = self._flows.get(flow)
        if known is not None:
            self._flows[flow] = (known[0], self.now)
            return
        self.visits[flow] += 1
        packet = PacketSummary(flow.source, flow.destination, UDP, 7007, 7007)
        self._from_gateway(self.gateway.packet_in(flow.in_port, packet, self.now))

    def _arrives(self, sa: SecurityAssociation, receiver: Node) -> None:
        self.paths["direct" if receiver.outside and receiver.decrypts(sa) else "lost"] += 1

    def _deliver(self, source: IPv6Address, sent: SendSignal) -> None:
        """Put a datagram on the network, and perhaps a second copy of it."""
        self.payloads.append(sent.payload)
        copies = 2 if self._random.random() < self.faults.duplication else 1
        for _ in range(copies):
            if self._random.random() >= self.faults.loss:
                delay = self._delay_s(source) + self._delay_s(sent.destination)
                jitter = self._random.uniform(0, self.faults.jitter_s)
                self.at(self.now + delay + jitter, lambda: self._received(source, sent))

    def _delay_s(self, address: IPv6Address) -> float:
        node = self._by_address.get(address)
        return SIGNALLING_DELAY_S[node.identity] if node is not None else 0.0002

    def _received(self, source: IPv6Address, sent: SendSignal) -> None:
        if self.deaf_to is not None and isinstance(
            codec.decode(sent.payload).message, self.deaf_to
        ):
            self.unheard.append((source, sent))
        elif sent.destination == COMPANY.vcm:
            self._from_manager(self.manager.datagram_received(source, sent.payload, self.now))
        elif sent.destination == COMPANY.security_gateway_inside:
            self._from_sg(self._sg.datagram_received(source, sent.payload))
        else:
            node = self._by_address[sent.destination]
            effects = node.endpoint.datagram_received(source, sent.payload, self.now)
            self._from_node(node, effects)

    def _from_manager(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case SendSignal():
                    self._deliver(COMPANY.vcm, effect)
                case Record():
                    self.records.append((self.now, "vcm", effect))
                case StoreContext(context):
                    self.stored[context.external_home_address] = context
                case RemoveContext(node):
                    del self.stored[node]

    def _from_sg(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case SendSignal():
                    self._deliver(COMPANY.security_gateway_inside, effect)
                case Delivered(_, PairWithdrawn(first, second, idle)):
                    self._from_gateway(
                        self.gateway.pair_withdrawn(first, second, self.now, idle=idle)
                    )

    def _from_gateway(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case ForwardPacket():
                    pass
                case InstallFlow(flow):
                    self._flows[flow] = (effect, self.now)
                case RemoveFlow(flow):
                    self._flows.pop(flow, None)
                case Notify(notice):
                    self._from_sg(self._sg.request(COMPANY.vcm, notice, self.now))
                case Record():
                    self.records.append((self.now, "sg", effect))

    def _from_node(self, node: Node, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case SendSignal():
                    self._deliver(node.address, effect)
                case Settle(token):
                    self._settle(node, token)
                case Record():
                    self.records.append((self.now, node.identity.name, effect))

    def _settle(self, node: Node, token: str | None) -> None:
        """Bring a kernel to what its node wants now; changes are taken in order."""
        wanted = {pair.peer: pair for pair in node.endpoint.pairs}
        delay = self._random.uniform(0, self.faults.kernel_delay_s)
        node.kernel_free_at = max(node.kernel_free_at, self.now + delay)
        may_refuse = token is not None and not token.startswith("went back")
        refused = may_refuse and self._random.random() < self.faults.refusal
        self.at(node.kernel_free_at, lambda: self._apply(node, wanted, token, refused))

    def _apply(
        self,
        node: Node,
        wanted: dict[NodeIdentity, DirectPair],
        token: str | None,
        refused: bool,
    ) -> None:
        if not refused:
            node.kernel = wanted
        if token is not None:
            why = "EINVAL" if refused else None
            self._from_node(node, node.endpoint.applied(token, why, self.now))


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now


def two_external_nodes(world: World) -> None:
    """Let figure 2 begin: both nodes talk inside, then MN2 leaves, then MN1."""
    world.talk(MN1, MN2, until=world.now + 1e9)
    world.run_until(world.now + 1.0)
    world.leave(MN2)
    world.run_until(world.now + 1.0)
    world.leave(MN1)
