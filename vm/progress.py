"""Show what takes long, in one line that is kept up to date; on a file, a line per step."""

import sys
import time
from typing import TextIO


class Progress:
    """Steps of a set-up. Callable as `progress(step, done, total)`; total 0: not known."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._step = ""
        self._began = 0.0
        self._shown = 0.0
        self._tenth = 0

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        """Show the step; a new one ends the one before."""
        now = time.monotonic()
        if step != self._step:
            self.end()
            self._step, self._began, self._tenth = step, now, 0
            if not self._live:
                self._say(f"{step} ...\n")
        if self._live:
            if now - self._shown > 0.1 or not done:
                share = f" {100 * done // total:3d} %" if total else ""
                self._say(f"\r\x1b[K{step} ...{share} ({now - self._began:.0f} s)")
                self._shown = now
        elif total and 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            self._say(f"  {10 * self._tenth} %\n")

    def end(self) -> None:
        """End the step under way, if there is one, and say how long it took."""
        if self._step:
            erase = "\r\x1b[K" if self._live else ""
            took = time.monotonic() - self._began
            if self._live or took >= 1:
                self._say(f"{erase}{self._step}: done in {took:.0f} s\n")
            self._step = ""

    def abandon(self) -> None:
        """Leave the line of the step under way: something else is to be said."""
        if self._step and self._live:
            self._say("\n")
        self._step = ""

    def _say(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
