"""A verdict on a device's result, with the first difference explained."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np

from emulator.conformance.case import View
from emulator.conformance.image import BITS, bit_addresses, read_codes, scale_addresses
from emulator.conformance.result import FaultLine, Result
from emulator.conformance.selfcheck import SIGNATURE
from isa.formats import Format, ScaleKind, decode


class Status(Enum):
    """How a case ended."""

    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True)
class Verdict:
    """How one case ended on a device, and the reason in a line or two."""

    case: str
    status: Status
    detail: str = ""
    seconds: float = 0.0
    output: str = ""  # what the device printed, as far as it was kept


class Known(Protocol):
    """What a verdict needs of a case: a `Case`, or one that was read from a kit's directory."""

    @property
    def name(self) -> str:
        """The case's name."""

    @property
    def expected(self) -> Result:
        """All that must come out."""

    @property
    def views(self) -> tuple[View, ...]:
        """Where the tensors lie."""


def judge(case: Known, result: Result) -> Verdict:
    """Whether a device's result is the expected one."""
    if result.outcome == "unsupported":
        return Verdict(case.name, Status.UNSUPPORTED, result.why)
    problem = difference(case, result)
    return Verdict(case.name, Status.FAIL if problem else Status.PASS, problem)


def difference(case: Known, result: Result) -> str:
    """The first difference in words; empty if there is none."""
    expected = case.expected
    if result.faults != expected.faults:
        return _fault_difference(expected.faults, result.faults)
    if result.outcome != expected.outcome:
        return f"outcome: {result.outcome}, not {expected.outcome}"
    if set(result.sticky) != set(expected.sticky):
        return f"sticky bits of tiles {_tiles(result.sticky)}, not {_tiles(expected.sticky)}"
    # The symbols before the signature: they say where it went wrong.
    for name in sorted(expected.symbols, key=lambda name: name == SIGNATURE):
        problem = _symbol_difference(case, result, name)
        if problem:
            return problem
    return ""


def _tiles(tiles: tuple[int, ...]) -> str:
    return "{" + ", ".join(map(str, tiles)) + "}"


def _fault_difference(expected: tuple[FaultLine, ...], actual: tuple[FaultLine, ...]) -> str:
    missing = [fault for fault in expected if fault not in actual]
    strange = [fault for fault in actual if fault not in expected]
    parts = [f"fault {fault} was not raised" for fault in missing[:1]]
    parts += [f"fault {fault} was raised" for fault in strange[:1]]
    more = len(missing) + len(strange) - len(parts)
    return "; ".join(parts or ["the faults are not in order"]) + (
        f" and {more} more" if more else ""
    )


def _symbol_difference(case: Known, result: Result, name: str) -> str:
    expected, actual = case.expected.symbols[name], result.symbols.get(name)
    if actual is None:
        return f"symbol {name} is missing"
    if len(actual) != len(expected):
        return f"symbol {name} has {len(actual)} bytes, not {len(expected)}"
    if actual == expected:
        return ""
    if name == SIGNATURE:
        return _signature_difference(expected, actual)
    differing = np.flatnonzero(np.frombuffer(expected, "u1") != np.frombuffer(actual, "u1"))
    first = int(differing[0])
    where = _element(case, name, first, expected, actual) or (
        f"byte {first:#x} is {actual[first]:#04x}, not {expected[first]:#04x}: "
        "nothing was to be written there"
    )
    return f"{where} ({len(differing)} bytes of {name} differ)"


def _signature_difference(expected: bytes, actual: bytes) -> str:
    words = [int.from_bytes(actual[at : at + 4], "little") for at in range(0, 16, 4)]
    wanted = [int.from_bytes(expected[at : at + 4], "little") for at in range(0, 16, 4)]
    return f"the device's own check says {words}, not {wanted}, though all bytes are right"


def _element(case: Known, symbol: str, byte: int, expected: bytes, actual: bytes) -> str:
    """The element of a result that a byte belongs to, with both values; empty if none."""
    for view in case.views:
        if view.result and view.symbol == symbol:
            found = _in_elements(view, byte, expected, actual) or _in_scales(
                view, byte, expected, actual
            )
            if found:
                return found
    return ""


def _in_elements(view: View, byte: int, expected: bytes, actual: bytes) -> str:
    d = view.descriptor
    addresses, bits = bit_addresses(d), BITS[d.format]
    inside = (addresses // 8 <= byte) & (byte * 8 < addresses + bits)
    wanted, got = read_codes(expected, d), read_codes(actual, d)
    places = np.argwhere(inside & (wanted != got))
    if not len(places):
        return ""
    place = tuple(int(i) for i in places[0])
    values = (show(d.format, int(codes[place])) for codes in (got, wanted))
    return f"{view.name}{list(place)} is {' not '.join(f'{value},' for value in values)[:-1]}"


def _in_scales(view: View, byte: int, expected: bytes, actual: bytes) -> str:
    d = view.descriptor
    if d.scale_kind is ScaleKind.NONE:
        return ""
    places = np.argwhere(scale_addresses(d) == byte)
    if not len(places):
        return ""
    fmt = Format.E8M0 if d.scale_kind is ScaleKind.MX32 else Format.E4M3FN
    got, wanted = show(fmt, actual[byte]), show(fmt, expected[byte])
    return f"scale of {view.name}{[int(i) for i in places[0]]} is {got}, not {wanted}"


def show(fmt: Format, code: int) -> str:
    """A code as hexadecimal digits and as the number it stands for."""
    digits = f"{fmt.name} 0x{code:0{-(-BITS[fmt] // 4)}x}"
    if fmt is Format.U8:
        return digits
    if fmt is Format.I32:
        return f"{digits} ({code - (code >> 31 << 32)})"
    dtype = {4: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.uint32}[BITS[fmt]]
    value = float(decode(fmt, np.array([code], dtype))[0])
    return f"{digits} ({value:.9g}, {value.hex()})" if np.isfinite(value) else f"{digits} ({value})"
