"""The bench's rows of whole models, on a tiny shape: files, processes, rows. No bar is asserted."""

from __future__ import annotations

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from emulator.bench import assets, checkpoint, process, suite, whole
from emulator.bench.effort import TINY
from emulator.bench.emulated import Emulated
from emulator.bench.host import Host
from emulator.bench.rows import BenchError
from tests.cli_runs import emu

ROWS = {entry.name: entry for entry in whole.entries()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
def host(place: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(assets, "folder", lambda: place)
    return Host(TINY)


# ---- the checkpoint and the program


def test_a_checkpoint_has_the_shapes_of_its_config(tmp_path: Path) -> None:
    checkpoint.write_checkpoint(tmp_path, checkpoint.SHAPE_TINY)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    expected = checkpoint.tensors(checkpoint.SHAPE_TINY)
    assert set(index["weight_map"]) == set(expected)
    assert index["metadata"]["total_size"] == checkpoint.size_of(checkpoint.SHAPE_TINY)
    assert json.loads((tmp_path / "config.json").read_text()) == checkpoint.SHAPE_TINY


def test_shards_hold_whole_tensors_in_order() -> None:
    shards = checkpoint._shards(checkpoint.tensors(checkpoint.SHAPE_8B))
    assert [name for shard in shards for name in shard] == [
        *checkpoint.tensors(checkpoint.SHAPE_8B)
    ]
    assert len(shards) > 16


def test_files_are_made_once(host: Host, place: Path) -> None:
    first = assets.assets("tiny")
    assert first.checkpoint == place / "tiny" and first.program.parent == place
    made = first.program.stat().st_mtime_ns
    assert assets.assets("tiny") == first and first.program.stat().st_mtime_ns == made


def test_a_program_of_another_compiler_is_replaced(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = assets.assets("tiny").program
    monkeypatch.setattr(assets, "SEED", 7)
    new = assets.assets("tiny").program
    assert new != old and new.exists() and not old.exists()


def test_a_checkpoint_that_is_not_wanted_goes(tmp_path: Path) -> None:
    found = assets.assets("tiny", tmp_path, keep_checkpoint=False)
    assert found.checkpoint is None and list(tmp_path.iterdir()) == [found.program]
    assert assets.assets("tiny", tmp_path, keep_checkpoint=False) == found
    assert list(tmp_path.iterdir()) == [found.program]


def test_a_full_disk_is_said_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "folder", lambda: tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5e8))
    measured = ROWS["memory_1b"].measure(Host(TINY))
    assert measured.value is None and "0.5 GB are free; make room" in measured.note
    assert not list(tmp_path.iterdir())


def test_a_compiler_that_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "FORMATS", ("--weights", "fp1"))
    with pytest.raises(BenchError, match=r"tiny: `emu compile` ended with status 2: .*fp1"):
        assets.assets("tiny", tmp_path)


# ---- a model in this process


@pytest.fixture(scope="module")
def model(place: Path) -> Emulated:
    return Emulated(str(assets.assets("tiny", place).program), 2)


def test_a_prompt_is_prefilled_and_goes_on(model: Emulated) -> None:
    rows = model._decoder.capacity["rows"]
    assert model.prefill(rows + 3) > 0
    first = model._token
    assert model.decode(2) > 0
    assert model._sequence is not None and model._sequence.length == rows + 5
    assert model.prefill(rows + 3) > 0 and model._token == first


def test_products_are_those_of_the_run(model: Emulated) -> None:
    model.prefill(8)
    token, table = model._token, model._machine.kernels.copy()
    count = model.record(8)
    assert count > 100 and model._token == token  # recording changes no result
    assert np.array_equal(model._machine.kernels, table)
    assert model.record(8) == count
    assert model.products(0) > 0
    model.prefill(8)
    assert model._token == token


def test_products_leave_the_same_sums(model: Emulated) -> None:
    model.prefill(8)
    model.record(8)
    acc = model._machine.memory.acc
    probe = model._calls.probe(1, ThreadPoolExecutor(1))
    probe.seconds()
    once = acc.copy()
    model._calls.probe(2, ThreadPoolExecutor(2)).seconds()
    assert once.any() and np.array_equal(acc, once)


def test_memory_is_at_least_what_is_packed(model: Emulated) -> None:
    found = model.memory(0)
    assert found["peak"] > found["weights"] > 0


# ---- rows


@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("decode_1b_vs_torch", (1, 1), "cycles of every step"),
        ("decode_1b_timed_vs_torch", (1, 0), "cycles of every step, none recalled"),
        ("decode_1b_sampled_vs_torch", (4, 1), "every 4th step timed"),
    ],
)
def test_every_step_of_decoding_is_timed_or_some_are(
    name: str, options: tuple[int, int], note: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Noted(process.Asked):
        """Notes what it is started with."""

        def __init__(self, module: str, *arguments: object) -> None:
            asked.append(arguments[1:])
            super().__init__(module, *arguments)

    monkeypatch.setattr(whole, "Asked", Noted)
    monkeypatch.setattr(whole, "has_torch", lambda: True)
    monkeypatch.setattr(whole, "TRANSFORMED", whole.EMULATED)
    files = assets.assets("tiny")
    monkeypatch.setattr(
        whole, "assets", lambda *_, **__: assets.Assets("tiny", files.program, files.program)
    )
    measured = ROWS[name].measure(host)
    assert asked == [(whole.THREADS, *options), (whole.THREADS,)]
    assert measured.note.endswith(note) and measured.value
    assert (ROWS[name].bar is None) == (options != (1, 1)), "there is one bar"


def test_tokens_do_not_depend_on_which_steps_are_timed(place: Path) -> None:
    path = str(assets.assets("tiny", place).program)
    few, all_, anew = Emulated(path, 2, 4), Emulated(path, 2), Emulated(path, 2, 1, 0)
    for each in (few, all_, anew):
        each.prefill(5)
        each.decode(3)
    assert few._token == all_._token == anew._token
    assert [len(each._meter.cycles) for each in (few, all_)] == [1 + 1, 1 + 3]
    assert anew._meter.cycles == all_._meter.cycles
    assert all_._meter.models.recalls and not anew._meter.models.recalls


@pytest.mark.parametrize("name", ["prefill_1b", "memory_1b"])
def test_rows_are_measured(name: str, host: Host) -> None:
    measured = ROWS[name].measure(host)
    assert measured.value and measured.yardstick and measured.note


def test_without_torch_the_row_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "has_torch", lambda: False)
    measured = ROWS["decode_1b_vs_torch"].measure(host)
    assert measured.value and measured.yardstick is None
    assert measured.note.startswith("no yardstick: torch and transformers are not installed")


def test_torch_takes_turns_where_it_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "has_torch", lambda: True)
    monkeypatch.setattr(whole, "TRANSFORMED", whole.EMULATED)
    files = assets.assets("tiny")
    monkeypatch.setattr(
        whole, "assets", lambda *_, **__: assets.Assets("tiny", files.program, files.program)
    )
    measured = ROWS["decode_1b_vs_torch"].measure(host)
    assert measured.value and measured.ratio


@pytest.mark.hf
def test_transformers_decodes_the_checkpoint(host: Host) -> None:
    measured = ROWS["decode_1b_vs_torch"].measure(host)
    assert measured.value and measured.ratio


def test_a_model_without_a_yardstick(host: Host) -> None:
    measured = ROWS["decode_8b"].measure(host)
    assert measured.value and measured.yardstick is None


def test_large_rows_are_asked_for() -> None:
    entries = suite.entries()
    assert {"prefill_1b", "memory_1b"} <= {entry.name for entry in suite.chosen([], entries)}
    assert not [entry for entry in suite.chosen([], entries) if entry.name.endswith("_8b")]
    assert suite.chosen([], entries, large=True) == entries
    assert [entry.name for entry in suite.chosen(["*_8b"], entries)] == [
        *("decode_8b", "prefill_8b", "memory_8b")
    ]
    listed = emu("bench", "--list").out.splitlines()
    assert [line.split()[0] for line in listed if line.endswith("(--large)")] == [
        *("decode_8b", "prefill_8b", "memory_8b")
    ]


# ---- processes


def test_a_process_that_fails_says_why() -> None:
    with (
        process.Asked(whole.EMULATED, "/nowhere.bin", 1) as child,
        pytest.raises(BenchError, match=r"bench\.emulated: ended with status 1: .*nowhere\.bin"),
    ):
        child.ask("prefill", 1)


def test_what_is_printed_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talks.py").write_text(
        "from emulator.bench.process import serve\n"
        "def answer(count):\n"
        "    print('so they say')\n"
        "    return 2 * count\n"
        "serve({'double': answer})\n"
    )
    monkeypatch.setenv("PYTHONPATH", ":".join([str(tmp_path), *sys.path]))
    with process.Asked("talks") as child:
        assert [child.ask("double", 4), child.ask("double", 5)] == [8, 10]


def test_the_peak_is_this_processs_own() -> None:
    before = process.peak_bytes()
    np.ones(1 << 25, np.uint8).sum()
    assert before > 1 << 24 and process.peak_bytes() >= before
