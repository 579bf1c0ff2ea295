"""The company network of figure 1 in memory: every role's core on a kernel of `story.kernel`.

What the edges do is done here: agents carry out effects in order and perhaps late, links lose,
double and reorder packets, routers route, the gateway's switch matches flows. Each packet crosses
the network as its host's policies have left it, so that what is seen on a link can be judged.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from itertools import count
from typing import Any

from mobivpn.clock import earliest
from mobivpn.host.advertisements import heard_under, mint_advertisements
from mobivpn.host.associations import mint_associations, share_of
from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.fixed_databases import HomeAgentDatabases, ManagerDatabases, RouterDatabases
from mobivpn.host.gateway_databases import FROM_LAN_TABLE, GatewayDatabases
from mobivpn.host.home_agent import HomeAgentHost
from mobivpn.host.idleness import ReadUse
from mobivpn.host.internal_router import InternalRouter
from mobivpn.host.keyring import Keyring
from mobivpn.host.mobile_node import MobileNodeHost
from mobivpn.host.movement import SolicitRouters, interface_identifier
from mobivpn.host.network import MAIN_TABLE, Address, DuplicateDetection
from mobivpn.host.node_databases import BY_HOME_AGENT_MARK, NodeDatabases
from mobivpn.host.plan import NodeIdentity
from mobivpn.host.sa_endpoint import SaEndpoint
from mobivpn.host.security_gateway import SecurityGateway, TellDetector, TellDetectorOfPair
from mobivpn.ipsec.databases import Put, difference
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.ipsec.selector import IPPROTO_MH, Direction
from mobivpn.mip6 import codec
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import DetectDuplicate, SendMobility
from mobivpn.mip6.home_agent import HomeAgent, HomeAgentSettings
from mobivpn.mip6.messages import BindingUpdate
from mobivpn.mip6.mobile_node import MobileNode
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
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import SendSignal
from mobivpn.variants import BestPath, GatewayBinding, KeyScheme, Trigger, VcmAssociation, VcmPlace
from mobivpn.vcm.context import RemoveContext, StoreContext
from mobivpn.vcm.manager import Manager
from tests.simulation.story.kernel import IPPROTO_UDP, Datagram, Esp, Kernel, Packet, Received
from tests.support.company import COMPANY, PUBLIC_COMPANY, DifferentBytes

LAN = "lan"
FAKE = "fake"
"""An attacker's network, with the prefix and the router of the LAN."""
DELAY_S = {"wifi1": 0.02, "wifi2": 0.023, "cell": 0.045}
"""One way over an access network."""
CORE_S = 0.0005
ROUTER_ANSWERS_S = 0.002
ADVERTISED_EVERY_S = 1.5
"""How long a router waits between advertisements that nobody asked for, where nobody asks."""
OWNER_ANSWERS_S = 0.001
RETRANS_TIMER_S = 1.0
LINKLESS_S = 0.05
"""How long a node that moves has no link."""
PREFIX = {
    network: IPv6Network(f"2001:db8:{number}::/64")
    for number, network in enumerate(DELAY_S, start=1)
}
"""Of the access networks; the LAN's is the company's, and an attacker's as well."""
ROUTER = {network: IPv6Address(f"fe80::{n}") for n, network in enumerate((*PREFIX, LAN), start=1)}
ROUTER[FAKE] = ROUTER[LAN]
HOME_PREFIX = IPv6Network((COMPANY.home_agent, 64), strict=False)
OUTSIDE_ROUTER = IPv6Address("2001:db8:5::1")
INSIDE_DEVICE, OUTSIDE_DEVICE = "lan", "ext"
LINKS = ("eth0", "eth1")


@dataclass
class Faults:
    """What goes wrong: on access networks (probabilities; s), and how late agents are (s)."""

    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    agent_delay_s: float = 0.0


@dataclass(eq=False)
class Probe:
    """A numbered packet of the nodes' talk, and whom it has passed."""

    source: NodeIdentity
    destination: NodeIdentity
    sent_at: float
    via: list[str] = field(default_factory=list[str])
    arrived_at: list[float] = field(default_factory=list[float])
    optimised: bool = False
    """On its receiver's link it told a care-of address itself, whatever was around it."""

    @property
    def path(self) -> str:
        """The stations of its way, or how it was lost."""
        return "-".join(self.via) if self.arrived_at else "lost"


class Agent:
    """A program: a core whose effects are carried out in order, each perhaps a while later."""

    def __init__(self, world: "World", name: str, core: Any, kernel: Kernel) -> None:
        self.world, self.name, self.core, self.kernel = world, name, core, kernel
        self.deadline: float | None = None
        self._free_at = 0.0

    def begin(self, effects: Iterable[Any]) -> None:
        """Carry out what a cause has had the core ask for."""
        self.deadline = self.core.deadline
        delay = self.world.random.uniform(0, self.world.faults.agent_delay_s)
        self._free_at = max(self._free_at, self.world.now + delay)
        for effect in effects:
            self.world.at(self._free_at, lambda e=effect: self._carry_out(e))

    def _carry_out(self, effect: Any) -> None:
        world = self.world
        match effect:
            case Apply(changes, token):
                refused_before = len(self.kernel.refused)
                self.kernel.apply(changes)
                if token is not None:
                    refused = self.kernel.refused[refused_before:]
                    self.begin(
                        self.core.applied(token, str(refused) if refused else None, world.now)
                    )
            case SendSignal(destination, payload):
                self.send(Packet(self.address, destination, Datagram(IPPROTO_UDP, payload)))
            case SendMobility():
                self._send_mobility(effect)
            case Record():
                world.records.append((world.now, self.name, effect))
            case _:
                self.carry_out_other(effect)

    def _send_mobility(self, effect: SendMobility) -> None:
        self.world.mobility.append((self.world.now, self.name, effect))
        data = codec.encode(effect.message, effect.source, effect.destination)
        packet = Packet(effect.source, effect.destination, Datagram(IPPROTO_MH, data, data[2]))
        if effect.care_of_address is not None and not isinstance(effect.message, BindingUpdate):
            packet = replace(packet, destination=effect.care_of_address, final=packet.destination)
        self.send(packet, BY_HOME_AGENT_MARK if effect.via_home_agent else 0)

    def deliver(self, received: Received) -> None:
        """Give a packet to the program, if the policies admit it."""
        packet, content = received.packet, received.packet.content
        assert isinstance(content, Datagram)
        if not self.kernel.admits(received):
            return
        now = self.world.now
        if isinstance(content.body, Probe):
            content.body.arrived_at.append(now)
        elif content.protocol == IPPROTO_MH:
            self.begin(
                self.core.mobility_received(
                    content.body, packet.source, packet.destination, received.care_of_address, now
                )
            )
        else:
            self.begin(self.core.datagram_received(packet.source, content.body, now))

    @property
    def address(self) -> IPv6Address:
        """Where it takes part in the signalling."""
        raise NotImplementedError

    def send(self, packet: Packet, mark: int = 0) -> None:
        """Let the kernel send a packet of this host."""
        raise NotImplementedError

    def carry_out_other(self, effect: Any) -> None:
        """Carry out what only this role has."""
        raise NotImplementedError(effect)


class Node(Agent):
    """A mobile node; `networks` is where its links are, those with a carrier."""

    def __init__(self, world: "World", me: NodeIdentity) -> None:
        core = MobileNodeHost(
            NodeDatabases(
                me,
                world.company,
                share_of(world.given, "mobile_node", me.name),
                detection=DuplicateDetection.CLASSIC
                if world.classic
                else DuplicateDetection.OPTIMISTIC,
                advertisements=world.advertisements,
            ),
            MobileNode(me.external_home_address, world.random.randbytes),
            CorrespondentNode(world.random.randbytes),
            SaEndpoint(
                me,
                world.company,
                SignallingEndpoint(1, [world.company.vcm]),
                Keyring(own_keys=world.random.randbytes if world.keys is KeyScheme.BLIND else None),
            ),
            world.pair_idle_s,
            solicits=not world.classic,
            best_path=world.best_path,
        )
        super().__init__(world, me.name, core, Kernel())
        self.me = me
        self.networks: dict[str, str] = {}
        self.attachment = 0
        number = int(me.name.removeprefix("mn"))
        self._hardware_address = bytes((2, 0, 0, 0, 0, number))

    @property
    def address(self) -> IPv6Address:
        return self.me.internal_home_address

    def care_of_address(self, network: str, duplicates: int = 0) -> IPv6Address:
        identifier = interface_identifier(self._hardware_address, duplicates)
        return IPv6Address(int(PREFIX[network].network_address) | identifier)

    @property
    def care_of_address_inside(self) -> IPv6Address:
        identifier = interface_identifier(self._hardware_address, 0)
        return IPv6Address(int(self.world.company.vpn_prefix.network_address) | identifier)

    def detach(self, device: str) -> None:
        del self.networks[device]
        self.attachment += 1
        self.kernel.carrier_lost(device)
        self.begin(self.core.link_lost(device, self.world.now))

    def attach(self, network: str, device: str = LINKS[0]) -> None:
        self.networks[device] = network
        self.attachment += 1
        self.kernel.carriers.add(device)
        self.begin(self.core.link_found(device, self._hardware_address, self.world.now))
        if self.world.classic:
            self._hear_advertisements(device, network, self.attachment)

    def _hear_advertisements(self, device: str, network: str, attachment: int) -> None:
        now = self.world.now
        next_at = (now // ADVERTISED_EVERY_S + 1) * ADVERTISED_EVERY_S

        def advertised() -> None:
            if self.attachment == attachment:
                self._router_answers(device, network)
                self._hear_advertisements(device, network, attachment)

        self.world.at(next_at, advertised)

    def _carry_out(self, effect: Any) -> None:
        super()._carry_out(effect)
        for change in effect.changes if isinstance(effect, Apply) else ():
            entry = change.entry
            if isinstance(change, Put) and isinstance(entry, Address):
                self._detect_duplicate(entry, self.attachment)

    def _detect_duplicate(self, entry: Address, attachment: int) -> None:
        """Do what Linux does: say at once that somebody objects, later that nobody has."""
        world, waits = self.world, entry.detection is DuplicateDetection.CLASSIC
        if entry.detection is DuplicateDetection.NONE:
            return

        def detected(tell: Callable[..., Iterable[Any]]) -> None:
            if self.attachment == attachment and self.kernel.holds(entry):
                self.kernel.tentative.discard(entry.address)
                self.begin(tell(entry.device, entry.address, world.now))

        if waits:
            self.kernel.tentative.add(entry.address)
        if entry.address in world.taken:
            world.at(world.now + OWNER_ANSWERS_S, lambda: detected(self.core.address_duplicate))
        else:
            wait_s = RETRANS_TIMER_S if waits else 0.0
            world.at(world.now + wait_s, lambda: detected(self.core.address_usable))

    def carry_out_other(self, effect: Any) -> None:
        world = self.world
        match effect:
            case SolicitRouters(device):
                network = self.networks.get(device)
                if network is not None and not world.lost():
                    answers_at = world.now + ROUTER_ANSWERS_S
                    world.at(answers_at, lambda: self._router_answers(device, network))
            case AnnounceAddress(address):
                if LAN in self.networks.values():
                    world.owner[address] = self.name
            case ReadUse():
                self.begin(self.core.use_read(self.kernel.used, world.now))
            case _:
                super().carry_out_other(effect)

    def _router_answers(self, device: str, network: str) -> None:
        if self.networks.get(device) == network:
            router = ROUTER[network]
            prefix = PREFIX.get(network, self.world.company.vpn_prefix)
            signed = network == LAN and self.world.advertises_authentically
            verified = signed and self.kernel.holds(heard_under(self.world.advertisements))
            self.begin(
                self.core.router_heard(
                    device, router, [prefix], 1800, self.world.now, verified=verified
                )
            )

    def send(self, packet: Packet, mark: int = 0) -> None:
        protected = self.kernel.protect(packet, mark=mark)
        if protected is None:
            return
        assert protected.source not in self.kernel.tentative, protected
        way = self.kernel.way_of(protected.source)
        for tunnel in self.kernel.tunnels():
            if way is not None and way.device == tunnel.device:
                protected = Packet(tunnel.local, tunnel.remote, protected)
                way = self.kernel.way_of(tunnel.local)
                break
        for next_hop in self.kernel.next_hops():
            if way is not None and way.next_hop == next_hop.number:
                network = self.networks[next_hop.device]
                # The access router's ingress filter, and a router that is not of this link.
                filters = network in DELAY_S and protected.source not in PREFIX[network]
                if filters or next_hop.gateway != ROUTER[network]:
                    return
                if network == LAN:
                    self.world.inside(protected)
                elif network == FAKE:
                    self.world.taken_by_eve.append(protected)
                else:
                    self.world.outside(protected, DELAY_S[network])

    def arrive(self, packet: Packet) -> None:
        innermost, content = packet, packet.content
        while isinstance(content, Esp | Packet):
            if isinstance(content, Packet):
                innermost = content
            content = content.content
        if isinstance(content, Datagram) and isinstance(content.body, Probe):
            content.body.optimised = (innermost.final or innermost.home_address) is not None
        received = self.kernel.receive(packet)
        if received is not None and self.kernel.has_address(received.packet.destination):
            self.deliver(received)


class Fixed(Agent):
    """A host that never moves."""

    def __init__(
        self, world: "World", name: str, core: Any, addresses: Iterable[IPv6Address]
    ) -> None:
        super().__init__(world, name, core, Kernel(frozenset(addresses)))
        self._address = next(iter(addresses))

    @property
    def address(self) -> IPv6Address:
        return self._address

    def send(self, packet: Packet, mark: int = 0) -> None:
        protected = self.kernel.protect(packet, INSIDE_DEVICE)
        assert protected is not None
        self.world.inside(protected)

    def arrive(self, packet: Packet) -> None:
        received = self.kernel.receive(packet)
        if received is not None:
            self.deliver(received)


class Vcm(Fixed):
    """The VPN connectivity manager and its database."""

    def carry_out_other(self, effect: Any) -> None:
        match effect:
            case StoreContext(context):
                self.world.stored[context.external_home_address] = context
            case RemoveContext(node):
                del self.world.stored[node]
            case _:
                super().carry_out_other(effect)


class VcmInGateway(Vcm):
    """The same as a program of sg: on its kernel, and on no link of the inside."""

    def __init__(
        self, world: "World", name: str, core: Any, addresses: Iterable[IPv6Address]
    ) -> None:
        super().__init__(world, name, core, addresses)
        self.kernel = world.gateway.kernel
        self.kernel.fixed |= {self.address}

    def send(self, packet: Packet, mark: int = 0) -> None:
        if packet.destination == self.world.company.security_gateway_inside:
            self.world.on_host(self.world.gateway, packet)
            return
        protected = self.kernel.protect(packet)
        if protected is not None:
            assert self.kernel.route_to(packet.destination, FROM_LAN_TABLE) is not None
            self.world.outside(protected, CORE_S)


class Router(Fixed):
    """r22: the default router of the LAN."""

    def carry_out_other(self, effect: Any) -> None:
        match effect:
            case AnnounceAddress(address):
                self.world.owner[address] = self.name
            case _:
                super().carry_out_other(effect)


class HomeAgentAgent(Fixed):
    """ha, and the router of the external home addresses; nobody else is on its home link."""

    def carry_out_other(self, effect: Any) -> None:
        match effect:
            case DetectDuplicate() | AnnounceAddress():
                pass
            case _:
                super().carry_out_other(effect)

    def send(self, packet: Packet, mark: int = 0) -> None:
        protected = self.kernel.protect(packet)
        if protected is not None:
            self.world.outside(protected, CORE_S)

    def arrive(self, packet: Packet) -> None:
        received = self.kernel.receive(packet)
        if received is None:
            return
        if received.packet.destination in self.kernel.fixed:
            self.deliver(received)
        elif self.kernel.admits(received, Direction.FORWARD):
            self._forward(received.packet)

    def _forward(self, packet: Packet) -> None:
        note(packet, "ha")
        protected = self.kernel.protect(packet)
        assert protected is not None
        if protected.destination in HOME_PREFIX:
            route = self.kernel.route_to(protected.destination, MAIN_TABLE)
            if route is None:
                return
            tunnel = next(t for t in self.kernel.tunnels() if t.device == route.device)
            protected = Packet(tunnel.local, tunnel.remote, protected)
        self.world.outside(protected, CORE_S)


class Gateway(Fixed):
    """sg: agent, filter, and the switch on its inside."""

    def send(self, packet: Packet, mark: int = 0) -> None:
        if self.world.company.vcm_in_gateway and packet.destination == self.world.company.vcm:
            self.world.on_host(self.world.vcm, packet)
            return
        inward = packet.destination in self.world.company.vpn_prefix or packet.destination in (
            self.world.company.internal_router,
        )
        protected = self.kernel.protect(packet, INSIDE_DEVICE if inward else OUTSIDE_DEVICE)
        if protected is None:
            return
        if inward:
            self.world.from_gateway(protected)
        else:
            self.world.outside(protected, CORE_S)

    def arrive(self, packet: Packet) -> None:
        """Take a packet from outside."""
        received = self.kernel.receive(packet)
        if received is None:
            return
        if not self.world.company.binds_at_gateway:
            spis = [sa.spi for sa in received.path]
            self.begin(self.core.associations_used(spis, self.world.now))
        destination = received.packet.destination
        if destination in self.kernel.fixed:
            (self.world.vcm if destination == self.world.company.vcm else self).deliver(received)
        elif self.kernel.admits(received, Direction.FORWARD, INSIDE_DEVICE):
            note(received.packet, "sg")
            self.world.from_gateway(received.packet)

    def arrive_inside(self, packet: Packet) -> None:
        if packet.destination in self.kernel.fixed:
            super().arrive(packet)
        elif self.kernel.route_to(packet.destination, FROM_LAN_TABLE) is not None:
            protected = self.kernel.protect(packet, OUTSIDE_DEVICE)
            if protected is not None:
                note(packet, "sg")
                self.world.outside(protected, CORE_S)

    def carry_out_other(self, effect: Any) -> None:
        world = self.world
        match effect:
            case TellDetector(node, None):
                world.from_detector(world.detector.node_internal(node, world.now))
            case TellDetector(node, home, care_of_address):
                world.from_detector(
                    world.detector.node_external(node, home, care_of_address, world.now)
                )
            case TellDetectorOfPair(first, second, idle):
                world.from_detector(
                    world.detector.pair_withdrawn(first, second, world.now, idle=idle)
                )
            case _:
                super().carry_out_other(effect)


@dataclass
class World:
    """All hosts, all packets under way, and the clock."""

    seed: int = 1
    public: bool = False
    """Embodiment 2. Tests name nodes by what they are in embodiment 1."""
    vcm_sa: VcmAssociation = VcmAssociation.NESTED
    sg_binding: GatewayBinding = GatewayBinding.YES
    faults: Faults = field(default_factory=Faults)
    start: Mapping[NodeIdentity, str] = field(default_factory=dict[NodeIdentity, str])
    """Where nodes are at the beginning; inside, if it is not said."""
    pair_idle_s: float = 60.0
    pair_lifetime_s: int = 3600
    binding_keys: bool = False
    keys: KeyScheme = KeyScheme.SEPARATE
    best_path: BestPath = BestPath.DIRECT
    classic: bool = False
    """Nodes wait for advertisements, and for duplicate address detection."""
    authenticates: bool = False
    """The inside advertises itself under AH, and nodes believe nothing else."""
    vcm_at: VcmPlace = VcmPlace.OWN
    trigger: Trigger = Trigger.BOTH
    combined: bool = False
    taken: frozenset[IPv6Address] = frozenset()
    """Addresses that somebody else has on an access network."""
    now: float = 0.0
    records: list[tuple[float, str, Record]] = field(default_factory=list)
    mobility: list[tuple[float, str, SendMobility]] = field(default_factory=list)
    """When who sent which mobility message."""
    probes: list[Probe] = field(default_factory=list)
    stored: dict[IPv6Address, Any] = field(default_factory=dict)
    owner: dict[IPv6Address, str] = field(default_factory=dict)
    """Who answers for an address of the LAN, as the neighbours have last heard."""
    outside_packets: int = 0
    taken_by_eve: list[Packet] = field(default_factory=list)
    """What nodes have sent in the fake network."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._flows: dict[Flow, tuple[InstallFlow, float]] = {}
        random_bytes = DifferentBytes()
        self.company = replace(
            PUBLIC_COMPANY if self.public else COMPANY,
            vcm_at=self.vcm_at,
            vcm_sa=self.vcm_sa,
            sg_binding=self.sg_binding,
        )
        self.given = mint_associations(self.company, EspAlgorithm.AES128GCM16, random_bytes)
        self.advertisements = (
            mint_advertisements(ROUTER[LAN], random_bytes) if self.authenticates else None
        )
        self.nodes = {me: Node(self, self.company.node(me.name)) for me in COMPANY.nodes}
        homes = frozenset(me.external_home_address for me in self.company.nodes)
        internals = frozenset(me.internal_home_address for me in self.company.nodes)
        self.detector = GatewayCore(
            internals, frozenset({self.company.vcm}), trigger=self.trigger, combined=self.combined
        )
        self.gateway = Gateway(
            self,
            "sg",
            SecurityGateway(
                GatewayDatabases(
                    self.company, self.given, INSIDE_DEVICE, OUTSIDE_DEVICE, OUTSIDE_ROUTER
                ),
                CorrespondentNode(
                    self.random.randbytes,
                    protected=homes | internals,
                    other_names={
                        me.internal_home_address: me.external_home_address
                        for me in self.company.nodes
                    },
                ),
                SignallingEndpoint(1, [self.company.vcm, self.company.internal_router]),
            ),
            (self.company.security_gateway_inside, self.company.security_gateway),
        )
        self.router = Router(
            self,
            "r22",
            InternalRouter(
                RouterDatabases(
                    self.company,
                    self.given,
                    INSIDE_DEVICE,
                    "tosg",
                    advertisements=self.advertisements,
                ),
                SignallingEndpoint(1, [self.company.security_gateway_inside]),
            ),
            (self.company.internal_router,),
        )
        self.home_agent = HomeAgentAgent(
            self,
            "ha",
            HomeAgentHost(
                HomeAgentDatabases(self.company, self.given, "eth0"),
                HomeAgent(
                    self.company.home_agent,
                    HOME_PREFIX,
                    HomeAgentSettings(served=homes, detect_duplicates=True),
                ),
            ),
            (self.company.home_agent,),
        )
        manager = Manager(
            epoch=1,
            security_gateway=self.company.security_gateway_inside,
            nodes=internals,
            random_bytes=random_bytes,
            lifetime_s=self.pair_lifetime_s,
            binding_keys=self.binding_keys,
            keys=self.keys,
            best_path=self.best_path,
        )
        in_gateway = self.company.vcm_in_gateway
        self.vcm = (VcmInGateway if in_gateway else Vcm)(self, "vcm", manager, (self.company.vcm,))
        self.agents: tuple[Agent, ...] = (
            *self.nodes.values(),
            self.gateway,
            self.router,
            self.home_agent,
            self.vcm,
        )
        for agent in self.agents:
            if agent is not self.vcm:
                agent.begin(agent.core.started())
        databases = ManagerDatabases(self.company, self.given).all()
        self.vcm.begin([Apply(difference((), databases))])
        for me, node in self.nodes.items():
            self.at(0.0, partial(node.attach, self.start.get(me, LAN)))

    # Time

    def at(self, time: float, happens: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self._events, (time, next(self._order), happens))

    def run_until(self, end: float) -> None:
        """Let everything happen that is due until `end`."""
        while (due := self._due()) is not None and due <= end:
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for agent in self.agents:
                if agent.deadline is not None and agent.deadline <= self.now:
                    agent.begin(agent.core.timer_expired(self.now))
            for flow, (rule, used_at) in tuple(self._flows.items()):
                if self.now >= used_at + rule.idle_timeout_s:
                    del self._flows[flow]
                    self.from_detector(self.detector.flow_removed(flow, self.now))
        self.now = end

    def _due(self) -> float | None:
        return earliest(
            (
                self._events[0][0] if self._events else None,
                *(agent.deadline for agent in self.agents),
                *(used_at + rule.idle_timeout_s for rule, used_at in self._flows.values()),
            )
        )

    # What users do

    def move(self, me: NodeIdentity, network: str, gap_s: float = LINKLESS_S) -> None:
        """Re-attach a node."""
        node = self.nodes[me]
        for device in tuple(node.networks):
            node.detach(device)
        # Of two moves in one instant, the later one counts.
        node.attachment += 1
        attachment = node.attachment

        def attach() -> None:
            if node.attachment == attachment:
                node.attach(network)

        self.at(self.now + gap_s, attach)

    def move_softly(self, me: NodeIdentity, network: str, overlap_s: float = 0.5) -> None:
        """Give a node another link outside; the former one goes after a while."""
        node = self.nodes[me]
        (former,) = node.networks
        node.attach(network, next(device for device in LINKS if device != former))
        attachment = node.attachment

        def detach() -> None:
            if node.attachment == attachment:
                node.detach(former)

        self.at(self.now + overlap_s, detach)

    def talk(
        self,
        one: NodeIdentity,
        other: NodeIdentity,
        until: float,
        every_s: float = 0.05,
        *,
        one_way: bool = False,
    ) -> None:
        """Let two nodes send each other probes, from now on, or only the first of them."""
        self.probe(one, other)
        if not one_way:
            self.probe(other, one)
        if self.now + every_s <= until:
            again_at = self.now + every_s
            self.at(again_at, lambda: self.talk(one, other, until, every_s, one_way=one_way))

    def probe(self, source: NodeIdentity, destination: NodeIdentity) -> Probe:
        """Send one packet."""
        probe = Probe(source, destination, self.now)
        self.probes.append(probe)
        ends = self.nodes[source].address, self.nodes[destination].address
        self.nodes[source].send(Packet(*ends, Datagram(IPPROTO_UDP, probe)))
        return probe

    @property
    def advertises_authentically(self) -> bool:
        """Whether r22's kernel holds what it needs for that."""
        return self.advertisements is not None and self.router.kernel.holds(self.advertisements)

    def paths(
        self, since: float, until: float | None = None, among: Iterable[NodeIdentity] = ()
    ) -> Counter[str]:
        """Count the paths of the probes that were sent in an interval, by all or between two."""
        until, ends = self.now if until is None else until, set(among)
        return Counter(
            probe.path
            for probe in self.probes
            if since <= probe.sent_at < until
            and (not ends or ends == {probe.source, probe.destination})
        )

    @property
    def by_gateway(self) -> frozenset[str]:
        """The paths between a node inside and one outside, from either."""
        by_home_agent = frozenset({"ha-sg", "sg-ha"})
        return frozenset({"sg"}) if self.company.binds_at_gateway else by_home_agent

    def events(self, *names: str) -> list[str]:
        """Return the recorded events of these names, in order."""
        return [record.event for _, _, record in self.records if record.event in names]

    # Networks

    def lost(self) -> bool:
        return self.random.random() < self.faults.loss

    def _copies(self, delay_s: float) -> list[float]:
        copies = 2 if self.random.random() < self.faults.duplication else 1
        return [
            delay_s + self.random.uniform(0, self.faults.jitter_s)
            for _ in range(copies)
            if not self.lost()
        ]

    def outside(self, packet: Packet, delay_s: float) -> None:
        """Carry a packet over the internet; what may not be seen there must not be there."""
        self.outside_packets += 1
        self._assert_nothing_in_clear(packet)
        destination = packet.destination
        if destination == self.company.security_gateway:
            receiver = self.gateway
        elif destination in HOME_PREFIX:
            receiver = self.home_agent
        elif self.company.vcm_is_direct and destination == self.company.vcm:
            receiver = self.gateway
        else:
            network = next((n for n in DELAY_S if destination in PREFIX[n]), None)
            if network is not None:
                for copy_s in self._copies(delay_s + DELAY_S[network]):
                    self.at(self.now + copy_s, lambda: self._to_access(network, packet))
            return
        access = delay_s if delay_s == CORE_S else None
        for copy_s in [delay_s] if access else self._copies(delay_s + CORE_S):
            self.at(self.now + copy_s, lambda: receiver.arrive(packet))

    def _assert_nothing_in_clear(self, packet: Packet) -> None:
        """No VPN address, and no payload but Mobile IPv6's own, outside without ESP."""
        layer: object = packet
        while isinstance(layer, Packet):
            for address in (layer.source, layer.destination):
                vcm = self.company.vcm_is_direct and address == self.company.vcm
                assert vcm or address not in self.company.vpn_prefix, packet
            layer = layer.content
        if isinstance(layer, Datagram):
            assert layer.protocol == IPPROTO_MH, packet

    def _to_access(self, network: str, packet: Packet) -> None:
        for node in self.nodes.values():
            if (
                network in node.networks.values()
                and packet.destination in PREFIX[network]
                and node.kernel.has_address(packet.destination)
            ):
                node.arrive(packet)

    def on_host(self, receiver: Agent, packet: Packet) -> None:
        """Carry what one agent tells another of the same host."""
        content = packet.content
        assert isinstance(content, Datagram)
        body = content.body
        self.at(
            self.now,
            lambda: receiver.begin(receiver.core.datagram_received(packet.source, body, self.now)),
        )

    def _assert_vcm_is_not_elsewhere(self, packet: Packet) -> None:
        """Nothing of a VCM in sg is on a link of the inside."""
        if self.company.vcm_in_gateway:
            assert self.company.vcm not in (packet.source, packet.destination), packet

    def inside(self, packet: Packet) -> None:
        """Carry a packet over the LAN, or to where r22 routes it."""
        self._assert_vcm_is_not_elsewhere(packet)
        destination = packet.destination
        if destination == self.company.vcm:
            self._later(lambda: self.vcm.arrive(packet))
        elif destination not in self.company.vpn_prefix or self.owner.get(destination) == "r22":
            self._later(lambda: self._route(packet))
        else:
            self._later(lambda: self._to_lan(packet))

    def _route(self, packet: Packet) -> None:
        """Do as r22 does."""
        destination = packet.destination
        if destination == self.company.internal_router:
            self.router.arrive(packet)
        elif destination == self.company.vcm:
            self.vcm.arrive(packet)
        else:
            route = self.router.kernel.route_to(destination, MAIN_TABLE)
            if route is not None and route.device == INSIDE_DEVICE:
                assert route.gateway is not None
                self._to_lan(packet, route.gateway)
            elif route is None and destination in self.company.vpn_prefix:
                self._to_lan(packet)
            else:
                self._switch(PortRole.ROUTER, packet)
                self._later(lambda: self.gateway.arrive_inside(packet))

    def _to_lan(self, packet: Packet, next_hop: IPv6Address | None = None) -> None:
        for node in self.nodes.values():
            if LAN in node.networks.values() and node.kernel.has_address(
                next_hop or packet.destination
            ):
                node.arrive(packet)

    def from_gateway(self, packet: Packet) -> None:
        """Carry a packet from sg through its switch to r22."""
        self._assert_vcm_is_not_elsewhere(packet)
        self._switch(PortRole.GATEWAY, packet)
        self._later(lambda: self._route(packet))

    def _later(self, happens: Callable[[], None]) -> None:
        self.at(self.now + 0.0002, happens)

    # The gateway's switch

    def _switch(self, in_port: PortRole, packet: Packet) -> None:
        flow = Flow(in_port, packet.source, packet.destination)
        if not {packet.source, packet.destination} & self.detector.mobile_nodes:
            return
        known = self._flows.get(flow)
        if known is not None:
            self._flows[flow] = (known[0], self.now)
            return
        summary = PacketSummary(
            packet.source,
            packet.destination,
            packet.protocol,
            source_home_address=packet.home_address,
            destination_home_address=packet.final,
        )
        self.from_detector(self.detector.packet_in(in_port, summary, self.now))

    def from_detector(self, effects: Iterable[Any]) -> None:
        for effect in effects:
            match effect:
                case ForwardPacket():
                    pass
                case InstallFlow(flow):
                    self._flows[flow] = (effect, self.now)
                case RemoveFlow(flow):
                    self._flows.pop(flow, None)
                case Notify(notice):
                    self.gateway.begin(self.gateway.core.notice_given(notice, self.now))
                case Record():
                    self.records.append((self.now, "sg", effect))


def note(packet: Packet, station: str) -> None:
    """Let the probe in a packet know where it is, as far in as it may be."""
    content: object = packet.content
    while isinstance(content, Esp | Packet):
        content = content.content
    if isinstance(content, Datagram) and isinstance(content.body, Probe):
        content.body.via.append(station)
