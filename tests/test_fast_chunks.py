"""Memory of chunks: used again once nobody has it, and never before."""

from __future__ import annotations

import gc

import numpy as np

from emulator.fast.chunks import Chunks


def test_memory_is_used_again() -> None:
    chunks = Chunks(4)
    first = chunks.new()
    assert first.shape == (4, 16) and first.dtype == np.int64 and first.flags.writeable
    place = first.ctypes.data
    del first
    assert chunks.new().ctypes.data == place


def test_a_view_keeps_it() -> None:
    chunks, kept = Chunks(4), []
    for number in range(50):
        chunk = chunks.new()
        chunk[:] = number
        kept.append(chunk[1:3])
        del chunk
        gc.collect()
    assert [int(view.min()) for view in kept] == list(range(50))
    assert [int(view.max()) for view in kept] == list(range(50))
    place = kept[7].ctypes.data
    del kept[7]
    assert chunks.new()[1:3].ctypes.data == place


def test_chunks_outlive_their_maker() -> None:
    chunks = Chunks(4)
    chunk = chunks.new()
    chunk[:] = 5
    del chunks
    gc.collect()
    assert (chunk == 5).all()


def test_no_more_waits_than_is_said() -> None:
    chunks = Chunks(1 << 19)  # 64 MiB each
    several = [chunks.new() for _ in range(5)]
    del several
    assert len(chunks._free) == 2
