"""Small studies, and `emu explore` on them in this process, without other processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import tiny_models
import yaml

from emulator.explore import executors
from emulator.explore.evaluate import evaluate
from emulator.explore.point import Points

T = TypeVar("T")

CONFIG = tiny_models.CONFIGS["llama"] | {
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 512,
}
STUDY: dict[str, Any] = {
    "name": "small",
    "chip": "t1-mini",
    "model": "config.json",
    "workloads": ["prefill", "decode"],
    "fixed": {"prompt": 40, "context": 100, "rows": 16},
    "axes": {"hbm.bytes_per_second": ["50 GB/s", "100 GB/s"], "batch": [1, 3]},
    "objectives": ["tpot", "tokens_per_s_chip"],
}


class Here(Executor):
    """Does the work at once."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """A future that is done already."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _here(jobs: int, chunk: int | None) -> Iterator[executors.Place]:
    yield executors.Place(Here(), chunk or 1, 1)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are timed in this process, one by one."""
    monkeypatch.setattr(executors, "_local", _here)


def write_study(folder: Path, config: dict[str, Any] | None = None, **changes: Any) -> Path:
    """STUDY with changes (None: without that key) as a file beside the model's config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or CONFIG))
    study = {key: value for key, value in (STUDY | changes).items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def timed(model: Path, workloads: tuple[str, ...], **values: Any) -> dict[str, Any]:
    """The outcome of one point on t1-mini (or `chip`)."""
    chip = values.pop("chip", "t1-mini")
    point = Points(workloads, {chip: chip}, {"m": str(model)}).point(
        {"chip": chip, "model": "m"} | values
    )
    assert point.job is not None, point.reason
    (outcome,) = evaluate([(point.key, point.job)])
    return outcome | {"point": point}
