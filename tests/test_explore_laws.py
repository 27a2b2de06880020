"""Laws: what must hold of any study, and of the ways in which work is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from explore_runs import CONFIG, timed, write_study
from hypothesis import given, settings
from hypothesis import strategies as st
from laws import cases

from compiler.api import compile_config
from compiler.config import ModelConfig
from compiler.options import Options
from emulator import jit_key
from emulator.explore import code_version, inputs, metrics, simulate
from emulator.explore.phases import runs
from emulator.explore.point import Points, plain_chip
from emulator.explore.rows import of_chip
from emulator.explore.units import unit_of
from isa.chip import Chip, chip_from_data, load_chip
from isa.errors import ChipError
from isa.program import Program

MINI = load_chip("t1-mini")
RATE = "hbm.bytes_per_second"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's config.json."""
    return write_study(tmp_path_factory.mktemp("laws")).parent / "config.json"


def result(model: Path, *workloads: str, **values: Any) -> metrics.Result:
    """The result of a point, as metrics take it."""
    outcome = timed(model, workloads, **values)
    assert outcome["status"] == "done", outcome["reason"]
    point = outcome["point"]
    facts = {"inputs": point.inputs, "chip": point.chip, "technology": point.technology}
    facts["base"] = point.base
    return outcome["result"] | facts


def value(found: metrics.Result, name: str) -> float:
    """A metric."""
    number = metrics.known()[name].value(found)
    assert number is not None
    return number


# ---- what an architect expects


_SHAPES = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 12),
        "context": st.integers(1, 400),
        "weights": st.sampled_from(["mxfp4", "nvfp4", "mxfp8", "fp8", "bf16"]),
        "kv": st.sampled_from(["bf16", "fp8"]),
        "tile.mxu.rows": st.sampled_from([32, 64, 128]),
    }
)


@settings(max_examples=cases(15))
@given(_SHAPES, st.floats(1e10, 4e11), st.floats(1, 8))
def test_more_bandwidth_never_lowers_the_rate_of_decoding(
    model: Path, shape: dict[str, Any], rate: float, factor: float
) -> None:
    slow = result(model, "decode", **shape, **{RATE: rate})
    fast = result(model, "decode", **shape, **{RATE: rate * factor})
    for name in ("tokens_per_s_chip", "tokens_per_s_user"):
        assert value(fast, name) >= 0.99 * value(slow, name)


@settings(max_examples=cases(15))
@given(_SHAPES, st.integers(1, 12))
def test_a_larger_batch_never_lowers_the_rate_of_the_chip(
    model: Path, shape: dict[str, Any], more: int
) -> None:
    # One program for both: the caches of more sequences take room from the tiling, if it is scarce.
    sequences = shape["batch"] + more
    small = result(model, "decode", **shape, sequences=sequences)
    large = result(model, "decode", **shape | {"batch": sequences}, sequences=sequences)
    assert value(large, "tokens_per_s_chip") >= 0.99 * value(small, "tokens_per_s_chip")


@settings(max_examples=cases(10))
@given(_SHAPES, st.sampled_from(["mxfp4", "nvfp4"]))
def test_fp4_weights_never_move_more_bytes_of_weights(
    model: Path, shape: dict[str, Any], narrow: str
) -> None:
    wide = {"mxfp4": "mxfp8", "nvfp4": "fp8"}[narrow]
    few = result(model, "prefill", "decode", **shape | {"weights": narrow, "prompt": 50})
    many = result(model, "prefill", "decode", **shape | {"weights": wide, "prompt": 50})
    for name in ("prefill_hbm_weight_bytes", "decode_hbm_weight_bytes"):
        assert value(few, name) < value(many, name)


# ---- estimates


@settings(max_examples=cases(200))
@given(st.integers(0, 300), st.integers(1, 400) | st.just("all"))
def test_runs_stand_for_every_step_once(steps: int, samples: int | str) -> None:
    found = runs(steps, samples)
    assert sum(length for _, length in found) == steps
    first = 0
    for middle, length in found:
        assert length >= 1 and middle == first + (length - 1) / 2
        first += length
    if samples == "all" or int(samples) >= steps:
        assert found == [(step, 1) for step in range(steps)]


def test_estimates_of_prompts_and_answers_are_close(model: Path) -> None:
    values = {"prompt": 300, "output": 40, "rows": 8, "batch": 2}
    short = result(model, "request", **values)
    more = result(model, "request", **values, prefill_samples=8, decode_samples=8)
    whole = result(model, "request", **values, prefill_samples="all", decode_samples="all")
    for phase, steps in (("prefill", 76), ("generate", 39)):
        full = whole["phases"][phase]
        assert full["steps"] == steps and not full["estimated"]
        # Attention reads blocks of 128 positions, so a few steps of 8 rows are not quite linear.
        for part, within in ((short["phases"][phase], 0.05), (more["phases"][phase], 0.01)):
            assert part["steps"] == steps and part["estimated"]
            assert part["seconds"] == pytest.approx(full["seconds"], rel=within)
            some, every = (each["traffic"]["hbm"]["classes"] for each in (part, full))
            assert some["weights"]["read"] == every["weights"]["read"]
            assert some["kv"]["read"] == pytest.approx(every["kv"]["read"], rel=4 * within)


def test_a_prompt_is_the_sum_of_its_steps(model: Path) -> None:
    job = timed(model, ("prefill",), prompt=20, rows=8, prefill_samples="all")
    simulator = simulate.Simulator(job["point"].job)
    rows = [(0, 8, 0), (8, 8, 0), (16, 4, 1)]
    steps = [simulator.step([simulate.Rows(*row)]) for row in rows]
    found = job["result"]["phases"]["prefill"]
    assert found["cycles"] == sum(step["cycles"] for step in steps)
    reads = [step["traffic"]["hbm"]["read"] for step in steps]
    assert found["traffic"]["hbm"]["read"] == sum(reads)
    assert found["seconds"] == pytest.approx(
        found["cycles"] / MINI.clock_hz + 3 * (MINI.host.doorbell_s + MINI.host.return_s)
    )
    operations = found["operations"].values()
    assert sum(each["exclusive"] for each in operations) == found["cycles"]


def test_short_prompts_share_a_step_and_long_ones_take_turns(model: Path) -> None:
    def steps(batch: int, prompt: int) -> tuple[int, int]:
        found = result(model, "prefill", batch=batch, prompt=prompt, rows=8)["phases"]["prefill"]
        return found["steps"], found["tokens"]

    assert steps(5, 4) == (3, 20)  # two at a time, and one that is left
    assert steps(3, 8) == (3, 24)
    assert steps(2, 17) == (6, 34)


def test_few_layers_are_all_simulated_and_many_folded(tmp_path: Path) -> None:
    for layers, expected in ((8, (8, 8)), (9, (4, 8))):
        write_study(tmp_path, CONFIG | {"num_hidden_layers": layers})
        (tmp_path / f"{layers}.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))
        program = result(tmp_path / f"{layers}.json", "decode", rows=4, context=9)["program"]
        simulated = program["layers_simulated"], program["layers_simulated_in_decode"]
        assert (program["layers"], simulated) == (layers, expected)


# ---- keys, and what is shared


def _other(key: str) -> Chip | None:
    """t1-mini with another value of a key; None if it cannot have one alone."""
    now = of_chip(plain_chip(MINI), key)
    if isinstance(now, bool):
        candidates: list[Any] = [not now]
    elif isinstance(now, list):
        candidates = [now[:1], now[1:]]
    else:
        candidates = [now * 2, now + 1, now / 2 if isinstance(now, float) else now // 2]
    for candidate in candidates:
        if candidate == now:
            continue
        try:
            return MINI.with_(**{key: candidate})
        except ChipError:
            continue
    return None


@pytest.fixture(scope="module")
def program(model: Path) -> tuple[Any, Program]:
    """The model's config, as the compiler takes it, and its program for t1-mini."""
    config = ModelConfig.load(model)
    return config, compile_config(config, MINI, Options(rows=8))


@pytest.mark.parametrize("key", sorted(inputs.chip_keys()))
def test_chips_that_share_a_program_get_the_same_one(
    key: str, program: tuple[Any, Program]
) -> None:
    other = _other(key)
    if other is None or simulate.compiled_by(other) != simulate.compiled_by(MINI):
        return  # no such chip, or a program of its own
    config, mine = program
    its = compile_config(config, other, Options(rows=8))
    assert (mine.code == its.code).all() and (mine.descriptors == its.descriptors).all()
    assert mine.metadata == its.metadata


@pytest.mark.parametrize("key", sorted(inputs.chip_keys()))
def test_every_key_of_the_chip_is_in_the_key_of_the_point(key: str, model: Path) -> None:
    other = _other(key)
    if other is None:
        return
    points = Points(("decode",), {"t1-mini": "t1-mini"}, {"m": str(model)})
    base = {"chip": "t1-mini", "model": "m"}
    found = of_chip(plain_chip(other), key)
    assert points.point(base | {key: found}).key != points.point(base).key
    assert points.point(base | {key: of_chip(plain_chip(MINI), key)}).key == points.point(base).key


def test_every_simulated_input_is_in_the_key(model: Path) -> None:
    others: dict[str, Any] = {
        "batch": 2, "context": 99, "prompt": 98, "output": 97, "ignore_capacity": True,
        "fold_layers": 5, "prefill_samples": 4, "decode_samples": 5, "weights": "fp8",
        "activations": "bf16", "kv": "fp8", "lm_head": "bf16", "scale_mode": "floor", "rows": 7,
        "sequences": 9, "logit_rows": 3, "top_k": 11, "split": 2,
    }  # fmt: skip
    points = Points(("prefill", "decode", "request"), {"t1": "t1"}, {"m": str(model)})
    base = {"chip": "t1", "model": "m"}
    keys = {points.point(base).key}
    for name, item in inputs.known().items():
        if item.simulated and name not in base and name in others:
            assert item.check(others[name]) == others[name]
            keys.add(points.point(base | {name: others[name]}).key)
    assert len(keys) == 1 + len(others)
    # A phase depends on its own inputs alone.
    decode = Points(("decode",), {"t1": "t1"}, {"m": str(model)})
    assert decode.point(base | {"prompt": 3}).key == decode.point(base).key


def test_a_chip_survives_its_plain_data() -> None:
    assert chip_from_data(json.loads(json.dumps(plain_chip(MINI))), "t1-mini") == MINI


def test_no_source_that_timing_depends_on_is_left_out() -> None:
    """All that `evaluate` can reach by imports, but for what only shows results."""
    shows = {
        "emulator/explain.py", "emulator/explain_text.py", "emulator/report.py",
        "emulator/report_table.py", "emulator/trace.py", "emulator/errors.py", "emulator/jit.py",
        "emulator/jit_cache.py", "emulator/jit_key.py", "emulator/info.py", "emulator/__init__.py",
        "emulator/explore/__init__.py", "emulator/explore/errors.py", "emulator/status.py",
        "emulator/explore/code_version.py", "emulator/run_options.py",
    }  # fmt: skip
    start = code_version.ROOT / "emulator/explore/evaluate.py"
    reached = {path for path, _ in jit_key._sources(str(start))}
    hashed = {str(path.relative_to(code_version.ROOT)) for path in code_version.files()}
    left = {path for path in reached - hashed - shows if not path.startswith("emulator/tracing/")}
    assert not left
    assert "isa/chip.py" in hashed and "emulator/timing/hbm.py" in hashed
    assert len(hashed) == len(list(code_version.files()))


def test_every_metric_is_of_a_unit_and_of_some_workload() -> None:
    for metric in metrics.known().values():
        unit_of(metric.unit)
        assert metric.what and (metric.needs() or not metric.phases)


def test_metrics_are_numbers_where_their_phases_are(model: Path) -> None:
    for workload, phases in metrics.PHASES.items():
        found = result(model, workload, prompt=20, output=3, context=30)
        for metric in metrics.known().values():
            if metric.has(set(phases)) and not metric.quality:
                assert metric.value(found) is not None, (workload, metric.name)
