"""Bits of words: counted, found and moved, against Python's own numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import types
from numba.extending import intrinsic

from emulator.jit import njit
from emulator.timing import bits

Words = st.integers(0, 2**64 - 1)


@intrinsic
def searched(typingctx, word, n):  # type: ignore[no-untyped-def]
    """`nth` as processors without an instruction for it do it."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return bits._searched(builder, *args)

    return types.int64(types.int64, types.int64), codegen


@njit
def counted(word):
    """(bits set, the lowest)."""
    return bits.ones(word), bits.lowest(word)


@njit
def moved(word, places):
    """The word moved down."""
    return bits.down(word, places)


@njit
def found(word, n):
    """Number of the n-th bit, in both ways."""
    return bits.nth(word, n), searched(word, n)


def signed(word: int) -> int:
    """As compiled code has it."""
    return word - 2**64 if word >= 2**63 else word


@pytest.mark.parametrize("word", [0, 1, 2**63, 2**64 - 1])
def test_counts_of_edges(word: int) -> None:
    lowest = (word & -word).bit_length() - 1 if word else 64
    assert counted(signed(word)) == (word.bit_count(), lowest)


@given(Words, st.integers(0, 63))
def test_a_word_moves_down_without_its_sign(word: int, places: int) -> None:
    assert moved(signed(word), places) == signed(word >> places)


@given(Words)
def test_every_bit_is_found_by_its_number(word: int) -> None:
    places = [place for place in range(64) if word >> place & 1]
    for n, place in enumerate(places):
        assert found(signed(word), n) == (place, place)
