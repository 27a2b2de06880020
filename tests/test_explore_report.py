"""The report of a study without a browser: what is in it, how it is escaped, when it is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_runs import done, emu
from explore_report_pages import HOSTILE, HOSTILE_PLACE, Page, hostile_study, page_of
from explore_runs import _here, here, write_study  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st

from emulator.explore import executors
from emulator.explore.report import files
from emulator.explore.report import plotly as library
from emulator.explore.report.html import data_block, script_hash, tag
from emulator.explore.report.page import own_script, page

METRICS = ["ttft", "tpot", "joules_per_output_token", "joules_per_input_token",
           "usd_per_million_output_tokens", "usd_per_million_input_tokens",
           "area_mm2", "usd_per_chip"]  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small study's results: four points, one of them violating a constraint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors, "_local", _here)
        folder = tmp_path_factory.mktemp("report")
        path = write_study(folder, metrics=METRICS, constraints=["batch < 3 or tpot < 1 s"],
                           axes={"hbm.bytes_per_second": ["50 GB/s", "100 GB/s"], "batch": [1, 3],
                                 "rows": [16, 1 << 20]}, fixed={"prompt": 40, "context": 100},
                           objectives=["tpot", "joules_per_output_token"])  # fmt: skip
        done("explore", path, "-o", folder / "r")
        yield folder / "r"


@pytest.fixture
def copied(results: Path, tmp_path: Path) -> Path:
    """A copy of those results, for a test that writes the page again."""
    return Path(shutil.copytree(results, tmp_path / results.name))


@pytest.fixture(scope="module")
def data(results: Path) -> Any:
    """The data of its report."""
    return json.loads((results / "report.json").read_bytes())


# ---- what is in it


def test_the_page_has_the_data_and_every_part(results: Path, data: Any) -> None:
    found = page_of(results)
    assert found.data == data and data["schema"] == 1
    ids = {attributes.get("id") for _, attributes in found.elements}
    for part in ("pareto", "roofline", "stacks", "parallel", "tornado", "chips", "points", "point"):
        assert part in ids
    links = {str(each["href"]).lstrip("#") for each in found.named("a")}
    assert links <= ids, "a link leads nowhere"


def test_nothing_is_loaded_and_no_script_may_run_but_known_ones(results: Path) -> None:
    found = page_of(results)
    assert [each for each in found.named("link") if each["href"] != "data:,"] == []
    for name, attributes in found.elements:
        assert "src" not in attributes and not any(key.startswith("on") for key in attributes), name
    assert found.named("iframe") == found.named("img") == []
    (policy,) = [each["content"] for each in found.named("meta") if "http-equiv" in each]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert script_hash(found.scripts["own"]) in str(policy)
    assert "unsafe-inline'; img" in str(policy) and "unsafe-eval" not in str(policy)


def test_heads_labels_and_captions(results: Path) -> None:
    found = page_of(results)
    assert found.named("html") == [{"lang": "en"}] and len(found.named("h1")) == 1
    assert len(found.named("table")) == len(found.named("caption")) > 0
    assert all(each.get("scope") for each in found.named("th"))
    assert all(each.get("aria-label") for each in found.named("div") if each.get("role") == "img")
    assert len(found.named("title")) == len(found.named("main")) == 1


def test_the_rows_are_those_of_the_table(results: Path, data: Any) -> None:
    lines = (results / "points.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == data["points"]["key"]
    assert data["counts"] == {"invalid": 4, "ok": 4} and sum(data["points"]["front"]) >= 1
    assert [count for _, _, count in data["reasons"]] == [4]
    for status, front in zip(data["points"]["status"], data["points"]["front"], strict=True):
        assert status == "ok" or not front


def timed(data: Any) -> list[tuple[int, Any]]:
    """Places and breakdowns of the points that have one."""
    return [(i, detail) for i, detail in enumerate(data["details"]) if detail]


def test_every_timed_point_has_a_breakdown(data: Any) -> None:
    statuses = [data["points"]["status"][i] for i, _ in timed(data)]
    assert statuses == ["ok"] * 4


def test_times_of_operations_sum_to_ttft_and_tpot(data: Any) -> None:
    metrics = data["points"]["metrics"]
    for i, detail in timed(data):
        for phase, metric in (("prefill", "ttft"), ("decode", "tpot")):
            total = sum(seconds for _, seconds, *_ in detail["phases"][phase]["operations"])
            assert total == pytest.approx(metrics[metric][i], rel=1e-5)


def test_units_account_for_every_cycle(data: Any) -> None:
    for _, detail in timed(data):
        for phase in detail["phases"].values():
            for unit in ("ctl", "mxu", "vpu", "dma"):
                total = sum(cycles for place, cycles in phase["units"]
                            if data["tables"]["causes"][place][0] == unit)  # fmt: skip
                assert total == pytest.approx(phase["cycles"], rel=1e-4)


@pytest.mark.parametrize(
    ("group", "phase", "metric"),
    [
        ("decode", "decode", "joules_per_output_token"),
        ("prefill", "prefill", "joules_per_input_token"),
    ],
)
def test_ledgers_sum_to_the_metric(data: Any, group: str, phase: str, metric: str) -> None:
    for i, detail in timed(data):
        ledger = data["tables"]["ledgers"][detail["ledgers"][f"{group} energy"]]
        total = sum(value for *_, value in ledger["entries"])
        assert total == pytest.approx(ledger["total"], rel=1e-4)
        each = ledger["total"] / detail["phases"][phase]["tokens"]
        assert each == pytest.approx(data["points"]["metrics"][metric][i], rel=1e-4)


def test_no_point_is_above_its_roof(data: Any) -> None:
    for _, detail in timed(data):
        for phase in detail["phases"].values():
            roof = phase["roof"]
            assert 0 < roof["rate"] <= roof["attainable"] <= roof["peak"]
            assert roof["attainable"] <= roof["bandwidth"] * roof["intensity"] * (1 + 1e-5)


def test_sensitivity_is_the_ratio_of_pairs(data: Any) -> None:
    (rate,) = [each for each in data["sensitivity"] if each["axis"] == "hbm.bytes_per_second"]
    assert (rate["from"], rate["to"]) == (50e9, 100e9)
    inputs, tpot = data["points"]["inputs"], data["points"]["metrics"]["tpot"]
    ratios = []
    for batch in (1, 3):
        by = {
            inputs["hbm.bytes_per_second"][i]: tpot[i]
            for i, _ in timed(data)
            if inputs["batch"][i] == batch
        }
        ratios.append(by[100e9] / by[50e9])
    swing = rate["metrics"]["tpot"]
    assert swing["pairs"] == 2 and swing["median"] == pytest.approx(sum(ratios) / 2, rel=1e-5)
    assert (swing["least"], swing["most"]) == pytest.approx((min(ratios), max(ratios)), rel=1e-5)
    (rows,) = [each for each in data["sensitivity"] if each["axis"] == "rows"]
    assert rows["metrics"]["tpot"] is None, "points with one end alone make no pair"


# ---- the same results, the same bytes


def test_the_same_bytes_again_and_from_what_was_stored(copied: Path) -> None:
    before = {name: (copied / name).read_bytes() for name in ("report.html", "report.json")}
    out = done("explore", "--report", copied).out
    assert f"{copied / 'report.html'} written" in out
    (copied / "report.html").unlink()
    done("explore", "--report", copied, "--quiet")
    assert {name: (copied / name).read_bytes() for name in before} == before


@pytest.mark.usefixtures("here")
def test_elsewhere_and_in_another_order_of_work(results: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path)
    done("explore", path, "-o", tmp_path / "one")
    done("explore", path, "-o", tmp_path / "two", "--chunk", 3)
    for name in (files.PAGE, files.DATA):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# ---- with and without the library


def test_without_the_library_a_line_names_the_extra(
    copied: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "plotly_source", lambda: None)
    assert "charts need the extra `report`" in done("explore", "--report", copied).out
    found = page_of(copied)
    (notice,) = [each for each in found.named("p") if each.get("id") == "no-charts"]
    assert "hidden" not in notice and "Charts need the extra `report`" in " ".join(found.texts)
    assert "plotly" not in found.scripts and found.data == data


def test_the_library_is_embedded_and_allowed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "window.Plotly = {}; // </script> é"
    monkeypatch.setattr(library, "plotly_source", lambda: source)
    assert "extra" not in done("explore", "--report", copied).out
    found = page_of(copied)
    assert len(found.scripts["plotly"]) % 4 == 0 and "<" not in found.scripts["plotly"]
    (policy,) = [each["content"] for each in found.named("meta") if "http-equiv" in each]
    assert script_hash(source) in str(policy)


def test_our_script_cannot_end_its_block() -> None:
    assert "</script" not in own_script().lower() and "<!--" not in own_script()


# ---- texts that are markup


@pytest.mark.usefixtures("here")
def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    done("explore", hostile_study(tmp_path), "-o", tmp_path / "r")
    found = page_of(tmp_path / "r")
    assert set(found.scripts) <= {"data", "plotly", "own"} and found.named("img") == []
    assert found.data["name"] == HOSTILE.strip() and HOSTILE.strip() in found.texts
    assert HOSTILE_PLACE in found.texts
    assert found.data["points"]["inputs"]["model"] == [HOSTILE_PLACE] * 4


def poisoned(value: Any, poison: str) -> Any:
    """Data whose every text that is no key, status or name ends in poison."""
    if isinstance(value, dict):
        return {key: poisoned(each, poison) for key, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each, poison) for each in value]
    return value + poison if isinstance(value, str) and value != "ok" else value


def test_no_text_anywhere_becomes_an_element(data: Any) -> None:
    kept = {"reasons": data["reasons"], "inputs": data["inputs"], "metrics": data["metrics"]}
    worse = poisoned(data, HOSTILE) | kept
    plain, found = Page(page(data, None)), Page(page(worse, None))
    assert [name for name, _ in found.elements] == [name for name, _ in plain.elements]
    assert found.data == worse


SIGNS = [
    "</script>",
    "<script>",
    "<!--",
    "]]>",
    "&lt;",
    "&#60;",
    '"',
    "'",
    "\\",
    "\u2028",
    "\ud800",
]


@given(st.lists(st.sampled_from(SIGNS) | st.characters(), max_size=12).map("".join))
def test_any_text_survives(text: str) -> None:
    found = Page(data_block("data", {text: [text]}) + tag("p", text, title=text))
    assert found.data == {text: [text]} and len(found.elements) == 2


# ---- refused


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "no such file or directory; give a directory that emu explore -o made"),
        (b"{", "is not what emu explore writes; run the study again"),
        (b"\xff", "is not what emu explore writes; run the study again"),
        (b"[" * 100_000, "is not what emu explore writes; run the study again"),
        (b"[]", "not a report's data of schema 1; run the study again"),
        (b'{"schema":1,"name":3}', "is not what emu explore writes; run the study again"),
        (b'{"schema":2}', "not a report's data of schema 1; run the study again"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    result = emu("explore", "--report", tmp_path)
    assert result.status == 2 and problem in result.err and result.err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()


def test_a_report_is_not_of_a_study(tmp_path: Path) -> None:
    result = emu("explore", write_study(tmp_path), "--report", tmp_path)
    assert result.status == 2 and "--report DIR" in result.err
