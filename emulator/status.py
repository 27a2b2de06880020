"""A line on the terminal that says what a long run is doing and for how long; nothing elsewhere.

For work that cannot call back while it goes on: compiling, or one entry of a large program.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

_PATIENCE = 2.0  # seconds before anything is shown
_PERIOD = 0.5  # seconds between two updates


class Status:
    """Shows the latest of its texts while the `with` block lasts, or until `stop`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._start = time.monotonic()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Status:
        """Start, if somebody can look at it."""
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the line: what was done speaks for itself."""
        self.stop()

    def say(self, text: str) -> None:
        """What is being done from now on."""
        self._text = text

    def stop(self) -> None:
        """Clear the line, and be silent from now on."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _show(self) -> None:
        if self._stopped.wait(_PATIENCE):
            return
        while True:
            seconds = time.monotonic() - self._start
            print(f"\r\033[K{self._text}, {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            if self._stopped.wait(_PERIOD):
                break
        print("\r\033[K", end="", file=sys.stderr, flush=True)
