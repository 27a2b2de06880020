"""Presets of public chips equal what their sources publish."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from emulator.explore.chips import presets
from emulator.explore.economics.capacity import capacity_bytes, chips_needed
from emulator.explore.economics.part import Part, peak_flops, sram_bytes
from emulator.explore.economics.technology import load_technology
from emulator.explore.economics.values import EconomicsError
from isa.chip import CHIPS, ChipError, known_chips, load_about, load_chip

MIB, GIB = 2**20, 2**30
CONFIGS = Path(__file__).parent.parent / "programs" / "configs"

#: What the sources named in the files publish, written down apart from the files: dense FLOP/s of
#: FP8 and others, SRAM, HBM bytes, HBM bytes/s. None: not published.
PUBLISHED = {
    # Microsoft, blog of January 2026 (over 5 and 10 PFLOP/s, 216 GB, 7 TB/s); ISSCC 2026
    "maia-200": {"fp8": 5e15, "fp4": 10e15, "sram": 272 * MIB, "hbm": 216e9, "rate": 7e12,
                 "links": 28 * 50e9},
    # Huawei Connect, September 2025
    "ascend-950pr": {"fp8": 1e15, "fp4": 2e15, "hbm": 128e9, "rate": 1.6e12},
    "ascend-950dt": {"fp8": 1e15, "fp4": 2e15, "hbm": 144e9, "rate": 4e12},
    # AWS Neuron documentation: an eighth of 96 GiB and 2.9 TB/s, 24 MiB SBUF
    "trainium2-core": {"fp8": 158e12, "bf16": 79e12, "sram": 24 * MIB, "hbm": 12 * GIB,
                       "rate": 2.9e12 / 8},
    # TechPowerUp on the first LPU
    "lpu-sram": {"fp8": 750e12, "bf16": 188e12, "sram": 230e6, "hbm": 0},
    # Taalas: 16,960 tokens/s of 8.03e9 parameters, two operations for each
    "hardwired": {"fp8": 16_960 * 2 * 8.03e9, "hbm": 0},
    # NVIDIA's data sheet: 132 x 256 KB and 50 MB of L2
    "h200-like": {"fp8": 1979e12, "bf16": 989e12, "sram": 132 * 256 * 1024 + 50 * MIB,
                  "hbm": 141e9, "rate": 4.8e12, "links": 450e9},
    # Google Cloud documentation of TPU7x
    "tpu-v7-like": {"fp8": 4614e12, "bf16": 2307e12, "hbm": 192 * GIB, "rate": 7380e9,
                    "links": 600e9},
}  # fmt: skip
BITS = {"fp4": 4, "fp8": 8, "bf16": 16}


def test_every_preset_is_held_to_its_source() -> None:
    assert set(presets()) == {*PUBLISHED, "t1", "t1-mini"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_equals_its_source(name: str) -> None:
    chip, published = load_chip(name), PUBLISHED[name]
    for width, bits in BITS.items():
        if width in published:
            assert peak_flops(chip, bits, bits) == pytest.approx(published[width], rel=0.01)
    if "sram" in published:
        acc = chip.num_tiles * chip.tile.acc.bytes
        assert sram_bytes(chip) - acc == pytest.approx(published["sram"], rel=1e-6)
    assert chip.hbm.bytes == published["hbm"]
    if "rate" in published:
        assert chip.hbm.bytes_per_second == published["rate"]
    if "links" in published:
        links = chip.scale_up.links * chip.scale_up.bytes_per_second
        assert links == pytest.approx(published["links"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_figures_in_the_file_are_those_of_the_source(name: str) -> None:
    """The file states them too, and what it describes agrees with what it states."""
    chip, about, published = load_chip(name), load_about(name), PUBLISHED[name]
    assert about is not None
    stated = {"fp4": "peak_fp4", "fp8": "peak_fp8", "bf16": "peak_bf16", "hbm": "hbm_bytes",
              "rate": "hbm_bytes_per_second", "sram": "sram_bytes",
              "links": "scale_up_bytes_per_second"}  # fmt: skip
    for key, figure in stated.items():
        if published.get(key):
            assert about.figure(figure) == pytest.approx(published[key], rel=1e-3), figure
    tsram = chip.tile.tsram
    if about.figure("sram_bytes_per_second"):
        rate = chip.num_tiles * tsram.banks * tsram.bank_bytes * chip.clock_hz
        assert rate == pytest.approx(about.figure("sram_bytes_per_second"), rel=0.01)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_says_what_it_cannot_represent(name: str) -> None:
    about = load_about(name)
    assert about is not None and len(about.limits) >= 3
    cited = {figure.source for figure in about.figures.values()}
    text = (CHIPS / f"{name}.yaml").read_text()
    for label in set(about.sources) - cited:  # in brackets after a value, or in a sentence
        assert f"[{label}" in text, label
    for label in re.findall(r"# \w+[^\n]*\[([a-z]+\d*)[\],:]", text):
        assert label in about.sources, label


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_names_a_process_that_is_known(name: str) -> None:
    assert Part.load(name).node in load_technology().nodes


def test_one_die_two_memories() -> None:
    """Prefill and decode parts of the Ascend 950 differ in their memory alone."""
    pr, dt = load_chip("ascend-950pr"), load_chip("ascend-950dt")
    assert pr.with_(name="x", hbm=vars(dt.hbm)) == dt.with_(name="x")


def test_chips_for_a_model_without_hbm() -> None:
    lpu, wired = Part.load("lpu-sram"), Part.load("hardwired")
    held = capacity_bytes(lpu)
    assert held == sram_bytes(lpu.chip)
    assert [chips_needed(lpu, size) for size in (1, held, held + 1, 10 * held)] == [1, 1, 2, 10]
    assert chips_needed(wired, 0, 8_030_000_000) == 1
    assert chips_needed(wired, 0, 70_553_706_496) == 9
    assert wired.about is not None
    silent = Part(wired.chip, replace(wired.about, figures={}))
    with pytest.raises(EconomicsError, match="resident_parameters: missing key"):
        chips_needed(silent, 1)


# ---- the key `about`

TEXT = (CHIPS / "maia-200.yaml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  node: n3 ", "  process: n3 ", "about.process: unknown key; known here: summary, node"),
        ("  weights: hbm ", "  weights: dram ",
         "about.weights: expected one of hbm, sram, hardwired, got 'dram'"),
        ("peak_fp8: {", "peak_fp9: {", "about.figures.peak_fp9: unknown figure; known are"),
        ("peak_fp8: {value: 5e15, kind: measured,", "peak_fp8: {value: 5e15, kind: told,",
         "about.figures.peak_fp8.kind: expected one of measured, derived, estimate, got 'told'"),
        ("source: isscc}\n    hbm_bytes:", "source: issc}\n    hbm_bytes:",
         "about.figures.sram_bytes.source: no such label in about.sources: 'issc'; add it there"),
        ('date: "2026-01-26"', "date: 2026-01-26",
         "about.sources.microsoft.date: expected a name, got datetime.date(2026, 1, 26)"),
        ('date: "2026-01-26"', 'date: "26 January"',
         'about.sources.microsoft.date: expected "YYYY", "YYYY-MM" or "YYYY-MM-DD"'),
        ("  limits:\n", "  limit:\n", "about.limit: unknown key; known here: summary"),
        ("  limits:\n", "  limits: none\n  conflict:\n", "about.conflict: unknown key"),
    ],
)  # fmt: skip
def test_a_bad_about_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert TEXT.count(old) == 1
    path = tmp_path / "c.yaml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ChipError) as caught:
        load_chip(path)
    assert str(caught.value).startswith(f"c.yaml: {expected}")


def test_about_changes_nothing_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TEXT[: TEXT.index("about:\n")])
    assert load_about(path) is None
    assert load_chip(path) == load_chip("maia-200")


@pytest.mark.parametrize("name", known_chips())
def test_every_chip_of_the_package_loads_with_its_about(name: str) -> None:
    about = load_about(name)
    assert about is None or about.summary


def test_a_variation_without_hbm_is_known_by_its_name() -> None:
    from emulator.explore.placement import part_of

    slower = load_chip("hardwired").with_(clock_hz=1e9)
    assert part_of(slower).weights == "hardwired"
    assert part_of(load_chip("t1").with_(name="mine")).about is None


@pytest.mark.parametrize("name", [name for name in PUBLISHED if load_chip(name).hbm.bytes])
def test_a_decode_step_is_timed_on_every_preset_with_hbm(name: str) -> None:
    """Llama 3.2 1B from its config alone, one token at a context of 1,024."""
    from compiler.api import compile_config
    from compiler.config import ModelConfig
    from compiler.options import Options
    from emulator.decoder import Decoder, Request
    from emulator.fast.machine import FastMachine
    from emulator.fold import fold_of
    from emulator.meter import Meter

    chip, config = load_chip(name), ModelConfig.load(CONFIGS / "llama-3.2-1b")
    program = compile_config(config, chip, Options(context=2048))
    fold = fold_of(program, 4)
    short = fold.program(program)
    meter = Meter(short, chip, fold=fold)
    decoder = Decoder(FastMachine(short, chip, timing_only=True), meter)
    sequence = decoder.open()
    sequence.length = 1023
    meter.prefill_done()
    decoder.step([Request(sequence, [1])])
    found = meter.result(0)
    bounds = found["bounds"]["decode"]
    assert bounds["cycles"] >= bounds[bounds["largest"]] > 0
    # Every weight meets the token once, whatever the chip: all parameters but the norms' gains.
    assert found["work"]["decode"]["macs"]["fp8 x fp4"] == 1_235_814_400 - 33 * 2048
