"""Steps whose values run ahead of their timing: the same cycles, in the same order."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from cli_runs import compiled, done, write_checkpoint

from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from emulator.fast.workers import BACKLOG, Workers
from emulator.meter import Meter
from emulator.timing.model import state_of
from isa.chip import load_chip
from isa.program import Program

MINI = load_chip("t1-mini")
PROMPT = [5, 6, 7, 8, 9, 10, 11]
STEPS = 6


@pytest.fixture
def program(tiny_decoder: Program) -> Program:
    """A program with weights."""
    return tiny_decoder


def metered(program: Program, ahead: bool, **machine: Any) -> tuple[list[int], dict[str, Any]]:
    """Tokens of a prefill and some steps, and what their meter says."""
    meter = Meter(program, MINI)
    decoder = Decoder(FastMachine(program, MINI, **machine), meter, ahead=ahead)
    sequence = decoder.open()
    tokens = [decoder.step([Request(sequence, PROMPT)]).tokens[-1]]
    meter.prefill_done()
    for _ in range(STEPS):
        tokens += decoder.step([Request(sequence, tokens[-1:])]).tokens
    decoder.settle()
    return tokens, meter.result(1)


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("chunk_rows", [7, 4096])
def test_nothing_depends_on_running_ahead(program: Program, threads: int, chunk_rows: int) -> None:
    expected = metered(program, ahead=False)
    assert metered(program, ahead=True, threads=threads, chunk_rows=chunk_rows) == expected


def test_a_run_says_the_same_with_and_without_a_trace(tmp_path: Path) -> None:
    """With a trace, steps are timed one by one."""
    path = compiled(write_checkpoint(tmp_path / "model"), tmp_path / "model.bin")
    run = ("run", path, "--tokens", "5,6,7", "--max-new-tokens", "5", "--ignore-eos")
    one = done(*run, "--threads", "2", "--json", "-").json
    other = done(*run, "--threads", "2", "--json", "-", "--trace", tmp_path / "trace.json").json
    for result in (one, other):
        del result["seconds"]["host"]
    assert one == other and len(one["cycles"]["decode"]) == 4


def test_a_result_waits_for_the_last_step(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Held(Workers):
        """Keeps what is deferred until somebody waits for it."""

        def __init__(self, count: int) -> None:
            super().__init__(count)
            self.kept: deque[tuple[Any, int]] = deque()

        def defer(self, call: Any, lane: int = 0) -> None:
            self.kept.append((call, lane))

        def settle(self, lanes: Any = None, abandon: bool = False) -> None:
            while self.kept:
                super().defer(*self.kept.popleft())
            super().settle(lanes, abandon)

    monkeypatch.setattr("emulator.fast.machine.Workers", Held)
    meter, machine = Meter(program, MINI), FastMachine(program, MINI, threads=2)
    decoder = Decoder(machine, meter, ahead=True)
    decoder.step([Request(decoder.open(), PROMPT)])
    with pytest.raises(RuntimeError, match="settle"):
        meter.result(1)
    decoder.settle()
    assert len(meter.cycles) == 1 and meter.result(1)["cycles"]["prefill"] == meter.cycles[0]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_an_observer_raises_is_raised_by_the_next_step_or_at_the_end(
    program: Program, threads: int
) -> None:
    class Broken(Meter):
        def entry(self, name: str, semaphores: Any = None) -> Any:
            listener = super().entry(name, semaphores)
            if name == "step":
                listener.feed = listener.end = self.fail  # type: ignore[method-assign]
            return listener

        def fail(self, *_: object) -> None:
            raise ZeroDivisionError("the observer's")

    machine = FastMachine(program, MINI, threads)
    decoder = Decoder(machine, Broken(program, MINI), ahead=True)

    def steps() -> None:
        for _ in range(2):
            decoder.step([Request(decoder.open(), PROMPT)])
        decoder.settle()

    with pytest.raises(ZeroDivisionError, match="the observer's"):
        steps()
    decoder.settle()  # once


# ---- lanes


def test_calls_of_a_lane_are_made_in_order_and_one_at_a_time() -> None:
    workers, made = Workers(4), [[] for _ in range(4)]
    under_way = [0] * 4

    def call(lane: int, number: int) -> None:
        under_way[lane] += 1
        assert under_way[lane] == 1
        made[lane].append(number)
        under_way[lane] -= 1

    count = 3 * BACKLOG
    for number in range(count):
        for lane in range(4):
            workers.defer(lambda lane=lane, number=number: call(lane, number), lane)
    workers.settle()
    assert made == [list(range(count))] * 4


@pytest.mark.parametrize("lanes", [(0, 1), (1, 0)])
def test_who_waits_makes_the_calls_that_nobody_else_is_free_for(lanes: tuple[int, int]) -> None:
    workers, both = Workers(2), Barrier(2, timeout=60)
    for lane in lanes:
        workers.defer(both.wait, lane)  # the only other worker cannot make both
    workers.settle()
    assert not both.broken


def test_what_ones_own_call_raises_is_raised_once() -> None:
    workers, started, free = Workers(2), Barrier(2, timeout=60), Barrier(2, timeout=60)
    workers.defer(lambda: (started.wait(), free.wait()), 0)
    started.wait()  # so nobody but the first worker is left for the other lane
    workers.defer(lambda: 1 // 0, 1)
    with pytest.raises(ZeroDivisionError):
        workers.settle([1])
    free.wait()
    workers.settle()


def test_settling_a_lane_leaves_the_others() -> None:
    workers, started, free = Workers(3), Barrier(2, timeout=60), Barrier(2, timeout=60)
    seen: list[str] = []
    workers.defer(lambda: (started.wait(), free.wait(), seen.append("late")), 0)
    started.wait()
    workers.defer(lambda: seen.append("soon"), 1)
    workers.settle([1])
    assert seen == ["soon"]
    free.wait()
    workers.settle()
    assert seen == ["soon", "late"]


def test_semaphores_of_the_machine_are_those_that_the_timing_model_would_have(
    program: Program,
) -> None:
    """Or an entry could not be timed without those before it."""

    meter, machine = Meter(program, MINI), FastMachine(program, MINI)
    model = meter.models.take()
    meter.models.give_back(model)  # it times all entries
    decoder = Decoder(machine, meter)
    sequence = decoder.open()
    for _ in range(3):
        decoder.step([Request(sequence, [5])])
        counts = state_of(model).sems[:, 0]
        np.testing.assert_array_equal(counts, machine.semaphores.reshape(-1))
    assert counts.any()
