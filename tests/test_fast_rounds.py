"""Supersteps that workers share: whoever runs a tile, and whenever they come, bits are the same."""

from __future__ import annotations

from threading import Barrier, Event, Thread

import numpy as np
import pytest
from equality.compare import fill
from equality.draft import CHIP
from equality.programs import random_program

from emulator.fast import layout as at
from emulator.fast.blocks import address
from emulator.fast.machine import FastMachine
from emulator.fast.rounds import B_ASLEEP, B_CALLED, B_INSIDE, B_ROUND
from emulator.fast.supersteps import AGAIN, FINISHED, HELP, LEAVE, WAKE, advance
from emulator.fast.workers import Workers

MANY = 1_000_000


def started(seed: int, threads: int) -> FastMachine:
    machine = FastMachine(random_program(seed), CHIP, threads)
    fill(machine.memory, seed)
    machine._blocks.start(machine.program.entry("main"), [], False)
    return machine


def state(machine: FastMachine) -> list[np.ndarray]:
    memory = machine.memory
    written = [region.data for region in memory.regions if region.data is not None]
    return [
        memory.tsram,
        memory.csram,
        memory.acc,
        machine.registers,
        machine.semaphores,
        *written,
    ]


def to_the_end(machine: FastMachine, supersteps: int = 1) -> None:
    m, w = address(machine._blocks.machine), machine._workers.block(0)
    for _ in range(MANY):
        if advance(m, w, supersteps) == FINISHED:
            return
    raise AssertionError("it has no end")


def helped(machine: FastMachine) -> bool:
    """Whether others than the first worker have run tiles."""
    return any(block[at.W_WORK] > 0 for block in machine._workers._blocks[1:])


@pytest.mark.parametrize("seed", range(12))
def test_others_change_nothing(seed: int) -> None:
    """Three help all the time, on however many processors."""
    alone, shared = started(seed, 1), started(seed, 4)
    to_the_end(alone)
    m, over = address(shared._blocks.machine), []

    def help_on(worker: int) -> None:
        while not over:
            advance(m, shared._workers.block(worker), HELP)

    helpers = [Thread(target=help_on, args=(worker,), daemon=True) for worker in (1, 2, 3)]
    try:
        for helper in helpers:
            helper.start()
        to_the_end(shared)
    finally:
        over.append(True)
    for helper in helpers:
        helper.join()
    assert all(map(np.array_equal, state(alone), state(shared)))
    assert shared._workers.board[B_INSIDE] == 0 == shared._workers.board[B_ROUND]


@pytest.mark.parametrize("seed", range(8))
def test_others_run_tiles(seed: int) -> None:
    """One who helps runs all tiles of a round that the first worker has opened and not begun."""
    alone, shared = started(seed, 1), started(seed, 2)
    to_the_end(alone)
    m, (first, other) = address(shared._blocks.machine), map(shared._workers.block, (0, 1))
    shared._blocks.machine[at.M_ALONE] = -1
    assert advance(m, first, 1) == WAKE and not helped(shared)
    assert advance(m, other, HELP) == 0 and helped(shared)
    shared._workers.board[B_ASLEEP] = 0
    outcome = advance(m, first, 1)
    assert shared._workers._blocks[0][at.W_WORK] == 0, "there was nothing left of that round"
    if outcome == AGAIN:
        to_the_end(shared)
    assert all(map(np.array_equal, state(alone), state(shared)))


def test_without_others_the_first_worker_runs_all_shares() -> None:
    alone, left = started(3, 1), started(3, 4)
    to_the_end(alone, 100)
    to_the_end(left, 100)
    assert all(map(np.array_equal, state(alone), state(left))) and not helped(left)


def test_who_helps_gives_up_or_is_called_away() -> None:
    machine = started(0, 2)
    m, w = address(machine._blocks.machine), machine._workers.block(1)
    assert advance(m, w, HELP) == 0
    machine._workers.board[B_CALLED] = 1
    assert advance(m, w, HELP) == 1


def test_a_round_that_is_left_is_closed() -> None:
    machine = started(0, 2)
    m, w = address(machine._blocks.machine), machine._workers.block(0)
    assert advance(m, w, 1) in (AGAIN, FINISHED)
    machine._workers.board[B_ROUND] = 7
    advance(m, w, LEAVE)
    assert machine._workers.board[B_ROUND] == 0
    assert advance(m, machine._workers.block(1), HELP) == 0


def test_an_entry_that_was_left_in_the_middle_is_no_hindrance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As by an interrupt while others are woken: the round is closed, and the next one is whole."""
    program = random_program(3)
    left, expected = (FastMachine(program, CHIP, threads) for threads in (2, 1))
    left._blocks.machine[at.M_ALONE] = -1

    def interrupted(workers: Workers) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Workers, "wake", interrupted)
        with pytest.raises(KeyboardInterrupt):
            left.ring("main")
    assert left._workers.board[B_ROUND] == 0
    left._blocks.tiles[:, at.T_SEMAPHORES : at.T_WAITERS] = 0  # as in a machine that is new
    for machine in (left, expected):
        fill(machine.memory, 3)
        machine.ring("main")
    assert all(map(np.array_equal, state(left), state(expected)))


def test_work_is_counted_without_values_too() -> None:
    """Scalars are work, and others are woken for them."""
    machine = FastMachine(random_program(0), CHIP, 2, timing_only=True)
    machine.ring("main")
    assert machine._workers._blocks[0][at.W_WORK] > 0


def test_others_are_woken_only_when_there_is_enough_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []

    def wake(workers: Workers) -> None:
        woken.append(len(workers))
        workers.board[B_ASLEEP] = 0  # and yet nobody comes

    monkeypatch.setattr(Workers, "wake", wake)
    for alone, expected in ((1 << 15, []), (-1, [2])):
        machine = FastMachine(random_program(0), CHIP, 2)
        machine._blocks.machine[at.M_ALONE] = alone
        fill(machine.memory, 0)
        machine.ring("main")
        assert woken == expected


def test_who_is_woken_helps_with_the_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    came, asked = Event(), []

    def watched(m: int, w: int, what: int) -> int:
        if what == HELP:
            came.set()
        elif what > 0:
            asked.append(what)
            if len(asked) == 1:
                return WAKE
            assert came.wait(60)
        return int(advance(m, w, what))

    monkeypatch.setattr("emulator.fast.machine.advance", watched)
    machine = FastMachine(random_program(0), CHIP, 2)
    fill(machine.memory, 0)
    machine.ring("main")
    assert came.is_set() and machine._workers.board[B_ROUND] == 0


def test_calls_go_before_supersteps() -> None:
    """A worker that assists makes a call that is deferred meanwhile, and comes back."""
    workers, both = Workers(2), Barrier(2, timeout=60)
    came: list[str] = []

    def work(block: int) -> bool:
        came.append("work")
        both.wait()  # the call is deferred
        both.wait()
        return len(came) < 3

    with workers.helping(work):
        workers.wake()
        both.wait()
        workers.defer(lambda: came.append("call"))
        both.wait()
        workers.settle()
        both.wait()  # it is there again
        both.wait()
    assert came == ["work", "call", "work"]
