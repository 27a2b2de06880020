"""The shipped model in some formats, compiled and executed: the emulator's own bits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

from compiler.api import compile_checkpoint
from compiler.options import Options
from emulator.decoder import Decoder, Request
from emulator.explore.quality.predicted import Predicted
from emulator.explore.quality.text import Window, checkpoint, held_out
from emulator.fast.machine import FastMachine
from isa.chip import load_chip

CHIP: Final = "t1-mini"  #: bits are the same on every chip; this one has the least to emulate
_ROWS: Final = 64  # of a step; no bit depends on it


def emulated(numeric: dict[str, Any], chosen: Iterable[Window], threads: int = 1) -> Predicted:
    """What the model says of windows with these numeric options (`Options.numeric`).

    Raises CompileError for formats that there is no such program for.
    """
    known = {each.name for each in fields(Options)}  # the others are constants
    options = Options(
        **{name: value for name, value in numeric.items() if name in known},
        sequences=1, rows=_ROWS, logit_rows=_ROWS, context=held_out().CONTEXT, top_k=1,
    )  # fmt: skip
    chip, found = load_chip(CHIP), Predicted()
    program = compile_checkpoint(checkpoint(), chip, options)
    decoder = Decoder(FastMachine(program, chip, threads=threads))
    for window in chosen:
        _add(found, decoder, window)
    return found


def _add(found: Predicted, decoder: Decoder, window: Window) -> None:
    """One window, prefilled in chunks with the logits of every row."""
    sequence = decoder.open()
    for start in range(0, len(window) - 1, _ROWS):
        tokens, targets = window[start:-1][:_ROWS], window[start + 1 :][:_ROWS]
        result = decoder.step([Request(sequence, tokens, len(tokens))], with_logits=True)
        assert result.logits is not None
        found.add(result.logits, targets)
    decoder.close(sequence)
