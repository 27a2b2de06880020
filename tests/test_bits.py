"""Nothing but the numeric options changes a bit: not chip, schedule, threads, batch or executor.

Every run is held against `graph_model`, so all of them agree with one another. Most run on the fast
executor, which is held against the reference executor in every format first. Set
TESSERA_EXHAUSTIVE=1 for every model on every chip and for many random schedules.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable

import pytest
from decoder_runs import (
    SMALL,
    Model,
    Played,
    Player,
    Step,
    Texts,
    chunks,
    mini,
    play,
    same,
    together,
)
from graph_model import Forward, Numeric

from compiler.errors import CompileError
from emulator.decoder import Machine
from emulator.fast import FastMachine
from emulator.memory import Memory
from emulator.reference.machine import ReferenceMachine
from emulator.reference.scheduler import Scheduler
from isa.chip import Chip, load_chip
from isa.codec import decode
from isa.faults import CTL, NUM_UNITS
from isa.program import Program

EXHAUSTIVE = os.environ.get("TESSERA_EXHAUSTIVE") == "1"
WEIGHTS = ("mxfp4", "nvfp4", "mxfp8", "fp8", "bf16")
ACTIVATIONS = ("bf16", "mxfp8", "mxfp4")
LENGTH, SHORT = 150, 37  # positions of the two texts: one goes beyond a block of 128

#: Models that differ in all that matters to the schedule: name -> numeric options.
NUMERIC = {
    "llama": Numeric("mxfp4", "mxfp8"),
    "mistral": Numeric("nvfp4", "mxfp4", "fp8"),
    "qwen2": Numeric("bf16", "bf16", "fp8", "mxfp8"),
    "qwen3": Numeric("fp8", "fp8"),
    "llama-64": Numeric("mxfp8", "nvfp4", "bf16", None, "floor"),
}
CHIPS: dict[str, Callable[[], Chip]] = {
    "1 tile": lambda: mini(1, 1),
    "3 tiles": lambda: mini(1, 3),
    "4 clusters of 1": lambda: mini(4, 1),
    "t1-mini": lambda: load_chip("t1-mini"),
    "t1, 64 tiles": lambda: load_chip("t1"),
    "array of 16": lambda: mini(**array(16)),
    "array of 128": lambda: mini(**array(128)),
    "split by 1": lambda: mini(2, 2, **splits(1)),
    "split by 1 or 2": lambda: mini(2, 2, **splits(1, 2)),
    "accumulator of 16 KiB": lambda: mini(**{"tile.acc.bytes": 16384}),
    "large TSRAM": lambda: mini(**{"tile.tsram.bytes": 1 << 21}),
    "CSRAM of 8 KiB": lambda: mini(**{"cluster.csram.bytes": 8192}),
    "no CSRAM": lambda: mini(**{"cluster.csram.bytes": 0}),
}


def array(size: int) -> dict[str, int]:
    """Changes to a chip that give its tiles arrays of size * size."""
    return {"tile.mxu.rows": size, "tile.mxu.columns": size}


def splits(*ways: int) -> dict[str, list[int]]:
    """Changes to a chip that let its arrays split in so many ways."""
    return {"tile.mxu.splits": list(ways)}


# ---- models and what is expected of them


class Case:
    """A model with two texts, and what the contract says of them."""

    def __init__(self, model: Model, numeric: Numeric) -> None:
        self.model = model
        self.numeric = numeric
        self.texts: Texts = {"long": model.text(LENGTH, 1), "short": model.text(SHORT, 2)}
        self.expected: dict[str, Forward] = {
            name: model.expected(numeric, text) for name, text in self.texts.items()
        }

    def compile(self, chip: Chip, rows: int = 16, **others: int | None) -> Program:
        """The model's program for a chip."""
        fixed = {"rows": rows, "sequences": 4, "context": 256, "top_k": 3}
        return self.model.compile(chip, self.numeric, **(fixed | others))

    def check(self, machine: Machine, steps: list[Step], logits: int = 1) -> None:
        """Run the texts that a schedule names, and compare every bit."""
        names = {name for step in steps for name in step}
        texts = {name: text for name, text in self.texts.items() if name in names}
        played = play(machine, texts, steps, logits)
        for name in texts:
            played.check(name, self.expected[name])


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """A case by the name of its model, made once."""
    made: dict[str, Case] = {}

    def get(name: str) -> Case:
        if name not in made:
            model = Model.make(tmp_path_factory.mktemp(name), SMALL[name])
            made[name] = Case(model, NUMERIC[name])
        return made[name]

    return get


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """All models."""
    root = tmp_path_factory.mktemp("models")
    return {name: Model.make(root / name, config) for name, config in SMALL.items()}


#: One text starts while the other is being read, decodes beside it, and is over before it.
MIXED = together(
    chunks("long", LENGTH, 16, 16, 9, 5, 1, 1, 15, 7),
    [{}, {}, *chunks("short", SHORT, 7, 11, 15, 1)],
)


# ---- executors

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


@pytest.mark.parametrize("activations", ACTIVATIONS)
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_executors_agree(
    name: str, weights: str, activations: str, models: dict[str, Model]
) -> None:
    model, chip = models[name], mini(2, 1)
    kv = ("bf16", "fp8")[(FAMILIES.index(name) + ACTIVATIONS.index(activations)) % 2]
    program = model.compile(
        chip, Numeric(weights, activations, kv), rows=12, sequences=4, context=128, top_k=3
    )
    texts = {"a": model.text(9, 3), "b": model.text(7, 4)}
    steps: list[Step] = [{"a": 8, "b": 4}, {"b": 3, "a": 1}]
    reference = ReferenceMachine(program, chip)
    want = play(reference, texts, steps, 2)
    for threads in (1, 2):
        fast = FastMachine(program, chip, threads=threads)
        equal(play(fast, texts, steps, 2), want)
        equal_memories(fast.memory, reference.memory)


def equal(got: Played, want: Played) -> None:
    """Every bit that came out of two runs is the same."""
    assert got.logits.keys() == want.logits.keys()
    for place, row in want.logits.items():
        same(f"logits {place}", got.logits[place], row)
    for name in want.keys:
        same(f"keys of {name}", got.keys[name], want.keys[name])
        same(f"values of {name}", got.values[name], want.values[name])


def equal_memories(got: Memory, want: Memory) -> None:
    """So is every bit that the runs left behind: what is quantised later hides nothing."""
    same("TSRAM", got.tsram, want.tsram)
    same("CSRAM", got.csram, want.csram)
    same("ACC", got.acc, want.acc)
    for one, other in zip(got.regions, want.regions, strict=True):
        assert one.data is not None and other.data is not None
        same(one.name, one.data, other.data)


# ---- chips

DEFAULT_CHIPS = [
    (name, chip) for index, chip in enumerate(CHIPS) for name in [list(NUMERIC)[index % 5]]
] + [("llama", "t1, 64 tiles"), ("qwen2", "1 tile"), ("qwen3", "no CSRAM")]
EVERY_CHIP = list(itertools.product(NUMERIC, CHIPS))


@pytest.mark.parametrize(("name", "chip"), EVERY_CHIP if EXHAUSTIVE else DEFAULT_CHIPS)
def test_chips(name: str, chip: str, case_of: Callable[[str], Case]) -> None:
    case, made = case_of(name), CHIPS[chip]()
    program = case.compile(made)
    if "CSRAM of" in chip or "no CSRAM" in chip:
        assert program.metadata["plan"]["spilled_bytes"] > 0
    case.check(FastMachine(program, made, threads=2), MIXED)


@pytest.mark.parametrize("name", NUMERIC)
def test_the_least_tile_memory(name: str, case_of: Callable[[str], Case]) -> None:
    """Chunks of K, ring slots and attention rows become as small as they can."""
    case = case_of(name)
    chip, program = tightest(case)
    roomy = case.compile(mini(**{"tile.tsram.bytes": 1 << 20})).metadata["plan"]
    tight = program.metadata["plan"]
    assert tight["weight_slots"] < roomy["weight_slots"]
    assert tight["attend_rows"] < roomy["attend_rows"]
    assert tight["weight_slot_bytes"] < roomy["weight_slot_bytes"]
    case.check(FastMachine(program, chip), MIXED)


def tightest(case: Case) -> tuple[Chip, Program]:
    """The smallest tile memory, in steps of 4 KiB, that the compiler can work with."""
    for size in range(16 << 10, 1 << 20, 4 << 10):
        chip = mini(**{"tile.tsram.bytes": size})
        try:
            return chip, case.compile(chip)
        except CompileError:
            continue
    raise AssertionError("no size of tile memory is enough")


@pytest.mark.parametrize("split", [1, 2, 4])
def test_splits_of_the_array(split: int, case_of: Callable[[str], Case]) -> None:
    """What the option says, for few rows and for many."""
    case, chip = case_of(("llama", "qwen3", "mistral")[split // 2]), mini()
    program = case.compile(chip, rows=LENGTH, split=split)
    case.check(FastMachine(program, chip), MIXED)
    case.check(FastMachine(program, chip), [{"long": LENGTH - 5}, {"long": 5}])


# ---- schedules

SCHEDULES: dict[str, tuple[list[Step], int]] = {
    "row by row": (chunks("long", LENGTH, 1), 1),
    "5 rows": (chunks("long", LENGTH, 5), 3),
    "16 rows": (chunks("long", LENGTH, 16), 3),
    "all at once": ([{"long": LENGTH}], 4),
    "up to the block's edge": (chunks("long", LENGTH, 128, 1), 1),
    "across the block's edge": (chunks("long", LENGTH, 127, 2, 13, 1), 2),
    "alone": (chunks("short", SHORT, 3, 1, 30), 3),
    "together": ([{"long": LENGTH, "short": SHORT}], 2),
    "the other way round": ([{"short": SHORT, "long": LENGTH}], 2),
    "one reads, one decodes": (
        [{"short": 20}, *together(chunks("long", LENGTH, 40, 9), chunks("short", SHORT - 20, 1))],
        1,
    ),
    "one decodes, one reads": (
        [{"long": 120}, *together(chunks("long", LENGTH - 120, 1), chunks("short", SHORT, 5))],
        1,
    ),
}
DEFAULT_SCHEDULES = [(list(NUMERIC)[i % 5], s) for i, s in enumerate(SCHEDULES)]
EVERY_SCHEDULE = list(itertools.product(NUMERIC, SCHEDULES))


@pytest.mark.parametrize(("name", "schedule"), EVERY_SCHEDULE if EXHAUSTIVE else DEFAULT_SCHEDULES)
def test_schedules(name: str, schedule: str, case_of: Callable[[str], Case]) -> None:
    case, chip = case_of(name), mini()
    steps, logits = SCHEDULES[schedule]
    rows = max(sum(step.values()) for step in steps)
    case.check(FastMachine(case.compile(chip, rows), chip), steps, logits)


@pytest.mark.parametrize("rows", [1, 5, 16])
def test_rows_a_step(rows: int, case_of: Callable[[str], Case]) -> None:
    """The rows a program is made for: tables, slots and buffers have other sizes."""
    case, chip = case_of("mistral"), mini()
    case.check(FastMachine(case.compile(chip, rows), chip), chunks("long", LENGTH, rows))


def test_used_pages_and_rolling_back(case_of: Callable[[str], Case]) -> None:
    """Pages hold another text's keys, and a text is taken back and read again."""
    case, chip = case_of("llama"), mini()
    player = Player(FastMachine(case.compile(chip), chip), case.texts)
    player.run(MIXED)
    before = {name: player.sequences[name].pages[0] for name in case.texts}
    for name in case.texts:
        player.close(name)
    free = player.decoder._free_pages
    free[:2] = free[1::-1]  # so that neither gets its own page again
    player.run(MIXED[:8])
    after = {name: player.sequences[name].pages[0] for name in case.texts}
    assert (after["long"], after["short"]) == (before["short"], before["long"])
    player.sequences["long"].length, player.sequences["short"].length = 20, 0
    player.run(together(chunks("long", LENGTH - 20, 9), chunks("short", SHORT, 7)))
    played = player.finish()
    for name in case.texts:
        played.check(name, case.expected[name])


# ---- the reference executor

REFERENCE: dict[str, tuple[str, Callable[[], Chip]]] = {
    "1 tile": ("qwen3", lambda: mini(1, 1)),
    "6 tiles without CSRAM": ("llama", lambda: mini(3, 2, **{"cluster.csram.bytes": 0})),
}
BRIEF: list[Step] = [{"short": 13}, {"long": 5, "short": 1}]


@pytest.mark.parametrize("case", REFERENCE)
def test_the_reference_on_other_chips(case: str, case_of: Callable[[str], Case]) -> None:
    name, make = REFERENCE[case]
    brief(case_of(name), make())


@pytest.mark.parametrize("seed", range(40) if EXHAUSTIVE else range(3))
def test_random_orders_of_units(seed: int, case_of: Callable[[str], Case]) -> None:
    """A program without races has one result, whatever runs first."""
    shapes = ((2, 2), (1, 3), (3, 1))
    brief(case_of(list(NUMERIC)[seed % 5]), mini(*shapes[seed % 3]), seed)


class Starving(Scheduler):
    """Gives one unit of every tile a turn only when nothing else can move."""

    def __init__(self, machine: ReferenceMachine, unit: int | None) -> None:
        super().__init__(machine, None)
        self._tiles = machine.tiles
        self._unit = unit

    def _turn(self) -> bool:
        others = [unit for unit in range(NUM_UNITS) if unit != self._unit]
        return self._serve(others, 1000) or self._serve([self._unit or 0], 1)

    def _serve(self, units: list[int], limit: int) -> bool:
        """Up to `limit` instructions of each unit of every tile; whether there were any."""
        moved = [self._burst(tile, unit, limit) for tile in self._tiles for unit in units]
        return any(moved)


@pytest.mark.parametrize("unit", range(NUM_UNITS))
def test_a_slow_unit(unit: int, case_of: Callable[[str], Case]) -> None:
    """Whatever a unit must wait for, it waits for by semaphores: others may be far ahead."""
    brief(case_of(list(NUMERIC)[unit % 5]), mini(2, 1), unit, Starving)


@pytest.mark.parametrize("name", NUMERIC)
def test_one_unit_signals_a_semaphore_and_one_waits(
    name: str, case_of: Callable[[str], Case]
) -> None:
    """Were there two signallers, one that is ahead could stand in for the other.

    But the control processor hands out the slots of the weight ring before a step uses them.
    """
    program = case_of(name).compile(mini())
    units: dict[tuple[str, int], set[int]] = {}
    for low, high in program.code[program.entry("step") :].tolist():
        decoded = decode(low, high)
        if decoded.entry.mnemonic in ("wait", "signal"):
            key = (decoded.entry.mnemonic, decoded.fields["sem"])
            if key[0] == "signal" and decoded.exec_unit == CTL:
                continue
            units.setdefault(key, set()).add(decoded.exec_unit)
    assert len(units) > 50
    assert all(len(found) == 1 for found in units.values())


def brief(
    case: Case,
    chip: Chip,
    seed: int | None = None,
    scheduler: Callable[[ReferenceMachine, int | None], Scheduler] = Scheduler,
) -> None:
    """The beginnings of both texts on the reference executor."""
    machine = ReferenceMachine(case.compile(chip), chip)
    machine._scheduler = scheduler(machine, seed)
    played = play(machine, case.texts, BRIEF)
    for name in case.texts:
        length = played.keys[name].shape[2]
        played.check(name, case.expected[name].until(length))
