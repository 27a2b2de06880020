"""Phases of a workload: which steps they have, which of those are simulated, and their sums.

A prompt takes a step for every `rows` tokens; an answer one for every token. Their cost changes
slowly and almost linearly with the position, so the steps are parted into a few runs of equal
length and the middle of each run stands for all of it: a phase is a weighted sum of simulated
steps, in cycles, bytes and all else. Phases say how many of their steps were simulated; with as
many samples as steps they are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from emulator.explore.simulate import Rows, Simulator, Step
from isa.errors import TesseraError

Phase = dict[str, Any]
Weighted = list[tuple[int, Step]]


class DoesNotFit(TesseraError):
    """A step that the program cannot take."""


def phase(simulator: Simulator, wanted: dict[str, Any]) -> Phase:
    """The phase that a job asks for."""
    found = _KINDS[wanted["name"]](simulator, wanted)
    return found | {"batch": wanted["batch"]}


def _decode(simulator: Simulator, wanted: dict[str, Any]) -> Phase:
    """One step: a token for each sequence, all at the same context."""
    batch = wanted["batch"]
    part = [(1, _tokens(simulator, batch, wanted["context"]))]
    return _summed(simulator, part, 1, batch, False)


def _generate(simulator: Simulator, wanted: dict[str, Any]) -> Phase | dict[str, Any]:
    """All tokens after the first: a step for each, at growing contexts."""
    steps, batch = wanted["output"] - 1, wanted["batch"]
    if not steps:
        return {}
    first = wanted["prompt"] + 1
    parts = _sampled(
        steps, wanted["samples"], lambda step: _tokens(simulator, batch, first + int(step))
    )
    return _summed(simulator, parts, steps, batch * steps, len(parts) < steps)


def _tokens(simulator: Simulator, batch: int, context: int) -> Step:
    most = min(simulator.capacity["rows"], simulator.capacity["wanted"])
    if batch > most:
        raise DoesNotFit(
            f"batch: {batch} tokens do not fit a step of {simulator.capacity['rows']} rows, "
            f"{simulator.capacity['wanted']} with logits; set `rows` (and `logit_rows`) to {batch}"
        )
    return simulator.step([Rows(context - 1, 1, 1)] * batch)


def _prefill(simulator: Simulator, wanted: dict[str, Any]) -> Phase:
    """Every prompt of the batch: short ones several in a step, others one after another."""
    batch, prompt = wanted["batch"], wanted["prompt"]
    rows = simulator.capacity["rows"]
    together = min(batch, max(1, rows // prompt), simulator.capacity["wanted"])
    times, left = divmod(batch, together)
    steps_each = -(-prompt // rows)
    parts = _prompts(simulator, together, prompt, wanted["samples"], times)
    if left:
        parts += _prompts(simulator, left, prompt, wanted["samples"], 1)
    steps = (times + (1 if left else 0)) * steps_each
    estimated = len(runs(steps_each - 1, wanted["samples"])) < steps_each - 1
    return _summed(simulator, parts, steps, batch * prompt, estimated)


def _prompts(
    simulator: Simulator, together: int, prompt: int, samples: int | str, times: int
) -> Weighted:
    """`times` passes over `together` prompts. The last step, which wants logits, is exact."""
    rows = simulator.capacity["rows"]
    steps = -(-prompt // rows)
    before = (steps - 1) * rows
    last = simulator.step([Rows(before, prompt - before, 1)] * together)
    parts = _sampled(
        steps - 1, samples, lambda step: simulator.step([Rows(int(step * rows), rows, 0)])
    )
    return [(weight * times, step) for weight, step in [*parts, (1, last)]]


# ---- sums


def runs(steps: int, samples: int | str) -> list[tuple[float, int]]:
    """(middle, length) of the runs of steps that one simulated step each stands for.

    Lengths sum to `steps`. The middle of a run of even length lies between two steps.
    """
    count = steps if samples == "all" else min(steps, int(samples))
    edges = [index * steps // count for index in range(count + 1)] if count else [0]
    return [((first + beyond - 1) / 2, beyond - first) for first, beyond in pairwise(edges)]


def _sampled(steps: int, samples: int | str, step: Callable[[float], Step]) -> Weighted:
    return [(length, step(middle)) for middle, length in runs(steps, samples)]


def _summed(
    simulator: Simulator, parts: Weighted, steps: int, tokens: int, estimated: bool
) -> Phase:
    """The phase that these steps with these weights make; `estimated`: some are interpolated."""
    found: Phase = _sum([weight for weight, _ in parts], [step for _, step in parts])
    host = simulator.chip.host
    found["seconds"] = found["cycles"] / simulator.chip.clock_hz + steps * (
        host.doorbell_s + host.return_s
    )
    counts = {"steps": steps, "simulated": len(parts), "estimated": estimated, "tokens": tokens}
    return found | counts


def _sum(weights: Sequence[int], values: Sequence[Any]) -> Any:
    """The weighted sum of equal trees of numbers; a key that one lacks counts 0 there."""
    if any(isinstance(value, dict) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return {name: _sum(*_present(weights, values, name)) for name in names}
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def _present(
    weights: Sequence[int], values: Sequence[dict[str, Any]], name: str
) -> tuple[list[int], list[Any]]:
    here = [(w, value[name]) for w, value in zip(weights, values, strict=True) if name in value]
    return [weight for weight, _ in here], [value for _, value in here]


_KINDS = {"prefill": _prefill, "decode": _decode, "generate": _generate}
