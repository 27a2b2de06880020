"""The cache of compiled code: it keeps what it may, and never returns what was edited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.jit import address_of, helper, njit
from emulator.jit_key import ROOT, key_of

HELPERS = """
from emulator.jit import helper
FACTOR = {factor}
UNUSED = {unused}

@helper
def scaled(x):
    '''{prose}'''
    return x * FACTOR + {term}
"""
MAIN = """
import scaling
from emulator.jit import njit
from numba import types

@njit
def answer(x):
    return scaling.scaled(x) + LATER

LATER = 1
print(answer(10))
stats = answer._cache.cache_path, answer.stats.cache_hits
print(*[sum(answer.stats.cache_hits.values()), sum(answer.stats.cache_misses.values())])
"""


def run(folder: Path, **values: object) -> tuple[int, int]:
    """Write both files, run them in a new process; the answer, and whether it was in the cache."""
    values = {"factor": 2, "unused": 0, "term": 3, "prose": "Scaled.", **values}
    (folder / "scaling.py").write_text(HELPERS.format(**values))
    (folder / "main.py").write_text(MAIN)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer, counts = done.stdout.splitlines()
    return int(answer), int(counts.split()[0])


def test_an_edit_of_another_file_is_seen(tmp_path: Path) -> None:
    assert run(tmp_path) == (24, 0)
    assert run(tmp_path) == (24, 1)
    assert run(tmp_path, factor=5) == (54, 0)  # a constant of a helper
    assert run(tmp_path, term=4) == (25, 0)  # its code
    assert run(tmp_path, prose="Other words.", unused=7) == (24, 1)  # nothing that matters


def test_no_writable_place_means_no_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    script = "from emulator.jit import njit\nprint(njit(lambda x: x + 1)(4))"
    full = {**os.environ, **environment, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=full, capture_output=True, text=True
    )
    assert done.stdout == "5\n", done.stderr


def test_helpers_are_for_compiled_code() -> None:
    @helper
    def twice(x):
        return 2 * x

    @njit
    def four_times(x):
        return twice(twice(x))

    assert four_times(3) == 12
    with pytest.raises(TypeError, match="twice is a helper: only compiled code can call it"):
        twice(3)


def test_addresses_are_of_functions_of_int64() -> None:
    @njit
    def wide(x):
        return x + 1

    @njit
    def real(x):
        return x + 0.5

    assert address_of(wide) != 0
    with pytest.raises(TypeError, match="real returns float64"):
        address_of(real)


def test_keys_follow_values_and_code() -> None:
    def functions(value: object, extra: int) -> list[bytes]:
        space: dict[str, object] = {"value": value}
        exec(f"def f(x):\n return x + value + {extra}", space)  # a function with its own globals
        return [key_of(space["f"])]  # type: ignore[arg-type]

    assert functions(1, 1) == functions(1, 1)
    assert functions(1, 1) != functions(2, 1)
    assert functions(1, 1) != functions(1, 2)
    assert functions((1, 2), 1) != functions((1, 3), 1)
