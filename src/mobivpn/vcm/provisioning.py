"""One SA pair on its two end points, from the first offer to the last order back.

Each end is a machine of its own (`END_TRANSITIONS`); the pair is what its ends are. An end is told
that its peer is ready as soon as the peer has accepted, whatever it has done itself: neither waits
for the slower of two round trips.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.errors import IllegalTransition
from mobivpn.ipsec.keying import PairKeys
from mobivpn.ipsec.minting import PairPlan
from mobivpn.ipsec.sa import AssociationPlan, Mode
from mobivpn.signalling.messages import (
    PEER_RETURNED,
    BindingKeys,
    PeerReady,
    Release,
    Request,
    SaOffer,
    Withdraw,
)


class EndState(Enum):
    """How far one end is with the newest generation of a pair."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    SWITCHED = "switched"
    LEAVING = "leaving"
    BACK = "back"
    """Ordered back to the gateway, and there; still accepts what is under way."""
    HOME = "home"
    """Has dropped the pair by itself, as a node does when it is inside."""


class EndInput(Enum):
    """What can happen to one end."""

    OFFER_ACCEPTED = "offer accepted"
    OUTBOUND_SWITCHED = "outbound switched"
    RENEWED = "renewed"
    ORDERED_BACK = "ordered back"
    WENT_BACK = "went back"
    RETURNED_HOME = "returned home"


END_TRANSITIONS: Mapping[tuple[EndState, EndInput], EndState] = {
    (EndState.OFFERED, EndInput.OFFER_ACCEPTED): EndState.ACCEPTED,  # 208, 212
    # Its acceptance was lost, or overtaken; but it can only have switched after accepting.
    (EndState.OFFERED, EndInput.OUTBOUND_SWITCHED): EndState.SWITCHED,
    (EndState.ACCEPTED, EndInput.OUTBOUND_SWITCHED): EndState.SWITCHED,
    (EndState.SWITCHED, EndInput.RENEWED): EndState.OFFERED,  # 206, 210 once more
    (EndState.OFFERED, EndInput.ORDERED_BACK): EndState.LEAVING,
    (EndState.ACCEPTED, EndInput.ORDERED_BACK): EndState.LEAVING,
    (EndState.SWITCHED, EndInput.ORDERED_BACK): EndState.LEAVING,
    (EndState.LEAVING, EndInput.ORDERED_BACK): EndState.LEAVING,
    (EndState.BACK, EndInput.ORDERED_BACK): EndState.BACK,
    (EndState.HOME, EndInput.ORDERED_BACK): EndState.HOME,
    (EndState.LEAVING, EndInput.WENT_BACK): EndState.BACK,
    (EndState.OFFERED, EndInput.RETURNED_HOME): EndState.HOME,
    (EndState.ACCEPTED, EndInput.RETURNED_HOME): EndState.HOME,
    (EndState.SWITCHED, EndInput.RETURNED_HOME): EndState.HOME,
    (EndState.LEAVING, EndInput.RETURNED_HOME): EndState.HOME,
    (EndState.BACK, EndInput.RETURNED_HOME): EndState.HOME,
    (EndState.HOME, EndInput.RETURNED_HOME): EndState.HOME,
}

GONE = frozenset({EndState.BACK, EndState.HOME})


class EndReason(Enum):
    """Why a pair ends; the values go into `Withdraw` and events."""

    RETURNED = PEER_RETURNED
    IDLE = "idle"
    REFUSED = "refused"
    GIVEN_UP = "no answer"
    DROPPED = "dropped by a node"
    EXPIRED = "expired"
    NO_ALGORITHM = "no algorithm in common"


class PairState(Enum):
    """What a pair is, seen from the VCM."""

    OFFERED = "offered"
    """At least one end has not accepted the newest generation."""
    ACCEPTED = "accepted"
    """Both ends can decrypt; at least one is not known to encrypt."""
    PROTECTED = "protected"
    """Both ends use the newest generation in both directions."""
    WITHDRAWING = "withdrawing"
    """At least one end may still encrypt for the other."""
    WITHDRAWN = "withdrawn"
    """Nobody does."""


@dataclass(frozen=True, slots=True)
class PairEnd:
    """A mobile node as an end of a pair."""

    internal_home_address: IPv6Address
    external_home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request to a node."""

    to: IPv6Address
    message: Request


@dataclass(frozen=True, slots=True)
class CancelRequests:
    """Stop sending a node whatever concerns a pair."""

    to: IPv6Address
    pair: int


Effect = Send | CancelRequests


@dataclass(slots=True)
class Provisioning:
    """A pair between `first` (figure 2's MN1) and `second` (MN2, outside for longer).

    `forward` of a `PairPlan` leaves `first`.
    """

    pair: int
    first: PairEnd
    second: PairEnd
    lifetime_s: int
    generation: int = 0
    ended_because: EndReason | None = None
    _states: dict[IPv6Address, EndState] = field(default_factory=dict[IPv6Address, EndState])

    @property
    def mode(self) -> Mode:
        """A tunnel for private addresses; none where a home address is the VPN's itself."""
        public = self.first.internal_home_address == self.first.external_home_address
        return Mode.TRANSPORT if public else Mode.TUNNEL

    @property
    def state(self) -> PairState:
        """What the pair is, from what its ends are."""
        states = set(self._states.values())
        if states <= GONE:
            return PairState.WITHDRAWN
        if states & {EndState.LEAVING, *GONE}:
            return PairState.WITHDRAWING
        if EndState.OFFERED in states:
            return PairState.OFFERED
        return PairState.PROTECTED if states == {EndState.SWITCHED} else PairState.ACCEPTED

    @property
    def nodes(self) -> tuple[IPv6Address, IPv6Address]:
        """The internal home addresses of both ends."""
        return (self.first.internal_home_address, self.second.internal_home_address)

    def peer_of(self, node: IPv6Address) -> IPv6Address:
        """Return the other end."""
        first, second = self.nodes
        return second if node == first else first

    def offered(
        self,
        plan: PairPlan,
        secrets: tuple[PairKeys, PairKeys],
        first_binding: BindingKeys | None = None,
    ) -> list[Effect]:
        """Offer the first, or the next, generation to both ends at once (206, 210).

        `secrets` are what `first` and `second` are told; `first_binding` are binding management
        keys as `first` is to use them.
        """
        second_binding = first_binding and BindingKeys(
            first_binding.outbound, first_binding.inbound
        )
        first, second = secrets
        for node in self.nodes:
            if self.generation == 0:
                self._states[node] = EndState.OFFERED
            else:
                self._move(node, EndInput.RENEWED)
        self.generation += 1
        return [
            self._offer(
                self.second, self.first, plan.forward, plan.backward, second, second_binding
            ),
            self._offer(self.first, self.second, plan.backward, plan.forward, first, first_binding),
        ]

    def offer_accepted(self, node: IPv6Address) -> list[Effect]:
        """An end can decrypt: tell the other (208 to MN1, 212 to MN2)."""
        self._move(node, EndInput.OFFER_ACCEPTED)
        return [Send(self.peer_of(node), PeerReady(self.pair, self.generation))]

    def outbound_switched(self, node: IPv6Address) -> list[Effect]:
        """An end encrypts with the newest generation; the older ones go when both do."""
        effects: list[Effect] = []
        if self._states[node] is EndState.OFFERED:
            effects += [
                CancelRequests(node, self.pair),
                Send(self.peer_of(node), PeerReady(self.pair, self.generation)),
            ]
        self._move(node, EndInput.OUTBOUND_SWITCHED)
        if self.state is PairState.PROTECTED and self.generation > 1:
            effects += [Send(n, Release(self.pair, self.generation - 1)) for n in self.nodes]
        return effects

    def ordered_back(self, reason: EndReason) -> list[Effect]:
        """Order every end that is not back, and not on its way, to the gateway."""
        self.ended_because = self.ended_because or reason
        effects: list[Effect] = []
        for node in self.nodes:
            before = self._states[node]
            if self._move(node, EndInput.ORDERED_BACK) is not before:
                effects += [
                    CancelRequests(node, self.pair),
                    Send(node, Withdraw(self.pair, self.ended_because.value)),
                ]
        return effects

    def went_back(self, node: IPv6Address) -> list[Effect]:
        """An end has obeyed; when both have, what still decrypts may go."""
        self._move(node, EndInput.WENT_BACK)
        return self._release()

    def returned_home(self, node: IPv6Address, reason: EndReason) -> list[Effect]:
        """An end has dropped the pair by itself, as it does at home: order the other one back."""
        self._move(node, EndInput.RETURNED_HOME)
        self.ended_because = self.ended_because or reason
        return [CancelRequests(node, self.pair), *self.ordered_back(reason), *self._release()]

    def expired(self) -> list[Effect]:
        """The lifetime is over: whatever became of the orders, no end has the pair any more."""
        self.ended_because = self.ended_because or EndReason.EXPIRED
        for node in self.nodes:
            self._move(node, EndInput.RETURNED_HOME)
        return [CancelRequests(node, self.pair) for node in self.nodes]

    def _release(self) -> list[Effect]:
        if self.state is not PairState.WITHDRAWN:
            return []
        return [
            Send(node, Release(self.pair, self.generation))
            for node in self.nodes
            if self._states[node] is EndState.BACK
        ]

    def _offer(
        self,
        to: PairEnd,
        peer: PairEnd,
        inbound: AssociationPlan,
        outbound: AssociationPlan,
        keys: PairKeys,
        binding_keys: BindingKeys | None,
    ) -> Send:
        return Send(
            to.internal_home_address,
            SaOffer(
                pair=self.pair,
                generation=self.generation,
                peer_internal_home_address=peer.internal_home_address,
                peer_external_home_address=peer.external_home_address,
                inbound=inbound,
                outbound=outbound,
                keys=keys,
                lifetime_s=self.lifetime_s,
                binding_keys=binding_keys,
            ),
        )

    def _move(self, node: IPv6Address, happened: EndInput) -> EndState:
        state = END_TRANSITIONS.get((self._states[node], happened))
        if state is None:
            raise IllegalTransition(
                f"pair {self.pair}: {happened.value} at {node}, {self._states[node].value}"
            )
        self._states[node] = state
        return state
