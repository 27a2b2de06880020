"""The cache of compiled code: it keeps what it may, and never returns what was edited."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import numba
import pytest

from emulator.jit import address_of, helper, njit
from emulator.jit_key import ROOT, key_of
from emulator.kernels.code_lanes import canonical
from emulator.kernels.matrix_dots import Shape, make_dots
from emulator.kernels.matrix_micro import add_scaled

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


KERNEL = """
from emulator.kernels.float_mode import float_mode_operands, k_float_mode
operands = float_mode_operands()
print(k_float_mode(operands.ctypes.data), sum(k_float_mode.stats.cache_hits.values()))
"""


KEYS = """
from emulator.jit_key import key_of
from emulator.kernels import matrix, vector
print(key_of(matrix.k_gemm.py_func).hex(), key_of(vector.k_unary.py_func).hex())
"""


def copied(folder: Path) -> dict[str, str]:
    """The sources themselves, and the environment of processes that run the copy."""
    for package in ("emulator", "isa"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc"))
    ours = {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(folder)}
    return {**os.environ, **ours, "PYTHONDONTWRITEBYTECODE": "1"}


def printed(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that occurs once; the file looks as old as it was."""
    text, times = path.read_text(), path.stat()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_an_edited_kernel_never_returns_old_results(tmp_path: Path) -> None:
    """Edits of files that the kernel's own file imports."""
    environment = copied(tmp_path)

    def result() -> tuple[int, int]:
        command = [sys.executable, "-c", KERNEL]
        status, hits = printed(command, tmp_path, environment).split()
        return int(status), int(hits)

    kernels = tmp_path / "emulator/kernels"
    assert result() == (0, 0)
    assert result() == (0, 1)
    edit(kernels / "operand.py", "STATUS_OK = np.int64(0)", "STATUS_OK = np.int64(8)")  # a constant
    assert result() == (8, 0)
    emits = "return builder.zext(builder.bitcast(args[0], I32), I64)"
    wrong = "return builder.sext(builder.bitcast(args[0], I32), I64)"
    edit(kernels / "memory.py", emits, wrong)  # what emits LLVM code: 0xCB800000 gets a sign
    assert result() == (12, 0)
    edit(kernels / "operand.py", "STATUS_OK = np.int64(8)", "STATUS_OK = np.int64(0)")
    edit(kernels / "memory.py", wrong, emits)
    assert result() == (0, 1)  # as at first


def test_every_emitter_of_a_kernel_is_in_its_key(tmp_path: Path) -> None:
    """Whatever file of the matrix unit is edited: also those that hand functions to others."""
    environment = copied(tmp_path)

    def keys() -> list[str]:
        return printed([sys.executable, "-c", KEYS], tmp_path, environment).split()

    before = keys()
    assert keys() == before
    gemm, unary = before
    for file, old, new in (
        ("matrix_nibbles.py", "return lanes.fma(s, scale_a * scale_w, acc)", "return acc"),
        ("matrix_digits.py", "UNIT = 2.0**-10", "UNIT = 2.0**-11"),
        ("lanes.py", '"fadd" if self.is_float', '"fsub" if self.is_float'),
    ):
        edit(tmp_path / "emulator/kernels" / file, old, new)
        now = keys()
        assert now[0] != gemm, file
        assert (now[1] == unary) == file.startswith("matrix"), file
        gemm, unary = now


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
    assert functions(IntEnum("E", {"A": 1}), 1) != functions(IntEnum("E", {"A": 2}), 1)


def test_keys_follow_what_an_emitter_was_made_with() -> None:
    def key(rows: int, finish: object) -> bytes:
        dots = make_dots(Shape(rows, 1, 64), finish)  # type: ignore[arg-type]
        return key_of(lambda a: dots(a, a, a, a, a, a, a, a, a, a, a))

    assert key(1, add_scaled) == key(1, add_scaled)
    assert key(1, add_scaled) != key(2, add_scaled)
    assert key(1, add_scaled) != key(1, canonical)


def test_keys_follow_the_options_of_what_is_called() -> None:
    def inner(x):
        return x * 3.0 + 1.0

    def key(**options: bool) -> bytes:
        called = numba.njit(**options)(inner)
        return key_of(lambda x: called(x))

    assert key() == key()
    assert key() != key(fastmath=True)
