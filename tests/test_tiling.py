"""The tiling: no knob changes a bit, each takes its rule's place exactly, and refusals say why."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
from check_runs import checked
from cli_runs import done, emu
from decoder_runs import SMALL, Model, Step, mini, play
from graph_model import Numeric
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.api import compile_config, plan_config
from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.options import Options
from compiler.settled import settled
from compiler.tiling import KNOBS, RULES, Tiling
from emulator.explore import inputs
from emulator.search.space import LADDERS
from isa.chip import Chip, load_chip
from isa.program import load

NUMERIC = Numeric("mxfp4", "mxfp8")
CAPACITY = {"rows": 48, "sequences": 2, "context": 256, "top_k": 3}
#: A prompt in steps of several row groups, then single rows, then a few of two texts.
STEPS: list[Step] = [{"a": 48}, {"a": 48}, {"a": 48}, {"a": 1}, {"a": 3, "b": 20}, {"a": 1, "b": 1}]
LENGTHS = {"a": 149, "b": 21}
TILINGS = (
    "chunk=1024,slots=2",
    "chunk=3072,slots=3,parts=1",
    "block=4,stage=4,wide_stage=4",
    "stage=8,wide_stage=12,parts=16",
    "group_rows=24,block=12",
    "group_rows=48,stage=12",
    "skinny=0,shared_rows=1,head_part=1",
    "skinny=4096,shared_rows=4096,head_part=4096",
    "page_slots=2,attend_rows=4,item_rows=1,spread=1",
    "page_slots=5,attend_rows=20,item_rows=1024,spread=4096",
    "lent=0,page_slots=3,slots=4",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 1}
    return Model.make(tmp_path_factory.mktemp("model"), SMALL["llama"] | sizes)


def options(model: Model, text: str) -> Options:
    return replace(model.options(NUMERIC, **CAPACITY), tiling=Tiling.parse(text))


# ---- bits


@pytest.mark.parametrize("text", TILINGS)
def test_no_knob_changes_a_bit(model: Model, text: str) -> None:
    """And nothing reads what it should not, or is overwritten too early."""
    chip = mini()
    found = options(model, text)
    config = ModelConfig.load(model.path)
    now = settled(plan_config(config, chip, found)).given()
    assert now | found.tiling.given() == now
    program = model.compile(chip, NUMERIC, **CAPACITY, tiling=found.tiling)  # type: ignore[arg-type]
    machine = checked(program, chip)
    texts = {name: model.text(length, 1) for name, length in LENGTHS.items()}
    played = play(machine, texts, STEPS)
    assert machine.findings() == [], machine.text()
    for name, tokens in texts.items():
        played.check(name, model.expected(NUMERIC, tokens))


def test_every_knob_is_tried_with_other_values(model: Model) -> None:
    """Those above do change programs: every knob has a value that is not the rule's."""
    rules = settled(plan_config(ModelConfig.load(model.path), mini(), options(model, "")))
    given = [Tiling.parse(text).given() for text in TILINGS]
    for knob in KNOBS:
        if knob != "lent":  # of so small a model, pages lend nothing
            assert any(
                each.get(knob, getattr(rules, knob)) != getattr(rules, knob) for each in given
            )


# ---- rules and what is settled


@pytest.mark.parametrize("chip", ["t1", "t1-wide", "t1-mini-balanced"])
@pytest.mark.parametrize(
    "text", ["", "group_rows=32,stage=8", "group_rows=1", "chunk=49152,page_slots=3,lent=1"]
)
def test_a_settled_tiling_is_the_same_program(chip: str, text: str) -> None:
    config = ModelConfig.load(Path(__file__).parents[1] / "programs/configs/llama-3.2-1b")
    machine, asked = load_chip(chip), Options(tiling=Tiling.parse(text))
    now = settled(plan_config(config, machine, asked))
    assert None not in asdict(now).values()
    one = compile_config(config, machine, asked)
    other = compile_config(config, machine, replace(asked, tiling=now))
    assert np.array_equal(one.code, other.code)
    assert np.array_equal(one.descriptors, other.descriptors)
    assert one.metadata["plan"] == other.metadata["plan"]


def test_a_program_says_what_was_given_and_no_more(model: Model) -> None:
    config, chip = ModelConfig.load(model.path), mini()
    given = compile_config(config, chip, options(model, "slots=3,block=8"))
    assert given.metadata["options"]["tiling"] == {"slots": 3, "block": 8}
    assert given.metadata["plan"]["weight_slots"] == 3
    assert "tiling" not in compile_config(config, chip, options(model, "")).metadata["options"]


# ---- texts and refusals


@settings(max_examples=100)
@given(st.data())
def test_a_text_is_read_again(data: st.DataObject) -> None:
    found = {}
    for name in data.draw(st.lists(st.sampled_from(list(KNOBS)), unique=True)):
        knob = KNOBS[name]
        low, high = -(-knob.least // knob.step), knob.most // knob.step
        found[name] = data.draw(st.integers(low, high)) * knob.step
    tiling = Tiling(**found)
    assert Tiling.parse(tiling.text()) == tiling and tiling.given() == found
    assert Tiling.parse(" , ".join(f" {k} = {v} " for k, v in found.items())) == tiling


def test_knobs_are_the_fields_and_have_ladders() -> None:
    assert list(KNOBS) == [each.name for each in fields(Tiling)] == list(LADDERS)
    for name, ladder in LADDERS.items():
        assert list(ladder) == sorted(set(ladder))
        for value in ladder:
            Tiling(**{name: value})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("slots", "expected KNOB=INTEGER, got 'slots'"),
        ("slots=3.5", "expected KNOB=INTEGER, got 'slots=3.5'"),
        ("slot=3", "'slot' is no knob; choose of chunk, slots"),
        ("slots=3,slots=3", "slots is given twice"),
        ("slots=5", "slots: expected an integer in 2..4, got 5"),
        ("slots=-1", "slots: expected an integer in 2..4, got -1"),
        ("chunk=1000", "chunk: expected a multiple of 1024 in 1024..16777216, got 1000"),
        ("block=6", "block: expected a multiple of 4 in 4..256, got 6"),
    ],
)
def test_what_no_chip_takes_is_refused(model: Model, text: str, problem: str) -> None:
    result = emu("compile", model.path, "-o", "p.bin", "--tiling", text)
    assert (result.status, result.out) == (2, "")
    assert f"--tiling: {problem}" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("chunk=16777216", "fits no tile (TSRAM"),
        ("block=256,group_rows=128", "fits no tile (ACC: twice 128 rows of 4096 columns)"),
        ("group_rows=5", "48 rows are more than 5 for each of 2 row groups"),
        ("stage=12,wide_stage=8", "wide_stage: less than the stage of one row group"),
        ("wide_stage=256", "wide_stage: beyond the stage and a slot of the weight ring"),
        ("attend_rows=6", "attend_rows: no multiple of the 4 query heads of a KV head"),
        ("chunk=49152,lent=2", "fits no tile (lent: "),
    ],
)
def test_what_does_not_fit_is_refused(model: Model, text: str, problem: str) -> None:
    rows = {"rows": None} if "group_rows=128" in text else {}
    asked = replace(options(model, text), **rows)
    with pytest.raises(CompileError) as caught:
        plan_config(ModelConfig.load(model.path), mini(), asked)
    assert problem in str(caught.value) and f"--tiling {text}" in str(caught.value)


def test_how_the_array_is_divided_is_said_once() -> None:
    with pytest.raises(CompileError, match="--tiling: skinny: --split says how"):
        Options(split=2, tiling=Tiling(skinny=8))


# ---- where else a tiling is given


def test_a_command_takes_it(model: Model, tmp_path: Path) -> None:
    place = tmp_path / "p.bin"
    done(
        "compile", model.path, "-o", place, "--chip", "t1-mini", "--tiling", "page_slots=3,slots=2"
    )
    assert load(place).metadata["options"]["tiling"] == {"slots": 2, "page_slots": 3}


def test_a_study_takes_it() -> None:
    check = inputs.known()["tiling"].check
    assert check("block=8, slots=3") == "slots=3,block=8" and check("") == ""
    with pytest.raises(ValueError, match="no knob"):
        check("slot=3")
    with pytest.raises(ValueError, match="expected a text"):
        check(3)


def test_the_help_lists_every_knob() -> None:
    text = done("compile", "--help").out
    for name, knob in KNOBS.items():
        assert f"\n  {name} " in text and knob.what.split(",")[0].split()[0] in text


def test_a_chip_of_another_size_keeps_its_rules(model: Model) -> None:
    """A tiling is asked for, not remembered: without one, a program is the rules'."""
    chip: Chip = mini(1, 2)
    config = ModelConfig.load(model.path)
    assert options(model, "").tiling == RULES
    plain = compile_config(config, chip, options(model, ""))
    turned = compile_config(config, chip, options(model, "slots=3"))
    again = compile_config(config, chip, options(model, ""))
    assert np.array_equal(plain.code, again.code) and not np.array_equal(plain.code, turned.code)
