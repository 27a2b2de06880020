"""What all studies' pages share: where their files are, rows, tables, markers, SVG."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from isa.errors import FileError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parent.parent
Row = dict[str, float | str]

_BLOCK = re.compile(r"(<!-- study: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_DIGITS = 7  # of figures that are kept; pages show four at most


@dataclass(frozen=True)
class Page:
    """A study: NAME.yaml, NAME.md, data/NAME.csv, img/NAME.svg, and a module that makes them."""

    name: str

    @property
    def text(self) -> Path:
        """The page."""
        return FOLDER / f"{self.name}.md"

    @property
    def data(self) -> Path:
        """The points."""
        return FOLDER / "data" / f"{self.name}.csv"

    @property
    def picture(self) -> Path:
        """The picture."""
        return FOLDER / "img" / f"{self.name}.svg"

    def module(self) -> ModuleType:
        """`tables(rows)`: by marker; `draw(rows)`: a figure."""
        return import_module(self.name.replace("-", "_"))


def pages() -> dict[str, Page]:
    """Every study that has a page."""
    found = [Page(path.stem) for path in FOLDER.glob("*.yaml")]
    return {page.name: page for page in found if page.text.exists()}


# ---- rows


def export_of(results: Path) -> bytes:
    """The good points of a directory of results: what varies, and the metrics, rounded.

    Raises FileError if there are none, or some failed.
    """
    try:
        study = json.loads((results / "study.json").read_text())
        with (results / "points.csv").open(newline="") as file:
            points = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise FileError(f"{error.filename}: is missing; run `emu explore` first") from None
    good = [point for point in points if point["status"] == "ok"]
    if not good or any(point["status"] == "error" for point in points):
        raise FileError(f"{results}: {len(good)} of {len(points)} points are good")
    names = [*study["varied"], *(metric["name"] for metric in study["metrics"])]
    axes = [study["axes"][name] for name in study["varied"]]
    good.sort(key=lambda p: [_place(p[n], v) for n, v in zip(study["varied"], axes, strict=True)])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_rounded(point[name]) for name in names] for point in good)
    return text.getvalue().encode()


def _place(value: str, values: Sequence[object]) -> int:
    """Where a value stands on its axis."""
    known = [json.dumps(each) if isinstance(each, list) else str(each) for each in values]
    return known.index(value)


def _rounded(value: str) -> str:
    number = _number(value)
    return value if isinstance(number, str) else f"{number:.{_DIGITS}g}"


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def read(path: Path) -> list[Row]:
    """Rows of the data, numbers as numbers."""
    with path.open(newline="") as file:
        return [
            {name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)
        ]


def some(rows: Iterable[Row], **values: object) -> list[Row]:
    """The rows with these values; a dot in a name is `__`."""
    wanted = {name.replace("__", "."): value for name, value in values.items()}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def one(rows: Iterable[Row], **values: object) -> Row:
    """The only row with these values. Raises ValueError."""
    (row,) = some(rows, **values)
    return row


def number(row: Row, name: str) -> float:
    """A figure of a row."""
    value = row[name]
    assert isinstance(value, float), name
    return value


def values(rows: Iterable[Row], name: str) -> list[float]:
    """The different values of a column, in their order."""
    return list(dict.fromkeys(number(row, name) for row in rows))


# ---- pages


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def quoted(text: str, **numbers: object) -> str:
    """A sentence to be quoted, with its numbers; lines may break anywhere."""
    return "> " + " ".join(text.split()).format(**numbers)


def page_with(text: str, tables: dict[str, str]) -> str:
    """A page with its places filled. Raises FileError if it has others than the tables."""
    places = [match[2] for match in _BLOCK.finditer(text)]
    if sorted(places) != sorted(tables):
        raise FileError(f"the page has places {places}, the study has {list(tables)}")
    return _BLOCK.sub(lambda match: f"{match[1]}{tables[match[2]]}\n{match[4]}", text)


def kept(page: Page) -> str:
    """What was written, for people."""
    return ", ".join(str(path.relative_to(FOLDER)) for path in (page.data, page.picture))


# ---- pictures


def svg(draw: Callable[[], Figure]) -> bytes:
    """A figure in the look of the bench's pictures: readable in light and dark."""
    import matplotlib

    from emulator.bench.plots.style import RC, finished

    room = io.BytesIO()
    with matplotlib.rc_context(RC):
        draw().savefig(room, format="svg", metadata={"Date": None})
    return finished(room.getvalue().decode()).encode()
