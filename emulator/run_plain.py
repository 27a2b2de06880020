"""Running a program that is no decoder: symbols in, one entry, symbols out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from emulator.decoder import Machine
from emulator.errors import InputError
from emulator.memory import AddressError
from emulator.run_job import Outcome
from emulator.run_options import Options
from emulator.status import Status
from isa.errors import printable
from isa.formats import FORMATS, Format, encode
from isa.program import Program, Role, Symbol

if TYPE_CHECKING:
    from emulator.meter import Meter

Array = NDArray[Any]

#: Formats whose elements NumPy has itself; elements of others are given and saved as codes.
_NATIVE: Final[dict[Format, np.dtype[Any]]] = {
    Format.FP32: np.dtype(np.float32),
    Format.FP16: np.dtype(np.float16),
    Format.I32: np.dtype(np.int32),
    Format.U8: np.dtype(np.uint8),
}
#: Formats that fp32 values are not rounded to: their own, integers, and scales.
_NOT_ROUNDED: Final = (Format.FP32, Format.I32, Format.U8, Format.E8M0)


class PlainJob:
    """Write symbols, ring one entry, read symbols."""

    def __init__(self, options: Options, program: Program) -> None:
        """Reads the inputs. Raises InputError or ProgramError."""
        if options.prompt is not None or options.tokens is not None:
            raise InputError(
                f"{program.path}: is no decoder; use --input and --output "
                "instead of --prompt and --tokens"
            )
        self.options, self.program = options, program
        self.entry = options.entry or _only_entry(program)
        program.entry(self.entry)
        for name in options.output_files:
            program.symbol(name)
        self.inputs = {n: _read(program.symbol(n), file) for n, file in options.input_files.items()}

    def run(self, machine: Machine, meter: Meter | None, status: Status) -> Outcome:
        """Ring the entry once."""
        for name, codes in self.inputs.items():
            self._write(machine, name, codes)
        status.say(f"running {self.entry}")
        if meter is not None:
            meter.prefill_done()  # there is none: the entry is a step like any other
            meter.begin(self.entry)
        machine.ring(self.entry, (), meter.feed if meter is not None else None)
        if meter is not None:
            meter.end()
        names = self.options.output_files
        return Outcome(arrays={name: self._values(machine, name) for name in names})

    def _write(self, machine: Machine, name: str, codes: Array) -> None:
        try:
            machine.write(name, codes)
        except AddressError:
            if not self.options.timing_only:  # which holds the bytes of control regions alone
                raise

    def _values(self, machine: Machine, name: str) -> Array:
        """A symbol's elements: numbers where NumPy has the format, else codes."""
        codes = machine.read(name)
        native = _NATIVE.get(self.program.symbol(name).format)
        return codes if native is None else codes.view(native)


def _only_entry(program: Program) -> str:
    if len(program.entries) != 1:
        known = ", ".join(program.entries) or "none"
        raise InputError(f"{program.path}: name an entry by --entry; it has {known}")
    return next(iter(program.entries))


def _read(symbol: Symbol, path: Path) -> Array:
    """An .npy file as the codes of a symbol: codes, or fp32 to be rounded to its format."""
    if symbol.role is Role.OUT:
        raise InputError(f"--input: {symbol.name} is an output")
    mapped = _open(path)
    if mapped.shape != symbol.shape:
        raise InputError(
            f"{path}: shape {list(mapped.shape)} is not that of {symbol.name}, {list(symbol.shape)}"
        )
    # C order and native byte order, whatever the file has.
    array = np.array(mapped, mapped.dtype.newbyteorder("="), order="C")
    if array.dtype == np.float32 and symbol.format not in _NOT_ROUNDED:
        return encode(symbol.format, array)
    return _codes(symbol, array, path)


def _open(path: Path) -> Array:
    """The array of an .npy file, mapped: a false header costs no memory."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: cannot be read: {problem}") from None
    except Exception as error:  # a header is Python's syntax, and fails in any of its ways
        reason = printable(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise InputError(f"{path}: not an .npy file of numbers: {reason}") from None


def _codes(symbol: Symbol, array: Array, path: Path) -> Array:
    """An array that holds a symbol's elements already, as unsigned codes."""
    info, native = FORMATS[symbol.format], _NATIVE.get(symbol.format)
    # Extension types such as ml_dtypes' are saved as plain bytes.
    plain = array.dtype.kind == "u" or (array.dtype.kind == "V" and array.dtype.names is None)
    as_codes = plain and array.dtype.itemsize == info.dtype.itemsize
    if not as_codes and (native is None or array.dtype != native):  # to NumPy, None is float64
        wanted = native if native is not None else f"float32 or codes ({info.dtype})"
        raise InputError(
            f"{path}: {array.dtype} is not what {symbol.name}, {info.format.name}, takes: {wanted}"
        )
    codes = array.view(info.dtype)
    if symbol.format is Format.E2M1 and codes.max(initial=0) > 15:
        raise InputError(f"{path}: code {codes.max()} is none of {symbol.name}'s: E2M1 has 16")
    return codes
