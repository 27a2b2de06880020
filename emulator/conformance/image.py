"""Tensors as bytes of a memory: where each element and each scale lies.

Written from docs/isa/descriptors.md for the kit alone: the executors have code of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isa.descriptor import Descriptor
from isa.formats import Format, Layout, ScaleKind

Ints = NDArray[np.int64]

BITS = {
    Format.FP32: 32,
    Format.BF16: 16,
    Format.FP16: 16,
    Format.E4M3FN: 8,
    Format.E5M2: 8,
    Format.E2M1: 4,
    Format.E8M0: 8,
    Format.I32: 32,
    Format.U8: 8,
}
BLOCK = {ScaleKind.MX32: 32, ScaleKind.NV16: 16}


def bit_addresses(d: Descriptor) -> Ints:
    """Where each element begins, in bits from byte 0; in the tensor's shape."""
    bits = BITS[d.format]
    grid = np.indices(d.shape, dtype=np.int64)
    if d.layout is Layout.PANEL:
        n, k = grid
        per_word = 32 // bits
        words = (n // 16) * d.strides[0] * bits // 32 + (k // per_word) * 16 + n % 16
        return np.asarray(d.base * 8 + words * 32 + k % per_word * bits)
    steps = np.array(d.strides, np.int64).reshape(-1, *[1] * len(d.shape))
    return np.asarray(d.base * 8 + bits * (grid * steps).sum(axis=0))


def scale_addresses(d: Descriptor) -> Ints:
    """The byte each scale lies at, [rows, blocks]."""
    blocks = -(-d.shape[1] // BLOCK[d.scale_kind])
    row, block = np.indices((d.shape[0], blocks), dtype=np.int64)
    if d.layout is Layout.PANEL:
        return np.asarray(d.scale + (row // 16) * d.scale_strides[0] + block * 16 + row % 16)
    return np.asarray(d.scale + row * d.scale_strides[0] + block * d.scale_strides[1])


def write_codes(memory: bytearray, d: Descriptor, codes: Any) -> None:
    """Put a tensor's codes (unsigned integers, any integer array of its shape) into memory."""
    values = np.broadcast_to(np.asarray(codes).astype(np.int64), d.shape).reshape(-1)
    places = bit_addresses(d).reshape(-1)
    array, bits = np.frombuffer(memory, np.uint8), BITS[d.format]
    if bits == 4:
        _write_nibbles(array, places // 4, values)
        return
    for byte in range(bits // 8):
        array[places // 8 + byte] = (values >> 8 * byte & 0xFF).astype(np.uint8)


def _write_nibbles(array: NDArray[np.uint8], places: Ints, values: Ints) -> None:
    """Two passes, so that no byte is both read and written in one."""
    for half, keep in ((0, 0xF0), (1, 0x0F)):
        chosen = places % 2 == half
        at = places[chosen] // 2
        array[at] = array[at] & keep | (values[chosen] & 15).astype(np.uint8) << 4 * half


def write_scales(memory: bytearray, d: Descriptor, scales: Any) -> None:
    """Put a tensor's scale codes, [rows, blocks], into memory."""
    array = np.frombuffer(memory, np.uint8)
    array[scale_addresses(d)] = np.asarray(scales).astype(np.uint8)


def read_codes(memory: Sequence[int] | bytes | bytearray, d: Descriptor) -> Ints:
    """A tensor's codes, in its shape."""
    array, places = np.frombuffer(bytes(memory), np.uint8).astype(np.int64), bit_addresses(d)
    bits = BITS[d.format]
    if bits == 4:
        return np.asarray(array[places // 8] >> places % 8 & 15)
    pieces = [array[places // 8 + byte] << 8 * byte for byte in range(bits // 8)]
    return np.asarray(sum(pieces))
