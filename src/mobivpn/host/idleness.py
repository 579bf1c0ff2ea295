"""When a direct pair has carried nothing for so long that its session counts as over.

The kernel counts packets for each SA; reading the counters is an effect, what they were is a cause.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from mobivpn.host.node_databases import DirectPair
from mobivpn.ipsec.sa import Spi

LOOKS = 4
"""How often the counters are read within the time after which a pair is idle."""


@dataclass(frozen=True, slots=True)
class ReadUse:
    """Read the packet counters of all SAs; the answer is the cause `use_read`."""


@dataclass(slots=True)
class _Use:
    packets: int
    since: float


@dataclass(slots=True)
class Idleness:
    """Looks at pairs a few times within `idle_s`; without pairs it does not look at all."""

    idle_s: float
    _look_at: float | None = None
    _use_by_peer: dict[IPv6Address, _Use] = field(default_factory=dict[IPv6Address, _Use])

    @property
    def deadline(self) -> float | None:
        """When the next look is due (s)."""
        return self._look_at

    def pairs_changed(self, pairs: Iterable[DirectPair], now: float) -> None:
        """Look from now on, or no more."""
        peers = {pair.peer.internal_home_address for pair in pairs}
        self._use_by_peer = {p: use for p, use in self._use_by_peer.items() if p in peers}
        if not peers:
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
        self, packets_by_spi: Mapping[Spi, int], pairs: Iterable[DirectPair], now: float
    ) -> list[tuple[IPv6Address, float]]:
        """Return (peer's internal home address, for how long in s) of the pairs that are idle."""
        idle: list[tuple[IPv6Address, float]] = []
        for pair in pairs:
            peer = pair.peer.internal_home_address
            packets = sum(packets_by_spi.get(sa.spi, 0) for sa in pair.associations)
            use = self._use_by_peer.get(peer)
            if use is None or use.packets != packets:
                self._use_by_peer[peer] = _Use(packets, now)
            elif now - use.since >= self.idle_s:
                idle.append((peer, now - use.since))
        return idle
