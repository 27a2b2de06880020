"""Progress of long work: a line on the terminal after two seconds, and nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PATIENCE = 2.0  # seconds before anything is shown
_PERIOD = 0.2  # seconds between two updates
_WIDTH = 30


@contextmanager
def progress(label: str, total: float) -> Iterator[Callable[[float], None]]:
    """A function to call with each amount done; ``total`` is what they will sum to."""
    bar = _Bar(label, total)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    def __init__(self, label: str, total: float) -> None:
        self.label = label
        self.total = max(total, 1e-9)
        self.done = 0.0
        self.start = time.monotonic()
        self.next = self.start + _PATIENCE
        self.shown = False
        self.enabled = sys.stderr.isatty()

    def advance(self, amount: float) -> None:
        self.done += amount
        if self.enabled and time.monotonic() >= self.next:
            self.next = time.monotonic() + _PERIOD
            self.show()

    def show(self) -> None:
        share = min(1.0, self.done / self.total)
        filled = round(share * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        line = f"\r\033[K{self.label} [{bar}] {share:4.0%}{self.left()}"
        print(line, end="", file=sys.stderr, flush=True)
        self.shown = True

    def left(self) -> str:
        """How long it will take, at the speed so far; at first nobody knows."""
        seconds = time.monotonic() - self.start
        if not self.done or seconds < _PATIENCE:
            return ""
        left = round(seconds / self.done * max(0.0, self.total - self.done))
        return f", {left // 60}:{left % 60:02} left"

    def close(self) -> None:
        """Clear the line: what was done speaks for itself."""
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
