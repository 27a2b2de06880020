"""The assembly programs of programs/asm: their inputs, and what NumPy says of their outputs."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from isa.assembler import assemble_file
from isa.blockscale import dequantise_mx, quantise_mx
from isa.chip import load_chip
from isa.formats import Format, decode, encode
from isa.program import Program

Array = NDArray[Any]
Arrays = dict[str, Array]
FOLDER = Path(__file__).parent.parent / "programs" / "asm"
CHIP = load_chip("t1-mini")


class Machine(Protocol):
    """What both executors are."""

    def write(self, name: str, array: Array) -> None: ...
    def read(self, name: str) -> Array: ...
    def ring(self, entry: str, arguments: Any = ()) -> None: ...


@dataclass(frozen=True)
class Case:
    """A program, what to ring it with, what it is given and what it should make of that.

    ``expected`` maps inputs (codes) to outputs as numbers; ``tolerance`` is relative to the
    largest number, for computing in another order and precision.
    """

    name: str
    inputs: Callable[[], Arrays]
    expected: Callable[[Arrays], Arrays]
    arguments: tuple[int, ...] = ()
    tolerance: float = 1e-5
    formats: dict[str, Format] = field(default_factory=dict)  # of outputs; FP32 if not here


def numbers(name: str, *shape: int) -> NDArray[np.float32]:
    """Multiples of 2^-13 in [-4, 4) that depend on the name only: no generator can change them."""
    raw = hashlib.shake_256(name.encode()).digest(2 * prod(shape))
    return (np.frombuffer(raw, "<i2").astype(np.float32) / np.float32(8192)).reshape(shape)


def bits(x: NDArray[np.float32]) -> NDArray[np.uint32]:
    """FP32 numbers as the host writes them."""
    return np.ascontiguousarray(x, np.float32).view(np.uint32)


# ---- gemm


def gemm_inputs() -> Arrays:
    codes, scales = quantise_mx(numbers("w", 512, 256), Format.E4M3FN)
    return {"a": bits(numbers("a", 32, 256)), "w": codes, "w_scale": scales}


def gemm_expected(given: Arrays) -> Arrays:
    a = dequantise_mx(*quantise_mx(given["a"].view(np.float32), Format.E4M3FN), Format.E4M3FN)
    w = dequantise_mx(given["w"], given["w_scale"], Format.E4M3FN)
    return {"y": a.astype(np.float64) @ w.T.astype(np.float64)}


# ---- softmax

ROWS = 50


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def softmax_expected(given: Arrays) -> Arrays:
    y = np.zeros((64, 300))
    y[:ROWS] = softmax(given["x"].view(np.float32)[:ROWS].astype(np.float64))
    return {"y": y}


# ---- flash attention


def attention_inputs() -> Arrays:
    shapes = {"q": (4, 256, 32), "k": (2, 256, 32), "v": (2, 256, 32)}
    return {name: encode(Format.BF16, numbers(name, *shape)) for name, shape in shapes.items()}


def attention_expected(given: Arrays) -> Arrays:
    q, k, v = (decode(Format.BF16, given[name]).astype(np.float64) for name in "qkv")
    k, v = np.repeat(k, 2, axis=0), np.repeat(v, 2, axis=0)
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(32)
    scores[:, np.triu(np.ones((256, 256), bool), 1)] = -np.inf
    return {"out": softmax(scores) @ v}


# ---- all-reduce


def all_reduce_expected(given: Arrays) -> Arrays:
    x = given["x"].view(np.float32)
    return {"y": np.broadcast_to(((x[0] + x[1]) + x[2]) + x[3], x.shape)}


# ---- top-k


def topk_inputs() -> Arrays:
    logits = np.round(numbers("logits", 4000), 2)  # few different values: many ties
    logits[[77, 2222]] = np.float32(4), np.float32("inf")
    return {"logits": bits(logits)}


def topk_expected(given: Arrays) -> Arrays:
    logits = given["logits"].view(np.float32)
    best = np.argsort(-logits, kind="stable")[:8]
    return {"values": logits[best], "indices": best}


CASES = {
    case.name: case
    for case in (
        Case("gemm", gemm_inputs, gemm_expected),
        Case("softmax", lambda: {"x": bits(numbers("x", 64, 300))}, softmax_expected, (ROWS,)),
        Case("flash_attention", attention_inputs, attention_expected, tolerance=4e-3),
        Case(
            "all_reduce",
            lambda: {"x": bits(numbers("x", 4, 1000) * numbers("y", 4, 1000))},
            all_reduce_expected,
            tolerance=0,
        ),
        Case("topk", topk_inputs, topk_expected, tolerance=0, formats={"indices": Format.I32}),
    )
}


@cache
def program(name: str) -> Program:
    """The assembled program."""
    return assemble_file(FOLDER / f"{name}.tasm")


def run(machine: Machine, case: Case) -> Arrays:
    """Write the inputs, ring the program's entry, read the outputs."""
    for name, array in case.inputs().items():
        machine.write(name, array)
    return again(machine, case)


def again(machine: Machine, case: Case) -> Arrays:
    """Ring and read."""
    source = program(case.name)
    machine.ring(next(iter(source.entries)), case.arguments)
    outputs = [symbol.name for symbol in source.symbols if symbol.role.name == "OUT"]
    return {name: machine.read(name) for name in outputs}


def digest(outputs: Arrays) -> str:
    """SHA-256 of all outputs."""
    parts = [outputs[name].tobytes() for name in sorted(outputs)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def values(case: Case, outputs: Arrays) -> Arrays:
    """Outputs as numbers."""
    return {
        name: array.view(np.int32) if name in case.formats else array.view(np.float32)
        for name, array in outputs.items()
    }
