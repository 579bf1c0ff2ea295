"""The correspondent node of RFC 6275 section 9: tests, bindings and errors, without I/O.

Tests leave no state behind: anybody may ask. An update changes a binding only if IPsec, tokens of
two fresh tests or a key given beforehand prove it (`Proof`); what proves nothing is dropped in
silence, except that expired nonces are told.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.clock import Timers, earliest
from mobivpn.ipsec.minting import RandomBytes
from mobivpn.mip6 import codec
from mobivpn.mip6.binding_cache import Binding, BindingCache
from mobivpn.mip6.binding_errors import BindingErrors, RefusedOption
from mobivpn.mip6.effects import BindingChanged, CorrespondentEffect, SendMobility
from mobivpn.mip6.messages import (
    BindingAcknowledgement,
    BindingRefreshRequest,
    BindingUpdate,
    CareOfTestInit,
    HomeTestInit,
    Message,
    Status,
    Unrecognised,
    whole_lifetime_s,
)
from mobivpn.mip6.proof import Proof, Proofs
from mobivpn.mip6.received_update import ReceivedUpdate, is_unicast_routable
from mobivpn.mip6.settings import CorrespondentSettings


@dataclass(slots=True)
class CorrespondentNode:
    """One host as a correspondent of mobile nodes.

    Updates for `protected` home addresses come under IPsec, as the host's policies see to: they
    need no authenticator. `other_names` are home addresses of nodes that register under another:
    a deletion under either name is of the same binding, both are numbered in one series, and
    nothing is bound to the other name.
    `dropped` counts, by reason, the messages that were ignored.
    """

    random_bytes: RandomBytes
    protected: Collection[IPv6Address] = frozenset()
    settings: CorrespondentSettings = field(default_factory=CorrespondentSettings)
    other_names: Mapping[IPv6Address, IPv6Address] = field(
        default_factory=dict[IPv6Address, IPv6Address]
    )
    dropped: Counter[str] = field(default_factory=Counter[str])
    _proofs: Proofs = field(init=False)
    _cache: BindingCache = field(default_factory=BindingCache)
    _refresh: Timers[IPv6Address] = field(default_factory=Timers[IPv6Address])
    _errors: BindingErrors = field(init=False)

    def __post_init__(self) -> None:
        self._proofs = Proofs(self.random_bytes, self.protected, self.settings.protected_lifetime_s)
        self._errors = BindingErrors(self.dropped)

    @property
    def deadline(self) -> float | None:
        """When `timer_expired` is due (s)."""
        return earliest((self._cache.deadline, self._refresh.deadline))

    def binding(self, home_address: IPv6Address) -> Binding | None:
        """Return the binding of a home address, if there is one."""
        return self._cache.get(home_address)

    def keys_given(self, home_address: IPv6Address, keys: Collection[bytes]) -> None:
        """Authorise updates for a home address by keys that both ends were given (RFC 4449).

        Any of `keys` (binding management keys) will do, and nothing else; with none of them, return
        routability is asked for again.
        """
        self._proofs.keys_given(home_address, keys)
        self._cache.keep_number(home_address, keep=bool(keys))

    def forget(self, home_address: IPv6Address, now: float) -> list[CorrespondentEffect]:
        """Drop a binding by this host's own decision; repeated, it does nothing."""
        binding = self._cache.get(home_address)
        if binding is None:
            return []
        self._cache.remove(home_address, binding.sequence, now)
        self._refresh.cancel(home_address)
        return [BindingChanged(home_address, None, 0, binding.own_address)]

    def home_address_refused(self, option: RefusedOption, now: float) -> list[CorrespondentEffect]:
        """Data with a home address option was not taken: say that there is no binding."""
        binding = self._cache.get(option.home_address)
        return [*self._errors.home_address_refused(binding, option, now)]

    def message_received(
        self,
        message: Message,
        source: IPv6Address,
        destination: IPv6Address,
        now: float,
        care_of_address: IPv6Address | None = None,
    ) -> list[CorrespondentEffect]:
        """Take a message; with a home address option, `source` is what stands in it.

        `care_of_address` is then where the packet came from, else None.
        """
        match message:
            case HomeTestInit() | CareOfTestInit():
                if care_of_address is not None:
                    # Sections 9.4.1 and 9.4.2: no home address option here.
                    return self._drop("home-address-option")
                return self._test(message, source, destination, now)
            case BindingUpdate():
                update = ReceivedUpdate(message, source, destination, care_of_address)
                return self._update(update, now)
            case Unrecognised():
                return [*self._errors.unrecognised(source, destination, care_of_address, now)]
            case _:
                return self._drop("not-for-a-correspondent")

    def timer_expired(self, now: float) -> list[CorrespondentEffect]:
        """Drop the bindings that are over, ask for those that are nearly so."""
        effects: list[CorrespondentEffect] = []
        for old in self._cache.pop_expired(now):
            self._refresh.cancel(old.home_address)
            effects.append(BindingChanged(old.home_address, None, 0, old.own_address))
        while (home_address := self._refresh.pop_next(now)) is not None:
            binding = self._cache[home_address]
            own, request = binding.own_address, BindingRefreshRequest()
            # Without a routing header, whatever the cache says (section 6.1.1).
            effects.append(SendMobility(own, home_address, request, via_home_agent=True))
        return effects

    def _drop(self, reason: str) -> list[CorrespondentEffect]:
        self.dropped[reason] += 1
        return []

    def _test(
        self,
        message: HomeTestInit | CareOfTestInit,
        source: IPv6Address,
        destination: IPv6Address,
        now: float,
    ) -> list[CorrespondentEffect]:
        if not is_unicast_routable(source) or destination.is_multicast:
            return self._drop("misdirected")
        answer = self._proofs.test(message, source, now)
        return [SendMobility(destination, source, answer, via_home_agent=True)]

    def _update(self, update: ReceivedUpdate, now: float) -> list[CorrespondentEffect]:
        """Take a binding update (section 9.5.1): first of all, prove it."""
        if not is_unicast_routable(update.home_address):
            return self._drop("bad-home-address")
        if update.wanted is not None and not is_unicast_routable(update.wanted):
            return self._drop("bad-care-of-address")
        proof = self._proofs.prove(update, now)
        if isinstance(proof, str):
            return self._drop(proof)
        if isinstance(proof, Status):
            return [self._acknowledge(update, proof)]
        message, home = update.message, update.home_address
        last = self._cache.refused_sequence(self._name(home), message.sequence, now)
        if last is not None:
            refusal = Status.SEQUENCE_NUMBER_OUT_OF_WINDOW
            return [self._acknowledge(update, refusal, proof=proof, sequence=last)]
        refused = self._refusal(update)
        if refused is not None:
            return [self._acknowledge(update, refused, proof=proof)]
        effects = self._change(update, proof, now)
        if message.acknowledge:
            granted_s = self._granted_s(update, proof)
            effects.append(self._acknowledge(update, Status.ACCEPTED, granted_s, proof=proof))
        return effects

    def _name(self, home_address: IPv6Address) -> IPv6Address:
        return self.other_names.get(home_address, home_address)

    def _granted_s(self, update: ReceivedUpdate, proof: Proof) -> int:
        if update.wanted is None:
            return 0
        return whole_lifetime_s(min(update.message.lifetime_s, proof.longest_lifetime_s))

    def _refusal(self, update: ReceivedUpdate) -> Status | None:
        if update.message.home_registration:
            return Status.HOME_REGISTRATION_NOT_SUPPORTED
        if update.wanted is None:
            return None
        if self._name(update.home_address) != update.home_address:
            return Status.ADMINISTRATIVELY_PROHIBITED
        permitted = self.settings.permitted
        if permitted is not None and update.home_address not in permitted:
            return Status.ADMINISTRATIVELY_PROHIBITED
        if (
            self._cache.get(update.home_address) is None
            and len(self._cache) >= self.settings.capacity
        ):
            return Status.INSUFFICIENT_RESOURCES
        return None

    def _change(
        self, update: ReceivedUpdate, proof: Proof, now: float
    ) -> list[CorrespondentEffect]:
        home, sequence = update.home_address, update.message.sequence
        self._refresh.cancel(self._name(home))
        if update.wanted is None:
            self._cache.remove(self._name(home), sequence, now)
            return [BindingChanged(home, None, 0, update.own_address)]
        granted_s = self._granted_s(update, proof)
        self._cache.put(Binding(home, update.wanted, update.own_address, now + granted_s, sequence))
        if self.settings.request_refresh:
            self._refresh.set(home, now + granted_s * self.settings.request_refresh_fraction)
        return [BindingChanged(home, update.wanted, granted_s, update.own_address)]

    def _acknowledge(
        self,
        update: ReceivedUpdate,
        status: Status,
        granted_s: int = 0,
        *,
        proof: Proof | None = None,
        sequence: int | None = None,
    ) -> SendMobility:
        """Answer to where the update came from (section 9.5.4)."""
        message = BindingAcknowledgement(
            status, update.message.sequence if sequence is None else sequence, granted_s
        )
        if proof is not None and proof.binding_management_key is not None:
            message = codec.authorise(
                message,
                proof.binding_management_key,
                update.authorised_address,
                update.own_address,
            )
        return SendMobility(update.own_address, update.home_address, message, update.sender)
