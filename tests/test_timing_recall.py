"""Streams that need not be timed again: a digest of what the model looks at, and its recall."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from cli_runs import compiled, done, write_checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from test_timing_streams import random_stream, shuffled

from emulator import metered, retire
from emulator.decoder import Decoder, Request
from emulator.fast.machine import FastMachine
from emulator.meter import Meter
from emulator.timing import recall
from emulator.timing.digest import Digest
from emulator.timing.model import Timing, state_of
from emulator.timing.result import EntryTiming
from isa.chip import Chip, load_chip
from isa.descriptor import Space
from isa.program import Program
from isa.spec import BY_MNEMONIC

Ints = Any

MINI = load_chip("t1-mini")
CHIPS = [MINI, load_chip("t1-mini-balanced")]
TRANSFERS = [BY_MNEMONIC[name].opcode for name in ("dma", "dmag", "dmas")]
GEMM, LD = BY_MNEMONIC["gemm"].opcode, BY_MNEMONIC["ld"].opcode
NONE = np.zeros(1, np.int64)
RATE = 0.2  #: of addresses that are changed


def key(chip: Chip, records: Ints, chunk: int = 1 << 20) -> bytes:
    """The digest of a stream."""
    state = state_of(Timing(chip))
    digest = Digest(state.p, state.opcodes)
    for first in range(0, len(records), chunk):
        digest.add(np.ascontiguousarray(records[first : first + chunk]))
    return digest.key(NONE)


def timed(chip: Chip, records: Ints) -> EntryTiming:
    """What a stream takes."""
    timing = Timing(chip)
    timing.begin("entry")
    timing.feed(records)
    return timing.end()


def recalled(chip: Chip, known: EntryTiming, records: Ints) -> EntryTiming:
    """What a stream takes, by what is known of another with its digest."""
    return recall.same_timing(chip, known, Timing(chip).products([recall.products_of(records)]))


def check_same(one: EntryTiming, other: EntryTiming) -> None:
    """All but what was moved."""
    for name in ("cycles", "critical_cycles", "critical_path", "rest", "busy", "busiest", "pieces"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("units", "keys", "first", "last", "causes", "exclusive", "exclusive_causes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


# ---- the digest


def moved(chip: Chip, records: Ints, seed: int) -> Ints:
    """The stream with other addresses in SRAM, at random: near those there were, or far."""
    rng = np.random.default_rng(seed)
    found = records.copy()
    for record in found:
        if record[retire.OPCODE] in TRANSFERS:
            for word, shift in ((retire.SRC_ADDRESS, 0), (retire.DST_ADDRESS, 8)):
                space = record[retire.SPACES] >> shift & 0xFF
                if space != Space.HBM and rng.random() < RATE:
                    step = int(rng.choice([16, 64, 256, 2048]))
                    record[word] = max(record[word] + step * int(rng.integers(-3, 4)), 0)
        elif record[retire.OPCODE] in (GEMM, LD):
            record[retire.MACS] = rng.integers(0, 1 << 20)
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from(CHIPS))
def test_streams_with_one_digest_take_the_same(seed: int, chip: Chip) -> None:
    records = random_stream(chip, seed)
    expected = timed(chip, records)
    for turn in range(6):
        other = moved(chip, records, turn)
        if key(chip, other) == key(chip, records):
            check_same(timed(chip, other), expected)


def test_many_streams_with_other_addresses_have_one_digest() -> None:
    """Or the test above would say little."""
    same = changed = 0
    for seed in range(30):
        records = random_stream(MINI, seed, 20)
        other = moved(MINI, records, seed)
        changed += bool((other != records).any())
        same += bool((other != records).any() and key(MINI, other) == key(MINI, records))
    assert same >= 5 and changed > 20


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_the_order_of_tiles_and_the_size_of_chunks_mean_nothing(seed: int, order: int) -> None:
    records = random_stream(MINI, seed)
    expected = key(MINI, records)
    assert key(MINI, shuffled(records, order)) == expected
    assert key(MINI, records, chunk=7) == expected


@pytest.mark.parametrize("word", range(retire.WORDS))
def test_any_word_of_a_wait_counts_but_none_is_mistaken_for_another(word: int) -> None:
    records = random_stream(MINI, 3)
    waits = np.flatnonzero(records[:, retire.OPCODE] == BY_MNEMONIC["wait"].opcode)
    keys = {key(MINI, records)}
    for line in waits[:4]:
        other = records.copy()
        if word == retire.TILE:
            other[line, word] = (other[line, word] + 1) % MINI.num_tiles
        else:
            other[line, word] += 1 if word != retire.OPCODE else 0
            other[line, retire.GAP] += word == retire.OPCODE
        keys.add(key(MINI, other))
    assert len(keys) == 1 + len(waits[:4])


def test_the_order_of_a_tile_and_what_came_before_count() -> None:
    records = random_stream(MINI, 5)
    own = np.flatnonzero(records[:, retire.TILE] == 0)
    other = records.copy()
    first, second = next((a, b) for a, b in pairwise(own) if (records[a] != records[b]).any())
    other[[first, second]] = other[[second, first]]
    assert key(MINI, other) != key(MINI, records)
    state = state_of(Timing(MINI))
    digest = Digest(state.p, state.opcodes)
    digest.add(records)
    assert digest.key(NONE) != digest.key(NONE + 1)


@pytest.mark.parametrize(
    ("name", "of", "change", "same"),
    [
        ("HBM", "src", 64, False),
        ("HBM", "dst", 64, False),
        ("TSRAM", "dst", 64, True),
        ("TSRAM", "dst", 40960, True),
        ("CSRAM", "src", 64, True),
        ("CSRAM", "src", 4096, False),
        ("CSRAM", "dst", 64, True),
        ("CSRAM", "dst", 4096, False),
    ],
)
def test_of_an_address_counts_what_decides_its_way(
    name: str, of: str, change: int, same: bool
) -> None:
    word, shift = (retire.SRC_ADDRESS, 0) if of == "src" else (retire.DST_ADDRESS, 8)
    record = np.zeros(retire.WORDS, np.int64)
    record[[retire.UNIT, retire.OPCODE, retire.BYTES]] = 3, TRANSFERS[0], 128
    spaces = {0: int(Space.TSRAM), 8: int(Space.TSRAM)} | {shift: int(Space[name])}
    if of == "dst" and name == "TSRAM":
        spaces[0] = int(Space.CSRAM)
    record[retire.SPACES] = spaces[0] | spaces[8] << 8 | 1 << 16
    record[[retire.SRC_ADDRESS, retire.DST_ADDRESS]] = 8192
    other = record.copy()
    other[word] += change
    assert (key(MINI, record[None]) == key(MINI, other[None])) == same


def test_a_transfer_that_reads_what_the_one_before_wrote_counts() -> None:
    """It must wait for that, though neither address counts by itself."""
    records = np.zeros((2, retire.WORDS), np.int64)
    records[:, retire.UNIT], records[:, retire.OPCODE] = 3, TRANSFERS[0]
    records[:, retire.BYTES] = 128
    tsram, csram = int(Space.TSRAM), int(Space.CSRAM)
    records[0, retire.SPACES] = csram | tsram << 8 | 1 << 16
    records[1, retire.SPACES] = tsram | csram << 8 | 1 << 16
    records[0, retire.DST_ADDRESS] = records[1, retire.SRC_ADDRESS] = 8192
    apart, further = records.copy(), records.copy()
    apart[0, retire.DST_ADDRESS] += 1024
    further[0, retire.DST_ADDRESS] += 2048
    assert key(MINI, apart) == key(MINI, further) != key(MINI, records)


# ---- recalling


@pytest.fixture
def program(tiny_decoder: Program) -> Program:
    """A program with weights."""
    return tiny_decoder


def answers(
    program: Program, ahead: bool, threads: int = 2, recalls: bool = True
) -> tuple[Meter, list[dict[str, Any]]]:
    """Three answers to one prompt, each in a sequence of its own in the same place."""
    meter = Meter(program, MINI, recalls=recalls)
    decoder = Decoder(FastMachine(program, MINI, threads), meter, ahead=ahead)
    results: list[dict[str, Any]] = []
    for _ in range(3):
        sequence = decoder.open()
        decoder.step([Request(sequence, [5, 6, 7])])
        meter.prefill_done()
        for token in range(4):
            decoder.step([Request(sequence, [token])])
        decoder.close(sequence)
        decoder.settle()
        results.append(meter.result(1))
    return meter, results


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_what_is_recalled_is_what_would_be_timed(program: Program, threads: int) -> None:
    plain, expected = answers(program, ahead=False)
    meter, found = answers(program, ahead=True, threads=threads)
    assert found == expected
    assert meter.models.recall.hits >= 8 and plain.models.recall.hits == 0
    meter, found = answers(program, ahead=True, threads=threads, recalls=False)
    assert found == expected and meter.models.recall.hits == 0


def test_an_entry_with_many_records_is_timed_as_it_comes(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = answers(program, ahead=False)
    monkeypatch.setattr(metered, "KEPT_RECORDS", 100)
    meter, found = answers(program, ahead=True)
    assert found == expected and meter.models.recall.hits == 0


def found(known: recall.Recall, key: bytes) -> list[EntryTiming]:
    """What is known of a digest at once."""
    seen: list[EntryTiming] = []
    if not known.find(key, seen.append):
        known.give_up(key)
    return seen


def test_what_was_not_asked_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "KEPT", 2)
    known = recall.Recall()
    one, two, three = (timed(MINI, random_stream(MINI, seed)) for seed in range(3))
    known.keep(b"1", one)
    known.keep(b"2", two)
    assert found(known, b"1") == [one]
    known.keep(b"3", three)
    assert [found(known, key) for key in (b"2", b"1", b"3")] == [[], [one], [three]]


def test_what_is_under_way_is_waited_for_and_not_begun_again() -> None:
    known, seen = recall.Recall(), list[EntryTiming]()
    timing = timed(MINI, random_stream(MINI, 1))
    assert not known.find(b"1", seen.append)
    assert known.find(b"1", seen.append) and known.find(b"1", seen.append) and not seen
    known.keep(b"1", timing)
    assert seen == [timing] * 2
    assert not known.find(b"2", seen.append)
    known.give_up(b"2")
    assert not known.find(b"2", seen.append), "somebody else may try"


def test_where_nothing_is_known_few_are_asked_for() -> None:
    known, timing = recall.Recall(), timed(MINI, random_stream(MINI, 1))
    asked = [known.is_worth_asking() and not found(known, b"?") for _ in range(5 * recall.PATIENCE)]
    assert sum(asked) == recall.PATIENCE + 4 and all(asked[: recall.PATIENCE])
    known.keep(b"1", timing)
    assert found(known, b"1") == [timing]
    assert all(known.is_worth_asking() for _ in range(3))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30))
def test_a_recalled_timing_is_that_of_its_own_stream(seed: int, order: int) -> None:
    records = random_stream(MINI, seed)
    for turn in range(6):
        other = shuffled(moved(MINI, records, turn), order)
        if key(MINI, other) == key(MINI, records):
            expected = timed(MINI, other)
            same = recalled(MINI, timed(MINI, records), other)
            check_same(same, expected)
            np.testing.assert_array_equal(same.bounds, expected.bounds)
            for name in ("keys", "rows", "hbm_rows", "totals", "macs_by_formats"):
                one, two = getattr(same.traffic, name), getattr(expected.traffic, name)
                np.testing.assert_array_equal(one, two, name)


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_macs_are_those_of_the_stream_itself(chip: Chip) -> None:
    seed = next(s for s in range(99) if (random_stream(chip, s)[:, retire.OPCODE] == GEMM).any())
    records = random_stream(chip, seed)
    other = records.copy()
    other[records[:, retire.OPCODE] == GEMM, retire.MACS] += 1000
    assert key(chip, records) == key(chip, other)
    same = recalled(chip, timed(chip, records), other)
    assert same.traffic.total("macs") > timed(chip, records).traffic.total("macs")
    assert same.traffic.macs() == timed(chip, other).traffic.macs()


def test_what_is_recalled_may_stand_for_other_layers(tmp_path_factory: Any) -> None:
    """A folded run is unfolded after its layers are recalled, every time anew."""
    folder = tmp_path_factory.mktemp("folded")
    model = write_checkpoint(folder / "model", num_hidden_layers=7)
    path = compiled(model, folder / "model.bin")
    run = ("run", path, "--timing-only", "--tokens", "5,6", "--max-new-tokens", "9", "--json", "-")
    found = done(*run, "--fold-layers", "4").json
    one, other = folder / "one.json", folder / "other.json"
    traced = done(*run, "--fold-layers", "4", "--trace", one).json  # each is timed
    assert done(*run, "--fold-layers", "4", "--trace", other).json["cycles"] == found["cycles"]
    for part in ("cycles", "operations", "units", "bounds", "traffic", "work"):
        assert traced[part] == found[part], part
