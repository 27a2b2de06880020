"""The measurement: every mutant against the fast suite, and what kills it.

bench = Bench(cases, work, jobs=2)
findings = bench.measure(mutants)          # name -> Finding
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from emulator.conformance.mutants.cases import Prepared, ordered
from emulator.conformance.mutants.change import Mutant, patched
from emulator.conformance.mutants.journal import Finding, Journal, sources_digest, suite_digest
from emulator.conformance.mutants.pool import Outcome, Pool, Trial
from emulator.errors import InputError

_FIRST_LIMIT: Final = 300.0  # seconds for a case whose usual time is not known
_PATIENCE: Final = 5.0  # seconds beyond fifty times a case's usual time

Tell = Callable[[str], None]


class Bench:
    """The cases, what the unchanged executor makes of them, and what is known of mutants."""

    def __init__(
        self, cases: Sequence[Prepared], work: Path, jobs: int = 1, tell: Tell = lambda _: None
    ) -> None:
        self.cases, self._jobs, self._tell = list(cases), jobs, tell
        self._digests = {case.name: case.digest for case in cases}
        self._suite = suite_digest(self._digests)
        self._journal = Journal(work / f"findings-{sources_digest()}.jsonl")
        self._limits = [_FIRST_LIMIT] * len(self.cases)
        gc.collect()
        gc.freeze()  # what children share with us stays shared

    def control(self) -> float:
        """Run all cases on the unchanged executor: without that, a kill says nothing.

        Returns the seconds that takes. Raises InputError for a case that fails.
        """
        trial = Trial("", {}, range(len(self.cases)), all_of_them=True)
        _, outcome = next(iter(Pool(self.cases, self._limits).run([trial])))
        if outcome.failed or not outcome.loads:
            names = [self.cases[index].name for index in outcome.failed]
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
            raise InputError(f"the unchanged executor fails {shown}: {outcome.detail}")
        self._limits = [
            50 * outcome.each.get(index, 0) + _PATIENCE for index in range(len(self.cases))
        ]
        return sum(outcome.each.values())

    def measure(self, mutants: Sequence[Mutant]) -> dict[str, Finding]:
        """What becomes of each mutant; known findings that still hold are not made again."""
        found: dict[str, Finding] = {}
        waiting = []
        for mutant in mutants:
            known = self._journal.known(_key(mutant), self._digests, self._suite)
            if known is None:
                waiting.append(mutant)
            else:
                found[mutant.name] = known
        by_key = {_key(mutant): mutant for mutant in waiting}
        for trial, outcome in Pool(self.cases, self._limits, self._jobs).run(self._trials(waiting)):
            finding = self._finding(trial.key, outcome)
            self._journal.add(finding)
            name = by_key[trial.key].name
            found[name] = finding
            self._tell(f"{name}: {finding.case or 'SURVIVES'}")
        return {mutant.name: found[mutant.name] for mutant in mutants}

    def killers(self, mutant: Mutant) -> list[str]:
        """Every case of the profiles that a mutant names first, and that kills it."""
        starts = tuple(start.partition("/")[0] + "/" for start in mutant.first) or ("",)
        order = [i for i in ordered(self.cases, mutant.first)
                 if self.cases[i].name.startswith(starts)]  # fmt: skip
        trial = Trial(_key(mutant), patched(mutant), order, all_of_them=True)
        _, outcome = next(iter(Pool(self.cases, self._limits).run([trial])))
        return [self.cases[index].name for index in outcome.failed]

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _trials(self, mutants: Iterable[Mutant]) -> Iterable[Trial]:
        for mutant in mutants:
            yield Trial(_key(mutant), patched(mutant), ordered(self.cases, mutant.first))

    def _finding(self, key: str, outcome: Outcome) -> Finding:
        case = self.cases[outcome.failed[0]].name if outcome.failed else ""
        digest = self._digests[case] if case else self._suite
        seconds = round(outcome.seconds, 2)
        return Finding(key, case, digest, outcome.detail, seconds, outcome.loads)


def _key(mutant: Mutant) -> str:
    return f"{mutant.name} {mutant.digest}"
