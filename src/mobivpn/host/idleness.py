"""When what two nodes have for a session has carried nothing for so long that it counts as over.

That is a direct pair or, between inside and outside, a binding. The kernel counts packets for each
SA and binding; reading the counters is an effect, what they were is a cause.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

LOOKS = 4
"""How often the counters are read within the time after which a session is idle."""

Carriers = Mapping[IPv6Address, Collection[Hashable]]
"""By peer (internal home address), what carries packets to and from it: SPIs, or the identities of
bindings."""


@dataclass(frozen=True, slots=True)
class ReadUse:
    """Read the packet counters of all SAs and bindings; the answer is the cause `use_read`."""


@dataclass(slots=True)
class _Use:
    packets: int
    since: float


@dataclass(slots=True)
class Idleness:
    """Looks a few times within `idle_s`; with nothing to look at it does not look at all."""

    idle_s: float
    _look_at: float | None = None
    _use_by_peer: dict[IPv6Address, _Use] = field(default_factory=dict[IPv6Address, _Use])

    @property
    def deadline(self) -> float | None:
        """When the next look is due (s)."""
        return self._look_at

    def carriers_changed(self, carriers: Carriers, now: float) -> None:
        """Look from now on, or no more."""
        self._use_by_peer = {p: use for p, use in self._use_by_peer.items() if p in carriers}
        if not carriers:
            self._look_at = None
        elif self._look_at is None:
            self._look_at = now + self.idle_s / LOOKS

    def timer_expired(self, now: float) -> list[ReadUse]:
        """Look, if it is time."""
        if self._look_at is None or now < self._look_at:
            return []
        self._look_at = now + self.idle_s / LOOKS
        return [ReadUse()]

    def use_read(
        self, packets_by_carrier: Mapping[Hashable, int], carriers: Carriers, now: float
    ) -> list[tuple[IPv6Address, float]]:
        """Return (peer, for how long in s) of the sessions that are idle."""
        idle: list[tuple[IPv6Address, float]] = []
        for peer, its in carriers.items():
            packets = sum(packets_by_carrier.get(carrier, 0) for carrier in its)
            use = self._use_by_peer.get(peer)
            if use is None or use.packets != packets:
                self._use_by_peer[peer] = _Use(packets, now)
            elif now - use.since >= self.idle_s:
                idle.append((peer, now - use.since))
        return idle
