"""Running a decoder program: a prompt in, tokens and text out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence as Items
from typing import TYPE_CHECKING

import numpy as np

from emulator.decoder import Decoder, Machine, Request, StepResult
from emulator.decoder_facts import described
from emulator.errors import InputError
from emulator.generate import Generation, generate
from emulator.run_job import Outcome
from emulator.run_options import Options, shown
from emulator.sampling import Sampling, sampling
from emulator.status import Status
from isa.program import Program

if TYPE_CHECKING:
    from emulator.meter import Meter
    from emulator.tokenizer import Tokenizer

DEFAULT_TOP_K = 40


class DecoderJob:
    """Generate tokens from a prompt."""

    def __init__(self, options: Options, program: Program) -> None:
        """Checks all there is to check. Raises InputError, ProgramError or TokenizerError."""
        if options.inputs or options.entry is not None:
            raise InputError("--input and --entry are for programs that are no decoders")
        unknown = [name for name in options.output_files if name != "logits"]
        if unknown:
            raise InputError(f"--output: a decoder saves logits, not {shown(unknown[0])}")
        self.options, self.program = options, program
        self.facts = described(program)
        self.sampling = self._sampling()
        self.tokenizer = self._tokenizer()
        self.prompt = self._prompt()
        self.facts.check_tokens(self.prompt)
        # The last token drawn is not fed back, so it needs no position.
        self.facts.check_length(len(self.prompt) + options.max_new_tokens - 1)

    def run(self, machine: Machine, meter: Meter | None, status: Status) -> Outcome:
        """Prefill, then draw tokens; prints text as it comes."""
        options = self.options
        timing_only = options.timing_only  # then tokens mean nothing
        tokenizer = None if timing_only else self.tokenizer
        printer = _Printer(options, tokenizer, self.prompt, status)
        total = len(self.prompt) + options.max_new_tokens - 1
        eos = () if options.ignore_eos or timing_only else self.facts.eos
        decoder = _Watched(machine, meter, status, total)
        try:
            found = generate(
                decoder,
                self.prompt,
                options.max_new_tokens,
                self.sampling,
                chunk=options.chunk,
                keep_logits="logits" in options.output_files,
                ends=lambda token: token in eos,
                on_token=printer.push,
                on_prefilled=meter.prefill_done if meter is not None else lambda: None,
            )
        finally:
            printer.finish()  # an error after some text has a line of its own
        decoder.settle()
        return self._outcome(found, printer.text)

    def _outcome(self, found: Generation, text: str | None) -> Outcome:
        outcome = Outcome(prefill_steps=found.prefill_steps)
        if found.logits:
            outcome.arrays["logits"] = np.stack(found.logits)
        if not self.options.timing_only:
            outcome.tokens, outcome.text = found.tokens, text
        return outcome

    # -- what is checked and made beforehand -----------------------------------------------------

    def _sampling(self) -> Sampling:
        ranked = self.facts.capacity["top_k"]
        top_k = self.options.top_k
        if top_k is not None and top_k > ranked:
            raise InputError(
                f"--top-k: {top_k} is beyond the {ranked} candidates the program ranks; "
                "compile it with more --top-k"
            )
        chosen = top_k or min(DEFAULT_TOP_K, ranked)
        return sampling(self.options.temperature, chosen, self.options.seed)

    def _tokenizer(self) -> Tokenizer | None:
        if not self.program.tokenizer:
            return None
        from emulator.tokenizer import Tokenizer  # imports a large library

        source = f"{self.program.path}: tokenizer"
        return Tokenizer(self.program.tokenizer, self.facts.eos, source)

    def _prompt(self) -> list[int]:
        options = self.options
        if options.tokens is not None:
            return parse_tokens(options.tokens)
        if options.prompt is None:
            raise InputError(f"{self.program.path}: a decoder needs --prompt TEXT or --tokens 1,2")
        if self.tokenizer is None:
            raise InputError(
                f"{self.program.path}: has no tokenizer; give --tokens instead of --prompt"
            )
        tokens = self.tokenizer.encode(options.prompt)
        if not tokens:
            raise InputError(f"--prompt: {shown(options.prompt)} has no tokens; give some text")
        return tokens


def parse_tokens(text: str) -> list[int]:
    """Token numbers of `1,2,3`. Raises InputError."""
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not re.fullmatch("[0-9]{1,18}", part)]
    if wrong:
        raise InputError(f"--tokens: expected numbers like 1,2,3, got {shown(wrong[0])}")
    return [int(part) for part in parts]


class _Watched(Decoder):
    """A decoder that says how far it is."""

    def __init__(self, machine: Machine, meter: Meter | None, status: Status, total: int) -> None:
        from emulator.fast.machine import FastMachine  # imports Numba

        self._status, self._total, self._done = status, total, 0
        ahead = isinstance(machine, FastMachine) and meter is not None and meter.is_late
        super().__init__(machine, meter, ahead)
        status.say("running the first step")

    def step(self, requests: Items[Request], with_logits: bool = False) -> StepResult:
        """Run one step."""
        result = super().step(requests, with_logits)
        self._done += sum(len(request.tokens) for request in requests)
        self._status.say(f"{self._done} of {self._total} tokens")
        return result


class _Printer:
    """Makes text of tokens, and prints it as it comes: the prompt, then each token's piece.

    Without a tokenizer it prints the tokens' numbers, as --tokens takes them.
    """

    def __init__(
        self, options: Options, tokenizer: Tokenizer | None, prompt: list[int], status: Status
    ) -> None:
        self._prompt = options.prompt or ""
        self._status = status
        self._shown = not options.timing_only and not options.json_to_stdout
        self._pieces: list[str] = []
        self._stream = None if tokenizer is None else tokenizer.stream()
        if self._stream is not None:
            # The first piece depends on what is before it: a space between words, for example.
            for token in prompt:
                self._stream.push(token)

    @property
    def text(self) -> str | None:
        """The text that was generated, if there is a tokenizer."""
        return "".join(self._pieces) if self._stream is not None else None

    def push(self, token: int) -> None:
        """One more token."""
        first = not self._pieces
        if self._stream is not None:
            piece = self._stream.push(token)
            self._write(self._prompt + piece if first else piece)
        else:
            piece = str(token)
            self._write(piece if first else f",{piece}")
        self._pieces.append(piece)

    def finish(self) -> None:
        """No more tokens."""
        if not self._pieces:
            return
        if self._stream is not None:
            self._pieces.append(self._stream.finish())
            self._write(self._pieces[-1])
        self._write("\n")

    def _write(self, text: str) -> None:
        if not self._shown:
            return
        if sys.stdout.isatty():
            self._status.stop()  # text that comes is progress enough, and shares the terminal
        sys.stdout.write(text)
        sys.stdout.flush()
