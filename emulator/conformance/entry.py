"""A case as a kit's manifest has it: its files with their hashes, and where its tensors lie.

entry = Entry.of(case, files)          # files: kind -> FileFact
json.dumps(entry.data())
entry = Entry.read(data, place)        # raises InputError: a manifest is anybody's file
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from emulator.conformance.case import Case, View
from emulator.errors import InputError
from isa.descriptor import MAX_RANK, Descriptor, Space
from isa.formats import Format, Layout, ScaleKind

FULL_SECONDS: Final = 1800.0  #: what a case of the full suite may take, at least
KINDS: Final = {"program": "programs/{}.bin", "expected": "expected/{}.txt",
                "vectors": "vectors/{}.bin"}  # fmt: skip
_NAME = re.compile(r"[a-z]+(/[A-Za-z0-9_+=,~@.-]*[A-Za-z0-9_+=,~@-])+")
_HASH = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")


@dataclass(frozen=True)
class FileFact:
    """A file of the kit: its place in the directory and what it must hold."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """What a kit's directory says of one case."""

    name: str
    full: bool
    seconds: float
    note: str
    covers: tuple[str, ...]
    operation: tuple[str, ...]
    views: tuple[View, ...]
    files: Mapping[str, FileFact]
    cut: bool = False

    @classmethod
    def of(cls, case: Case, files: Mapping[str, FileFact]) -> Entry:
        """The entry of a case whose files have been written."""
        seconds = max(case.seconds, FULL_SECONDS) if case.full else case.seconds
        covers = tuple(sorted(case.covers))
        return cls(
            case.name,
            case.full,
            seconds,
            case.note,
            covers,
            case.operation,
            case.views,
            files,
            case.cut,
        )

    @property
    def profile(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]

    def data(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "name": self.name,
            "full": self.full,
            "seconds": self.seconds,
            "note": self.note,
            "covers": list(self.covers),
            "operation": list(self.operation),
            **({"cut": True} if self.cut else {}),
            "tensors": [_view_data(view) for view in self.views],
            **{kind: vars(fact) for kind, fact in self.files.items()},
        }

    @classmethod
    def read(cls, data: Any, place: str) -> Entry:
        """An entry of a manifest. Raises InputError."""
        try:
            return cls._read(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{place}: {_problem(error)}; export the kit again") from None

    @classmethod
    def _read(cls, data: Any) -> Entry:
        return cls(
            _matching(_NAME, data["name"], "name"),
            bool(data["full"]),
            float(data["seconds"]),
            str(data["note"]),
            tuple(map(str, data["covers"])),
            tuple(map(str, data["operation"])),
            tuple(_view(item) for item in data["tensors"]),
            {k: _file(data[k], k, data["name"]) for k in KINDS if k in data or k != "vectors"},
            bool(data.get("cut", False)),
        )


def check_name(name: str) -> None:
    """A case's name becomes the name of files: letters, digits and a few signs."""
    if not _NAME.fullmatch(name):
        raise InputError(f"case {name!r}: a name is PROFILE/WHAT of letters, digits and _+=,~@.-")


def place_of(kind: str, name: str) -> str:
    """Where a case's file lies in the directory."""
    return KINDS[kind].format(name)


def _problem(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _matching(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r} is no {what}")
    return value


def _file(data: Any, kind: str, name: str) -> FileFact:
    """The place follows from the name: a manifest cannot lead out of its directory."""
    if data["file"] != place_of(kind, name):
        raise ValueError(f"the {kind} of {name} cannot be {data['file']!r}")
    return FileFact(data["file"], int(data["bytes"]), _matching(_HASH, data["sha256"], "hash"))


def _view_data(view: View) -> dict[str, Any]:
    d = view.descriptor
    data: dict[str, Any] = {
        "name": view.name,
        "role": "out" if view.result else "in",
        "symbol": view.symbol,
        "space": d.space.name,
        "format": d.format.name,
        "layout": d.layout.name,
        "shape": list(d.shape),
        "strides": list(d.strides),
        "offset": d.base,
    }
    if view.instruction is not None:
        data |= {"instruction": view.instruction, "operand": view.operand}
    if d.scale_kind is not ScaleKind.NONE:
        data["scale"] = {
            "kind": d.scale_kind.name,
            "offset": d.scale,
            "strides": list(d.scale_strides),
        }
    return data


def _view(data: Any) -> View:
    scale = data.get("scale") or {"kind": "NONE", "offset": 0, "strides": [0, 0]}
    row, block = map(int, scale["strides"])
    shape, strides = tuple(map(int, data["shape"])), tuple(map(int, data["strides"]))
    if len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise ValueError(f"tensor {data['name']!r} has shape {shape} and strides {strides}")
    descriptor = Descriptor(
        _named(Space, data["space"]),
        _named(Format, data["format"]),
        shape,
        strides,
        int(data["offset"]),
        _named(Layout, data["layout"]),
        _named(ScaleKind, scale["kind"]),
        int(scale["offset"]),
        (row, block),
    )
    if data["role"] not in ("in", "out"):
        raise ValueError(f"role {data['role']!r} is neither in nor out")
    instruction = data.get("instruction")
    return View(
        str(data["name"]),
        str(data["symbol"]),
        descriptor,
        data["role"] == "out",
        None if instruction is None else int(instruction),
        str(data.get("operand", "")),
    )


def _named(enum: Callable[..., T], name: str) -> T:
    member: T | None = getattr(enum, "__members__", {}).get(name)
    if member is None:
        raise ValueError(f"{name!r} is no {getattr(enum, '__name__', 'kind')}")
    return member
