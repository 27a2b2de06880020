"""The form of a result file: `run` and run.sh, which only has cmp, judge alike and say why."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance_kits import make_kit

from emulator.conformance.entry import Entry
from emulator.conformance.folder import Folder, open_folder
from emulator.conformance.judge import Status, Verdict
from emulator.conformance.result import from_text, to_text
from emulator.conformance.running.children import End
from emulator.conformance.running.verdict import verdict
from emulator.conformance.selfcheck import passed

GUIDE = Path(__file__).parents[1] / "docs" / "conformance.md"
RIGHT = "the content is right, its form is not: "
Change = Callable[[str], str]


def symbols_first(text: str) -> str:
    """The signature before the other symbol."""
    head, first, second = re.split("(?=^symbol )", text, flags=re.M)
    return head + second.replace("done\n", "") + first + "done\n"


#: What a device makes of the right file, and how the reason must go on.
FORMS: dict[str, tuple[Change, str]] = {
    "upper": (lambda t: re.sub("(?m)^[0-9a-f]{32,}$", lambda m: m[0].upper(), t),
              f"{RIGHT}line 4: digits must be lower case"),
    "upper-word": (lambda t: t.replace("done", "Done"),
                   "line 12: not `done` but `Done`"),
    "crlf": (lambda t: t.replace("\n", "\r\n"), f"{RIGHT}line 1: lines must end in a newline"),
    "no-newline": (lambda t: t[:-1], f"{RIGHT}line 12: the file must end in a newline"),
    "blank-end": (lambda t: t + "\n", "line 13: something follows `done`"),
    "trailing": (lambda t: t.replace("completed\n", "completed \n"),
                 f"{RIGHT}line 2: nothing may stand behind the last word"),
    "trailing-digits": (lambda t: t.replace("\nsymbol sig", " \nsymbol sig"),
                        f"{RIGHT}line 9: nothing may stand behind the last word"),
    "two-spaces": (lambda t: t.replace("symbol sig", "symbol  sig"),
                   f"{RIGHT}line 10: one space must stand between words"),
    "indent": (lambda t: re.sub("(?m)^([0-9a-f]{32})$", r" \1", t),
               f"{RIGHT}line 11: one space must stand between words"),
    "zeros": (lambda t: t.replace("signature 16", "signature 016"),
              f"{RIGHT}line 10: `symbol signature 016` must be `symbol signature 16`"),
    "order": (symbols_first, f"{RIGHT}line 3: `symbol signature 16` comes too early, `symbol"),
    "extra": (lambda t: t.replace("done", "symbol mine 1\n00\ndone"),
              f"{RIGHT}line 12: `symbol mine 1`: the program has no such symbol of role out"),
    "twice": (lambda t: t.replace("done", re.findall("symbol sig.*\n.*\n", t)[0] + "done"),
              f"{RIGHT}line 12: `symbol signature 16` is there twice"),
    "sticky-empty": (lambda t: t.replace("completed\n", "completed\nsticky \n"),
                     f"{RIGHT}line 3: `sticky ` must be `symbol tsram"),
    "sticky-late": (lambda t: t.replace("done", "sticky 1\ndone"), "line 12: the order is: all"),
    "bom": (lambda t: "\ufeff" + t, "line 1: not `tessera-result 1`"),
    "bytes": (lambda t: t.replace("completed", "completed \udcff"), f"{RIGHT}line 2: "),
    "separator": (lambda t: t.replace("completed\n", "completed\x0b\n"), f"{RIGHT}line 2: "),
    "content": (lambda t: t.replace("00000040", "0000004A"), ""),
}  # fmt: skip
UNSUPPORTED: dict[str, tuple[str, str]] = {
    "why": ("outcome unsupported no matrix unit\ndone\n", ""),
    "no-why": ("outcome unsupported\ndone\n", ""),
    "more": ("outcome unsupported x\nsymbol a 1\n00\ndone\n", f"{RIGHT}line 3: "),
    "crlf": ("outcome unsupported x\r\ndone\r\n", f"{RIGHT}line 3: lines must end in"),
    "cr": ("outcome unsupported\r\ndone\n", f"{RIGHT}line 2: lines must end in"),
    "gap": ("outcome  unsupported x\ndone\n", f"{RIGHT}line 2: "),
    "end": ("outcome unsupported x\ndone", f"{RIGHT}line 3: the file must end"),
}


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ["right", *FORMS, *(f"unsupported-{name}" for name in UNSUPPORTED)]
    return make_kit(tmp_path_factory.mktemp("kit") / "kit", [f"vpu/{name}" for name in names])


def answer(name: str, right: str) -> str:
    """What the device writes for a case."""
    kind, _, form = name.removeprefix("vpu/").partition("-")
    if kind == "unsupported":
        return f"tessera-result 1\n{UNSUPPORTED[form][0]}"
    return FORMS.get(name.removeprefix("vpu/"), (lambda t: t, ""))[0](right)


def judged(folder: Folder, entry: Entry, place: Path) -> Verdict:
    """The verdict of `run` on the device's file, which is written."""
    case, output = folder.known(entry), place / f"{entry.name.partition('/')[2]}.txt"
    text = answer(entry.name, case.text)
    assert entry.name == "vpu/right" or text != case.text
    output.write_bytes(text.encode(errors="surrogateescape"))
    return verdict(case, End(0, 0.1, ""), output, 1.0)


def test_both_judges_agree(kit: Path, tmp_path: Path) -> None:
    folder, expected = open_folder(kit), []
    for entry in folder.entries:
        found = judged(folder, entry, tmp_path)
        if found.status is Status.UNSUPPORTED:
            expected.append(f"unsupported {entry.name}" + (found.detail and f": {found.detail}"))
        elif found.status is not Status.PASS:
            expected.append(f"{found.status.value} {entry.name}")
    device = tmp_path / "device.sh"
    device.write_text('#!/bin/sh\nname=${1##*/}\ncp "${0%/*}/${name%.bin}.txt" "$2"\n')
    device.chmod(0o755)
    run = [str(kit / "run.sh"), str(device)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [*expected, f"1 pass, {len(expected)} do not"]


@pytest.mark.parametrize("name", FORMS)
def test_the_reason_names_the_line(kit: Path, tmp_path: Path, name: str) -> None:
    folder = open_folder(kit)
    entry = next(entry for entry in folder.entries if entry.name == f"vpu/{name}")
    found = judged(folder, entry, tmp_path)
    assert found.status is Status.FAIL
    if name == "content":  # then that is said, not the form
        assert found.detail.startswith("y[0, 0] is FP32")
    else:
        assert found.detail.startswith(f"result file: {FORMS[name][1]}")


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_has_a_form_as_well(kit: Path, tmp_path: Path, name: str) -> None:
    folder = open_folder(kit)
    entry = next(e for e in folder.entries if e.name == f"vpu/unsupported-{name}")
    found, reason = judged(folder, entry, tmp_path), UNSUPPORTED[name][1]
    assert found.status is (Status.FAIL if reason else Status.UNSUPPORTED)
    assert found.detail.startswith(f"result file: {reason}" if reason else "")


def test_the_example_of_the_guide_is_a_result_file() -> None:
    found = re.search("```\n(tessera-result 1\n.*?done\n)```", GUIDE.read_text(), re.S)
    assert found
    result = from_text(found[1])
    assert to_text(result) == found[1]
    assert result.symbols["signature"] == passed(len(result.symbols["out"]))
