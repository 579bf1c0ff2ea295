"""An internet in memory under a virtual clock: it loses, doubles and reorders mobility messages.

It routes as the real one does: to a home address by way of the home agent's binding, from a home
address by way of the home agent's tunnel (which takes only the care-of address that it knows), and
only from an address of the present access network. Messages cross it as bytes.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from itertools import count

from mobivpn.mip6 import codec
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import (
    AnnounceInterception,
    BindingChanged,
    HomeAgentEffect,
    MobileNodeEffect,
    RegistrationChanged,
    SendMobility,
)
from mobivpn.mip6.home_agent import HomeAgent
from mobivpn.mip6.messages import BindingUpdate, CareOfTestInit, HomeTestInit, MessageType
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.mip6.registration import CORRESPONDENT, HOME, PROTECTED, Phase
from mobivpn.mip6.settings import MobileNodeSettings

HOME_PREFIX = IPv6Network("2001:db8:ee::/64")
HOME_AGENT = IPv6Address("2001:db8:ee::1")
GATEWAY = IPv6Address("2001:db8:5::5")
FOR_CORRESPONDENTS = (BindingUpdate, HomeTestInit, CareOfTestInit)


def care_of_address(network: int, node: int) -> IPv6Address:
    """Return a node's address in an access network."""
    return IPv6Address(f"2001:db8:{network}::d{node}")


@dataclass(frozen=True)
class Packet:
    """A mobility header under way, between final addresses."""

    data: bytes = field(repr=False)
    source: IPv6Address
    destination: IPv6Address
    home_address_option_from: IPv6Address | None = None


@dataclass
class Faults:
    """What the network does to each packet on each hop.

    `replay` is what an attacker sends again, up to a minute later; where ESP protects a message,
    its anti-replay window does not let it through.
    """

    loss: float = 0.0
    duplication: float = 0.0
    jitter_s: float = 0.0
    replay: float = 0.0


@dataclass
class Host:
    """One host with the roles that it plays, and what it was asked to do beside sending."""

    network: "Network"
    address: IPv6Address
    correspondent: CorrespondentNode | None = None
    mobile: MobileNode | None = None
    home_agent: HomeAgent | None = None
    location: IPv6Address | None = None
    former: tuple[IPv6Address, ...] = ()
    at_home_agent: IPv6Address | None = None
    """From where packets leave for the home agent."""
    changes: list[tuple[float, RegistrationChanged | BindingChanged]] = field(default_factory=list)
    known: dict[IPv6Address, IPv6Address | None] = field(default_factory=dict)

    @property
    def cores(self) -> list[MobileNode | CorrespondentNode | HomeAgent]:
        return [core for core in (self.mobile, self.correspondent, self.home_agent) if core]

    def carry_out(self, effects: Sequence[MobileNodeEffect | HomeAgentEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendMobility):
                self.network.send(self, effect)
                continue
            if isinstance(effect, AnnounceInterception):
                continue
            assert isinstance(effect, RegistrationChanged | BindingChanged)
            self.changes.append((self.network.now, effect))
            if isinstance(effect, RegistrationChanged) and effect.peer == HOME_AGENT:
                self.at_home_agent = effect.source_address
            if isinstance(effect, BindingChanged) and self.mobile is not None:
                before = self.known.get(effect.home_address)
                self.known[effect.home_address] = effect.care_of_address
                if effect.care_of_address not in (None, before):
                    self.carry_out(self.mobile.peer_moved(effect.home_address, self.network.now))

    def receive(self, packet: Packet) -> None:
        message, now = codec.decode(packet.data), self.network.now
        if self.home_agent is not None:
            core = self.home_agent
        elif isinstance(message, FOR_CORRESPONDENTS):
            core = self.correspondent
        else:
            assert self.mobile is not None
            self.carry_out(
                self.mobile.message_received(message, packet.source, packet.destination, now)
            )
            return
        assert core is not None
        self.carry_out(
            core.message_received(
                message,
                packet.source,
                packet.destination,
                now,
                care_of_address=packet.home_address_option_from,
            )
        )

    def move(self, location: IPv6Address | None, former: tuple[IPv6Address, ...] = ()) -> None:
        """Be at another place at once, and know it; `former` links still work."""
        assert self.mobile is not None
        self.location, self.former = location, former
        self.carry_out(self.mobile.care_of_address_changed(location, self.network.now, former))

    def move_softly(self, location: IPv6Address, overlap_s: float) -> None:
        """Be at another place, and for a while at the present one, too."""
        if self.location in (None, location):
            self.move(location)
            return
        assert self.location is not None
        self.move(location, (self.location,))

        def detach() -> None:
            if self.location == location:
                self.move(location)

        self.network.at(self.network.now + overlap_s, detach)


@dataclass
class Network:
    """All hosts, all packets under way, and the clock."""

    seed: int = 1
    faults: Faults = field(default_factory=Faults)
    hop_s: float = 0.02
    now: float = 0.0
    hosts: dict[IPv6Address, Host] = field(default_factory=dict)
    sent: list[tuple[float, IPv6Address, MessageType]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self.add(HOME_AGENT, home_agent=HomeAgent(HOME_AGENT, HOME_PREFIX))

    def random_bytes(self, length: int) -> bytes:
        return self._random.randbytes(length)

    def add(self, address: IPv6Address, **roles: object) -> Host:
        host = Host(self, address, **roles)  # type: ignore[arg-type]
        self.hosts[address] = host
        return host

    def add_node(self, number: int, settings: MobileNodeSettings | None = None) -> Host:
        home = IPv6Address(f"2001:db8:ee::d{number}")
        mobile = MobileNode(home, self.random_bytes, settings or MobileNodeSettings())
        return self.add(home, mobile=mobile, correspondent=CorrespondentNode(self.random_bytes))

    @property
    def home_agent(self) -> HomeAgent:
        core = self.hosts[HOME_AGENT].home_agent
        assert core is not None
        return core

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), action))

    def run(self, until: float) -> None:
        """Let time pass."""
        while True:
            deadline, core_host, core = min(
                (
                    (core.deadline, i, (host, core))
                    for i, (host, core) in enumerate(
                        (host, core) for host in self.hosts.values() for core in host.cores
                    )
                    if core.deadline is not None
                ),
                default=(float("inf"), 0, None),
                key=lambda item: item[:2],
            )
            del core_host
            event_at = self._events[0][0] if self._events else float("inf")
            due = min(deadline, event_at)
            if due > until:
                self.now = until
                return
            self.now = max(self.now, due)
            if event_at <= deadline:
                heapq.heappop(self._events)[2]()
            else:
                assert core is not None
                host, machine = core
                host.carry_out(machine.timer_expired(self.now))

    def send(self, host: Host, effect: SendMobility) -> None:
        """Do what the host's kernel and its policies would do."""
        kind = MessageType(codec.encode(effect.message, effect.source, effect.destination)[2])
        self.sent.append((self.now, effect.source, kind))
        data = codec.encode(effect.message, effect.source, effect.destination)
        packet = Packet(data, effect.source, effect.destination)
        if host.mobile is None:
            self._hop(effect.care_of_address or effect.destination, packet)
            return
        if host.location is None:
            return
        if isinstance(effect.message, BindingUpdate) and effect.care_of_address is not None:
            if effect.care_of_address not in (host.location, *host.former):
                raise AssertionError("an update from an address that is not the node's")
            packet = Packet(data, effect.source, effect.destination, effect.care_of_address)
            known = host.known.get(effect.destination)
            direct = known if known is not None and not effect.via_home_agent else None
            self._hop(direct or effect.destination, packet)
        elif effect.source == host.location:
            self._hop(effect.destination, packet)
        else:
            assert host.at_home_agent in (host.location, *host.former)
            self._tunnel(host.at_home_agent, effect.care_of_address or effect.destination, packet)

    def _copies(self) -> list[float]:
        faults = self.faults
        copies = 1 + (self._random.random() < faults.duplication)
        return [
            self.hop_s + self._random.random() * faults.jitter_s
            for _ in range(copies)
            if self._random.random() >= faults.loss
        ]

    def _hop(self, to: IPv6Address, packet: Packet) -> None:
        for delay_s in self._copies():
            self.at(self.now + delay_s, lambda: self._arrive(to, packet))
        protected = {packet.source, packet.destination} & {HOME_AGENT, GATEWAY}
        if not protected and self._random.random() < self.faults.replay:
            later_s = self._random.random() * 60
            self.at(self.now + later_s, lambda: self._arrive(to, packet))

    def _tunnel(self, location: IPv6Address, to: IPv6Address, packet: Packet) -> None:
        def at_home_agent() -> None:
            binding = self.home_agent.binding(packet.source)
            if binding is not None and binding.care_of_address == location:
                self._hop(to, packet)

        for delay_s in self._copies():
            self.at(self.now + delay_s, at_home_agent)

    def _arrive(self, to: IPv6Address, packet: Packet) -> None:
        host = self.hosts.get(to)
        if host is not None and host.mobile is None:
            host.receive(packet)
            return
        if host is not None:
            binding = self.home_agent.binding(to)
            if binding is not None:
                self._hop(binding.care_of_address, packet)
            return
        for host in self.hosts.values():
            if to in (host.location, *host.former):
                host.receive(packet)


def two_nodes(
    network: Network, settings: MobileNodeSettings | None = None
) -> tuple[Host, Host, Host]:
    """Return two nodes outside that have just been asked to register, and a gateway."""
    first, second = network.add_node(1, settings), network.add_node(2, settings)
    gateway = network.add(
        GATEWAY,
        correspondent=CorrespondentNode(
            network.random_bytes, protected={first.address, second.address}
        ),
    )
    for number, (node, peer) in enumerate(((first, second), (second, first)), start=1):
        node.move(care_of_address(number, number))
        for address, kind in (
            (HOME_AGENT, HOME),
            (GATEWAY, PROTECTED),
            (peer.address, CORRESPONDENT),
        ):
            assert node.mobile is not None
            node.carry_out(node.mobile.register(address, kind, network.now))
    return first, second, gateway


def phases(node: Host, peer: Host) -> tuple[Phase, Phase, Phase]:
    """Return where the node's registrations stand: at home, gateway and peer."""
    assert node.mobile is not None
    return (
        node.mobile.phase(HOME_AGENT),
        node.mobile.phase(GATEWAY),
        node.mobile.phase(peer.address),
    )


def bound_at(host: Host, node: Host) -> IPv6Address | None:
    """Return the care-of address that `host` has for `node`."""
    core = host.correspondent or host.home_agent
    assert core is not None
    binding = core.binding(node.address)
    return None if binding is None else binding.care_of_address
