"""A point of a study, and the job that times it.

A job is plain data, all that the timing depends on: the whole chip, the model's sizes, the
compiler's options, the phases, and the version of the code. Its hash is the point's key, so a
result is found again wherever the same thing was asked before, in whatever study.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any

from compiler.config import ModelConfig
from emulator.explore.code_version import code_version
from emulator.explore.inputs import chip_keys, known, option_names
from emulator.explore.metrics import PHASES
from isa.chip import Chip, load_chip
from isa.errors import ChipError

Job = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """Values of inputs: every one of `inputs.known()`, and the chip's keys that the study sets.

    `chip` is the whole chip as plain data, or None with `reason` where there can be no such chip.
    `technology`, a name or a path, prices it, and `base` is the chip that it is a variation of, by
    name or path: neither is in the key.
    """

    inputs: Mapping[str, Any]
    chip: Mapping[str, Any] | None
    job: Job | None
    key: str
    reason: str = ""
    technology: str = ""
    base: str = ""


@cache
def _base_chip(name: str) -> Chip:
    return load_chip(name)


@lru_cache(maxsize=1000)
def _changed_chip(name: str, changes: str) -> tuple[dict[str, Any] | None, str]:
    """A chip with changes (JSON) as plain data, which nobody changes; or why there is none."""
    try:
        return plain_chip(_base_chip(name).with_(**json.loads(changes))), ""
    except ChipError as error:
        return None, str(error)


@cache
def model_facts(path: str) -> dict[str, Any]:
    """The sizes of a model that has a file, as plain data. Raises CompileError."""
    return plain_model(ModelConfig.load(Path(path)))


def plain_model(config: ModelConfig) -> dict[str, Any]:
    """A model's sizes as plain data."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return found


class Points:
    """Makes points of values, for one study's workloads.

    `chips`, `models` and `technologies` say where the names of a study are: name -> path (or a
    name of the package's).
    """

    def __init__(
        self,
        workloads: tuple[str, ...],
        chips: Mapping[str, str],
        models: Mapping[str, str],
        technologies: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.workloads, self.chips, self.models = workloads, chips, models
        self.technologies = technologies
        self.version = code_version()
        self.phases = sorted({phase for name in workloads for phase in PHASES[name]})

    def point(self, values: Mapping[str, Any]) -> Point:
        """The point with these values; all others are the defaults."""
        inputs = {name: item.default for name, item in known().items()} | dict(values)
        technology = self.technologies.get(inputs["technology"], inputs["technology"])
        base = self.chips[inputs["chip"]]
        chip, reason = self._chip(inputs)
        if chip is None:
            key = key_of({"inputs": inputs, "reason": reason, "code": self.version})
            return Point(inputs, None, None, key, reason, technology, base)
        job = self._job(inputs, chip)
        return Point(inputs, chip, job, key_of(job), technology=technology, base=base)

    def _chip(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        changes = {name: value for name, value in inputs.items() if name in chip_keys()}
        return _changed_chip(self.chips[inputs["chip"]], json.dumps(changes))

    def _job(self, inputs: Mapping[str, Any], chip: dict[str, Any]) -> Job:
        options = {name: inputs[name] for name in option_names()}
        options["sequences"] = options["sequences"] or inputs["batch"]
        options["context"] = max(_positions(phase, inputs) for phase in self.phases)
        return {
            "chip": chip,
            "model": model_facts(self.models[inputs["model"]]),
            "options": options,
            "ignore_capacity": inputs["ignore_capacity"],
            "fold_layers": inputs["fold_layers"],
            "phases": [_phase(phase, inputs) for phase in self.phases],
            "code": self.version,
        }


def plain_chip(chip: Chip) -> dict[str, Any]:
    """A chip as plain data, nested as its YAML file is."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(chip)))
    return found


def _phase(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a phase depends on, and nothing else."""
    batch = {"name": name, "batch": inputs["batch"]}
    if name == "prefill":
        return batch | {"prompt": inputs["prompt"], "samples": inputs["prefill_samples"]}
    if name == "decode":
        return batch | {"context": inputs["context"]}
    return batch | {
        "prompt": inputs["prompt"],
        "output": inputs["output"],
        "samples": inputs["decode_samples"],
    }


def _positions(phase: str, inputs: Mapping[str, Any]) -> int:
    """Positions of a sequence that the cache must hold."""
    positions: int = {
        "prefill": inputs["prompt"],
        "decode": inputs["context"],
        # The last token drawn is not fed back, so it needs no position.
        "generate": inputs["prompt"] + inputs["output"] - 1,
    }[phase]
    return positions


def key_of(data: Any) -> str:
    """A hash of plain data."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return blake2b(text.encode(), digest_size=16).hexdigest()
