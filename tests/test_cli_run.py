"""`emu run` from end to end: text, tokens, bits, files; and that nothing else changes them."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator import status
from emulator.status import Status
from isa.chip import CHIPS
from isa.formats import Format, decode, encode
from tests.cli_runs import (
    PROMPT,
    TOKENS,
    VOCAB,
    assembled,
    compiled,
    done,
    emu,
    files,
    generated,
    logits_of,
    text_of,
    write_checkpoint,
)

ASM = Path(__file__).parent.parent / "programs" / "asm"
NUMBERS = ("--tokens", ",".join(map(str, TOKENS)))
EMU = [sys.executable, "-c", "from emulator.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_checkpoint(folder / "model")


@pytest.fixture(scope="module")
def program(folder: Path, model: Path) -> Path:
    return compiled(model, folder / "p.bin", "--rows", 8)


@pytest.fixture(scope="module")
def mute(folder: Path) -> Path:
    """A program without a tokenizer."""
    return compiled(write_checkpoint(folder / "mute", tokenizer=False), folder / "mute.bin")


@pytest.fixture(scope="module")
def bare(folder: Path, model: Path) -> Path:
    """A program without weights."""
    return compiled(model, folder / "bare.bin", "--rows", 8, "--no-weights")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- text and tokens


def test_a_prompt_is_continued(program: Path) -> None:
    result = generated(program, "--prompt", PROMPT, "--max-new-tokens", 6, "--ignore-eos")
    assert result["text"] == text_of(result["tokens"])
    assert len(result["tokens"]) == 6
    run = done("run", program, "--prompt", PROMPT, "--max-new-tokens", 6, "--ignore-eos",
               "--no-timing")  # fmt: skip
    assert run.out == f"{PROMPT}{result['text']}\n"


def test_a_prompt_and_its_tokens_are_the_same(program: Path) -> None:
    text = generated(program, "--prompt", PROMPT, "--max-new-tokens", 4)
    numbers = generated(program, *NUMBERS, "--max-new-tokens", 4)
    assert (text["tokens"], text["text"]) == (numbers["tokens"], numbers["text"])


def test_without_a_tokenizer_tokens_are_printed(program: Path, mute: Path) -> None:
    """As --tokens takes them, so that a run can be continued."""
    options = ("--no-timing", "--ignore-eos", "--max-new-tokens")
    out = done("run", mute, *NUMBERS, *options, 6).out
    tokens = [int(part) for part in out.split(",")]
    assert len(tokens) == 6
    half = done("run", mute, *NUMBERS, *options, 3).out.strip()
    rest = done("run", mute, "--tokens", f"{NUMBERS[1]},{half}", *options, 3).out
    assert out == f"{half},{rest}"
    result = generated(program, *NUMBERS, "--ignore-eos", "--max-new-tokens", 6)
    assert result["tokens"] == tokens
    assert generated(mute, *NUMBERS)["text"] is None


def test_the_end_of_text_ends_the_run(folder: Path) -> None:
    options = (*NUMBERS, "--max-new-tokens", 8)
    tokens = generated(folder / "p.bin", *options, "--ignore-eos")["tokens"]
    end = next(token for token in tokens[1:] if token != tokens[0])
    model = write_checkpoint(folder / "ending", eos_token_id=[end, 2])
    ending = compiled(model, folder / "ending.bin")
    assert generated(ending, *options)["tokens"] == tokens[: tokens.index(end) + 1]
    assert generated(ending, *options, "--ignore-eos")["tokens"] == tokens


def test_logits_of_every_token_drawn(program: Path, tmp_path: Path) -> None:
    tokens, logits = logits_of(tmp_path, program, *NUMBERS, "--max-new-tokens", 5, "--ignore-eos")
    assert logits.shape == (5, VOCAB)
    assert logits.view(np.float32).argmax(axis=1).tolist() == tokens


def test_the_whole_context_can_be_used(program: Path) -> None:
    prompt = ",".join("5" for _ in range(254))
    result = generated(program, "--tokens", prompt, "--max-new-tokens", 3, "--ignore-eos")
    assert len(result["tokens"]) == 3


# ---- JSON


def test_json_has_what_it_must_have(program: Path) -> None:
    result = done("run", program, *NUMBERS, "--max-new-tokens", 3, "--ignore-eos", "--json", "-")
    facts = result.json
    assert (facts["schema"], facts["chip"], facts["program"]) == (1, "t1-mini", str(program))
    assert facts["executor"] == "fast"
    assert facts["numeric"]["weights"] == "mxfp4"
    cycles = facts["cycles"]
    assert len(cycles["decode"]) == 2
    assert cycles["total"] == cycles["prefill"] + sum(cycles["decode"])
    assert cycles["prefill"] > 0
    assert facts["seconds"]["chip"] > cycles["total"] / 2.4e9
    assert facts["seconds"]["host"] > 0
    assert {"read", "write"} <= facts["traffic"]["hbm"].keys()
    assert {"hbm", "csram", "tsram", "noc"} <= facts["traffic"].keys()
    assert facts["bounds"] and facts["units"]


def test_json_in_a_file_is_what_is_printed(program: Path) -> None:
    options = ("run", program, *NUMBERS, "--max-new-tokens", 3)
    run = done(*options, "--json", "r.json")
    printed, written = done(*options, "--json", "-").json, json.loads(Path("r.json").read_text())
    for result in (printed, written):
        del result["seconds"]["host"]
    assert printed == written
    assert printed["text"] in run.out
    assert run.out.count("\n") > 10  # the text, then the report
    assert list(files(Path())) == ["r.json"]


def test_untimed_json_says_so_with_the_same_keys(program: Path) -> None:
    timed = generated(program, *NUMBERS, "--max-new-tokens", 1, timed=True)
    untimed = generated(program, *NUMBERS, "--max-new-tokens", 1)
    assert untimed["tokens"] == timed["tokens"]
    for key in ("cycles", "traffic", "bounds", "units"):
        assert timed[key] is not None
        assert untimed[key] is None
    assert untimed["seconds"]["chip"] is None


def test_trace_is_a_timeline(program: Path) -> None:
    done("run", program, *NUMBERS, "--max-new-tokens", 2, "--trace", "t.json", "--quiet")
    trace = json.loads(Path("t.json").read_text())
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    assert any(event.get("ph") == "X" and event["dur"] > 0 for event in events)


# ---- sampling


def drawn(program: Path, *options: object) -> list[int]:
    """Twelve tokens."""
    tokens: list[int] = generated(
        program, *NUMBERS, "--max-new-tokens", 12, "--ignore-eos", *options
    )["tokens"]
    return tokens


def test_a_seed_gives_the_same_tokens_again(program: Path) -> None:
    warm = ("--temperature", 1.5)
    first = drawn(program, *warm, "--seed", 7)
    assert drawn(program, *warm, "--seed", 7) == first
    others = [drawn(program, *warm, "--seed", seed) for seed in (8, 9, 1 << 40)]
    assert any(other != first for other in others)
    assert drawn(program, *warm) == drawn(program, *warm, "--seed", 0)


def test_greedy_ignores_the_seed(program: Path) -> None:
    greedy = drawn(program)
    assert drawn(program, "--seed", 5) == greedy
    assert drawn(program, "--temperature", 2, "--top-k", 1, "--seed", 3) == greedy
    assert drawn(program, "--temperature", 0.001, "--seed", 3) == greedy


def test_top_k_limits_what_is_drawn(program: Path, tmp_path: Path) -> None:
    options = ("--max-new-tokens", 12, "--ignore-eos", "--temperature", 50, "--seed", 4)
    tokens, logits = logits_of(tmp_path, program, *NUMBERS, *options, "--top-k", 3)
    ranked = np.argsort(-logits.view(np.float32), axis=1, kind="stable")
    places = [ranked[step].tolist().index(token) for step, token in enumerate(tokens)]
    assert max(places) <= 2
    assert len(set(places)) > 1  # 50 degrees leave little to choose between three candidates
    tokens, _ = logits_of(tmp_path, program, *NUMBERS, *options)
    assert len(set(tokens)) > 5


def test_candidates_default_to_what_the_program_ranks(model: Path) -> None:
    few = compiled(model, Path("few.bin"), "--top-k", 3)
    assert drawn(few, "--temperature", 9) == drawn(few, "--temperature", 9, "--top-k", 3)


# ---- what changes nothing


@pytest.mark.parametrize(
    "options", ["--chunk 1", "--chunk 2", "--chunk 99", "--threads 2", "--executor reference"]
)
def test_same_bits(program: Path, tmp_path: Path, options: str) -> None:
    wanted = (*NUMBERS, "--max-new-tokens", 2, "--ignore-eos")
    tokens, logits = logits_of(tmp_path, program, *wanted)
    other = logits_of(tmp_path, program, *wanted, *options.split())
    assert other[0] == tokens
    assert other[1].tobytes() == logits.tobytes()


@pytest.mark.parametrize("options", ["--threads 2", "--executor reference"])
def test_same_cycles(program: Path, options: str) -> None:
    wanted = ("--tokens", "5,6", "--max-new-tokens", 1)
    expected = generated(program, *wanted, timed=True)
    found = generated(program, *wanted, *options.split(), timed=True)
    assert found.pop("executor") in ("fast", "reference")
    expected.pop("executor")
    assert found == expected


def test_chunks_are_steps_of_their_own(program: Path) -> None:
    one = generated(program, *NUMBERS, "--max-new-tokens", 1, timed=True)["cycles"]
    three = generated(program, *NUMBERS, "--max-new-tokens", 1, "--chunk", 1, timed=True)["cycles"]
    assert three["prefill"] > 2 * one["prefill"]
    assert three["decode"] == one["decode"] == []


def test_another_chip_of_the_same_sizes_changes_cycles_only(program: Path) -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    slow = text.replace("name: t1-mini", "name: slow").replace("start: 960", "start: 5000")
    Path("slow.yaml").write_text(slow)
    wanted = (*NUMBERS, "--max-new-tokens", 3)
    ours = generated(program, *wanted, timed=True)
    slower = generated(program, *wanted, "--chip", "slow.yaml", timed=True)
    assert slower["chip"] == "slow"
    assert slower["tokens"] == ours["tokens"]
    assert slower["cycles"]["total"] > 2 * ours["cycles"]["total"]
    assert slower["traffic"] == ours["traffic"]


# ---- timing only


def test_timing_only_gives_the_cycles_of_a_real_run(program: Path, bare: Path) -> None:
    wanted = (*NUMBERS, "--max-new-tokens", 3, "--ignore-eos")
    real = generated(program, *wanted, timed=True)
    for path in (program, bare):
        timed = generated(path, *wanted, "--timing-only", timed=True)
        assert (timed["executor"], timed["tokens"], timed["text"]) == ("timing-only", None, None)
        assert timed["cycles"] == real["cycles"]
        assert timed["traffic"] == real["traffic"]


def test_timing_only_prints_the_report_alone(bare: Path) -> None:
    wanted = ("run", bare, *NUMBERS, "--timing-only", "--max-new-tokens", 2)
    assert "cycles" in done(*wanted).out
    assert done(*wanted, "--quiet").out == ""


# ---- programs that are no decoders

PASS_ON = """
.region io 0 0x1000 io
.symbol given io fp32[2, 3] in
.symbol made io fp32[2, 3] out
.entry first
    halt
.entry second
    halt
"""


def test_symbols_in_and_out(folder: Path) -> None:
    done("asm", ASM / "topk.tasm", "-o", "topk.bin")
    logits = np.random.default_rng(5).permutation(4000).astype(np.float32)
    np.save("logits.npy", logits)
    run = done("run", "topk.bin", "--input", "logits=logits.npy", "--output", "values=v.npy",
               "--output", "indices=i.npy")  # fmt: skip
    assert "cycles" in run.out
    assert np.load("v.npy").tolist() == [float(3999 - rank) for rank in range(8)]
    assert logits[np.load("i.npy")].tolist() == np.load("v.npy").tolist()


def test_plain_programs_are_the_same_on_both_executors(folder: Path) -> None:
    done("asm", ASM / "softmax.tasm", "-o", "s.bin")
    facts = done("info", "s.bin", "--json", "-").json["symbols"]
    inputs, outputs = ([s for s in facts if s["role"] == role] for role in ("in", "out"))
    options: list[str] = []
    for symbol in inputs:
        values = np.random.default_rng(1).standard_normal(symbol["shape"]).astype(np.float32)
        np.save(f"{symbol['name']}.npy", values)
        options += ["--input", f"{symbol['name']}={symbol['name']}.npy"]
    results = {}
    for executor in ("fast", "reference"):
        for symbol in outputs:
            options += ["--output", f"{symbol['name']}={executor}.npy"]
        done("run", "s.bin", *options, "--executor", executor, "--no-timing")
        results[executor] = Path(f"{executor}.npy").read_bytes()
        options = options[: 2 * len(inputs)]
    assert results["fast"] == results["reference"]


def test_an_entry_is_chosen_by_name() -> None:
    path = assembled(Path("p.bin"), PASS_ON)
    given = np.asfortranarray(np.arange(6).reshape(2, 3).astype(">f4"))
    np.save("given.npy", given)
    for entry in ("first", "second"):
        result = done("run", path, "--entry", entry, "--input", "given=given.npy",
                      "--output", "made=made.npy", "--json", "-").json  # fmt: skip
        assert result["tokens"] is None
        assert result["cycles"]["total"] > 0
        assert np.load("made.npy").tolist() == given.tolist()


@pytest.mark.parametrize("kind", ["fp16", "bf16", "e4m3fn", "e5m2", "e2m1"])
def test_numbers_are_rounded_to_the_symbols_format(kind: str) -> None:
    path = assembled(Path("p.bin"), f".region io 0 64 io\n.symbol x io {kind}[5] in\n"
                     ".entry e\nhalt\n")  # fmt: skip
    values = np.array([0.3, -1.26, 3.4, 1e9, 0], np.float32)
    np.save("values.npy", values)
    run = ("run", path, "--no-timing", "--output", "x=out.npy", "--input")
    done(*run, "x=values.npy")
    form = Format[kind.upper()]
    codes = encode(form, values)
    out = np.load("out.npy")
    assert out.dtype == (np.float16 if kind == "fp16" else codes.dtype)
    assert out.view(codes.dtype).tolist() == codes.tolist()
    assert decode(form, out.view(codes.dtype))[4] == 0
    # What came out goes in again: codes, or numbers that NumPy knows.
    Path("out.npy").rename("in.npy")
    done(*run, "x=in.npy")
    assert Path("out.npy").read_bytes() == Path("in.npy").read_bytes()


def test_timing_only_of_a_plain_program_takes_its_inputs(folder: Path) -> None:
    done("asm", ASM / "topk.tasm", "-o", "topk.bin")
    np.save("logits.npy", np.zeros(4000, np.float32))
    run = ("run", "topk.bin", "--input", "logits=logits.npy", "--json", "-")
    timed, real = done(*run, "--timing-only").json, done(*run).json
    assert timed["cycles"]["total"] > 0
    assert timed["traffic"]["hbm"] == real["traffic"]["hbm"]


# ---- what is printed where


def test_output_can_be_piped(program: Path) -> None:
    wanted = ["run", str(program), "--prompt", PROMPT, "--max-new-tokens", "4", "--quiet"]
    process = subprocess.run([*EMU, *wanted], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    expected = generated(program, "--prompt", PROMPT, "--max-new-tokens", 4)["text"]
    assert process.stdout == f"{PROMPT}{expected}\n"


def test_a_reader_may_leave(program: Path) -> None:
    process = subprocess.Popen(
        [*EMU, "run", str(program), *NUMBERS, "--no-timing", "--json", "r.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert (process.returncode, errors) == (141, b"")
    assert files(Path()) == {}


LOUD = """
from emulator.cli import main
from emulator.fast.machine import FastMachine
ring = FastMachine.ring
def loud(*arguments):
    print("ready", flush=True)
    ring(*arguments)
FastMachine.ring = loud
main()
"""


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_an_interrupt_ends_even_an_endless_program(executor: str) -> None:
    path = assembled(Path("p.bin"), ".region io 0 64 io\n.symbol x io fp32[2] out\n"
                     ".entry e\nagain: jmp again\n")  # fmt: skip
    Path("r.json").write_text("old")
    before = files(Path())
    script = LOUD if executor == "fast" else LOUD.replace("fast", "reference").replace(
        "FastMachine", "ReferenceMachine")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", script, "run", str(path), "--executor", executor, "--no-timing",
         "--json", "r.json", "--output", "x=x.npy"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "emu: error: interrupted\n")
    assert files(Path()) == before


def test_status_is_for_terminals_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(status, "_PATIENCE", 0.0)
    with Status("working"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Status("working") as line:
        time.sleep(0.2)
        line.say("still working")
        time.sleep(0.2 + status._PERIOD)
    shown = capsys.readouterr().err
    assert "working, 0 s" in shown
    assert "still working, " in shown
    assert shown.endswith("\r\033[K")


def test_text_and_status_share_a_terminal(program: Path) -> None:
    """Once text is written to the terminal, nothing else is."""
    ours, theirs = pty.openpty()
    script = (
        "from emulator import cli, status\nstatus._PATIENCE = 0.0\nstatus._PERIOD = 0.01\n"
        "cli.main()"
    )
    wanted = ["run", str(program), "--prompt", PROMPT, "--max-new-tokens", "3", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *wanted], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(_chunks(ours)).decode()
    os.close(ours)
    assert process.returncode == 0
    text = generated(program, "--prompt", PROMPT, "--max-new-tokens", 3)["text"]
    before, _, after = shown.rpartition("\033[K")
    assert after == f"{PROMPT}{text}\r\n"
    assert "preparing the emulator, 0 s" in before


def _chunks(terminal: int) -> Any:
    """What a terminal shows, until nobody writes to it any more."""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            return
        if not chunk:
            return
        yield chunk


def test_help_names_every_option() -> None:
    out = done("run", "--help").out
    for option in ("--prompt", "--tokens", "--input", "--output", "--json", "--trace", "--seed"):
        assert option in out
    assert emu("run").status == 2
