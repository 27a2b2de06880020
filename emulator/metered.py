"""One entry that is timed: by a model of its own, or from memory (emulator/timing/recall.py)."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.timing.model import Timing
from emulator.timing.recall import Recall
from emulator.timing.result import EntryTiming
from isa.chip import Chip

if TYPE_CHECKING:
    from emulator.tracing.recorder import Recorder

UNTIMED = "reset"  #: happens once when a program is loaded

#: Records of an entry that are kept until its end, when it is known whether they must be timed:
#: 128 MiB. An entry with more is timed as it comes.
KEPT_RECORDS = 1 << 20

Chunk = NDArray[np.int64]


class Models:
    """Timing models that time no entry now, and what all of them remember."""

    def __init__(self, chip: Chip, info: ProgramInfo, recorder: Recorder | None) -> None:
        self._chip, self._info, self._recorder = chip, info, recorder
        self._free = [Timing(chip, info)]
        self._lock = Lock()
        self.recall = Recall()

    def take(self) -> Timing:
        """A model: of one thread, the same for all entries."""
        with self._lock:
            return self._free.pop() if self._free else Timing(self._chip, self._info)

    def begin(self, name: str, semaphores: Chunk | None) -> Timing:
        """A model at the beginning of an entry."""
        timing, recorder = self.take(), None if name == UNTIMED else self._recorder
        timing.begin(name, None if recorder is None else recorder.begin(), semaphores)
        return timing

    def give_back(self, timing: Timing) -> None:
        """A model that may time another entry."""
        with self._lock:
            self._free.append(timing)


class Taker(Protocol):
    """Whom entries are for: emulator/meter.py."""

    models: Models

    def take(self, entry: Metered, found: EntryTiming | None) -> None:
        """An entry is over; None: it did not listen."""


class Metered:
    """A listener; see `emulator.decoder.Listener`.

    A model is taken when records come, and not when the entry is rung: then there may be none yet.
    """

    def __init__(
        self,
        meter: Taker,
        name: str,
        number: int,
        is_prefill: bool,
        semaphores: Chunk | None,
        listens: bool,
    ) -> None:
        """Steps of decoding, whose semaphores are given, may be known: prompts seldom are."""
        self.number, self.is_prefill, self.listens = number, is_prefill, listens
        self.seconds = 0.0  #: of the host
        self._meter, self._name, self._semaphores = meter, name, semaphores
        self._timing: Timing | None = None
        self._kept: list[Chunk] | None = None if is_prefill or semaphores is None else []
        self._records = 0

    def feed(self, chunk: Chunk) -> None:
        """Some of its records."""
        start = time.perf_counter()
        if self._kept is None:
            self._model().feed(chunk)
        else:
            self._kept.append(chunk)
            self._records += len(chunk)
            if self._records > KEPT_RECORDS:
                self._time_kept()
        self.seconds += time.perf_counter() - start

    def end(self) -> None:
        """It has completed."""
        start = time.perf_counter()
        found = self._found() if self.listens else None
        self.seconds += time.perf_counter() - start
        self._meter.take(self, found)

    def _found(self) -> EntryTiming:
        if self._kept is not None:
            return self._recalled(self._kept)
        return self._ended()

    def _recalled(self, kept: list[Chunk]) -> EntryTiming:
        """Its timing, as it is known or will be from now on."""
        models, semaphores = self._meter.models, self._semaphores
        assert semaphores is not None
        timing = models.take()
        digest = timing.digest()
        for chunk in kept:
            digest.add(chunk)
        key = digest.key(semaphores)
        known = models.recall.find(key)
        if known is not None:
            found = timing.recalled(known, kept)
            models.give_back(timing)
            return found
        models.give_back(timing)
        self._time_kept()
        found = self._ended()
        models.recall.keep(key, found)
        return found

    def _time_kept(self) -> None:
        """Time what has been kept; from here on records are timed as they come."""
        kept, self._kept = self._kept or [], None
        for chunk in kept:
            self._model().feed(chunk)

    def _ended(self) -> EntryTiming:
        timing = self._model()
        found = timing.end()
        self._meter.models.give_back(timing)
        return found

    def _model(self) -> Timing:
        if self._timing is None:
            self._timing = self._meter.models.begin(self._name, self._semaphores)
        return self._timing
