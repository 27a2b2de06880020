"""Single products, and what `ksplit` is worth, for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from emulator.bench.chip.products import SPLITS, ProductRow, SplitGain

_SHOWN: Final = 0.01  #: least share of a cause
_WIDTH: Final = 100
_TOLD: Final = 4  #: ranges whose losses are told


def title(names: int) -> Iterator[str]:
    """What stands above the rows."""
    yield "\nSingle products, fp8 by fp8, operands and result in HBM; K in one range:\n"
    yield (
        f"{'row':{names}} {'m':>4} {'n':>6} {'k':>6} {'tiles':>5} {'cycles':>11} "
        f"{'over bound':>10} {'array used':>10}  bound"
    )


def lines(row: ProductRow, names: int) -> Iterator[str]:
    """A row: its figures, and below what its cycles were lost to."""
    product = row.product
    text = f"{row.name:{names}} {product.m:4} {product.n:6,} {product.k:6,} "
    if row.cycles is None:
        yield f"{text}{'-':>5} {'-':>11}  {row.row.measured.note}"
        return
    text += f"{row.tiles:5} {row.cycles:11,} {row.row.measured.ratio:10.2f} "
    yield f"{text}{row.utilisation:10.1%}  {row.bound}"
    yield from _wrapped(_lost(row))


def split_title(names: int) -> Iterator[str]:
    """What stands above the gains."""
    yield (
        "\nksplit (a numeric option: other bits), K in several ranges on different tiles:\n"
        "cycles, and those with one range over them\n"
    )
    yield f"{'row':{names}} {'1':>9}" + "".join(f"{n:>11} {'gain':>6}" for n in SPLITS) + "  bound"


def split_lines(gains: Sequence[SplitGain], names: int) -> Iterator[str]:
    """A row with each number of ranges, and what is lost with one of them."""
    one = gains[0].one
    cells = "".join(
        f"{_cycles(each.split):>11} {'-' if each.gain is None else f'{each.gain:.3f}':>6}"
        for each in gains
    )
    yield f"{one.name:{names}} {_cycles(one):>9}{cells}  {one.bound}"
    for each in (gain.split for gain in gains):
        if each.cycles is None:
            yield from _wrapped(f"{each.ksplit} ranges: {each.row.measured.note}")
        elif each.ksplit == _TOLD:
            over = f"{each.tiles} tiles, {each.row.measured.ratio:.2f} over bound"
            yield from _wrapped(f"{each.ksplit} ranges: {over}, {_lost(each)}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="      ")


def _cycles(row: ProductRow) -> str:
    return "-" if row.cycles is None else f"{row.cycles:,}"


def _lost(row: ProductRow) -> str:
    """The causes of its loss, the largest first; there is one operation."""
    whole = sum(loss.share for loss in row.loss)
    causes = [f"{loss.cause} {loss.share:.0%}" for loss in row.loss if loss.share >= _SHOWN]
    return f"lost {whole:.0%}: {', '.join(causes)}"
