"""The life of a forked child: it becomes a changed executor, and runs cases until one fails.

It writes lines to a pipe: `at INDEX` before each case, and one JSON object at its end.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from emulator.conformance.judge import difference
from emulator.conformance.mutants.cases import Prepared
from emulator.conformance.mutants.world import Device, enter

MEMORY: Final = 8 << 30  #: bytes of address space that a child may use


def live(
    texts: Mapping[str, str], cases: Sequence[Prepared], order: Sequence[int], all_of_them: bool,
    pipe: int,
) -> None:  # fmt: skip
    """Never returns. ``all_of_them``: go on behind a case that fails."""
    status = 1
    try:
        _quiet()
        outcome = _run(texts, cases, order, all_of_them, pipe)
        os.write(pipe, (json.dumps(outcome) + "\n").encode())
        status = 0
    finally:
        os._exit(status)


def _quiet() -> None:
    gc.disable()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(
    texts: Mapping[str, str], cases: Sequence[Prepared], order: Sequence[int], all_of_them: bool,
    pipe: int,
) -> dict[str, Any]:  # fmt: skip
    try:
        device = enter(texts)
    except Exception as error:
        return {"loads": False, "failed": [], "seconds": {}, "detail": _name_of(error)}
    failed, seconds, first = [], {}, ""
    for index in order:
        os.write(pipe, f"at {index}\n".encode())
        start = time.perf_counter()
        problem = _problem(device, cases[index])
        seconds[index] = time.perf_counter() - start
        if problem:
            failed.append(index)
            first = first or problem
            if not all_of_them:
                break
    return {"loads": True, "failed": failed, "seconds": seconds, "detail": first}


def _problem(device: Device, prepared: Prepared) -> str:
    """What is wrong with a case's result; empty if nothing is."""
    try:
        result = device(prepared.program)
    except Exception as error:
        return f"crashed: {_name_of(error)}"
    return difference(prepared.case, result)


def _name_of(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = (str(error).splitlines() or [""])[0][:80]
    return f"{type(error).__name__} in {where.name}: {text}"
