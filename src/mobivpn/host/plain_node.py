"""A mobile node of plain Mobile IPv6 (RFC 6275): no IPsec, route optimisation with its peers.

For comparison with the seed's: the company's LAN is one more foreign network. What RFC 6275 section
5.1 asks for between a mobile node and its home agent is left out here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Network

from mobivpn.clock import earliest
from mobivpn.host.effects import Apply, Record
from mobivpn.host.fixed_databases import bound_correspondent, routing_header_of_data
from mobivpn.host.held import Held
from mobivpn.host.mobile_node import HEARD_AS_CORRESPONDENT
from mobivpn.host.mobility_input import MobilityInput
from mobivpn.host.movement import Detached, Movement, Outside, Place, SolicitRouters
from mobivpn.host.network import Address, Dummy, DuplicateDetection, NextHop, Route, Rule, Tunnel
from mobivpn.host.node_databases import (
    BY_HOME_AGENT_MARK,
    BY_ROUTER,
    HOME_TABLE,
    HOME_TUNNEL,
    UNBOUND,
    VPN_DEVICE,
    Bindings,
)
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.host.roaming import Roaming
from mobivpn.ipsec.databases import Databases, Entry, databases
from mobivpn.ipsec.policy import (
    ANY,
    HomeAddressTemplate,
    PolicyAction,
    Precedence,
    RoutingHeaderTemplate,
    SecurityPolicy,
)
from mobivpn.ipsec.route_optimisation import (
    ANY_HOME_ADDRESS_OPTION,
    Extension,
    RouteOptimisation,
)
from mobivpn.ipsec.selector import (
    EVERYWHERE,
    IPPROTO_MH,
    Direction,
    MobilityType,
    TrafficSelector,
    host,
)
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import (
    BindingChanged,
    CorrespondentEffect,
    MobileNodeEffect,
    RegistrationChanged,
    SendMobility,
)
from mobivpn.mip6.messages import CareOfTestInit
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.mip6.registration import CORRESPONDENT, HOME

NOWHERE = IPv6Network("fd00:ffff:ffff:ffff::/64")
"""The prefix of an inside that there is not."""

Effect = Apply | Record | SendMobility | SolicitRouters


@dataclass(frozen=True, slots=True)
class PlainDatabases:
    """What the node's kernel holds, as a function of its place and of bindings."""

    me: NodeIdentity
    company: Company
    link_mtu: int = 1500

    def at(self, place: Place, bindings: Bindings = UNBOUND) -> Databases:
        """Return the databases for one place."""
        return databases(self._entries(place, bindings))

    def _entries(self, place: Place, bindings: Bindings) -> Iterator[Entry]:
        home = self.me.external_home_address
        yield ANY_HOME_ADDRESS_OPTION
        yield Dummy(VPN_DEVICE)
        yield Address(home, VPN_DEVICE, home=True)
        yield Rule(HOME_TABLE, preference=100, source=host(home))
        yield from self._policies()
        for peer, care_of_address in bindings.peers:
            option = (HomeAddressTemplate(home, peer, _here(place)),)
            yield from bound_correspondent(home, peer, care_of_address)
            yield from routing_header_of_data(
                home, peer, *(option if peer in bindings.optimised else ())
            )
        if isinstance(place, Outside):
            yield from self._away(place, bindings)

    def _policies(self) -> Iterator[SecurityPolicy]:
        home = self.me.external_home_address
        to_anyone = TrafficSelector(host(home), EVERYWHERE, IPPROTO_MH)
        update = SecurityPolicy(
            name="binding_update/out",
            direction=Direction.OUTBOUND,
            selector=replace(to_anyone, mobility_type=MobilityType.BINDING_UPDATE.value),
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=(RoutingHeaderTemplate(home, ANY), HomeAddressTemplate(home, ANY)),
        )
        yield update
        yield replace(
            update,
            name="binding_update_by_home_agent/out",
            precedence=Precedence.MOBILITY_BY_HOME_AGENT,
            templates=(HomeAddressTemplate(home, ANY),),
            mark=BY_HOME_AGENT_MARK,
        )
        # All others go as they are given (section 9.5.4), or by the peer's home agent.
        yield SecurityPolicy(
            name="mobility/out",
            direction=Direction.OUTBOUND,
            selector=to_anyone,
            action=PolicyAction.BYPASS,
            precedence=Precedence.SIGNALLING,
        )
        headers = (HomeAddressTemplate(ANY, home), RoutingHeaderTemplate(ANY, home))
        yield SecurityPolicy(
            name="mobility/in",
            direction=Direction.INBOUND,
            selector=to_anyone,
            action=PolicyAction.PROTECT,
            precedence=Precedence.MOBILITY,
            templates=headers,
        )
        yield SecurityPolicy(
            name="data/in",
            direction=Direction.INBOUND,
            selector=TrafficSelector(host(home), EVERYWHERE),
            action=PolicyAction.PROTECT,
            precedence=Precedence.UNPROTECTED,
            templates=headers[1:],
        )

    def _away(self, place: Outside, bindings: Bindings) -> Iterator[Entry]:
        home, here = self.me.external_home_address, place.care_of_address
        agent, tunnel = self.company.home_agent, HOME_TUNNEL.format(slot=place.slot)
        yield Address(here, place.device, detection=DuplicateDetection.OPTIMISTIC)
        yield Tunnel(tunnel, here, agent, self.link_mtu - 40)
        yield NextHop(BY_ROUTER, place.device, place.router)
        yield Route(EVERYWHERE, next_hop=BY_ROUTER)
        yield Route(EVERYWHERE, device=tunnel, table=HOME_TABLE)
        yield RouteOptimisation(Extension.ROUTING_HEADER, ANY, home, here, wildcard=True)
        for peer in sorted(bindings.announced | bindings.optimised | {agent}):
            yield RouteOptimisation(Extension.HOME_ADDRESS_OPTION, home, peer, here)


def _here(place: Place) -> IPv6Address | None:
    return place.care_of_address if isinstance(place, Outside) else None


class PlainNodeHost(Roaming[Effect]):
    """One such node; it registers with its home agent and, by return routability, with `peers`."""

    def __init__(
        self,
        kernel: PlainDatabases,
        mobility: MobileNode,
        correspondent: CorrespondentNode,
        peers: Iterable[IPv6Address],
    ) -> None:
        self._databases = kernel
        self._mobility = mobility
        self._correspondent = correspondent
        self._peers = tuple(peers)
        self._movement = Movement(NOWHERE)
        self._input = MobilityInput(mobility.dropped, correspondent.dropped)
        self._place: Place = Detached()
        self._announced: set[IPv6Address] = set()
        self._optimised: set[IPv6Address] = set()
        self._care_of_address_by_peer: dict[IPv6Address, IPv6Address] = {}
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of all parts (s)."""
        parts = (self._movement, self._mobility, self._correspondent, self._input)
        return earliest(part.deadline for part in parts)

    def started(self) -> list[Effect]:
        """The host is up."""
        return self._settle()

    def _moved(self, now: float) -> list[Effect]:
        if self._movement.place == self._place:
            return []
        self._place = place = self._movement.place
        here = _here(place)
        carried: list[Effect] = self._settle()
        if here is not None:
            details = {"care_of_address": str(here)}
            carried.append(Record("care_of_address", details=details))
        carried += self._carry_on(self._mobility.care_of_address_changed(here, now), now)
        if here is not None:
            # Registered once; after that every movement tells them by itself.
            agent = self._databases.company.home_agent
            carried += self._carry_on(self._mobility.register(agent, HOME, now), now)
            for peer in self._peers:
                carried += self._carry_on(self._mobility.register(peer, CORRESPONDENT, now), now)
        return carried

    def mobility_received(
        self,
        data: bytes,
        source: IPv6Address,
        destination: IPv6Address,
        care_of_address: IPv6Address | None,
        now: float,
    ) -> list[Effect]:
        """A mobility header for this host; a malformed one is dropped."""
        message = self._input.read(data)
        given: Iterable[MobileNodeEffect | CorrespondentEffect] = ()
        if isinstance(message, HEARD_AS_CORRESPONDENT):
            given = self._correspondent.message_received(
                message, source, destination, now, care_of_address
            )
        elif message is not None:
            given = self._mobility.message_received(message, source, destination, now)
        carried = self._carry_on(given, now)
        known = self._care_of_address_by_peer.values()
        if isinstance(message, CareOfTestInit) and given and source not in known:
            carried += self._carry_on(self._mobility.somebody_moved(now), now)
        return [*carried, *self._input.drops(now)]

    def home_address_refused(self, option: RefusedOption, now: float) -> list[Effect]:
        """The kernel did not take data with a home address option."""
        given = self._correspondent.home_address_refused(option, now)
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def timer_expired(self, now: float) -> list[Effect]:
        """Something of the parts is due."""
        return [
            *self._movement.timer_expired(now),
            *self._carry_on(self._mobility.timer_expired(now), now),
            *self._carry_on(self._correspondent.timer_expired(now), now),
            *self._input.drops(now),
        ]

    def _carry_on(
        self, given: Iterable[MobileNodeEffect | CorrespondentEffect], now: float
    ) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            if isinstance(effect, RegistrationChanged):
                carried += self._registration_changed(effect)
            elif isinstance(effect, BindingChanged):
                carried += self._binding_changed(effect, now)
            else:
                carried.append(effect)
        return carried

    def _registration_changed(self, change: RegistrationChanged) -> list[Effect]:
        for peers, member in (
            (self._announced, change.announced),
            (self._optimised, change.optimised),
        ):
            (peers.add if member else peers.discard)(change.peer)
        details = {"peer": str(change.peer), "phase": change.phase.value}
        return [*self._settle(), Record("registration", details=details)]

    def _binding_changed(self, change: BindingChanged, now: float) -> list[Effect]:
        peer = change.home_address
        before = self._care_of_address_by_peer.pop(peer, None)
        if change.care_of_address is None:
            return self._settle()
        self._care_of_address_by_peer[peer] = change.care_of_address
        details = {"peer": str(peer), "care_of_address": str(change.care_of_address)}
        carried: list[Effect] = [*self._settle(), Record("binding", "218", details)]
        if before != change.care_of_address:
            moved = self._mobility.peer_moved(peer, now, found=before is None)
            carried += self._carry_on(moved, now)
        return carried

    def _settle(self) -> list[Effect]:
        bindings = Bindings(
            announced=frozenset(self._announced),
            optimised=frozenset(self._optimised),
            peers=tuple(sorted(self._care_of_address_by_peer.items())),
        )
        return [*self._held.become(self._databases.at(self._place, bindings))]
