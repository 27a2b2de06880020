"""Progress of long work: a line on the terminal after two seconds.

Elsewhere, in a log, nothing; or a line a minute, for work that may take hours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE = 2.0  # seconds before anything is shown
_PERIOD = 0.2  # seconds between two updates
_WIDTH = 30
_MINUTE = 60.0  # seconds between two lines in a log


@contextmanager
def progress(
    label: str, total: float, log: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[float], None]]:
    """A function to call with each amount done; ``total`` is what they will sum to.

    With ``log`` a line a minute is written where there is no terminal. An amount of 0 only tells
    the time.
    """
    bar = _Bar(label, total, log, clock)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    def __init__(self, label: str, total: float, log: bool, clock: Callable[[], float]) -> None:
        self.label = label
        self.total = max(total, 1e-9)
        self.done = 0.0
        self.early = 0.0  #: of it, in the first moments: much of that may have been there already
        self.clock = clock
        self.start = clock()
        self.shown = False
        self.terminal = sys.stderr.isatty()
        self.enabled = self.terminal or log
        self.period = _PERIOD if self.terminal else _MINUTE
        self.next = self.start + (_PATIENCE if self.terminal else _MINUTE)

    def advance(self, amount: float) -> None:
        self.done += amount
        if not self.enabled:
            return
        now = self.clock()
        if now - self.start < _PATIENCE:
            self.early += amount
        if now >= self.next:
            self.next = now + self.period
            if self.terminal:
                self.show()
            else:
                self.log()

    def log(self) -> None:
        """A line of its own."""
        text = f"{self.label}: {self.done:g} of {self.total:g}{self.left()}"
        print(text, file=sys.stderr, flush=True)

    def show(self) -> None:
        share = min(1.0, self.done / self.total)
        filled = round(share * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        line = f"\r\033[K{self.label} [{bar}] {share:4.0%}{self.left()}"
        print(line, end="", file=sys.stderr, flush=True)
        self.shown = True

    def left(self) -> str:
        """How long it will take, at the speed since the first moments; at first nobody knows."""
        seconds, later = self.clock() - self.start, self.done - self.early
        if not later or seconds < _PATIENCE:
            return ""
        left = round(seconds / later * max(0.0, self.total - self.done))
        return f", {left // 60}:{left % 60:02} left"

    def close(self) -> None:
        """Clear the line: what was done speaks for itself."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
