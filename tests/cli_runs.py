"""Runs `emu` in this process, and makes the small models, tokenizers and programs to run it on."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from decoder_runs import SMALL
from tiny_models import write_model
from tokenizers import decoders, models, pre_tokenizers

from emulator import cli

MODEL = SMALL["llama"] | {"max_position_embeddings": 256}
VOCAB = MODEL["vocab_size"]
WORDS = [f"w{number}" for number in range(3, VOCAB)]
PROMPT = "w5 w40 w7"
TOKENS = [5, 40, 7]
MINI = ("--chip", "t1-mini")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def emu(*arguments: object) -> Result:
    """Run `emu ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.run([str(argument) for argument in arguments])
    return Result(status, out.getvalue(), err.getvalue())


def done(*arguments: object) -> Result:
    """Run a command that succeeds, and has nothing to complain of."""
    result = emu(*arguments)
    assert (result.status, result.err) == (0, "")
    return result


# ---- models


@cache
def tokenizer_json() -> str:
    """A tokenizer of words numbered by name; leading spaces depend on the place."""
    words = ["<unk>", "<s>", "</s>", *(f"▁{word}" for word in WORDS)]
    inner = tokenizers.Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.add_special_tokens(["<s>", "</s>"])
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    return str(inner.to_str())


def text_of(tokens: list[int]) -> str:
    """Text that the tokenizer makes of tokens after others: special ones say nothing."""
    return "".join(f" w{token}" for token in tokens if token > 2)


def write_checkpoint(directory: Path, tokenizer: bool = True, **changes: Any) -> Path:
    """Write the model, with changes to its config; `shards` and `dtype` as write_model has them."""
    storage = {key: changes.pop(key) for key in ("shards", "dtype") if key in changes}
    write_model(directory, MODEL | changes, **storage)
    if tokenizer:
        (directory / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    return directory


def compiled(model: Path, output: Path, *options: object) -> Path:
    """Compile a model for t1-mini by the command line."""
    done("compile", model, "-o", output, *MINI, *options, "--quiet")
    return output


def assembled(output: Path, text: str) -> Path:
    """Assemble a program for t1-mini by the command line."""
    source = output.with_suffix(".tasm")
    source.write_text(f".chip t1-mini\n{text}")
    done("asm", source, "-o", output)
    return output


PLAIN = """
.region io 0 0x1000 io
.region control 0x1000 0x1000 control
.symbol x io fp32[2, 3] in
.symbol b io+0x100 bf16[4] in
.symbol n io+0x200 e2m1[4] in
.symbol s io+0x300 e8m0[4] in
.symbol i io+0x400 i32[4] in
.symbol y io+0x500 fp32[4] out
.entry one
    halt
.entry two
    halt
"""


@dataclass(frozen=True)
class Made:
    """Programs: a decoder, one without tokenizer, one without weights, and no decoder."""

    good: Path
    mute: Path
    bare: Path
    plain: Path


@cache
def made() -> Made:
    """Programs for tests that do not change them; made once in a process."""
    _ROOM.append(tempfile.TemporaryDirectory(prefix="tessera-tests-"))
    folder = Path(_ROOM[0].name)
    model = write_checkpoint(folder / "model")
    mute = write_checkpoint(folder / "mute", tokenizer=False)
    return Made(
        compiled(model, folder / "good.bin", "--rows", 8, "--top-k", 6),
        compiled(mute, folder / "mute.bin", "--rows", 8),
        compiled(model, folder / "bare.bin", "--rows", 8, "--no-weights"),
        assembled(folder / "plain.bin", PLAIN),
    )


_ROOM: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


# ---- refusals

KEPT = "kept.bin"  # an output that exists already


def keep_outputs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder that holds nothing but output files of before."""
    monkeypatch.chdir(folder)
    for name in (KEPT, "kept.json", "kept.npy"):
        Path(name).write_text("as it was")


def refused(expected: str, *arguments: object, status: int = 2, lines: int = 1) -> Result:
    """The command ends with so many lines, one of which has the text, and changes no file."""
    before = files(Path())
    result = emu(*arguments)
    assert (result.status, result.out) == (status, ""), result
    found = result.err.splitlines()
    assert len(found) == lines, result.err
    assert all(line.startswith("emu: error: ") for line in found)
    assert expected in result.err
    assert files(Path()) == before
    return result


def compile_refused(expected: str, *arguments: object) -> Result:
    """`emu compile` refuses; it is for t1-mini unless another chip is given."""
    chip = () if "--chip" in arguments else MINI
    return refused(expected, "compile", *arguments, *chip, "-o", KEPT)


def run_refused(expected: str, program: Path, *arguments: object) -> Result:
    """`emu run` refuses."""
    return refused(expected, "run", program, *arguments, "--json", "kept.json")


# ---- results


def generated(program: Path, *options: object, timed: bool = False) -> dict[str, Any]:
    """The JSON result of a run, less what depends on the host."""
    timing = () if timed else ("--no-timing",)
    result: dict[str, Any] = done("run", program, *timing, *options, "--json", "-").json
    result["seconds"].pop("host")
    return result


def logits_of(folder: Path, program: Path, *options: object) -> tuple[list[int], np.ndarray]:
    """Tokens of a run, and their logits as patterns: [tokens, vocab]."""
    file = folder / "logits.npy"
    result = generated(program, *options, "--output", f"logits={file}")
    logits = np.load(file)
    assert logits.dtype == np.float32
    return result["tokens"], logits.view(np.uint32)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, with its bytes; folders too, hidden ones included."""
    return {str(path.relative_to(folder)): content for path, content in _contents(folder)}


def _contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield path, path.read_bytes() if path.is_file() else b"folder"
