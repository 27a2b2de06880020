"""Pictures and tables of fixed JSON: they are SVG, the same each time, and name what they show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from emulator.bench.plots import labels, markdown, roofline, source
from emulator.bench.plots.bars import beyond
from emulator.bench.rows import BenchError
from emulator.jit_key import ROOT
from tests.cli_runs import emu

MACHINE = {
    "cpu": "Some CPU",
    "cores": 2,
    "isa": ["avx2"],
    "caches": {"L2": 1 << 20},
    "memory_bytes": 1 << 34,
    "load": 0.1,
    "python": "3",
    "numpy": "2",
    "numba": "0",
    "llvm": "20",
}


def row(name: str, value: float | None, unit: str = "GMAC/s", **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "yardstick": None, "ratio": None} | more


def held(ratio: float, of: str, bar: str = ">= 0.7", verdict: str = "met") -> dict[str, Any]:
    return {"yardstick": 100.0, "ratio": ratio, "of": of, "bar": bar, "verdict": verdict}


def work(operations: float, moved: float, threads: int = 1) -> dict[str, Any]:
    return {"operations": operations, "bytes": moved, "threads": threads}


BENCH = {
    "schema": 1,
    "machine": MACHINE,
    "rows": [
        row("fma_peak", 118.0),
        row("dot_peak", 470.0),
        row("read_1", 38.0, "GB/s"),
        row("read_2", 40.0, "GB/s"),
        row("gemm_fp8", 91.0, **held(0.77, "fma_peak"), **work(1e9, 1e7), note="a | note"),
        row("gemm_mxfp4", 251.0, **held(0.54, "dot_peak", ">= 0.45"), **work(1e9, 6e6)),
        row("gemm_fp8_avx2", 44.0, **held(0.75, "fma_peak of AVX2"), **work(1e9, 1e7)),
        row("gemv_mxfp4", 29.0, "GB/s", **held(0.74, "x"), **work(2e8, 1e8, 2)),
        row("gemv_mxfp4_m4", 13.0, "GB/s", **work(8e8, 1e8, 2)),
        row("vadd_fp32", 31.0, "GB/s", **held(0.84, "x"), **work(1e6, 1.2e7)),
        row("vtopk_fp32", 2.7, "GB/s", **held(0.07, "x", verdict="missed"), **work(1e6, 4e6)),
        row("start_help", 0.05, "s", **held(0.25, "a fixed time", "<= 1")),
        row("timing_70b", 1.46, "s", **held(0.73, "a fixed time", "<= 1")),
        row("whole_model_run", None, "s"),
    ],
}


def _axis(name: str, x: str, *quantities: str) -> dict[str, Any]:
    points = [
        {"x": v, "steps": 8, "prefill": v / 1e3, "decode": v / 1e2, "wall": v, "memory_bytes": 2e8}
        for v in (10, 100, 1000)
    ]
    fit = {"expected": "linear", "within": True, "start": 0.0, "slope": 1.0, "worst": 0.01}
    growth = [{"quantity": q, "exponent": 1.0, "end": 1.01} | fit for q in (*quantities, "memory")]
    return {"name": name, "x": x, "what": "something", "points": points, "growth": growth}


GROWTH = {
    "schema": 1,
    "kind": "growth",
    "machine": MACHINE,
    "complete": True,
    "axes": [
        _axis("model", "parameters", "run"),
        _axis("timing", "parameters", "run"),
        _axis("context", "positions", "prefill", "decode step"),
        _axis("tokens", "tokens generated", "run"),
        _axis("new", "something new", "run"),
    ],
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, content in (("bench", BENCH), ("growth", GROWTH)):
        found[name] = tmp_path / f"{name}.json"
        found[name].write_text(json.dumps(content))
    return found


def texts(svg: Path) -> str:
    """All text of a picture, which has to be SVG."""
    root = ElementTree.fromstring(svg.read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return " | ".join(text for text in root.itertext() if text.strip())


# ---- pictures


@pytest.mark.parametrize(
    ("kind", "picture", "expected"),
    [
        ("bench", "roofline", ["77% of the FMA peak and 54% of the byte-dot", "fp8: 77%"]),
        ("bench", "roofline", ["mxfp4, M = 4", "vtopk_fp32: 7%", "reading memory: 38 GB/s"]),
        ("bench", "bars", ["7 of 8 rows", "timing_70b", "1.46 s"]),
        ("growth", "growth", ["Memory from 10 to 1,000 tokens: 200 to 200 MB", "prefill"]),
    ],
)
def test_pictures(
    files: dict[str, Path], tmp_path: Path, kind: str, picture: str, expected: list[str]
) -> None:
    svg = tmp_path / "picture.svg"
    done = emu("bench", "plot", files[kind], "-o", svg, "--picture", picture)
    assert (done.status, done.err, done.out) == (0, "", "")
    found = texts(svg)
    assert all(text in found for text in expected), found


def test_a_picture_is_the_same_each_time_and_dark_where_the_reader_is(
    files: dict[str, Path], tmp_path: Path
) -> None:
    one, two = tmp_path / "one.svg", tmp_path / "two.svg"
    for svg in (one, two):
        assert emu("bench", "plot", files["bench"], "-o", svg).status == 0
    content = one.read_text()
    assert content == two.read_text()
    assert "prefers-color-scheme: dark" in content and "<dc:date>" not in content


def test_other_kinds_of_file(files: dict[str, Path], tmp_path: Path) -> None:
    for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        picture = tmp_path / f"picture.{suffix}"
        assert emu("bench", "plot", files["growth"], "-o", picture).status == 0
        assert picture.read_bytes().startswith(magic)


@pytest.mark.parametrize("picture", ["roofline", "bars"])
@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("fma_peak", 100.0)],
        BENCH["rows"][-2:],
        [row("gemm", 1e5, **work(1, 1)), row("gemm_$x^", 1e-5, **work(1, 1e9, 7))],
    ],
)
def test_any_rows_can_be_drawn(tmp_path: Path, picture: str, rows: list[Any]) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"schema": 1, "rows": rows}))
    svg = tmp_path / "p.svg"
    assert emu("bench", "plot", file, "-o", svg, "--picture", picture).status == 0
    texts(svg)


def test_growth_of_nothing_can_be_drawn(tmp_path: Path) -> None:
    file = tmp_path / "growth.json"
    whole = GROWTH["axes"][3]
    for axes in ([], [whole | {"points": []}], [whole | {"points": whole["points"][:1]}]):
        file.write_text(json.dumps({"schema": 1, "axes": axes}))
        assert emu("bench", "plot", file, "-o", tmp_path / "p.svg").status == 0
        assert emu("bench", "plot", file).status == 0


def test_spots_and_roofs() -> None:
    spots = {spot.name: spot for spot in roofline.spots(BENCH["rows"])}
    assert set(spots) == {r["name"] for r in BENCH["rows"] if "operations" in r}
    assert (spots["gemm_fp8"].intensity, spots["gemm_fp8"].rate) == (100.0, 91.0)
    assert (spots["gemv_mxfp4"].intensity, spots["gemv_mxfp4"].rate) == (2.0, 58.0)
    limits = {roof.name: roof.limit for roof in roofline.roofs(BENCH["rows"], 2)}
    assert limits == {
        "byte dot products": 570.0,  # the middle of its row and of a yardstick, twice
        "fp32 FMA": 218.0,
        "reading memory": 40.0,
    }


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ([], []),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.95, 0.95, 1.0], [0.8, 0.9, 1.0]),
        ([0.0, 0.05], [0.0, 0.1]),
        ([0.5] * 11, [i / 10 for i in range(11)]),
        ([0.5] * 21, [i / 20 for i in range(21)]),
    ],
)
def test_labels_keep_apart(wanted: list[float], found: list[float]) -> None:
    assert labels.spread(wanted, 0.1, 0.0, 1.0) == pytest.approx(found)


def test_how_far_beyond_a_bar() -> None:
    rows = {r["name"]: r for r in BENCH["rows"]}
    assert beyond(rows["gemm_fp8"]) == pytest.approx(1.1)
    assert beyond(rows["start_help"]) == pytest.approx(4)
    assert beyond(rows["fma_peak"]) is None


# ---- tables


def test_tables_are_renewed_in_their_places(files: dict[str, Path], tmp_path: Path) -> None:
    text = tmp_path / "text.md"
    text.write_text(
        "before\n<!-- emu bench: summary -->\nold\n<!-- end -->\nbetween\n"
        "<!-- emu bench: growth -->\n<!-- end -->\nafter\n"
    )
    assert emu("bench", "plot", files["bench"], "--into", text).status == 0
    once = text.read_text()
    assert once == (
        "before\n<!-- emu bench: summary -->\n"
        "7 of 8 bars are met in this run; missed: `vtopk_fp32`.\n<!-- end -->\nbetween\n"
        "<!-- emu bench: growth -->\n<!-- end -->\nafter\n"
    )
    assert emu("bench", "plot", files["growth"], "--into", text).status == 0
    assert "| `tokens`: tokens generated | run | linear | 1.00 | 1.01 |" in text.read_text()


def test_tables_of_rows() -> None:
    found = markdown.blocks(BENCH | {"kind": "rows"})
    assert "Some CPU, 2 cores" in found["machine"]
    lines = found["rows"].splitlines()
    assert len(lines) == 2 + len(BENCH["rows"])
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "| `gemm_fp8` | 91 GMAC/s | 100 fma_peak | 0.77 | >= 0.7 met | a \\| note |" in lines
    assert "| 77% of the FMA peak | `emu bench --only gemm_fp8` |" in found["speed"]
    assert "| 1.46 s | at most 100 s | `emu bench --only timing_70b` |" in found["speed"]


def test_a_ratio_beyond_one_is_a_factor() -> None:
    row = {"name": "decode_1b_vs_torch", "value": 16.6, "unit": "tokens/s", "ratio": 2.0}
    of = {"yardstick": 8.3, "of": "transformers in bf16"}
    found = markdown.blocks(BENCH | {"kind": "rows", "rows": [row | of]})["speed"]
    assert "| 16.6 tokens/s | 2.00 x transformers in bf16 | `emu bench --only decode_1b" in found


def test_tables_are_printed(files: dict[str, Path]) -> None:
    done = emu("bench", "plot", files["growth"])
    assert done.status == 0 and "| against |" in done.out


def test_the_documents_hold_what_the_files_say() -> None:
    for name in ("bench", "growth"):
        report = source.read(str(ROOT / f"docs/{name}.json"))
        for document in ("docs/performance.md", "README.md"):
            text = (ROOT / document).read_text(encoding="utf-8")
            assert markdown.renewed(str(ROOT / document), report) == text, "run `make figures`"


# ---- refusals


def refused(expected: str, *arguments: object) -> None:
    done = emu("bench", "plot", *arguments)
    assert (done.status, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("emu: error: ") and expected in done.err


def test_without_the_extra(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused("the extra `plots`: pip install", files["bench"], "-o", tmp_path / "p.svg")
    assert not (tmp_path / "p.svg").exists()
    assert emu("bench", "plot", files["bench"]).status == 0  # tables need nothing


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("\x00\xff", "is no JSON"),
        ("[]", "is no JSON of `emu bench"),
        ('{"schema": 1}', "is no JSON of `emu bench"),
        ('{"schema": 2, "rows": []}', "schema: expected 1, got 2"),
        ('{"schema": 1, "rows": {}}', "rows: expected a list of objects"),
        ('{"schema": 1, "rows": [1]}', "rows: expected a list of objects"),
        ('{"schema": 1, "rows": [{"name": 1}]}', "rows[0]: name: expected text"),
        ('{"schema": 1, "rows": [{"name": "a", "unit": "s", "value": "1"}]}', "expected a number"),
        ('{"schema": 1, "rows": [{"name": "a", "unit": "s", "value": 1e999}]}', "value: expected"),
        ('{"schema": 1, "rows": [{"name": "a", "unit": "s", "bar": "> 1"}]}', "bar: expected >="),
        ('{"schema": 1, "rows": [], "machine": 1}', "machine: expected an object"),
        ('{"schema": 1, "axes": [{"name": "a", "x": "b", "what": "c", "points": [{}]}]}', "x: exp"),
        ('{"schema": 1, "rows": [{"name": "a", "unit": "s", "value": NaN}]}', "is no JSON"),
        ('{"schema": 1, "axes": [{"name": "a", "x": "b", "what": "c"}]}', "points: expected a"),
        ('{"schema": 1, "axes": [{"name": "a"}]}', "axes[0]: x: expected text"),
    ],
)
def test_bad_files(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.json"
    file.write_bytes(content.encode("latin-1"))
    refused(message, file, "-o", tmp_path / "p.svg")


def test_bad_usage(files: dict[str, Path], tmp_path: Path) -> None:
    refused("no such file", tmp_path / "none.json")
    refused("expected a name that ends in", files["bench"], "-o", "picture.gif")
    refused("--picture growth: this file has", files["bench"], "-o", "p.svg", "--picture", "growth")
    text = tmp_path / "text.md"
    text.write_text("nothing\n")
    refused("has no <!-- emu bench: machine -->", files["bench"], "--into", text)
    done = emu("bench", "--only", "gemm_fp8", "plot", files["bench"])
    assert done.status == 2 and "options of plot go behind it" in done.err


def test_a_file_is_known_by_what_it_holds(files: dict[str, Path]) -> None:
    assert source.read(str(files["bench"]))["kind"] == "rows"
    assert source.read(str(files["growth"]))["kind"] == "growth"
    with pytest.raises(BenchError):
        source.read(__file__)
