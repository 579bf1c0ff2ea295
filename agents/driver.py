"""The loop of every agent: the only reader of the clock, and the only carrier-out of effects."""

import logging
import selectors
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from mobivpn.errors import CallerError

Effects = Iterable[Any]

log = logging.getLogger(__name__)


class Core(Protocol):
    """What the driver needs of a role's core."""

    @property
    def deadline(self) -> float | None: ...

    def timer_expired(self, now: float) -> Effects: ...


class Driver:
    """Feeds causes to a core and carries out the effects, in order, each `delay_s` after its cause.

    A handler of an effect may return further effects: the outcome was a cause to the core.
    """

    def __init__(self, core: Core, delay_s: float = 0.0) -> None:
        self._core = core
        self._delay_s = delay_s
        self._selector = selectors.DefaultSelector()
        self._handlers: dict[type, Callable[[Any], Effects | None]] = {}
        self._waiting: deque[tuple[float, Any]] = deque()

    def on_effect(self, kind: type, handler: Callable[[Any], Effects | None]) -> None:
        """Let `handler` carry out the effects of one type."""
        self._handlers[kind] = handler

    def on_readable(self, file: Any, handler: Callable[[float], Effects]) -> None:
        """Call `handler(now)` when `file` can be read; what it returns are effects."""
        self._selector.register(file, selectors.EVENT_READ, handler)

    def forget(self, file: Any) -> None:
        """Watch `file` no longer."""
        self._selector.unregister(file)

    def begin(self, effects: Effects) -> None:
        """Queue effects behind those that wait already."""
        due = time.monotonic() + self._delay_s
        self._waiting.extend((due, effect) for effect in effects)
        if self._delay_s == 0:
            self._carry_out()

    def run(self) -> None:
        """Run until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        while True:
            for key, _ in self._selector.select(self._timeout_s()):
                self.begin(key.data(time.monotonic()))
            now = time.monotonic()
            deadline = self._core.deadline
            if deadline is not None and deadline <= now:
                self.begin(self._core.timer_expired(now))
            self._carry_out()

    def _timeout_s(self) -> float | None:
        times = [self._core.deadline, self._waiting[0][0] if self._waiting else None]
        earliest = min((at for at in times if at is not None), default=None)
        return None if earliest is None else max(0.0, earliest - time.monotonic())

    def _carry_out(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, effect = self._waiting.popleft()
            log.debug("%s", effect)
            outcome = self._handlers[type(effect)](effect)
            if outcome:
                self.begin(outcome)


def run_agent(main: Callable[[list[str]], None]) -> None:
    """Run an agent's `main`; what goes wrong at the top is logged, and the process ends.

    What its caller can put right is one line, exit code 2.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        main(sys.argv[1:])
    except CallerError as error:
        log.error("%s", error)
        sys.exit(2)
    except Exception:
        log.exception("agent ends")
        sys.exit(1)
