"""The home agent of RFC 6275 section 10: home registrations, without I/O.

Updates and acknowledgements are under IPsec (RFC 4877), whose policies let nobody speak for another
node's home address; the host's kernel sees to that, and this machine to the rest.

A node does not wait for duplicate address detection, only its acknowledgement does: its binding
stands meanwhile, as an optimistic address would (RFC 4429), and goes if the address is taken.
"""

from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from mobivpn.clock import Timers, earliest
from mobivpn.mip6.binding_cache import Binding, BindingCache
from mobivpn.mip6.binding_errors import BindingErrors, RefusedOption
from mobivpn.mip6.constants import RETRANS_TIMER_S
from mobivpn.mip6.effects import (
    AnnounceInterception,
    BindingChanged,
    DetectDuplicate,
    HomeAgentEffect,
    SendMobility,
)
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingUpdate,
    Message,
    Status,
    Unrecognised,
    whole_lifetime_s,
)
from mobivpn.mip6.received_update import ReceivedUpdate, is_unicast_routable
from mobivpn.mip6.settings import HomeAgentSettings


@dataclass(frozen=True, slots=True)
class _Detection:
    """What is acknowledged once duplicate address detection has found nobody."""

    update: ReceivedUpdate
    granted_s: int


@dataclass(slots=True)
class HomeAgent:
    """The home agent at `address` for the home addresses of one prefix.

    `dropped` counts, by reason, the messages that were ignored.
    """

    address: IPv6Address
    prefix: IPv6Network
    settings: HomeAgentSettings = field(default_factory=HomeAgentSettings)
    dropped: Counter[str] = field(default_factory=Counter[str])
    _cache: BindingCache = field(default_factory=BindingCache)
    _errors: BindingErrors = field(init=False)
    _detections: dict[IPv6Address, _Detection] = field(
        default_factory=dict[IPv6Address, _Detection]
    )
    _detected: Timers[IPv6Address] = field(default_factory=Timers[IPv6Address])
    """Until when duplicate address detection runs, by home address."""

    def __post_init__(self) -> None:
        self._errors = BindingErrors(self.dropped)

    @property
    def deadline(self) -> float | None:
        """When `timer_expired` is due (s)."""
        return earliest((self._cache.deadline, self._detected.deadline))

    def binding(self, home_address: IPv6Address) -> Binding | None:
        """Return the binding of a home address, if there is one."""
        return self._cache.get(home_address)

    def message_received(
        self,
        message: Message,
        source: IPv6Address,
        destination: IPv6Address,
        now: float,
        care_of_address: IPv6Address | None = None,
    ) -> list[HomeAgentEffect]:
        """Take a message; with a home address option, `source` is what stands in it.

        `care_of_address` is then where the packet came from, else None.
        """
        if isinstance(message, Unrecognised):
            return [*self._errors.unrecognised(source, destination, care_of_address, now)]
        if not isinstance(message, BindingUpdate):
            return self._drop("not-for-a-home-agent")
        if destination != self.address:
            return self._drop("misdirected")
        if not is_unicast_routable(source):
            return self._drop("bad-home-address")
        return self._update(ReceivedUpdate(message, source, self.address, care_of_address), now)

    def home_address_refused(self, option: RefusedOption, now: float) -> list[HomeAgentEffect]:
        """Data with a home address option was not taken: say that there is no binding."""
        binding = self._cache.get(option.home_address)
        return [*self._errors.home_address_refused(binding, option, now)]

    def address_claimed(self, address: IPv6Address, now: float) -> list[HomeAgentEffect]:
        """Somebody on the home link has, or wants, this address (RFC 4862 section 5.4)."""
        detection = self._end_detection(address)
        if detection is None:
            return []
        self._cache.remove(address, detection.update.message.sequence, now)
        return [
            BindingChanged(address, None, 0, self.address),
            self._refuse(detection.update, Status.DUPLICATE_ADDRESS_DETECTION_FAILED),
        ]

    def timer_expired(self, now: float) -> list[HomeAgentEffect]:
        """Acknowledge what has turned out unique; drop the bindings that are over."""
        effects: list[HomeAgentEffect] = []
        for home in self._detected.pop_due(now):
            detection = self._detections.pop(home)
            effects.append(AnnounceInterception(home))
            effects.append(self._accepted(detection.update, detection.granted_s))
        effects += [
            BindingChanged(binding.home_address, None, 0, self.address)
            for binding in self._cache.pop_expired(now)
        ]
        return effects

    def _drop(self, reason: str) -> list[HomeAgentEffect]:
        self.dropped[reason] += 1
        return []

    def _update(self, update: ReceivedUpdate, now: float) -> list[HomeAgentEffect]:
        """Take a binding update (sections 9.5.1, 10.3.1 and 10.3.2)."""
        message, home = update.message, update.home_address
        if not message.home_registration:
            if self._cache.get(home) is not None:
                return [self._refuse(update, Status.REGISTRATION_TYPE_CHANGE_DISALLOWED)]
            return self._drop("not-a-home-registration")
        refused = self._refusal(update)
        if refused is not None:
            return [self._refuse(update, refused)]
        last = self._cache.refused_sequence(home, message.sequence, now)
        if last is not None:
            return [self._acknowledge(update, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW, 0, last)]
        if update.wanted is None:
            return self._delete(update, now)
        if self._cache.get(home) is None and len(self._cache) >= self.settings.capacity:
            return [self._refuse(update, Status.INSUFFICIENT_RESOURCES)]
        return self._accept(update, update.wanted, now)

    def _refusal(self, update: ReceivedUpdate) -> Status | None:
        home, wanted, served = update.home_address, update.wanted, self.settings.served
        if home not in self.prefix:
            return Status.NOT_HOME_SUBNET
        if served is not None and home not in served:
            return Status.NOT_HOME_AGENT_FOR_THIS_NODE
        if wanted is not None and (
            not is_unicast_routable(wanted)
            or wanted == self.address
            or self._cache.get(wanted) is not None
        ):
            # Section 10.3.1; a home address with a binding, or this one's own, is nobody's care-of
            # address (loops).
            return Status.INVALID_CARE_OF_ADDRESS
        return None

    def _delete(self, update: ReceivedUpdate, now: float) -> list[HomeAgentEffect]:
        home = update.home_address
        if self._cache.get(home) is None:
            return [self._refuse(update, Status.NOT_HOME_AGENT_FOR_THIS_NODE)]
        self._end_detection(home)
        self._cache.remove(home, update.message.sequence, now)
        return [
            BindingChanged(home, None, 0, self.address),
            self._acknowledge(update, Status.ACCEPTED, 0, update.message.sequence),
        ]

    def _accept(
        self, update: ReceivedUpdate, wanted: IPv6Address, now: float
    ) -> list[HomeAgentEffect]:
        message, home = update.message, update.home_address
        first = self._cache.get(home) is None
        granted_s = whole_lifetime_s(min(message.lifetime_s, self.settings.longest_lifetime_s))
        self._cache.put(Binding(home, wanted, self.address, now + granted_s, message.sequence))
        effects: list[HomeAgentEffect] = [BindingChanged(home, wanted, granted_s, self.address)]
        if first and self.settings.detect_duplicates:
            self._detected.set(home, now + RETRANS_TIMER_S)
            effects.append(DetectDuplicate(home))
        elif first:
            effects.append(AnnounceInterception(home))
        if home in self._detected:
            self._detections[home] = _Detection(update, granted_s)
            return effects
        return [*effects, self._accepted(update, granted_s)]

    def _end_detection(self, home_address: IPv6Address) -> _Detection | None:
        self._detected.cancel(home_address)
        return self._detections.pop(home_address, None)

    def _accepted(self, update: ReceivedUpdate, granted_s: int) -> SendMobility:
        """Acknowledge it, asked for or not (section 10.3.1)."""
        return self._acknowledge(update, Status.ACCEPTED, granted_s, update.message.sequence)

    def _refuse(self, update: ReceivedUpdate, status: Status) -> SendMobility:
        return self._acknowledge(update, status, 0, update.message.sequence)

    def _acknowledge(
        self, update: ReceivedUpdate, status: Status, granted_s: int, sequence: int
    ) -> SendMobility:
        advice_s = self.settings.refresh_advice_s
        message = BindingAcknowledgement(
            status,
            sequence,
            granted_s,
            refresh_advice_s=advice_s if advice_s is not None and advice_s < granted_s else None,
        )
        return SendMobility(self.address, update.home_address, message, update.sender)
