"""Every byte and cycle of a decoder's steps: closed forms, and laws that no timing may break.

Models, chips, formats and steps are random. Bytes are compared for programs without weights, in
timing-only runs: the stream is the same as when values are computed, which is tested as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_models
from closed_form import READ, WRITTEN, Bytes, Plan, Segment, Step, compulsory, kept, traffic
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from compiler.api import compile_checkpoint, compile_config
from compiler.config import ModelConfig
from compiler.options import TECHNIQUES, Options
from emulator import retire
from emulator.accounting import Accounting, ProgramInfo, Traffic
from emulator.decoder import Decoder, Request
from emulator.errors import InputError
from emulator.fast.machine import FastMachine
from emulator.meter import Meter
from emulator.timing import EntryTiming, Timing
from emulator.timing.result import BOUNDS
from isa.chip import Chip, load_chip
from isa.program import Program
from isa.spec import BY_MNEMONIC

Ints = npt.NDArray[np.int64]

MINI = load_chip("t1-mini")
FORMATS = ("mxfp4", "nvfp4", "mxfp8", "fp8", "bf16")
CONTEXT = 400
#: A failing case is printed as it is: to shrink one takes minutes.
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)


# ---- random models, chips and steps


@st.composite
def model_configs(draw: st.DrawFn) -> dict[str, Any]:
    """A config.json of any family, with sizes that nothing need divide."""
    name = draw(st.sampled_from(sorted(tiny_models.CONFIGS)))
    kv_heads, group = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    layers = draw(st.integers(1, 3))
    config = tiny_models.CONFIGS[name] | {
        "num_hidden_layers": layers,
        "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads,
        "head_dim": 2 * draw(st.integers(4, 40)),
        "hidden_size": 2 * draw(st.integers(8, 120)) * kv_heads * group // 2,
        "intermediate_size": draw(st.integers(16, 400)),
        "vocab_size": draw(st.integers(40, 1500)),
    }
    if "sliding_window" in config:
        config["sliding_window"] = draw(st.integers(1, 300))
    if "layer_types" in config:
        kinds = st.sampled_from(["sliding_attention", "full_attention"])
        config["layer_types"] = draw(st.lists(kinds, min_size=layers, max_size=layers))
    if "max_window_layers" in config:
        config["max_window_layers"] = draw(st.integers(0, layers))
    return config


@st.composite
def chips(draw: st.DrawFn) -> Chip:
    """1 to 12 tiles; CSRAM from nothing, so that activations go to HBM, to all they need."""
    clusters, tiles = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    return MINI.with_(
        **{
            "clusters": clusters,
            "tiles_per_cluster": tiles,
            "mesh.columns": tiles,
            "mesh.rows": clusters,
            "cluster.csram.bytes": draw(st.sampled_from([0, 3000, 30_000, 200_000, 1 << 22])),
            "tile.tsram.bytes": draw(st.sampled_from([160, 256, 512, 1024])) << 10,
        }
    )


@st.composite
def option_sets(draw: st.DrawFn) -> Options:
    """Formats, and capacities small and large."""
    return Options(
        weights=draw(st.sampled_from(FORMATS)),
        activations=draw(st.sampled_from(FORMATS)),
        kv=draw(st.sampled_from(["bf16", "fp8"])),
        lm_head=draw(st.sampled_from([None, "bf16", "mxfp8"])),
        rows=draw(st.sampled_from([4, 12, 40, None])),
        sequences=4,
        logit_rows=draw(st.sampled_from([1, 5, None])),
        context=CONTEXT,
        top_k=draw(st.sampled_from([1, 5, 40])),
        without=draw(st.sampled_from([(), (), ("multicast",), ("groups",), tuple(TECHNIQUES)])),
    )


@st.composite
def steps(draw: st.DrawFn, capacity: dict[str, int]) -> tuple[tuple[Segment, int], ...]:
    """One to four sequences at any positions: single tokens, or chunks; and the logits wanted."""
    count = draw(st.integers(1, min(4, capacity["rows"])))
    decode = draw(st.booleans())
    rows, wanted, found = capacity["rows"], capacity["wanted"], []
    for left in range(count - 1, -1, -1):
        length = 1 if decode else draw(st.integers(1, rows - left))
        start = draw(st.integers(0, capacity["context"] - length))
        logits = draw(st.integers(0, min(length, wanted)))
        rows, wanted = rows - length, wanted - logits
        found.append((Segment(start, length), logits))
    return tuple(found)


# ---- running them


@dataclass
class Recorder:
    """Keeps every entry's records."""

    entries: list[Ints] = field(default_factory=list)
    _chunks: list[Ints] = field(default_factory=list)

    def begin(self, entry: str) -> None:
        self._chunks = [np.empty((0, retire.WORDS), np.int64)]

    def feed(self, chunk: Ints) -> None:
        self._chunks.append(chunk)

    def end(self) -> None:
        self.entries.append(np.concatenate(self._chunks))


class Clock:
    """Times every entry."""

    def __init__(self, program: Program, chip: Chip) -> None:
        self.timing = Timing(chip, ProgramInfo.of(program))
        self.entries: list[EntryTiming] = []
        self.begin, self.feed = self.timing.begin, self.timing.feed

    def end(self) -> None:
        self.entries.append(self.timing.end())


def place(decoder: Decoder, step: tuple[tuple[Segment, int], ...]) -> None:
    """Run a step whose sequences are where it says, whatever their caches hold."""
    sequences = [decoder.open() for _ in step]
    requests = []
    for sequence, (segment, logits) in zip(sequences, step, strict=True):
        sequence.length = segment.start
        requests.append(Request(sequence, [1] * segment.count, logits))
    decoder.step(requests)
    for sequence in reversed(sequences):
        decoder.close(sequence)


def count(program: Program, chip: Chip, records: Ints) -> Traffic:
    """The accounting of some records."""
    accounting = Accounting(chip, ProgramInfo.of(program))
    accounting.feed(records)
    return accounting.take()


def both_ways(found: Traffic, suffix: str = "") -> Bytes:
    """HBM bytes by class, read and written."""
    read, written = found.hbm_bytes(f"read{suffix}"), found.hbm_bytes(f"write{suffix}")
    return {name: [read.get(name, 0), written.get(name, 0)] for name in read | written}


# ---- bytes


@settings(max_examples=40, phases=UNSHRUNK)
@given(model_configs(), chips(), option_sets(), st.data())
def test_bytes_by_class_equal_the_closed_form(
    config: dict[str, Any], chip: Chip, options: Options, data: st.DataObject
) -> None:
    program = compile_config(ModelConfig.from_dict(config), chip, options)
    recorder = Recorder()
    decoder = Decoder(FastMachine(program, chip, timing_only=True), recorder)
    at_first = both_ways(count(program, chip, recorder.entries[0]))
    assert at_first.get("weights", [0, 0]) == [kept(config, Plan.of(program)), 0]
    for _ in range(3):
        step = data.draw(steps(decoder.capacity))
        place(decoder, step)
        found = count(program, chip, recorder.entries[-1])
        _check_bytes(found, config, options, program, step)


def _check_bytes(
    found: Traffic,
    config: dict[str, Any],
    options: Options,
    program: Program,
    step: tuple[tuple[Segment, int], ...],
) -> None:
    numeric = options.numeric()
    state = Step(tuple(segment for segment, _ in step), sum(logits for _, logits in step))
    useful, padded = both_ways(found), both_ways(found, " padded")
    assert useful == traffic(config, numeric, state, Plan.of(program))
    for name, least in compulsory(config, numeric, state, Plan.of(program)).items():
        both = useful.get(name, [0, 0])
        assert both[READ] >= least[READ] and both[WRITTEN] >= least[WRITTEN], name
    for name, (read, written) in useful.items():
        assert padded[name][READ] >= read and padded[name][WRITTEN] >= written, name
        assert padded[name][READ] % 32 == padded[name][WRITTEN] % 32 == 0, name


ALIGNED = tiny_models.CONFIGS["qwen3"] | {
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 192,
    "vocab_size": 512,
}


@pytest.mark.parametrize("weights", FORMATS)
def test_bursts_cost_nothing_extra_where_all_is_aligned(weights: str) -> None:
    useful, padded = _of_one_token(ALIGNED, weights)
    for name in ("weights", "scales", "embeddings", "kv", "tables"):
        assert padded.get(name) == useful.get(name), name


def test_bursts_cost_extra_where_something_is_not() -> None:
    useful, padded = _of_one_token(ALIGNED | {"hidden_size": 90}, "mxfp4")
    # 96 stored rows of K are three blocks: 48 bytes of scales for a panel, but panels of all of K
    # lie side by side. 90 BF16 are 180 bytes.
    assert padded["scales"][READ] == useful["scales"][READ]
    assert padded["embeddings"][READ] == 192 + 32 * (useful["embeddings"][READ] % 32 == 0)


def _of_one_token(config: dict[str, Any], weights: str) -> tuple[Bytes, Bytes]:
    options = Options(weights=weights, context=256, sequences=1, top_k=8, rows=8)
    program = compile_config(ModelConfig.from_dict(config), MINI, options)
    recorder = Recorder()
    decoder = Decoder(FastMachine(program, MINI, timing_only=True), recorder)
    place(decoder, ((Segment(130, 1), 1),))
    found = count(program, MINI, recorder.entries[-1])
    return both_ways(found), both_ways(found, " padded")


# ---- cycles


@pytest.fixture(scope="module", params=["qwen3", "mistral"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A program with weights."""
    path = tmp_path_factory.mktemp("model")
    tiny_models.write_model(path, tiny_models.CONFIGS[request.param])
    options = Options("mxfp4", "mxfp8", context=CONTEXT, sequences=4, rows=40, top_k=5)
    return compile_checkpoint(path, MINI, options)


MIXED = ((Segment(200, 9), 1), (Segment(37, 1), 1), (Segment(0, 30), 0))
SINGLE = ((Segment(255, 1), 1), (Segment(256, 1), 1), (Segment(3, 1), 1))


def _records(program: Program, **machine: Any) -> list[Ints]:
    """The records of each entry, tile by tile."""
    recorder = Recorder()
    decoder = Decoder(FastMachine(program, MINI, **machine), recorder)
    for step in (MIXED, SINGLE):
        place(decoder, step)
    return [
        records[np.argsort(records[:, retire.TILE], kind="stable")] for records in recorder.entries
    ]


def _timed(program: Program, **machine: Any) -> list[EntryTiming]:
    clock = Clock(program, MINI)
    decoder = Decoder(FastMachine(program, MINI, **machine), clock)
    for step in (MIXED, SINGLE):
        place(decoder, step)
    return clock.entries


def test_timing_only_runs_retire_the_same_records(real: Program) -> None:
    """But for the MACs of attention's products with bounds, which only values decide."""
    gemm = BY_MNEMONIC["gemm"].opcode
    for whole, bare in zip(_records(real), _records(real, timing_only=True), strict=True):
        masked = (whole[:, retire.OPCODE] == gemm) & (bare[:, retire.MACS] == 0)
        whole[masked, retire.MACS] = 0
        np.testing.assert_array_equal(whole, bare)


@pytest.mark.parametrize(
    "machine",
    [
        {"chunk_rows": 1},
        {"chunk_rows": 7},
        {"threads": 2},
        {"threads": 2, "chunk_rows": 7},
        {"timing_only": True},
    ],
    ids=str,
)
def test_cycles_do_not_depend_on_how_records_arrive(real: Program, machine: dict[str, Any]) -> None:
    for one, other in zip(_timed(real), _timed(real, **machine), strict=True):
        assert one.cycles == other.cycles
        assert one.critical_path == other.critical_path
        for part in ("keys", "first", "last", "units", "causes", "exclusive"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part), part)


def test_laws_hold_when_values_are_computed(real: Program) -> None:
    for entry in _timed(real):
        check_laws(entry, MINI)


def test_a_machine_has_one_decoder(real: Program) -> None:
    machine = FastMachine(real, MINI)
    Decoder(machine)
    with pytest.raises(InputError, match="has a decoder already"):
        Decoder(machine)


def test_the_reported_shares_sum_to_the_whole(real: Program) -> None:
    meter = Meter(real, MINI)
    decoder = Decoder(FastMachine(real, MINI), meter)
    place(decoder, MIXED)
    meter.prefill_done()
    place(decoder, SINGLE)
    result = meter.result(1)
    for group, operations in result["operations"].items():
        whole = result["bounds"][group]["cycles"]
        assert sum(op["exclusive"] for op in operations) == whole
        for op in operations:
            assert op["span"] >= max(op["bounds"].values(), default=0), op["name"]
            assert sum(op["causes"].values()) == op["gap"]
    for unit, shares in result["units"].items():
        assert sum(shares.values()) == pytest.approx(1), unit
    by_class = result["traffic"]["hbm"]["classes"].values()
    for way in ("read", "write", "read_padded", "write_padded"):
        assert sum(row[way] for row in by_class) == result["traffic"]["hbm"][way]


@settings(max_examples=25, phases=UNSHRUNK)
@given(model_configs(), chips(), option_sets(), st.data())
def test_laws_hold_for_random_programs(
    config: dict[str, Any], chip: Chip, options: Options, data: st.DataObject
) -> None:
    program = compile_config(ModelConfig.from_dict(config), chip, options)
    clock = Clock(program, chip)
    decoder = Decoder(FastMachine(program, chip, timing_only=True), clock)
    place(decoder, data.draw(steps(decoder.capacity)))
    for entry in clock.entries:
        check_laws(entry, chip)


def check_laws(entry: EntryTiming, chip: Chip) -> None:
    """What holds for every entry, whatever ran."""
    _check_rows(entry)
    _check_whole(entry, chip)
    per_unit = entry.units.sum(axis=-1)
    assert (entry.units >= 0).all() and (per_unit == entry.cycles).all()  # shares sum to 100 %
    assert sum(entry.critical_path.values()) == entry.cycles
    for share in (*entry.busy.values(), *entry.busiest.values()):
        assert 0 <= share <= 1


def _check_rows(entry: EntryTiming) -> None:
    """Operations: spans not below their bounds, and exclusive shares that sum to the total."""
    short = np.argwhere(entry.spans[:, None] < entry.bounds)
    assert not len(short), [(entry.keys[row], BOUNDS[bound]) for row, bound in short]
    timed = entry.first >= 0
    assert (entry.last[timed] >= entry.first[timed]).all() and entry.last.max() <= entry.cycles
    assert (entry.exclusive >= 0).all() and entry.rest >= 0
    assert int(entry.exclusive.sum()) + entry.rest == entry.cycles
    for row in range(len(entry.keys)):
        _, gap, causes = entry.reasons(row)
        assert sum(causes.values()) == gap


def _check_whole(entry: EntryTiming, chip: Chip) -> None:
    """The entry is no shorter than its longest chain of work, any unit's work, or its traffic."""
    assert entry.cycles >= entry.critical_cycles
    hbm = sum(sum(entry.traffic.hbm_bytes(way).values()) for way in ("read", "write"))
    assert entry.cycles >= hbm / (chip.hbm.bytes_per_second / chip.clock_hz)
    array = chip.tile.mxu.rows * chip.tile.mxu.columns * chip.num_tiles
    fastest = max(chip.tile.mxu.rate(a, w) for a in (4, 8, 16) for w in (4, 8, 16))
    assert entry.cycles >= entry.traffic.total("macs") / (array * fastest)
    lanes = chip.tile.vpu.lanes * chip.num_tiles
    assert entry.cycles >= entry.traffic.total("elements") / lanes
