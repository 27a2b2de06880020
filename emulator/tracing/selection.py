"""What of a run is traced: ranges given as FIRST:COUNT, either part optional."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emulator.errors import InputError

_LARGEST = 1 << 62


@dataclass(frozen=True)
class Range:
    """Whole numbers first..first+count-1."""

    first: int = 0
    count: int = _LARGEST

    def __contains__(self, number: int) -> bool:
        """Whether a number is one of them."""
        return self.first <= number < self.first + self.count

    def within(self, total: int) -> tuple[int, int]:
        """The first, and one past the last, of those below `total`."""
        return min(self.first, total), min(self.first + self.count, total)


def parse_range(option: str, text: str) -> Range:
    """The range of `3` (that one), `3:2`, `3:` or `:2`. Raises InputError."""
    found = re.fullmatch(r"([0-9]{0,15})(?:(:)([0-9]{0,15}))?", text)
    if found is None or not text.strip(":"):
        raise InputError(f"{option}: expected FIRST:COUNT, got {text[:40]!r}")
    first, colon, count = found.groups()
    size = int(count) if count else _LARGEST if colon else 1
    if size == 0:
        raise InputError(f"{option}: {text}: there is nothing in it")
    return Range(int(first or 0), size)
