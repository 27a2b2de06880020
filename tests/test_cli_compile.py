"""`emu compile` from end to end: what it records, prints and writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler.options import TECHNIQUES
from isa.chip import CHIPS
from isa.program import load
from tests.cli_runs import (
    MINI,
    MODEL,
    TOKENS,
    compiled,
    done,
    emu,
    files,
    logits_of,
    tokenizer_json,
    write_checkpoint,
)

FORMATS = ("mxfp4", "nvfp4", "mxfp8", "fp8", "bf16")
NUMERIC: dict[str, Any] = {
    "weights": "mxfp4",
    "activations": "mxfp8",
    "kv": "bf16",
    "lm_head": "mxfp4",
    "scale_mode": "round_up",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("options", "numeric"),
    [([], {})]
    + [(["--weights", name], {"weights": name, "lm_head": name}) for name in FORMATS[1:]]
    + [(["--activations", name], {"activations": name}) for name in FORMATS if name != "mxfp8"]
    + [
        (["--kv", "fp8"], {"kv": "fp8"}),
        (["--lm-head", "bf16"], {"lm_head": "bf16"}),
        (["--scale-mode", "floor"], {"scale_mode": "floor"}),
        (["--weights", "bf16", "--activations", "bf16", "--lm-head", "fp8", "--kv", "fp8"],
         {"weights": "bf16", "activations": "bf16", "lm_head": "fp8", "kv": "fp8"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_formats_are_recorded_and_printed(
    model: Path, options: list[str], numeric: dict[str, str]
) -> None:
    result = done("compile", model, "-o", "p.bin", *MINI, *options)
    recorded = load("p.bin").metadata["numeric"]
    expected = NUMERIC | numeric
    assert {key: recorded[key] for key in expected} == expected
    assert result.out.startswith("p.bin: llama, ")
    for line in (
        f"weights of q, k, v, o, gate, up, down: {expected['weights']}",
        f"weights of lm_head: {expected['lm_head']}",
        f"inputs of every weight matrix: {expected['activations']}",
        f"KV cache: {expected['kv']}",
        "embedding table: bf16",
    ):
        assert f"  {line}\n" in result.out
    assert "all checksums are right" in done("info", "p.bin", "--verify").out
    assert list(files(Path())) == ["p.bin"]


def test_capacities_are_recorded_and_printed(model: Path) -> None:
    result = done(
        "compile", model, "-o", "p.bin", *MINI, "--context", 200, "--rows", 24, "--sequences", 3,
        "--logit-rows", 5, "--top-k", 7, "--split", 2,
    )  # fmt: skip
    assert "24 rows a step, 3 sequences of 200 positions" in result.out
    metadata = load("p.bin").metadata
    expected = {"rows": 24, "wanted": 5, "sequences": 3, "context": 200, "top_k": 7}
    expected |= {"blocks": 2, "pages": 6, "page": 128}
    assert metadata["capacity"] == expected
    assert metadata["options"]["split"] == 2


def test_defaults_fit_the_model(model: Path) -> None:
    compiled(model, Path("p.bin"))
    program = load("p.bin")
    capacity = program.metadata["capacity"]
    assert (capacity["context"], capacity["sequences"], capacity["top_k"]) == (256, 8, 40)
    each, clusters = program.metadata["plan"]["group_rows"], program.chip.architecture["clusters"]
    assert 1 <= each <= 128 and capacity["rows"] == each * clusters
    assert program.tokenizer == tokenizer_json().encode()
    assert program.metadata["model"]["eos"] == [2]
    assert sorted(program.entries) == ["reset", "step"]


def test_more_candidates_than_tokens_are_as_many_as_there_are(model: Path) -> None:
    program = load(compiled(model, Path("p.bin"), "--top-k", 1000))
    assert program.metadata["capacity"]["top_k"] == MODEL["vocab_size"]


def test_capacities_change_no_bit(model: Path, tmp_path: Path) -> None:
    wanted = ("--tokens", ",".join(map(str, TOKENS)), "--max-new-tokens", 3, "--ignore-eos")
    variants = [
        (),
        ("--split", 1),
        ("--split", 4),
        ("--rows", 2, "--sequences", 1, "--context", 20, "--top-k", 3),
    ]
    runs = [
        logits_of(tmp_path, compiled(model, Path("p.bin"), *options), *wanted)
        for options in variants
    ]
    for tokens, logits in runs[1:]:
        assert tokens == runs[0][0]
        assert logits.tobytes() == runs[0][1].tobytes()


# ---- stages


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("graph", ["layer x2:", "hq[44] = quantise(h) to=mxfp8", "lm_head"]),
        ("fused", ["linear     gate_up: gate + up", "-> swiglu", "after:"]),
        ("plan", ["HBM regions:", "k_cache", "tile memory (", "weights", "a_data", "stage"]),
        ("schedule", ["one row group of 4 tiles", "gate_up", "-> lm_head", "w_full/w_free"]),
        ("asm", [".chip t1-mini", ".entry step", "gemm"]),
    ],
)
def test_stages_can_be_printed(model: Path, stage: str, facts: list[str]) -> None:
    out = done("compile", model, *MINI, "--dump", stage).out
    for fact in facts:
        assert fact in out
    # Weights are not looked at, and nothing is written.
    assert done("compile", model / "config.json", *MINI, "--dump", stage, "-o", "p.bin").out == out
    assert files(Path()) == {}


def test_dumped_assembly_is_the_program(model: Path) -> None:
    Path("p.tasm").write_text(done("compile", model, *MINI, "--dump", "asm").out)
    done("asm", "p.tasm", "-o", "p.bin")
    program = load(compiled(model, Path("q.bin")))
    assert load("p.bin").code.tobytes() == program.code.tobytes()
    assert load("p.bin").descriptors.tobytes() == program.descriptors.tobytes()


# ---- without weights


def test_no_weights_from_a_directory_and_from_its_config(model: Path) -> None:
    whole = compiled(model, Path("whole.bin"))
    for source, output in ((model, "a.bin"), (model / "config.json", "b.bin")):
        compiled(source, Path(output), "--no-weights")
    bare = load("a.bin")
    assert bare.timing_only and not load(whole).timing_only
    assert Path("a.bin").read_bytes() == Path("b.bin").read_bytes()
    assert Path("a.bin").stat().st_size < whole.stat().st_size
    assert bare.code.tobytes() == load(whole).code.tobytes()
    assert "omitted: for --timing-only" in done("info", "a.bin").out


def test_no_weights_needs_nothing_but_the_config() -> None:
    Path("config.json").write_text(json.dumps(MODEL))
    compiled(Path(), Path("p.bin"), "--no-weights")
    assert load("p.bin").tokenizer is None


def test_without_a_tokenizer(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "model", tokenizer=False)
    assert load(compiled(model, Path("p.bin"))).tokenizer is None


# ---- the file


def test_the_same_input_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    first = compiled(model, Path("a.bin")).read_bytes()
    assert compiled(model, Path("b.bin")).read_bytes() == first
    sharded = write_checkpoint(tmp_path / "sharded", shards=3)
    assert compiled(sharded, Path("c.bin")).read_bytes() == first
    script = "import sys; from emulator.cli import main; main()"
    command = [sys.executable, "-c", script, "compile", str(model), "-o", "d.bin", *MINI]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert Path("d.bin").read_bytes() == first


def test_other_weights_give_other_bytes(model: Path, tmp_path: Path) -> None:
    rounded = write_checkpoint(tmp_path / "f16", dtype="F16")
    assert (
        compiled(rounded, Path("a.bin")).read_bytes() != compiled(model, Path("b.bin")).read_bytes()
    )


def test_an_existing_program_is_replaced(model: Path) -> None:
    Path("p.bin").write_text("something else")
    compiled(model, Path("p.bin"))
    assert load("p.bin").metadata["kind"] == "decoder"
    assert list(files(Path())) == ["p.bin"]


def test_quiet_prints_nothing(model: Path) -> None:
    result = emu("compile", model, "-o", "p.bin", *MINI, "--quiet")
    assert (result.status, result.out, result.err) == (0, "", "")


def test_a_chip_of_ones_own(model: Path) -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    text = text.replace("name: t1-mini", "name: mine").replace("bytes: 262144", "bytes: 200000")
    Path("mine.yaml").write_text(text)
    result = done("compile", model, "-o", "p.bin", "--chip", "mine.yaml")
    assert "for mine\n" in result.out
    program = load("p.bin")
    assert program.chip.architecture["tile.tsram.bytes"] == 200000
    tokens = done("run", "p.bin", "--chip", "mine.yaml", "--no-timing", "--tokens", "1,2").out
    compiled(model, Path("q.bin"))
    assert done("run", "q.bin", "--no-timing", "--tokens", "1,2").out == tokens


def test_the_document_names_every_technique() -> None:
    text = (Path(__file__).parents[1] / "docs" / "cli.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "`--without NAME`" in line)
    assert line.split("(repeatable): ")[1].split(";")[0].split(", ") == list(TECHNIQUES)
