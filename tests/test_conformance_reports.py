"""Reports on a run: each is right, complete, and readable by those it is for."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import patch
from xml.etree import ElementTree as ET

import pytest

from emulator.conformance.entry import Entry
from emulator.conformance.judge import Status, Verdict
from emulator.conformance.reports.data import data
from emulator.conformance.reports.junit import junit
from emulator.conformance.reports.page import page
from emulator.conformance.reports.report import Report
from emulator.conformance.reports.summary import summary
from emulator.conformance.running.runner import Run

FACTS = {"kit": 1, "isa": {"version": [1, 0]}, "chip": {"name": "t1-mini"}}
HOSTILE = "<script>alert(1)</script> & \"quotes\" 'x' \ufffd"
VOID = {"meta", "br", "link", "img", "hr", "input"}


def entry(name: str, *covers: str) -> Entry:
    return Entry(name, False, 20.0, f"about {HOSTILE}", covers, ("vadd d0, d1, d2",), (), {})


ENTRIES = (
    entry("mxu/gemm/a", "instruction:gemm", "format:gemm.a:E2M1.MX32", "fault:gemm:misaligned"),
    entry("mxu/gemm/b", "instruction:gemm", "operand:gemm.bounds:yes", "modifier:gemm.fresh"),
    entry("vpu/vadd/a", "instruction:vadd", "modifier:vadd", "rule:some_rule"),
    entry("vpu/vadd/b", "instruction:vadd", "modifier:vadd.scalar"),
    entry("vpu/vsub/a", "instruction:vsub"),
    entry("vpu/vmul/a", "instruction:vmul"),
)
STATUSES = (Status.PASS, Status.FAIL, Status.PASS, Status.CRASHED, Status.UNSUPPORTED)


@pytest.fixture(autouse=True)
def few_points() -> Iterator[None]:
    """Of all there are, some that the cases cover and one that none does."""
    few = {"rule:some_rule": "what it says", "fault:vadd:misaligned": "an address is"}
    with patch("emulator.conformance.reports.coverage.points", lambda: few):
        yield


@pytest.fixture(scope="module")
def report() -> Report:
    """Five cases of six: the run was interrupted."""
    pairs = zip(ENTRIES, STATUSES, strict=False)
    verdicts = {e.name: Verdict(e.name, s, f"why {HOSTILE}", 0.5, HOSTILE) for e, s in pairs}
    return Report("./sim {program} {output} <x>", FACTS, ENTRIES, Run(verdicts, 2, "", 3.0, True))


class Checker(HTMLParser):
    """Elements close in order; ids are unique; nothing comes from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.rows: list[list[str]] = []
        self.heads: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        assert tag not in ("script", "link", "img", "iframe", "object"), tag
        assert not any(name.startswith("on") or name in ("src", "style") for name in given)
        if "id" in given:
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "th":
            assert given.get("scope") in ("row", "col")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += text
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.heads.append(text)


def checked(text: str) -> Checker:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert checker.open == [] and len(set(checker.ids)) == len(checker.ids)
    assert {f"#{place}" for place in checker.ids} >= set(checker.links)
    return checker


def test_page(report: Report) -> None:
    text = page(report)
    found = checked(text)
    assert not re.search(r"https?:|//|@import|url\(", text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=") and "prefers-color-scheme: dark" in text
    assert found.heads[0] == "Tessera conformance" and found.count["h1"] == 1
    assert found.count["table"] == found.count["caption"] == found.count["thead"]
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["mxu"] == ["2", "1", "1", "0", "0", "0", "0"]
    assert rows["all"] == ["6", "2", "1", "1", "1", "0", "1"]
    assert rows["✗ gemm"][:2] == ["✗ .fresh", "a✓ E2M1.MX32"]
    assert rows["✗ gemm"][2:] == ["✗ bounds yes", "✓ misaligned"]
    assert rows["✗ vadd"] == ["✓ plain ✗ .scalar", "", "", "○ misaligned"]
    assert "– vsub" in rows and "○ vmul" in rows
    assert rows["some_rule"] == ["what it says", "✓ pass", "1 of 1"]
    assert rows["vpu/vadd/a"][:2] == ["pass", "0.50"]
    assert rows["vpu/vmul/a"][:2] == ["not run", ""]


def test_page_is_tidy(report: Report) -> None:
    text = page(report)
    assert not re.search(r"<[a-z][^>]* [a-z]+=[^\"'>]", text)  # attributes have quotes
    assert "no case was run</span> A case counts for everything that it covers.</p>" in text
    style, _, body = text.partition("</style>")
    used = {name for names in re.findall('class="([^"]*)"', body) for name in names.split()}
    kinds = {"pass", "fail", "unsupported", "none"}
    assert set(re.findall(r"\.([a-z-]+)(?=[ ,{>:])", style)) <= used | kinds


def test_page_of_many_cases() -> None:
    entries = tuple(entry(f"vpu/vadd/case-{n}", "instruction:vadd") for n in range(2000))
    verdicts = {e.name: Verdict(e.name, Status.FAIL, "y[0] is 1, not 2") for e in entries}
    text = page(Report("sim", FACTS, entries, Run(verdicts)))
    assert len(checked(text).rows) > 2000 and len(text) < 2_000_000


def test_junit(report: Report, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(junit(report))
    root = ET.parse(tmp_path / "x.xml").getroot()
    assert root.tag == "testsuites"
    totals = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped", "time")}
    assert totals == {"tests": "6", "failures": "1", "errors": "1", "skipped": "2", "time": "2.500"}
    assert [(s.get("name"), s.get("tests")) for s in root] == [("mxu", "2"), ("vpu", "4")]
    cases = {f"{c.get('classname')}.{c.get('name')}": c for c in root.iter("testcase")}
    failure = cases["mxu.gemm.b"].find("failure")
    assert failure is not None and failure.get("message") == f"fail: why {HOSTILE}"
    assert failure.get("type") == "fail" and "vadd d0, d1, d2" in str(failure.text)
    assert cases["vpu.vadd.b"].find("error") is not None
    assert cases["vpu.vsub.a"].find("skipped") is not None
    assert list(cases["vpu.vadd.a"]) == []


def test_junit_takes_any_text() -> None:
    strange = "".join(map(chr, [0, 1, 8, 11, 27, 127, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x1F600]))
    verdict = Verdict(ENTRIES[0].name, Status.CRASHED, strange, 0.1, strange)
    given = Report(strange.replace("\ud800", "").replace("\udfff", ""), FACTS, ENTRIES[:1],
                   Run({ENTRIES[0].name: verdict}))  # fmt: skip
    ET.fromstring(junit(given))


def test_json(report: Report) -> None:
    found = json.loads(json.dumps(data(report)))
    assert found["schema"] == 1 and found["complete"] is False and found["resumed"] == 2
    assert found["totals"] == {"cases": 6, "pass": 2, "fail": 1, "unsupported": 1, "crashed": 1,
                               "timed out": 0}  # fmt: skip
    assert found["coverage"]["instruction:gemm"] == "fail"
    assert found["coverage"]["instruction:vsub"] == "unsupported"
    assert found["coverage"]["instruction:vmul"] == "not run"
    assert found["coverage"]["modifier:vadd"] == "pass"
    assert [case["verdict"] for case in found["cases"]][-2:] == ["unsupported", "not run"]


def test_summary(report: Report) -> None:
    lines = summary(report).splitlines()
    assert lines[0] == "./sim {program} {output} <x>: kit 1, ISA 1.0, chip t1-mini"
    assert lines[2].split() == ["profile", "cases", "pass", "fail", "unsupported", "crashed",
                                "timed", "out"]  # fmt: skip
    assert [line.split()[0] for line in lines[3:6]] == ["mxu", "vpu", "all"]
    assert f"    why {HOSTILE}" in lines and f"    | {HOSTILE}" in lines
    assert lines[-1] == ("2 of 6 pass, in 3.0 s; 2 were done by an earlier run; "
                         "stopped after 5: the same command goes on")  # fmt: skip
    assert not report.passes(allow_unsupported=True)
