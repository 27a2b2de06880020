"""Programs that fault: a random program with a quiet place in it where one tile does something bad.

Before the bad instruction all tiles meet with their units idle, and after it they meet again, so
whatever it does, and whoever gets stuck behind it, the outcome does not depend on the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from equality.draft import CHIP, FIXED, TENSOR, Draft, Label, draft
from equality.draft import TILE as TILE_REGISTER
from equality.programs import block, draw, finish, issue, scalar
from equality.tensors import Rng
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.formats import Format
from isa.program import Program
from isa.spec import BY_MNEMONIC
from isa.spec.model import Unit

Bad = Callable[[Draft], None]


def _tensor(change: Callable[[Rng, np.ndarray], None]) -> Bad:
    """A legal instruction with one descriptor changed: it need not fault."""

    def write(d: Draft) -> None:
        mnemonic = str(d.rng.choice(TENSOR))
        operation, _ = draw(d, mnemonic)
        unit = {Unit.MXU: 1, Unit.VPU: 2}.get(BY_MNEMONIC[mnemonic].unit, 4)
        first = len(d.table)
        d.mends = False
        issue(d, operation, unit)
        d.mends = True
        change(d.rng, d.table[int(d.rng.integers(first, len(d.table)))])

    return write


def _any_word(rng: Rng, words: np.ndarray) -> None:
    word = int(rng.integers(16))
    value = int(rng.choice([-1, 0, 1, 2, 3, 5, 1 << 13, 1 << 14, 1 << 40, (1 << 40) + 1, 1 << 62]))
    words[word] = value if rng.random() < 0.6 else int(words[word]) ^ 1 << int(rng.integers(63))


def _meta(*lsbs: int) -> Callable[[Rng, np.ndarray], None]:
    """Another space, format, layout, scale kind or rank."""

    def change(rng: Rng, words: np.ndarray) -> None:
        lsb = int(rng.choice(lsbs))
        words[1] = (int(words[1]) & ~(0xFF << lsb)) | int(rng.integers(0, 10)) << lsb

    return change


def _nudge(*places: int) -> Callable[[Rng, np.ndarray], None]:
    """A little more or less of some word."""

    def change(rng: Rng, words: np.ndarray) -> None:
        words[int(rng.choice(places))] += int(rng.choice([-3, -1, 1, 2, 3, 64]))

    return change


def _words(*lines: str | tuple[str, dict[str, object]]) -> Bad:
    def write(d: Draft) -> None:
        for mnemonic, fields in lines:
            d.emit(mnemonic, **fields)  # type: ignore[arg-type]

    return write


def _illegal(d: Draft) -> None:
    low, high = encode("add", rd=9, ra=10, b=1)
    choices = [(low | 0xFF, high), (low, high), (low | 1 << 61, high), (0, 0), (0x1F, 0)]
    d.lines.append(choices[int(d.rng.integers(len(choices)))])


def _read_only(d: Draft) -> None:
    words = Descriptor(Space.HBM, Format.U8, (16,), (1,), FIXED + 8)
    d.dld(words.words(), 1)
    d.dld(replace(words, space=Space.TSRAM, base=0).words(), 2)
    d.emit("dma", channel=5, dst=1, src=2)


def _bad_space(d: Draft) -> None:
    """An operand of the VPU in memory that only DMAs reach."""
    space = (Space.HBM, Space.CSRAM, Space.ACC)[int(d.rng.integers(3))]
    words = Descriptor(space, Format.FP32, (4,), (1,), FIXED if space is Space.HBM else 0)
    d.dld(words.words(), 1)
    d.dld(replace(words, space=Space.TSRAM, base=0).words(), 2)
    d.emit("vsqrt", dst=2, a=1)


def _bad_index(d: Draft) -> None:
    """A gather whose table has fewer rows than the indices may name."""
    d.dld(Descriptor(Space.TSRAM, Format.I32, (40,), (1,), 0).words(), 1)
    d.dld(Descriptor(Space.HBM, Format.I32, (4,), (1,), FIXED).words(), 2)
    d.dld(Descriptor(Space.TSRAM, Format.I32, (40,), (1,), 7 * 2048).words(), 3)
    d.emit("dmag", channel=5, dst=1, src=2, index=3)


def _bad_load(d: Draft) -> None:
    d.dld(Descriptor(Space.TSRAM, Format.I32, (8,), (1,), 16384 - 32).words(), 1)
    d.emit("ld", rd=9, src=1, index=int(d.rng.integers(-1, 10)))


def _deep_loops(d: Draft) -> None:
    end = Label()
    for _ in range(int(d.rng.integers(7, 11))):
        d.emit("loop", count=2, target=end)
    scalar(d)
    d.place(end)


def _deep_calls(d: Draft) -> None:
    here = Label()
    d.place(here)
    d.emit("call", target=here)


def _second_waiter(d: Draft) -> None:
    d.emit("signal", unit=1, sem=60, count=2)
    d.emit("wait", unit=1, sem=60, count=1)
    d.barrier()
    d.emit("wait", unit=2, sem=60, count=1)


def _overflow(d: Draft) -> None:
    # If every tile signals the others, it depends on the schedule whose signal is too much.
    scope = str(d.rng.choice(["self", "tile", "cluster", "all"])) if d.alone else "self"
    fields: dict[str, object] = {"scope": scope}
    if scope == "tile":
        fields["tile"] = 27
    unit = int(d.rng.integers(0, 4))
    d.emit("signal", unit=unit, sem=61, count=65535, **fields)
    d.emit("signal", unit=unit, sem=61, count=1, **fields)
    d.emit("signal", unit=unit, sem=62, count=1, **fields)


BAD: dict[str, Bad] = {
    "any word": _tensor(_any_word),
    "meta": _tensor(_meta(0, 16, 24, 32, 40)),
    "format": _tensor(_meta(8)),
    "base": _tensor(_nudge(0, 6)),
    "shape": _tensor(_nudge(7, 8, 9, 10)),
    "strides": _tensor(_nudge(11, 12, 13, 14, 15)),
    "illegal": _illegal,
    "read-only": _read_only,
    "space": _bad_space,
    "index": _bad_index,
    "load": _bad_load,
    "loops": _deep_loops,
    "calls": _deep_calls,
    "waiter": _second_waiter,
    "overflow": _overflow,
    "count": _words(("wait", {"unit": 2, "sem": 55, "count": -1})),
    "count of a signal": _words(("signal", {"unit": 0, "sem": 55, "count": 65536})),
    "tile": _words(("signal", {"unit": 3, "sem": 55, "count": 1, "scope": "tile", "tile": 9})),
    "division": _words(("remu", {"rd": 9, "ra": 10, "b": 0})),
    "return": _words(("ret", {})),
    "pc": _words(("jmp", {"target": 1 << 31})),
    "table": _words(("dld", {"dst": 1, "index": -1})),
    "deadlock": _words(("wait", {"unit": 2, "sem": 55, "count": 1})),
    "own deadlock": _words(("wait", {"unit": 0, "sem": 55, "count": 1})),
    "channel": _words(("signal", {"unit": 7, "sem": 55, "count": 1})),
}


def faulting_program(seed: int, kind: str) -> Program:
    """A program in which one tile, or every tile, does what `BAD` says of `kind`."""
    d = draft(np.random.default_rng([seed, *kind.encode()]))
    block(d, 1)
    d.meet()
    after = Label()
    d.alone = d.chance(0.8)
    if d.alone:
        d.emit("bne", ra=TILE_REGISTER, b=int(d.rng.integers(CHIP.num_tiles)), target=after)
    BAD[kind](d)
    if d.chance(0.5):  # what comes behind it in its unit must not happen
        d.emit("signal", unit=int(d.rng.integers(0, 6)), sem=54, count=-1)
    d.place(after)
    d.meet()
    block(d, 1)
    return finish(d)
