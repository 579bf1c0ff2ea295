"""When a mobile node sends what, and again (RFC 6275 section 11.8).

Each kind of message of each registration has a back-off of its own, and none goes out more often
than MAX_UPDATE_RATE allows. Whatever is repeated is made anew: a new cookie, a new sequence number.
"""

from dataclasses import dataclass, field

from mobivpn.clock import Backoff, Timers
from mobivpn.mip6.binding_update_list import BindingUpdateList, Entry, Timer
from mobivpn.mip6.constants import (
    INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S,
    INITIAL_BINDACK_TIMEOUT_S,
    MAX_BINDACK_TIMEOUT_S,
)
from mobivpn.mip6.effects import MobileNodeEffect, SendMobility
from mobivpn.mip6.rate_limit import RateLimit
from mobivpn.mip6.registration import IpsecAuthorisation, Phase, RegistrationKey
from mobivpn.mip6.return_routability import Test
from mobivpn.mip6.settings import MobileNodeSettings

TIMER_BY_TEST = {Test.HOME: Timer.HOME_TEST, Test.CARE_OF: Timer.CARE_OF_TEST}
SENDING = (Timer.HOME_TEST, Timer.CARE_OF_TEST, Timer.UPDATE)

_TEST_BY_TIMER = {timer: test for test, timer in TIMER_BY_TEST.items()}


@dataclass(slots=True)
class Transmission:
    """The timers of all registrations, and the messages that leave when they are due."""

    updates: BindingUpdateList
    settings: MobileNodeSettings
    _timers: Timers[tuple[RegistrationKey, Timer]] = field(
        default_factory=Timers[tuple[RegistrationKey, Timer]]
    )
    _limit: RateLimit = field(default_factory=RateLimit)

    @property
    def deadline(self) -> float | None:
        """When the next timer is due (s)."""
        return self._timers.deadline

    def pop_next(self, now: float) -> tuple[Entry, Timer] | None:
        """Remove and return the earliest timer that is due at `now`, None without any."""
        due = self._timers.pop_next(now)
        return None if due is None else (self.updates[due[0]], due[1])

    def set(self, entry: Entry, timer: Timer, at: float) -> None:
        """Let a timer fall due at `at` (s)."""
        self._timers.set((entry.key, timer), at)

    def stop(self, entry: Entry, *timers: Timer) -> None:
        """Cancel timers, if they are set."""
        for timer in timers:
            self._timers.cancel((entry.key, timer))

    def is_waiting(self, entry: Entry, timer: Timer) -> bool:
        """Tell whether a timer is set: that what it would repeat is not answered."""
        return (entry.key, timer) in self._timers

    def exhausted(self, entry: Entry, timer: Timer) -> bool:
        """Tell whether a message was sent as often as is sensible."""
        return self._backoff(entry).exhausted(entry.sent[timer])

    def send(self, entry: Entry, timer: Timer, now: float) -> list[MobileNodeEffect]:
        """Send a message now, or as soon as MAX_UPDATE_RATE allows."""
        kind = (entry.key, timer)
        allowed_at = self._limit.allowed_at(kind, now)
        if allowed_at > now:
            self._timers.set(kind, allowed_at)
            return []
        self._limit.sent(kind, now)
        entry.sent[timer] += 1
        self._timers.set(kind, now + self._backoff(entry).interval_s(entry.sent[timer]))
        if timer is not Timer.UPDATE:
            return [self._test(entry, _TEST_BY_TIMER[timer], now)]
        again = entry.sent[timer] > 1
        effects: list[MobileNodeEffect] = [self._update(entry, now, via_home_agent=again)]
        if (
            self.settings.update_twice
            and entry.phase is Phase.MOVING
            and not again
            and not isinstance(entry.authorisation, IpsecAuthorisation)
            and self._limit.allowed_at(kind, now) <= now
        ):
            self._limit.sent(kind, now)
            effects.append(self._update(entry, now, via_home_agent=True))
        return effects

    def _backoff(self, entry: Entry) -> Backoff:
        first = entry.is_home_registration and entry.phase is Phase.UPDATING
        if entry.is_deletion:
            attempts = self.settings.deletion_attempts
        elif isinstance(entry.authorisation, IpsecAuthorisation):
            attempts = None
        else:
            attempts = self.settings.attempts
        return Backoff(
            INITIAL_BINDACK_TIMEOUT_FIRST_REGISTRATION_S if first else INITIAL_BINDACK_TIMEOUT_S,
            MAX_BINDACK_TIMEOUT_S,
            attempts,
        )

    def _test(self, entry: Entry, test: Test, now: float) -> SendMobility:
        source = entry.key.home_address
        if test is Test.CARE_OF and entry.care_of_address is not None:
            source = entry.care_of_address
        message = entry.routability.init(test, now)
        return SendMobility(source, entry.key.peer, message, via_home_agent=True)

    def _update(self, entry: Entry, now: float, *, via_home_agent: bool) -> SendMobility:
        update = entry.make_update(self.updates.next_sequence(entry.key), now)
        return SendMobility(
            source=entry.key.home_address,
            destination=entry.key.peer,
            message=update.message,
            care_of_address=entry.source_address,
            via_home_agent=via_home_agent
            and not isinstance(entry.authorisation, IpsecAuthorisation),
        )
