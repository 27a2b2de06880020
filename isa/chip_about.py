"""What a chip's file says about itself: where its numbers come from, and what they cannot say.

The optional key ``about`` of a chip's YAML. No program and no cycle depends on it; `emu chips`
shows it, and the study of energy and cost reads the figures that the architecture does not have
(power, die area, process). Everything in it is checked as strictly as the chip is.

    about:
      summary: one sentence
      node: n3                     # process, by its name in the technology file
      weights: hbm                 # where the weights lie: hbm, sram or hardwired
      sources:
        label: {citation: who, where, date: "2026-01-26"}
      figures:                     # what sources state of the real part
        power_w: {value: 750, kind: measured, source: label}
      conflicts: []                # where sources disagree
      limits: [what this description cannot represent]
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from isa.schema import Length, Place, Range, build, show

#: How a number came to be: stated by who made or measured it; computed from such; a guess.
KINDS = ("measured", "derived", "estimate")
#: Where a chip keeps the weights.
WEIGHTS = ("hbm", "sram", "hardwired")
#: Figures of real parts, each with its unit.
FIGURES = {
    "peak_fp4": "FLOP/s, dense, FP4 x FP4",
    "peak_fp8": "FLOP/s, dense, FP8 x FP8",
    "peak_bf16": "FLOP/s, dense, BF16 x BF16",
    "sram_bytes": "bytes of SRAM that the source counts",
    "sram_bytes_per_second": "bytes/s of all SRAM",
    "hbm_bytes": "bytes",
    "hbm_bytes_per_second": "bytes/s",
    "scale_up_bytes_per_second": "bytes/s of all links, each way",
    "power_w": "W, design power of the part",
    "die_mm2": "mm2 of all compute dies together",
    "dies": "compute dies in the package",
    "share": "share of a package and its server that this chip is; 1 if absent",
    "resident_parameters": "parameters that the wiring holds",
    "tokens_per_second": "tokens/s of one user, as the source states",
}
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_TEXT = 600  # bytes of a sentence


@dataclass(frozen=True)
class Source:
    """Who stated something, where and when (year, month or day)."""

    citation: Annotated[str, Length(_TEXT)]
    date: Annotated[str, Length(10)]


@dataclass(frozen=True)
class Figure:
    """A figure of the real part, in the unit of :data:`FIGURES`."""

    value: Annotated[float, Range(0, 1e30)]
    kind: Annotated[str, Length(10)]
    source: Annotated[str, Length(40)]  # a label of `sources`


@dataclass(frozen=True)
class _Words:
    """The plain texts of an `about`."""

    summary: Annotated[str, Length(_TEXT)]
    node: Annotated[str, Length(40)]
    weights: Annotated[str, Length(10)]


@dataclass(frozen=True)
class About:
    """Where a chip's numbers come from, and what its description cannot represent."""

    summary: str
    node: str
    weights: str
    sources: Mapping[str, Source] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def figure(self, name: str) -> float | None:
        """A figure's value; None if no source gives it."""
        found = self.figures.get(name)
        return None if found is None else found.value


_LISTS = ("conflicts", "limits")
_MAPS = ("sources", "figures")


def read_about(data: object, place: Place) -> About | None:
    """The `about` of a chip's plain data, checked; None if there is none.

    Raises ChipError naming the key at fault.
    """
    if not isinstance(data, dict) or "about" not in data:
        return None
    place = place.key("about")
    about = _mapping(data["about"], place)
    words = build(
        _Words,
        {key: value for key, value in about.items() if key not in (*_LISTS, *_MAPS)},
        place,
    )
    _one_of(words.weights, WEIGHTS, place.key("weights"))
    for key in (*_LISTS, *_MAPS):
        if key not in about:
            raise place.key(key).fail("missing key")
    sources = _sources(_mapping(about["sources"], place.key("sources")), place.key("sources"))
    figures = _mapping(about["figures"], place.key("figures"))
    return About(
        **vars(words),
        sources=sources,
        figures=_figures(figures, sources, place.key("figures")),
        conflicts=_sentences(about["conflicts"], place.key("conflicts")),
        limits=_sentences(about["limits"], place.key("limits")),
    )


def _mapping(value: object, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise place.fail(f"expected a mapping, got {show(value)}")
    return value


def _one_of(value: str, known: tuple[str, ...], place: Place) -> None:
    if value not in known:
        raise place.fail(f"expected one of {', '.join(known)}, got {show(value)}")


def _sources(data: dict[str, Any], place: Place) -> dict[str, Source]:
    found = {}
    for label, value in data.items():
        source = build(Source, value, place.key(label))
        if not _DATE.fullmatch(source.date):
            raise (
                place.key(label)
                .key("date")
                .fail(f'expected "YYYY", "YYYY-MM" or "YYYY-MM-DD", got {show(source.date)}')
            )
        found[label] = source
    return found


def _figures(
    data: dict[str, Any], sources: Mapping[str, Source], place: Place
) -> dict[str, Figure]:
    found = {}
    for name, value in data.items():
        here = place.key(name)
        if name not in FIGURES:
            raise here.fail(f"unknown figure; known are {', '.join(FIGURES)}")
        figure = build(Figure, value, here)
        _one_of(figure.kind, KINDS, here.key("kind"))
        if figure.source not in sources:
            raise here.key("source").fail(
                f"no such label in about.sources: {show(figure.source)}; add it there"
            )
        found[name] = figure
    return found


def _sentences(value: object, place: Place) -> tuple[str, ...]:
    expected = f"expected a list of sentences of at most {_TEXT} bytes"
    if not isinstance(value, list):
        raise place.fail(f"{expected}, got {show(value)}")
    for item in value:
        if not isinstance(item, str) or not item.isprintable() or len(item.encode()) > _TEXT:
            raise place.fail(f"{expected}, got {show(item)}")
    return tuple(value)
