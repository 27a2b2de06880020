"""Reads safetensors checkpoints: memory-mapped, lazily, and trusting nothing in the file.

Format: https://github.com/huggingface/safetensors#format. A file is the header's length (8 bytes,
little-endian), the header (JSON: name -> dtype, shape, data_offsets) and the tensors' bytes, which
fill the rest of the file without holes or overlaps.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from compiler.config import ModelConfig, expected_tensors
from compiler.errors import CompileError
from compiler.json_input import parse_json, plain, read_json, shown

F32 = npt.NDArray[np.float32]

_MAX_HEADER: Final = 100_000_000  # bytes; the format's own limit
#: Bytes of an element of every dtype of the format.
_SIZES: Final = (
    dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1)
    | dict.fromkeys(("I16", "U16", "F16", "BF16"), 2)
    | dict.fromkeys(("I32", "U32", "F32"), 4)
    | dict.fromkeys(("I64", "U64", "F64", "C64"), 8)
)
#: How the dtypes that weights may have are viewed; BF16 as its bits.
_VIEWS: Final[dict[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
_CHUNK: Final = 1 << 20  # elements compared or checked at a time

#: Buffers that old checkpoints carry and transformers ignores: RoPE's frequencies are recomputed.
_IGNORED: Final = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", re.ASCII)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a checkpoint: a view of the mapped file."""

    name: str
    source: str  #: file it comes from, for errors
    dtype: str  #: F32, F16 or BF16
    data: npt.NDArray[Any]  #: float32, float16, or BF16's bits as uint16

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions, outermost first."""
        return self.data.shape

    def f32(self, start: int = 0, stop: int | None = None) -> F32:
        """Rows start..stop (of a vector: elements) as fp32: exact. NaN and Inf are refused."""
        part = self.data[start:stop]
        if self.dtype == "BF16":
            values: F32 = np.left_shift(part, np.uint32(16), dtype=np.uint32).view(np.float32)
        else:
            values = part.astype(np.float32)
        if not np.isfinite(values).all():
            row = start + int(np.argwhere(~np.isfinite(values))[0][0])
            raise CompileError(
                f"{self.source}: tensor {plain(self.name)}: row {row} has NaN or Inf"
            )
        return values


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int  # byte of the file
    end: int


class SafetensorsFile:
    """One mapped .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                if size < 8:
                    self._refuse(f"{size} bytes are too few for a safetensors file")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CompileError(f"{path}: {error.strerror or error}") from None
        self.entries = self._parse()

    def tensor(self, name: str) -> Tensor:
        """A view of a tensor of this file."""
        entry = self.entries[name]
        if entry.dtype not in _VIEWS:
            self._refuse(
                f"tensor {plain(name)}: dtype {entry.dtype} is not supported (F32, F16, BF16)"
            )
        view = _VIEWS[entry.dtype]
        flat = np.frombuffer(self._map, view, prod(entry.shape), entry.begin)
        return Tensor(name, str(self.path), entry.dtype, flat.reshape(entry.shape))

    def release(self) -> None:
        """Tell the system that the pages read so far need not stay in memory."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _parse(self) -> dict[str, _Entry]:
        size = len(self._map)
        length = int.from_bytes(self._map[:8], "little")
        if not 2 <= length <= min(size - 8, _MAX_HEADER):
            self._refuse(f"header length {length} does not fit the file's {size} bytes")
        header = parse_json(self._map[8 : 8 + length], f"{self.path}: header")
        header.pop("__metadata__", None)
        base = 8 + length
        entries = {name: self._entry(name, value, base) for name, value in header.items()}
        position = base
        for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != position:
                fault = "overlaps another" if entry.begin < position else "leaves a hole before it"
                self._refuse(f"tensor {plain(name)}: {fault}")
            position = entry.end
        if position != size:
            extra = size - position
            self._refuse(f"{extra} bytes follow the tensors" if extra > 0 else "file is truncated")
        return entries

    def _entry(self, name: str, value: object, base: int) -> _Entry:
        """One header entry; offsets in the file, which may still lie beyond its end."""
        where = f"tensor {plain(name)}"
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            self._refuse(f"{where}: expected dtype, shape and data_offsets")
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _SIZES:
            self._refuse(f"{where}: unknown dtype {shown(dtype)}")
        if not _naturals(shape) or len(shape) > 8:
            self._refuse(f"{where}: bad shape {shown(shape)}")
        if not _naturals(offsets) or len(offsets) != 2:
            self._refuse(f"{where}: bad data_offsets {shown(offsets)}")
        wanted = prod(shape) * _SIZES[dtype]
        if offsets[1] - offsets[0] != wanted:
            self._refuse(f"{where}: data_offsets {shown(offsets)} are not {wanted} bytes apart")
        return _Entry(dtype, tuple(shape), base + offsets[0], base + offsets[1])

    def _refuse(self, reason: str) -> NoReturn:
        raise CompileError(f"{self.path}: {reason}")


def _naturals(value: object) -> bool:
    """Whether `value` is a list of whole numbers that a file could need."""
    return isinstance(value, list) and all(
        isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 1 << 48 for x in value
    )


class Checkpoint:
    """The tensors of a model directory: model.safetensors, or the shards its index names."""

    def __init__(self, files: dict[str, SafetensorsFile], source: str) -> None:
        self._files = files  #: tensor name -> file
        self.source = source

    @classmethod
    def open(cls, directory: Path) -> Checkpoint:
        """Map the checkpoint of a model directory; reads headers only."""
        single = directory / "model.safetensors"
        index = directory / "model.safetensors.index.json"
        if single.exists():  # the one transformers prefers where both exist
            file = SafetensorsFile(single)
            return cls(dict.fromkeys(file.entries, file), str(single))
        if index.exists():
            return cls(_shards(index), str(index))
        raise CompileError(
            f"{directory}: holds neither model.safetensors nor model.safetensors.index.json"
        )

    @property
    def names(self) -> list[str]:
        """Every tensor's name."""
        return list(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's dimensions."""
        return self._files[name].entries[name].shape

    def tensor(self, name: str) -> Tensor:
        """A view of a tensor; nothing is read until its elements are."""
        if name not in self._files:
            raise CompileError(f"{self.source}: tensor {plain(name)} is missing")
        return self._files[name].tensor(name)

    def release(self) -> None:
        """Let the pages read so far go; what is read again is fetched again."""
        for file in set(self._files.values()):
            file.release()

    def check(self, config: ModelConfig) -> None:
        """Refuse a checkpoint whose tensors are not exactly those that `config` implies.

        Tolerated besides: RoPE frequency buffers (`rotary_emb.inv_freq`), and in a tied model an
        lm_head.weight that equals the embedding.
        """
        expected = expected_tensors(config)
        self._refuse_names("missing", [name for name in expected if name not in self._files])
        tied_head = "lm_head.weight" if config.tied else ""
        extra = [name for name in self._files if name not in expected and name != tied_head]
        self._refuse_names("unknown", [name for name in extra if not _IGNORED.fullmatch(name)])
        for name, shape in expected.items():
            if self.shape(name) != shape:
                raise CompileError(
                    f"{self.source}: tensor {name}: shape {list(self.shape(name))} "
                    f"is not the config's {list(shape)}"
                )
            self.tensor(name)  # refuses dtypes
        if tied_head in self._files:
            self._check_tied(tied_head)

    def _refuse_names(self, what: str, names: list[str]) -> None:
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise CompileError(f"{self.source}: tensor {plain(names[0])} is {what}{more}")

    def _check_tied(self, name: str) -> None:
        """transformers ties equal tensors only; with others the config cannot say which counts."""
        head, embedding = self.tensor(name), self.tensor("model.embed_tokens.weight")
        if not _equal(head, embedding):
            raise CompileError(
                f"{self.source}: tensor {name} differs from {embedding.name}, "
                "but config.json has tie_word_embeddings true: correct one of them"
            )


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and values."""
    if a.shape != b.shape:
        return False
    step = max(1, _CHUNK // max(1, prod(a.shape[1:])))
    starts = range(0, a.shape[0], step)
    return all(np.array_equal(a.f32(i, i + step), b.f32(i, i + step)) for i in starts)


def _shards(index: Path) -> dict[str, SafetensorsFile]:
    """Tensor name -> file, of a sharded checkpoint; index and shards must agree exactly."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CompileError(f"{index}: weight_map: missing or not an object")
    files: dict[str, SafetensorsFile] = {}
    for shard in weight_map.values():
        # Only plain names: an index must not reach outside its directory.
        if not isinstance(shard, str) or not re.fullmatch(r"[\w-][\w.-]*", shard):
            raise CompileError(f"{index}: weight_map: bad file name {shown(shard)}")
        if shard not in files:
            files[shard] = SafetensorsFile(index.parent / shard)
    for name, shard in weight_map.items():
        if name not in files[shard].entries:
            raise CompileError(f"{index.parent / shard}: tensor {plain(name)} is missing")
    for shard, file in files.items():
        for name in file.entries:
            if weight_map.get(name) != shard:
                raise CompileError(f"{file.path}: tensor {plain(name)} is not in {index.name}")
    return {name: files[shard] for name, shard in weight_map.items()}
