"""`emu run --check` from end to end: what is printed, the JSON, the exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import TOKENS, assembled, done, emu, made, run_refused

from emulator.check.findings import MOST
from tests.check_runs import CHIP
from tests.test_check_laws import HEAD, LOAD

NUMBERS = ("--tokens", ",".join(map(str, TOKENS)), "--max-new-tokens", 3, "--ignore-eos")
RACE = "dma dma0, d1, d0\nvadd d2, d1, #1.0\n"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def program(text: str) -> Path:
    body = HEAD.replace(".chip t1-mini", "") + f".op body\n{LOAD}{text}\nhalt\n"
    return assembled(Path("p.bin"), body)


def test_a_right_decoder() -> None:
    run = emu("run", made().good, "--check", *NUMBERS)
    plain = done("run", made().good, *NUMBERS)
    assert (run.status, run.out) == (0, plain.out)
    (line,) = run.err.splitlines()
    assert line.startswith("emu: check: no findings; ")
    assert "executor" in line and "checking" in line


def test_the_result_as_json() -> None:
    right = emu("run", made().good, "--check", "--no-timing", *NUMBERS, "--json", "-").json["check"]
    assert right["findings"] == []
    assert right["entries"] == 4  # reset, a prompt of three tokens, two more steps
    assert right["instructions"] > right["accesses"] + right["waits"] > 0
    assert set(right["seconds"]) == {"executor", "checking"}
    assert done("run", made().good, "--no-timing", *NUMBERS, "--json", "-").json["check"] is None


def test_a_race() -> None:
    run = emu("run", program(RACE), "--check", "--no-timing")
    assert run.status == 1
    assert run.err.splitlines()[:-2] == [
        "emu: check: race: a read that does not wait for the write; 4 times, first",
        "  tile 0 dma0, pc 7 writes: `dma dma0, d1, d0` of body",
        "  tile 0 vpu, pc 8 reads: `vadd d2, d1, #1.0` of body",
        "  TSRAM of tile 0, bytes 0x0 to 0x100 (256)",
    ]
    assert run.err.splitlines()[-2].startswith("emu: check: 1 finding; ")
    assert run.err.splitlines()[-1].startswith("emu: error: p.bin: --check has findings; ")


def test_a_race_as_json() -> None:
    run = emu("run", program(RACE), "--check", "--no-timing", "--json", "-")
    (finding,) = run.json["check"]["findings"]
    assert (finding["kind"], finding["times"]) == ("race", 4)
    assert finding["bytes"] == {"space": "TSRAM", "place": 0, "first": 0, "beyond": 256}
    assert finding["instructions"][1] == {
        "tile": 0,
        "unit": "vpu",
        "pc": 8,
        "does": "reads",
        "text": "vadd d2, d1, #1.0",
        "operation": "body",
    }


def test_a_deadlock_comes_with_its_faults() -> None:
    run = emu("run", program("wait vpu, s3, 2"), "--check")
    assert run.status == 1
    lines = run.err.splitlines()
    assert lines[0] == (
        "emu: check: deadlock: tile 0 vpu waits for s3, which no instruction signals; "
        "4 times, first"
    )
    assert lines[1] == "  tile 0 vpu, pc 7: `wait vpu, s3, 2` of body; s3 is 0, it takes 2"
    assert sum(line.startswith("emu: error: tile ") for line in lines) == CHIP.num_tiles


def test_many_findings_are_cut_off() -> None:
    text = "dma dma0, d1, d0\n" + "vadd d2, d1, #1.0\n" * 30
    run = emu("run", program(text), "--check", "--no-timing")
    titles = [line for line in run.err.splitlines() if line.startswith("emu: check: race")]
    assert len(titles) == MOST
    assert "emu: check: and 10 more" in run.err


def test_refusals() -> None:
    Path("kept.json").write_text("as it was")
    run_refused("--check: a timing-only run", made().good, "--check", "--timing-only", *NUMBERS)
    run_refused("--check: the reference executor", made().good, "--check", "--executor",
                "reference", *NUMBERS)  # fmt: skip


def test_threads() -> None:
    run = emu("run", made().good, "--check", "--threads", 3, "--no-timing", *NUMBERS)
    assert run.status == 0
