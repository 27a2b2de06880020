"""Technology files: what ships, what is refused, and with which line."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.explore.economics.technology import (
    TECHNOLOGIES,
    Technology,
    known_technologies,
    load_technology,
)
from emulator.explore.economics.values import EconomicsError, Value, weakest
from isa.errors import ChipError

TEXT = (TECHNOLOGIES / "public-2026.yaml").read_text()
LINES = TEXT.splitlines()


def sourced(table: Any) -> Iterator[Value]:
    """Every number of a technology."""
    parts = table.values() if isinstance(table, dict) else (
        getattr(table, field.name) for field in fields(table)
    )  # fmt: skip
    for part in parts:
        if isinstance(part, Value):
            yield part
        elif is_dataclass(part) or isinstance(part, dict):
            yield from sourced(part)


def line_of(key: str) -> int:
    """The line of the file on which a key stands first."""
    return next(n for n, line in enumerate(LINES, 1) if line.strip().startswith(f"{key}:"))


def refuse(tmp_path: Path, text: str) -> str:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ChipError) as caught:
        load_technology(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", known_technologies())
def test_every_number_has_a_source_and_a_kind(name: str) -> None:
    numbers = list(sourced(load_technology(name)))
    assert len(numbers) > 50
    for number in numbers:
        assert len(number.source) > 8, number
        assert number.kind in ("measured", "derived", "estimate")


def test_what_was_recalled_is_an_estimate() -> None:
    for number in sourced(load_technology()):
        assert number.kind == "estimate" or "as recalled" not in number.source, number


@pytest.mark.parametrize(
    ("old", "new", "key", "expected"),
    [
        ("  wire: {value: 0.64,", "  wire: {value: x,", "wire",
         "energy.wire.value: expected a number from 0 to 1e+30, got 'x'"),
        ("unit: pJ/byte/mm", "unit: pJ/bit/mm", "wire",
         "energy.wire.unit: expected pJ/byte/mm, got 'pJ/bit/mm'; convert it"),
        ("  wire: {value: 0.64, unit: pJ/byte/mm,", "  wire: {value: 0.64,", "wire",
         "energy.wire.unit: missing key"),
        ("  wire: {value: 0.64,", "  wires: {value: 0.64,", "wire",
         "energy.wires: unknown key; did you mean `energy.wire`?"),
        ("  pue: {value: 1.09,", "  pue: {value: 0.9,", "pue",
         "operation.pue.value: expected 1 to 10 ratio, got 0.9"),
        ("  reticle: {value: 858, unit: mm2, kind: measured,",
         "  reticle: {value: 858, unit: mm2, kind: known,", "reticle",
         "area.reticle.kind: expected one of measured, derived, estimate, got 'known'"),
        ('date: "2020",\n    source: "26 mm', 'date: "soon",\n    source: "26 mm', "reticle",
         'area.reticle.date: expected "YYYY", "YYYY-MM" or "YYYY-MM-DD", got \'soon\''),
        ("yield_model: negative_binomial", "yield_model: hope", "yield_model",
         "cost.yield_model: expected one of poisson, murphy, seeds, negative_binomial, got 'hope'"),
        ("base_node: n7", "base_node: n6", "base_node",
         "base_node: no node 'n6' below `nodes`; there are n16, n7, n5, n3"),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line_with_file_line_and_remedy(
    tmp_path: Path, old: str, new: str, key: str, expected: str
) -> None:
    assert TEXT.count(old) == 1
    message = refuse(tmp_path, TEXT.replace(old, new))
    where, _, what = message.partition(": ")[2].partition(": ")
    number = int(where.removeprefix("line "))
    assert message.startswith("t.yaml: line ")
    assert abs(number - line_of(key)) <= 1, message  # its date is on the line below
    assert what == expected or what.startswith(expected)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    text = TEXT[: TEXT.index("nodes:\n")]
    assert refuse(tmp_path, text) == "t.yaml: nodes: missing key"


def test_the_base_node_is_one(tmp_path: Path) -> None:
    message = refuse(tmp_path, TEXT.replace("base_node: n7", "base_node: n5"))
    assert message.endswith("nodes.n5.dynamic: expected 1: all others are relative to this node")


@pytest.mark.parametrize("text", ["", "7", "- a", "name: 1", "[" * 2000])
def test_files_that_are_no_technologies(tmp_path: Path, text: str) -> None:
    assert refuse(tmp_path, text).startswith("t.yaml: ")


def test_unknown_names() -> None:
    with pytest.raises(ChipError, match=r"^tomorrow: unknown technology; known are public-2026"):
        load_technology("tomorrow")
    with pytest.raises(ChipError, match=r"no/t\.yaml: cannot be read: No such file"):
        load_technology("no/t.yaml")
    with pytest.raises(EconomicsError, match="no node 'n2'; there are n16, n7, n5, n3"):
        load_technology().node("n2")


def test_a_variation_says_that_it_is_one() -> None:
    base = load_technology()
    changed = base.with_(**{"cost.hbm": 30, "cost.yield_model": "poisson"})
    assert isinstance(changed, Technology)
    assert (changed.cost.hbm.value, changed.cost.hbm.kind) == (30, "estimate")
    assert changed.cost.hbm.source == "changed by the caller"
    assert changed.cost.yield_model == "poisson"
    assert base.cost.hbm.value == 15.1
    with pytest.raises(ChipError, match=r"cost\.hbn: unknown key"):
        base.with_(**{"cost.hbn": 1})
    with pytest.raises(ChipError, match=r"cost\.margin\.value: expected 0 to 0\.99 ratio, got 1"):
        base.with_(**{"cost.margin": 1})


def test_the_weakest_kind_wins() -> None:
    assert weakest("measured") == "measured"
    assert weakest("measured", "measured") == "derived"
    assert weakest("measured", "derived", "estimate") == "estimate"
