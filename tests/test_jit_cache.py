"""The directories of compiled code: what they are named after, and which are removed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emulator import jit_cache
from emulator.jit_cache import HOUR, MONTH, prune
from emulator.jit_key import ROOT

ENVIRONMENT = "from emulator.jit_cache import environment\nprint(environment().decode())"


def environment_with(**variables: str) -> str:
    """What code depends on besides sources, in a process with these variables."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    done = subprocess.run(
        [sys.executable, "-c", ENVIRONMENT],
        cwd=ROOT,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_key_has_processor_features_versions_and_switches() -> None:
    import llvmlite
    import numba

    usual = environment_with()
    assert numba.__version__ in usual and llvmlite.__version__ in usual
    seen = {usual, environment_with(NUMBA_NUM_THREADS="1", NUMBA_CACHE_DIR="/elsewhere")}
    assert len(seen) == 1  # nothing that matters
    for variables in (
        {"NUMBA_CPU_NAME": "generic"},
        {"NUMBA_CPU_FEATURES": ""},
        {"NUMBA_BOUNDSCHECK": "1"},
        {"NUMBA_OPT": "1"},
        {"NUMBA_SLP_VECTORIZE": "1"},
        {"NUMBA_DEBUGINFO": "1"},
    ):
        seen.add(environment_with(**variables))
    assert len(seen) == 7


def entry(base: Path, number: int, age: float) -> Path:
    """A directory that was used `age` seconds ago."""
    folder = base / f"{number:024x}"
    (folder / "kernels_0").mkdir(parents=True)
    (folder / "kernels_0" / "k_gemm.nbi").write_bytes(b"index")
    used = time.time() - age
    os.utime(folder, (used, used))
    return folder


def left(base: Path) -> set[int]:
    return {int(path.name, 16) for path in base.iterdir()}


def test_the_last_used_are_kept(tmp_path: Path) -> None:
    for number in range(10):
        entry(tmp_path, number, 2 * HOUR + 60 * number)
    prune(tmp_path, kept=4)
    assert left(tmp_path) == {0, 1, 2, 3}


def test_what_is_in_use_stays_and_what_is_old_goes(tmp_path: Path) -> None:
    for number, age in enumerate((1, 60, 600, MONTH - HOUR, MONTH + HOUR)):
        entry(tmp_path, number, age)
    prune(tmp_path, kept=1)
    assert left(tmp_path) == {0, 1, 2}  # within the hour, though only one is to be kept
    entry(tmp_path, 9, MONTH + HOUR)
    prune(tmp_path, kept=100)
    assert left(tmp_path) == {0, 1, 2}


def test_what_was_left_half_removed_goes(tmp_path: Path) -> None:
    entry(tmp_path, 1, 1).rename(tmp_path / f"{1:024x}.removed")
    entry(tmp_path, 2, 1)
    prune(tmp_path)
    assert left(tmp_path) == {2}


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    target = entry(tmp_path / "elsewhere", 1, 2 * MONTH)
    cache = tmp_path / "cache"
    others = [cache / "notes", cache / ("x" * 24), cache / ("0" * 23), cache / ("A" * 24)]
    for path in others:
        path.mkdir(parents=True)
        os.utime(path, (0, 0))
    (cache / ("1" * 24)).write_text("a file")
    (cache / ("2" * 24)).symlink_to(target)
    prune(cache, kept=0)
    assert all(path.is_dir() for path in others)
    assert (cache / ("1" * 24)).is_file() and (cache / ("2" * 24)).is_symlink()
    assert target.is_dir()


def test_several_may_remove_at_once(tmp_path: Path) -> None:
    for number in range(200):
        entry(tmp_path, number, 2 * HOUR + 60 * number)
    problems: list[BaseException] = []

    def remove() -> None:
        try:
            prune(tmp_path, kept=5)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert left(tmp_path) == set(range(5))


def test_a_cache_that_cannot_be_changed_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(tmp_path, 1, 2 * MONTH)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(30, "read-only file system")

    for function in ("rename", "rmdir", "unlink"):
        monkeypatch.setattr(os, function, refused)
    prune(tmp_path, kept=0)
    assert left(tmp_path) == {1}
    prune(tmp_path / "missing")


def test_a_directory_that_vanishes_costs_a_compilation_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the cache and saving, as when another process removes it."""
    import shutil

    from emulator.jit import njit

    monkeypatch.setattr(jit_cache, "_base", lambda: tmp_path)

    @njit
    def plus(x, y):
        return x + y

    assert plus(1, 2) == 3
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    assert plus(1.0, 2.0) == 3.0
    assert sum(plus.stats.cache_misses.values()) == 2
    for folder in tmp_path.iterdir():
        shutil.rmtree(folder)
    monkeypatch.setattr(os, "makedirs", _refused)
    assert plus(1.0, 2) == 3.0


def _refused(*_: object, **__: object) -> None:
    raise OSError(28, "no space left on device")


def test_a_new_directory_removes_the_old(tmp_path: Path) -> None:
    """By the whole way, in a process of its own."""
    entry(tmp_path, 7, 2 * MONTH)
    script = "from emulator.jit import njit\nprint(njit(lambda x: x + 1)(4))"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == "5\n", done.stderr
    assert len(left(tmp_path)) == 1 and 7 not in left(tmp_path)
