"""Shares texts among points: a list of them, and numbers for those of it."""

from __future__ import annotations

import json
from typing import Any


class Names:
    """Gives each text, or other plain data, a number: its place in `items`."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, item: Any) -> int:
        """The place of an item, which is added if it is new."""
        text = json.dumps(item, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.items)
            self.items.append(item)
        return self._places[text]


def short(value: float | None) -> float | int | None:
    """A number of six digits, so that reports are small; a whole one stays whole."""
    if value is None or isinstance(value, int):
        return value
    found = float(f"{value:.6g}")
    return int(found) if found.is_integer() and abs(found) < 2**53 else found
