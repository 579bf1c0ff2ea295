"""A mobile node's end of the VCM's protocol: 206/210, 208/212, the order back, renewal.

An end may encrypt only when the other can decrypt: it installs what decrypts and accepts, and it
switches what encrypts when the VCM has forwarded the other's acceptance. The order back is obeyed
the other way round: encryption ends first; decryption goes on until the VCM says that the other
end has obeyed as well, and for as long after that as packets can be under way.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.clock import Timers, earliest
from mobivpn.errors import IllegalTransition, PeerError
from mobivpn.host.effects import Record
from mobivpn.host.keyring import Keyring
from mobivpn.host.node_databases import DirectPair
from mobivpn.host.plan import Company, NodeIdentity
from mobivpn.ipsec.sa import SecurityAssociation
from mobivpn.signalling.endpoint import Effect as SignallingEffect
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Delivered, SendSignal, Ticket
from mobivpn.signalling.messages import (
    PEER_RETURNED,
    Acknowledge,
    Answer,
    PairDropped,
    PeerReady,
    Release,
    SaAccept,
    SaOffer,
    SaProposal,
    SaRefuse,
    SessionIdle,
    Withdraw,
)

GRACE_S = 2.0
"""How long to decrypt on after a release: more than a packet can be under way by any path."""

EXPIRY_GRACE_S = 30.0
"""The same after a lifetime: the peer's began when its own offer came, so much later at most."""

REMEMBERED = 64
"""How many pairs, over or not yet offered, are remembered for messages that were overtaken."""


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
    REFUSED = "refused"
    ORDERED_BACK = "ordered back"
    WENT_BACK = "went back"


TRANSITIONS: Mapping[tuple[Phase, Input], Phase] = {
    (Phase.OFFERED, Input.INSTALLED): Phase.ACCEPTING,  # 208, 212
    (Phase.ACCEPTING, Input.PEER_READY): Phase.SWITCHING,  # 208, 212 forwarded
    (Phase.SWITCHING, Input.SWITCHED): Phase.PROTECTED,
    (Phase.SWITCHING, Input.REFUSED): Phase.LEAVING,
    **{(phase, Input.ORDERED_BACK): Phase.LEAVING for phase in Phase},
    (Phase.LEAVING, Input.WENT_BACK): Phase.DRAINING,
    # The kernel is done with what was asked of it before the order came.
    (Phase.LEAVING, Input.INSTALLED): Phase.LEAVING,
    (Phase.LEAVING, Input.SWITCHED): Phase.LEAVING,
    (Phase.LEAVING, Input.REFUSED): Phase.LEAVING,
    # Expired, and ordered back on top of that.
    (Phase.DRAINING, Input.WENT_BACK): Phase.DRAINING,
}

ENCRYPTING = frozenset({Phase.SWITCHING, Phase.PROTECTED})
ENDING = frozenset({Phase.LEAVING, Phase.DRAINING})


@dataclass(frozen=True, slots=True)
class Settle:
    """The pairs have changed: bring the kernel there, and report the outcome under `token`."""

    token: str | None = None


@dataclass(frozen=True, slots=True)
class PairSwitched:
    """Traffic to a peer leaves by the direct pair now: its binding is wanted (218).

    The binding update is authorised by `binding_key`, or without one by return routability.
    """

    peer: NodeIdentity
    binding_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PairEnded:
    """Traffic to a peer leaves by the direct pair no more."""

    peer: NodeIdentity


@dataclass(frozen=True, slots=True)
class PeerChangedSides:
    """The VCM's messages tell that a peer has come inside, or is outside again."""

    peer: NodeIdentity
    inside: bool


Effect = SendSignal | Settle | PairSwitched | PairEnded | PeerChangedSides | Record


@dataclass(slots=True)
class _Generation:
    offer: SaOffer
    inbound: SecurityAssociation
    outbound: SecurityAssociation
    phase: Phase = Phase.OFFERED
    waiting: dict[Input, Ticket] = field(default_factory=dict[Input, Ticket])
    """Requests that are answered when the kernel has obeyed, or when something else comes."""

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
    order: Ticket | None = None
    """The order back, until it is obeyed."""
    idle_reported: bool = False

    @property
    def newest(self) -> int:
        return max(self.generations)

    @property
    def ending(self) -> bool:
        return self.generations[self.newest].phase in ENDING

    def encrypting(self) -> SecurityAssociation | None:
        """Return the outbound SA of the newest generation that encrypts."""
        for number in sorted(self.generations, reverse=True):
            generation = self.generations[number]
            if generation.phase in ENCRYPTING:
                return generation.outbound
        return None


class SaEndpoint:
    """All direct pairs of one node.

    With one peer there may be two at a time: one that is drained, and its successor. `keyring` is
    what the node brings along to them.
    """

    def __init__(
        self,
        me: NodeIdentity,
        company: Company,
        signalling: SignallingEndpoint,
        keyring: Keyring | None = None,
    ) -> None:
        self._me = me
        self._company = company
        self._signalling = signalling
        self._keyring = keyring or Keyring()
        self._pairs: dict[int, _Pair] = {}
        self._expiry = Timers[int]()
        self._grace = Timers[tuple[int, int]]()
        self._outside = False
        self._dropped_inside: list[int] = []
        """Pairs of the last absence: the VCM hears of their end from the gateway, or from us."""
        self._over: deque[int] = deque(maxlen=REMEMBERED)
        self._early: dict[tuple[int, int], Ticket] = {}
        """A peer's readiness that has overtaken our own offer."""

    @property
    def deadline(self) -> float | None:
        """When a pair expires, has drained, a key or a message that was sent is due (s)."""
        parts = (self._expiry, self._grace, self._signalling, self._keyring)
        return earliest(part.deadline for part in parts)

    @property
    def pairs(self) -> tuple[DirectPair, ...]:
        """What the kernel should hold, by peer."""
        return tuple(
            DirectPair(
                peer,
                tuple(
                    sa
                    for pair in self._with(peer)
                    for generation in pair.generations.values()
                    for sa in (generation.inbound, generation.outbound)
                ),
                self._encrypting(peer),
            )
            for peer in {pair.peer.name: pair.peer for pair in self._pairs.values()}.values()
        )

    def binding_keys_of(self, peer: NodeIdentity) -> tuple[bytes, ...]:
        """Return the keys that authorise the peer's binding updates: of all its generations."""
        return tuple(
            generation.offer.binding_keys.inbound
            for pair in self._with(peer)
            for generation in pair.generations.values()
            if generation.offer.binding_keys is not None
        )

    def went_outside(self, now: float) -> list[Effect]:
        """The node has left, and sg hears of it: offers are welcome, and the VCM is told of what.

        Should it have been home for so short a time that the gateway has missed it, the VCM takes
        the pairs of its last absence for good: tell.
        """
        self._outside = True
        dropped, self._dropped_inside = self._dropped_inside, []
        return [
            *self._request(self._keyring.proposal(now), now),
            *(e for number in dropped for e in self._request(PairDropped(number, "inside"), now)),
        ]

    def came_inside(self) -> list[Effect]:
        """The node is home: its pairs are over, and the VCM hears of it from the gateway."""
        self._outside = False
        self._early.clear()
        effects: list[Effect] = []
        for pair in tuple(self._pairs.values()):
            self._dropped_inside.append(pair.number)
            effects += self._answer(pair.order, Acknowledge())
            for number, generation in pair.generations.items():
                for ticket in generation.waiting.values():
                    effects += self._answer(ticket, SaRefuse(pair.number, number, "inside"))
            effects += self._remove(pair)
        return effects

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
        pair = self._pairs.get(int(number))
        step = pair.generations.get(int(generation)) if pair is not None else None
        if pair is None or step is None:
            return []
        match Input(happened):
            case Input.WENT_BACK:
                return self._went_back(pair, refused)
            case Input.INSTALLED:
                return self._installed(pair, step, refused)
            case _:
                return self._switched(pair, step, refused, now)

    def pair_idle(self, peer: IPv6Address, idle_s: float, now: float) -> list[Effect]:
        """The SAs with a peer (internal home address) have carried nothing for `idle_s`."""
        for pair in self._pairs.values():
            if (
                pair.peer.internal_home_address == peer
                and pair.encrypting() is not None
                and not pair.idle_reported
            ):
                pair.idle_reported = True
                return [
                    Record("session_idle", None, _details(pair)),
                    *self._request(SessionIdle(pair.number, int(idle_s)), now),
                ]
        return []

    def timer_expired(self, now: float) -> list[Effect]:
        """Pairs that nobody has renewed end; what has drained goes; reports are sent again."""
        effects = _sent(self._signalling.timer_expired(now))
        self._keyring.timer_expired(now)
        for number in self._expiry.pop_due(now):
            effects += self._expire(self._pairs[number], now)
        for number, generation in self._grace.pop_due(now):
            pair = self._pairs[number]
            del pair.generations[generation]
            effects += self._remove(pair) if not pair.generations else [Settle()]
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
                return self._release(number, up_to_generation, now)
            case _:
                return []

    def _offered(self, offer: SaOffer, ticket: Ticket, now: float) -> list[Effect]:
        """206, 210: install what decrypts."""
        peer = self._company.node_at(offer.peer_internal_home_address)
        if (
            peer is None
            or peer == self._me
            or peer.external_home_address != offer.peer_external_home_address
        ):
            return self._refuse(ticket, offer, "unknown peer")
        if not self._outside:
            return self._refuse(ticket, offer, "inside")
        if offer.pair in self._over or any(p.number > offer.pair for p in self._with(peer)):
            return self._refuse(ticket, offer, "overtaken by a newer one")
        pair = self._pairs.get(offer.pair)
        if pair is not None and (
            pair.peer != peer or pair.ending or offer.generation <= pair.newest
        ):
            return self._refuse(ticket, offer, "overtaken by a newer one")
        try:
            inbound, outbound = self._keyring.associations(offer)
        except PeerError as error:
            return self._refuse(ticket, offer, error.reason)
        if pair is None:
            pair = self._pairs[offer.pair] = _Pair(offer.pair, peer)
        step = pair.generations[offer.generation] = _Generation(offer, inbound, outbound)
        step.waiting[Input.INSTALLED] = ticket
        ready = self._early.pop((offer.pair, offer.generation), None)
        if ready is not None:
            step.waiting[Input.PEER_READY] = ready
        pair.idle_reported = False
        self._expiry.set(offer.pair, now + offer.lifetime_s)
        return [
            PeerChangedSides(peer, inside=False),
            Settle(_token(Input.INSTALLED, offer.pair, offer.generation)),
        ]

    def _installed(self, pair: _Pair, step: _Generation, refused: str | None) -> list[Effect]:
        """Accept (208, 212); without the kernel's consent, the pair goes on as it was."""
        generation = step.offer.generation
        ticket = step.waiting.pop(Input.INSTALLED, None)
        if refused is not None:
            if step.phase is Phase.LEAVING:
                return []
            del pair.generations[generation]
            return [
                *self._refuse(ticket, step.offer, refused),
                *(self._remove(pair) if not pair.generations else [Settle()]),
            ]
        step.move(Input.INSTALLED)
        if step.phase is not Phase.ACCEPTING:
            return []
        effects: list[Effect] = [
            Record("inbound_installed", None, _details(pair)),
            *self._answer(ticket, SaAccept(pair.number, generation)),
        ]
        ready = step.waiting.pop(Input.PEER_READY, None)
        if ready is not None:
            effects += self._peer_ready(pair.number, generation, ready)
        return effects

    def _peer_ready(self, number: int, generation: int, ticket: Ticket) -> list[Effect]:
        """208, 212 forwarded: the peer can decrypt. That may be known before our own offer is."""
        pair = self._pairs.get(number)
        step = pair.generations.get(generation) if pair is not None else None
        if step is None:
            if not self._outside or number in self._over:
                return self._answer(ticket, SaRefuse(number, generation, "over"))
            self._early[number, generation] = ticket
            if len(self._early) > REMEMBERED:
                del self._early[next(iter(self._early))]
            return []
        if step.phase is Phase.OFFERED:
            step.waiting[Input.PEER_READY] = ticket
            return []
        if step.phase is not Phase.ACCEPTING:
            return self._refuse(ticket, step.offer, step.phase.value)
        step.move(Input.PEER_READY)
        step.waiting[Input.SWITCHED] = ticket
        return [Settle(_token(Input.SWITCHED, number, generation))]

    def _switched(
        self, pair: _Pair, step: _Generation, refused: str | None, now: float
    ) -> list[Effect]:
        """Say that traffic leaves by the direct pair; refused, it leaves by the gateway again.

        A key pair has been used up by now: the next generation's is proposed long before its turn.
        """
        ticket = step.waiting.pop(Input.SWITCHED, None)
        step.move(Input.SWITCHED if refused is None else Input.REFUSED)
        if refused is not None:
            return [*self._refuse(ticket, step.offer, refused), Settle()]
        if step.phase is not Phase.PROTECTED:
            return []
        keys = step.offer.binding_keys
        used_up = self._keyring.is_used_up(step.offer)
        return [
            Record("outbound_switched", None, _details(pair)),
            *self._answer(ticket, Acknowledge()),
            PairSwitched(pair.peer, None if keys is None else keys.outbound),
            *(self._request(self._keyring.proposal(now), now) if used_up else ()),
        ]

    def _withdraw(self, number: int, reason: str, ticket: Ticket) -> list[Effect]:
        """The order back: end what encrypts, go on with what decrypts."""
        for key in [key for key in self._early if key[0] == number]:
            del self._early[key]
        pair = self._pairs.get(number)
        if pair is None:
            self._over.append(number)
            return self._answer(ticket, Acknowledge())
        pair.order = ticket
        details = {**_details(pair), "reason": reason}
        returned = [PeerChangedSides(pair.peer, inside=True)] if reason == PEER_RETURNED else []
        return [Record("ordered_back", None, details), *returned, *self._leave(pair)]

    def _leave(self, pair: _Pair) -> list[Effect]:
        for step in pair.generations.values():
            step.move(Input.ORDERED_BACK)
        return [Settle(_token(Input.WENT_BACK, pair.number, pair.newest))]

    def _went_back(self, pair: _Pair, refused: str | None) -> list[Effect]:
        """Nothing is encrypted for the peer any more; unless it is, and then nobody is told so."""
        if refused is not None:
            return []
        for step in pair.generations.values():
            step.move(Input.WENT_BACK)
        ticket, pair.order = pair.order, None
        return [
            *self._answer(ticket, Acknowledge()),
            Record("back_to_gateway", None, _details(pair)),
            *self._unless_encrypting(pair.peer),
        ]

    def _release(self, number: int, up_to_generation: int, now: float) -> list[Effect]:
        """The peer encrypts with these no more: a little later they can go."""
        pair = self._pairs.get(number)
        if pair is not None:
            for generation in pair.generations:
                if generation <= up_to_generation:
                    self._grace.set((number, generation), now + GRACE_S)
        return []

    def _expire(self, pair: _Pair, now: float) -> list[Effect]:
        """End a pair that nobody has renewed, as if ordered to, and tell the VCM."""
        for generation in pair.generations:
            self._grace.set((pair.number, generation), now + EXPIRY_GRACE_S)
        return [
            Record("pair_expired", None, _details(pair)),
            *self._leave(pair),
            *self._request(PairDropped(pair.number, "expired"), now),
        ]

    def _remove(self, pair: _Pair) -> list[Effect]:
        del self._pairs[pair.number]
        self._over.append(pair.number)
        self._expiry.cancel(pair.number)
        for generation in pair.generations:
            self._grace.cancel((pair.number, generation))
        return [Settle(), *self._unless_encrypting(pair.peer)]

    def _unless_encrypting(self, peer: NodeIdentity) -> list[Effect]:
        return [PairEnded(peer)] if self._encrypting(peer) is None else []

    def _with(self, peer: NodeIdentity) -> list[_Pair]:
        """Return the pairs with a peer, the newest first."""
        mine = [pair for pair in self._pairs.values() if pair.peer == peer]
        return sorted(mine, key=lambda pair: pair.number, reverse=True)

    def _encrypting(self, peer: NodeIdentity) -> SecurityAssociation | None:
        found = (pair.encrypting() for pair in self._with(peer))
        return next((sa for sa in found if sa is not None), None)

    def _request(self, message: SaProposal | SessionIdle | PairDropped, now: float) -> list[Effect]:
        return _sent(self._signalling.request(self._company.vcm, message, now))

    def _refuse(self, ticket: Ticket | None, offer: SaOffer, reason: str) -> list[Effect]:
        return self._answer(ticket, SaRefuse(offer.pair, offer.generation, reason[:200]))

    def _answer(self, ticket: Ticket | None, answer: Answer) -> list[Effect]:
        return [] if ticket is None else _sent(self._signalling.answer(ticket, answer))


def _sent(given: Iterable[SignallingEffect]) -> list[Effect]:
    return [effect for effect in given if isinstance(effect, SendSignal)]


def _token(happened: Input, number: int, generation: int) -> str:
    return f"{happened.value}/{number}/{generation}"


def _details(pair: _Pair) -> dict[str, str | int | float | list[str]]:
    return {"pair": pair.number, "generation": pair.newest, "peer": pair.peer.name}
