"""The sets there are, by name; imported when they are used."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from pathlib import Path

from emulator.errors import InputError
from emulator.validate.case import Set

#: Name -> "module:function"; the function takes the directory of `--data`, or None.
SETS = {
    "tpu-v3-gemm": "emulator.validate.sets.tpu_v3:gemms",
    "tpu-v3-vector": "emulator.validate.sets.tpu_v3:vectors",
    "tpu-v3-network": "emulator.validate.sets.tpu_v3:networks",
    "ironwood-copy": "emulator.validate.sets.ironwood:copies",
    "ironwood-gemm": "emulator.validate.sets.ironwood:gemms",
    "hbm3-channel": "emulator.validate.sets.memory:channel",
    "noc-packets": "emulator.validate.sets.network:packets",
    "gemmini-rtl": "emulator.validate.sets.gemmini:layers",
}


@cache
def load(name: str, data: Path | None = None) -> Set:
    """A set by name. Raises MissingData if its measurements are not here."""
    module, function = SETS[name].split(":")
    found: Set = getattr(import_module(module), function)(data)
    return found


def chosen(names: tuple[str, ...]) -> list[str]:
    """The names asked for; all if none is. Raises InputError for one there is not."""
    for name in names:
        if name not in SETS:
            near = difflib.get_close_matches(name, SETS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SETS)}"
            raise InputError(f"--set: no set {name!r}; {hint}")
    return [name for name in SETS if not names or name in names]
