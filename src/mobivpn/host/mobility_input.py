"""Mobility headers as they come in; what is dropped of them is counted by reason and told of.

Anybody can send such messages, as fast as the link carries them: however many are dropped, the log
gets one record a second at most.
"""

from collections import Counter

from mobivpn.errors import MalformedError
from mobivpn.host.effects import Record
from mobivpn.mip6 import codec
from mobivpn.mip6.messages import Message

RECORDS_APART_S = 1.0


class Tally:
    """What others count by reason, to be told of once a second at most."""

    def __init__(self, *counted: Counter[str]) -> None:
        self._counted = counted
        self._told = Counter[str]()
        self._next_at = 0.0

    @property
    def deadline(self) -> float | None:
        """When what is not told yet may be (s)."""
        return self._next_at if self._untold() else None

    def take(self, now: float) -> Counter[str]:
        """Return what has been counted since the last time; nothing, if it is too early."""
        untold = self._untold()
        if not untold or now < self._next_at:
            return Counter()
        self._told += untold
        self._next_at = now + RECORDS_APART_S
        return untold

    def _untold(self) -> Counter[str]:
        return sum(self._counted, Counter[str]()) - self._told


class MobilityInput:
    """The reader of one host; `dropped` are what its roles in Mobile IPv6 count by themselves."""

    def __init__(self, *dropped: Counter[str]) -> None:
        self._malformed = Counter[str]()
        self._tally = Tally(self._malformed, *dropped)

    @property
    def deadline(self) -> float | None:
        """When drops that are not told yet may be (s)."""
        return self._tally.deadline

    def read(self, data: bytes) -> Message | None:
        """Return the message, None for bytes that are none."""
        try:
            return codec.decode(data)
        except MalformedError as error:
            self._malformed[error.reason] += 1
            return None

    def drops(self, now: float) -> list[Record]:
        """Return a record of what was dropped since the last one, if it is time for one."""
        dropped = self._tally.take(now)
        return [Record("mobility_dropped", details=dict(dropped))] if dropped else []
