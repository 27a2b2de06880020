"""Does jobs, in whatever process: the function that executors call.

A job times a point's phases, or measures the quality of its formats.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from emulator.explore.code_version import code_version
from emulator.explore.errors import StudyError
from emulator.explore.quality.job import KIND, measure
from isa.errors import TesseraError

DONE, INVALID, ERROR = "done", "invalid", "error"

Outcome = dict[str, Any]


def evaluate(jobs: Sequence[tuple[str, dict[str, Any]]]) -> list[Outcome]:
    """The outcome of each (key, job): key, status, reason, result, seconds, host.

    Status `invalid` is a job that cannot be: its program does not compile or fit, or faults.
    `error` is one that failed for no reason the project knows: a bug.
    """
    return [_outcome(key, job) for key, job in jobs]


def _outcome(key: str, job: dict[str, Any]) -> Outcome:
    if job["code"] != code_version():
        raise StudyError(
            f"the worker on {socket.gethostname()} has another version of Tessera "
            f"({code_version()}, not {job['code']}); install the same there"
        )
    start, status, reason, result = time.process_time(), DONE, "", None
    try:
        result = _result(job)
    except StudyError:
        raise  # of this machine, not of the job
    except TesseraError as error:
        status, reason = INVALID, str(error).splitlines()[0]
    except MemoryError:
        raise
    except Exception as error:  # one bad point must not end a study of thousands
        status, reason = ERROR, f"internal error: {type(error).__name__}: {error}".splitlines()[0]
    return {
        "key": key,
        "status": status,
        "reason": reason,
        "result": result,
        "seconds": time.process_time() - start,
        "host": f"{socket.gethostname()}:{os.getpid()}",
    }


def _result(job: dict[str, Any]) -> dict[str, Any]:
    if job.get("kind") == KIND:
        return measure(job)
    from emulator.explore.phases import phase  # imports Numba: only where jobs run
    from emulator.explore.simulate import Simulator

    simulator = Simulator(job)
    phases = {wanted["name"]: phase(simulator, wanted) for wanted in job["phases"]}
    timed = {name: found for name, found in phases.items() if found is not None}
    return {"schema": 1, "program": simulator.facts(), "phases": timed}
