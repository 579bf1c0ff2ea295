"""The mobile node of RFC 6275 section 11: whom it tells of its care-of address, and when.

Causes are methods that return effects, to be carried out in order. Signalling that gets lost is
sent again with growing intervals, with a new sequence number or cookie each time (section 11.8).

A correspondent may be mobile too, and this host's binding of it stale. Tests always go by the
peer's home agent, and so does every update but the first after a movement. When the peer's own
update arrives (`peer_moved`), or what may be its test (`somebody_moved`), what is not answered is
sent again at once.

While a former link still works, packets to whom knows the former care-of address, updates among
them, leave from there: they name the new one (alternate care-of address option, section 6.2.5).
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6.binding_update_list import BindingUpdateList, Entry, Timer
from mobivpn.mip6.effects import MobileNodeEffect, RegistrationChanged
from mobivpn.mip6.messages import (
    EXPIRED_NONCE_STATUSES,
    BindingAcknowledgement,
    BindingError,
    BindingRefreshRequest,
    CareOfTest,
    ErrorStatus,
    HomeTest,
    Message,
    Status,
)
from mobivpn.mip6.registration import (
    PROTECTED,
    Authorisation,
    Input,
    IpsecAuthorisation,
    Phase,
    RegistrationKey,
    RoutabilityAuthorisation,
)
from mobivpn.mip6.return_routability import Test
from mobivpn.mip6.settings import MobileNodeSettings
from mobivpn.mip6.transmission import SENDING, TIMER_BY_TEST, Transmission

_TESTING = frozenset({Phase.ROUTABILITY, Phase.RENEWING, Phase.MOVED, Phase.LEAVING})
_UPDATING = frozenset({Phase.UPDATING, Phase.REFRESHING, Phase.MOVING, Phase.DEREGISTERING})
_BOUND = frozenset({Phase.REGISTERED, Phase.RENEWING, Phase.REFRESHING})


@dataclass(slots=True)
class MobileNode:
    """One node with one home address, its registrations, and what is under way for them.

    `dropped` counts, by reason, the messages that were ignored.
    """

    home_address: IPv6Address
    random_bytes: RandomBytes
    settings: MobileNodeSettings = field(default_factory=MobileNodeSettings)
    dropped: Counter[str] = field(default_factory=Counter[str])
    care_of_address: IPv6Address | None = None
    _former: Collection[IPv6Address] = ()
    _list: BindingUpdateList = field(init=False)
    _transmission: Transmission = field(init=False)

    def __post_init__(self) -> None:
        self._list = BindingUpdateList(self.random_bytes)
        self._transmission = Transmission(self._list, self.settings)

    @property
    def deadline(self) -> float | None:
        """When `timer_expired` is due (s)."""
        return self._transmission.deadline

    def phase(self, peer: IPv6Address, home_address: IPv6Address | None = None) -> Phase:
        """Return where the registration at `peer` stands; IDLE where there is none."""
        entry = self._list.get(self._key(peer, home_address))
        return Phase.IDLE if entry is None else entry.phase

    def optimised(self, peer: IPv6Address) -> bool:
        """Tell whether data to `peer` may carry the home address option."""
        return self.phase(peer).optimised

    def care_of_address_changed(
        self,
        care_of_address: IPv6Address | None,
        now: float,
        former: Collection[IPv6Address] = (),
    ) -> list[MobileNodeEffect]:
        """Tell everybody of a new care-of address, which is settled; None says that there is none.

        The home agent comes first, then peers with IPsec, then correspondents. `former` are care-of
        addresses whose links still work; also to be called when there are fewer of them.
        """
        self._former = former
        goes_on = care_of_address == self.care_of_address
        self.care_of_address = care_of_address
        return [
            effect
            for entry in self._list
            if entry.key.home_address == self.home_address
            for effect in (self._go_on(entry, now) if goes_on else self._attach(entry, now))
        ]

    def register(
        self, peer: IPv6Address, authorisation: Authorisation, now: float
    ) -> list[MobileNodeEffect]:
        """Register at `peer`, now and after every movement; begin anew what has failed."""
        key = self._key(peer)
        old = self._list.get(key)
        if (
            old is not None
            and old.authorisation == authorisation
            and old.phase is not Phase.FAILED
            and not old.is_deletion
        ):
            return []
        entry = self._list.add(key, authorisation, self.settings.lifetime_s(authorisation))
        if old is not None:
            entry.source_address = old.source_address
            entry.bound_until = old.bound_until
            entry.routability = old.routability
        return self._attach(entry, now)

    def deregister(self, peer: IPv6Address, now: float) -> list[MobileNodeEffect]:
        """End a registration by an update of lifetime 0, sent until it is acknowledged.

        Without a care-of address the node is at home: the update comes from the home address.
        """
        entry = self._list.get(self._key(peer))
        if entry is None or entry.is_deletion:
            return []
        if entry.bound_until is None and not entry.outstanding:
            return self.forget(peer)
        return self._delete(entry, now)

    def deregister_inside(
        self, peer: IPv6Address, home_address: IPv6Address, outside: IPv6Address, now: float
    ) -> list[MobileNodeEffect]:
        """Tell `peer` from another home address, over IPsec, that the node is at home there.

        A registration of its own: nothing but an update of lifetime 0. It is numbered after those
        that went to the peer's address `outside`, which it may overtake.
        """
        key = self._key(peer, home_address)
        if self._list.get(key) is not None:
            return []
        self._list.count_with(key, self._key(outside))
        return self._delete(self._list.add(key, PROTECTED, 0), now)

    def forget(
        self, peer: IPv6Address, home_address: IPv6Address | None = None
    ) -> list[MobileNodeEffect]:
        """Drop a registration without a word to the peer; repeated, it does nothing."""
        entry = self._list.remove(self._key(peer, home_address))
        if entry is None:
            return []
        self._transmission.stop(entry, *Timer)
        entry.phase = Phase.IDLE
        return [self._changed(entry)]

    def peer_moved(
        self, peer: IPv6Address, now: float, *, found: bool = False
    ) -> list[MobileNodeEffect]:
        """The peer has told its new care-of address: send again what was perhaps lost to the old.

        To be called when this host's binding of the peer gets another care-of address. `found` says
        that there was none: what was sent once has gone by the home agent, and is not lost yet.
        """
        effects: list[MobileNodeEffect] = []
        for entry in self._list.to_peer(peer):
            for timer in SENDING:
                if self._transmission.is_waiting(entry, timer) and entry.sent[timer] > int(found):
                    del entry.sent[timer]
                    effects += self._transmission.send(entry, timer, now)
        return effects

    def somebody_moved(self, now: float) -> list[MobileNodeEffect]:
        """Somebody asks for a care-of test from where this host knows nobody to be.

        If that is a peer, and this node has moved in the same instant, each has sent to where the
        other was: what is not answered is sent again at once, by the home agents. Anybody can ask:
        however often, the next back-off is that of a second sending.
        """
        effects: list[MobileNodeEffect] = []
        for entry in self._list:
            if entry.phase not in (Phase.MOVED, Phase.MOVING) or isinstance(
                entry.authorisation, IpsecAuthorisation
            ):
                continue
            for timer in SENDING:
                if self._transmission.is_waiting(entry, timer):
                    entry.sent[timer] = min(entry.sent[timer], 1)
                    effects += self._transmission.send(entry, timer, now)
        return effects

    def message_received(
        self, message: Message, source: IPv6Address, destination: IPv6Address, now: float
    ) -> list[MobileNodeEffect]:
        """Take a message from a peer; `source` is its home address where it has one."""
        match message:
            case HomeTest():
                return self._test_received(message, source, destination, now)
            case CareOfTest():
                return self._test_received(message, source, destination, now)
            case BindingAcknowledgement():
                return self._acknowledgement_received(message, source, destination, now)
            case BindingRefreshRequest():
                return self._refresh_requested(source, destination, now)
            case BindingError():
                return self._error_received(message, source, destination, now)
            case _:
                return self._drop("not-for-a-mobile-node")

    def timer_expired(self, now: float) -> list[MobileNodeEffect]:
        """Send again, refresh or give up what is due at `now`."""
        effects: list[MobileNodeEffect] = []
        while (due := self._transmission.pop_next(now)) is not None:
            entry, timer = due
            match timer:
                case Timer.REFRESH:
                    effects += self._refresh(entry, now)
                case Timer.EXPIRY:
                    effects += self._unbound(entry, now, "expired")
                case _:
                    effects += self._resend(entry, timer, now)
        return effects

    def _key(self, peer: IPv6Address, home_address: IPv6Address | None = None) -> RegistrationKey:
        return RegistrationKey(home_address or self.home_address, peer)

    def _drop(self, reason: str) -> list[MobileNodeEffect]:
        self.dropped[reason] += 1
        return []

    def _changed(self, entry: Entry, reason: str | None = None) -> RegistrationChanged:
        return RegistrationChanged(
            home_address=entry.key.home_address,
            peer=entry.key.peer,
            authorisation=entry.authorisation,
            phase=entry.phase,
            care_of_address=entry.care_of_address,
            source_address=entry.source_address,
            reason=reason,
        )

    # Beginning

    def _attach(self, entry: Entry, now: float) -> list[MobileNodeEffect]:
        """Begin anew from the present care-of address."""
        entry.care_of_address = self.care_of_address
        entry.routability.forget(Test.CARE_OF)
        bound = entry.bound_until is not None and now < entry.bound_until
        if not bound or entry.source_address not in self._former:
            entry.source_address = self.care_of_address
        if self.care_of_address is None:
            given = Input.DETACHED
        else:
            given = Input.ATTACHED_BOUND if bound else Input.ATTACHED
        entry.advance(given)
        return self._begin(entry, now)

    def _go_on(self, entry: Entry, now: float) -> list[MobileNodeEffect]:
        """Leave from the present care-of address if the former link has gone."""
        if entry.source_address == self.care_of_address or entry.source_address in self._former:
            return []
        entry.source_address = self.care_of_address
        effects: list[MobileNodeEffect] = [self._changed(entry)]
        if self._transmission.is_waiting(entry, Timer.UPDATE):
            del entry.sent[Timer.UPDATE]
            effects += self._transmission.send(entry, Timer.UPDATE, now)
        return effects

    def _delete(self, entry: Entry, now: float) -> list[MobileNodeEffect]:
        entry.advance(Input.WITHDRAWN)
        return self._begin(entry, now)

    def _begin(self, entry: Entry, now: float, reason: str | None = None) -> list[MobileNodeEffect]:
        """Start what the phase is for; nothing that was under way is wanted any more."""
        self._transmission.stop(entry, *SENDING, Timer.REFRESH)
        entry.begin()
        if entry.phase not in _TESTING:
            return [self._changed(entry, reason)]
        if entry.missing_tests(now):
            return [self._changed(entry, reason), *self._proceed(entry, now)]
        return self._proceed(entry, now, reason)

    def _proceed(
        self, entry: Entry, now: float, reason: str | None = None
    ) -> list[MobileNodeEffect]:
        """Ask for the tokens that are missing, or send the update."""
        missing = entry.missing_tests(now)
        if not missing:
            self._transmission.stop(entry, Timer.HOME_TEST, Timer.CARE_OF_TEST)
            entry.advance(Input.AUTHORISED)
            return [
                self._changed(entry, reason),
                *self._transmission.send(entry, Timer.UPDATE, now),
            ]
        timers = (TIMER_BY_TEST[test] for test in missing)
        return [
            effect
            for timer in timers
            if not self._transmission.is_waiting(entry, timer)
            for effect in self._transmission.send(entry, timer, now)
        ]

    def _refresh(self, entry: Entry, now: float) -> list[MobileNodeEffect]:
        entry.advance(Input.REFRESH_DUE)
        return self._begin(entry, now)

    def _unbound(self, entry: Entry, now: float, reason: str) -> list[MobileNodeEffect]:
        """The peer has no binding (any more): what is under way becomes a first registration."""
        entry.bound_until = None
        before = entry.phase
        if before not in _BOUND and before not in (Phase.MOVED, Phase.MOVING):
            return []
        self._transmission.stop(entry, Timer.EXPIRY)
        entry.advance(Input.UNBOUND)
        if before is Phase.REGISTERED:
            return self._begin(entry, now, reason)
        return [self._changed(entry, reason)]

    def _resend(self, entry: Entry, timer: Timer, now: float) -> list[MobileNodeEffect]:
        if self._transmission.exhausted(entry, timer):
            return self._end(entry, Input.UNANSWERED, "unanswered")
        if timer is Timer.UPDATE and entry.missing_tests(now):
            entry.advance(Input.UNAUTHORISED)
            return self._begin(entry, now, "tokens-expired")
        return self._transmission.send(entry, timer, now)

    # Answers

    def _test_received(
        self,
        message: HomeTest | CareOfTest,
        source: IPv6Address,
        destination: IPv6Address,
        now: float,
    ) -> list[MobileNodeEffect]:
        test = Test.HOME if isinstance(message, HomeTest) else Test.CARE_OF
        for entry in self._list.to_peer(source):
            address = entry.key.home_address if test is Test.HOME else entry.care_of_address
            if address == destination:
                return self._token_received(entry, message, test, now)
        return self._drop("unknown-peer")

    def _token_received(
        self, entry: Entry, message: HomeTest | CareOfTest, test: Test, now: float
    ) -> list[MobileNodeEffect]:
        if not entry.routability.accept(message):
            return self._drop("unknown-cookie")
        if entry.phase not in _TESTING:
            return []
        self._transmission.stop(entry, TIMER_BY_TEST[test])
        del entry.sent[TIMER_BY_TEST[test]]
        return self._proceed(entry, now)

    def _acknowledgement_received(
        self,
        message: BindingAcknowledgement,
        source: IPv6Address,
        destination: IPv6Address,
        now: float,
    ) -> list[MobileNodeEffect]:
        entry = self._list.get(RegistrationKey(destination, source))
        if entry is None:
            return self._drop("unknown-peer")
        if entry.phase not in _UPDATING:
            return self._drop("unexpected-acknowledgement")
        if message.status == Status.SEQUENCE_NUMBER_OUT_OF_WINDOW:
            return self._sequence_refused(entry, message, now)
        update = entry.outstanding.get(message.sequence)
        if update is None:
            return self._drop("unexpected-sequence")
        if (
            isinstance(entry.authorisation, RoutabilityAuthorisation)
            and message.status in EXPIRED_NONCE_STATUSES
        ):
            return self._nonces_refused(entry, message.status, now)
        if not entry.authenticates(message, update):
            return self._drop("bad-authenticator")
        if not message.accepted:
            return self._end(entry, Input.REFUSED, f"status-{message.status}")
        if entry.is_deletion:
            return self._end(entry, Input.ACCEPTED, None)
        granted_s = min(message.lifetime_s, update.message.lifetime_s)
        if granted_s == 0:
            return self._end(entry, Input.REFUSED, "no-lifetime")
        return self._accepted(entry, update.sent_at, granted_s, message.refresh_advice_s, now)

    def _accepted(
        self, entry: Entry, sent_at: float, granted_s: int, advice_s: int | None, now: float
    ) -> list[MobileNodeEffect]:
        moved = entry.phase in (Phase.UPDATING, Phase.MOVING)
        entry.advance(Input.ACCEPTED)
        entry.source_address = entry.care_of_address
        self._transmission.stop(entry, *SENDING)
        entry.begin()
        # Section 11.7.3: the peer's clock began after the update was sent.
        entry.bound_until = sent_at + granted_s
        refresh_after_s = granted_s * self.settings.refresh_fraction
        if advice_s:
            refresh_after_s = min(refresh_after_s, advice_s)
        self._transmission.set(entry, Timer.REFRESH, sent_at + refresh_after_s)
        self._transmission.set(entry, Timer.EXPIRY, entry.bound_until)
        effects: list[MobileNodeEffect] = [self._changed(entry)]
        if entry.is_home_registration and moved:
            effects += self._home_tests_again(now)
        return effects

    def _home_tests_again(self, now: float) -> list[MobileNodeEffect]:
        """The home agent may have dropped what came before it knew the new care-of address."""
        effects: list[MobileNodeEffect] = []
        for entry in self._list:
            if self._transmission.is_waiting(entry, Timer.HOME_TEST):
                del entry.sent[Timer.HOME_TEST]
                effects += self._transmission.send(entry, Timer.HOME_TEST, now)
        return effects

    def _sequence_refused(
        self, entry: Entry, message: BindingAcknowledgement, now: float
    ) -> list[MobileNodeEffect]:
        """The peer has seen a greater number, perhaps in a former life of this node."""
        if not any(entry.authenticates(message, u) for u in entry.outstanding.values()):
            return self._drop("bad-authenticator")
        if message.sequence in entry.outstanding:
            # A copy that was overtaken: the acknowledgement of the one that was not is on its way.
            return self._drop("overtaken")
        self._list.peer_is_at(entry.key, message.sequence)
        return self._resend(entry, Timer.UPDATE, now)

    def _nonces_refused(self, entry: Entry, status: int, now: float) -> list[MobileNodeEffect]:
        if status != Status.EXPIRED_CARE_OF_NONCE_INDEX:
            entry.routability.forget(Test.HOME)
        if status != Status.EXPIRED_HOME_NONCE_INDEX:
            entry.routability.forget(Test.CARE_OF)
        if not entry.missing_tests(now):
            return self._drop("unexpected-status")
        entry.advance(Input.UNAUTHORISED)
        return self._begin(entry, now, f"status-{status}")

    def _end(self, entry: Entry, given: Input, reason: str | None) -> list[MobileNodeEffect]:
        entry.advance(given)
        self._transmission.stop(entry, *SENDING, Timer.REFRESH)
        entry.begin()
        if entry.phase is Phase.IDLE:
            self._transmission.stop(entry, *Timer)
            self._list.remove(entry.key)
        return [self._changed(entry, reason)]

    # What peers ask for

    def _refresh_requested(
        self, source: IPv6Address, destination: IPv6Address, now: float
    ) -> list[MobileNodeEffect]:
        entry = self._list.get(RegistrationKey(destination, source))
        if entry is None:
            return self._drop("unknown-peer")
        if entry.phase is not Phase.REGISTERED:
            return self._drop("unexpected-refresh-request")
        return self._refresh(entry, now)

    def _error_received(
        self, message: BindingError, source: IPv6Address, destination: IPv6Address, now: float
    ) -> list[MobileNodeEffect]:
        entry = self._list.get(self._key(source))
        if entry is None or destination not in (self.home_address, entry.source_address):
            return self._drop("unknown-peer")
        if message.status == ErrorStatus.UNKNOWN_BINDING:
            # While an update is under way, data that overtook it is no news.
            if message.home_address != self.home_address or entry.phase not in _BOUND:
                return self._drop("unexpected-error")
            return self._unbound(entry, now, "unknown-binding")
        # Anybody can send this: it ends nothing that has worked before.
        if message.status == ErrorStatus.UNRECOGNISED_MESSAGE_TYPE and entry.phase in (
            Phase.ROUTABILITY,
            Phase.UPDATING,
        ):
            return self._end(entry, Input.UNANSWERED, "unrecognised-message-type")
        return self._drop("unexpected-error")
