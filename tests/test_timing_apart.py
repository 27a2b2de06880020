"""Values of every layer, timing of a few: bits are a whole run's, cycles those of a folded one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_runs import compiled, done, logits_of, refused, write_checkpoint

from emulator.apart import FoldedMachine
from emulator.errors import InputError, ProgramFault
from isa.faults import Fault, FaultReport
from isa.program import Program, load

LAYERS = 7
RUN = ("--tokens", "5,6,7,8,9", "--max-new-tokens", "4", "--ignore-eos")
FOLDED = (*RUN, "--fold-layers", "4")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder of seven layers, with weights."""
    folder = tmp_path_factory.mktemp("apart")
    model = write_checkpoint(folder / "model", num_hidden_layers=LAYERS)
    return compiled(model, folder / "model.bin")


def ran(path: Path, *options: object) -> dict[str, Any]:
    """The result of a run."""
    result: dict[str, Any] = done("run", path, *options, "--json", "-").json
    return result


@pytest.mark.parametrize("threads", [1, 2])
def test_tokens_are_those_of_every_layer_and_cycles_those_of_a_few(
    path: Path, threads: int
) -> None:
    whole, apart = ran(path, *RUN), ran(path, *FOLDED, "--threads", threads)
    timed = ran(path, *FOLDED, "--timing-only")
    assert apart["tokens"] == whole["tokens"] and timed["tokens"] is None
    assert apart["folded"] == timed["folded"] != whole["folded"]
    for part in ("cycles", "traffic", "bounds", "units"):
        assert apart[part] == timed[part], part
    assert apart["cycles"]["total"] == pytest.approx(whole["cycles"]["total"], rel=0.03)
    assert apart["executor"] == "fast" and timed["executor"] == "timing-only"


@pytest.mark.parametrize("executor", ["fast", "reference"])
def test_logits_are_those_of_every_layer(path: Path, tmp_path: Path, executor: str) -> None:
    one = ("--tokens", "5,6,7", "--max-new-tokens", "1", "--ignore-eos", "--executor", executor)
    expected = logits_of(tmp_path, path, *one)
    file = tmp_path / "apart.npy"
    apart = ran(path, *one, "--fold-layers", "4", "--output", f"logits={file}")
    assert apart["tokens"] == expected[0]
    assert (np.load(file).view(np.uint32) == expected[1]).all()


def test_the_report_says_that_cycles_are_an_estimate(path: Path) -> None:
    assert f"AN ESTIMATE: 4 of {LAYERS} layers" in done("run", path, *FOLDED).out
    assert "ESTIMATE" not in done("run", path, *RUN).out


def test_as_many_layers_as_there_are_is_a_whole_run(path: Path) -> None:
    whole, same = ran(path, *RUN), ran(path, *RUN, "--fold-layers", LAYERS)
    assert same["cycles"] == whole["cycles"] and same["folded"] is None


def test_programs_that_are_no_decoders_have_no_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli_runs import assembled

    monkeypatch.chdir(tmp_path)
    plain = assembled(tmp_path / "plain.bin", ".entry main\n halt\n")
    refused("it has no layers", "run", plain, "--fold-layers", "4")


# ---- one machine of two


class Stub:
    """A machine that notes what it is asked for, or raises."""

    def __init__(self, program: Program, problem: BaseException | None = None) -> None:
        self.program, self.problem = program, problem
        self.asked: list[object] = []
        self.threads: set[int] = set()
        self.other: threading.Thread | None = None

    def write(self, name: str, array: object) -> None:
        """Note the symbol."""
        self.asked.append(("write", name))

    def read(self, name: str) -> Any:
        """Who is asked."""
        return self

    def ring(self, entry: str, arguments: Sequence[int] = (), sink: object = None) -> None:
        """Note the entry."""
        self.asked.append((entry, tuple(arguments), sink))
        self.threads.add(threading.get_ident())
        if self.other is not None:
            self.other.join()
        if self.problem is not None:
            raise self.problem

    def beside(self, call: Callable[[], object]) -> None:
        """Make a call in another thread, which the next ring waits for."""
        self.other = threading.Thread(target=call)
        self.other.start()


@pytest.fixture(scope="module")
def program(path: Path) -> Program:
    """The program."""
    return load(path)


@pytest.mark.parametrize("beside", [False, True])
def test_both_run_every_entry_and_one_gives_the_records(program: Program, beside: bool) -> None:
    values, timed = Stub(program), Stub(program)
    machine = FoldedMachine(values, timed, values.beside if beside else None)
    sink: Any = list
    machine.write("rows", np.zeros(1))
    machine.ring("step", (1, 2), sink)
    assert values.asked == [("write", "rows"), ("step", (1, 2), None)]
    assert timed.asked == [("write", "rows"), ("step", (1, 2), sink)]
    assert machine.read("next") is values and machine.program is values.program
    assert (values.threads != timed.threads) == beside


@pytest.mark.parametrize("beside", [False, True])
def test_what_the_values_meet_is_raised(program: Program, beside: bool) -> None:
    fault = ProgramFault([FaultReport(0, 0, 0, Fault.DEADLOCK)])
    values, timed = Stub(program, fault), Stub(program, ValueError("later"))
    machine = FoldedMachine(values, timed, values.beside if beside else None)
    with pytest.raises(ProgramFault):
        machine.ring("step")


@pytest.mark.parametrize("beside", [False, True])
def test_what_the_timing_meets_is_raised(program: Program, beside: bool) -> None:
    values, timed = Stub(program), Stub(program, ValueError("timing"))
    machine = FoldedMachine(values, timed, values.beside if beside else None)
    with pytest.raises(ValueError, match="timing"):
        machine.ring("step")


def test_a_program_whose_way_depends_on_values_is_refused(program: Program) -> None:
    sites = {**program.metadata, "choice_sites": {"3": {"low": 0, "high": 8}}}
    other = Stub(replace(program, metadata=sites))
    with pytest.raises(InputError, match="depends on its values"):
        FoldedMachine(other, Stub(program))
