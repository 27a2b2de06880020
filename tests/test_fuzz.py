"""The fuzz run itself: a little of every kind, and that what is wrong is seen and survived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from equality.draft import CHIP, LISTS
from equality.noise import program_of
from fuzz import command, guard, programs
from fuzz.catalogue import KINDS
from fuzz.journal import ROOT, Batch, Finding, Journal
from fuzz.kinds import Kind
from fuzz.one import checked
from fuzz.pool import Pool
from fuzz.rule import Broken, as_file, tried

from emulator.fast import FastMachine
from emulator.fast.blocks import address
from emulator.jit import address_of, njit
from emulator.kernels.memory import load_u8
from emulator.kernels.operand import ADDRESS, field
from isa.chip import load_chip
from isa.codec import encode
from isa.descriptor import Descriptor, Space
from isa.errors import TesseraError
from isa.formats import Format
from isa.spec import BY_MNEMONIC

HERE = [name for name, kind in KINDS.items() if not kind.bounds]


@pytest.mark.parametrize("name", HERE)
def test_a_little_of_every_kind(name: str) -> None:
    kind = KINDS[name]
    count = 16 if kind.programs or kind.milliseconds > 3 else 100
    batch = checked(kind, 7_000_000_000, count)
    assert batch.findings == []
    assert sum(batch.met.values()) >= count
    if not kind.programs:
        assert "illegal" in batch.met or any(name.startswith("refused") for name in batch.met)
    if kind.data is not None:
        assert kind.data(5) == kind.data(5) != kind.data(6)


# ---- what is wrong is found, and the rest of the batch is done all the same


def planted(check: Callable[[int], Iterable[str]], **options: object) -> Kind:
    return Kind("planted", "", check, 10, 10, 1, **options)  # type: ignore[arg-type]


def found(kind: Kind, bad: int = 4, count: int = 10) -> str:
    """What is found of the one bad seed among good ones."""
    batch = checked(kind, 0, count)
    assert [finding.seed for finding in batch.findings] == [bad]
    assert batch.met["good"] >= count - 1
    return batch.findings[0].what


def at_four(harm: Callable[[], object]) -> Callable[[int], list[str]]:
    """A check that does harm with seed 4."""

    def check(seed: int) -> list[str]:
        if seed == 4:
            harm()
        return ["good"]

    return check


def _spin() -> None:
    while True:
        pass


def _busy() -> None:
    end = time.process_time() + 0.4
    while time.process_time() < end:
        pass


def _raise() -> None:
    raise ValueError("planted")


HARM: dict[str, tuple[Callable[[], object], dict[str, float], str]] = {
    "an error": (_raise, {}, "ValueError: planted"),
    "memory": (lambda: bytearray(200 << 20), {}, "MemoryError"),
    "a crash": (lambda: os.kill(os.getpid(), signal.SIGSEGV), {}, "crash: SIGSEGV"),
    "an exit": (lambda: os._exit(3), {}, "exit: the process ended with status 3"),
    "a hang": (_spin, {"seconds": 0.1}, "hang: stopped after"),
    "slowness": (_busy, {"seconds": 0.3}, "slow: 0."),
}


@pytest.mark.parametrize("name", HARM)
def test_harm_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    harm, options, expected = HARM[name]
    if name != "a hang":  # a busy machine must not make one of it
        monkeypatch.setattr("fuzz.pool.PATIENCE", 1000)
    assert expected in found(planted(at_four(harm), **options))


def test_a_reader_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of the product itself, planted in the reader of containers."""
    monkeypatch.setattr("isa.program.unpack.Unpacker.metadata", lambda self: _raise())
    batch = checked(KINDS["container"], 0, 60)
    assert batch.findings
    assert all("ValueError: planted" in finding.what for finding in batch.findings)


def test_messages_must_be_one_line_and_name_the_file() -> None:
    for text in ("other: wrong", "p.bin: a\nb", "p.bin: a\x85b", "p.bin: \x1b[31m"):
        with pytest.raises(Broken):
            tried(lambda text=text: _refuse(text), "p.bin")  # type: ignore[misc]
    assert tried(lambda: _refuse("p.bin: wrong"), "p.bin") is None
    with as_file(b"clusters: 1") as path:
        assert tried(lambda: load_chip(path), path.name) is None


def _refuse(text: str) -> None:
    raise TesseraError(text)


# ---- guarded memory


@pytest.mark.parametrize("end", [False, True])
def test_guards_are_where_they_should_be(end: bool) -> None:
    taken = guard.Guard(end)
    array = taken.zeros(3, 1001)
    beyond = array.ctypes.data + (array.size if end else -1)
    assert array.shape == (3, 1001) and not array.any()
    assert beyond % guard.PAGE == (0 if end else guard.PAGE - 1)
    again = taken.copy(np.arange(40))
    assert again.tolist() == list(range(40)) and again.ctypes.data % 8 == 0
    found(planted(at_four(lambda: load(beyond)), memory=False))
    taken.release()


@njit
def load(place):
    return load_u8(place)


@njit
def k_reads_beyond(args):
    """As a kernel: the byte behind the four of its first operand."""
    return load_u8(field(args, 0, ADDRESS) + 4)


def _at_the_end_of_tsram(kernel: bool) -> list[str]:
    """`viota` of four bytes at the very end of the last tile's TSRAM."""
    base = CHIP.tile.tsram.bytes - 4
    table = [Descriptor(Space.TSRAM, Format.I32, (1,), (1,), base).words()]
    words = [encode("dld", dst=0, index=0), encode("viota", dst=0, start=5), encode("halt")]
    guarded = guard.Guard(end=True)
    with guarded.memories():
        machine = FastMachine(program_of(words, table), CHIP)
    guarded.blocks(machine)
    if kernel:
        machine._blocks.kernels[BY_MNEMONIC["viota"].opcode] = address_of(k_reads_beyond)
    machine.ring("main")
    guarded.release()
    return ["good"]


def test_a_kernel_that_reads_one_byte_beyond() -> None:
    address_of(k_reads_beyond)
    assert base_is_free()
    check = at_four(lambda: _at_the_end_of_tsram(True))
    assert found(planted(check, memory=False)) == "crash: SIGSEGV"
    assert _at_the_end_of_tsram(False) == ["good"]


def base_is_free() -> bool:
    return CHIP.tile.tsram.bytes - 4 > LISTS.stop


def test_the_executors_own_arrays_are_guarded() -> None:
    machine = FastMachine(program_of([encode("halt")], []), CHIP)
    before = {name: address(array) for name, array in vars(machine._blocks).items()
              if isinstance(array, np.ndarray)}  # fmt: skip
    guarded = guard.Guard(end=False)
    guarded.blocks(machine)
    moved = {name for name in before if address(getattr(machine._blocks, name)) != before[name]}
    assert set(before) - moved <= {"queues", "sites"}  # guarded from the start; empty
    machine.ring("main", sink=lambda chunk: None)
    guarded.release()


PLANTED = """
import collections, ctypes
import numpy as np
from emulator.jit import address_of, njit
from fuzz.kinds import Kind
from fuzz.work import Unraisable, check

T = np.arange(4)

@njit
def f(i):
    return T[i]

g = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address_of(f))
kind = Kind("k", "", lambda seed: [str(g(seed) and 0)], 1, 1, 1, memory=False)
print(check(kind, 77, collections.Counter(), Unraisable()), f._cache.cache_path)
"""


def test_bounds_checks_are_found_in_code_of_their_own() -> None:
    """NUMBA_BOUNDSCHECK=1 never runs code that was compiled without, and its errors are seen."""
    file = ROOT / "programs" / "build" / "planted.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PLANTED)
    lines = []
    for bounds in ("0", "1"):
        environment = {**os.environ, "NUMBA_BOUNDSCHECK": bounds, "PYTHONPATH": "tests"}
        done = subprocess.run([sys.executable, file], env=environment, cwd=ROOT, text=True,
                              capture_output=True, check=True)  # fmt: skip
        lines.append(done.stdout.split())
    assert lines[0][0] == "None"
    assert lines[1][0] == "IndexError:"
    assert lines[0][-1] != lines[1][-1]


# ---- the run


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "fuzz", "--folder", folder, *arguments],
                          env={**os.environ, "PYTHONPATH": "tests"}, cwd=ROOT, text=True,
                          capture_output=True, check=False)  # fmt: skip
    return done.returncode, done.stdout


def test_killed_and_started_again(tmp_path: Path) -> None:
    """No finished batch is done twice, and none is lost."""
    wanted = ("--only", "words", "--inputs", "32000")
    process = subprocess.Popen([sys.executable, "-m", "fuzz", "--folder", tmp_path, *wanted],
                               env={**os.environ, "PYTHONPATH": "tests"}, cwd=ROOT,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while not any(path.stat().st_size for path in tmp_path.glob("*.jsonl")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (journal,) = tmp_path.glob("*.jsonl")
    before = journal.read_bytes()
    journal.write_bytes(before + b'{"kind": "words", "fir')  # as if torn while it was written
    status, text = run(tmp_path, *wanted)
    after = journal.read_bytes()
    assert status == 0
    assert after.startswith(before)
    firsts = [line.split(b'"first":')[1].split(b",")[0] for line in after.splitlines()]
    assert sorted(map(int, firsts)) == list(range(0, 500, 100))
    assert "32,000 mutated inputs" in text and "0 findings" in text


def test_a_journal_keeps_batches(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.add(Batch("words", 100, 50, 1.5, {"legal": 3}, [Finding("words", 120, "ä\n")]))
    again = Journal(tmp_path / "j.jsonl")
    assert again.batches == journal.batches
    assert again.has("words", 100, 50) and not again.has("words", 100, 51)


def test_findings_are_told_and_reproduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(KINDS, "planted", planted(at_four(_raise)))
    arguments = ["--folder", str(tmp_path), "--only", "planted"]
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 1
    assert "--one planted 4: ValueError: planted" in capsys.readouterr().out
    monkeypatch.setattr(Pool, "run", None)  # all is done: nothing runs
    with pytest.raises(SystemExit):
        command.main(arguments)
    monkeypatch.undo()
    monkeypatch.setitem(KINDS, "planted", planted(at_four(_raise)))
    with pytest.raises(SystemExit) as ended:
        command.main(["--one", "planted", "4"])
    assert ended.value.code == 1
    assert "planted 4: ValueError: planted" in capsys.readouterr().out


def test_defaults_reach_the_numbers() -> None:
    kinds = [kind for kind in KINDS.values() if not kind.bounds]
    assert KINDS["program"].count == 100_000
    assert sum(kind.count * kind.weight for kind in kinds if not kind.programs) >= 1_000_000
    assert programs.LONG == 10
