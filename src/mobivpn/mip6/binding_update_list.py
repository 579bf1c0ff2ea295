"""What a mobile node has told whom (RFC 6275 section 11.1: the binding update list)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv6Address

from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6 import codec
from mobivpn.mip6.constants import MAX_RR_BINDING_LIFETIME_S
from mobivpn.mip6.messages import BindingAcknowledgement, BindingUpdate, whole_lifetime_s
from mobivpn.mip6.registration import (
    Authorisation,
    Input,
    IpsecAuthorisation,
    Phase,
    RegistrationKey,
    RoutabilityAuthorisation,
    StaticAuthorisation,
    advance,
)
from mobivpn.mip6.return_routability import ReturnRoutability, Test, TokenAuthorisation
from mobivpn.mip6.sequence import is_newer, successor

UPDATES_KEPT = 4
"""How many unanswered updates an acknowledgement may belong to."""


class Timer(Enum):
    """What a registration waits for: to send a message again, or an end of validity."""

    HOME_TEST = "home_test"
    CARE_OF_TEST = "care_of_test"
    UPDATE = "update"
    REFRESH = "refresh"
    EXPIRY = "expiry"


@dataclass(frozen=True, slots=True)
class SentUpdate:
    """A binding update whose acknowledgement may still come."""

    message: BindingUpdate
    sent_at: float
    authorised_address: IPv6Address
    """What the authenticator takes for the care-of address: in a deletion the home address."""
    binding_management_key: bytes | None = field(repr=False)


@dataclass(slots=True)
class Entry:
    """One registration: its phase, its tests, and what is not acknowledged.

    `bound_until` (s) is until when the peer may hold a binding that it acknowledged. Packets leave
    from `source_address`, a former care-of address until the peer has acknowledged the new one, as
    long as the former link works.
    """

    key: RegistrationKey
    authorisation: Authorisation
    lifetime_s: int
    routability: ReturnRoutability
    phase: Phase = Phase.DETACHED
    care_of_address: IPv6Address | None = None
    source_address: IPv6Address | None = None
    bound_until: float | None = None
    sent: Counter[Timer] = field(default_factory=Counter[Timer])
    """Sendings since the last answer, by what is sent."""
    outstanding: dict[int, SentUpdate] = field(default_factory=dict[int, SentUpdate])

    @property
    def is_home_registration(self) -> bool:
        """Tell whether the peer is the home agent."""
        return (
            isinstance(self.authorisation, IpsecAuthorisation)
            and self.authorisation.home_registration
        )

    @property
    def is_deletion(self) -> bool:
        """Tell whether what is sent now has lifetime 0."""
        return self.phase in (Phase.LEAVING, Phase.DEREGISTERING)

    def advance(self, given: Input) -> None:
        """Go to the next phase."""
        self.phase = advance(self.phase, given)

    def begin(self) -> None:
        """Forget what is under way: answers to it are not wanted any more."""
        self.sent.clear()
        self.outstanding.clear()

    def missing_tests(self, now: float) -> tuple[Test, ...]:
        """Return the tests that have to be passed before an update can be authorised."""
        if isinstance(self.authorisation, RoutabilityAuthorisation):
            return self.routability.missing(now, deletion=self.is_deletion)
        return ()

    def make_update(self, sequence: int, now: float) -> SentUpdate:
        """Return the next update, authorised; it is outstanding from now on."""
        deletion = self.is_deletion
        # RFC 6275 section 11.7.1: ESP does not cover the home address option's source.
        named = isinstance(self.authorisation, IpsecAuthorisation) or (
            self.source_address != self.care_of_address
        )
        message = BindingUpdate(
            sequence=sequence,
            lifetime_s=0 if deletion else whole_lifetime_s(self.lifetime_s),
            home_registration=self.is_home_registration,
            alternate_care_of_address=self.care_of_address if named and not deletion else None,
        )
        tokens, key = self._authorisation()
        if tokens is not None:
            message = replace(message, nonce_indices=tokens.nonce_indices)
        address = self.key.home_address
        if self.care_of_address is not None and not deletion:
            address = self.care_of_address
        if key is not None:
            message = codec.authorise(message, key, address, self.key.peer)
        update = SentUpdate(message, now, address, key)
        self.outstanding[sequence] = update
        while len(self.outstanding) > UPDATES_KEPT:
            del self.outstanding[next(iter(self.outstanding))]
        return update

    def authenticates(self, message: BindingAcknowledgement, update: SentUpdate) -> bool:
        """Tell whether the acknowledgement is made with the key of the update, or needs none."""
        return update.binding_management_key is None or codec.is_authentic(
            message, update.binding_management_key, update.authorised_address, self.key.peer
        )

    def _authorisation(self) -> tuple[TokenAuthorisation | None, bytes | None]:
        if isinstance(self.authorisation, RoutabilityAuthorisation):
            tokens = self.routability.authorisation(deletion=self.is_deletion)
            return tokens, tokens.binding_management_key
        if isinstance(self.authorisation, StaticAuthorisation):
            return None, self.authorisation.binding_management_key
        return None, None


@dataclass(slots=True)
class BindingUpdateList:
    """All registrations, and the sequence numbers, which outlive them."""

    random_bytes: RandomBytes
    _entries: dict[RegistrationKey, Entry] = field(default_factory=dict[RegistrationKey, Entry])
    _sequences: dict[RegistrationKey, int] = field(default_factory=dict[RegistrationKey, int])
    _counted_with: dict[RegistrationKey, RegistrationKey] = field(
        default_factory=dict[RegistrationKey, RegistrationKey]
    )

    def __iter__(self) -> Iterator[Entry]:
        """Iterate in the order in which a movement is told: home agents, IPsec peers, others."""
        return iter(sorted(self._entries.values(), key=_order))

    def __getitem__(self, key: RegistrationKey) -> Entry:
        return self._entries[key]

    def get(self, key: RegistrationKey) -> Entry | None:
        """Return an entry, if there is one."""
        return self._entries.get(key)

    def to_peer(self, peer: IPv6Address) -> list[Entry]:
        """Return the entries of one peer, of whatever home address."""
        return [entry for entry in self if entry.key.peer == peer]

    def add(self, key: RegistrationKey, authorisation: Authorisation, lifetime_s: int) -> Entry:
        """Return a new entry; it takes the place of an old one."""
        if isinstance(authorisation, RoutabilityAuthorisation):
            lifetime_s = min(lifetime_s, MAX_RR_BINDING_LIFETIME_S)
        entry = Entry(key, authorisation, lifetime_s, ReturnRoutability(self.random_bytes))
        self._entries[key] = entry
        return entry

    def remove(self, key: RegistrationKey) -> Entry | None:
        """Remove an entry; its sequence number stays known."""
        return self._entries.pop(key, None)

    def count_with(self, key: RegistrationKey, other: RegistrationKey) -> None:
        """Number the updates of a registration in one series with those of another.

        So the peer, which knows both home addresses to be one node's, can tell which came last.
        """
        self._counted_with[key] = other

    def next_sequence(self, key: RegistrationKey) -> int:
        """Count on, from a random beginning."""
        key = self._counted_with.get(key, key)
        last = self._sequences.get(key)
        if last is None:
            last = int.from_bytes(self.random_bytes(2), "big")
        self._sequences[key] = successor(last)
        return self._sequences[key]

    def peer_is_at(self, key: RegistrationKey, sequence: int) -> None:
        """Skip to what the peer accepted last (status 135); never backwards."""
        key = self._counted_with.get(key, key)
        last = self._sequences.get(key)
        if last is not None and is_newer(sequence, last):
            self._sequences[key] = sequence


def _order(entry: Entry) -> int:
    if entry.is_home_registration:
        return 0
    return 1 if isinstance(entry.authorisation, IpsecAuthorisation) else 2
