"""What Linux does with SAD, SPD, bindings and routes, as far as the testbed's hosts depend on it.

It interprets the entries that the cores ask for, as `net/xfrm` would: policies in the order of
their precedence, templates inside out, inbound packets checked against the policy that fits them.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from itertools import count
from typing import Any, TypeVar

from mobivpn.host.network import MAIN_TABLE, Address, NextHop, Route, Rule, Tunnel
from mobivpn.ipsec.databases import Change, Entry, Put
from mobivpn.ipsec.policy import (
    ANY,
    EspTemplate,
    PolicyAction,
    RoutingHeaderTemplate,
    SecurityPolicy,
    Template,
)
from mobivpn.ipsec.route_optimisation import Extension, RouteOptimisation
from mobivpn.ipsec.sa import Mode, SecurityAssociation
from mobivpn.ipsec.selector import (
    EVERYWHERE,
    IPPROTO_ESP,
    Direction,
    TrafficSelector,
    host,
)

E = TypeVar("E", bound=Entry)

IPPROTO_UDP = 17
IPPROTO_IPV6 = 41

_number = count()


@dataclass(frozen=True)
class Datagram:
    """What is in the innermost packet."""

    protocol: int
    body: object
    mobility_type: int | None = None


@dataclass(frozen=True)
class Esp:
    """One packet of an association; `number` makes a copy of it recognisable."""

    association: SecurityAssociation
    content: "Content"
    number: int = field(default_factory=lambda: next(_number))


@dataclass(frozen=True)
class Packet:
    """An IPv6 packet; with a home address option, with a type 2 routing header, or without."""

    source: IPv6Address
    destination: IPv6Address
    content: "Content"
    home_address: IPv6Address | None = None
    final: IPv6Address | None = None

    def around(self, content: "Content") -> "Packet":
        """Return the packet with another content (`replace` would take a tenth of a simulation)."""
        return Packet(self.source, self.destination, content, self.home_address, self.final)

    @property
    def protocol(self) -> int:
        match self.content:
            case Datagram(protocol):
                return protocol
            case Esp():
                return IPPROTO_ESP
            case Packet():
                return IPPROTO_IPV6


Content = Datagram | Esp | Packet


@dataclass(frozen=True)
class Received:
    """What is left of a packet when all that was meant for this host has been taken off."""

    packet: Packet
    care_of_address: IPv6Address | None = None
    mark: int | None = None
    path: tuple[SecurityAssociation, ...] = ()


@dataclass
class Kernel:
    """The databases of one host; `fixed` are addresses that nobody has to ask for."""

    fixed: frozenset[IPv6Address] = frozenset()
    carriers: set[str] = field(default_factory=set[str])
    used: Counter[Hashable] = field(default_factory=Counter[Hashable])
    refused: list[Entry] = field(default_factory=list[Entry])
    dropped: Counter[str] = field(default_factory=Counter[str])
    tentative: set[IPv6Address] = field(default_factory=set[IPv6Address])
    _entries: dict[Hashable, Entry] = field(default_factory=dict[Hashable, Entry])
    _policies: list[SecurityPolicy] = field(default_factory=list[SecurityPolicy])
    _addresses: set[IPv6Address] = field(default_factory=set[IPv6Address])
    _kinds: dict[type, list[Any]] = field(default_factory=dict[type, list[Any]])
    _ways: dict[IPv6Address, Route | None] = field(default_factory=dict[IPv6Address, Route | None])
    _policy_of: dict[Hashable, SecurityPolicy | None] = field(
        default_factory=dict[Hashable, SecurityPolicy | None]
    )
    """What was found out since the entries last changed."""
    _seen: set[int] = field(default_factory=set[int])

    # Entries

    def apply(self, changes: Iterable[Change]) -> None:
        """Take changes; a next hop or a route through one needs a carrier."""
        for change in changes:
            entry = change.entry
            if not isinstance(change, Put):
                self._entries.pop(entry.identity, None)
            elif not self._is_possible(entry):
                self.refused.append(entry)
            else:
                self._entries[entry.identity] = entry
        self._index()

    def carrier_lost(self, device: str) -> None:
        """Drop the next hop objects of a device, and with them their routes."""
        self.carriers.discard(device)
        for kind in (NextHop, Route):
            for entry in tuple(self._entries.values()):
                if isinstance(entry, kind) and not self._is_possible(entry):
                    del self._entries[entry.identity]
        self._index()

    def _index(self) -> None:
        """Sort what is asked for at every packet; forget what was found out before."""
        self._kinds.clear()
        policies = self._of(SecurityPolicy)
        self._policies = sorted(policies, key=lambda policy: policy.precedence)
        self._addresses = {entry.address for entry in self._of(Address)}
        self._ways.clear()
        self._policy_of.clear()

    def _of(self, kind: type[E]) -> list[E]:
        if kind not in self._kinds:
            self._kinds[kind] = [e for e in self._entries.values() if isinstance(e, kind)]
        return self._kinds[kind]

    def _is_possible(self, entry: Entry) -> bool:
        if isinstance(entry, NextHop):
            return entry.device in self.carriers
        if isinstance(entry, Route) and entry.next_hop is not None:
            # Asked amid changes, before they are indexed.
            return any(
                next_hop.number == entry.next_hop
                for next_hop in self._entries.values()
                if isinstance(next_hop, NextHop)
            )
        return True

    def holds(self, entry: Entry) -> bool:
        return self._entries.get(entry.identity) == entry

    def entries(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def has_address(self, address: IPv6Address) -> bool:
        usable = address in self._addresses and address not in self.tentative
        return usable or address in self.fixed

    def next_hops(self) -> list[NextHop]:
        return self._of(NextHop)

    def tunnels(self) -> list[Tunnel]:
        return self._of(Tunnel)

    def route_to(self, address: IPv6Address, table: int) -> Route | None:
        """Return the route of one host in a table, if there is one."""
        wanted = table, host(address)
        return next((r for r in self._of(Route) if (r.table, r.prefix) == wanted), None)

    def way_of(self, source: IPv6Address) -> Route | None:
        """Return the default route for what this host sends from an address."""
        if source not in self._ways:
            rules = sorted(self._of(Rule), key=lambda rule: rule.preference)
            tables = [rule.table for rule in rules if rule.source and source in rule.source]
            ways = (
                route
                for table in (*tables, MAIN_TABLE)
                for route in self._of(Route)
                if (route.table, route.prefix) == (table, EVERYWHERE)
            )
            self._ways[source] = next(ways, None)
        return self._ways[source]

    # Out

    def policy_out(
        self, packet: Packet, device: str | None = None, mark: int = 0
    ) -> SecurityPolicy | None:
        remote = packet.final or packet.destination
        return self._policy(Direction.OUTBOUND, packet.source, remote, packet, device, mark)

    def _policy(
        self,
        direction: Direction,
        local: IPv6Address,
        remote: IPv6Address,
        packet: Packet,
        device: str | None,
        mark: int | None,
    ) -> SecurityPolicy | None:
        mobility_type = None
        # Linux matches the type of a mobility message outbound only.
        if direction is Direction.OUTBOUND and isinstance(packet.content, Datagram):
            mobility_type = packet.content.mobility_type
        asked = direction, local, remote, packet.protocol, mobility_type, device, mark
        if asked not in self._policy_of:
            matching = (
                policy
                for policy in self._policies
                if policy.direction is direction
                and policy.device in (None, device)
                and policy.mark in (None, mark)
                and _matches(policy.selector, local, remote, packet.protocol, mobility_type)
            )
            self._policy_of[asked] = next(matching, None)
        return self._policy_of[asked]

    def protect(self, packet: Packet, device: str | None = None, mark: int = 0) -> Packet | None:
        """Return what leaves the host in place of a packet of its own; None if it is dropped."""
        policy = self.policy_out(packet, device, mark)
        if policy is None or policy.action is PolicyAction.BYPASS:
            return packet
        if policy.action is PolicyAction.DISCARD:
            return self._drop("policy out")
        ends = packet.source, packet.destination
        for template in policy.templates:
            if isinstance(template, EspTemplate):
                sealed = self._seal(packet, template)
                if sealed is None:
                    return self._drop("no SA")
                packet = sealed
                if template.mode is Mode.TUNNEL:
                    ends = template.source, template.destination
            else:
                packet = self._extend(packet, template, *ends)
        return packet

    def _seal(self, packet: Packet, template: EspTemplate) -> Packet | None:
        for sa in self._of(SecurityAssociation):
            if (
                sa.reqid == template.reqid
                and sa.mode is template.mode
                and (sa.source, sa.destination) == (template.source, template.destination)
            ):
                self.used[sa.spi] += 1
                if template.mode is Mode.TUNNEL:
                    return Packet(sa.source, sa.destination, Esp(sa, packet))
                return packet.around(Esp(sa, packet.content))
        return None

    def _extend(
        self, packet: Packet, template: Template, source: IPv6Address, destination: IPv6Address
    ) -> Packet:
        routing = isinstance(template, RoutingHeaderTemplate)
        extension = Extension.ROUTING_HEADER if routing else Extension.HOME_ADDRESS_OPTION
        binding = self._entries.get((extension, source, destination))
        if not isinstance(binding, RouteOptimisation):
            return packet
        self.used[binding.identity] += 1
        if routing:
            to = binding.care_of_address
            return Packet(packet.source, to, packet.content, packet.home_address, destination)
        by = binding.care_of_address
        return Packet(by, packet.destination, packet.content, source, packet.final)

    # In

    def receive(self, packet: Packet) -> Received | None:
        """Take off what is meant for this host; the policies are another step."""
        received = Received(packet)
        while self.has_address(received.packet.destination):
            inner = self._inner(received)
            if inner is None or inner is received:
                return inner
            received = inner
        return received

    def _inner(self, received: Received) -> Received | None:
        packet = received.packet
        if packet.final is not None:
            if not self._bound(Extension.ROUTING_HEADER, packet.source, packet.final, packet):
                return self._drop("routing header")
            inner = Packet(packet.source, packet.final, packet.content, packet.home_address)
            return Received(inner, received.care_of_address, received.mark, received.path)
        if packet.home_address is not None:
            source, own = packet.home_address, packet.destination
            if not self._bound(Extension.HOME_ADDRESS_OPTION, source, own, packet):
                return self._drop("home address option")
            inner = Packet(source, own, packet.content)
            return Received(inner, packet.source, received.mark, received.path)
        match packet.content:
            case Esp(sa, content, number):
                own = self._entries.get(sa.identity)
                if not isinstance(own, SecurityAssociation):
                    return self._drop("unknown SA")
                if own != sa and replace(own, mark=None) != sa:
                    return self._drop("unknown SA")
                if sa.destination != packet.destination:
                    return self._drop("unknown SA")
                if number in self._seen:
                    return self._drop("replay")
                self._seen.add(number)
                self.used[sa.spi] += 1
                inner = packet.around(content) if not isinstance(content, Packet) else content
                mark, path = own.mark or received.mark, (*received.path, sa)
                return Received(inner, received.care_of_address, mark, path)
            case Packet() as inner:
                ends = packet.destination, packet.source
                if all((tunnel.local, tunnel.remote) != ends for tunnel in self.tunnels()):
                    return self._drop("unknown tunnel")
                return Received(inner)
            case Datagram():
                return received

    def _bound(
        self, extension: Extension, source: IPv6Address, own: IPv6Address, packet: Packet
    ) -> bool:
        for entry in (
            self._entries.get((extension, source, own)),
            self._entries.get((extension, ANY, own)),
            self._entries.get((extension, ANY, ANY)),
        ):
            if isinstance(entry, RouteOptimisation):
                here = packet.destination if packet.final is not None else packet.source
                if entry.care_of_address in (ANY, here):
                    self.used[entry.identity] += 1
                    return True
        return False

    def admits(
        self, received: Received, direction: Direction = Direction.INBOUND, device: str = ""
    ) -> bool:
        """Tell whether the policies let in what was received, as it was protected."""
        packet = received.packet
        policy = self._policy(
            direction, packet.destination, packet.source, packet, device, received.mark
        )
        left = list(received.path)
        for sa in left:
            if not _may_carry(sa, packet):
                return self._refuse("SA selector")
        if policy is not None and policy.action is PolicyAction.DISCARD:
            return self._refuse("policy in")
        for template in policy.templates if policy is not None else ():
            if isinstance(template, EspTemplate):
                fitting = next((sa for sa in left if _fits(sa, template)), None)
                if fitting is not None:
                    left.remove(fitting)
                elif not template.optional:
                    return self._refuse("unprotected")
        if any(sa.mode is Mode.TUNNEL for sa in left):
            return self._refuse("protected otherwise")
        return True

    def _drop(self, reason: str) -> None:
        self.dropped[reason] += 1

    def _refuse(self, reason: str) -> bool:
        self.dropped[reason] += 1
        return False


def _matches(
    selector: TrafficSelector,
    local: IPv6Address,
    remote: IPv6Address,
    protocol: int,
    mobility_type: int | None,
) -> bool:
    return (
        local in selector.local_prefix
        and remote in selector.remote_prefix
        and selector.inner_protocol in (None, protocol)
        and (mobility_type is None or selector.mobility_type in (None, mobility_type))
    )


def _may_carry(sa: SecurityAssociation, inner: Packet) -> bool:
    if sa.inner_source is None or sa.inner_destination is None:
        return True
    return inner.source in sa.inner_source and inner.destination in sa.inner_destination


def _fits(sa: SecurityAssociation, template: EspTemplate) -> bool:
    return (
        template.reqid in (None, sa.reqid)
        and template.mode is sa.mode
        # Where a tunnel ends here was settled when the SA was found.
        and (sa.mode is Mode.TRANSPORT or template.source in (ANY, sa.source))
    )
