"""HBM bytes of one decoder step, by class of tensor, without running or compiling anything.

    step = Step((Segment(start=40, count=1), Segment(start=7, count=3)), wanted=2)
    plan = Plan.of(program)
    traffic(config, numeric, step, plan)        # what the program moves: {class: [read, written]}
    compulsory(config, numeric, step)           # what no program could avoid

Everything follows from the model's config.json, the number formats, which positions the step's rows
have, and a few factors that the program records (`Plan`). Nothing is taken from the compiler.

The stored form of a matrix [N, K] is part of the formats: panels of 16 columns, so N is padded to
16; K padded to 32, so that block scales never straddle; gate and up interleaved by panels. Norm
gains, biases, column factors and the RoPE table are FP32, the embedding BF16. The KV cache is kept
in pages of 128 positions, and a page is read from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from isa.program import Program

Config = dict[str, Any]
Bytes = dict[str, list[int]]  #: class of tensor -> bytes read, bytes written

PANEL, DEPTH, PAGE = 16, 32, 128
BITS = {"mxfp4": 4, "nvfp4": 4, "mxfp8": 8, "fp8": 8, "bf16": 16}
BLOCK = {"mxfp4": 32, "nvfp4": 16, "mxfp8": 32}  #: elements that share a scale byte
COLUMN_FACTORS = ("nvfp4", "fp8")  #: weights with an FP32 factor for every column
READ, WRITTEN = 0, 1


@dataclass(frozen=True)
class Segment:
    """Rows of one sequence: `count` consecutive positions from `start`."""

    start: int
    count: int


@dataclass(frozen=True)
class Step:
    """What a step is about: its sequences' rows, and how many rows want logits."""

    segments: tuple[Segment, ...]
    wanted: int

    @property
    def rows(self) -> int:
        """Rows in all."""
        return sum(segment.count for segment in self.segments)


@dataclass(frozen=True)
class Plan:
    """What the program says of how the work is cut up; every field multiplies some traffic."""

    tiles: int
    block_panels: int  #: output panels for which a tile reads its input rows once
    attend_rows: int  #: rows of the score matrix (query rows times heads of a group) at once
    page_entries: int  #: of the page table
    top_k: int
    in_hbm: frozenset[str]  #: activation buffers that had no room in CSRAM
    early: bool  #: pages are read before the step's own rows are in the cache

    @classmethod
    def of(cls, program: Program) -> Plan:
        """The factors a program records."""
        chip, plan = program.chip.architecture, program.metadata["plan"]
        capacity = program.metadata["capacity"]
        return cls(
            chip["clusters"] * chip["tiles_per_cluster"],
            plan["block_panels"],
            plan["attend_rows"],
            capacity["sequences"] * capacity["blocks"],
            capacity["top_k"],
            frozenset(plan["hbm_buffers"]),
            plan["early_pages"],
        )


def up(value: int, multiple: int) -> int:
    """`value` rounded up to a multiple."""
    return -(-value // multiple) * multiple


# ---- the model's shapes


@dataclass(frozen=True)
class Matrix:
    """A weight matrix as stored: `n` columns that mean something, in `panels` panels."""

    n: int
    k: int
    panels: int
    biased: bool
    precision: str
    unit: int = 1  #: panels that one tile gets at least

    @property
    def weights(self) -> int:
        """Bytes of elements, and of biases."""
        data = self.panels * PANEL * up(self.k, DEPTH) * BITS[self.precision] // 8
        return data + (4 * PANEL * self.panels if self.biased else 0)

    @property
    def scales(self) -> int:
        """Bytes of block scales and column factors."""
        columns = self.panels * PANEL
        block = BLOCK.get(self.precision)
        in_blocks = columns * up(self.k, DEPTH) // block if block else 0
        return in_blocks + (4 * columns if self.precision in COLUMN_FACTORS else 0)


@dataclass(frozen=True)
class Shape:
    """The sizes in a config.json."""

    config: Config

    @property
    def hidden(self) -> int:
        """Width of the residual stream."""
        return int(self.config["hidden_size"])

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> int:
        """Query heads."""
        return int(self.config["num_attention_heads"])

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        return int(self.config.get("num_key_value_heads") or self.heads)

    @property
    def dim(self) -> int:
        """Width of a head."""
        return int(self.config.get("head_dim") or self.hidden // self.heads)

    @property
    def group(self) -> int:
        """Query heads of a KV head."""
        return self.heads // self.kv_heads

    @property
    def wide(self) -> int:
        """Width of all query heads."""
        return self.heads * self.dim

    @property
    def qkv(self) -> int:
        """Width of all heads of q, k and v."""
        return self.wide + 2 * self.kv_heads * self.dim

    @property
    def ffn(self) -> int:
        """Width of the MLP."""
        return int(self.config["intermediate_size"])

    @property
    def vocab(self) -> int:
        """Number of tokens there are."""
        return int(self.config["vocab_size"])

    @property
    def head_norms(self) -> bool:
        """Whether query and key heads are normalised."""
        return str(self.config["model_type"]) == "qwen3"

    def matrices(self, weights: str) -> dict[str, Matrix]:
        """A layer's matrices."""
        attention = bool(self.config.get("attention_bias"))
        qkv_bias = attention or self.config["model_type"] == "qwen2"
        mlp = bool(self.config.get("mlp_bias"))
        pairs = 2 * (up(self.ffn, PANEL) // PANEL)
        return {
            "qkv": self._single(self.qkv, self.hidden, qkv_bias, weights),
            "o": self._single(self.hidden, self.wide, attention, weights),
            "gate_up": Matrix(self.ffn, self.hidden, pairs, mlp, weights, unit=4),
            "down": self._single(self.hidden, self.ffn, mlp, weights),
        }

    def head(self, precision: str) -> Matrix:
        """The output matrix."""
        return self._single(self.vocab, self.hidden, False, precision)

    @staticmethod
    def _single(n: int, k: int, biased: bool, precision: str) -> Matrix:
        return Matrix(n, k, up(n, PANEL) // PANEL, biased, precision)

    def windows(self) -> list[int]:
        """Keys a query sees, by layer; 0: all before it."""
        window = int(self.config.get("sliding_window") or 0)
        family = self.config["model_type"]
        if family == "mistral":
            return [window] * self.layers
        if family == "llama" or not self.config.get("use_sliding_window"):
            return [0] * self.layers
        kinds = self.config.get("layer_types")
        if kinds is not None:
            return [window if kind == "sliding_attention" else 0 for kind in kinds]
        first = int(self.config["max_window_layers"])
        return [window if layer >= first else 0 for layer in range(self.layers)]


# ---- what a program moves


def traffic(config: Config, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """HBM bytes of a step, by class, both ways; classes without any are left out."""
    shape = Shape(config)
    total: Bytes = {}
    for part in (
        _weights(shape, numeric, step, plan),
        _cache(shape, numeric, step, plan),
        _tables(shape, step, plan),
        _results(shape, step, plan),
        _activations(shape, numeric, step, plan),
    ):
        for name, moved in part.items():
            both = total.setdefault(name, [0, 0])
            both[READ] += moved[READ]
            both[WRITTEN] += moved[WRITTEN]
    return {name: moved for name, moved in total.items() if any(moved)}


def _weights(shape: Shape, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """Every matrix once a step, however many rows; gains once for every tile that has rows."""
    once = compulsory_weights(shape, numeric, step)
    attention_tiles = min(plan.tiles, shape.heads + 2 * shape.kv_heads) - 1
    row_tiles, wanted_tiles = min(plan.tiles, step.rows) - 1, min(plan.tiles, step.wanted) - 1
    again = 2 * shape.layers * row_tiles * 4 * shape.hidden
    if shape.head_norms:
        again += shape.layers * attention_tiles * 2 * 4 * shape.dim
    if step.wanted:
        again += wanted_tiles * 4 * shape.hidden
    once["weights"][READ] += again
    return once


def _cache(shape: Shape, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """New rows written once; for every chunk of queries, what they see from a page's edge on.

    Where pages are read early, rows of this step are not read from the cache.
    """
    row = 2 * shape.dim * shape.kv_heads * (2 if numeric["kv"] == "bf16" else 1)
    share = max(-(-step.rows * shape.kv_heads // plan.tiles), 8)  # so that items go round
    chunk = min(plan.attend_rows // shape.group, share)
    keys = 0
    for window in shape.windows():
        for segment in step.segments:
            for part in _chunks(segment, chunk):
                first = _first_seen(part, window) // PAGE * PAGE
                end = segment.start if plan.early else part.start + part.count
                keys += max(end - first, 0)
    return {"kv": [keys * row, shape.layers * step.rows * row]}


def _chunks(segment: Segment, rows: int) -> Iterator[Segment]:
    """A segment's queries, at most `rows` at a time."""
    for first in range(0, segment.count, rows):
        yield Segment(segment.start + first, min(rows, segment.count - first))


def _first_seen(queries: Segment, window: int) -> int:
    return max(0, queries.start - window + 1) if window else 0


def _tables(shape: Shape, step: Step, plan: Plan) -> Bytes:
    """Row tables and the whole page table for every tile; cosines and sines once, for all."""
    control = 3 * 4 * step.rows + 16 * step.wanted + 16 * len(step.segments) + 4 * plan.page_entries
    rope = 4 * 3 * (shape.dim // 2) * step.rows
    embeddings = 2 * shape.hidden * step.rows
    return {
        "control": [plan.tiles * control, 0],
        "tables": [rope, 0],
        "embeddings": [embeddings, 0],
    }


def _results(shape: Shape, step: Step, plan: Plan) -> Bytes:
    """Logits, the token drawn, and the ranked candidates with their tokens."""
    return {"io": [0, step.wanted * 4 * (shape.vocab + 1 + 2 * plan.top_k)]}


# ---- activations that did not fit CSRAM


def _activations(shape: Shape, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """Reads and writes of the buffers that lie in HBM."""
    total = [0, 0]
    for buffer, moved in _buffers(shape, numeric, step, plan).items():
        if buffer in plan.in_hbm:
            total[READ] += moved[READ]
            total[WRITTEN] += moved[WRITTEN]
    return {"activations": total}


def _buffers(shape: Shape, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """Traffic of every activation buffer, wherever it lies."""
    rows, wanted, layers = step.rows, step.wanted, shape.layers
    precision, matrices = numeric["activations"], shape.matrices(numeric["weights"])
    times = {name: column_blocks(matrix, plan) for name, matrix in matrices.items()}
    rope = 4 * 3 * (shape.dim // 2) * rows
    row_tiles = min(plan.tiles, shape.heads + 2 * shape.kv_heads)  # that need every row's
    x, qkv, q = 4 * rows * shape.hidden, 4 * rows * shape.qkv, 2 * rows * shape.wide
    found: Bytes = {
        "x.data": [layers * 4 * x + 4 * wanted * shape.hidden, x + layers * 2 * x],
        "qkv.data": [layers * qkv, layers * qkv],
        "q.data": [layers * q, layers * q],
        "rope.data": [layers * row_tiles * rope, rope],
    }
    inputs = [times["qkv"], times["gate_up"]]
    found |= _input("h", shape.hidden, rows, precision, inputs, layers, plan)
    final = [column_blocks(shape.head(numeric["lm_head"]), plan)] if wanted else []
    found |= _input("hw", shape.hidden, wanted, precision, final, 1, plan)
    local = {"o": _local(precision, shape.group * shape.dim), "f": _local(precision, 32)}
    for name, width, matrix in (("o", shape.wide, "o"), ("f", shape.ffn, "down")):
        if not local[name]:
            whole = layers * 4 * rows * width
            found[f"{name}.data"] = [whole, whole]
        place = name if local[name] else f"{name}q"
        found |= _input(place, width, rows, precision, [times[matrix]], layers, plan)
    candidates = 4 * wanted * plan.tiles * plan.top_k
    found["cand_values"] = [candidates, candidates]
    found["cand_ids"] = [4 * wanted * plan.top_k, candidates]
    return found


def _local(precision: str, columns: int) -> bool:
    """Whether a tile that makes that many columns can quantise them: no scale spans more."""
    return precision != "fp8" and columns % BLOCK.get(precision, 1) == 0


def _input(
    name: str,
    columns: int,
    rows: int,
    precision: str,
    times: list[int],
    layers: int,
    plan: Plan,
) -> Bytes:
    """A matrix's input: written for each use, read once for every column block of the matrices."""
    data = rows * -(-columns * BITS[precision] // 8)
    found = {f"{name}.data": [layers * sum(times) * data, layers * len(times) * data]}
    if precision in BLOCK:
        scales = rows * -(-columns // BLOCK[precision])
        found[f"{name}.scales"] = [layers * sum(times) * scales, layers * len(times) * scales]
    if precision == "fp8":  # every tile reads every row's scale before its columns
        uses = layers * len(times)
        found[f"{name}.row_scale"] = [uses * plan.tiles * rows, uses * rows]
    return found


def column_blocks(matrix: Matrix, plan: Plan) -> int:
    """How often a matrix's input rows are read: tiles take their panels some at a time.

    Tile t of T has units floor(t*n/T) up to floor((t+1)*n/T) of the n there are.
    """
    units = -(-matrix.panels // matrix.unit)
    ends = [tile * units // plan.tiles * matrix.unit for tile in range(plan.tiles + 1)]
    panels = [min(end, matrix.panels) for end in ends]
    spans = (end - begin for begin, end in pairwise(panels))
    return sum(-(-span // plan.block_panels) for span in spans)


# ---- what nobody can avoid


def compulsory(config: Config, numeric: Config, step: Step) -> Bytes:
    """Each stored byte of a weight once; visible rows of earlier steps and new rows once."""
    shape = Shape(config)
    row = 2 * shape.dim * shape.kv_heads * (2 if numeric["kv"] == "bf16" else 1)
    seen = sum(
        segment.start - _first_seen(segment, window)
        for window in shape.windows()
        for segment in step.segments
    )
    return compulsory_weights(shape, numeric, step) | {
        "kv": [seen * row, shape.layers * step.rows * row],
        "embeddings": [2 * shape.hidden * step.rows, 0],
    }


def compulsory_weights(shape: Shape, numeric: Config, step: Step) -> Bytes:
    """Every matrix and every gain once; the output matrix only if logits are wanted."""
    matrices = list(shape.matrices(numeric["weights"]).values()) * shape.layers
    gains = shape.layers * (2 * shape.hidden + (2 * shape.dim if shape.head_norms else 0))
    if step.wanted:
        matrices.append(shape.head(numeric["lm_head"]))
        gains += shape.hidden
    weights = sum(matrix.weights for matrix in matrices) + 4 * gains
    return {
        "weights": [weights, 0],
        "scales": [sum(matrix.scales for matrix in matrices), 0],
    }
