"""Who is where: the bindings that a correspondent or home agent holds (RFC 6275 section 9.1).

Of a binding that is gone, the sequence number is remembered until the nonces of its last update
have expired, and as long as a given key could prove it again: a replayed update must not bring it
back (section 5.2.8).
"""

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.clock import earliest
from mobivpn.mip6.constants import MAX_NONCE_LIFETIME_S
from mobivpn.mip6.sequence import is_newer


@dataclass(frozen=True, slots=True)
class Binding:
    """One home address's care-of address, as told to `own_address`, until `expires_at` (s)."""

    home_address: IPv6Address
    care_of_address: IPv6Address
    own_address: IPv6Address
    expires_at: float
    sequence: int


@dataclass(slots=True)
class BindingCache:
    """Bindings by home address; expired ones leave by `pop_expired`."""

    _bindings: dict[IPv6Address, Binding] = field(default_factory=dict[IPv6Address, Binding])
    _former: dict[IPv6Address, tuple[int, float]] = field(
        default_factory=dict[IPv6Address, tuple[int, float]]
    )
    """Sequence number of a binding that is gone, and until when (s) it is remembered."""
    _kept: set[IPv6Address] = field(default_factory=set[IPv6Address])
    """Home addresses whose numbers are remembered longer."""

    def __len__(self) -> int:
        return len(self._bindings)

    def __getitem__(self, home_address: IPv6Address) -> Binding:
        return self._bindings[home_address]

    @property
    def deadline(self) -> float | None:
        """When the next binding expires (s)."""
        return earliest(binding.expires_at for binding in self._bindings.values())

    def get(self, home_address: IPv6Address) -> Binding | None:
        """Return the binding of a home address, if there is one."""
        return self._bindings.get(home_address)

    def refused_sequence(self, home_address: IPv6Address, sequence: int, now: float) -> int | None:
        """Return the last accepted number if `sequence` does not come after it, else None."""
        last = self._last_sequence(home_address, now)
        return None if last is None or is_newer(sequence, last) else last

    def put(self, binding: Binding) -> None:
        """Add or replace a binding."""
        self._bindings[binding.home_address] = binding
        self._former.pop(binding.home_address, None)

    def remove(self, home_address: IPv6Address, sequence: int, now: float) -> None:
        """Remove a binding, if there is one, by an update of that number."""
        self._bindings.pop(home_address, None)
        self._former[home_address] = (sequence, now + MAX_NONCE_LIFETIME_S)

    def keep_number(self, home_address: IPv6Address, *, keep: bool) -> None:
        """Remember the number of a home address's binding however long it is gone, or no longer."""
        if keep:
            self._kept.add(home_address)
        else:
            self._kept.discard(home_address)

    def pop_expired(self, now: float) -> list[Binding]:
        """Remove and return what has expired at `now`."""
        expired = [binding for binding in self._bindings.values() if binding.expires_at <= now]
        for binding in expired:
            self.remove(binding.home_address, binding.sequence, now)
        return expired

    def _last_sequence(self, home_address: IPv6Address, now: float) -> int | None:
        old = {home for home, (_, until) in self._former.items() if until <= now}
        for home in old - self._kept:
            del self._former[home]
        binding = self._bindings.get(home_address)
        if binding is not None:
            return binding.sequence
        former = self._former.get(home_address)
        return None if former is None else former[0]
