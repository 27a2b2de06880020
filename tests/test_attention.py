"""Attention's techniques: whichever are left out, no bit changes, and nothing races."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from check_runs import checked
from decoder_runs import SMALL, Model, Step, chunks, mini, play, together
from graph_model import Numeric

from compiler.api import compile_checkpoint
from compiler.lower.context import Lowering
from isa.chip import Chip, load_chip
from isa.program import Program

LENGTH, SHORT = 290, 37  # up to three pages
#: Chunks, then single rows of one text or two, with pages enough to be spread.
STEPS: list[Step] = [
    *chunks("long", 270, 90),
    {"long": 3, "short": 30},
    *together(chunks("long", 17, 1, 4, 1), chunks("short", SHORT - 30, 1)),
]
CASES = {
    "scales within heads": ("llama-64", Numeric("mxfp4", "mxfp8")),
    "scales across heads": ("llama", Numeric("mxfp8", "nvfp4", "fp8")),
    "windows": ("mistral", Numeric("bf16", "bf16", "fp8")),
    "scales of rows": ("qwen3", Numeric("fp8", "fp8")),
}
ROOMY = {"tile.tsram.bytes": 1 << 20}
CHIPS: dict[str, Callable[[], Chip]] = {
    "8 tiles": lambda: mini(2, 4, **ROOMY),
    "12 tiles in 6 clusters": lambda: mini(6, 2),
    "t1": lambda: load_chip("t1"),
}
WITHOUT = ((), ("page-split",), ("early-pages",), ("page-split", "early-pages"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """The models by name."""
    root = tmp_path_factory.mktemp("models")
    return {name: Model.make(root / name, SMALL[name]) for name, _ in CASES.values()}


def program_of(model: Model, numeric: Numeric, chip: Chip, without: tuple[str, ...]) -> Program:
    """The model's program without some techniques."""
    options = model.options(numeric, rows=90, sequences=2, context=384, top_k=3)
    return compile_checkpoint(
        model.path, chip, type(options)(**{**vars(options), "without": without})
    )


@pytest.mark.parametrize("without", WITHOUT, ids="+".join)
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("case", CASES)
def test_techniques_change_no_bit(
    case: str, chip: str, without: tuple[str, ...], models: dict[str, Model]
) -> None:
    name, numeric = CASES[case]
    model, made = models[name], CHIPS[chip]()
    program = program_of(model, numeric, made, without)
    machine = checked(program, made)
    texts = {"long": model.text(LENGTH, 1), "short": model.text(SHORT, 2)}
    played = play(machine, texts, STEPS)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(numeric, tokens))


def test_a_technique_left_out_is_not_used(models: dict[str, Model]) -> None:
    """What the programs record, and that they differ."""
    name, numeric = CASES["windows"]
    chip = mini(2, 4, **ROOMY)
    programs = [program_of(models[name], numeric, chip, without) for without in WITHOUT]
    assert [p.metadata["plan"]["early_pages"] for p in programs] == [True, True, False, False]
    assert len({p.code.tobytes() for p in programs}) == len(WITHOUT)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_row_groups(
    case: str, groups: int, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and attention divide the rows, and find them: here in HBM, which has those of all."""
    start = Lowering.start

    def start_with_groups(lo: Lowering) -> None:
        start(lo)
        lo.code.set(lo.groups, groups)

    monkeypatch.setattr(Lowering, "start", start_with_groups)
    name, numeric = CASES[case]
    model, chip = models[name], mini(4, 2, **{"cluster.csram.bytes": 0})
    machine = checked(program_of(model, numeric, chip, ()), chip)
    texts = {"long": model.text(LENGTH, 1), "short": model.text(SHORT, 2)}
    played = play(machine, texts, STEPS)
    assert machine.findings() == [], machine.text()
    for text, tokens in texts.items():
        played.check(text, model.expected(numeric, tokens))
