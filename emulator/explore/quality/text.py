"""The shipped model and the held-out text, which lie with it in programs/model of a clone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from emulator.explore.code_version import ROOT
from emulator.explore.errors import StudyError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FOLDER: Final = ROOT / "programs" / "model"
NAME: Final = "tessera-tiny"
ALL: Final = "all"

Window = list[int]


class HeldOut(Protocol):
    """What is needed of programs/model/held_out.py."""

    CONTEXT: int  #: predictions of a window at most

    def held_out_windows(self, tokenizer: Tokenizer) -> list[Window]:
        """Every window."""
        ...

    def mean_and_error(self, values: Sequence[float]) -> tuple[float, float]:
        """The mean, and its standard error."""
        ...


def checkpoint() -> Path:
    """The shipped model's directory. Raises StudyError where programs/ is not."""
    for needed in (FOLDER / NAME / "model.safetensors", FOLDER / "held_out.py"):
        if not needed.is_file():
            raise StudyError(
                f"quality metrics measure the model in programs/model of Tessera's repository, and "
                f"{needed} is not there; run in a clone, or leave these metrics out"
            )
    return FOLDER / NAME


@cache
def held_out() -> HeldOut:
    """programs/model/held_out.py, which is no part of the package. Raises StudyError."""
    checkpoint()
    with _importable(FOLDER):
        return cast(HeldOut, import_module("held_out"))


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """While a folder's scripts can be imported, as they import one another."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@cache
def _every_window() -> list[Window]:
    from tokenizers import Tokenizer

    return held_out().held_out_windows(Tokenizer.from_file(str(checkpoint() / "tokenizer.json")))


def windows(count: int | str) -> list[Window]:
    """`count` windows, evenly spread over the documents, or `all`. Raises StudyError."""
    every = _every_window()
    if count == ALL or int(count) >= len(every):
        return every
    return [every[index * len(every) // int(count)] for index in range(int(count))]


def predictions_of(chosen: Sequence[Window]) -> int:
    """Tokens that are predicted: all of a window but its first."""
    return sum(len(window) - 1 for window in chosen)


@cache
def text_digest(count: int | str) -> str:
    """A hash of the tokens of these windows."""
    return blake2b(repr(windows(count)).encode(), digest_size=16).hexdigest()


@cache
def checkpoint_digest() -> str:
    """A hash of the model's files."""
    digest = blake2b(digest_size=16)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        digest.update((checkpoint() / name).read_bytes())
    return digest.hexdigest()
