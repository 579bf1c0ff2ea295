"""Deadlines and back-off on a clock that the caller reads: `now` is seconds, monotonic."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from mobivpn.errors import CallerError

K = TypeVar("K", bound=Hashable)


def earliest(deadlines: Iterable[float | None]) -> float | None:
    """Return the earliest of some deadlines (s), None if there is none among them."""
    first: float | None = None
    for at in deadlines:
        if at is not None and (first is None or at < first):
            first = at
    return first


@dataclass(slots=True)
class Timers(Generic[K]):
    """Named deadlines; setting a name again moves its deadline."""

    _at: dict[K, float] = field(default_factory=dict[K, float])

    def set(self, key: K, at: float) -> None:
        """Let `key` fall due at `at` (s)."""
        self._at[key] = at

    def cancel(self, key: K) -> None:
        """Forget `key`; unknown keys are ignored, so that a withdrawal may be repeated."""
        self._at.pop(key, None)

    def __iter__(self) -> Iterator[K]:
        return iter(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    @property
    def deadline(self) -> float | None:
        """The earliest deadline (s), None without any."""
        return min(self._at.values()) if self._at else None

    def pop_due(self, now: float) -> list[K]:
        """Remove and return the keys that are due at `now`, earliest first."""
        due = sorted((at, i, key) for i, (key, at) in enumerate(self._at.items()) if at <= now)
        for _, _, key in due:
            del self._at[key]
        return [key for _, _, key in due]

    def pop_next(self, now: float) -> K | None:
        """Remove and return the earliest key that is due at `now`, None without any.

        For those whose timers cancel each other: what is due is looked at afresh each time.
        """
        key = min(self._at, key=self._at.__getitem__, default=None)
        if key is None or self._at[key] > now:
            return None
        del self._at[key]
        return key


@dataclass(frozen=True, slots=True)
class Backoff:
    """Resend intervals: `initial_s`, doubled up to `maximum_s`, at most `attempts` sendings."""

    initial_s: float
    maximum_s: float
    attempts: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.initial_s <= self.maximum_s:
            raise CallerError(f"back-off: need 0 < {self.initial_s=} <= {self.maximum_s=}")

    def interval_s(self, sent: int) -> float:
        """Return how long to wait (s) after the `sent`-th sending (1 is the first)."""
        try:
            return min(self.initial_s * 2.0 ** (sent - 1), self.maximum_s)
        except OverflowError:
            return self.maximum_s

    def exhausted(self, sent: int) -> bool:
        """Tell whether `sent` sendings are all that are allowed."""
        return self.attempts is not None and sent >= self.attempts
