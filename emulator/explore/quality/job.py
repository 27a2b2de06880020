"""Jobs that measure quality: plain data, of everything a result depends on.

A job says nothing of the chip, for no bit depends on it, nor of the point's model, for it is the
shipped one that is measured. So points of equal formats share a job.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from compiler.options import Options
from emulator.explore.errors import StudyError
from emulator.explore.quality.text import checkpoint_digest, text_digest, windows

Job = dict[str, Any]

KIND: Final = "quality"
OWN, BASE, REFERENCE = "own", "base", "reference"  #: in a point's formats, in bf16, without Tessera

#: What quality is compared with, token by token.
BASE_OPTIONS: Final = Options(weights="bf16", activations="bf16", kv="bf16", lm_head="bf16")


def jobs_of(inputs: Mapping[str, Any], code: str) -> dict[str, Job]:
    """The jobs whose results give a point its metrics of quality. Raises StudyError."""
    known = {each.name for each in fields(Options)}
    numeric = [name for name in Options().numeric() if name in known]
    options = Options(**{name: inputs[name] for name in numeric})
    count = inputs["quality_windows"]
    return {
        OWN: _job(options.numeric(), count, code),
        BASE: _job(BASE_OPTIONS.numeric(), count, code),
        REFERENCE: _job(None, count, code),
    }


def _job(numeric: dict[str, Any] | None, count: int | str, code: str) -> Job:
    """`numeric` None: the reference."""
    return {
        "kind": KIND,
        "numeric": numeric,
        "windows": count,
        "text": text_digest(count),
        "checkpoint": checkpoint_digest(),
        "code": code,
    }


def measure(job: Job) -> dict[str, Any]:
    """The result of a job: `losses` in micronats and `choices`, of every predicted token.

    Raises StudyError where the text or the model is another than where the job was made, and
    CompileError for formats that there is no program for.
    """
    from emulator.explore.quality.emulated import emulated  # imports Numba: only where jobs run
    from emulator.explore.quality.reference import reference

    count = job["windows"]
    if job["text"] != text_digest(count) or job["checkpoint"] != checkpoint_digest():
        raise StudyError(
            "a worker has another held-out text or model: the text is the running Python's own; "
            "install the same version of Python, and of programs/model, there"
        )
    chosen = windows(count)
    found = reference(chosen) if job["numeric"] is None else emulated(job["numeric"], chosen)
    return {
        "schema": 1,
        "numeric": job["numeric"],
        "losses": found.losses,
        "choices": found.choices,
    }
