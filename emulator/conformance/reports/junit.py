"""JUnit XML: a suite for each profile, as CI services read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from emulator.conformance.entry import Entry
from emulator.conformance.judge import Status, Verdict
from emulator.conformance.reports.report import Report

_TAGS = {Status.FAIL: "failure", Status.CRASHED: "error", Status.TIMED_OUT: "error",
         Status.UNSUPPORTED: "skipped"}  # fmt: skip
_MESSAGE = 300  # characters


def junit(report: Report) -> bytes:
    """The file."""
    root = ET.Element("testsuites", name=_clean(f"Tessera conformance: {report.device}"))
    for profile in report.profiles:
        suite = ET.SubElement(root, "testsuite", name=profile)
        for entry in report.entries:
            if entry.profile == profile:
                _case(suite, entry, report.verdicts.get(entry.name))
        _count(suite)
    _count(root)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    tags = [child.tag for case in cases for child in case]
    element.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(tags.count(tag)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")


def _case(suite: ET.Element, entry: Entry, verdict: Verdict | None) -> None:
    group, _, name = entry.name.rpartition("/")
    case = ET.SubElement(suite, "testcase", classname=group.replace("/", "."), name=name)
    case.set("time", f"{verdict.seconds if verdict else 0:.3f}")
    if verdict is None:
        ET.SubElement(case, "skipped", message="not run: interrupted")
        return
    tag = _TAGS.get(verdict.status)
    if tag is None:
        return
    text = f"{verdict.status.value}: {verdict.detail}" if verdict.detail else verdict.status.value
    child = ET.SubElement(case, tag, message=_clean(text)[:_MESSAGE])
    if tag != "skipped":
        child.set("type", verdict.status.value)
        child.text = _clean("\n".join(filter(None, (text, entry.note, *entry.operation))))
        if verdict.output:
            ET.SubElement(case, "system-out").text = _clean(verdict.output)


def _clean(text: str) -> str:
    """Text of characters that XML allows."""
    return "".join(c if c in "\t\n" or 32 <= ord(c) < 0xD800 or 0xE000 <= ord(c) < 0xFFFE
                   or ord(c) > 0xFFFF else "?" for c in text)  # fmt: skip
