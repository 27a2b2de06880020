"""The options of `emu run`, and what can be refused before a program is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from emulator.errors import InputError
from emulator.fold import ALL, AUTO, LEAST_FOLDED
from emulator.tracing.selection import Range, parse_range
from isa.files import check_writable

MAX_THREADS = 1024
STDOUT = Path("-")
PERFETTO_SUFFIXES = (".pftrace", ".perfetto-trace")
DEFAULT_WINDOW = Range(0, 10_000)


@dataclass(frozen=True)
class Options:
    """The options of `emu run`; see its help."""

    program: Path
    prompt: str | None = None
    tokens: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    entry: str | None = None
    max_new_tokens: int = 32
    temperature: float = 0.0
    top_k: int | None = None
    seed: int = 0
    chunk: int | None = None
    ignore_eos: bool = False
    chip: str | None = None
    executor: str = "fast"
    threads: int = 1
    timing_only: bool = False
    fold_layers: str = AUTO
    time_every: int = 1
    ignore_capacity: bool = False
    no_timing: bool = False
    checked: bool = False
    json_file: Path | None = None
    trace: Path | None = None
    konata: Path | None = None
    window: str | None = None
    trace_steps: str | None = None
    trace_tiles: str | None = None
    explain: bool = False
    quiet: bool = False

    @cached_property
    def input_files(self) -> dict[str, Path]:
        """File by symbol, of --input."""
        return _pairs("--input", self.inputs)

    @cached_property
    def output_files(self) -> dict[str, Path]:
        """File by symbol, of --output."""
        return _pairs("--output", self.outputs)

    @property
    def perfetto(self) -> Path | None:
        """The file of --trace if it is to hold units, not operations."""
        return self.trace if self.trace and self.trace.suffix in PERFETTO_SUFFIXES else None

    @cached_property
    def instruction_range(self) -> Range:
        """The instructions of --window."""
        return DEFAULT_WINDOW if self.window is None else parse_range("--window", self.window)

    @cached_property
    def step_range(self) -> Range:
        """The steps of --trace-steps."""
        text = self.trace_steps
        return Range() if text is None else parse_range("--trace-steps", text)

    @cached_property
    def tile_range(self) -> Range:
        """The tiles of --trace-tiles."""
        text = self.trace_tiles
        return Range() if text is None else parse_range("--trace-tiles", text)

    @property
    def json_to_stdout(self) -> bool:
        """Whether standard output is for the JSON result alone."""
        return self.json_file == STDOUT

    def check(self) -> None:
        """Refuse what cannot be meant, and outputs that could not be written after long work."""
        self._check_conflicts()
        self._check_numbers()
        self._check_outputs()

    def _check_conflicts(self) -> None:
        conflicts = (
            (self.prompt is not None and self.tokens is not None,
             "--prompt and --tokens exclude each other"),
            (self.timing_only and self.no_timing,
             "--timing-only and --no-timing exclude each other"),
            (self.timing_only and self.executor == "reference",
             "--timing-only: the reference executor computes values; use fast"),
            (self.timing_only and bool(self.outputs),
             "--output: a timing-only run has no values; leave out one of the two"),
            (self.fold_layers != AUTO and self.no_timing,
             "--fold-layers is about timing; leave out --no-timing"),
            (self.fold_layers not in (AUTO, ALL) and self.checked,
             "--check: looks at every layer; leave out --fold-layers"),
            (self._is_sampled and self.no_timing,
             "--time-every is about timing; leave out --no-timing"),
            (self._is_sampled and self.fold_layers not in (AUTO, ALL),
             "--time-every and --fold-layers N are two estimates; leave out one"),
            (self._is_sampled and self.executor == "reference",
             "--time-every: the reference executor's steps are all timed; use fast"),
            (self._is_sampled and self.checked,
             "--check: looks at every step; leave out --time-every"),
            (self._is_sampled and (self.trace or self.konata or self.explain),
             "--trace, --konata and --explain look at every step; leave out --time-every"),
            (self.ignore_capacity and not self.timing_only,
             "--ignore-capacity: bytes that no chip has cannot be run; add --timing-only"),
            (self.checked and self.timing_only,
             "--check: a timing-only run computes no addresses that data decide; leave out one"),
            (self.checked and self.executor == "reference",
             "--check: the reference executor logs no accesses; use fast"),
            (self.no_timing and self.trace is not None,
             "--trace needs timing; leave out --no-timing"),
            (self.no_timing and self.konata is not None,
             "--konata needs timing; leave out --no-timing"),
            (self.no_timing and self.explain,
             "--explain needs timing; leave out --no-timing"),
            (self.window is not None and self.konata is None,
             "--window is for --konata FILE"),
            (self._is_selected and self.perfetto is None and self.konata is None,
             "--trace-steps and --trace-tiles are for --trace FILE.pftrace and --konata FILE"),
            (self._is_selected and self.explain,
             "--explain looks at all steps and tiles; leave out --trace-steps and --trace-tiles"),
        )  # fmt: skip
        for conflict, message in conflicts:
            if conflict:
                raise InputError(message)

    def _check_numbers(self) -> None:
        _check_range("--max-new-tokens", self.max_new_tokens, 1)
        _ = self.instruction_range, self.step_range, self.tile_range
        _check_range("--time-every", self.time_every, 1)
        _check_range("--threads", self.threads, 1, MAX_THREADS)
        _check_range("--seed", self.seed, 0, (1 << 63) - 1)
        if self.fold_layers not in (AUTO, ALL):
            _check_range("--fold-layers", _count(self.fold_layers), LEAST_FOLDED)
        for option, value in (("--chunk", self.chunk), ("--top-k", self.top_k)):
            if value is not None:
                _check_range(option, value, 1)

    @property
    def _is_sampled(self) -> bool:
        return self.time_every > 1

    @property
    def _is_selected(self) -> bool:
        return self.trace_steps is not None or self.trace_tiles is not None

    def _check_outputs(self) -> None:
        """Every output can be written, and replaces neither another one nor what is read."""
        taken = {_real(path): "an input" for path in (self.program, *self.input_files.values())}
        for option, path in self._written():
            real = _real(path)
            if real in taken and not _is_device(real):
                raise InputError(f"{option}: {path}: is {taken[real]} as well; choose another file")
            taken[real] = "another output"
            check_writable(path)

    def _written(self) -> Iterator[tuple[str, Path]]:
        """Option and path of every file that the run would write."""
        for path in self.output_files.values():
            yield "--output", path
        if self.json_file is not None and not self.json_to_stdout:
            yield "--json", self.json_file
        if self.trace is not None:
            yield "--trace", self.trace
        if self.konata is not None:
            yield "--konata", self.konata


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file:
            raise InputError(f"{option}: expected NAME=FILE.npy, got {shown(text)}")
        if name in found:
            raise InputError(f"{option}: {shown(name)} is given twice")
        found[name] = Path(file)
    return found


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--fold-layers: expected auto, all or a number, got {text}") from None


def _check_range(option: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        wanted = f"at least {least}" if most is None else f"{least}..{most}"
        raise InputError(f"{option}: expected {wanted}, got {value}")


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _is_device(real: str) -> bool:
    """Whether something is there that is written to, not replaced."""
    return os.path.exists(real) and not os.path.isfile(real)


def shown(text: str) -> str:
    """A user's text in a message: quoted, short, on one line."""
    quoted = repr(text)
    return quoted if len(quoted) <= 60 else f"{quoted[:57]}..."
