"""One entry that is timed: by a model of its own, or from memory (emulator/timing/recall.py)."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from emulator.accounting import ProgramInfo
from emulator.timing.model import Timing
from emulator.timing.recall import Recall, products_of, same_timing
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

    def __init__(
        self, chip: Chip, info: ProgramInfo, recorder: Recorder | None, recalls: bool
    ) -> None:
        self.recalls = recalls
        self.chip, self._info, self._recorder = chip, info, recorder
        first = Timing(chip, info)
        self._free, self.digest = [first], first.digest
        self._lock = Lock()
        self.recall = Recall()

    def take(self) -> Timing:
        """A model: of one thread, the same for all entries."""
        with self._lock:
            return self._free.pop() if self._free else Timing(self.chip, self._info)

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
        self._meter, self._name, self._semaphores = meter, name, semaphores
        self._timing: Timing | None = None
        models, may_be_known = meter.models, listens and not is_prefill and semaphores is not None
        asks = models.recalls and may_be_known and models.recall.is_worth_asking()
        self._kept: list[Chunk] | None = [] if asks else None
        self._products: list[Chunk] = []  # the matrix products of what is kept
        self._digest = models.digest() if asks else None
        self._records = 0

    def feed(self, chunk: Chunk) -> None:
        """Some of its records."""
        if self._kept is None:
            self._model().feed(chunk)
        else:
            assert self._digest is not None
            self._digest.add(chunk)
            products = products_of(chunk)
            self._kept.append(chunk)
            self._products.append(products)
            self._records += len(chunk) + len(products)
            if self._records > KEPT_RECORDS:
                self._time_kept()

    def end(self) -> None:
        """It has completed."""
        if not self.listens:
            self._meter.take(self, None)
        elif self._kept is None:
            self._meter.take(self, self._ended())
        else:
            self._recall()

    def _recall(self) -> None:
        """Its timing is that of an earlier entry; or it is timed, for later ones as well."""
        models, semaphores = self._meter.models, self._semaphores
        assert semaphores is not None and self._digest is not None
        timing, key = models.take(), self._digest.key(semaphores)
        products = timing.products(self._products)
        models.give_back(timing)

        def then(known: EntryTiming) -> None:
            self._meter.take(self, same_timing(models.chip, known, products))

        if models.recall.find(key, then):
            self._kept = self._products = []
            return
        try:
            self._time_kept()
            found = self._ended()
        except BaseException:
            models.recall.give_up(key)
            raise
        self._meter.take(self, found)
        models.recall.keep(key, found)

    def _time_kept(self) -> None:
        """Time what has been kept; from here on records are timed as they come."""
        kept, self._kept, self._products = self._kept or [], None, []
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
