"""A decoder program in the emulator, values and timing together, as a process to be asked.

python -m emulator.bench.emulated PROGRAM [THREADS [EVERY [RECALLS]]]

With EVERY, every so many-th decode step is timed (`emu run --time-every`), and all are computed.
With RECALLS 0, so are those that do the work of an earlier one.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from emulator.bench.matrix_calls import MatrixCalls
from emulator.bench.measure import Probe
from emulator.bench.process import peak_bytes, serve
from emulator.decoder import Decoder, Request, Sequence
from emulator.fast.machine import FastMachine
from emulator.meter import Meter
from isa.chip import load_chip
from isa.program import RegionClass, load

PROMPT_SEED = 1
PACKED = (RegionClass.WEIGHTS, RegionClass.SCALES)


class Emulated:
    """One sequence at a time: each prefill begins another."""

    def __init__(self, path: str, threads: int, every: int = 1, recalls: int = 1) -> None:
        program = load(path)
        chip = load_chip(program.chip.name)
        self._threads = threads
        self._machine = FastMachine(program, chip, threads)
        self._meter = Meter(program, chip, every=every, recalls=bool(recalls))
        self._decoder = Decoder(self._machine, self._meter, ahead=True)
        self._sequence: Sequence | None = None
        self._token = 0
        self._calls = MatrixCalls(self._machine)
        self._products: Probe | None = None

    def prefill(self, tokens: int) -> float:
        """Seconds for a prompt of so many tokens, in a sequence of its own."""
        vocab = self._decoder.facts.vocab
        prompt = np.random.default_rng(PROMPT_SEED).integers(0, vocab, tokens).tolist()
        if self._sequence is not None:
            self._decoder.close(self._sequence)
        self._sequence = self._decoder.open()
        rows = self._decoder.capacity["rows"]
        start = time.perf_counter()
        for first in range(0, tokens, rows):
            self._step(prompt[first : first + rows], first + rows >= tokens)
        self._decoder.settle()
        seconds = time.perf_counter() - start
        self._meter.prefill_done()
        return seconds

    def decode(self, tokens: int) -> float:
        """Seconds for so many more tokens, one a step."""
        start = time.perf_counter()
        for _ in range(tokens):
            self._step([self._token], True)
        self._decoder.settle()
        return time.perf_counter() - start

    def _step(self, tokens: list[int], wanted: bool) -> None:
        assert self._sequence is not None
        result = self._decoder.step([Request(self._sequence, tokens, int(wanted))])
        self._token = result.tokens[-1] if wanted else 0

    def record(self, tokens: int) -> int:
        """Prefill once, keeping the calls of the matrix kernel: their number."""
        self._calls = MatrixCalls(self._machine)
        with self._calls.recorded():
            self.prefill(tokens)
        self._products = self._calls.probe(self._threads, ThreadPoolExecutor(self._threads))
        return len(self._calls)

    def products(self, _: int) -> float:
        """Seconds for the calls that were kept, and nothing else."""
        assert self._products is not None
        return self._products.seconds()

    def memory(self, _: int) -> dict[str, int]:
        """The peak of resident bytes, and the bytes of the program's packed matrices."""
        regions = self._machine.program.regions
        weights = sum(region.size for region in regions if region.kind in PACKED)
        return {"peak": peak_bytes(), "weights": weights}


def main(arguments: list[str]) -> None:
    """Answer until nothing more is asked."""
    model = Emulated(arguments[0], *(int(argument) for argument in (arguments[1:] or ["1"])))
    names = ("prefill", "decode", "record", "products", "memory")
    serve({name: getattr(model, name) for name in names})


if __name__ == "__main__":
    main(sys.argv[1:])
