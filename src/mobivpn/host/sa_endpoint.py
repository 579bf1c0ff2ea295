"""A mobile node's end of the VCM's protocol: 206/210, 208/212, the order back, renewal.

An end may encrypt only when the other can decrypt: it installs what decrypts and accepts, and it
switches what encrypts when the VCM has forwarded the other's acceptance. The order back is obeyed
the other way round: encryption ends first, decryption goes on until nothing can be under way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.clock import Timers, earliest
from mobivpn.errors import IllegalTransition
from mobivpn.host.effects import Record
from mobivpn.host.node_databases import DirectPair
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal, Ticket
from mobivpn.signalling.messages import (
    Acknowledge,
    PairDropped,
    PeerReady,
    Release,
    SaAccept,
    SaOffer,
    SaRefuse,
    SessionIdle,
    Withdraw,
)


class Phase(Enum):
    """How far one generation of a pair is in this kernel."""

    OFFERED = "offered"
    """What decrypts is being installed."""
    ACCEPTING = "accepting"
    """Decrypts; traffic to the peer goes through the gateway, or by an older generation."""
    SWITCHING = "switching"
    """The outbound policy is being changed; the peer can decrypt."""
    PROTECTED = "protected"
    LEAVING = "leaving"
    """The outbound policy is being taken back."""
    DRAINING = "draining"
    """Decrypts what is still under way, encrypts nothing."""


class Input(Enum):
    """What happens to a generation."""

    INSTALLED = "installed"
    PEER_READY = "peer ready"
    SWITCHED = "switched"
    ORDERED_BACK = "ordered back"
    WENT_BACK = "went back"


TRANSITIONS: Mapping[tuple[Phase, Input], Phase] = {
    (Phase.OFFERED, Input.INSTALLED): Phase.ACCEPTING,  # 208, 212
    (Phase.ACCEPTING, Input.PEER_READY): Phase.SWITCHING,  # 208, 212 forwarded
    (Phase.SWITCHING, Input.SWITCHED): Phase.PROTECTED,
    **{(phase, Input.ORDERED_BACK): Phase.LEAVING for phase in Phase},
    (Phase.LEAVING, Input.WENT_BACK): Phase.DRAINING,
    # The kernel is done with what was asked of it before the order came.
    (Phase.LEAVING, Input.INSTALLED): Phase.LEAVING,
    (Phase.LEAVING, Input.SWITCHED): Phase.LEAVING,
    (Phase.DRAINING, Input.INSTALLED): Phase.DRAINING,
    (Phase.DRAINING, Input.SWITCHED): Phase.DRAINING,
}

ENCRYPTING = frozenset({Phase.SWITCHING, Phase.PROTECTED})


@dataclass(frozen=True, slots=True)
class Settle:
    """The pairs have changed: bring the kernel there, and report the outcome under `token`."""

    token: str | None = None


@dataclass(frozen=True, slots=True)
class PairSwitched:
    """Traffic to a peer leaves by the direct pair now: its binding is wanted (218)."""

    peer: NodeIdentity


@dataclass(frozen=True, slots=True)
class PairEnded:
    """Traffic to a peer leaves by the direct pair no more."""

    peer: NodeIdentity


Effect = SendSignal | Settle | PairSwitched | PairEnded | Record


@dataclass(slots=True)
class _Generation:
    offer: SaOffer
    phase: Phase = Phase.OFFERED
    waiting: dict[Input, Ticket] = field(default_factory=dict[Input, Ticket])
    """Requests that are answered when the kernel has obeyed."""

    def move(self, happened: Input) -> None:
        try:
            self.phase = TRANSITIONS[self.phase, happened]
        except KeyError:
            raise IllegalTransition(f"pair: {happened.value} while {self.phase.value}") from None


@dataclass(slots=True)
class _Pair:
    number: int
    peer: NodeIdentity
    generations: dict[int, _Generation] = field(default_factory=dict[int, _Generation])
    idle_reported: bool = False

    @property
    def newest(self) -> int:
        return max(self.generations)

    def encrypting(self) -> SecurityAssociation | None:
        """Return the outbound SA of the newest generation that encrypts."""
        for number in sorted(self.generations, reverse=True):
            generation = self.generations[number]
            if generation.phase in ENCRYPTING:
                return generation.offer.outbound
        return None

    def view(self) -> DirectPair:
        offers = [generation.offer for generation in self.generations.values()]
        return DirectPair(
            self.peer,
            tuple(sa for offer in offers for sa in (offer.inbound, offer.outbound)),
            self.encrypting(),
        )


class SaEndpoint:
    """All direct pairs of one node, by peer."""

    def __init__(self, me: NodeIdentity, company: Company, signalling: SignallingEndpoint) -> None:
        self._me = me
        self._company = company
        self._signalling = signalling
        self._pairs: dict[IPv6Address, _Pair] = {}
        self._expiry = Timers[IPv6Address]()
        self._outside = False

    @property
    def deadline(self) -> float | None:
        """When a pair expires or a report has to be sent again (s)."""
        return earliest((self._expiry.deadline, self._signalling.deadline))

    @property
    def pairs(self) -> tuple[DirectPair, ...]:
        """What the kernel should hold of every pair."""
        return tuple(pair.view() for pair in self._pairs.values())

    def went_outside(self) -> None:
        """The node has left: offers are welcome."""
        self._outside = True

    def came_inside(self) -> list[Effect]:
        """The node is home: its pairs are over, and the VCM hears of it from the gateway."""
        self._outside = False
        return [e for peer in tuple(self._pairs) for e in self._remove(peer)]

    def datagram_received(self, source: IPv6Address, payload: bytes, now: float) -> list[Effect]:
        """A message of the VCM."""
        effects: list[Effect] = []
        for effect in self._signalling.datagram_received(source, payload):
            if isinstance(effect, SendSignal):
                effects.append(effect)
            elif isinstance(effect, Delivered):
                effects += self._obey(effect, now)
        return effects

    def applied(self, token: str, refused: str | None, now: float) -> list[Effect]:
        """The kernel has carried out, or refused, the change that was asked for under `token`."""
        happened, number, generation = token.split("/")
        pair = self._numbered(int(number))
        step = pair.generations.get(int(generation)) if pair is not None else None
        if pair is None or step is None:
            return []
        done = Input(happened)
        ticket = step.waiting.pop(done, None)
        if refused is not None and done is not Input.WENT_BACK:
            return [*self._refuse(ticket, step.offer, refused), *self._drop(pair, refused, now)]
        step.move(done)
        match done:
            case Input.INSTALLED:
                return self._installed(pair, step, ticket)
            case Input.SWITCHED:
                return self._switched(pair, step, ticket)
            case _:
                return [
                    *self._answer(ticket, Acknowledge()),
                    Record("back_to_gateway", None, _details(pair)),
                    PairEnded(pair.peer),
                ]

    def pair_idle(self, peer: IPv6Address, idle_s: float, now: float) -> list[Effect]:
        """The SAs with a peer (internal home address) have carried nothing for `idle_s`."""
        pair = self._pairs.get(peer)
        if pair is None or pair.encrypting() is None or pair.idle_reported:
            return []
        pair.idle_reported = True
        return [
            Record("session_idle", None, _details(pair)),
            *self._request(SessionIdle(pair.number, int(idle_s)), now),
        ]

    def timer_expired(self, now: float) -> list[Effect]:
        """Pairs that nobody has renewed are over; reports are sent again."""
        effects: list[Effect] = [
            e for e in self._signalling.timer_expired(now) if isinstance(e, SendSignal)
        ]
        for peer in self._expiry.pop_due(now):
            effects += self._drop(self._pairs[peer], "expired", now)
        return effects

    def _obey(self, delivered: Delivered, now: float) -> list[Effect]:
        ticket = delivered.ticket
        match delivered.message:
            case SaOffer() as offer:
                return self._offered(offer, ticket, now)
            case PeerReady(number, generation):
                return self._peer_ready(number, generation, ticket)
            case Withdraw(number, reason):
                return self._withdraw(number, reason, ticket)
            case Release(number, up_to_generation):
                return self._release(number, up_to_generation)
            case _:
                return []

    def _offered(self, offer: SaOffer, ticket: Ticket, now: float) -> list[Effect]:
        """206, 210: install what decrypts."""
        peer = self._company.node_at(offer.peer_internal_home_address)
        known = self._pairs.get(offer.peer_internal_home_address)
        if (
            peer is None
            or peer == self._me
            or peer.external_home_address != offer.peer_external_home_address
        ):
            return self._refuse(ticket, offer, "unknown peer")
        if not self._outside:
            return self._refuse(ticket, offer, "inside")
        effects: list[Effect] = []
        if known is None or offer.pair > known.number:
            # A pair that was given up without our hearing of it.
            effects += self._remove(peer.internal_home_address) if known is not None else []
            known = self._pairs[peer.internal_home_address] = _Pair(offer.pair, peer)
        elif offer.pair < known.number or offer.generation <= known.newest:
            return self._refuse(ticket, offer, "overtaken by a newer one")
        step = known.generations[offer.generation] = _Generation(offer)
        step.waiting[Input.INSTALLED] = ticket
        self._expiry.set(peer.internal_home_address, now + offer.lifetime_s)
        return [*effects, Settle(_token(Input.INSTALLED, offer.pair, offer.generation))]

    def _installed(self, pair: _Pair, step: _Generation, ticket: Ticket | None) -> list[Effect]:
        offer = step.offer
        effects: list[Effect] = [
            Record("inbound_installed", None, _details(pair)),
            *self._answer(ticket, SaAccept(offer.pair, offer.generation)),
        ]
        ready = step.waiting.pop(Input.PEER_READY, None)
        if ready is not None and step.phase is Phase.ACCEPTING:
            effects += self._peer_ready(pair.number, offer.generation, ready)
        return effects

    def _peer_ready(self, number: int, generation: int, ticket: Ticket) -> list[Effect]:
        """208, 212 forwarded: the peer can decrypt."""
        pair = self._numbered(number)
        step = pair.generations.get(generation) if pair is not None else None
        if step is None:
            return [*self._signalling_answer(ticket, SaRefuse(number, generation, "unknown"))]
        if step.phase is Phase.OFFERED:
            step.waiting[Input.PEER_READY] = ticket
            return []
        if step.phase is not Phase.ACCEPTING:
            return self._refuse(ticket, step.offer, step.phase.value)
        step.move(Input.PEER_READY)
        step.waiting[Input.SWITCHED] = ticket
        return [Settle(_token(Input.SWITCHED, number, generation))]

    def _switched(self, pair: _Pair, step: _Generation, ticket: Ticket | None) -> list[Effect]:
        effects: list[Effect] = self._answer(ticket, Acknowledge())
        if step.phase is not Phase.PROTECTED:
            return effects
        return [
            Record("outbound_switched", None, _details(pair)),
            *effects,
            PairSwitched(pair.peer),
        ]

    def _withdraw(self, number: int, reason: str, ticket: Ticket) -> list[Effect]:
        """The order back: end what encrypts, go on with what decrypts."""
        pair = self._numbered(number)
        if pair is None:
            return self._answer(ticket, Acknowledge())
        for step in pair.generations.values():
            step.move(Input.ORDERED_BACK)
        pair.generations[pair.newest].waiting[Input.WENT_BACK] = ticket
        return [
            Record("ordered_back", None, {**_details(pair), "reason": reason}),
            Settle(_token(Input.WENT_BACK, number, pair.newest)),
        ]

    def _release(self, number: int, up_to_generation: int) -> list[Effect]:
        pair = self._numbered(number)
        if pair is None:
            return []
        for generation in [g for g in pair.generations if g <= up_to_generation]:
            del pair.generations[generation]
        if not pair.generations:
            return self._remove(pair.peer.internal_home_address)
        return [Settle()]

    def _drop(self, pair: _Pair, reason: str, now: float) -> list[Effect]:
        """Give a pair up on our own, and tell the VCM, who orders the peer back."""
        return [
            Record("pair_dropped", None, {**_details(pair), "reason": reason}),
            *self._remove(pair.peer.internal_home_address),
            *self._request(PairDropped(pair.number, reason[:200]), now),
        ]

    def _remove(self, peer: IPv6Address) -> list[Effect]:
        pair = self._pairs.pop(peer)
        self._expiry.cancel(peer)
        return [Settle(), PairEnded(pair.peer)]

    def _numbered(self, number: int) -> _Pair | None:
        for pair in self._pairs.values():
            if pair.number == number:
                return pair
        return None

    def _request(self, message: SessionIdle | PairDropped, now: float) -> list[Effect]:
        given = self._signalling.request(self._company.vcm, message, now)
        return [e for e in given if isinstance(e, SendSignal)]

    def _refuse(self, ticket: Ticket | None, offer: SaOffer, reason: str) -> list[Effect]:
        return self._answer(ticket, SaRefuse(offer.pair, offer.generation, reason[:200]))

    def _answer(
        self, ticket: Ticket | None, answer: Acknowledge | SaAccept | SaRefuse
    ) -> list[Effect]:
        return [] if ticket is None else self._signalling_answer(ticket, answer)

    def _signalling_answer(
        self, ticket: Ticket, answer: Acknowledge | SaAccept | SaRefuse
    ) -> list[Effect]:
        given = self._signalling.answer(ticket, answer)
        return [e for e in given if isinstance(e, SendSignal)]


def _token(happened: Input, number: int, generation: int) -> str:
    return f"{happened.value}/{number}/{generation}"


def _details(pair: _Pair) -> dict[str, str | int | float | list[str]]:
    return {"pair": pair.number, "generation": pair.newest, "peer": pair.peer.name}
