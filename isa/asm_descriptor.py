"""How a tensor descriptor is written: `tsram:0x400 bf16[128, 64] stride[64, 1] scale=mx32@0`.

Strides and scale strides may be left out where they are those of a dense tensor. What no
descriptor can mean (a malformed table entry) is written as its sixteen words.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from isa.asm_expr import Lookup, integer
from isa.asm_lex import Cursor, SyntaxFault, Token, suggest
from isa.blockscale import BLOCK
from isa.descriptor import (
    MAX_RANK,
    PANEL_COLUMNS,
    PANEL_WORD_BYTES,
    WORDS,
    Descriptor,
    Space,
    contiguous,
    from_words,
)
from isa.formats import FORMATS, Format, Layout, ScaleKind

Words = NDArray[np.int64]
_Enum = TypeVar("_Enum", bound=IntEnum)

_INT64 = 1 << 63
_SCALE_STRIDE_BITS = (40, 23)  # the second shares a signed word with the first


def read_choice(cursor: Cursor, enum: type[_Enum], what: str) -> _Enum:
    """A member of an enumeration, by its name in lower case."""
    table = {member.name.lower(): member for member in enum}
    token = cursor.take()
    if token.kind != "name" or token.text not in table:
        hint = suggest(token.text, list(table)) or f": one of {', '.join(table)}"
        raise SyntaxFault(token, f"expected {what}, found {token.shown()}{hint}")
    return table[token.text]


def read_int64(cursor: Cursor, lookup: Lookup) -> int:
    """An integer expression that fits a descriptor word."""
    start = cursor.next
    value = integer(cursor, lookup)
    if not -_INT64 <= value < _INT64:
        raise SyntaxFault(start, f"{value} does not fit 64 bits")
    return value


def read_list(cursor: Cursor, lookup: Lookup) -> tuple[int, ...]:
    """`[a, b, ...]`, possibly empty."""
    cursor.expect("[")
    values: list[int] = []
    while not cursor.accept("]"):
        if values:
            cursor.expect(",")
        values.append(read_int64(cursor, lookup))
    return tuple(values)


def read_tensor_type(cursor: Cursor, lookup: Lookup) -> tuple[Format, tuple[int, ...]]:
    """`format[shape]`."""
    return read_choice(cursor, Format, "a format"), read_list(cursor, lookup)


def show_tensor_type(fmt: Format, shape: tuple[int, ...]) -> str:
    """The inverse of :func:`read_tensor_type`."""
    return f"{fmt.name.lower()}{show_list(shape)}"


def show_list(values: tuple[int, ...]) -> str:
    """The inverse of :func:`read_list`."""
    return f"[{', '.join(map(str, values))}]"


# ---- dense tensors


def dense_strides(fmt: Format, layout: Layout, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a tensor without gaps, in elements."""
    if layout is Layout.STRIDED or len(shape) != 2:
        return contiguous(shape)
    group = 8 * PANEL_WORD_BYTES // FORMATS[fmt].bits
    return (-(-shape[1] // group) * group * PANEL_COLUMNS, 1)


def dense_scale_strides(kind: ScaleKind, layout: Layout, shape: tuple[int, ...]) -> tuple[int, int]:
    """Scale strides without gaps, in bytes."""
    if kind is ScaleKind.NONE or not shape:
        return 0, 0
    blocks = -(-shape[-1] // BLOCK[kind])
    if layout is Layout.PANEL:
        return blocks * PANEL_COLUMNS, PANEL_COLUMNS
    return blocks, 1


# ---- reading


@dataclass
class _Draft:
    """The options of a descriptor as they are met."""

    strides: tuple[int, ...] | None = None
    layout: Layout = Layout.STRIDED
    scale_kind: ScaleKind = ScaleKind.NONE
    scale: int = 0
    scale_strides: tuple[int, int] | None = None
    numbers: dict[str, int] = field(default_factory=dict)


def read_descriptor(cursor: Cursor, lookup: Lookup, address: Lookup) -> Words:
    """The 16 words of a descriptor; `address` looks names up within addresses."""
    if cursor.next.kind == "name" and cursor.next.text == "words":
        return _read_words(cursor, lookup)
    space = read_choice(cursor, Space, "a memory space")
    cursor.expect(":")
    base = read_int64(cursor, address)
    start = cursor.next
    fmt, shape = read_tensor_type(cursor, lookup)
    if len(shape) > MAX_RANK:
        raise SyntaxFault(start, f"a tensor has at most {MAX_RANK} dimensions, not {len(shape)}")
    draft = _Draft()
    while not cursor.at_end():
        _read_option(cursor, lookup, address, draft, len(shape))
    return Descriptor(
        space,
        fmt,
        shape,
        dense_strides(fmt, draft.layout, shape) if draft.strides is None else draft.strides,
        base,
        draft.layout,
        draft.scale_kind,
        draft.scale,
        draft.scale_strides or dense_scale_strides(draft.scale_kind, draft.layout, shape),
        **draft.numbers,
    ).words()


def _read_words(cursor: Cursor, lookup: Lookup) -> Words:
    start = cursor.take()
    values = read_list(cursor, lookup)
    if len(values) != WORDS:
        raise SyntaxFault(start, f"a descriptor has {WORDS} words, not {len(values)}")
    cursor.expect_end()
    return np.array(values, np.int64)


def _read_option(cursor: Cursor, lookup: Lookup, address: Lookup, draft: _Draft, rank: int) -> None:
    token = cursor.take()
    word = token.text if token.kind == "name" else ""
    if word == "panel":
        draft.layout = Layout.PANEL
    elif word == "stride":
        draft.strides = read_list(cursor, lookup)
        if len(draft.strides) != rank:
            raise SyntaxFault(token, f"{rank} strides expected, {len(draft.strides)} given")
    elif word == "scale":
        cursor.expect("=")
        _read_scale(cursor, lookup, address, draft)
    elif word in ("owner", "fan", "fanstep"):
        cursor.expect("=")
        draft.numbers[word] = read_int64(cursor, lookup)
    else:
        options = "stride[], panel, scale=, owner=, fan= or fanstep="
        raise SyntaxFault(token, f"expected {options}, found {token.shown()}")


def _read_scale(cursor: Cursor, lookup: Lookup, address: Lookup, draft: _Draft) -> None:
    """`mx32@address` or `mx32@address:stride0:stride1`."""
    draft.scale_kind = read_choice(cursor, ScaleKind, "a kind of scale")
    cursor.expect("@")
    draft.scale = read_int64(cursor, address)
    if cursor.accept(":"):
        first = _read_scale_stride(cursor, lookup, 0)
        cursor.expect(":")
        draft.scale_strides = first, _read_scale_stride(cursor, lookup, 1)


def _read_scale_stride(cursor: Cursor, lookup: Lookup, which: int) -> int:
    start: Token = cursor.next
    value = integer(cursor, lookup)
    if not 0 <= value < 1 << _SCALE_STRIDE_BITS[which]:
        raise SyntaxFault(start, f"a scale stride of {value} does not fit its field")
    return value


# ---- writing


def show_descriptor(words: Words) -> str:
    """The text of 16 words, which :func:`read_descriptor` reads back to the same words."""
    try:
        descriptor = from_words(words)
        regular = bool((descriptor.words() == words).all())
    except (ValueError, OverflowError):
        regular = False
    if not regular:
        return f"words{show_list(tuple(int(word) for word in words))}"
    return " ".join(part for part in _parts(descriptor) if part)


def _parts(d: Descriptor) -> tuple[str, ...]:
    dense = d.strides == dense_strides(d.format, d.layout, d.shape)
    return (
        f"{d.space.name.lower()}:{show_address(d.base)}",
        show_tensor_type(d.format, d.shape),
        "" if dense else f"stride{show_list(d.strides)}",
        "panel" if d.layout is Layout.PANEL else "",
        _show_scale(d),
        "" if d.owner == -1 else f"owner={d.owner}",
        "" if d.fan == 1 else f"fan={d.fan}",
        "" if d.fanstep == 0 else f"fanstep={d.fanstep}",
    )


def _show_scale(d: Descriptor) -> str:
    strides = d.scale_strides
    if d.scale_kind is ScaleKind.NONE and d.scale == 0 and strides == (0, 0):
        return ""
    text = f"scale={d.scale_kind.name.lower()}@{show_address(d.scale)}"
    dense = dense_scale_strides(d.scale_kind, d.layout, d.shape)
    return text if strides == dense else f"{text}:{strides[0]}:{strides[1]}"


def show_address(value: int) -> str:
    """An address: hexadecimal from 10 on."""
    return hex(value) if abs(value) > 9 else str(value)
