"""The matrix unit's rule on whole arrays, in a way that shares nothing with the kernels.

A product of two elements of any matrix format is exact in fp32 as long as it neither overflows nor
underflows, which the bench's numbers do not. So one NumPy multiplication and one addition for each
k make a block's sum with the rule's one rounding a step, and a sum times two scales is exact in
float64, so that its conversion is the rule's one rounding.
"""

from __future__ import annotations

import numpy as np

from emulator.bench.stored import F32, Matrix
from emulator.reference.matrix import block_gemm
from isa.errors import TesseraError
from isa.formats import ScaleKind

SAMPLE_ROWS, SAMPLE_COLUMNS = 8, 64


class WrongBitsError(TesseraError):
    """A kernel computed something else than the reference."""

    exit_status = 1


def product(a: Matrix, w: Matrix) -> F32:
    """acc[M, N] of a[M, K] and w[N, K], from zero."""
    left, right = a.values(), np.ascontiguousarray(w.values().T)
    block = block_of(a, w)
    scale_a, scale_w = _scales(a, block), _scales(w, block)
    acc = np.zeros((a.rows, w.rows), np.float32)
    for index, start in enumerate(range(0, a.k, block)):
        total = _block_sum(left[:, start : start + block], right[start : start + block])
        factors = scale_a[:, index, None] * scale_w[None, :, index]
        acc += (total * factors).astype(np.float32)
    return acc


def _block_sum(a: F32, w: F32) -> F32:
    """From +0, k ascending."""
    total = np.zeros((a.shape[0], w.shape[1]), np.float32)
    term = np.empty_like(total)
    for k in range(a.shape[1]):
        np.multiply(a[:, k, None], w[k], out=term)
        total += term
    return total


def block_of(a: Matrix, w: Matrix) -> int:
    """Elements of a block of the product."""
    return 16 if ScaleKind.NV16 in (a.kind, w.kind) else 32


def _scales(operand: Matrix, block: int) -> np.ndarray:
    """Scales in float64, one for each block of the product."""
    values = _repeated(operand, block)
    if values is None:
        return np.ones((operand.rows, -(-operand.k // block)))
    return values.astype(np.float64)


def _repeated(operand: Matrix, block: int) -> F32 | None:
    values = operand.scale_values()
    covers = 32 if operand.kind is ScaleKind.MX32 else 16
    return None if values is None else np.repeat(values, covers // block, axis=1)


def reference(a: Matrix, w: Matrix) -> F32:
    """The same by the reference executor's arithmetic, which takes long."""
    block = block_of(a, w)
    zero = np.zeros((a.rows, w.rows), np.float32)
    scales = _repeated(a, block), _repeated(w, block)
    return block_gemm(zero, a.values(), w.values(), *scales, block)


def check(name: str, got: F32, expected: F32) -> None:
    """Raise WrongBitsError unless all bits are equal."""
    wrong = int(np.count_nonzero(got.view(np.uint32) != expected.view(np.uint32)))
    if wrong:
        raise WrongBitsError(
            f"{name}: {wrong} of {got.size} results differ from the reference's; "
            "clear the cache of compiled code, and run the tests of the kernels"
        )


def check_all(name: str, a: Matrix, w: Matrix, got: F32) -> None:
    """Every element against the plain rule, and a corner of them against the reference."""
    check(name, got, product(a, w))
    rows, columns = min(SAMPLE_ROWS, a.rows), min(SAMPLE_COLUMNS, w.rows)
    corner = np.ascontiguousarray(got[:rows, :columns])
    check(name, corner, reference(a.part(0, rows), w.part(0, columns)))


def check_panels(name: str, a: Matrix, w: Matrix, got: F32, columns: int) -> None:
    """The first, some middle and the last `columns` columns against the reference."""
    for first in (0, w.rows // 2, w.rows - columns):
        part = np.ascontiguousarray(got[:, first : first + columns])
        check(name, part, reference(a, w.part(first, first + columns)))
