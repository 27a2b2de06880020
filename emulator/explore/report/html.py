"""HTML of texts that may be anything: what is not markup of ours is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Markup(str):
    """A text that is markup already."""


def text(value: object) -> Markup:
    """A text as markup."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """An element; attributes that are None are left out, `class_` is `class`, `_` is `-`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{joined(content)}</{name}>")


def joined(parts: Iterable[object]) -> Markup:
    """Several parts as one."""
    return Markup("".join(text(part) for part in parts))


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[bool]
) -> Markup:
    """A table; `numbers` says which columns are right-aligned."""
    sides = ["number" if each else None for each in numbers]
    heads = joined(
        tag("th", name, scope="col", class_=side) for name, side in zip(head, sides, strict=True)
    )
    body = joined(
        tag("tr", *(tag("td", cell, class_=side) for cell, side in zip(row, sides, strict=True)))
        for row in rows
    )
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", heads)),
                tag("tbody", body))  # fmt: skip
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def data_block(name: str, data: Any) -> Markup:
    """Data for scripts. No text in them can end the block: `<`, `>` and `&` are escaped."""
    found = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        found = found.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(f'<script type="application/json" id="{escape(name)}">{found}</script>')


def script_hash(source: str) -> str:
    """What a Content Security Policy calls a script that may run."""
    digest = hashlib.sha256(source.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
