"""Random programs drawn by Hypothesis, so that one that fails shrinks to a small one.

A program is a tree of pieces: each has a kind and a seed of its own for all its details, and a
loop, a branch or a call has pieces inside. So shrinking drops pieces, takes loops and branches
apart, and makes seeds small, while the other pieces stay what they were. What remains names its
pieces: `program_of(1, (Piece("tensor", 0, mnemonic="vscan"),))`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from equality.draft import TENSOR, Draft, draft
from equality.programs import (
    branch,
    call,
    exchange,
    finish,
    load_scalar,
    loop,
    meet_cluster,
    multicast,
    scalar,
    tensor,
)
from isa.program import Program

_PLAIN: dict[str, Callable[[Draft], None]] = {"scalar": scalar, "load": load_scalar}
_MEETING: dict[str, Callable[[Draft], None]] = {
    "exchange": exchange,
    "multicast": multicast,
    "cluster": meet_cluster,
}
_SEEDS = st.integers(0, 1 << 16)
_DEPTH = 3
_MOST = (4, 2, 2, 1)  # pieces side by side, by depth


@dataclass(frozen=True)
class Piece:
    """A piece of a program; `inner` and `other` are those within it."""

    kind: str
    seed: int
    mnemonic: str = ""
    inner: tuple[Piece, ...] = ()
    other: tuple[Piece, ...] = ()


def _plain() -> st.SearchStrategy[Piece]:
    return st.one_of(
        st.builds(Piece, st.sampled_from(list(_PLAIN)), _SEEDS),
        st.builds(Piece, st.just("tensor"), _SEEDS, st.sampled_from(TENSOR)),
    )


def _some(depth: int) -> st.SearchStrategy[tuple[Piece, ...]]:
    """Pieces side by side at some depth; only at the outermost one tiles meet."""
    kinds = [_plain(), _plain()]
    if depth == 0:
        kinds.append(st.builds(Piece, st.sampled_from(list(_MEETING)), _SEEDS))
    if depth < _DEPTH:
        inner, none = _some(depth + 1), st.just("")
        kinds.append(st.builds(Piece, st.sampled_from(("call", "loop")), _SEEDS, none, inner))
        kinds.append(st.builds(Piece, st.just("branch"), _SEEDS, none, inner, inner))
    return st.lists(st.one_of(kinds), max_size=_MOST[depth]).map(tuple)


PIECES = _some(0)


def program_of(seed: int, pieces: tuple[Piece, ...]) -> Program:
    """The program of these pieces; the seed is that of the scalars it begins with."""
    d = draft(np.random.default_rng(seed))
    _write(d, pieces, 0)
    d.rng = np.random.default_rng(seed)
    return finish(d)


def _write(d: Draft, pieces: tuple[Piece, ...], depth: int) -> None:
    before = d.rng
    for piece in pieces:
        d.rng = np.random.default_rng(piece.seed)
        _write_piece(d, piece, depth)
    d.rng = before  # what is around decides as if these pieces were not there


def _write_piece(d: Draft, piece: Piece, depth: int) -> None:
    def inner() -> None:
        _write(d, piece.inner, depth + 1)

    if piece.kind == "tensor":
        tensor(d, piece.mnemonic)
    elif piece.kind == "loop":
        loop(d, depth, inner)
    elif piece.kind == "call":
        call(d, inner)
    elif piece.kind == "branch":
        branch(d, inner, lambda: _write(d, piece.other, depth + 1))
    else:
        (_PLAIN | _MEETING)[piece.kind](d)


def kinds_of(pieces: tuple[Piece, ...]) -> list[str]:
    """Kind or mnemonic of every piece, from the outside in."""
    names = []
    for piece in pieces:
        names.append(piece.mnemonic or piece.kind)
        names += kinds_of(piece.inner) + kinds_of(piece.other)
    return names
