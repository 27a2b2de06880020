"""Mutations: of bytes, of lines and tokens of text, of JSON values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from fuzz.work import MOST_INPUT

_EDGES = (0, 1, 2, 7, 8, 15, 16, 31, 63, 127, 128, 255, 4095, 4096, 65535, 1 << 31, (1 << 32) - 1,
          1 << 40, (1 << 48) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
#: Text that means something to somebody.
TOKENS = (
    "0", "-1", "1", "65536", "1e999", "-1e-400", "0x" + "f" * 40, "0x" + "f" * 6000, "9" * 400,
    "9" * 5000, "1.5", "nan", "inf", "-inf", "true", "null", "~", "", " ", "\t", "\n", "\r", "\0",
    "\x0b", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\u0661", "é", "\U0001f600", '"', "'", "\\",
    "[", "]", "{", "}", "(", ")", ",", ":", ";", "#", "&a", "*a", "<<", "!!int", "!!python/name:os",
    "|", ">", "%", "@", "---", "- ", "? ", "/", "..", "1:30:30", "0o17", "0b1", "1_0", "_",
)  # fmt: skip


def rng_of(kind: str, seed: int) -> Random:
    """The generator of one item."""
    return Random(f"{kind} {seed}")


# ---- bytes


def mutate_bytes(rng: Random, data: bytes, other: bytes = b"") -> bytes:
    """A few mutations, one upon the other."""
    out = bytearray(data)
    for _ in range(1 + int(rng.expovariate(1.0))):
        rng.choice(_BYTE_MUTATIONS)(rng, out, other or data)
    return bytes(out[:MOST_INPUT])


def _place(rng: Random, out: bytearray) -> int:
    return rng.randrange(len(out) + 1)


def _flip(rng: Random, out: bytearray, other: bytes) -> None:
    if out:
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _set(rng: Random, out: bytearray, other: bytes) -> None:
    if out:
        out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x0A, 0x20, 0x22))


def _number(rng: Random, out: bytearray, other: bytes) -> None:
    size = rng.choice((1, 2, 4, 8))
    place = _place(rng, out) // size * size
    value = rng.choice(_EDGES) & ((1 << 8 * size) - 1)
    out[place : place + size] = value.to_bytes(size, "little")


def _cut(rng: Random, out: bytearray, other: bytes) -> None:
    del out[_place(rng, out) :]


def _remove(rng: Random, out: bytearray, other: bytes) -> None:
    start = _place(rng, out)
    del out[start : start + 1 + int(rng.expovariate(0.1))]


def _repeat(rng: Random, out: bytearray, other: bytes) -> None:
    start = _place(rng, out)
    piece = out[start : start + 1 + int(rng.expovariate(0.1))]
    out[start:start] = piece * rng.choice((1, 1, 2, 30))


def _insert(rng: Random, out: bytearray, other: bytes) -> None:
    place = _place(rng, out)
    out[place:place] = rng.randbytes(1 + int(rng.expovariate(0.3)))


def _splice(rng: Random, out: bytearray, other: bytes) -> None:
    size = rng.randrange(1, 200)
    source, place = rng.randrange(len(other) + 1), _place(rng, out)
    out[place : place + size * rng.randrange(2)] = other[source : source + size]


_BYTE_MUTATIONS: Sequence[Callable[[Random, bytearray, bytes], None]] = (
    _flip, _flip, _flip, _set, _number, _number, _cut, _remove, _repeat, _insert, _splice,
)  # fmt: skip

# ---- text


def mutate_text(rng: Random, text: str, words: Sequence[str], split: re.Pattern[str]) -> bytes:
    """Lines and tokens moved, lost, repeated and replaced; now and then bytes as well."""
    lines = text.split("\n")
    for _ in range(1 + int(rng.expovariate(0.8))):
        row = rng.randrange(len(lines)) if lines else 0
        if rng.random() < 0.25 or not lines:
            _mutate_lines(rng, lines, row)
        else:
            lines[row] = _mutate_line(rng, lines[row], words, split)
    data = "\n".join(lines).encode(errors="surrogateescape")
    return mutate_bytes(rng, data) if rng.random() < 0.15 else data[:MOST_INPUT]


def _mutate_lines(rng: Random, lines: list[str], row: int) -> None:
    how = rng.randrange(4)
    if not lines or how == 0:
        lines.insert(row, rng.choice(TOKENS) * rng.choice((1, 1, 3)))
    elif how == 1:
        del lines[row]
    elif how == 2:
        lines.insert(rng.randrange(len(lines) + 1), lines[row])
    else:
        lines.insert(rng.randrange(len(lines)), lines.pop(row))


def _mutate_line(rng: Random, line: str, words: Sequence[str], split: re.Pattern[str]) -> str:
    tokens = split.findall(line) or [""]
    place, how = rng.randrange(len(tokens)), rng.randrange(6)
    if how == 0:
        del tokens[place]
    elif how == 1:
        tokens.insert(place, rng.choice(tokens) * rng.choice((1, 1, 1, 2000)))
    elif how == 2:
        tokens[place] = rng.choice(TOKENS)
    elif how == 3:
        tokens.insert(place, rng.choice(TOKENS) * rng.choice((1, 1, 1, 500)))
    elif how == 4:
        tokens[place] = str(rng.choice((1, -1)) * rng.choice(_EDGES))
    else:
        tokens[place] = rng.choice(words)
    return "".join(tokens)


# ---- JSON


def mutate_json(rng: Random, value: Any, keys: Sequence[str]) -> bytes:
    """A JSON text: values of a copy replaced, removed and added; now and then bytes as well."""
    copy = json.loads(json.dumps(value))
    for _ in range(1 + int(rng.expovariate(1.0))):
        copy = _mutate_value(rng, copy, keys)
    text = json.dumps(copy)
    if rng.random() < 0.1:  # a key twice
        text = text.replace("{", '{"' + rng.choice(keys) + '": 1, ', 1)
    data = text.encode()
    return mutate_bytes(rng, data) if rng.random() < 0.2 else data[:MOST_INPUT]


def _mutate_value(rng: Random, value: Any, keys: Sequence[str]) -> Any:
    """The value with one change somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.1:
            del value[key]
        elif how < 0.2:
            value[rng.choice(keys)] = value.pop(key) if rng.random() < 0.5 else _strange(rng)
        else:
            value[key] = _mutate_value(rng, value[key], keys)
        return value
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        if rng.random() < 0.2:
            value.insert(index, _strange(rng))
        else:
            value[index] = _mutate_value(rng, value[index], keys)
        return value
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 2, 1 << 20, -value, value))
    return _strange(rng)


def _strange(rng: Random) -> Any:
    how = rng.randrange(6)
    if how == 0:
        return rng.choice((None, True, False, [], {}, [[]], {"a": {}}, [None, 1], ""))
    if how == 1:
        return rng.choice((1, -1)) * rng.choice(_EDGES)
    if how == 2:
        return rng.choice((0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"), 10**30, 10**400))
    if how == 3:
        return rng.choice(TOKENS)
    if how == 4:
        return rng.choice(("x" * 300, "a\nb", "\ud800", "é", "../x", "constructor", "0"))
    nested: Any = 1
    for _ in range(rng.choice((2, 60, 400))):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    return nested
