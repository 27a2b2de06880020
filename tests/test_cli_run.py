"""`emu run` from end to end: text, tokens, bits, files; and that nothing else changes them."""

import json
from pathlib import Path

import numpy as np
import pytest

from isa.chip import CHIPS
from tests.cli_runs import (
    PROMPT,
    TOKENS,
    VOCAB,
    compiled,
    done,
    emu,
    files,
    generated,
    logits_of,
    text_of,
    write_checkpoint,
)

NUMBERS = ("--tokens", ",".join(map(str, TOKENS)))


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


def test_the_end_of_text_ends_the_run(folder: Path, program: Path) -> None:
    options = (*NUMBERS, "--max-new-tokens", 8)
    tokens = generated(program, *options, "--ignore-eos")["tokens"]
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


def test_help_names_every_option() -> None:
    out = done("run", "--help").out
    for option in (
        "--prompt",
        "--tokens",
        "--input",
        "--output",
        "--json",
        "--trace",
        "--seed",
        "--konata",
        "--window",
        "--trace-steps",
        "--trace-tiles",
        "--explain",
    ):
        assert option in out
    assert emu("run").status == 2
