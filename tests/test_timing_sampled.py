"""`emu run --time-every N`: some decode steps are timed, others count as the nearest of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_runs import assembled, compiled, done, refused, write_checkpoint

STEPS = 10
RUN = ("--tokens", "5,6,7,8,9", "--max-new-tokens", STEPS + 1, "--ignore-eos")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder with weights."""
    folder = tmp_path_factory.mktemp("sampled")
    return compiled(write_checkpoint(folder / "model"), folder / "model.bin")


@pytest.fixture(scope="module")
def whole(path: Path) -> dict[str, Any]:
    """The result of a run that times every step."""
    return ran(path)


def ran(path: Path, *options: object) -> dict[str, Any]:
    """The result of a run."""
    result: dict[str, Any] = done("run", path, *RUN, *options, "--json", "-").json
    return result


def nearest(cycles: list[int], every: int) -> list[int]:
    """By definition: of the timed step that is nearest, the earlier one if two are."""
    timed = range(0, len(cycles), every)
    return [
        cycles[min(timed, key=lambda t, step=step: (abs(t - step), t))]
        for step in range(len(cycles))
    ]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("every", [2, 3, 4, 9, 100])
def test_a_step_counts_as_the_nearest_that_is_timed(
    path: Path, whole: dict[str, Any], every: int, threads: int
) -> None:
    found = ran(path, "--time-every", every, "--threads", threads)
    assert found["tokens"] == whole["tokens"]
    assert found["cycles"]["prefill"] == whole["cycles"]["prefill"]
    assert found["cycles"]["decode"] == nearest(whole["cycles"]["decode"], every)
    decode = found["bounds"]["decode"]
    assert decode["steps"] == STEPS and decode["cycles"] == sum(found["cycles"]["decode"])
    assert found["bounds"]["prefill"] == whole["bounds"]["prefill"]
    assert found["sampled"] == {"every": every, "steps": STEPS, "timed": -(-STEPS // every)}


def test_cycles_of_steps_differ_here(whole: dict[str, Any]) -> None:
    """Or the test above would say nothing."""
    assert len(set(whole["cycles"]["decode"])) > 2


def test_bytes_are_near_those_of_every_step(path: Path, whole: dict[str, Any]) -> None:
    found, every = ran(path, "--time-every", 4)["traffic"], whole["traffic"]
    for space in ("csram", "tsram", "acc"):
        assert found[space]["bytes"] == pytest.approx(every[space]["bytes"], rel=0.02)
    for way in ("read", "write"):
        assert found["hbm"][way] == pytest.approx(every["hbm"][way], rel=0.02)


def test_every_step_is_no_estimate(path: Path, whole: dict[str, Any]) -> None:
    assert whole["sampled"] is None and ran(path, "--time-every", 1)["cycles"] == whole["cycles"]


def test_without_values_it_is_the_same(path: Path) -> None:
    one, other = ran(path, "--timing-only"), ran(path, "--timing-only", "--time-every", 3)
    assert other["cycles"]["decode"] == nearest(one["cycles"]["decode"], 3)


def test_one_token_has_no_decode_steps(path: Path) -> None:
    run = ("run", path, "--tokens", "5", "--max-new-tokens", "1", "--json", "-")
    found = done(*run, "--time-every", 4).json
    assert found["sampled"] == {"every": 4, "steps": 0, "timed": 0}
    assert found["cycles"]["decode"] == []


def test_the_report_says_that_cycles_are_an_estimate(path: Path) -> None:
    assert "AN ESTIMATE: 3 of 10 decode steps" in done("run", path, *RUN, "--time-every", 4).out


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("at least 1, got 0", ("--time-every", "0")),
        ("leave out --no-timing", ("--no-timing",)),
        ("leave out one", ("--fold-layers", "4")),
        ("use fast", ("--executor", "reference")),
        ("--check: looks at every step", ("--check",)),
        ("look at every step", ("--trace", "trace.json")),
        ("look at every step", ("--konata", "log.txt")),
        ("look at every step", ("--explain",)),
    ],
)
def test_what_cannot_be_meant_is_refused(
    path: Path,
    message: str,
    options: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(message, "run", path, *RUN, "--time-every", "2", *options)
    assert not list(tmp_path.iterdir())


def test_other_programs_have_no_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = assembled(tmp_path / "plain.bin", ".entry main\n halt\n")
    refused("whose steps are alike", "run", plain, "--time-every", "4")
