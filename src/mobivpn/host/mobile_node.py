"""A mobile node [18d-f]: movement, Mobile IPv6 and the VCM's pairs behind one set of inputs.

Each cause changes what the parts know; `_settle` then derives what the kernel should hold, and the
effect is the difference. An order between effects exists where the protocol demands one: the state
of a binding stands before the binding update leaves, an inbound SA before its acknowledgement.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network

from mobivpn.clock import Timers, earliest
from mobivpn.host import sa_endpoint
from mobivpn.host.effects import AnnounceAddress, Apply, Record
from mobivpn.host.held import Held
from mobivpn.host.idleness import Idleness, ReadUse
from mobivpn.host.mobility_input import MobilityInput
from mobivpn.host.movement import Detached, Inside, Movement, Outside, Place, SolicitRouters
from mobivpn.host.network import DuplicateDetection
from mobivpn.host.node_databases import Bindings, NodeDatabases
from mobivpn.host.roaming import Roaming
from mobivpn.host.sa_endpoint import (
    PairEnded,
    PairSwitched,
    PeerChangedSides,
    SaEndpoint,
    Settle,
)
from mobivpn.ipsec.policy import ANY
from mobivpn.ipsec.route_optimisation import Extension
from mobivpn.mip6.binding_errors import RefusedOption
from mobivpn.mip6.correspondent_node import CorrespondentNode
from mobivpn.mip6.effects import (
    BindingChanged,
    CorrespondentEffect,
    MobileNodeEffect,
    RegistrationChanged,
    SendMobility,
)
from mobivpn.mip6.messages import (
    BindingError,
    BindingUpdate,
    CareOfTestInit,
    ErrorStatus,
    HomeTestInit,
    Unrecognised,
)
from mobivpn.mip6.mobile_node import MobileNode
from mobivpn.mip6.registration import (
    CORRESPONDENT,
    HOME,
    PROTECTED,
    StaticAuthorisation,
)
from mobivpn.signalling.exchange import SendSignal
from mobivpn.variants import BestPath

Effect = Apply | AnnounceAddress | ReadUse | Record | SendMobility | SendSignal | SolicitRouters

TUNNEL_WITHIN_S = 0.01
"""So long after a binding update the home agent has its tunnel (s); the acknowledgement would tell,
but waits for duplicate address detection (docs/adr/0012)."""

ORDERED_BACK_WITHIN_S = 0.01
"""So long after this node's return its peer outside knows that it is inside (s): the order back
takes hardly longer than what the node could send itself."""

HEARD_AS_CORRESPONDENT = HomeTestInit | CareOfTestInit | BindingUpdate | Unrecognised
"""The rest a node hears as a mobile node."""


class MobileNodeHost(Roaming[Effect]):
    """One mobile node; `mobility` and `correspondent` are its two roles in Mobile IPv6.

    `solicits`: it asks for routers, instead of waiting until they advertise themselves. It
    registers with the peers of its pairs if `best_path` has bindings.
    """

    def __init__(
        self,
        databases: NodeDatabases,
        mobility: MobileNode,
        correspondent: CorrespondentNode,
        endpoint: SaEndpoint,
        pair_idle_s: float = 60.0,
        *,
        solicits: bool = True,
        best_path: BestPath = BestPath.DIRECT,
    ) -> None:
        self._databases = databases
        self._me, self._company = databases.me, databases.company
        self._movement = Movement(
            self._company.vpn_prefix,
            solicits=solicits,
            waits=databases.detection is DuplicateDetection.CLASSIC,
            authenticates=databases.advertisements is not None,
            moves_inside=self._company.is_public,
        )
        self._mobility = mobility
        self._correspondent = correspondent
        self._input = MobilityInput(mobility.dropped, correspondent.dropped)
        self._endpoint = endpoint
        self._best_path = best_path
        self._idleness = Idleness(pair_idle_s)
        self._place: Place = Detached()
        self._former: tuple[Outside, ...] = ()
        self._away = False
        self._proposes_at: float | None = None
        """It has left, and the VCM is to hear so, by the home agent, when that has a tunnel."""
        self._peers_outside = Timers[IPv6Address]()
        """Nodes with which a session goes on from inside: when to tell them where this node is."""
        self._peers_inside: set[IPv6Address] = set()
        """Nodes that are inside while this one is outside."""
        self._doubted: set[str] = set()
        """Links on which a router claims to be of the inside, and does not prove it."""
        self._announced: set[IPv6Address] = set()
        self._optimised: set[IPv6Address] = set()
        self._source_by_peer: dict[IPv6Address, IPv6Address] = {}
        self._care_of_address_by_peer: dict[IPv6Address, IPv6Address] = {}
        self._held = Held()

    @property
    def deadline(self) -> float | None:
        """The earliest deadline of all parts (s)."""
        parts = (
            self._movement,
            self._mobility,
            self._correspondent,
            self._endpoint,
            self._idleness,
            self._input,
            self._peers_outside,
        )
        return earliest((self._proposes_at, *(part.deadline for part in parts)))

    def started(self) -> list[Effect]:
        """The host is up: from now on nothing leaves it that no policy allows."""
        return self._settle()

    # Links

    def link_lost(self, device: str, now: float) -> list[Effect]:
        """A link is gone: VPN traffic is protected or dropped until the next one is known."""
        self._doubted.discard(device)
        return super().link_lost(device, now)

    def router_heard(
        self,
        device: str,
        router: IPv6Address,
        prefixes: Iterable[IPv6Network],
        lifetime_s: float,
        now: float,
        *,
        verified: bool = False,
    ) -> list[Effect]:
        """A router has told which link this is; `verified`: AH says that it is of the inside."""
        prefixes = tuple(prefixes)
        carried: list[Effect] = []
        claims = self._movement.authenticates and self._company.vpn_prefix in prefixes
        if claims and not verified and device not in self._doubted:
            self._doubted.add(device)
            details = {"device": device, "router": str(router)}
            carried.append(Record("inside_not_verified", details=details))
        moved = super().router_heard(device, router, prefixes, lifetime_s, now, verified=verified)
        return [*carried, *moved]

    def address_duplicate(self, device: str, address: IPv6Address, now: float) -> list[Effect]:
        """The kernel has found an address on another host of the link (RFC 4862 5.4.5)."""
        details = {"device": device, "address": str(address)}
        duplicate = Record("address_duplicate", details=details)
        return [duplicate, *super().address_duplicate(device, address, now)]

    def _moved(self, now: float) -> list[Effect]:
        before, had = self._place, self._former
        self._place, self._former = self._movement.place, self._movement.former
        if self._place == before:
            return [] if self._former == had else [*self._settle(), *self._tell_movement(now)]
        if isinstance(self._place, Inside):
            return self._came_home(self._place, now)
        if isinstance(self._place, Outside):
            return self._attached_outside(self._place, now)
        return [*self._tell_movement(now), *self._settle()]

    def _tell_movement(self, now: float) -> list[Effect]:
        place = self._place
        here = place.care_of_address if isinstance(place, Inside | Outside) else None
        former = tuple(place.care_of_address for place in self._former)
        return self._carry_on(self._mobility.care_of_address_changed(here, now, former), now)

    def _attached_outside(self, place: Outside, now: float) -> list[Effect]:
        carried: list[Effect] = [*self._settle()]
        leaving, self._away = not self._away, True
        if leaving:
            self._peers_outside = Timers[IPv6Address]()
            # Not true any more, should it still be under way.
            carried += self._carry_on(
                self._mobility.forget(
                    self._company.security_gateway_inside, self._me.internal_home_address
                ),
                now,
            )
            if not self._company.binds_at_gateway:
                # Where it was inside: sg is not to be told where it is now.
                sg = self._company.security_gateway
                carried += self._carry_on(self._mobility.forget(sg), now)
            carried.append(Record("mn_left", details={"device": place.device}))
        carried.append(
            Record("care_of_address", details={"care_of_address": str(place.care_of_address)})
        )
        carried += self._tell_movement(now)
        # Registered once; after that every movement tells them by itself.
        carried += self._carry_on(self._mobility.register(self._company.home_agent, HOME, now), now)
        if self._company.binds_at_gateway:
            sg = self._company.security_gateway
            carried += self._carry_on(self._mobility.register(sg, PROTECTED, now), now)
        by_home_agent = self._company.vcm_is_direct or not self._company.binds_at_gateway
        if leaving and by_home_agent:
            # Without bindings at sg, and if no data was sooner, it is what tells sg.
            self._proposes_at = now + TUNNEL_WITHIN_S
        elif leaving:
            # Right behind the binding update to sg, which lets it through.
            carried += self._from_endpoint(self._endpoint.went_outside(now), now)
        return carried

    def _came_home(self, place: Inside, now: float) -> list[Effect]:
        """Go back to "no IPsec"; tell the neighbours, and sg from where the node is now."""
        sg, care_of_address = self._company.security_gateway, place.care_of_address
        carried: list[Effect] = []
        for peer in (self._company.home_agent, *(() if care_of_address else (sg,))):
            carried += self._carry_on(self._mobility.forget(peer), now)
        if care_of_address is None:
            carried += self._tell_movement(now)
        carried += self._from_endpoint(self._endpoint.came_inside(), now)
        self._peers_inside.clear()
        forgetting, telling = self._forget_bindings(now)
        carried += [*forgetting, *self._settle()]
        announced = care_of_address or self._me.internal_home_address
        carried.append(AnnounceAddress(announced, place.device))
        carried.append(Record("mn_inside", details={"device": place.device}))
        carried += telling
        was_away, self._away = self._away, False
        self._proposes_at = None
        if care_of_address is not None:
            carried += self._tell_movement(now)
            carried += self._carry_on(self._mobility.register(sg, PROTECTED, now), now)
        elif was_away:
            carried += self._carry_on(
                self._mobility.deregister_inside(
                    self._company.security_gateway_inside,
                    self._me.internal_home_address,
                    self._company.security_gateway,
                    now,
                ),
                now,
            )
        return carried

    # Mobile IPv6

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
        elif (
            isinstance(message, BindingError)
            and message.status == ErrorStatus.UNKNOWN_BINDING
            and message.home_address == self._me.external_home_address
            and destination in (message.home_address, self._source_by_peer.get(source))
            and source in self._bound_from_inside()
        ):
            # The peer has come inside as well.
            given = self._mobility.forget(source)
        elif message is not None:
            given = self._mobility.message_received(message, source, destination, now)
        carried = self._carry_on(given, now)
        if (
            isinstance(message, CareOfTestInit)
            and given
            and source not in self._care_of_address_by_peer.values()
        ):
            carried += self._carry_on(self._mobility.somebody_moved(now), now)
        if self._company.is_public and isinstance(self._place, Inside):
            # Two nodes inside need no route but the LAN's.
            forgetting, telling = self._forget_bindings(now)
            carried += [*forgetting, *telling]
        return [*carried, *self._input.drops(now)]

    def home_address_refused(self, option: RefusedOption, now: float) -> list[Effect]:
        """The kernel did not take data with a home address option."""
        given = self._correspondent.home_address_refused(option, now)
        return [*self._carry_on(given, now), *self._input.drops(now)]

    def _carry_on(
        self, given: Iterable[MobileNodeEffect | CorrespondentEffect], now: float
    ) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            if isinstance(effect, RegistrationChanged):
                carried += self._registration_changed(effect, now)
            elif isinstance(effect, BindingChanged):
                carried += self._binding_changed(effect, now)
            else:
                carried.append(effect)
        return carried

    def _registration_changed(self, change: RegistrationChanged, now: float) -> list[Effect]:
        if change.home_address != self._me.external_home_address:
            return []
        # sg had no binding to lose and no better way exists: data goes right behind the update.
        optimised = change.optimised or (
            change.announced and change.peer == self._company.security_gateway
        )
        for peers, member in ((self._announced, change.announced), (self._optimised, optimised)):
            if member:
                peers.add(change.peer)
            else:
                peers.discard(change.peer)
        if change.source_address is not None:
            self._source_by_peer[change.peer] = change.source_address
        details = {"peer": str(change.peer), "phase": change.phase.value}
        self._idleness.carriers_changed(self._carriers(), now)
        return [*self._settle(), Record("registration", details=details)]

    def _forget_bindings(self, now: float) -> tuple[list[Effect], list[Effect]]:
        """Give up what this node knows of others; return what tells so to those inside as well.

        To their home addresses, by r22, which a router advertisement has told: the kernel asks for
        no neighbour while its own address is optimistic (RFC 4429 section 3.3).
        """
        own = self._me.external_home_address
        telling: list[Effect] = [
            SendMobility(own, peer, BindingError(ErrorStatus.UNKNOWN_BINDING, peer))
            for peer, at in self._care_of_address_by_peer.items()
            if self._company.is_inside(at)
        ]
        forgetting = [
            effect
            for node in self._company.nodes
            for effect in self._carry_on(
                self._correspondent.forget(node.external_home_address, now), now
            )
        ]
        return forgetting, telling

    def _binding_changed(self, change: BindingChanged, now: float) -> list[Effect]:
        peer = change.home_address
        if change.care_of_address is None:
            self._care_of_address_by_peer.pop(peer, None)
            return self._settle()
        self._note_side(peer, self._company.is_inside(change.care_of_address))
        before = self._care_of_address_by_peer.get(peer)
        self._care_of_address_by_peer[peer] = change.care_of_address
        details = {"peer": str(peer), "care_of_address": str(change.care_of_address)}
        carried: list[Effect] = [*self._settle(), Record("binding", "218", details)]
        if before != change.care_of_address:
            moved = self._mobility.peer_moved(peer, now, found=before is None)
            carried += self._carry_on(moved, now)
        return carried

    # Direct pairs

    def datagram_received(self, source: IPv6Address, payload: bytes, now: float) -> list[Effect]:
        """A message of the VCM (206 to 212)."""
        return self._from_endpoint(self._endpoint.datagram_received(source, payload, now), now)

    def applied(self, token: str, refused: str | None, now: float) -> list[Effect]:
        """The kernel has taken, or refused, what a pair needs."""
        return self._from_endpoint(self._endpoint.applied(token, refused, now), now)

    def use_read(self, packets_by_carrier: Mapping[Hashable, int], now: float) -> list[Effect]:
        """The kernel's packet counters: a pair that carries nothing is reported.

        So does a binding that this node has from inside end with its session.
        """
        carried: list[Effect] = []
        for peer, idle_s in self._idleness.use_read(packets_by_carrier, self._carriers(), now):
            carried += self._from_endpoint(self._endpoint.pair_idle(peer, idle_s, now), now)
            if peer in self._bound_from_inside():
                details = {"peer": str(peer)}
                carried.append(Record("optimisation_idle", details=details))
                carried += self._carry_on(self._mobility.deregister(peer, now), now)
        return carried

    def _bound_from_inside(self) -> list[IPv6Address]:
        """Return the nodes outside that know this one by its care-of address inside."""
        if not (self._company.is_public and isinstance(self._place, Inside)):
            return []
        return [peer for peer in self._announced if self._company.node_at(peer) is not None]

    def _carriers(self) -> dict[IPv6Address, Collection[Hashable]]:
        """Return what carries the sessions with other nodes that may become idle."""
        home = self._me.external_home_address
        carriers: dict[IPv6Address, Collection[Hashable]] = {
            peer: (
                (Extension.HOME_ADDRESS_OPTION, home, peer),
                (Extension.ROUTING_HEADER, ANY, home),
            )
            for peer in self._bound_from_inside()
        }
        for pair in self._endpoint.pairs:
            carriers[pair.peer.internal_home_address] = [sa.spi for sa in pair.associations]
        return carriers

    def timer_expired(self, now: float) -> list[Effect]:
        """Something of the parts is due."""
        carried: list[Effect] = []
        if self._proposes_at is not None and self._proposes_at <= now:
            self._proposes_at = None
            carried += self._from_endpoint(self._endpoint.went_outside(now), now)
        return [
            *carried,
            *self._tell_peers_outside(now),
            *self._movement.timer_expired(now),
            *self._idleness.timer_expired(now),
            *self._carry_on(self._mobility.timer_expired(now), now),
            *self._carry_on(self._correspondent.timer_expired(now), now),
            *self._from_endpoint(self._endpoint.timer_expired(now), now),
            *self._input.drops(now),
        ]

    def _tell_peers_outside(self, now: float) -> list[Effect]:
        """Optimise the route to those with whom a pair is over and the session is not."""
        return [
            effect
            for peer in self._peers_outside.pop_due(now)
            for effect in self._carry_on(self._mobility.register(peer, CORRESPONDENT, now), now)
        ]

    def _from_endpoint(self, given: Iterable[sa_endpoint.Effect], now: float) -> list[Effect]:
        carried: list[Effect] = []
        for effect in given:
            match effect:
                case Settle(token):
                    carried += self._settle(token)
                case PairSwitched() if not self._best_path.has_bindings:
                    pass
                case PairSwitched(peer, key):
                    authorisation = CORRESPONDENT if key is None else StaticAuthorisation(key)
                    carried += self._carry_on(
                        self._mobility.register(peer.external_home_address, authorisation, now),
                        now,
                    )
                case PairEnded(peer):
                    home_address = peer.external_home_address
                    carried += self._carry_on(self._mobility.forget(home_address), now)
                    optimises = self._company.is_public and self._best_path.has_bindings
                    if optimises and isinstance(self._place, Inside):
                        self._peers_outside.set(home_address, now + ORDERED_BACK_WITHIN_S)
                case PeerChangedSides(peer, inside):
                    carried += self._changed_sides(peer.external_home_address, inside, now)
                case _:
                    carried.append(effect)
        for peer in self._company.nodes:
            # From inside it comes by associations of both, and proves itself as any other.
            inside = peer.external_home_address in self._peers_inside
            keys = () if inside else self._endpoint.binding_keys_of(peer)
            self._correspondent.keys_given(peer.external_home_address, keys)
        self._idleness.carriers_changed(self._carriers(), now)
        return carried

    def _changed_sides(self, peer: IPv6Address, inside: bool, now: float) -> list[Effect]:
        """The VCM says on which side of sg a peer is: no binding of the other side is true."""
        if not self._company.is_public:
            return []
        carried: list[Effect] = []
        care_of_address = self._care_of_address_by_peer.get(peer)
        self._note_side(peer, inside)
        if not inside and care_of_address is not None and self._company.is_inside(care_of_address):
            carried += self._carry_on(self._correspondent.forget(peer, now), now)
        return [*carried, *self._settle()]

    def _note_side(self, peer: IPv6Address, inside: bool) -> None:
        if inside:
            self._peers_inside.add(peer)
        else:
            self._peers_inside.discard(peer)

    def _settle(self, token: str | None = None) -> list[Effect]:
        """Bring the kernel to what the parts know now; with a token, even if nothing changes."""
        former = {place.care_of_address for place in self._former}
        sources = self._source_by_peer.items()
        wanted = self._databases.at(
            self._place,
            Bindings(
                announced=frozenset(self._announced),
                optimised=frozenset(self._optimised),
                peers=tuple(sorted(self._care_of_address_by_peer.items())),
                by_former={peer: source for peer, source in sources if source in former},
                inside=frozenset(self._peers_inside),
            ),
            self._endpoint.pairs,
            self._former,
        )
        return [*self._held.become(wanted, token)]
