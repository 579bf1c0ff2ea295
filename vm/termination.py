"""SIGTERM and SIGHUP end a test session in order, as Ctrl-C does."""

import signal
from types import FrameType

import pytest

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Termination:
    """A pytest plugin, in charge of these signals from its making on.

    Ctrl-C's own exception: what tests run, Hypothesis above all, takes pytest's (an `Exception`)
    for a failure of the test like any other, and goes on. Whoever keeps even this one to himself
    has the session end before its next test.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        for number in _ENDING:
            signal.signal(number, self._end)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second one must not break off the tidying that the first one began.
        for other in _ENDING:
            signal.signal(other, signal.SIG_IGN)
        self._number = number
        raise KeyboardInterrupt

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self) -> None:
        """Begin no test after a signal."""
        if self._number is not None:
            raise KeyboardInterrupt

    def exit_code(self, code: int) -> int:
        """Return the exit code of a session that pytest ended with `code`."""
        return code if self._number is None else 128 + self._number
