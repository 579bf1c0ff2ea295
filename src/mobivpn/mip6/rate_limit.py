"""Not more than so many messages of one kind to one node within a second (section 11.8)."""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

from mobivpn.mip6.constants import MAX_UPDATE_RATE

PERIOD_S = 1.0


@dataclass(slots=True)
class RateLimit:
    """When each kind of message was last sent."""

    rate: int = MAX_UPDATE_RATE
    _sent_at: dict[Hashable, deque[float]] = field(default_factory=dict[Hashable, deque[float]])

    def allowed_at(self, kind: Hashable, now: float) -> float:
        """Return when (s) the next message of that kind may be sent: `now`, or later."""
        sent_at = self._sent_at.get(kind)
        if sent_at is None or len(sent_at) < self.rate:
            return now
        return max(now, sent_at[0] + PERIOD_S)

    def sent(self, kind: Hashable, now: float) -> None:
        """Count a message; what no longer limits anything is forgotten."""
        for old in [k for k, times in self._sent_at.items() if times[-1] + PERIOD_S <= now]:
            del self._sent_at[old]
        self._sent_at.setdefault(kind, deque(maxlen=self.rate)).append(now)
