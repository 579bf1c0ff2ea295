"""The VPN connectivity manager: every context and every pair, behind one set of inputs."""

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import partial
from ipaddress import IPv6Address

from mobivpn.clock import Timers, earliest
from mobivpn.errors import CallerError
from mobivpn.host.associations import FIRST_PAIR_REQID
from mobivpn.host.effects import Record
from mobivpn.ipsec.minting import RandomBytes, plan_pair
from mobivpn.ipsec.sa import EspAlgorithm
from mobivpn.ipsec.selector import host
from mobivpn.sessions.detector import Session
from mobivpn.signalling.endpoint import Effect as SignallingEffect
from mobivpn.signalling.endpoint import SignallingEndpoint
from mobivpn.signalling.exchange import Answered, Delivered, GivenUp, SendSignal
from mobivpn.signalling.messages import (
    BINDING_KEY_BYTES,
    Acknowledge,
    Answer,
    BindingKeys,
    MoreCorrespondents,
    NodeExternal,
    NodeInternal,
    PairDropped,
    PairWithdrawn,
    PeerReady,
    Release,
    Request,
    SaAccept,
    SaOffer,
    SaProposal,
    SaRefuse,
    SessionDetected,
    SessionIdle,
    Withdraw,
)
from mobivpn.variants import BestPath, KeyScheme
from mobivpn.vcm import provisioning
from mobivpn.vcm.context import (
    Contexts,
    ManagedPair,
    MobileNodeContext,
    RemoveContext,
    StoreContext,
)
from mobivpn.vcm.provisioning import (
    EndReason,
    PairEnd,
    PairState,
    Provisioning,
    Send,
)
from mobivpn.vcm.secrets import make_secrets

RENEWAL = 0.8
"""The part of a pair's lifetime after which it is renewed; the rest is for renewing it."""

EXPIRY_MARGIN_S = 60.0
"""Nodes count a lifetime from when the offer reached them, and then accept for a while yet."""

PATIENCE_S = 10.0
"""How long a detected session waits for news of its nodes that the network has delayed."""

Effect = SendSignal | StoreContext | RemoveContext | Record
Details = dict[str, str | int | float | list[str]]


class _Timer(Enum):
    RENEW = "renew"
    EXPIRE = "expire"
    HOLD_DOWN = "hold down"
    WATCH = "watch"
    PATIENCE = "patience"


class Manager:
    """Takes what gateway and nodes tell, and keeps two external nodes that talk on one SA pair.

    A pair begins when its session has been detected, both nodes are known to be outside and both
    have proposed algorithms, whichever comes last.

    `nodes` are the internal home addresses of the mobile nodes. `epoch` and `next_pair` have to be
    greater than at any earlier start. A pair whose set-up failed is not tried again for
    `hold_down_s`. Of the algorithms that both nodes propose, new pairs take the first one of
    `preference`; their secrets come from where `keys` says; they last for `lifetime_s`. With
    `binding_keys`, each generation brings fresh keys for the nodes' bindings (RFC 4449) in place of
    return routability. With a `best_path` that has no pairs, it keeps contexts and nothing else.
    """

    def __init__(
        self,
        *,
        epoch: int,
        security_gateway: IPv6Address,
        nodes: Iterable[IPv6Address],
        random_bytes: RandomBytes,
        preference: Sequence[EspAlgorithm] = tuple(EspAlgorithm),
        keys: KeyScheme = KeyScheme.SEPARATE,
        lifetime_s: int = 3600,
        hold_down_s: float = 5.0,
        binding_keys: bool = False,
        best_path: BestPath = BestPath.DIRECT,
        next_pair: int = 1,
    ) -> None:
        if lifetime_s <= 0:
            raise CallerError(f"VCM: a lifetime of {lifetime_s} s")
        self._security_gateway = security_gateway
        self._signalling = SignallingEndpoint(epoch, (security_gateway, *nodes))
        self._random_bytes = random_bytes
        self._preference = preference
        self._keys = keys
        self._lifetime_s = lifetime_s
        self._hold_down_s = hold_down_s
        self._binding_keys = binding_keys
        self._best_path = best_path
        self._next_pair = next_pair
        self._contexts = Contexts()
        self._pairs: dict[Session, Provisioning] = {}
        self._proposals: dict[IPv6Address, SaProposal] = {}
        """The newest of each node; one of its last absence is better than none."""
        self._waiting: set[Session] = set()
        """Detected, but of a node that is not known to be outside, or has not proposed anything."""
        self._unmatched: set[Session] = set()
        """Detected, but of nodes without an algorithm in common: the gateway has their packets."""
        self._wanted_again: set[Session] = set()
        """Detected while its former pair is being withdrawn."""
        self._unwatched: set[Session] = set()
        """Their packets may be no trigger at the gateway, but a node of each is inside."""
        self._timers = Timers[tuple[_Timer, Session]]()

    @property
    def deadline(self) -> float | None:
        """When `timer_expired` is due (s)."""
        return earliest((self._timers.deadline, self._signalling.deadline))

    @property
    def contexts(self) -> tuple[MobileNodeContext, ...]:
        """The MN contexts, the node that left first at the head."""
        return self._contexts.all()

    def datagram_received(self, source: IPv6Address, payload: bytes, now: float) -> list[Effect]:
        """A datagram has come through one of the VCM's associations."""
        return self._signalled(self._signalling.datagram_received(source, payload), now)

    def timer_expired(self, now: float) -> list[Effect]:
        """Do what is due at `now`: resend, renew, expire, try again."""
        effects = self._signalled(self._signalling.timer_expired(now), now)
        for timer, session in self._timers.pop_due(now):
            match timer:
                case _Timer.RENEW:
                    effects += self._renew(session, now)
                case _Timer.EXPIRE:
                    effects += self._expire(session, now)
                case _:
                    self._waiting.discard(session)
                    effects += self._watch_again(session, now)
        return effects

    def _signalled(self, signalled: Iterable[SignallingEffect], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for effect in signalled:
            match effect:
                case SendSignal():
                    effects.append(effect)
                case Delivered(ticket, message):
                    effects += self._delivered(ticket.peer, message, now)
                case Answered(peer, request, answer):
                    effects += self._answered(peer, request, answer, now)
                case GivenUp(peer, request):
                    # All else that the VCM asks for is persistent.
                    assert isinstance(request, SaOffer | PeerReady)
                    details: Details = {"node": str(peer), "pair": request.pair}
                    effects.append(Record("vcm_gave_up", None, details))
                    effects += self._order_back(request.pair, EndReason.GIVEN_UP, now)
                case _:
                    effects.append(_refused(effect.source, effect.reason))
        return effects

    def _delivered(self, source: IPv6Address, message: Request, now: float) -> list[Effect]:
        if source == self._security_gateway:
            match message:
                case NodeExternal():
                    return self._node_external(message, now)
                case MoreCorrespondents(node, correspondents):
                    return [*self._contexts.add_correspondents(node, correspondents)]
                case NodeInternal(node):
                    return self._node_returned(node, now)
                case SessionDetected(first, second):
                    return self._session_detected(Session.between(first, second), now)
                case _:
                    return [_refused(source, type(message).__name__)]
        match message:
            case SessionIdle(pair) if self._is_end(source, pair):
                return self._order_back(pair, EndReason.IDLE, now)
            case PairDropped(pair) if self._is_end(source, pair):
                return self._dropped(pair, source, now)
            case SaProposal(public_key=key) if key is not None or self._keys is not KeyScheme.BLIND:
                return self._proposed(source, message, now)
            case SessionIdle() | PairDropped():
                # Of a pair that has been withdrawn meanwhile.
                return []
            case _:
                return [_refused(source, type(message).__name__)]

    def _node_external(self, notice: NodeExternal, now: float) -> list[Effect]:
        """202: keep the context; a session may have waited for this node, or come with it."""
        node = notice.internal_home_address
        effects: list[Effect] = []
        known = frozenset[IPv6Address]()
        managed: tuple[ManagedPair, ...] = ()
        sessions = [Session.between(node, peer) for peer in notice.in_session_with]
        if node in self._contexts:
            if self._contexts[node].departure == notice.departure:
                known = self._contexts[node].correspondents
                managed = self._contexts[node].managed_pairs
                # They came with the first notice of the departure: what is over since is no news.
                sessions = []
            else:
                effects += self._node_returned(node, now)
        effects += self._contexts.store(
            MobileNodeContext(
                internal_home_address=None if node == notice.external_home_address else node,
                external_home_address=notice.external_home_address,
                departure=notice.departure,
                correspondents=known.union(notice.correspondents),
                managed_pairs=managed,
            )
        )
        effects += self._begin_those_that_waited(now)
        for session in [s for s in self._unwatched if self._both_external(s)]:
            # Its detection is on its way, unless it has overtaken the node's leaving.
            self._unwatched.discard(session)
            self._timers.set((_Timer.WATCH, session), now + PATIENCE_S)
        for session in sessions:
            effects += self._session_detected(session, now)
        return effects

    def _begin_those_that_waited(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for session in sorted(self._waiting, key=lambda s: (s.first, s.second)):
            if self._is_ready(session):
                self._stop_waiting(session)
                effects += self._begin(session, now)
        return effects

    def _proposed(self, node: IPv6Address, proposal: SaProposal, now: float) -> list[Effect]:
        """A node has told what it can do; a session may have waited for that."""
        before = self._proposals.get(node)
        self._proposals[node] = proposal
        told: Details = {"node": str(node), "algorithms": _names(proposal.algorithms)}
        effects = [Record("vcm_proposal", None, told), *self._begin_those_that_waited(now)]
        if before is not None and before.algorithms != proposal.algorithms:
            for session in [s for s in self._unmatched if s.peer_of(node) is not None]:
                self._unmatched.discard(session)
                effects += self._watch_again(session, now)
        return effects

    def _node_returned(self, node: IPv6Address, now: float) -> list[Effect]:
        """The gateway says that a node is inside: whoever talks to it directly has to go back."""
        if node in self._contexts:
            # It has no pair any more, and a VCM in sg could not reach it.
            self._signalling.cancel(node, lambda request: True)
        effects: list[Effect] = [*self._contexts.remove(node)]
        self._unmatched = {s for s in self._unmatched if s.peer_of(node) is None}
        for session in [s for s in self._waiting if s.peer_of(node) is not None]:
            self._stop_waiting(session)
        for session, pair in tuple(self._pairs.items()):
            if session.peer_of(node) is not None:
                self._wanted_again.discard(session)
                effects += self._provision(
                    session, pair.returned_home(node, EndReason.RETURNED), now
                )
        return effects

    def _session_detected(self, session: Session, now: float) -> list[Effect]:
        """202: begin a pair, unless there is one, or will be, or has just failed."""
        effects: list[Effect] = [
            *self._contexts.add_correspondents(session.first, [session.second]),
            *self._contexts.add_correspondents(session.second, [session.first]),
        ]
        if not self._best_path.has_pairs:
            return effects
        pair = self._pairs.get(session)
        if pair is not None:
            if pair.state is PairState.WITHDRAWING:
                self._wanted_again.add(session)
        elif not self._is_ready(session):
            self._waiting.add(session)
            self._timers.set((_Timer.PATIENCE, session), now + PATIENCE_S)
        elif session not in self._unmatched and (_Timer.HOLD_DOWN, session) not in self._timers:
            effects += self._begin(session, now)
        return effects

    def _begin(self, session: Session, now: float) -> list[Effect]:
        second, first = self._contexts.in_order_of_leaving((session.first, session.second))
        algorithm = self._algorithm_for(session)
        if algorithm is None:
            self._unmatched.add(session)
            return [self._no_algorithm_in_common(first, second)]
        self._pairs[session] = Provisioning(
            self._next_pair, self._end(first), self._end(second), self._lifetime_s
        )
        self._next_pair += 1
        return self._offer(session, algorithm, now)

    def _algorithm_for(self, session: Session) -> EspAlgorithm | None:
        """Return the best algorithm that both nodes propose."""
        first = self._proposals[session.first].algorithms
        second = self._proposals[session.second].algorithms
        return next((a for a in self._preference if a in first and a in second), None)

    def _no_algorithm_in_common(self, first: IPv6Address, second: IPv6Address) -> Record:
        details: Details = {
            "nodes": [str(first), str(second)],
            "first_proposes": _names(self._proposals[first].algorithms),
            "second_proposes": _names(self._proposals[second].algorithms),
        }
        return Record("vcm_no_algorithm_in_common", None, details)

    def _offer(self, session: Session, algorithm: EspAlgorithm, now: float) -> list[Effect]:
        """Make the first or the next generation of a pair (206, 210)."""
        pair = self._pairs[session]
        generation = pair.generation + 1
        plan = plan_pair(
            name=f"pair{pair.pair}.{generation}",
            reqid=_reqid(pair.pair, generation),
            first=pair.first.external_home_address,
            second=pair.second.external_home_address,
            mode=pair.mode,
            algorithm=algorithm,
            random_bytes=self._random_bytes,
            inner=(
                host(pair.first.internal_home_address),
                host(pair.second.internal_home_address),
            ),
        )
        first, second = pair.nodes
        secrets = make_secrets(
            self._keys,
            algorithm,
            (self._proposals[first], self._proposals[second]),
            self._random_bytes,
        )
        number = pair.pair
        effects: list[Effect] = [
            Record(
                "vcm_pair_minted",
                None,
                {
                    "pair": number,
                    "generation": generation,
                    "nodes": [str(first), str(second)],
                    "algorithm": algorithm.value,
                    "keys": self._keys.value,
                    "lifetime_s": self._lifetime_s,
                },
            ),
            *self._contexts.manage(
                first,
                ManagedPair(number, generation, second, plan.backward, plan.forward, secrets[0]),
            ),
            *self._contexts.manage(
                second,
                ManagedPair(number, generation, first, plan.forward, plan.backward, secrets[1]),
            ),
        ]
        self._timers.set((_Timer.EXPIRE, session), now + self._lifetime_s + EXPIRY_MARGIN_S)
        self._timers.set((_Timer.RENEW, session), now + RENEWAL * self._lifetime_s)
        offers = pair.offered(plan, secrets, self._new_binding_keys())
        return [*effects, *self._provision(session, offers, now)]

    def _new_binding_keys(self) -> BindingKeys | None:
        if not self._binding_keys:
            return None
        return BindingKeys(
            self._random_bytes(BINDING_KEY_BYTES), self._random_bytes(BINDING_KEY_BYTES)
        )

    def _renew(self, session: Session, now: float) -> list[Effect]:
        """Make the next generation; a pair that is not even protected yet is left to expire."""
        pair = self._pairs[session]
        if pair.state is not PairState.PROTECTED:
            return []
        algorithm = self._algorithm_for(session)
        if algorithm is None:
            return self._order_back(pair.pair, EndReason.NO_ALGORITHM, now)
        return self._offer(session, algorithm, now)

    def _answered(
        self, node: IPv6Address, request: Request, answer: Answer, now: float
    ) -> list[Effect]:
        """A node has answered an offer (208, 212), or done as it was told."""
        match request:
            case SaOffer(number, generation) if answer == SaAccept(number, generation):
                session, pair = self._pair(number)
                numeral = "208" if node == pair.second.internal_home_address else "212"
                details: Details = {"pair": number, "generation": generation, "node": str(node)}
                return [
                    Record("vcm_offer_accepted", numeral, details),
                    *self._provision(session, pair.offer_accepted(node), now),
                ]
            case PeerReady(number) if answer == Acknowledge():
                session, pair = self._pair(number)
                return self._provision(session, pair.outbound_switched(node), now)
            case Withdraw(number) if answer == Acknowledge():
                session, pair = self._pair(number)
                return self._provision(session, pair.went_back(node), now)
            case SaOffer(number) | PeerReady(number):
                refusal = answer.reason if isinstance(answer, SaRefuse) else type(answer).__name__
                told: Details = {"pair": number, "node": str(node), "reason": refusal}
                return [
                    Record("vcm_refused_by_node", None, told),
                    *self._order_back(number, EndReason.REFUSED, now),
                ]
            case _:
                return []

    def _provision(
        self, session: Session, given: Iterable[provisioning.Effect], now: float
    ) -> list[Effect]:
        """Carry on what a pair has decided, and see whether it is protected or over now."""
        pair = self._pairs[session]
        effects: list[Effect] = []
        for effect in given:
            match effect:
                case Send(to, message):
                    effects += self._request(to, message, now)
                    effects += self._sent(pair, to, message)
                case _:
                    self._signalling.cancel(effect.to, partial(_concerns, effect.pair))
        if pair.state is PairState.WITHDRAWING:
            self._timers.cancel((_Timer.RENEW, session))
        if pair.state is PairState.WITHDRAWN:
            effects += self._withdrawn(session, now)
        return effects

    def _sent(self, pair: Provisioning, to: IPv6Address, message: Request) -> list[Effect]:
        """Log what goes to a node under the seed's numeral; MN2 is the one that left first."""
        to_second = to == pair.second.internal_home_address
        details: Details = {"pair": pair.pair, "generation": pair.generation, "node": str(to)}
        match message:
            case SaOffer():
                return [Record("vcm_offer_sent", "206" if to_second else "210", details)]
            case PeerReady():
                return [Record("vcm_acceptance_forwarded", "212" if to_second else "208", details)]
            case Withdraw(reason=reason):
                return [Record("vcm_withdraw_sent", None, {**details, "reason": reason})]
            case _:
                assert isinstance(message, Release)
                return [*self._contexts.release(to, message.pair, message.up_to_generation)]

    def _withdrawn(self, session: Session, now: float) -> list[Effect]:
        """Nobody uses a pair any more: forget it; its next packet is a trigger again."""
        pair = self._pairs.pop(session)
        for timer in (_Timer.RENEW, _Timer.EXPIRE):
            self._timers.cancel((timer, session))
        reason = pair.ended_because
        effects: list[Effect] = [
            *self._contexts.release(session.first, pair.pair, pair.generation),
            *self._contexts.release(session.second, pair.pair, pair.generation),
            Record(
                "vcm_pair_withdrawn",
                None,
                {
                    "pair": pair.pair,
                    "nodes": [str(session.first), str(session.second)],
                    "reason": reason.value if reason is not None else "",
                },
            ),
        ]
        wanted_again = session in self._wanted_again
        self._wanted_again.discard(session)
        if reason in (EndReason.REFUSED, EndReason.GIVEN_UP):
            self._timers.set((_Timer.HOLD_DOWN, session), now + self._hold_down_s)
            return effects
        if wanted_again and self._both_external(session):
            return [*effects, *self._begin(session, now)]
        return [*effects, *self._watch_again(session, now, idle=reason is EndReason.IDLE)]

    def _watch_again(self, session: Session, now: float, *, idle: bool = False) -> list[Effect]:
        """Tell the gateway that packets of two external nodes have to be a trigger again."""
        if session in self._pairs:
            return []
        if not self._both_external(session):
            self._unwatched.add(session)
            return []
        return self._request(
            self._security_gateway, PairWithdrawn(session.first, session.second, idle), now
        )

    def _order_back(self, number: int, reason: EndReason, now: float) -> list[Effect]:
        """Order both ends of a pair to the gateway."""
        session, pair = self._pair(number)
        return self._provision(session, pair.ordered_back(reason), now)

    def _dropped(self, number: int, node: IPv6Address, now: float) -> list[Effect]:
        """A node has given up a pair on its own."""
        session, pair = self._pair(number)
        return self._provision(session, pair.returned_home(node, EndReason.DROPPED), now)

    def _expire(self, session: Session, now: float) -> list[Effect]:
        """Nobody has renewed a pair in time: it is over."""
        return self._provision(session, self._pairs[session].expired(), now)

    def _find(self, number: int) -> tuple[Session, Provisioning] | None:
        for session, pair in self._pairs.items():
            if pair.pair == number:
                return session, pair
        return None

    def _pair(self, number: int) -> tuple[Session, Provisioning]:
        """Return a pair that is not over; answers about any other have been cancelled."""
        found = self._find(number)
        assert found is not None
        return found

    def _is_end(self, node: IPv6Address, number: int) -> bool:
        found = self._find(number)
        return found is not None and node in found[1].nodes

    def _end(self, node: IPv6Address) -> PairEnd:
        return PairEnd(node, self._contexts[node].external_home_address)

    def _both_external(self, session: Session) -> bool:
        return session.first in self._contexts and session.second in self._contexts

    def _is_ready(self, session: Session) -> bool:
        """Tell whether all is known that a pair needs."""
        return self._both_external(session) and {session.first, session.second} <= (
            self._proposals.keys()
        )

    def _stop_waiting(self, session: Session) -> None:
        self._waiting.discard(session)
        self._timers.cancel((_Timer.PATIENCE, session))

    def _request(self, to: IPv6Address, message: Request, now: float) -> list[Effect]:
        given = self._signalling.request(to, message, now)
        return [effect for effect in given if isinstance(effect, SendSignal)]


def _reqid(pair: int, generation: int) -> int:
    """Return a reqid that no other generation of any live pair has; 32 bits in the kernel."""
    return FIRST_PAIR_REQID + (pair * 16 + generation % 16) % (2**31)


def _names(algorithms: Iterable[EspAlgorithm]) -> list[str]:
    return [algorithm.value for algorithm in algorithms]


def _concerns(number: int, request: Request) -> bool:
    return getattr(request, "pair", None) == number


def _refused(source: IPv6Address, reason: str) -> Record:
    return Record("vcm_ignored", None, {"source": str(source), "reason": reason})
