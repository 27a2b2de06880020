"""`emu run` of programs that are no decoders: symbols in, one entry, symbols out."""

from pathlib import Path

import numpy as np
import pytest

from isa.formats import Format, decode, encode
from tests.cli_runs import (
    assembled,
    done,
)

ASM = Path(__file__).parent.parent / "programs" / "asm"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


PASS_ON = """
.region io 0 0x1000 io
.symbol given io fp32[2, 3] in
.symbol made io fp32[2, 3] out
.entry first
    halt
.entry second
    halt
"""


def test_symbols_in_and_out() -> None:
    done("asm", ASM / "topk.tasm", "-o", "topk.bin")
    logits = np.random.default_rng(5).permutation(4000).astype(np.float32)
    np.save("logits.npy", logits)
    run = done("run", "topk.bin", "--input", "logits=logits.npy", "--output", "values=v.npy",
               "--output", "indices=i.npy")  # fmt: skip
    assert "cycles" in run.out
    assert np.load("v.npy").tolist() == [float(3999 - rank) for rank in range(8)]
    assert logits[np.load("i.npy")].tolist() == np.load("v.npy").tolist()


def test_plain_programs_are_the_same_on_both_executors() -> None:
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


def test_timing_only_of_a_plain_program_takes_its_inputs() -> None:
    done("asm", ASM / "topk.tasm", "-o", "topk.bin")
    np.save("logits.npy", np.zeros(4000, np.float32))
    run = ("run", "topk.bin", "--input", "logits=logits.npy", "--json", "-")
    timed, real = done(*run, "--timing-only").json, done(*run).json
    assert timed["cycles"]["total"] > 0
    assert timed["traffic"]["hbm"] == real["traffic"]["hbm"]
