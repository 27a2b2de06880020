"""The timeline of `emu bench chip --svg`: valid, complete, and what the slices say."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from cli_runs import done
from hypothesis import given
from hypothesis import strategies as st
from test_bench_chip import CONFIG, MINI, small

from emulator.bench.chip import cases, step, svg
from emulator.bench.chip.timeline import UNITS, Lanes, Layer
from emulator.bench.rows import BenchError

SVG = "{http://www.w3.org/2000/svg}"
CAPTION = svg.Caption('<"title"> & more', "below", ["first", "second & third"], 4.0)


def drawn(bars: list[list[int]], end: int = 1000) -> ElementTree.Element:
    layer = Layer(512, 512 + end, np.array(bars, np.int64).reshape(-1, 5), 256, np.array([512] * 5))
    return ElementTree.fromstring(svg.drawn(layer, CAPTION))


def lane(root: ElementTree.Element, name: str) -> ElementTree.Element:
    found = root.find(f".//{SVG}g[@id='{name}']")
    assert found is not None
    return found


def test_every_unit_has_a_lane_even_if_it_does_nothing() -> None:
    root = drawn([[1, 0, 0, 0, 500], [1, 1, 1, 500, 600], [4, 0, 1, 10, 20]])
    assert [name for name in UNITS if lane(root, name) is not None] == [
        "ctl", "mxu", "vpu", *(f"dma{n}" for n in range(8)),
    ]  # fmt: skip
    styles = {
        name: [path.get("class") for path in lane(root, name).iter(f"{SVG}path")] for name in UNITS
    }
    assert styles["mxu"] == ["wait", "o0"] and styles["dma1"] == ["o1"] and styles["vpu"] == []


def test_a_title_of_any_characters() -> None:
    root = drawn([[1, 0, 1, 0, 1000]])
    assert root.get("aria-label") == CAPTION.title
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert CAPTION.title in texts and "second & third" in texts


def test_bars_lie_where_their_cycles_are() -> None:
    """A bar of half the layer is half the lane's width."""
    root = drawn([[2, 0, 0, 250, 750]])
    path = next(lane(root, "vpu").iter(f"{SVG}path")).get("d", "")
    begin, width = (float(x) for x in re.findall(r"M([\d.]+) \d+h([\d.]+)", path)[0])
    background = next(lane(root, "vpu").iter(f"{SVG}rect"))
    x, whole = (float(background.get(key, "0")) for key in ("x", "width"))
    assert width == pytest.approx(whole / 2, abs=0.1)
    assert begin == pytest.approx(x + whole / 4, abs=0.1)


Spans = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 50)).map(lambda s: (s[0], s[0] + s[1])), max_size=40
)


@given(Spans)
def test_joined_spans_cover_all_and_do_not_touch(spans: list[tuple[float, float]]) -> None:
    found = svg.joined(spans)
    for begin, end in spans:
        assert any(a <= begin and end <= b for a, b in found)
    assert all(b[0] - a[1] >= 0.8 for a, b in pairwise(found))
    edges = {edge for span in spans for edge in span}
    assert {edge for span in found for edge in span} <= edges


def test_a_layer_is_what_the_slices_of_it_are() -> None:
    lanes, setting, case = Lanes(), step.Setting(MINI), small(cases.DECODE, 1, 128)
    ran = step.run(setting, case, setting.options(case), recorder=lanes.recorder(0))
    first, second = (lanes.layer(number) for number in (0, 1))
    assert 0 == first.begin < first.end == second.begin < second.end < ran.cycles
    for layer in (first, second):
        assert set(layer.bars[:, 0]) <= set(range(len(UNITS)))
        assert (layer.bars[:, 3] <= layer.bars[:, 4]).all()
        assert layer.bars[:, 3].min() >= 0
        assert layer.bars[:, 4].max() <= layer.end - layer.begin
        assert layer.read.sum() > 0
    with pytest.raises(BenchError, match=f"layer {CONFIG.layers} of the step was not simulated"):
        lanes.layer(CONFIG.layers)


def test_watching_changes_no_cycle() -> None:
    setting, case = step.Setting(MINI), small(cases.PREFILL, 1, 64)
    watched = step.run(setting, case, setting.options(case), recorder=Lanes().recorder(0))
    assert watched.cycles == step.run(setting, case, setting.options(case)).cycles


def test_through_the_command_line(tmp_path: Path) -> None:
    model = Path(__file__).parent.parent / "programs" / "model" / "tessera-tiny"
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        done(
            "bench", "chip", "--chip", "t1-mini", "--model", model, "--only", "*_b1", "--svg", file
        )
    text = files[0].read_text()
    assert text == files[1].read_text() and len(text) < 150_000
    root = ElementTree.fromstring(text)
    for name in (*UNITS, "hbm"):
        assert lane(root, name) is not None
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {"qkv", "attention", "gate_up", "waits", "idle"} <= words
    assert "prefers-color-scheme: dark" in text
