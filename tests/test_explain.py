"""Explanations: bound and causes sum to what was taken, for each operation of all test programs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import tiny_models
from asm_cases import CASES, CHIP, program
from decoder_runs import SMALL
from hypothesis import given, settings
from test_accounting_decoder import Recorder as Records
from test_timing_laws import Seeds, chips
from test_timing_machine import fast
from test_timing_streams import (
    HBM,
    INFO,
    MINI,
    TSRAM,
    dma,
    gemm,
    random_stream,
    signal,
    stream,
    vector,
    wait,
)
from traced_runs import Kept, watched

from compiler.api import compile_config
from compiler.config import ModelConfig
from compiler.options import Options
from emulator.accounting import ProgramInfo
from emulator.decoder import Decoder, Request
from emulator.explain import LABELS, Explained, Waits
from emulator.explain_text import ADVICE, render_explained
from emulator.fast.machine import FastMachine
from emulator.timing import EntryTiming, Timing
from emulator.timing import layout as at
from emulator.timing import slices as cut
from emulator.timing.watch import Watch
from isa.chip import Chip
from isa.program import Program

WAYS = sorted({*LABELS.values(), "wait", "work beyond the bound"})


def explained(found: EntryTiming, waits: Waits, info: ProgramInfo) -> dict[str, Any]:
    """The explanation of one entry, held to what every explanation keeps."""
    group = Explained(info)
    group.add(found)
    result = group.result(waits)
    operations = result["operations"]
    assert result["cycles"] == found.cycles
    assert sum(op["exclusive"] for op in operations) + result["rest"] == found.cycles
    assert sum(op["simulated"] for op in operations) == found.spans.sum()
    assert sum(op["bound_cycles"] for op in operations) == found.bounds.max(axis=1).sum()
    for op in operations:
        parts = [cause["cycles"] for cause in op["causes"]]
        assert all(isinstance(part, int) and part > 0 for part in parts)
        assert op["simulated"] == op["bound_cycles"] + op["gap"]
        assert op["gap"] == sum(parts)
        assert {cause["cause"] for cause in op["causes"]} <= set(WAYS)
        for cause in op["causes"]:
            assert (cause["cause"] == "wait") <= (cause["unit"] in at.KINDS)
            assert (cause["operation"] is not None) <= (cause["cause"] == "wait")
    assert operations == sorted(operations, key=lambda op: (-op["loss"], op["name"]))
    return result


def timed(chip: Chip, records: Any, info: ProgramInfo = INFO) -> tuple[EntryTiming, Waits]:
    waits = Waits()
    return watched(chip, records, _Only(waits), info=info), waits


class _Only(Kept):
    """Gives slices to the sums of waits, and keeps them."""

    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def slices(self, rows: Any, keys: Any) -> None:
        self.waits.slices(rows, keys)


# ---- every test program


@settings(max_examples=40)
@given(chips(), Seeds)
def test_losses_sum_to_the_gap_on_random_streams(chip: Chip, seed: int) -> None:
    explained(*timed(chip, random_stream(chip, seed)), INFO)


@pytest.mark.parametrize("name", sorted(CASES))
def test_losses_sum_to_the_gap_in_assembly_programs(name: str) -> None:
    info = ProgramInfo.of(program(name))
    explained(*timed(CHIP, fast(name), info), info)


@cache
def decoder(name: str) -> Program:
    """A small model's program."""
    options = Options(rows=8, sequences=2, context=64)
    return compile_config(ModelConfig.from_dict(SMALL[name]), MINI, options)


@pytest.mark.parametrize("name", sorted(tiny_models.CONFIGS))
def test_losses_sum_to_the_gap_in_decoders(name: str) -> None:
    made, records = decoder(name), Records()
    run = Decoder(FastMachine(made, MINI, timing_only=True), records)
    sequence = run.open()
    run.step([Request(sequence, [1] * 7)])
    run.step([Request(sequence, [1])])
    info = ProgramInfo.of(made)
    timing, waits = Timing(MINI, info), Waits()
    for entry in records.entries:  # semaphores keep their counts from entry to entry
        timing.begin("entry", Watch(_Only(waits)))
        timing.feed(entry)
        explained(timing.end(), waits, info)
    assert waits.of(info, "attention") and waits.of(info, "lm_head")


# ---- what it says


def test_waits_say_who_was_waited_for() -> None:
    """attend (pc 2): its DMA waits for multiply's (pc 4) array, its VPU for its DMA."""
    records = stream(
        MINI,
        gemm(0, 400, 64, 512, PC=4),
        signal(0, 1, 7, PC=4),
        wait(0, 3, 7, PC=2),
        dma(0, 0, HBM, TSRAM, 40_000, PC=2),
        signal(0, 3, 8, PC=2),
        wait(0, 2, 8, PC=2),
        vector(0, "vadd", 40, 100, PC=2),
    )
    observer = Kept()
    watched(MINI, records, observer)
    waits = Waits()
    waits.slices(observer.rows, observer.keys)
    ended = observer.rows[observer.rows[:, cut.S_FROM] >= 0]
    array, transfer = (ended[:, cut.S_END] - ended[:, cut.S_BEGIN]).tolist()
    assert waits.of(INFO, "attend") == [
        {"unit": "vpu", "on": "dma", "operation": "attend", "cycles": transfer},
        {"unit": "dma", "on": "mxu", "operation": "multiply", "cycles": array},
    ]
    found, waits = timed(MINI, records)
    result = explained(found, waits, INFO)
    attend = next(op for op in result["operations"] if op["name"] == "attend")
    assert attend["waits"] == waits.of(INFO, "attend")


def test_a_wait_on_the_path_names_the_operation() -> None:
    """A copy begins once another operation's vector work ends; that goes on elsewhere."""
    records = stream(
        MINI,
        dma(0, 1, HBM, TSRAM, 4096, PC=2),
        vector(0, "vadd", 400, 500, PC=0),
        signal(0, 2, 7, PC=0),
        wait(0, 3, 7, PC=2),
        dma(0, 0, HBM, TSRAM, 400_000, PC=2),
        vector(1, "vadd", 2000, 1000, PC=0),
    )
    result = explained(*timed(MINI, records), INFO)
    attend = next(op for op in result["operations"] if op["name"] == "attend")
    causes = [cause for cause in attend["causes"] if cause["cause"] == "wait"]
    assert [(cause["unit"], cause["operation"]) for cause in causes] == [("vpu", "embed")]
    assert 9000 < causes[0]["cycles"] < attend["gap"]


def test_a_full_queue_behind_a_wait_is_explained_by_who_ended_the_wait() -> None:
    """The copy is issued once the queue, whose head waits for another tile, has a place."""
    records = stream(
        MINI,
        vector(1, "vadd", 400, 500, PC=0),
        signal(1, 2, 7, 1, 1, 0, PC=0),
        wait(0, 2, 7, PC=2),
        vector(0, "vadd", 1, 1, PC=2),
        vector(0, "vadd", 1, 1, PC=2),
        dma(0, 0, HBM, TSRAM, 4096, PC=2),
    )
    found, _ = timed(MINI.with_(**{"tile.queue_depth": 1}), records)
    assert found.critical_path["vector"] > 9000
    assert found.critical_path.get("issue", 0) < 10


def test_the_text_shows_each_sum_and_what_to_change() -> None:
    found, waits = timed(MINI, random_stream(MINI, 6, 400))
    result = explained(found, waits, INFO)
    text = render_explained({"prefill": result})
    assert max(map(len, text.splitlines())) <= 100
    first = result["operations"][0]
    assert f"{first['simulated']:,} = {first['bound_cycles']:,}" in text
    assert f"{first['causes'][0]['cycles']:,}" in text
    assert "units waited" in text and "    > " in text


def test_every_cause_has_advice_that_names_a_key_of_the_chip() -> None:
    chip, free = MINI.with_(), {"overlap", "semaphore"}
    assert set(ADVICE) == set(WAYS) - free
    for text in ADVICE.values():
        keys = text.split("chip: ")[1].split(", ")
        for key in keys:
            part: Any = chip
            for name in key.strip().split("."):
                part = getattr(part, name)
