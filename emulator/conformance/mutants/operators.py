"""Machine-made mutants: every small change of the executor that a table of operators makes.

    sites = all_sites()                    # in the order of their ids; the same every time
    for site in drawn(sites, seed=1):      # all of them, at random; take as many as are wanted
        mutant = site.mutant()

What no program can show is left alone: docstrings, types, texts of errors, the self-test, retire
records, and the notes for a user whose program has no defined result.
"""

from __future__ import annotations

import ast
import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import emulator.reference
from emulator.conformance.mutants.change import Edit, Mutant, full_name, path_of, source_of
from emulator.conformance.mutants.rewrites import Rewrite, rewrites

#: Modules without anything to change, or with nothing that a program can see.
_LEFT_ALONE: Final = frozenset({"__init__", "faults", "records"})
#: The beginnings of cases that a module's mutants meet first.
_FIRST: Final = {
    "arith": "vpu/ mxu/ quant/",
    "check": "faults/ dma/ mxu/",
    "convert": "vpu/vcvt vpu/ quant/",
    "dma": "dma/ faults/",
    "machine": "control/ sync/",
    "matrix": "mxu/",
    "mxu": "mxu/ faults/",
    "quantise": "quant/",
    "reduce": "vpu/vr vpu/",
    "registry": "faults/ vpu/",
    "scalars": "control/ faults/",
    "scheduler": "sync/ faults/ control/",
    "semaphores": "sync/ faults/",
    "state": "control/ sync/",
    "tensor": "dma/ mxu/ quant/",
    "vector": "vpu/ faults/",
    "vector_rows": "vpu/ quant/ faults/",
}


@dataclass(frozen=True)
class Site:
    """One change at one place."""

    name: str  # module, function, and a digest of the change: a line's number may move
    module: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    start: int  # bytes from the module's beginning
    stop: int
    text: str

    @property
    def place(self) -> str:
        """File and line."""
        return f"{path_of(full_name(self.module)).name}:{self.line}"

    def mutant(self) -> Mutant:
        """The mutant."""
        name = full_name(self.module)
        source = source_of(name)
        raw = source.encode()
        changed = (raw[: self.start] + self.text.encode() + raw[self.stop :]).decode()
        what = f"{self.place}, {self.function}: `{self.before}` becomes `{self.after}`"
        first = tuple(_FIRST.get(self.module, "").split())
        last = self.function.rpartition(".")[2].strip("_")
        near = tuple(f"{start}{last}" for start in first if start.endswith("/"))
        return Mutant(self.name, what, near + first, (Edit(name, source, changed),))


@cache
def all_sites() -> tuple[Site, ...]:
    """Every mutant there is, by name."""
    folder = Path(emulator.reference.__file__).parent
    modules = sorted(path.stem for path in folder.glob("*.py") if path.stem not in _LEFT_ALONE)
    found = [site for module in modules for site in _sites(module)]
    return tuple(sorted(found, key=lambda site: site.name))


def _sites(module: str) -> Iterator[Site]:
    source = source_of(full_name(module))
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    seen: Counter[str] = Counter()
    for rewrite in rewrites(ast.parse(source), module):
        site = _site(module, rewrite, source.encode(), starts, seen)
        if site.before != site.after:
            yield site


def _site(module: str, rewrite: Rewrite, raw: bytes, starts: list[int], seen: Counter[str]) -> Site:
    node = rewrite.node
    assert node.end_lineno is not None and node.end_col_offset is not None
    start = starts[node.lineno - 1] + node.col_offset
    stop = starts[node.end_lineno - 1] + node.end_col_offset
    before = " ".join(raw[start:stop].decode().split())
    what = f"{module}.{rewrite.function} {rewrite.operator} {before} {rewrite.after}"
    seen[what] += 1  # the same change at several places of a function
    digest = hashlib.blake2b(f"{what} {seen[what]}".encode(), digest_size=4).hexdigest()
    name = f"{module}.{rewrite.function}-{digest}"
    shown = " ".join(rewrite.after.split())
    return Site(name, module, rewrite.function, node.lineno, rewrite.operator, before, shown,
                start, stop, rewrite.text)  # fmt: skip


def drawn(sites: tuple[Site, ...], seed: int) -> Iterator[Site]:
    """All sites in a random order: an operator at random, and then one of its sites."""
    chance = random.Random(seed)
    waiting: dict[str, list[Site]] = {}
    for site in sites:
        waiting.setdefault(site.operator, []).append(site)
    for operator in sorted(waiting):
        chance.shuffle(waiting[operator])
    while waiting:
        operator = chance.choice(sorted(waiting))
        yield waiting[operator].pop()
        if not waiting[operator]:
            del waiting[operator]
