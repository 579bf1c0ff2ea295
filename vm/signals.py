"""Signals that end this program, as exceptions: whatever it holds is let go on the way out."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from vm.errors import Terminated

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def as_exceptions() -> Iterator[None]:
    """Raise Terminated for SIGTERM and SIGHUP (SIGINT is KeyboardInterrupt already)."""

    def end(number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second one must not break off the tidying that the first one began.
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        raise Terminated(number)

    before = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
