"""Running a program from the command line: what `emu run` does, as library functions."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.decoder import Decoder, Machine
from emulator.errors import InputError, ProgramFault
from emulator.generate import Generation, generate
from emulator.sampling import sampling
from isa.chip import Chip, load_chip
from isa.files import atomic_write
from isa.formats import FORMATS, Format
from isa.program import Program, Role, load

if TYPE_CHECKING:
    from emulator.meter import Meter

SCHEMA = 1
MAX_THREADS = 1024


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
    top_k: int = 40
    seed: int = 0
    chunk: int | None = None
    ignore_eos: bool = False
    chip: str | None = None
    executor: str = "fast"
    threads: int = 1
    timing_only: bool = False
    no_timing: bool = False
    json_file: Path | None = None
    trace: Path | None = None
    quiet: bool = False


@dataclass
class Outcome:
    """What a run gave, before it is printed."""

    tokens: list[int] | None = None
    text: str | None = None
    prefill_steps: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def run(options: Options) -> dict[str, Any]:
    """Run a program as the options say; prints, writes files, and returns the JSON result.

    Raises InputError, ProgramError or ProgramFault; then no file has been written.
    """
    _check(options)
    program = load(options.program)
    chip = load_chip(options.chip or program.chip.name)
    program.check_chip(chip)
    machine = _machine(options, program, chip)
    meter = _meter(options, program, chip)
    start = time.perf_counter()
    try:
        decoder = program.metadata.get("kind") == "decoder"
        outcome = (_decode if decoder else _execute)(options, machine, meter)
    except ProgramFault as fault:
        raise fault.of(program) from None
    result = _result(options, program, chip, outcome, meter, time.perf_counter() - start)
    _write_files(options, outcome, result, meter)
    _print(options, result, meter)
    return result


def _check(options: Options) -> None:
    """What can be refused before anything is loaded."""
    if options.prompt is not None and options.tokens is not None:
        raise InputError("--prompt and --tokens exclude each other")
    if options.timing_only and options.no_timing:
        raise InputError("--timing-only and --no-timing exclude each other")
    if options.timing_only and options.executor == "reference":
        raise InputError("--timing-only: the reference executor computes values; use fast")
    if options.timing_only and options.outputs:
        raise InputError("--output: a timing-only run has no values")
    if options.no_timing and options.trace:
        raise InputError("--trace needs timing; leave out --no-timing")
    if not 1 <= options.threads <= MAX_THREADS:
        raise InputError(f"--threads: expected 1..{MAX_THREADS}, got {options.threads}")
    if options.chunk is not None and options.chunk < 1:
        raise InputError(f"--chunk: expected at least 1, got {options.chunk}")
    if not 0 <= options.seed < 1 << 63:
        raise InputError(f"--seed: expected 0..2^63 - 1, got {options.seed}")
    for path in (options.json_file, options.trace, *_output_files(options).values()):
        _check_writable(path)


def _check_writable(path: Path | None) -> None:
    """Refuse an output that cannot be written before the run, not after it."""
    if path is None or str(path) == "-":
        return
    parent = path.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK) or path.is_dir():
        raise InputError(f"{path}: cannot be written; choose a file in an existing directory")


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.partition("=")
        if not name or not equals or not file:
            raise InputError(f"{option}: expected NAME=FILE.npy, got '{text}'")
        if name in found:
            raise InputError(f"{option}: {name} is given twice")
        found[name] = Path(file)
    return found


def _output_files(options: Options) -> dict[str, Path]:
    return _pairs("--output", options.outputs)


def _machine(options: Options, program: Program, chip: Chip) -> Machine:
    if options.executor == "reference":
        from emulator.reference.machine import ReferenceMachine

        return ReferenceMachine(program, chip)
    from emulator.fast.machine import FastMachine

    return FastMachine(program, chip, options.threads, options.timing_only, seed=options.seed)


def _meter(options: Options, program: Program, chip: Chip) -> Meter | None:
    if options.no_timing:
        return None
    from emulator.meter import Meter

    return Meter(program, chip, trace=options.trace is not None)


# -- decoders ------------------------------------------------------------------------------------


def _decode(options: Options, machine: Machine, meter: Meter | None) -> Outcome:
    """Generate from a prompt."""
    if options.inputs or options.entry:
        raise InputError("--input and --entry are for programs that are no decoders")
    unknown = [name for name in _output_files(options) if name != "logits"]
    if unknown:
        raise InputError(f"--output: a decoder saves logits, not {unknown[0]}")
    tokenizer = _tokenizer(machine.program)
    prompt = _prompt(options, tokenizer)
    decoder = Decoder(machine, meter)
    keep = "logits" in _output_files(options)
    draw = sampling(options.temperature, options.top_k, options.seed)
    eos = () if options.ignore_eos or options.timing_only else decoder.model["eos"]
    printer = _Printer(options, tokenizer)
    found: Generation = generate(
        decoder,
        prompt,
        options.max_new_tokens,
        draw,
        chunk=options.chunk,
        keep_logits=keep,
        ends=lambda token: token in eos,
        on_token=printer.push,
    )
    printer.finish()
    outcome = Outcome(prefill_steps=found.prefill_steps)
    if keep:
        outcome.arrays["logits"] = np.stack(found.logits)
    if not options.timing_only:
        outcome.tokens = found.tokens
        outcome.text = tokenizer.decode(found.tokens) if tokenizer else None
    return outcome


def _tokenizer(program: Program) -> Any:
    if not program.tokenizer:
        return None
    from emulator.tokenizer import Tokenizer

    return Tokenizer(program.tokenizer, tuple(program.metadata["model"]["eos"]), program.path)


def _prompt(options: Options, tokenizer: Any) -> list[int]:
    if options.tokens is not None:
        try:
            return [int(part) for part in options.tokens.split(",")]
        except ValueError:
            raise InputError(
                f"--tokens: expected numbers like 1,2,3, got '{options.tokens}'"
            ) from None
    if options.prompt is None:
        raise InputError("a decoder needs --prompt TEXT or --tokens 1,2,3")
    if tokenizer is None:
        raise InputError(f"{options.program}: has no tokenizer; give --tokens instead of --prompt")
    tokens: list[int] = tokenizer.encode(options.prompt)
    return tokens


class _Printer:
    """Prints text as it comes: the prompt, then each token's piece."""

    def __init__(self, options: Options, tokenizer: Any) -> None:
        shown = tokenizer is not None and not options.timing_only
        to_stdout = options.json_file is None or str(options.json_file) != "-"
        self.stream = tokenizer.stream() if shown and to_stdout else None
        if self.stream and options.prompt:
            sys.stdout.write(options.prompt)

    def push(self, token: int) -> None:
        """One more token."""
        if self.stream:
            sys.stdout.write(self.stream.push(token))
            sys.stdout.flush()

    def finish(self) -> None:
        """No more tokens."""
        if self.stream:
            sys.stdout.write(self.stream.finish() + "\n")
            sys.stdout.flush()


# -- other programs ------------------------------------------------------------------------------


def _execute(options: Options, machine: Machine, meter: Meter | None) -> Outcome:
    """Write symbols, ring one entry, read symbols."""
    if options.prompt is not None or options.tokens is not None:
        raise InputError("--prompt and --tokens are for decoder programs; use --input")
    program = machine.program
    for name, path in _pairs("--input", options.inputs).items():
        machine.write(name, _read_array(program, name, path))
    for name in _output_files(options):
        program.symbol(name)
    entry = options.entry or _only_entry(program)
    if meter is not None:
        meter.begin(entry)
    machine.ring(entry, (), meter.feed if meter else None)
    if meter is not None:
        meter.end()
    arrays = {name: _values(program, machine, name) for name in _output_files(options)}
    return Outcome(arrays=arrays)


def _only_entry(program: Program) -> str:
    if len(program.entries) != 1:
        known = ", ".join(program.entries) or "none"
        raise InputError(f"{program.path}: name an entry by --entry; it has {known}")
    return next(iter(program.entries))


def _read_array(program: Program, name: str, path: Path) -> np.ndarray:
    """An .npy file as the codes of a symbol: raw codes, or fp32 to be rounded to its format."""
    symbol = program.symbol(name)
    if symbol.role is Role.OUT:
        raise InputError(f"--input: {name} is an output")
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not an .npy array: {str(error).splitlines()[0]}") from None
    if array.shape != symbol.shape:
        raise InputError(f"{path}: shape {list(array.shape)} is not {name}'s {list(symbol.shape)}")
    wanted = FORMATS[symbol.format].dtype
    if array.dtype == np.float32 and symbol.format not in (Format.I32, Format.U8, Format.FP32):
        from isa.formats import encode

        return encode(symbol.format, array)
    if array.dtype.itemsize != wanted.itemsize:
        raise InputError(f"{path}: {array.dtype} is neither fp32 nor codes of {symbol.format.name}")
    return array.view(wanted)


def _values(program: Program, machine: Machine, name: str) -> np.ndarray:
    """A symbol's elements: fp32 and integers as such, other formats as codes."""
    codes = machine.read(name)
    kind = program.symbol(name).format
    views = {Format.FP32: np.float32, Format.I32: np.int32}
    return codes.view(views[kind]) if kind in views else codes


# -- results -------------------------------------------------------------------------------------


def _result(
    options: Options,
    program: Program,
    chip: Chip,
    outcome: Outcome,
    meter: Meter | None,
    seconds: float,
) -> dict[str, Any]:
    """The JSON result, schema 1 (docs/report.md)."""
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "chip": chip.name,
        "program": str(options.program),
        "executor": "timing-only" if options.timing_only else options.executor,
        "tokens": outcome.tokens,
        "text": outcome.text,
        "numeric": program.metadata.get("numeric", {}),
        "seconds": {"chip": None, "host": seconds},
    }
    if meter is not None:
        result.update(meter.result(outcome.prefill_steps))
        result["seconds"] = {"chip": meter.seconds(), "host": seconds}
    return result


def _write_files(
    options: Options, outcome: Outcome, result: dict[str, Any], meter: Meter | None
) -> None:
    for name, path in _output_files(options).items():
        with atomic_write(path) as file:
            np.save(file, outcome.arrays[name], allow_pickle=False)
    if options.trace is not None and meter is not None:
        meter.write_trace(options.trace)
    if options.json_file is None:
        return
    text = json.dumps(result, indent=1) + "\n"
    if str(options.json_file) == "-":
        sys.stdout.write(text)
        return
    with atomic_write(options.json_file) as file:
        file.write(text.encode())


def _print(options: Options, result: dict[str, Any], meter: Meter | None) -> None:
    if options.quiet or str(options.json_file) == "-" or meter is None:
        return
    print(meter.text(result))
