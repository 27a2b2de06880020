"""Times single steps of a job's model on its chip: compile, fold, run the control, time.

Nothing is carried from step to step: each starts on a chip just reset, so a step's cycles depend
on the step alone, and not on which process timed what before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from compiler.api import compile_config
from compiler.config import ModelConfig, RopeConfig
from compiler.options import Options
from compiler.tiling import Tiling
from emulator.decoder import Decoder, Request
from emulator.explore.placement import check_placement, part_of
from emulator.fast.machine import FastMachine
from emulator.fold import LEAST_FOLDED, Fold, fold_of
from emulator.meter import Meter
from isa.chip import Chip, chip_from_data
from isa.program import Program

FEW_LAYERS: Final = 8  #: up to as many, folding saves less than it costs in certainty
#: Of a larger model, in a step of single tokens: it is short, so that the order in which its bytes
#: come counts. On t1 such a step of 8B moves by 1 % with a position more or less if four layers
#: stand for all, by 0.4 % if eight do, and by 0.2 % if each is simulated.
DECODE_LAYERS: Final = 8

#: What a process keeps for the next points, which are mostly alike.
_KEPT_PROGRAMS: Final = 4
_KEPT_STEPS: Final = 64

Step = dict[str, Any]


@dataclass(frozen=True)
class Rows:
    """What one sequence has in a step: cached positions, new tokens, how many want logits."""

    cached: int
    tokens: int
    logits: int


class Simulator:
    """Times steps of one job. Raises TesseraError where there is no such program."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.chip = chip_from_data(job["chip"], job["chip"]["name"])
        self.program = _program(job, self.chip)
        self._key = (repr(self.chip), _program_key(job, self.chip), job["fold_layers"])
        self._folds = {
            single: _fold(self.program, job["fold_layers"], single) for single in (False, True)
        }
        self.capacity: dict[str, int] = self.program.metadata["capacity"]

    def step(self, rows: Sequence[Rows]) -> Step:
        """One step's timing, of all layers: cycles, traffic, bounds, units, operations.

        The caller must not change it: points often share steps, so some are kept.
        """
        key = (*self._key, tuple(rows))
        if key not in _steps:
            _keep(_steps, key, self._step(rows), _KEPT_STEPS)
        _steps.move_to_end(key)
        return _steps[key]

    def _step(self, rows: Sequence[Rows]) -> Step:
        roomy = self.chip.with_hbm(self.program.chip.architecture["hbm.bytes"])
        fold = self._folds[all(each.tokens == 1 for each in rows)]
        program = self.program if fold is None else fold.program(self.program)
        machine = FastMachine(program, roomy, timing_only=True)
        meter = Meter(program, self.chip, fold=fold)
        decoder = Decoder(machine, meter)
        requests = []
        for each in rows:
            sequence = decoder.open()
            sequence.length = each.cached
            requests.append(Request(sequence, [1] * each.tokens, logits=each.logits))
        decoder.step(requests)
        return _step(meter.result(1))

    def facts(self) -> dict[str, Any]:
        """What a result says of the program."""
        meta = self.program.metadata
        by_class: dict[str, int] = {}
        for region in self.program.regions:
            name = region.kind.name.lower()
            by_class[name] = by_class.get(name, 0) + region.size
        return {
            "hbm_bytes": max(region.end for region in self.program.regions),
            "hbm_bytes_by_class": by_class,
            "rows": self.capacity["rows"],
            "sequences": self.capacity["sequences"],
            "context": self.capacity["context"],
            "layers": meta["model"]["layers"],
            "layers_simulated": self._simulated(False),
            "layers_simulated_in_decode": self._simulated(True),
            "numeric": meta["numeric"],
            "beyond_capacity": meta.get("beyond_capacity"),
        }

    def _simulated(self, single: bool) -> int:
        """Layers of a step, of single tokens or of more."""
        fold, layers = self._folds[single], self.program.metadata["model"]["layers"]
        return int(layers if fold is None else fold.simulated)


def _step(result: dict[str, Any]) -> Step:
    """The parts of a meter's result that add up over steps."""
    bounds = result["bounds"]["prefill"]  # a meter calls steps so until it is told otherwise
    kept = {name: value for name, value in bounds.items() if type(value) is int and name != "steps"}
    operations = {
        each["name"]: {
            "times": each["times"],
            "span": each["span"],
            "exclusive": each["exclusive"],
            "macs": each["macs"],
            "bounds": each["bounds"],
            "causes": each["causes"],
        }
        for each in result["operations"]["prefill"]
    }
    cycles = result["cycles"]["total"]
    units = {
        unit: {cause: share * cycles for cause, share in shares.items()}
        for unit, shares in result["units"].items()
    }
    return {
        "cycles": cycles,
        "traffic": result["traffic"],
        "bounds": {name: value for name, value in kept.items() if name != "cycles"},
        "units": units,
        "operations": operations,
        "work": {
            name: result["work"]["prefill"][name]
            for name in ("macs", "vector_elements", "instructions")
        },
    }


def _fold(program: Program, wanted: int | str, single: bool) -> Fold | None:
    """The fold asked for, of steps of single tokens or of more.

    None where layers differ, since no layer can stand for another.
    """
    model = program.metadata["model"]
    if wanted == "all" or len(set(model["windows"])) > 1:
        return None
    if wanted == "auto":
        layers = DECODE_LAYERS if single else LEAST_FOLDED
        return fold_of(program, layers) if model["layers"] > FEW_LAYERS else None
    return fold_of(program, int(wanted))


# ---- compiling, and what is kept


_programs: OrderedDict[str, Program] = OrderedDict()
_steps: OrderedDict[Any, Step] = OrderedDict()


def compiled_by(chip: Chip) -> tuple[object, ...]:
    """What the compiler reads of a chip: chips that agree in it get the same program."""
    array, dma = chip.tile.mxu, chip.tile.dma
    sizes = array.rows, array.columns, array.splits, chip.tile.vpu.lanes
    moving = dma.outstanding, dma.request_bytes, chip.hbm.interleave, chip.cluster.csram.ports
    return chip.name, tuple(sorted(chip.architecture.items())), sizes, moving


def _program(job: dict[str, Any], chip: Chip) -> Program:
    """The job's program; one that this process made lately is used again."""
    key = _program_key(job, chip)
    if key not in _programs:
        options, config = _options(job["options"]), model_of(job["model"])
        if chip.hbm.bytes == 0:
            check_placement(part_of(chip), config, options)
        made = compile_config(config, chip, options, job["ignore_capacity"])
        _keep(_programs, key, made, _KEPT_PROGRAMS)
    _programs.move_to_end(key)
    return _programs[key]


def _options(facts: dict[str, Any]) -> Options:
    """A job's options: plain data, the tiling as the command line has it."""
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
    }
    return Options(**plain | {"tiling": Tiling.parse(facts.get("tiling", ""))})


def _program_key(job: dict[str, Any], chip: Chip) -> str:
    options = sorted(job["options"].items())
    return repr((compiled_by(chip), job["model"], options, job["ignore_capacity"]))


def _keep(kept: OrderedDict[Any, Any], key: object, value: object, most: int) -> None:
    """Put a value into a cache, in place of the one used longest ago if it is full."""
    if len(kept) == most:
        kept.popitem(last=False)
    kept[key] = value


def model_of(facts: dict[str, Any]) -> ModelConfig:
    """A model's config of its plain data."""
    rope = RopeConfig(**facts["rope"])
    lists = {name: tuple(facts[name]) for name in ("windows", "eos")}
    return ModelConfig(**(facts | lists | {"rope": rope}))
