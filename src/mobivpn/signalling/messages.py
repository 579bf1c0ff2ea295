"""The messages of figure 2 as values: a request is answered, by an acknowledgement or by more.

`subject`, where a message has one, names what it is the newest word on: of two requests on one
subject only the later one counts, in whatever order the network delivers them.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import ClassVar

from mobivpn.errors import CallerError
from mobivpn.ipsec.keying import GivenKeys, PairKeys, check_length
from mobivpn.ipsec.sa import AssociationPlan, EspAlgorithm

MAX_CORRESPONDENTS = 16
"""Addresses in one message, so that it fits a datagram; `MoreCorrespondents` carries the rest."""

MAX_SESSIONS = 4
"""Sessions in one message beside its correspondents; `SessionDetected` tells of any other."""


class _Request:
    """What all requests have in common."""

    __slots__ = ()
    answered_at_once: ClassVar[bool] = True
    """The exchange itself acknowledges; else the receiver does, once its kernel has obeyed."""
    persistent: ClassVar[bool] = False
    """Resent until it is answered, superseded or cancelled, however long the peer is away."""

    @property
    def subject(self) -> Hashable:
        return None


class _NodeState(_Request):
    __slots__ = ()
    persistent = True
    internal_home_address: IPv6Address

    @property
    def subject(self) -> Hashable:
        return ("node", self.internal_home_address)


def _at_most(correspondents: tuple[IPv6Address, ...]) -> None:
    if len(correspondents) > MAX_CORRESPONDENTS:
        raise CallerError(f"{len(correspondents)} correspondents, {MAX_CORRESPONDENTS} fit")


def _two_nodes(first: IPv6Address, second: IPv6Address) -> None:
    if first == second:
        raise CallerError(f"a session needs two nodes, got {first} twice")


@dataclass(frozen=True, slots=True)
class NodeExternal(_NodeState):
    """202, `sg_mn_external`: a node is outside, with all its correspondents, inside ones too.

    `departure` counts the node's departures as the gateway saw them: a number that the VCM does
    not know means that the node has been inside meanwhile, even if that was never told. The node's
    leaving may have made sessions of two external nodes: `in_session_with` names their other ends
    in every notice of that departure, in place of `SessionDetected`.
    """

    internal_home_address: IPv6Address
    external_home_address: IPv6Address
    departure: int
    care_of_address: IPv6Address | None = None
    correspondents: tuple[IPv6Address, ...] = ()
    in_session_with: tuple[IPv6Address, ...] = ()

    def __post_init__(self) -> None:
        _at_most(self.correspondents)
        if len(self.in_session_with) > MAX_SESSIONS:
            raise CallerError(f"{len(self.in_session_with)} sessions, {MAX_SESSIONS} fit")
        for peer in self.in_session_with:
            _two_nodes(self.internal_home_address, peer)


@dataclass(frozen=True, slots=True)
class MoreCorrespondents(_Request):
    """202: correspondents of an external node that its `NodeExternal` had no room for."""

    persistent = True
    internal_home_address: IPv6Address
    correspondents: tuple[IPv6Address, ...]

    def __post_init__(self) -> None:
        _at_most(self.correspondents)


@dataclass(frozen=True, slots=True)
class NodeInternal(_NodeState):
    """The gateway tells the VCM that a node is back inside."""

    internal_home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class SessionDetected(_Request):
    """202, `sg_session_detected`: two external nodes talk through the gateway."""

    persistent = True
    first: IPv6Address
    second: IPv6Address

    def __post_init__(self) -> None:
        _two_nodes(self.first, self.second)


@dataclass(frozen=True, slots=True)
class PairWithdrawn(_Request):
    """The VCM tells the gateway that two nodes are not direct any more: watch for their packets.

    `idle`: they have not talked for a while, so that their next packet begins another session.
    """

    persistent = True
    first: IPv6Address
    second: IPv6Address
    idle: bool = False

    def __post_init__(self) -> None:
        _two_nodes(self.first, self.second)


@dataclass(frozen=True, slots=True)
class NodeAbsent(_NodeState):
    """The gateway tells the internal router to answer for a node that is outside."""

    internal_home_address: IPv6Address


@dataclass(frozen=True, slots=True)
class NodePresent(_NodeState):
    """The gateway tells the internal router that a node answers for itself again.

    In embodiment 2 at a care-of address, by which its home address is routed.
    """

    internal_home_address: IPv6Address
    care_of_address: IPv6Address | None = None


@dataclass(frozen=True, slots=True)
class SaProposal(_Request):
    """A node that is outside tells the VCM what it can do, before anybody asks.

    `algorithms` are those that it offers, in its order. `public_key`, where nodes make their own
    (X25519), is for the next pairs or generations.
    """

    persistent = True
    algorithms: tuple[EspAlgorithm, ...]
    public_key: bytes | None = None

    def __post_init__(self) -> None:
        if not self.algorithms or len(set(self.algorithms)) != len(self.algorithms):
            raise CallerError("a proposal names algorithms, each once")
        if self.public_key is not None:
            check_length(self.public_key)

    @property
    def subject(self) -> Hashable:
        return "proposal"


def _shared(sa: AssociationPlan, *, mirrored: bool = False) -> tuple[Hashable, ...]:
    """Return what an association has in common with the one of the other direction."""
    ends = ((sa.source, sa.inner_source), (sa.destination, sa.inner_destination))
    what = (sa.reqid, sa.mode, sa.algorithm, sa.anti_replay_window)
    return (what, *(reversed(ends) if mirrored else ends))


BINDING_KEY_BYTES = 20
"""As long as the output of the authenticator's hash, SHA-1 (RFC 6275 section 5.2.3)."""


@dataclass(frozen=True, slots=True)
class BindingKeys:
    """Binding management keys given beforehand (RFC 4449), one for each direction.

    `outbound` authorises the receiver's own binding updates to the peer, `inbound` the peer's.
    """

    inbound: bytes = field(repr=False)
    outbound: bytes = field(repr=False)

    def __post_init__(self) -> None:
        for key in (self.inbound, self.outbound):
            if len(key) != BINDING_KEY_BYTES:
                raise CallerError(f"a binding management key of {len(key)} bytes")


@dataclass(frozen=True, slots=True)
class SaOffer(_Request):
    """206 to MN2, 210 to MN1: a fresh SA pair with one peer, as the receiver is to use it.

    `pair` numbers never repeat and grow; `generation` grows with each renewal of one pair. Without
    `binding_keys`, return routability authorises the nodes' bindings (218).
    """

    answered_at_once = False
    pair: int
    generation: int
    peer_internal_home_address: IPv6Address
    peer_external_home_address: IPv6Address
    inbound: AssociationPlan
    outbound: AssociationPlan
    keys: PairKeys
    lifetime_s: int
    binding_keys: BindingKeys | None = None

    def __post_init__(self) -> None:
        if self.lifetime_s <= 0:
            raise CallerError(f"offer {self.pair}.{self.generation}: lifetime {self.lifetime_s} s")
        if _shared(self.inbound) != _shared(self.outbound, mirrored=True):
            raise CallerError(f"offer {self.pair}.{self.generation}: not the two ways of one pair")
        if (self.inbound.inner_source is None) != (self.inbound.inner_destination is None):
            raise CallerError(f"offer {self.pair}.{self.generation}: half a selector")
        if isinstance(self.keys, GivenKeys):
            # They have to be keys of the algorithm.
            self.inbound.keyed(self.keys.inbound)
            self.outbound.keyed(self.keys.outbound)


@dataclass(frozen=True, slots=True)
class PeerReady(_Request):
    """208 forwarded to MN1, 212 forwarded to MN2: the peer can decrypt; send to it directly.

    Acknowledged when the outbound policy has changed.
    """

    answered_at_once = False
    pair: int
    generation: int


PEER_RETURNED = "a node returned"
"""Why a pair is withdrawn when one of its nodes has come home: the one that hears it has not."""


@dataclass(frozen=True, slots=True)
class Withdraw(_Request):
    """The order back to the gateway. Acknowledged when nothing is encrypted for the peer any more.

    What arrives from the peer is accepted until `Release`. `reason` may be PEER_RETURNED.
    """

    answered_at_once = False
    persistent = True
    pair: int
    reason: str


@dataclass(frozen=True, slots=True)
class Release(_Request):
    """Nobody encrypts with these generations of a pair any more: remove what still decrypts."""

    persistent = True
    pair: int
    up_to_generation: int


@dataclass(frozen=True, slots=True)
class SessionIdle(_Request):
    """A node reports that the SAs of a direct pair have carried nothing for a while."""

    persistent = True
    pair: int
    idle_s: int


@dataclass(frozen=True, slots=True)
class PairDropped(_Request):
    """A node reports that it had to give up a pair on its own."""

    persistent = True
    pair: int
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """204: the request has been received and, where it orders something, carried out."""


@dataclass(frozen=True, slots=True)
class SaAccept:
    """208 from MN2, 212 from MN1: both SAs and the inbound policy are in the kernel."""

    pair: int
    generation: int


@dataclass(frozen=True, slots=True)
class SaRefuse:
    """The node did not, or could not, do what an offer or its peer's readiness asks for."""

    pair: int
    generation: int
    reason: str


Request = (
    NodeExternal
    | MoreCorrespondents
    | NodeInternal
    | SessionDetected
    | PairWithdrawn
    | NodeAbsent
    | NodePresent
    | SaProposal
    | SaOffer
    | PeerReady
    | Withdraw
    | Release
    | SessionIdle
    | PairDropped
)
Answer = Acknowledge | SaAccept | SaRefuse
Message = Request | Answer


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message on its way: `epoch` and `number` name the request, and its answer repeats them.

    `epoch` grows with each start of the requesting program, `number` with each of its requests to
    one peer.
    """

    epoch: int
    number: int
    message: Message
