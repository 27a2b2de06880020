"""Protocol buffers by hand, for the few messages that a trace has once: no library is needed."""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _BYTES = 0, 1, 2


def varint(value: int) -> bytes:
    """A whole number from 0 on, seven bits a byte, the least ones first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | float | str | bytes) -> bytes:
    """A field of a message: its type follows from the value's."""
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | _FIXED64) + struct.pack("<d", value)
    data = value.encode(errors="backslashreplace") if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(data)) + data


def message(*fields: tuple[int, int | float | str | bytes]) -> bytes:
    """A message from its fields' numbers and values."""
    return b"".join(field(number, value) for number, value in fields)
