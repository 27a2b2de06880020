"""`emu bench chip`: bounds, rows, tables and errors, of small shapes; no bar is asserted."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Result, done, emu
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.config import ModelConfig
from compiler.errors import CompileError
from compiler.options import TECHNIQUES
from emulator.bench.chip import bound, cases, hbm_copy, loss, mixed, rows, shapes, step, table
from emulator.bench.chip.cases import Case, Part
from emulator.bench.rows import Bar, BenchError
from isa.chip import Chip, load_chip

MINI = load_chip("t1-mini")
SIZES: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 256,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}
CONFIG = ModelConfig.from_dict(SIZES)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chip") / "Small_One"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SIZES))
    return folder


def bench(model: Path, *arguments: object) -> Result:
    return done("bench", "chip", "--chip", "t1-mini", "--model", model, *arguments)


def small(phase: str, batch: int, context: int, config: ModelConfig = CONFIG) -> Case:
    return Case("small", "small", config, phase, batch, context)


@cache
def rate() -> float:
    return hbm_copy.bytes_per_cycle(MINI)


# ---- bounds


def test_weights_of_the_published_shapes() -> None:
    """4.25 bits for each weight; 8B has an lm_head of its own, 1B its embedding's, read as one."""
    options = step.capacities(shapes.shape("8b"), 1, 1024)
    layer = 4096 * (4096 + 2 * 1024 + 4096 + 3 * 14336)
    assert bound.weight_bytes(shapes.shape("8b"), options) * 32 == 17 * (32 * layer + 128256 * 4096)
    layer = 2048 * (2048 + 2 * 512 + 2048 + 3 * 8192)
    assert bound.weight_bytes(shapes.shape("1b"), options) * 32 == 17 * (16 * layer + 128256 * 2048)
    assert bound.kv_bytes(shapes.shape("8b"), options, 1024) == 1024 * 32 * 2 * 8 * 128 * 2


@pytest.mark.parametrize(("batch", "context"), [(1, 128), (1, 256), (3, 128)])
def test_a_decode_step_reads_what_the_bound_says_and_gains_at_most(
    batch: int, context: int
) -> None:
    case = small(cases.DECODE, batch, context)
    setting = step.Setting(MINI)
    ran = step.run(setting, case, setting.options(case))
    least = bound.step_bytes(CONFIG, setting.options(case), case.parts)
    gains = 4 * CONFIG.hidden * (2 * CONFIG.layers + 1)
    assert 0 <= ran.read_bytes() - least <= batch * gains


def test_keys_in_csram_are_not_read_of_hbm_and_the_row_says_how_many() -> None:
    case = small(cases.DECODE, 3, 200)
    roomy = {"cluster.csram.bytes": 1 << 20, "tile.tsram.bytes": 1 << 19}
    slow = MINI.with_(**{"hbm.bytes_per_second": 1e9}, **roomy)
    setting = step.Setting(slow)
    options = setting.options(case)
    ran = step.run(setting, case, options)
    assert ran.program.metadata["plan"]["resident_pages"] > 0
    assert 0 < ran.resident_keys <= 3 * 199
    there = bound.kv_bytes(CONFIG, options, 3 + ran.resident_keys)
    least = bound.step_bytes(CONFIG, options, case.parts) - there
    gains = 4 * CONFIG.hidden * (2 * CONFIG.layers + 1)
    assert 0 <= ran.read_bytes() - least <= 3 * gains
    row = rows.measured_row(setting, case, rate())
    assert row.json()["csram_kv_bytes"] == bound.kv_bytes(CONFIG, options, ran.resident_keys)
    assert any("read from CSRAM" in line for line in table.lines(row, 5))
    with pytest.raises(BenchError, match="bytes read"):
        rows.check_work(case, options, replace(ran, resident_keys=0))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 100)), min_size=1, max_size=4),
    st.data(),
)
def test_chunks_of_a_prompt_are_the_work_of_the_whole(
    parts: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Causal pairs do not depend on how a sequence is cut; nor do products with weights."""
    options = step.capacities(CONFIG, 1, 256)
    whole = [Part(tokens, before) for tokens, before in parts]
    cut = []
    for part in whole:
        first = data.draw(st.integers(0, part.tokens))
        cut += [Part(first, part.before), Part(part.tokens - first, part.before + first)]
    one, other = (bound.useful_macs(CONFIG, options, each) for each in (whole, cut))
    assert one.layers == other.layers and one.attention == other.attention
    pairs = sum(before + row + 1 for tokens, before in parts for row in range(tokens))  # key by key
    assert one.attention.count == pairs * 2 * CONFIG.heads * CONFIG.head_dim * CONFIG.layers


def test_prefill_executes_every_product_with_weights() -> None:
    case = small(cases.PREFILL, 1, 200)
    setting = step.Setting(MINI)
    ran = step.run(setting, case, setting.options(case, rows=64))
    work = bound.useful_macs(CONFIG, setting.options(case), case.parts)
    linear = sum(op["macs"] for op in ran.result["operations"]["prefill"] if op["name"] in LINEAR)
    assert ran.steps == 4
    assert linear == work.layers.count + work.head.count
    assert ran.macs() >= linear + work.attention.count // 2


LINEAR = ("qkv", "o", "gate_up", "down", "lm_head")


def test_attention_counts_at_the_rate_of_bf16() -> None:
    work = bound.useful_macs(CONFIG, step.capacities(CONFIG, 1, 256), [Part(1, 127)])
    places = 4 * 32 * 32
    layers = work.layers.count + work.head.count
    assert bound.array_cycles(work, MINI) == pytest.approx(
        (layers + work.attention.count / 0.5) / places
    )


def test_a_program_that_does_too_little_is_refused() -> None:
    case = small(cases.DECODE, 1, 128)
    setting = step.Setting(MINI)
    ran = step.run(setting, case, setting.options(case))
    rows.check_work(case, setting.options(case), ran)
    with pytest.raises(BenchError, match="MACs executed"):
        rows.check_work(small(cases.DECODE, 1, 256), setting.options(case), ran)
    with pytest.raises(BenchError, match="bytes read"):
        rows.check_work(case, setting.options(case, weights="bf16"), ran)


def test_the_copy_moves_every_byte_once() -> None:
    program = hbm_copy.hbm_copy(MINI, 3)
    assert [(region.name, region.size) for region in program.regions] == [
        ("source", 3 * 4 * 4 * 65536)
    ]
    assert 0.8 < hbm_copy.bytes_per_cycle(MINI) / hbm_copy.peak(MINI) <= 1 - MINI.hbm.refresh
    tiny = MINI.with_(**{"tile.tsram.bytes": 32768})
    with pytest.raises(CompileError, match=r"tile\.tsram\.bytes: 65536 bytes of a copy do not fit"):
        hbm_copy.hbm_copy(tiny, 1)


def test_the_copy_is_nearly_as_long_for_half_the_memory() -> None:
    """Start and end of the copy are a small part of it, whatever the chip."""
    slow = MINI.with_(**{"hbm.bytes_per_second": MINI.hbm.bytes_per_second / 2})
    shares = [hbm_copy.bytes_per_cycle(chip) / hbm_copy.peak(chip) for chip in (MINI, slow)]
    assert shares[0] == pytest.approx(shares[1], abs=0.02)


# ---- bars, cases, losses


def test_bars_are_wider_on_other_chips() -> None:
    found = {case.name: str(cases.bar(case.name, "t1")) for case in cases.cases()}
    assert found == {
        "decode_8b_b1": "<= 1.15",
        "decode_8b_b32": "<= 1.15",
        "decode_8b_b1_8k": "None",
        "decode_8b_b8_4k": "None",
        "decode_1b_b1": "<= 1.35",
        "decode_1b_b32": "None",
        "prefill_8b": ">= 0.7",
        "prefill_1b": "None",
    }
    assert cases.bar("decode_8b_b1", "t1-wide") == Bar("<=", 1.25)
    assert cases.bar("prefill_8b", "t1-wide") == Bar(">=", 0.6)
    assert cases.bar("hbm_copy_64k", "t1-wide") == Bar(">=", 0.88)


@pytest.mark.parametrize("name", ["t1-wide", "t1-mini-balanced"])
def test_the_other_chips_have_the_balance_of_t1(name: str) -> None:
    def per_multiplier(chip: Chip) -> list[float]:
        places = chip.num_tiles * chip.tile.mxu.rows * chip.tile.mxu.columns
        sram = chip.num_tiles * (chip.tile.tsram.bytes + chip.tile.acc.bytes)
        csram = chip.clusters * chip.cluster.csram.bytes
        return [x / places for x in (chip.hbm.bytes_per_second, chip.hbm.bytes, sram, csram)]

    assert per_multiplier(load_chip(name)) == pytest.approx(per_multiplier(load_chip("t1")))


@pytest.mark.parametrize(("kind", "least"), [("hbm", 0), ("hbm", 3000), ("array", 500)])
def test_losses_are_all_cycles_beyond_the_bound(kind: str, least: int) -> None:
    setting, case = step.Setting(MINI), small(cases.DECODE, 1, 128)
    ran = step.run(setting, case, setting.options(case))
    found = loss.losses(ran.result["operations"]["decode"], ran.cycles, kind, least)
    assert sum(each.cycles for each in found) == ran.cycles - least
    assert [each.cycles for each in found] == sorted((e.cycles for e in found), reverse=True)
    assert all(sum(n for _, n in each.operations) == each.cycles > 0 for each in found)
    assert all(n > 0 for each in found for _, n in each.operations)
    assert "overlap" not in {each.cause for each in found}


def operation(name: str, bound: str | None, exclusive: int, **causes: int) -> dict[str, Any]:
    return {"name": name, "bound": bound, "exclusive": exclusive, "causes": causes}


def test_the_bound_is_taken_from_work_of_its_kind_first() -> None:
    """A stream of its own waits for HBM in the step's stead: that is no loss but the bound."""
    operations = [
        operation("weights", "hbm", 50, hbm=10, overlap=99),  # 40 at its bound
        operation("gate_up", "vector", 100, hbm=60, drain=30, overlap=7),  # 10 at its bound
        operation("end", None, 5),
    ]

    def lost(least: int) -> dict[str, int]:
        found = loss.losses(operations, 155, "hbm", least)
        return {each.cause: each.cycles for each in found}

    everything = {"hbm": 70, "hbm work": 40, "drain": 30, "vector work": 10, "control": 5}
    assert lost(0) == everything
    assert lost(40) == {cause: n for cause, n in everything.items() if cause != "hbm work"}
    assert lost(110) == {"drain": 30, "vector work": 10, "control": 5}
    assert sum(lost(132).values()) == 23 and set(lost(132)) == {"drain", "vector work", "control"}
    assert lost(155) == lost(1000) == {}


def test_a_row_without_a_program_says_why() -> None:
    case = small(cases.DECODE, 200, 128)
    row = rows.measured_row(step.Setting(MINI), case, rate())
    assert row.cycles is None and row.json()["value"] is None
    line = table.lines(row, 5)
    assert len(line) == 1 and row.row.measured.note in line[0] and row.row.measured.note


def test_chunks_beside_decode_rows_fill_a_step() -> None:
    assert mixed.chunks(128, 0) == [0, 64, 128]
    assert mixed.chunks(300, 32) == [0, 64, 128, 256, 268]
    assert mixed.chunks(32, 32) == [0]


# ---- the command


def test_rows_and_tables_through_the_command_line(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "chip.json"
    result = bench(model, "--json", file, "--techniques", "--mixed")
    found = json.loads(file.read_text())
    assert found["schema"] == 1 and set(found) == {
        "schema", "machine", "rows", "techniques", "mixed",
    }  # fmt: skip
    assert found["machine"]["chips"]["t1-mini"]["tiles"] == 4
    names = [row["name"] for row in found["rows"]]
    steps = ["decode_small-one_b1", "decode_small-one_b32", "prefill_small-one"]
    assert names == ["hbm_copy_64k", *steps]
    for row in found["rows"]:
        assert row["ratio"] == pytest.approx(row["value"] / row["yardstick"], rel=1e-5)
        assert {"name", "value", "unit", "yardstick", "ratio", "chip"} <= set(row)
    for row in found["rows"][1:]:
        taken = row["value"] if row["phase"] == "decode" else row["yardstick"]
        assert taken == pytest.approx(row["cycles"], rel=1e-5)
        lost = sum(each["cycles"] for each in row["loss"])
        assert lost == pytest.approx(row["cycles"] * (1 - 1 / row["over_bound"]), abs=2, rel=1e-4)
        assert not row["folded"] and "bar" not in row and 0 < row["utilisation"] < 1
    cycles = {row["name"]: row["cycles"] for row in found["rows"][1:]}
    _check_techniques(found["techniques"], cycles)
    _check_mixes(found["mixed"])
    assert "Every layer was simulated." in result.out
    assert all(name in result.out for name in (*steps, *TECHNIQUES, "split", "over longer"))


def _check_techniques(found: list[dict[str, Any]], cycles: dict[str, int]) -> None:
    assert [(each["row"], each["technique"]) for each in found] == [
        (row, technique) for row in cycles for technique in (*TECHNIQUES, "split")
    ]
    for each in found:
        assert each["gain"] == pytest.approx(each["cycles"] / cycles[each["row"]], rel=1e-5)


def _check_mixes(found: list[dict[str, Any]]) -> None:
    by_mix = {(each["decode"], each["prefill"]): each for each in found}
    assert len(by_mix) == len(found) and (32, 0) in by_mix
    for (decode, prefill), each in by_mix.items():
        assert each["cycles"] >= each["bound"]
        assert each["decode_alone"] == (by_mix[decode, 0]["cycles"] if decode else 0)
        if (0, prefill) in by_mix:
            assert each["prefill_alone"] == by_mix[0, prefill]["cycles"]
        both = each["decode_alone"] + each["prefill_alone"]
        assert each["of_both"] == pytest.approx(each["cycles"] / both, rel=1e-5)


def test_the_same_for_every_number_of_threads(model: Path) -> None:
    one, two = (
        bench(model, "--only", "decode_*b1", "--json", "-", "--threads", threads).out
        for threads in (1, 2)
    )
    assert one == two and json.loads(one)["rows"][1]["cycles"] > 0


def test_several_chips(model: Path, tmp_path: Path) -> None:
    text = (Path(cases.__file__).parents[3] / "isa/chips/t1-mini.yaml").read_text()
    slow = tmp_path / "slow.yaml"
    slow.write_text(
        text.replace("name: t1-mini", "name: slow").replace("start: 960", "start: 5000")
    )
    found = bench(model, "--chip", slow, "--only", "decode_*b1", "--json", "-").json["rows"]
    assert [row["name"] for row in found] == [
        "hbm_copy_64k@t1-mini", "decode_small-one_b1@t1-mini",
        "hbm_copy_64k@slow", "decode_small-one_b1@slow",
    ]  # fmt: skip
    assert found[3]["cycles"] > found[1]["cycles"]
    twice = emu("bench", "chip", "--chip", slow, "--chip", slow)
    assert twice.status == 2 and "two chips are named slow" in twice.err


def test_layers_are_folded_unless_exact(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SIZES | {"num_hidden_layers": 7}))
    folded, exact = (
        bench(folder, "--only", "decode_deep_b1", "--json", "-", *more).json["rows"][1]
        for more in ((), ("--exact",))
    )
    assert (folded["folded"], exact["folded"]) == (True, False)
    assert folded["yardstick"] == exact["yardstick"]
    assert folded["cycles"] == pytest.approx(exact["cycles"], rel=0.05)
    text = bench(folder, "--only", "decode_deep_b1").out
    assert "An estimate: " in text and "--exact" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "decode_9b"], "no row is named 'decode_9b'; there are decode_8b_b1"),
        (["--chip", "t2"], "t2: unknown chip"),
        (["--only", "hbm_copy_64k", "--svg", "x.svg"], "no step is chosen"),
        (["--json", "no/such/chip.json"], "no/such/chip.json"),
        (["--svg", "no/such/layer.svg"], "no/such/layer.svg"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], expected: str) -> None:
    result = emu("bench", "chip", *arguments)
    assert result.status == 2 and result.out == ""
    assert expected in result.err and "Traceback" not in result.err
    assert len([line for line in result.err.splitlines() if "error" in line.lower()]) == 1


def test_a_model_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    result = emu("bench", "chip", "--model", tmp_path)
    assert (result.status, result.out) == (2, "") and result.err.count("\n") == 1
    named = tmp_path / "8B"
    named.mkdir()
    (named / "config.json").write_text(json.dumps(SIZES))
    result = emu("bench", "chip", "--model", named)
    assert result.status == 2 and "rows of 8b are there already" in result.err
