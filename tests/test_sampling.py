"""Tokens drawn on the chip are those the contract draws from the step's own logits (section 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from decoder_runs import SMALL, Model, mini, same
from graph_model import LOG2E, Numeric

from emulator.decoder import Decoder, Machine, Request, Sequence
from emulator.errors import InputError
from emulator.fast import FastMachine
from emulator.reference.arith import F32, add, exp2, from_bits, mul, sub
from emulator.reference.machine import ReferenceMachine
from emulator.sampling import Greedy, Sampling, Seeded, sampling
from isa.chip import Chip, load_chip

NUMERIC = Numeric("mxfp8", "bf16")
ALMOST_ONE = 0x3F7FFFFF  # the largest u: 1 - 2^-24


# ---- the contract's drawing, plainly


def ranked(logits: F32) -> list[int]:
    """Tokens in rank order: NaN > +Inf > ... > +0 > -0 > ... > -Inf, ties to the lowest."""

    def key(token: int) -> tuple[bool, float, bool, int]:
        value = float(logits[token])
        if np.isnan(value):
            return (False, 0.0, False, token)
        return (True, -value, bool(np.signbit(value)), token)

    return sorted(range(len(logits)), key=key)


def draw(logits: F32, inverse: int, u: int, k: int) -> int:
    """The token drawn from logits[vocabulary] with RNE(L / T) and u as patterns."""
    best = ranked(logits)[:k]
    kept = logits[best]
    p = exp2(mul(sub(kept, kept[:1]), from_bits(inverse)))
    sums = [p[0]]
    for value in p[1:]:
        sums.append(add(sums[-1], value))
    bound = mul(from_bits(u), sums[-1])
    above = [index for index, total in enumerate(sums) if total > bound]
    return best[above[0] if above else -1]


@dataclass
class Recorded:
    """A sampling that remembers what it asked for."""

    of: Sampling
    asked: list[tuple[int, int, int]] = field(default_factory=list)

    def words(self, top_k: int) -> tuple[int, int, int]:
        """Parameters of the next draw."""
        self.asked.append(self.of.words(top_k))
        return self.asked[-1]


@dataclass(frozen=True)
class Fixed:
    """Always the same parameters."""

    inverse: int
    u: int
    k: int

    def words(self, top_k: int) -> tuple[int, int, int]:
        """Parameters of the next draw."""
        return (self.inverse, self.u, self.k)


class Drawing:
    """A decoder whose every draw is compared with the contract's."""

    def __init__(self, machine: Machine) -> None:
        self.decoder = Decoder(machine)
        self.drawn: list[int] = []
        self.logits: list[F32] = []

    def step(self, *parts: tuple[Sequence, list[int], int, Sampling]) -> list[int]:
        """One step of (sequence, tokens, wanted rows, sampling); the tokens drawn."""
        samplings = [Recorded(part[3]) for part in parts]
        requests = [
            Request(sequence, tokens, rows, recorded)
            for (sequence, tokens, rows, _), recorded in zip(parts, samplings, strict=True)
        ]
        result = self.decoder.step(requests, with_logits=True)
        assert result.logits is not None
        asked = [words for recorded in samplings for words in recorded.asked]
        want = [draw(row, *words) for row, words in zip(result.logits, asked, strict=True)]
        assert result.tokens == want
        self._check_ranks(result.logits)
        self.drawn += result.tokens
        self.logits.append(result.logits)
        return result.tokens

    def _check_ranks(self, logits: F32) -> None:
        """The candidates that the host may read are those of highest rank."""
        k = self.decoder.capacity["top_k"]
        ids, values = (self.decoder.machine.read(name) for name in ("ranked_ids", "ranked"))
        for row, one in enumerate(logits):
            best = ranked(one)[:k]
            same("candidates", ids[row], np.array(best, ids.dtype))
            same("their logits", values[row], one[best].view(values.dtype))

    def write(self, prompt: list[int], count: int, how: Sampling) -> list[int]:
        """A generation of `count` tokens."""
        sequence = self.decoder.open()
        tokens = self.step((sequence, prompt, 1, how))
        for _ in range(count - 1):
            tokens += self.step((sequence, tokens[-1:], 1, how))
        self.decoder.close(sequence)
        return tokens


# ---- models


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Model]:
    """A model with a vocabulary of some size."""
    made: dict[int, Model] = {}

    def get(vocab: int) -> Model:
        if vocab not in made:
            config = SMALL["llama"] | {"vocab_size": vocab}
            made[vocab] = Model.make(tmp_path_factory.mktemp("model"), config)
        return made[vocab]

    return get


def fast(model: Model, chip: Chip, top_k: int) -> FastMachine:
    """A machine for three sequences."""
    program = model.compile(chip, NUMERIC, rows=12, sequences=3, context=128, top_k=top_k)
    return FastMachine(program, chip)


#: vocabulary, chip, candidates: fewer columns than tiles, than candidates, than a panel
SHAPES: dict[str, tuple[int, Callable[[], Chip], int]] = {
    "1 tile": (67, lambda: mini(1, 1), 20),
    "4 tiles": (67, lambda: mini(2, 2), 40),
    "3 tiles, all tokens": (50, lambda: mini(1, 3), 64),
    "64 tiles, 5 panels": (67, lambda: load_chip("t1"), 12),
    "fewer tokens than tiles": (3, lambda: mini(2, 2), 40),
    "less than a panel": (11, lambda: mini(2, 2), 5),
    "one candidate": (67, lambda: mini(2, 2), 1),
    "a larger vocabulary": (1201, lambda: mini(2, 3), 40),
    "ranked in two parts": (5000, lambda: mini(2, 2), 20),
}


# ---- drawing


@pytest.mark.parametrize("shape", SHAPES)
def test_draws(shape: str, model_of: Callable[[int], Model]) -> None:
    vocab, chip, top_k = SHAPES[shape]
    model = model_of(vocab)
    machine = fast(model, chip(), top_k)
    parts = 2 if shape == "ranked in two parts" else 1
    assert machine.program.metadata["plan"]["rankings"] == parts
    drawing = Drawing(machine)
    most = min(top_k, vocab)
    for index, temperature in enumerate((0.05, 0.7, 1.0, 3.0, 1000.0, 0.001)):
        how = Seeded(temperature, max(1, most - index), index)
        drawing.write(model.text(4, index), 8, how)
    drawing.write(model.text(4), 8, Greedy())
    assert len(set(drawing.drawn)) > min(vocab, 20) // 2


@pytest.mark.parametrize("u", [0, 1, 0x33800000, 0x3F000000, ALMOST_ONE])
def test_edges_of_the_uniform_number(u: int, model_of: Callable[[int], Model]) -> None:
    model = model_of(67)
    drawing = Drawing(fast(model, mini(), 8))
    for k in (1, 2, 8):
        for inverse in (0x00000000, 0x3A000000, 0x3FB8AA3B, 0x7F7FFFFF):
            drawing.write(model.text(3, k), 2, Fixed(inverse, u, k))


def test_rows_of_one_step_draw_for_themselves(model_of: Callable[[int], Model]) -> None:
    """Each row has its own parameters, and other sequences change nothing."""
    model = model_of(67)
    drawing = Drawing(fast(model, mini(), 16))
    texts = [model.text(3, seed) for seed in range(3)]
    hows: list[Callable[[], Sampling]] = [
        Greedy,
        lambda: Seeded(0.9, 16, 5),
        lambda: Seeded(2.0, 3, 5, stream=1),
    ]
    alone = [drawing.write(text, 6, how()) for text, how in zip(texts, hows, strict=True)]
    sequences = [drawing.decoder.open() for _ in texts]
    samplings = [how() for how in hows]
    tokens, together = texts, []
    for _ in range(6):
        parts = zip(sequences, tokens, samplings, strict=True)
        drawn = drawing.step(*[(s, t, 1, how) for s, t, how in parts])
        together.append(drawn)
        tokens = [[token] for token in drawn]
    assert [list(row) for row in zip(*together, strict=True)] == alone


def test_several_rows_of_one_sequence(model_of: Callable[[int], Model]) -> None:
    drawing = Drawing(fast(model_of(67), mini(), 8))
    drawing.step((drawing.decoder.open(), [5, 6, 7, 8], 3, Seeded(1.5, 8, 3)))


def test_the_reference_draws_alike(model_of: Callable[[int], Model]) -> None:
    model, chip = model_of(67), mini(2, 1)
    program = model.compile(chip, NUMERIC, rows=4, sequences=3, context=128, top_k=8)
    Drawing(ReferenceMachine(program, chip)).write(model.text(3), 3, Seeded(1.2, 6, 1))


# ---- ties and odd logits


@pytest.fixture
def tied(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Every logit occurs for several tokens, far from one another."""
    model = Model.make(tmp_path_factory.mktemp("tied"), SMALL["llama"])
    rows = np.arange(model.config["vocab_size"]) * 5 % 13
    model.replace({"lm_head.weight": model.weights["lm_head.weight"][rows]})
    return model


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_ties_go_to_the_lowest_token(tiles: int, tied: Model) -> None:
    drawing = Drawing(fast(tied, mini(1, tiles), 40))
    drawn = drawing.write(tied.text(5), 12, Greedy())
    assert max(drawn) < 13
    drawing.write(tied.text(5), 12, Seeded(2.0, 40, 1))


def test_equal_logits(tmp_path: Path) -> None:
    model = Model.make(tmp_path, SMALL["llama"])
    model.replace({"lm_head.weight": np.zeros_like(model.weights["lm_head.weight"])})
    drawing = Drawing(fast(model, mini(), 9))
    assert drawing.write([3, 4], 3, Greedy()) == [0, 0, 0]
    assert set(drawing.write([3, 4], 30, Seeded(1.0, 9, 1))) == set(range(9))


def test_infinite_logits_and_nans(tmp_path: Path) -> None:
    model = Model.make(tmp_path, SMALL["llama"])
    head = model.weights["lm_head.weight"]
    head[1:30:3] = np.copysign(np.float32(3e38), head[1:30:3])
    model.replace({"lm_head.weight": head})
    drawing = Drawing(fast(model, mini(), 9))
    for seed in range(12):
        drawing.write(model.text(3, seed), 2, Greedy())
        drawing.write(model.text(3, seed), 2, Seeded(1.0, 9, seed))
    logits = np.concatenate(drawing.logits)
    kinds = np.isnan(logits), logits == np.inf, logits == -np.inf, np.isfinite(logits)
    assert all(kind.any() for kind in kinds)


# ---- the host's part, and the oracle's


@pytest.mark.parametrize("temperature", [1e-3, 0.1, 0.5, 0.7, 0.8, 1.0, 1.3, 7.0, 1e3])
def test_the_inverse_temperature_is_rounded_once(temperature: float) -> None:
    with localcontext(prec=60):
        exact = Decimal(float(LOG2E)) / Decimal(temperature)
        got = from_bits(Seeded(temperature, 1, 0).inverse)
        error = abs(Decimal(float(got)) - exact)
        neighbours = (np.nextafter(got, np.float32(to)) for to in (0, np.inf))
        assert all(error <= abs(Decimal(float(other)) - exact) for other in neighbours)


def test_uniform_numbers() -> None:
    first, again, other = (Seeded(1.0, 3, 8, stream) for stream in (0, 0, 1))
    words = [first.words(3) for _ in range(2000)]
    assert words == [again.words(3) for _ in range(2000)]
    assert words != [other.words(3) for _ in range(2000)]
    u = from_bits(np.array([word[1] for word in words], np.uint32))
    assert u.min() >= 0 and u.max() < 1 and len(set(u.tolist())) > 1990
    assert abs(float(u.mean()) - 0.5) < 0.03
    assert np.array_equal(u * 2**24, np.round(u * 2**24))


def test_what_cannot_be_drawn_is_refused(model_of: Callable[[int], Model]) -> None:
    drawing = Drawing(fast(model_of(67), mini(), 4))
    with pytest.raises(InputError, match="top-k 5 is beyond the 4"):
        drawing.step((drawing.decoder.open(), [1], 1, Seeded(1.0, 5, 0)))
    for temperature, top_k in ((1e-4, 1), (1e4, 1), (-1.0, 1), (1.0, 0)):
        with pytest.raises(InputError):
            Seeded(temperature, top_k, 0)
    assert isinstance(sampling(0, 40, 1), Greedy)


def test_the_plain_drawing_follows_the_distribution() -> None:
    logits = np.array([0.5, 2.0, -1.0, 2.0, 1.25, -4.0], np.float32)
    assert ranked(logits) == [1, 3, 4, 0, 2, 5]
    count, k, temperature = 4096, 4, 0.7
    inverse = Seeded(temperature, k, 0).inverse
    us = (np.arange(count, dtype=np.float32) / np.float32(count)).view(np.uint32)
    drawn = [draw(logits, inverse, int(u), k) for u in us]
    weights = np.exp(logits[[1, 3, 4, 0]].astype(np.float64) / temperature)
    shares = [drawn.count(token) / count for token in (1, 3, 4, 0)]
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=2 / count)
