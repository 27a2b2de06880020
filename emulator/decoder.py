"""Drives a decoder program as its host: sequences, KV pages, row tables, steps.

The host's part is small: it writes a step's tables, rings `step`, and reads the tokens drawn. A
step may mix prefill chunks and single tokens of several sequences; rolling back is a shorter
`length`. The tables are described in docs/decoder.md.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from emulator.decoder_facts import described
from emulator.errors import InputError
from emulator.sampling import Greedy, Sampling
from isa.program import Program

Sink = Callable[[NDArray[np.int64]], None]


class Observer(Protocol):
    """Watches entries run: gets the retire stream of each, in chunks."""

    def begin(self, entry: str) -> None:
        """An entry is about to be rung."""

    def feed(self, chunk: NDArray[np.int64]) -> None:
        """Some records of it."""

    def end(self) -> None:
        """It has completed."""


class Listener(Protocol):
    """Gets the retire stream of one entry, if it `listens`; its end in any case."""

    listens: bool

    def feed(self, chunk: NDArray[np.int64]) -> None:
        """Some of its records, in order."""

    def end(self) -> None:
        """It has completed."""


class LateObserver(Observer, Protocol):
    """Can watch several entries at a time, each on a thread of its own, and finds their order."""

    def entry(self, name: str, semaphores: NDArray[np.int64] | None = None) -> Listener:
        """An entry is about to be rung, with these counts of semaphores, int64 [tiles, 64]."""


class Machine(Protocol):
    """What both executors are."""

    program: Program

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Write a symbol."""

    def read(self, name: str) -> NDArray[Any]:
        """Read a symbol."""

    def ring(self, entry: str, arguments: Items[int] = (), sink: Sink | None = None) -> None:
        """Run an entry."""


class LateMachine(Machine, Protocol):
    """Can run entries while records of those before have not been looked at."""

    @property
    def semaphores(self) -> NDArray[np.int64]:
        """Counts of all semaphores, int64 [tiles, 64]."""

    def ring(
        self,
        entry: str,
        arguments: Items[int] = (),
        sink: Sink | None = None,
        done: Callable[[], object] | None = None,
    ) -> None:
        """Run an entry; with `done`, calls of the sink may come after, and then one of that."""

    def settle(self) -> None:
        """Wait for those calls."""


@dataclass
class Sequence:
    """One sequence in the cache: its page-table slot, its pages, and how much of it is cached."""

    slot: int
    pages: list[int]
    length: int = 0


@dataclass(frozen=True)
class Request:
    """Tokens of one sequence for one step; logits of the last `logits` of them are wanted."""

    sequence: Sequence
    tokens: Items[int]
    logits: int = 1
    sampling: Sampling = field(default_factory=Greedy)


@dataclass(frozen=True)
class StepResult:
    """What a step gave: per wanted row a drawn token, and its logits [rows, vocab] if asked for."""

    tokens: list[int]
    logits: NDArray[np.float32] | None


#: Machines that have been reset. A second `reset` would hand out every buffer's credit twice.
_driven: WeakSet[Machine] = WeakSet()


class Decoder:
    """A machine with a decoder program, and the sequences in its cache.

    With `ahead`, of a LateMachine and a LateObserver, steps return before their observer has seen
    all of them: the values of a step do not depend on the cycles of the one before. `settle` waits.

    Raises InputError if the machine has a decoder already.
    """

    def __init__(
        self, machine: Machine, observer: Observer | None = None, ahead: bool = False
    ) -> None:
        if machine in _driven:
            raise InputError("this machine has a decoder already; make another machine")
        self.machine = machine
        self.observer = observer
        self._ahead = ahead
        self.facts = described(machine.program)
        self.capacity = self.facts.capacity
        self._free_pages = list(range(self.capacity["pages"]))
        self._free_slots = list(range(self.capacity["sequences"]))
        self._ring("reset", ())
        _driven.add(machine)

    def settle(self) -> None:
        """Wait until the observer of a decoder that runs `ahead` has seen all steps' ends."""
        if self._ahead:
            cast(LateMachine, self.machine).settle()

    def _ring(self, entry: str, arguments: Items[int]) -> None:
        if self._ahead:
            machine, late = cast(LateMachine, self.machine), cast(LateObserver, self.observer)
            listener = late.entry(entry, machine.semaphores)
            sink = listener.feed if listener.listens else None
            machine.ring(entry, arguments, sink, listener.end)
            return
        observer = self.observer
        if observer is None:
            self.machine.ring(entry, arguments)
            return
        observer.begin(entry)
        self.machine.ring(entry, arguments, observer.feed)
        observer.end()

    # -- sequences -------------------------------------------------------------------------------

    def open(self) -> Sequence:
        """A new, empty sequence."""
        if not self._free_slots:
            raise InputError(
                f"more than {self.capacity['sequences']} sequences; compile with more --sequences"
            )
        return Sequence(self._free_slots.pop(0), [])

    def close(self, sequence: Sequence) -> None:
        """Give back a sequence's pages. The first are given out first: they may be in CSRAM."""
        self._free_pages = sorted(sequence.pages + self._free_pages)
        self._free_slots.insert(0, sequence.slot)

    def check_length(self, tokens: int) -> None:
        """Refuse a sequence longer than the program's context."""
        self.facts.check_length(tokens)

    def _reserve(self, sequence: Sequence, length: int) -> None:
        self.check_length(length)
        while len(sequence.pages) * self.capacity["page"] < length:
            if not self._free_pages:
                raise InputError("the KV cache is full; compile with more --sequences")
            sequence.pages.append(self._free_pages.pop(0))

    # -- steps -----------------------------------------------------------------------------------

    def step(self, requests: Items[Request], with_logits: bool = False) -> StepResult:
        """Run one step. Requests must fit the program's rows, and be of different sequences."""
        rows = sum(len(request.tokens) for request in requests)
        wanted = sum(request.logits for request in requests)
        self._check(requests, rows, wanted)
        self._write_tables(requests)
        self._ring("step", (rows, len(requests), wanted))
        for request in requests:
            request.sequence.length += len(request.tokens)
        tokens = self.machine.read("next")[:wanted].view(np.int32).tolist() if wanted else []
        logits = None
        if with_logits:
            logits = self.machine.read("logits")[:wanted].view(np.float32)
        return StepResult(tokens, logits)

    def _check(self, requests: Items[Request], rows: int, wanted: int) -> None:
        for request in requests:
            self.facts.check_tokens(request.tokens)
        for name, count in (("rows", rows), ("wanted", wanted), ("sequences", len(requests))):
            if count > self.capacity[name]:
                raise InputError(
                    f"{count} {name} in a step; the program takes {self.capacity[name]}"
                )
        if rows == 0 or any(request.logits > len(request.tokens) for request in requests):
            raise InputError("a step needs tokens, and wants logits of no more than there are")

    def _write_tables(self, requests: Items[Request]) -> None:
        cap = self.capacity
        rows = np.zeros((3, cap["rows"]), np.int32)
        wanted = np.zeros((cap["wanted"], 4), np.int32)
        segments = np.zeros((cap["sequences"], 4), np.int32)
        pages = np.zeros((cap["sequences"], cap["blocks"]), np.int32)
        row = want = 0
        for index, request in enumerate(requests):
            sequence, count = request.sequence, len(request.tokens)
            start = sequence.length
            self._reserve(sequence, start + count)
            segments[index] = (row, count, start, sequence.slot)
            pages[sequence.slot, : len(sequence.pages)] = sequence.pages
            positions = np.arange(start, start + count)
            rows[0, row : row + count] = request.tokens
            rows[1, row : row + count] = positions
            page = np.array(sequence.pages, np.int64)[positions // cap["page"]]
            rows[2, row : row + count] = page * cap["page"] + positions % cap["page"]
            row += count
            for back in range(request.logits, 0, -1):
                wanted[want] = (row - back, *request.sampling.words(cap["top_k"]))
                want += 1
        for name, table in (
            ("rows", rows),
            ("wanted", wanted),
            ("segments", segments),
            ("pages", pages),
        ):
            self.machine.write(name, table.view(self.machine.read(name).dtype))
