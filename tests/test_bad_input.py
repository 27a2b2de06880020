"""Bad input of `emu run`: one line that names place and remedy, and nothing left behind.

Programs that are bad themselves are in test_bad_programs.py, models in test_bad_models.py.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli_runs import (
    MINI,
    MODEL,
    PROMPT,
    VOCAB,
    done,
    emu,
    files,
    keep_outputs,
    made,
    refused,
    run_refused,
    write_checkpoint,
)

TOKENS = ("--tokens", "1,2")


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_outputs(tmp_path, monkeypatch)


# ---- outputs that cannot be written

UNWRITABLE = {
    "no/such/out": "no such file or directory",
    "folder": "it is a directory",
    "kept.npy/out": "not a directory",
    "x" * 300: "file name too long",
}


@pytest.mark.parametrize("output", UNWRITABLE, ids=lambda name: name[:12])
@pytest.mark.parametrize("option", ["compile", "--json", "--trace", "--output"])
def test_unwritable_outputs(monkeypatch: pytest.MonkeyPatch, option: str, output: str) -> None:
    """Refused before the work, not after it."""
    program = made().good
    Path("folder").mkdir()
    Path("config.json").write_text(json.dumps(MODEL))
    for work in ("compiler.api.compile_stages", "emulator.fast.machine.FastMachine.__init__"):
        monkeypatch.setattr(work, None)
    expected = f"{output}: cannot be written: {UNWRITABLE[output]}"
    if option == "compile":
        refused(expected, "compile", "config.json", "--no-weights", *MINI, "-o", output)
    else:
        value = f"logits={output}" if option == "--output" else output
        refused(expected, "run", program, *TOKENS, option, value)


def test_full_devices() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    before = files(Path())
    result = emu("run", made().good, *TOKENS, "--no-timing", "--json", "/dev/full",
                 "--max-new-tokens", 1)  # fmt: skip
    assert result.status == 2
    assert result.err == "emu: error: /dev/full: cannot be written: no space left on device\n"
    assert files(Path()) == before


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--json p.bin", "--json: p.bin: is an input as well; choose another file"),
        ("--trace ./p.bin", "--trace: p.bin: is an input as well"),
        ("--output logits=p.bin", "--output: p.bin: is an input as well"),
        ("--json a --trace a", "--trace: a: is another output as well"),
        ("--output logits=link --json kept.json", "--json: kept.json: is another output as well"),
    ],
)
def test_outputs_in_each_others_place(options: str, expected: str) -> None:
    Path("p.bin").write_bytes(made().good.read_bytes())
    Path("link").symlink_to("kept.json")
    refused(expected, "run", "p.bin", *TOKENS, *options.split())


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_program_in_place_of_its_model(name: str) -> None:
    model = write_checkpoint(Path("model"))
    expected = f"model/{name}: is one of the model's own files"
    refused(expected, "compile", model, *MINI, "-o", model / name)


# ---- what a decoder is asked

LONG = ",".join("1" for _ in range(257))
DECODER: list[tuple[list[str], str]] = [
    ([], "good.bin: a decoder needs --prompt TEXT or --tokens 1,2"),
    (["--prompt", ""], "--prompt: '' has no tokens; give some text"),
    (["--prompt", "a\udcff"], "the text is not valid Unicode"),
    (["--prompt", ("w5 " * 300).strip()], "331 positions are beyond the program's context of 256"),
    (["--tokens", LONG, "--max-new-tokens", "1"], "257 positions are beyond the program's context"),
    (["--tokens", "1,2", "--max-new-tokens", "256"], "257 positions are beyond"),
    (["--prompt", "w5", *TOKENS], "--prompt and --tokens exclude each other"),
    (["--tokens", str(VOCAB)], f"token {VOCAB} is outside the vocabulary of {VOCAB}"),
    (["--tokens", "1,999999999999"], "token 999999999999 is outside the vocabulary"),
    (["--tokens", ""], "--tokens: expected numbers like 1,2,3, got ''"),
    (["--tokens", "1,,2"], "--tokens: expected numbers like 1,2,3, got ''"),
    (["--tokens", "1,-2"], "--tokens: expected numbers like 1,2,3, got '-2'"),
    (["--tokens", "one"], "--tokens: expected numbers like 1,2,3, got 'one'"),
    (["--tokens", "1.5"], "--tokens: expected numbers like 1,2,3, got '1.5'"),
    (["--tokens", "1,\n2,x\ny"], "--tokens: expected numbers like 1,2,3, got 'x\\ny'"),
    (["--tokens", "9" * 5000], "--tokens: expected numbers like 1,2,3, got '999"),
    (["--tokens", "١"], "--tokens: expected numbers like 1,2,3, got"),
    ([*TOKENS, "--max-new-tokens", "0"], "--max-new-tokens: expected at least 1, got 0"),
    ([*TOKENS, "--max-new-tokens", "-5"], "--max-new-tokens: expected at least 1, got -5"),
    ([*TOKENS, "--max-new-tokens", "many"], "'many' is not a valid integer; see `emu run --help`"),
    ([*TOKENS, "--temperature", "-1"], "temperature -1.0 is outside 0.001..1000 (0 is greedy)"),
    ([*TOKENS, "--temperature", "nan"], "temperature nan is outside"),
    ([*TOKENS, "--temperature", "inf"], "temperature inf is outside"),
    ([*TOKENS, "--temperature", "1e-9"], "temperature 1e-09 is outside"),
    ([*TOKENS, "--temperature", "hot"], "'hot' is not a valid float"),
    ([*TOKENS, "--top-k", "0"], "--top-k: expected at least 1, got 0"),
    ([*TOKENS, "--top-k", "7"], "--top-k: 7 is beyond the 6 candidates the program ranks"),
    ([*TOKENS, "--seed", "-1"], "--seed: expected 0..9223372036854775807, got -1"),
    ([*TOKENS, "--chunk", "0"], "--chunk: expected at least 1, got 0"),
    ([*TOKENS, "--threads", "0"], "--threads: expected 1..1024, got 0"),
    ([*TOKENS, "--threads", "9999"], "--threads: expected 1..1024, got 9999"),
    ([*TOKENS, "--executor", "slow"], "'slow' is not one of 'fast', 'reference'"),
    ([*TOKENS, "--timing-only", "--no-timing"], "--timing-only and --no-timing exclude"),
    ([*TOKENS, "--timing-only", "--executor", "reference"], "--timing-only: the reference"),
    ([*TOKENS, "--timing-only", "--output", "logits=kept.npy"], "--output: a timing-only run has"),
    ([*TOKENS, "--no-timing", "--trace", "t.json"], "--trace needs timing"),
    ([*TOKENS, "--input", "rows=kept.npy"], "--input and --entry are for programs that are no"),
    ([*TOKENS, "--entry", "step"], "--input and --entry are for programs that are no decoders"),
    ([*TOKENS, "--output", "next=kept.npy"], "--output: a decoder saves logits, not 'next'"),
    ([*TOKENS, "--output", "logits"], "--output: expected NAME=FILE.npy, got 'logits'"),
    ([*TOKENS, "--output", "logits="], "--output: expected NAME=FILE.npy, got 'logits='"),
    ([*TOKENS, "--output", "logits=a", "--output", "logits=b"], "'logits' is given twice"),
    ([*TOKENS, "--chip", "t9"], "t9: unknown chip; known are "),
    ([*TOKENS, "--chip", "none.yaml"], "none.yaml: cannot be read: No such file"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"), DECODER, ids=[" ".join(o)[:40] for o, _ in DECODER]
)
def test_what_a_decoder_is_asked(
    monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str
) -> None:
    """All of it is found out before there is a machine."""
    program = made().good
    monkeypatch.setattr("emulator.fast.machine.FastMachine.__init__", None)
    run_refused(expected, program, *options)


def test_a_process_of_its_own() -> None:
    """Bytes that are no text: one line, and no traceback."""
    command = [sys.executable, "-c", "from emulator.cli import main; main()", "run"]
    wanted = [str(made().good), "--prompt", b"w5 \xff\xfe", "--json", "kept.json"]
    result = subprocess.run([*command, *wanted], capture_output=True, check=False)
    expected = b"emu: error: the text is not valid Unicode: it holds a surrogate\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, b"", expected)
    assert Path("kept.json").read_text() == "as it was"


def test_text_without_a_tokenizer() -> None:
    run_refused("mute.bin: has no tokenizer; give --tokens", made().mute, "--prompt", PROMPT)


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_values_without_weights(executor: str) -> None:
    expected = "bare.bin: holds no weights; run it with --timing-only, or compile it without"
    run_refused(expected, made().bare, *TOKENS, "--executor", executor)


# ---- what other programs are given

GOOD = np.zeros((2, 3), np.float32)


def _npy(array: np.ndarray[Any, Any], **options: Any) -> Callable[[], None]:
    return lambda: np.save("in.npy", array, **options)


def _bytes(content: bytes) -> Callable[[], None]:
    return lambda: Path("in.npy").write_bytes(content) and None


def _cut() -> None:
    np.save("in.npy", GOOD)
    Path("in.npy").write_bytes(Path("in.npy").read_bytes()[:-4])


def _huge() -> None:
    np.save("in.npy", GOOD)
    data = Path("in.npy").read_bytes()
    Path("in.npy").write_bytes(data.replace(b"(2, 3), }         ", b"(2, 3000000000), }"))


ARRAYS: dict[str, tuple[str, Callable[[], None], str]] = {
    "missing": ("x", lambda: None, "in.npy: cannot be read: no such file or directory"),
    "folder": ("x", lambda: Path("in.npy").mkdir(), "in.npy: cannot be read: is a directory"),
    "empty": ("x", _bytes(b""), "in.npy: not an .npy file of numbers: "),
    "text": ("x", _bytes(b"1 2 3\n"), "in.npy: not an .npy file of numbers: "),
    "cut": ("x", _cut, "in.npy: not an .npy file of numbers: "),
    "huge": ("x", _huge, "in.npy: "),
    "pickled": (
        "x",
        _npy(np.array([[{}] * 3] * 2, object), allow_pickle=True),
        "in.npy: not an .npy file of numbers: ",
    ),
    "shape": ("x", _npy(GOOD.T), "in.npy: shape [3, 2] is not that of x, [2, 3]"),
    "rank": ("x", _npy(GOOD.reshape(-1)), "in.npy: shape [6] is not that of x, [2, 3]"),
    "fp64": ("x", _npy(GOOD.astype(float)), "float64 is not what x, FP32, takes: float32"),
    "integers": ("x", _npy(GOOD.astype("i4")), "int32 is not what x, FP32, takes: float32"),
    "text array": ("x", _npy(np.full((2, 3), "abc")), "is not what x, FP32, takes: float32"),
    "record": ("x", _npy(np.zeros((2, 3), "i2,i2")), "is not what x, FP32, takes: float32"),
    "fp16 for bf16": (
        "b",
        _npy(np.zeros(4, np.float16)),
        "float16 is not what b, BF16, takes: float32 or codes (uint16)",
    ),
    "int64 for i32": ("i", _npy(np.zeros(4, int)), "int64 is not what i, I32, takes: int32"),
    "fp32 for i32": ("i", _npy(np.zeros(4, "f4")), "float32 is not what i, I32, takes: int32"),
    "fp32 for scales": ("s", _npy(np.zeros(4, "f4")), "float32 is not what s, E8M0, takes"),
    "nibbles": ("n", _npy(np.full(4, 16, "u1")), "code 16 is none of n's: E2M1 has 16"),
    "output": ("y", _npy(np.zeros(4, "f4")), "--input: y is an output"),
    "unknown": ("z", _npy(GOOD), "plain.bin: no symbol 'z'; it has x, b, n, s, i, y"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name: str) -> None:
    symbol, write, expected = ARRAYS[name]
    write()
    result = run_refused(expected, made().plain, "--entry", "one", "--input", f"{symbol}=in.npy")
    assert ".npy" in result.err or symbol in "yz"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", "plain.bin: name an entry by --entry; it has one, two"),
        ("--entry three", "plain.bin: no entry 'three'; it has one, two"),
        ("--entry one --output q=kept.npy", "plain.bin: no symbol 'q'; it has x, b, n"),
        ("--entry one --tokens 1", "plain.bin: is no decoder; use --input and --output"),
        ("--entry one --prompt x", "plain.bin: is no decoder; use --input and --output"),
        ("--entry one --input x", "--input: expected NAME=FILE.npy, got 'x'"),
        ("--entry one --input =x", "--input: expected NAME=FILE.npy, got '=x'"),
        ("--entry one --input x=a --input x=b", "--input: 'x' is given twice"),
    ],
)
def test_what_other_programs_are_asked(options: str, expected: str) -> None:
    run_refused(expected, made().plain, *options.split())


def test_what_is_good_is_not_refused() -> None:
    """The programs of these tests run, so that each case fails for its own reason only."""
    done("run", made().good, *TOKENS, "--max-new-tokens", 1, "--json", "kept.json", "--quiet")
    done("run", made().bare, *TOKENS, "--max-new-tokens", 1, "--timing-only")
    np.save("in.npy", GOOD)
    done("run", made().plain, "--entry", "one", "--input", "x=in.npy", "--output", "y=kept.npy")
    assert Path("kept.json").read_text() != "as it was"
