"""The specification as data for other tools: docs/isa/isa.json."""

import json
from typing import Any

from isa import descriptor
from isa.codec import instruction_hash
from isa.faults import MEANING, NUM_UNITS, unit_name
from isa.formats import FORMATS, FormatInfo, Layout, ScaleKind
from isa.forms import NAMES, forms_by_key, operand_slots
from isa.spec import INSTRUCTIONS, ISA_VERSION, model
from isa.spec.model import SLOTS, Instruction

SCHEMA = 1  #: raised when the shape of this file changes


def export() -> str:
    """The whole file."""
    data = {
        "schema": SCHEMA,
        "isa": list(ISA_VERSION),
        "word_bits": model.WORD_BITS,
        "limits": _limits(),
        "slots": {
            slot.name: {"lsb": slot.lsb, "width": slot.width, "signed": slot.signed}
            for slot in SLOTS.values()
        },
        "units": {unit_name(unit): unit for unit in range(NUM_UNITS)},
        "words": {kind.value: names for kind, names in NAMES.items()},
        "spaces": {space.name: space.value for space in descriptor.Space},
        "layouts": {layout.name: layout.value for layout in Layout},
        "scale_kinds": {kind.name: kind.value for kind in ScaleKind},
        "formats": [_format(info) for info in FORMATS.values()],
        "faults": {
            fault.name: {"code": fault.value, "meaning": MEANING[fault]} for fault in MEANING
        },
        "instructions": [_instruction(entry) for entry in INSTRUCTIONS],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _limits() -> dict[str, int]:
    names = (
        "NUM_SCALARS",
        "NUM_DESCRIPTORS",
        "NO_DESCRIPTOR",
        "NUM_SEMAPHORES",
        "SEMAPHORE_MAX",
        "LOOP_DEPTH",
        "CALL_DEPTH",
        "NUM_ARGUMENTS",
    )
    return {name.lower(): getattr(model, name) for name in names}


def _format(info: FormatInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "code": info.format.value,
        "bits": info.bits,
        "exponent_bits": info.exponent_bits,
        "mantissa_bits": info.mantissa_bits,
        "bias": info.bias,
        "signed": info.signed,
        "subnormals": info.subnormals,
        "inf_code": info.inf_code,
        "nan_codes": info.nan_codes,
        "canonical_nan": info.canonical_nan,
        "max_code": info.max_code,
        "max_value": info.max_value,
        "is_float": info.is_float,
    }


def _instruction(entry: Instruction) -> dict[str, Any]:
    return {
        "mnemonic": entry.mnemonic,
        "opcode": entry.opcode,
        "unit": entry.unit.name.lower(),
        "summary": entry.summary,
        "operands": [
            {
                "name": op.name,
                "kind": op.kind.value,
                "slots": list(operand_slots(op)),
                "role": op.role,
                "optional": op.optional,
            }
            for op in entry.operands
        ],
        "flags": [
            {
                "name": flag.name,
                "lsb": flag.lsb,
                "width": flag.width,
                "choices": flag.choices,
                "role": flag.role,
            }
            for flag in entry.flags
        ],
        "forms": [
            {
                "number": form.is_number,
                "ranges": {slot: list(limits) for slot, limits in form.ranges.items()},
                "flag_values": sorted(form.flag_values),
                "used_bits": f"{form.used:#034x}",
            }
            for form in forms_by_key().values()
            if form.entry is entry
        ],
        "meaning": entry.meaning,
        "faults": list(entry.faults),
        "timing": entry.timing,
        "since": entry.since,
        "notes": entry.notes,
        "hash": instruction_hash(entry).hex(),
    }
