"""What an instruction word covers: its coverage points, by name."""

from __future__ import annotations

from collections.abc import Mapping

from isa.codec import Decoded, decode
from isa.descriptor import Descriptor
from isa.formats import Layout, ScaleKind
from isa.spec.model import NO_DESCRIPTOR, Instruction, Kind


def points_of_word(
    low: int, high: int, descriptors: Mapping[str, Descriptor] | None = None
) -> set[str]:
    """The points of one instruction, with the operands' descriptors if they are known."""
    decoded = decode(low, high)
    entry = decoded.entry
    found = {f"instruction:{entry.mnemonic}"}
    if entry.flags:
        found |= modifier_points(entry, decoded.fields["flags"])
    found |= _operand_points(decoded)
    for name, d in (descriptors or {}).items():
        found.add(format_point(entry.mnemonic, name, d))
    return found


def modifier_points(entry: Instruction, flags: int) -> set[str]:
    """Each modifier by itself, and all of them together."""
    words = []
    for flag in entry.flags:
        value = flags >> flag.lsb & (1 << flag.width) - 1
        names = {number: name for name, number in flag.choices.items()}
        words.append(names.get(value, "") if flag.choices else "scalar" if value else "")
    single = {f"modifier:{entry.mnemonic}.{word}".rstrip(".") for word in words}
    together = ".".join(word for word in words if word)
    return single | {f"modifier:{entry.mnemonic}.{together}".rstrip(".")}


def _operand_points(decoded: Decoded) -> set[str]:
    found = set()
    for operand in decoded.entry.operands:
        if operand.optional and operand.kind is Kind.D:
            there = decoded.fields[operand.slot] != NO_DESCRIPTOR
            name = f"{decoded.entry.mnemonic}.{operand.name}"
            found.add(f"operand:{name}:{'yes' if there else 'no'}")
    return found


def format_point(mnemonic: str, operand: str, d: Descriptor) -> str:
    """The point of an operand's format, scales and layout."""
    scale = "" if d.scale_kind is ScaleKind.NONE else f".{d.scale_kind.name}"
    panel = ".PANEL" if d.layout is Layout.PANEL else ""
    return f"format:{mnemonic}.{operand}:{d.format.name}{scale}{panel}"
