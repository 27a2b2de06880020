"""Runs the compiler's single operators, and what they should give, in NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from isa.chip import Chip, load_chip
from isa.formats import FORMATS, Format, encode
from isa.program import Program

Array = NDArray[Any]
NATIVE = {
    Format.FP32: np.dtype(np.float32),
    Format.FP16: np.dtype(np.float16),
    Format.BF16: np.dtype(ml_dtypes.bfloat16),
    Format.E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    Format.E5M2: np.dtype(ml_dtypes.float8_e5m2),
}


@cache
def chip(name: str) -> Chip:
    """A chip by name."""
    return load_chip(name)


def codes(fmt: Format, values: Array) -> Array:
    """Values as a format's codes."""
    return encode(fmt, values.astype(np.float32)).view(FORMATS[fmt].dtype)


def values(fmt: Format, array: Array) -> Array:
    """Codes as numbers, float64."""
    return array.view(NATIVE[fmt]).astype(np.float64)


def random(fmt: Format, *shape: int) -> Array:
    """Codes of normal numbers, always the same for a shape."""
    return codes(fmt, np.random.default_rng(sum(shape)).normal(size=shape))


def run(machine: Any, inputs: dict[str, Array], out: str, rings: int = 2) -> Array:
    """What a program gives; it is rung again to see that it left everything as it was."""
    for name, array in inputs.items():
        machine.write(name, array)
    for _ in range(rings):
        machine.ring("run")
    return np.array(machine.read(out))


def block(program: Program, name: str) -> int:
    """Columns of a block of a matrix that lies in blocks."""
    return program.symbol(name).shape[2]


def unblocked(array: Array, columns: int) -> Array:
    """A matrix in blocks, row by row, without what it was filled up with."""
    rows = array.shape[1]
    return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(rows, -1)[:, :columns]


def softmax(x: Array) -> Array:
    """Along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def layernorm(x: Array, gain: Array, bias: Array) -> Array:
    """Along the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5) * gain + bias)
