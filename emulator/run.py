"""Running a program from the command line: what `emu run` does, as library functions.

Everything that can be refused is refused before a machine is made; files are written last.
"""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from emulator.decoder import Machine
from emulator.errors import CheckFailed, InputError, ProgramFault
from emulator.fold import Fold, fold_for
from emulator.memory import AddressError
from emulator.run_job import Job, Outcome
from emulator.run_options import Options
from emulator.status import Status
from isa.chip import Chip, known_chips, load_chip
from isa.files import atomic_write, json_text, write_json
from isa.program import Program, load

if TYPE_CHECKING:
    from emulator.check.machine import CheckedMachine
    from emulator.meter import Meter
    from emulator.tracing.recorder import Recorder

__all__ = ["SCHEMA", "Options", "run"]

SCHEMA = 1
_TIMED = ("cycles", "traffic", "bounds", "work", "units", "folded", "sampled", "explained")


def run(options: Options) -> dict[str, Any]:
    """Run a program as the options say; prints, writes files, and returns the JSON result.

    Raises InputError, ProgramError or ProgramFault; then no file has been written. Raises
    CheckFailed at the very end.
    """
    options.check()
    program = load(options.program)
    chip = _chip(options, program)
    job = _job(options, program)
    fold = fold_for(program, options.fold_layers, options.timing_only)
    timed = program if fold is None else fold.program(program)
    with _recording(options, timed, chip) as recorder:
        with Status("preparing the emulator") as status:
            machine, checked = _machine(options, program, timed, chip)
            meter = _meter(options, timed, chip, fold, recorder)
            start = time.perf_counter()
            try:
                outcome = _run(job, machine, meter, status)
            except ProgramFault:
                status.stop()
                _print_check(checked)
                raise
            seconds = time.perf_counter() - start
        result = _result(options, chip, program, outcome, meter, seconds)
        result["beyond_capacity"] = program.metadata.get("beyond_capacity")
        result["check"] = None if checked is None else checked.result()
        _write_files(options, outcome, result, meter)
    _print(options, result, meter)
    _print_check(checked)
    if checked is not None and checked.findings():
        raise CheckFailed(f"{program.path}: --check has findings; docs/check.md explains them")
    return result


def _chip(options: Options, program: Program) -> Chip:
    """The chip asked for, else the program's own: that one must come with the package."""
    name = program.chip.name
    if options.chip is None and name not in known_chips():
        raise InputError(
            f"{program.path}: was made for the chip {name}, which is not known here; "
            "give its YAML file by --chip"
        )
    chip = load_chip(options.chip or name)
    beyond = program.metadata.get("beyond_capacity")
    if beyond is not None:
        needed = program.chip.architecture["hbm.bytes"]
        if not options.ignore_capacity:
            raise InputError(
                f"{program.path}: needs {needed / 1e9:,.1f} GB of HBM, and {chip.name} has "
                f"{chip.hbm.bytes / 1e9:,.1f}; time it all the same by --timing-only "
                "--ignore-capacity"
            )
        chip = chip.with_hbm(needed)
    program.check_chip(chip)
    return chip


def _job(options: Options, program: Program) -> Job:
    """The work to do, its input checked."""
    if program.timing_only and not options.timing_only:
        raise InputError(
            f"{program.path}: holds no weights; run it with --timing-only, "
            "or compile it without --no-weights"
        )
    if program.metadata.get("kind") == "decoder":
        from emulator.run_decoder import DecoderJob

        return DecoderJob(options, program)
    if options.time_every > 1:
        raise InputError(f"{program.path}: --time-every is for decoders, whose steps are alike")
    from emulator.run_plain import PlainJob

    return PlainJob(options, program)


def _machine(
    options: Options, program: Program, timed: Program, chip: Chip
) -> tuple[Machine, CheckedMachine | None]:
    """The machine, and the same one once more if it is checked."""
    if options.timing_only:
        return _timing_machine(options, timed, chip), None
    machine = _value_machine(options, program, chip)
    if options.checked:
        from emulator.check.machine import CheckedMachine
        from emulator.fast.machine import FastMachine

        assert isinstance(machine, FastMachine)
        checked = CheckedMachine(machine)
        return checked, checked
    if timed is program:
        return machine, None
    from emulator.apart import FoldedMachine
    from emulator.fast.machine import FastMachine

    beside = machine.beside if isinstance(machine, FastMachine) else None
    return FoldedMachine(machine, _timing_machine(options, timed, chip), beside), None


def _value_machine(options: Options, program: Program, chip: Chip) -> Machine:
    """A machine that computes."""
    if options.executor == "reference":
        from emulator.reference.machine import ReferenceMachine

        return ReferenceMachine(program, chip)
    from emulator.fast.machine import FastMachine

    return FastMachine(program, chip, options.threads, log_accesses=options.checked)


def _timing_machine(options: Options, program: Program, chip: Chip) -> Machine:
    """A machine that gives the records of a run, and no values."""
    from emulator.fast.machine import FastMachine

    threads = options.threads if options.timing_only else 1
    return FastMachine(program, chip, threads, timing_only=True, seed=options.seed)


def _recording(
    options: Options, program: Program, chip: Chip
) -> AbstractContextManager[Recorder | None]:
    """What watches the run instruction by instruction, if that is wanted."""
    if not (options.perfetto or options.konata or options.explain):
        return nullcontext()
    from emulator.tracing.recorder import recording

    return recording(options, program, chip)


def _meter(
    options: Options, program: Program, chip: Chip, fold: Fold | None, recorder: Recorder | None
) -> Meter | None:
    if options.no_timing:
        return None
    from emulator.meter import Meter

    trace = options.trace is not None and options.perfetto is None
    every = options.time_every
    return Meter(program, chip, trace=trace, fold=fold, recorder=recorder, every=every)


def _run(job: Job, machine: Machine, meter: Meter | None, status: Status) -> Outcome:
    program = machine.program
    try:
        return job.run(machine, meter, status)
    except ProgramFault as fault:
        raise fault.of(program) from None
    except AddressError as error:  # a symbol whose bytes a timing-only run does not hold
        raise InputError(f"{program.path}: {error}") from None


# -- results -------------------------------------------------------------------------------------


def _result(
    options: Options,
    chip: Chip,
    program: Program,
    outcome: Outcome,
    meter: Meter | None,
    seconds: float,
) -> dict[str, Any]:
    """The JSON result, schema 1 (docs/report.md). Every key is there, timed or not."""
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "chip": chip.name,
        "program": str(options.program),
        "executor": "timing-only" if options.timing_only else options.executor,
        "tokens": outcome.tokens,
        "text": outcome.text,
        "numeric": program.metadata.get("numeric", {}),
        "seconds": {"chip": None, "host": seconds},
    }
    if meter is None:
        return result | dict.fromkeys(_TIMED)
    result |= meter.result(outcome.prefill_steps)
    result["seconds"] = {"chip": meter.seconds(), "host": seconds}
    return result


def _write_files(
    options: Options, outcome: Outcome, result: dict[str, Any], meter: Meter | None
) -> None:
    for name, path in options.output_files.items():
        with atomic_write(path) as file:
            np.save(file, outcome.arrays[name], allow_pickle=False)
    if options.trace is not None and options.perfetto is None and meter is not None:
        meter.write_trace(options.trace)
    if options.json_file is not None and not options.json_to_stdout:
        write_json(options.json_file, result)


def _print(options: Options, result: dict[str, Any], meter: Meter | None) -> None:
    """What standard output gets after the text."""
    if options.json_to_stdout:
        sys.stdout.write(json_text(result))
    elif meter is not None and not options.quiet:
        print(meter.text(result))


def _print_check(checked: CheckedMachine | None) -> None:
    """What standard error gets of the check."""
    if checked is not None:
        sys.stdout.flush()
        print(checked.text(), file=sys.stderr)
