"""Energy, area and cost: published figures come out again, ledgers sum, and more is never less."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.explore.economics.area import area, fp8_macs, modelled_area
from emulator.explore.economics.counts import WEIGHT_CLASSES, Counts
from emulator.explore.economics.energy import ceiling_pj_per_mac, energy, peak_power, sram_byte
from emulator.explore.economics.evaluate import Done, evaluate_phases
from emulator.explore.economics.ledger import Entry, Ledger
from emulator.explore.economics.making import making, price
from emulator.explore.economics.part import Part
from emulator.explore.economics.running import hour, hours_for, usd_per_million_tokens
from emulator.explore.economics.silicon import die_yield, dies_per_wafer, good_dies
from emulator.explore.economics.technology import YIELD_MODELS, load_technology
from emulator.explore.economics.values import EconomicsError
from isa.chip import load_chip
from isa.chip_about import About, Figure, Source

TECHNOLOGY = load_technology()
T1 = Part.load("t1")
PERCENT = 0.01

# ---- published figures, to within 1 %


def test_amd_cost_of_a_million_tokens() -> None:
    """0.173 USD at 129 tokens/s of a user: 1.48 USD an hour, 2,378 tokens/s of a GPU."""
    assert usd_per_million_tokens(1.48, 2378) == pytest.approx(0.173, rel=PERCENT)


def test_deepseek_day() -> None:
    """608 billion tokens in, 168 billion out: 226.75 nodes of eight GPUs at 2 USD for 24 hours."""
    hours = hours_for(608e9, 168e9, 73.7e3, 14.8e3)
    assert hours == pytest.approx(5444.7, rel=1e-4)
    assert hours == pytest.approx(5442, rel=PERCENT)
    node = 8 * 2.0
    cost = (
        usd_per_million_tokens(node, 73.7e3) * 608e3 + usd_per_million_tokens(node, 14.8e3) * 168e3
    )
    assert cost == pytest.approx(87_072, rel=PERCENT)
    revenue = 342e3 * 0.14 + (608e3 - 342e3) * 0.55 + 168e3 * 2.19  # USD a million, R1's prices
    assert revenue == pytest.approx(562_027, rel=PERCENT)
    assert (revenue - cost) / cost == pytest.approx(5.45, rel=PERCENT)


@pytest.mark.parametrize(
    ("watts", "terabytes", "petaflops", "picojoules"),
    [
        (700, 3.35, 1.979, 0.60),  # H100, FP8
        (1000, 8.0, 4.5, 0.33),  # B200, FP8
        (1000, 8.0, 9.0, 0.17),  # B200, FP4
        (750, 7.0, 5.0, 0.21),  # Maia 200, FP8
        (750, 7.0, 10.0, 0.11),  # Maia 200, FP4
    ],
)
def test_ceilings_of_a_mac(
    watts: float, terabytes: float, petaflops: float, picojoules: float
) -> None:
    found = ceiling_pj_per_mac(watts, terabytes * 1e12, petaflops * 1e15, TECHNOLOGY)
    assert found == pytest.approx(picojoules, abs=0.005)  # published with two digits


def test_a_mac_is_below_the_ceilings_of_real_chips() -> None:
    mac, n3, n5 = TECHNOLOGY.energy.mac, TECHNOLOGY.node("n3"), TECHNOLOGY.node("n5")
    assert mac.fp8_fp8.value * n3.dynamic.value < 0.21  # Maia 200
    assert mac.fp4_fp4.value * n3.dynamic.value < 0.11
    assert mac.fp8_fp8.value * n5.dynamic.value < 0.33  # B200
    assert mac.fp4_fp4.value * n5.dynamic.value < 0.17


def test_published_constants() -> None:
    nodes, cost = TECHNOLOGY.nodes, TECHNOLOGY.cost
    assert TECHNOLOGY.energy.hbm.value / 8 == pytest.approx(3.9, rel=PERCENT)  # pJ a bit
    assert nodes["n5"].dynamic.value == 0.70
    assert nodes["n3"].dynamic.value == pytest.approx(0.70 * 0.68, rel=PERCENT)
    assert [nodes[name].wafer.value for name in ("n7", "n5")] == [9346, 16988]
    assert 18_000 <= nodes["n3"].wafer.value <= 20_000
    assert nodes["n5"].sram_cell.value == nodes["n3"].sram_cell.value == 0.021
    assert cost.hbm.value * 192 == pytest.approx(2900, rel=PERCENT)  # B200, Epoch AI


def test_servers_take_what_all_in_power_leaves() -> None:
    """All-in kW of an hour of H100, B200 and MI355X, over the PUE, less the part's own power."""
    parts = ((1730, 700), (2170, 1000), (2650, 1400))
    left = [all_in / TECHNOLOGY.operation.pue.value - own for all_in, own in parts]
    assert TECHNOLOGY.operation.server.value == pytest.approx(sum(left) / 3, rel=PERCENT)


def test_a_b200_costs_what_epoch_ai_estimates() -> None:
    """5,700 to 7,300 USD; compute dies 720 to 1,200."""
    chip = load_chip("h200-like").with_(**{"hbm.bytes": 192e9, "hbm.stacks": 8})
    sources = {"nvidia": Source("NVIDIA, Blackwell", "2024")}
    figures = {
        "die_mm2": Figure(1600, "measured", "nvidia"),
        "dies": Figure(2, "measured", "nvidia"),
    }
    found = making(Part(chip, About("B200", "n5", "hbm", sources, figures)), TECHNOLOGY)
    assert 5700 <= found.total <= 7300
    assert 720 <= found.entry("compute dies").value <= 1200


# ---- ledgers

AMOUNTS = st.integers(0, 10**18).map(float)
COUNTS = st.builds(
    Counts,
    seconds=st.floats(1e-9, 1e3),
    macs=st.dictionaries(st.sampled_from(["bf16 x bf16", "fp8 x fp4", "fp4 x fp4"]), AMOUNTS),
    vector_elements=AMOUNTS,
    instructions=AMOUNTS,
    tsram=AMOUNTS,
    acc=AMOUNTS,
    csram=AMOUNTS,
    noc_byte_hops=AMOUNTS,
    hbm=st.dictionaries(st.sampled_from(["weights", "scales", "kv", "io"]), AMOUNTS),
    scale_up=AMOUNTS,
)


def times(counts: Counts, factor: float) -> Counts:
    """The same work so many times over."""
    scaled = {
        field.name: {key: item * factor for key, item in value.items()}
        if isinstance(value := getattr(counts, field.name), dict)
        else value * factor
        for field in fields(counts)
    }
    return Counts(**scaled)


def values(ledger: Ledger) -> dict[str, float]:
    return {entry.name: entry.value for entry in ledger.entries}


@given(COUNTS)
def test_energy_sums_to_its_total(counts: Counts) -> None:
    ledger = energy(counts, T1, TECHNOLOGY)
    assert ledger.total == math.fsum(values(ledger).values())
    assert all(value >= 0 for value in values(ledger).values())
    assert len(values(ledger)) == len(ledger.entries)  # names are unique
    assert ledger.json["total"] == math.fsum(row["value"] for row in ledger.json["entries"])


@given(COUNTS, st.sampled_from([2.0, 3.0, 0.5]))
def test_energy_is_linear_in_the_counts(counts: Counts, factor: float) -> None:
    once, more = energy(counts, T1, TECHNOLOGY), energy(times(counts, factor), T1, TECHNOLOGY)
    for name, value in values(once).items():
        assert values(more)[name] == pytest.approx(value * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("field", "entry"),
    [("tsram", "TSRAM"), ("acc", "ACC"), ("csram", "CSRAM"), ("noc_byte_hops", "NoC"),
     ("scale_up", "scale-up"), ("vector_elements", "vector"), ("instructions", "control")],
)  # fmt: skip
@given(AMOUNTS.filter(bool))
def test_doubling_bytes_doubles_that_entry_alone(field: str, entry: str, amount: float) -> None:
    counts = Counts(seconds=1.0, **{field: amount})
    once = values(energy(counts, T1, TECHNOLOGY))
    twice = values(energy(replace(counts, **{field: 2 * amount}), T1, TECHNOLOGY))
    assert twice.pop(entry) == 2 * once.pop(entry) > 0
    assert once == twice


def test_hbm_bytes_are_entries_by_class() -> None:
    counts = Counts(hbm={"weights": 1e9, "kv": 2e9})
    found = values(energy(counts, T1, TECHNOLOGY))
    assert found["HBM weights"] == pytest.approx(1e9 * 8 * 3.9e-12)
    assert found["HBM kv"] == 2 * found["HBM weights"]


def test_hardwired_weights_are_never_moved() -> None:
    counts = Counts(seconds=1, hbm={"weights": 1e9, "scales": 1e8, "kv": 1e6})
    found = values(energy(counts, Part.load("hardwired"), TECHNOLOGY))
    assert not any(f"HBM {name}" in found for name in WEIGHT_CLASSES)
    assert found["HBM kv"] > 0


def test_a_negative_entry_is_refused() -> None:
    bad = Entry("x", -1, "byte", 1, "per byte", -1, "derived", "")
    with pytest.raises(EconomicsError, match="x: -1 J makes no sense"):
        Ledger("energy", "J", (bad,))


def test_an_unknown_pair_of_widths_is_named() -> None:
    with pytest.raises(EconomicsError, match="'fp8 x int8' is no pair"):
        energy(Counts(macs={"fp8 x int8": 1}), T1, TECHNOLOGY)


@given(st.floats(1, 1e9), st.floats(1, 1e9))
def test_larger_banks_never_take_less(a: float, b: float) -> None:
    small, large = sorted((a, b))
    numbers = TECHNOLOGY.energy.sram
    assert sram_byte(numbers, small).value <= sram_byte(numbers, large).value
    ends = (numbers.at_8_kib.value, numbers.at_1_mib.value)
    assert ends[0] <= sram_byte(numbers, a).value <= ends[1]


def test_wider_operands_never_take_less() -> None:
    mac = TECHNOLOGY.energy.mac
    order = (mac.fp4_fp4, mac.fp8_fp4, mac.fp8_fp8, mac.bf16_fp8, mac.bf16_bf16)
    assert [value.value for value in order] == sorted(value.value for value in order)


# ---- area and cost


SIZES = {
    "tile.tsram.bytes": st.integers(1 << 16, 1 << 21),
    "cluster.csram.bytes": st.integers(0, 1 << 25),
    "tile.acc.bytes": st.integers(1 << 16, 1 << 20),
    "tile.mxu.rows": st.sampled_from([32, 64, 128, 256]),
    "tile.vpu.lanes": st.integers(1, 512),
    "hbm.stacks": st.integers(1, 8),
    "hbm.bytes": st.integers(1 << 30, 1 << 38),
    "scale_up.links": st.integers(0, 40),
}


@pytest.mark.parametrize("key", SIZES)
@given(data=st.data())
def test_more_of_anything_never_makes_a_chip_smaller_or_cheaper(
    key: str, data: st.DataObject
) -> None:
    small, large = sorted(data.draw(st.tuples(SIZES[key], SIZES[key])))
    less, more = (Part(T1.chip.with_(**{key: value})) for value in (small, large))
    assert area(less, TECHNOLOGY).total <= area(more, TECHNOLOGY).total
    assert price(less, TECHNOLOGY).total <= price(more, TECHNOLOGY).total * (1 + 1e-12)


def test_more_of_what_is_built_makes_a_chip_larger() -> None:
    for key, value in (("tile.tsram.bytes", 2 << 20), ("tile.mxu.rows", 256), ("hbm.stacks", 8)):
        assert area(T1.varied(T1.chip.with_(**{key: value})), TECHNOLOGY).total > (
            area(T1, TECHNOLOGY).total
        )


@pytest.mark.parametrize("name", ["t1", "maia-200", "lpu-sram", "h200-like"])
def test_area_and_price_sum(name: str) -> None:
    part = Part.load(name)
    for ledger in (area(part, TECHNOLOGY), price(part, TECHNOLOGY), peak_power(part, TECHNOLOGY)):
        assert ledger.total == math.fsum(entry.value for entry in ledger.entries) > 0
    made, margin = making(part, TECHNOLOGY).total, TECHNOLOGY.cost.margin.value
    assert price(part, TECHNOLOGY).total * (1 - margin) == pytest.approx(made)


def test_a_published_die_is_kept_and_what_no_model_knows_stays() -> None:
    part = Part.load("maia-200")
    assert area(part, TECHNOLOGY).total == pytest.approx(820)
    larger = part.varied(part.chip.with_(**{"cluster.csram.bytes": 2 * 24 * 2**20}))
    node = TECHNOLOGY.node("n3")
    added = (
        modelled_area(larger.chip, TECHNOLOGY, node).total
        - modelled_area(part.chip, TECHNOLOGY, node).total
    )
    assert added > 0
    assert area(larger, TECHNOLOGY).total == pytest.approx(820 + added)


def test_narrower_rates_cost_area_once() -> None:
    """BF16 at half the rate of FP8 takes the multipliers that FP8 has."""
    base = fp8_macs(T1.chip)
    assert base == 64 * 128 * 128
    assert fp8_macs(T1.chip.with_(**{"tile.mxu.rates.bf16.bf16": 1.0})) == 2 * base
    assert fp8_macs(T1.chip.with_(**{"tile.mxu.rates.fp4.fp4": 4.0})) == 2 * base


def test_a_die_beyond_the_reticle_is_refused() -> None:
    part = Part(T1.chip.with_(**{"cluster.csram.bytes": 1 << 28}))
    with pytest.raises(EconomicsError, match=r"beyond the reticle of 858 mm2; make the chip"):
        making(part, TECHNOLOGY)


@given(st.floats(0.01, 858), st.sampled_from(YIELD_MODELS), st.floats(0, 10))
def test_yield_is_a_share(mm2: float, model: str, defects: float) -> None:
    cost = replace(TECHNOLOGY.cost, yield_model=model)
    n5 = TECHNOLOGY.node("n5")
    node = replace(n5, defects=replace(n5.defects, value=defects))
    assert 0 < die_yield(mm2, cost, node) <= 1
    assert die_yield(mm2 / 2, cost, node) >= die_yield(mm2, cost, node)


def test_yield_models_by_hand() -> None:
    """One square centimetre, no repair, one defect on average: textbook values."""
    cost = replace(TECHNOLOGY.cost, repairable=replace(TECHNOLOGY.cost.repairable, value=0.0))
    n5 = TECHNOLOGY.node("n5")
    node = replace(n5, defects=replace(n5.defects, value=1.0))
    wanted = {
        "poisson": math.exp(-1),
        "murphy": (1 - math.exp(-1)) ** 2,
        "seeds": 0.5,
        "negative_binomial": (4 / 3) ** -3,
    }
    for model, value in wanted.items():
        assert die_yield(100, replace(cost, yield_model=model), node) == pytest.approx(value)


@given(st.floats(0.1, 858), st.floats(0.1, 858))
def test_smaller_dies_are_more(a: float, b: float) -> None:
    small, large = sorted((a, b))
    assert dies_per_wafer(small, TECHNOLOGY.cost) >= dies_per_wafer(large, TECHNOLOGY.cost)
    node = TECHNOLOGY.node("n3")
    assert good_dies(small, TECHNOLOGY, node) >= good_dies(large, TECHNOLOGY, node) > 0


# ---- hours and tokens


@given(st.floats(0, 2000), st.floats(0, 500), st.floats(0, 1e5))
def test_an_hour_sums_and_grows_with_power_and_price(
    working: float, idle: float, usd: float
) -> None:
    base = hour(usd, working, idle, TECHNOLOGY)
    assert base.total == math.fsum(entry.value for entry in base.entries)
    assert hour(usd, working + 1, idle, TECHNOLOGY).total > base.total
    assert hour(usd + 1, working, idle, TECHNOLOGY).total > base.total


def test_tokens_cost_by_the_rate() -> None:
    assert usd_per_million_tokens(3.6, 1000) == pytest.approx(1.0)
    assert usd_per_million_tokens(3.6, 1000, 0.5) == pytest.approx(2.0)
    for rate, busy in ((0, 1), (10, 0), (10, 1.5)):
        with pytest.raises(EconomicsError, match="cost without end"):
            usd_per_million_tokens(1, rate, busy)


def test_a_phase_by_hand() -> None:
    """One second, ten tokens, a gigabyte of weights: joules and rates follow."""
    counts = Counts(seconds=1.0, hbm={"weights": 1e9})
    found = evaluate_phases(T1, TECHNOLOGY, decode=Done(counts, 10))
    joules = energy(counts, T1, TECHNOLOGY).total
    assert found.metrics["decode_watts"] == joules
    assert found.metrics["joules_per_output_token"] == joules / 10
    assert found.metrics["tokens_per_second_per_watt"] == 10 / joules
    assert found.metrics["input_tokens_per_second"] is None
    per_hour = found.ledgers["decode hour"].total
    busy = TECHNOLOGY.operation.utilisation.value
    assert found.metrics["usd_per_million_output_tokens"] == pytest.approx(
        per_hour / (10 * 3600 * busy) * 1e6
    )
