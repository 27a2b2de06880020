"""TPU v3: one core's cycles, from PyTorchSim. The first row of each family is fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from compiler.operators import attention, gemm, layernorm, softmax
from emulator.validate.case import Case, Predict, Set
from emulator.validate.facts import read
from emulator.validate.predict import cycles
from isa.chip import Chip
from isa.program import Program

CHIP = "tpu-v3-core"
CITATION = "PyTorchSim's artifact, experiments/artifact/baseline_cycle.csv"
SIMULATORS = ("mNPUSim", "Timeloop", "Maestro", "SCALE-Sim v3", "TOGSim(Ours)")
RENAMED = {"TOGSim(Ours)": "PyTorchSim"}
#: BERT: hidden size and heads as published with the models; the rest is our assumption.
BERT = {"bert_base": (768, 12), "bert_large": (1024, 16), "bert_xlarge": (2048, 32)}
SEQUENCE = 512
OTHERS = (
    "PyTorchSim reports a mean absolute error of 11.5 % on TPU v3, LLMCompass 10.9 % per operator"
)

Builder = Callable[[Chip], Sequence[Program]]


def gemms(_: Path | None) -> Set:
    """The four square products."""
    return Set(
        "tpu-v3-gemm",
        "TPU v3, square BF16 products",
        CHIP,
        "cycles",
        CITATION,
        tuple(_cases(("gemm",), fitting=True)),
        (OTHERS,),
    )


def vectors(_: Path | None) -> Set:
    """Layer normalisation, softmax, attention."""
    return Set(
        "tpu-v3-vector",
        "TPU v3, layer normalisation, softmax and attention",
        CHIP,
        "cycles",
        CITATION,
        tuple(_cases(("layernorm", "softmax", "attention"), fitting=True)),
        ("attention is of heads x positions x dimensions, a whole sequence against itself", OTHERS),
    )


def networks(_: Path | None) -> Set:
    """BERT under an assumption; convolutions and ResNet cannot be expressed."""
    return Set(
        "tpu-v3-network",
        "TPU v3, parts of networks",
        CHIP,
        "cycles",
        CITATION,
        tuple(_cases(("conv", "resnet", "bert"), fitting=False)),
        (
            f"assumed: a BERT row is one encoder layer at {SEQUENCE} positions, hidden sizes 768, "
            "1024 and 2048:",
            "seven operators one after the other, each launched by itself (QKV, attention, output,",
            "norm, two of FFN, norm); bias, GELU and residual are left out",
        ),
    )


def _cases(families: tuple[str, ...], fitting: bool) -> Iterator[Case]:
    seen = set()
    for row in read("tpu_v3.csv"):
        name = row["Workload"]
        family = next((f for f in families if name.startswith(f)), None)
        if family is None:
            continue
        others = {RENAMED.get(s, s): float(row[s]) for s in SIMULATORS if row[s]}
        predict, note = _prediction(name)
        first = fitting and family not in seen
        seen.add(family)
        yield Case(name, float(row["TPUv3"]), predict, others, first, note=note)


def _prediction(name: str) -> tuple[Predict | None, str]:
    """How a row is predicted; or that it is not, and why."""
    family, _, size = name.partition("_")
    numbers = [int(part) for part in size.split("x") if part.isdigit()]
    if family == "gemm":
        m, n, k = numbers
        return _of(lambda chip: [gemm(chip, m, n, k, layout="blocks")]), ""
    if family in ("layernorm", "softmax"):
        operator = layernorm if family == "layernorm" else softmax
        rows, width = numbers
        return _of(lambda chip: [operator(chip, rows, width)]), ""
    if family == "attention":
        heads, sequence, dim = numbers
        return _of(lambda chip: [attention(chip, heads, sequence, dim)]), ""
    if family == "bert":
        hidden, heads = BERT[name]
        return _of(lambda chip: _encoder(chip, hidden, heads)), "assumption above"
    return None, "not expressible: the ISA has no convolution"


def _of(build: Builder) -> Predict:
    return lambda chip: sum(cycles(program, chip) for program in build(chip))


def _encoder(chip: Chip, hidden: int, heads: int) -> list[Program]:
    """One encoder layer of BERT."""
    norm = layernorm(chip, SEQUENCE, hidden)
    return [
        gemm(chip, SEQUENCE, 3 * hidden, hidden, layout="blocks"),
        attention(chip, heads, SEQUENCE, hidden // heads),
        gemm(chip, SEQUENCE, hidden, hidden, layout="blocks"),
        norm,
        gemm(chip, SEQUENCE, 4 * hidden, hidden, layout="blocks"),
        gemm(chip, SEQUENCE, hidden, 4 * hidden, layout="blocks"),
        norm,
    ]
