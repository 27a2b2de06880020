"""Quality as an axis: the reference is the model, and points are measured by their formats."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import float_model
import numpy as np
import pytest
from cli_runs import done, emu
from explore_runs import STUDY, here, write_study  # noqa: F401

from compiler.json_input import read_json
from compiler.options import Options
from compiler.safetensors import Checkpoint
from emulator.explore import evaluate, metrics
from emulator.explore.errors import StudyError
from emulator.explore.point import Points
from emulator.explore.quality import job, text
from emulator.explore.quality.emulated import emulated
from emulator.explore.quality.predicted import Predicted
from emulator.explore.quality.reference import Model, reference

QUALITY = [name for name, metric in metrics.known().items() if metric.quality]
BF16 = job.BASE_OPTIONS.numeric()


def row(found: dict[str, Any]) -> dict[str, float]:
    """The metrics of quality of results by what they are of."""
    values = {name: metrics.known()[name].value({"quality": found}) for name in QUALITY}
    return {name: value for name, value in values.items() if value is not None}


# ---- the reference


def test_the_reference_is_another_implementations_model() -> None:
    folder, tokens = text.checkpoint(), text.windows(1)[0][:200]
    checkpoint = Checkpoint.open(folder)
    config = read_json(folder / "config.json")
    weights = {name: checkpoint.tensor(name).f32() for name in checkpoint.names}
    expected = float_model.logits(config, weights, tokens)
    np.testing.assert_allclose(Model(folder).logits(tokens), expected, atol=2e-6)


@pytest.mark.hf
def test_the_reference_is_what_transformers_says_in_fp32() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `hf`", exc_type=ImportError)
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(text.checkpoint(), dtype=torch.float32)
    chosen, theirs = text.windows(8), Predicted()
    for window in chosen:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([window[:-1]])).logits[0]
        theirs.add(logits.numpy(), window[1:])
    ours = reference(chosen)
    assert max(abs(a - b) for a, b in zip(ours.nats, theirs.nats, strict=True)) < 1e-4
    assert np.mean(np.array(ours.choices) == theirs.choices) > 0.999


def test_losses_and_choices_of_logits() -> None:
    logits = np.array([[0, 1, 1], [3, 2, 2]], np.float32)
    found = Predicted()
    found.add(logits, [1, 2])
    total = [math.log(1 + 2 * math.e), math.log(math.e**3 + 2 * math.e**2)]
    assert found.losses == [round(1e6 * (total[0] - 1)), round(1e6 * (total[1] - 2))]
    assert found.choices == [1, 0], "of equal logits the lowest token"


def test_windows_are_spread_and_whole() -> None:
    every = text.windows("all")
    assert text.windows(4096) == every and len(every) >= 32
    some = text.windows(4)
    assert some == [every[len(every) * index // 4] for index in range(4)]
    assert text.predictions_of(some) == sum(len(window) - 1 for window in some)
    assert len({text.text_digest(count) for count in (1, 2, 4, "all")}) == 4


def test_bf16_on_the_emulator_is_close_to_the_reference_and_fp4_less() -> None:
    chosen = text.windows(2)
    exact = reference(chosen)
    found = {name: emulated(Options(name, name).numeric(), chosen) for name in ("bf16", "mxfp4")}
    apart = {
        name: float(np.mean(np.array(each.choices) != exact.choices))
        for name, each in found.items()
    }
    assert apart["bf16"] < 0.01 < apart["mxfp4"] < 0.3
    assert abs(np.mean(found["bf16"].nats) - np.mean(exact.nats)) < 1e-3


# ---- metrics


def test_metrics_of_made_up_results() -> None:
    results = {
        job.OWN: {"losses": [1_000_000, 2_000_000, 3_000_000], "choices": [1, 2, 3]},
        job.BASE: {"losses": [1_000_000, 1_500_000, 2_000_000], "choices": [1, 2, 4]},
        job.REFERENCE: {"losses": [0, 0, 0], "choices": [1, 5, 3]},
    }
    found = row(results)
    error = 1 / math.sqrt(3)  # of 1, 2, 3
    assert found == pytest.approx(
        {
            "perplexity": math.exp(2),
            "perplexity_error": math.exp(2) * error,
            "loss_over_bf16": 0.5,
            "loss_over_bf16_error": 0.5 * error,
            "greedy_agreement": 2 / 3,
            "greedy_agreement_error": 1 / 3,
        }
    )
    assert not row({}), "a result without quality has no such metrics"


# ---- jobs


def points_of(**values: Any) -> dict[str, Any]:
    """The jobs of a point."""
    model = str(text.checkpoint() / "config.json")
    points = Points(("decode",), {"t1": "t1", "t1-mini": "t1-mini"}, {"m": model})
    return job.jobs_of(points.point({"chip": "t1", "model": "m"} | values).inputs, "code")


def test_formats_decide_and_nothing_else() -> None:
    numeric = {
        "weights": "fp8", "activations": "bf16", "kv": "fp8", "lm_head": "bf16",
        "scale_mode": "floor",
    }  # fmt: skip
    constants = {"ksplit", "activation_tensor_scale"}
    assert numeric.keys() | constants == Options().numeric().keys(), "a new one: is it an input?"
    base = points_of()
    for name, value in numeric.items():
        changed = points_of(**{name: value})
        assert changed[job.OWN] != base[job.OWN], name
        assert changed[job.BASE] == base[job.BASE]
        assert changed[job.REFERENCE] == base[job.REFERENCE]
    for name, value in {"batch": 3, "rows": 32, "split": 2, "chip": "t1-mini", "top_k": 3}.items():
        assert points_of(**{name: value}) == base, name
    assert points_of(lm_head="mxfp4") == base, "as weights is the default"
    assert points_of(quality_windows=3)[job.REFERENCE] != base[job.REFERENCE]


def test_a_worker_with_another_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = points_of(quality_windows=1)
    changed = jobs[job.REFERENCE] | {"code": evaluate.code_version(), "text": "0" * 32}
    with pytest.raises(StudyError, match="another held-out text or model"):
        evaluate.evaluate([("key", changed)])


# ---- studies


def rows(folder: Path) -> list[dict[str, str]]:
    """What was exported."""
    with (folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_study_that_trades_quality_against_speed(
    tmp_path: Path,
    here: None,  # noqa: F811
) -> None:
    path = write_study(
        tmp_path,
        workloads=["decode"],
        fixed=STUDY["fixed"] | {"quality_windows": 2},
        axes={"weights": ["mxfp4", "bf16"], "batch": [1, 3]},
        metrics=["tpot", *QUALITY],
        constraints=["perplexity - perplexity_error < 1000"],
        objectives=["perplexity", "tpot"],
    )
    plan = done("explore", path, "--dry-run").out
    assert "4 to be timed" in plan and "quality of formats: 4 to be measured" in plan
    out = done("explore", path, "-o", tmp_path / "r").out
    assert "4 points timed" in out and "quality of formats: 4 measured" in out
    assert "A proxy: quality is tessera-tiny's" in out and "ESTIMATES" not in out
    found = rows(tmp_path / "r")
    assert {each["note"] for each in found} == {"quality is tessera-tiny's in these formats"}
    by_format = {each["weights"]: {name: each[name] for name in QUALITY} for each in found}
    assert all(by_format[each["weights"]].items() <= each.items() for each in found)
    wanted = job.jobs_of({**Options().record(), "quality_windows": 2}, evaluate.code_version())
    expected = row({name: job.measure(each) for name, each in wanted.items()})
    assert {name: float(value) for name, value in by_format["mxfp4"].items()} == expected
    again = done("explore", path, "-o", tmp_path / "r").out
    assert "0 points timed, 4 from" in again and "quality of formats: 0 measured" in again
    more = write_study(
        tmp_path, workloads=["decode"], fixed=STUDY["fixed"] | {"quality_windows": 1},
        axes={"weights": ["mxfp4"], "batch": [1, 3]}, metrics=["perplexity"], objectives=None,
    )  # fmt: skip
    out = done("explore", more, "-o", tmp_path / "r").out
    assert "0 points timed, 2 from" in out and "quality of formats: 3 measured" in out


def test_without_the_model_a_study_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "FOLDER", tmp_path / "nowhere")
    path = write_study(tmp_path, metrics=["tpot", "greedy_agreement"])
    result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 2 and result.err.count("\n") == 1
    assert (
        "study.yaml:" in result.err and "run in a clone, or leave these metrics out" in result.err
    )
    assert not (tmp_path / "r").exists()
    assert emu("explore", write_study(tmp_path), "--dry-run").status == 0


def test_a_defect_while_measuring_is_a_row_and_is_tried_again(
    tmp_path: Path,
    here: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixed = STUDY["fixed"] | {"quality_windows": 1}
    path = write_study(tmp_path, fixed=fixed, metrics=["perplexity"], axes={"batch": [1]})

    def broken(found: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "measure", broken)
        result = emu("explore", path, "-o", tmp_path / "r")
    assert result.status == 1 and "ZeroDivisionError" in result.err
    assert "quality of formats: 3 measured" in done("explore", path, "-o", tmp_path / "r").out
