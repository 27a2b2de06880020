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
KEYS = 16  #: keys that come together where pages are spread over tiles
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

    clusters: int
    cluster_tiles: int
    group_rows: int  #: rows that a row group may have
    rankings: int  #: parts of a tile's logits that each give candidates
    block_panels: int  #: output panels for which a tile reads its input rows once, if not for all
    stage: list[int]  #: FP32 values read out at a time; and in steps of several row groups
    resident_rows: dict[str, list[int]]  #: by matrix: rows whose inputs a tile reads once for all
    fused_rows: int  #: rows of a step that every tile normalises itself
    gains_in_csram: bool  #: since `reset`
    attend_rows: int  #: rows of the score matrix (query rows times heads of a group) at once
    page_entries: int  #: of the page table
    top_k: int
    in_hbm: frozenset[str]  #: activation buffers that had no room in CSRAM
    early: bool  #: pages are read before the step's own rows are in the cache
    split_bytes: int  #: room for results of pages that tiles attend to one by one
    multicast: bool  #: what several tiles need is brought once
    whole_heads: bool  #: in steps of several row groups, lanes take whole heads of q, k and v
    resident_pages: int  #: of the cache, the first of it: in CSRAM as well

    @property
    def tiles(self) -> int:
        """All of the chip's."""
        return self.clusters * self.cluster_tiles

    def groups(self, rows: int) -> list[int]:
        """Rows of each row group of a step: the fewest groups that have room for them."""
        ways = (n for n in range(1, self.clusters + 1) if self.clusters % n == 0)
        count = next(n for n in ways if -(-rows // n) <= self.group_rows)
        each = -(-rows // count)
        return [max(min(each, rows - group * each), 0) for group in range(count)]

    @classmethod
    def of(cls, program: Program) -> Plan:
        """The factors a program records."""
        chip, plan = program.chip.architecture, program.metadata["plan"]
        capacity = program.metadata["capacity"]
        return cls(
            chip["clusters"],
            chip["tiles_per_cluster"],
            plan["group_rows"],
            plan["rankings"],
            plan["block_panels"],
            plan["stage"],
            plan["resident_rows"],
            plan["fused_rows"],
            plan["gains_in_csram"],
            plan["attend_rows"],
            capacity["sequences"] * capacity["blocks"],
            capacity["top_k"],
            frozenset(plan["hbm_buffers"]),
            plan["early_pages"],
            plan["split_bytes"],
            "multicast" not in program.metadata["options"]["without"],
            plan["whole_heads"],
            plan["resident_pages"],
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
        """Bytes of elements."""
        return self.panels * PANEL * up(self.k, DEPTH) * BITS[self.precision] // 8

    @property
    def biases(self) -> int:
        """Bytes of biases."""
        return 4 * PANEL * self.panels if self.biased else 0

    @property
    def scales(self) -> int:
        """Bytes of block scales."""
        block = BLOCK.get(self.precision)
        return self.panels * PANEL * up(self.k, DEPTH) // block if block else 0

    @property
    def factors(self) -> int:
        """Bytes of column factors."""
        return 4 * PANEL * self.panels if self.precision in COLUMN_FACTORS else 0

    def shares(self, lanes: int) -> list[int]:
        """Panels of each lane: lane t of T has units floor(t*n/T) up to floor((t+1)*n/T)."""
        units = -(-self.panels // self.unit)
        ends = [lane * units // lanes * self.unit for lane in range(lanes + 1)]
        panels = [min(end, self.panels) for end in ends]
        return [end - begin for begin, end in pairwise(panels)]


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
    """Every matrix once a step, however many rows; biases and factors once for each row group."""
    groups = plan.groups(step.rows)
    times = 1 if plan.multicast else len(groups)
    busy = sum(rows > 0 for rows in groups)
    layer = list(shape.matrices(numeric["weights"]).values()) * shape.layers
    weights = sum(times * matrix.weights + busy * matrix.biases for matrix in layer)
    scales = sum(times * matrix.scales + busy * matrix.factors for matrix in layer)
    if step.wanted:
        head = shape.head(numeric["lm_head"])
        weights, scales = weights + head.weights, scales + head.scales + head.factors
    if not plan.gains_in_csram:
        weights += _gains(shape, step, plan)
    return {"weights": [weights, 0], "scales": [scales, 0]}


def _gains(shape: Shape, step: Step, plan: Plan) -> int:
    """Bytes of gains that stay in HBM: tiles that have rows, or heads, read them each time."""
    groups = plan.groups(step.rows)
    lanes = plan.tiles // len(groups)
    found = 2 * shape.layers * 4 * shape.hidden * sum(min(lanes, rows) for rows in groups)
    if shape.head_norms:
        tiles = sum(parts * tiles for parts, tiles in _head_tiles(shape, step, plan))
        found += shape.layers * tiles * 2 * 4 * shape.dim
    return found + (plan.tiles * 4 * shape.hidden if step.wanted else 0)


def _head_tiles(shape: Shape, step: Step, plan: Plan) -> list[tuple[int, int]]:
    """For each row group: parts of the rows, and tiles that divide the heads of each part."""
    groups, found = plan.groups(step.rows), []
    lanes = plan.tiles // len(groups)
    for rows in groups:
        parts = max(min(rows // 32, lanes // 8), 1)
        found.append((parts, min(lanes // parts, shape.heads + 2 * shape.kv_heads)))
    return found


def _cache(shape: Shape, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """New rows written once; for every chunk of queries, what they see from a page's edge on.

    Where pages are read early, rows of this step are not read from the cache; but where they are
    spread over tiles, keys come in whole blocks, with the places of these rows. Steps of one row
    group read pages that are in CSRAM from there.
    """
    alone = len(plan.groups(step.rows)) == 1
    places = zip(step.segments, _near(step, plan), strict=True)
    near = {id(segment): keys for segment, keys in places if alone}  # segments may be equal
    row = 2 * shape.dim * shape.kv_heads * (2 if numeric["kv"] == "bf16" else 1)
    keys = 0
    for window in shape.windows():
        spread = spreads(shape, step, plan, window)
        for segment, part in _items(shape, step, plan, window):
            first = _first_seen(part, window) // PAGE * PAGE
            end = segment.start if plan.early else part.start + part.count
            if spread:
                end = up(part.start + part.count, KEYS)
            keys += max(end - max(first, near.get(id(segment), 0)), 0)
    return {"kv": [keys * row, shape.layers * step.rows * row]}


def _near(step: Step, plan: Plan) -> list[int]:
    """Positions of each segment's sequence that have a place in CSRAM: on the first pages.

    Pages are given out in the order of the segments, from the first on.
    """
    found, page = [], 0
    for segment in step.segments:
        found.append(max(plan.resident_pages - page, 0) * PAGE)
        page += -(-(segment.start + segment.count) // PAGE)
    return found


def _items(shape: Shape, step: Step, plan: Plan, window: int) -> Iterator[tuple[Segment, Segment]]:
    """Each segment with those of its queries that see its pages together."""
    if spreads(shape, step, plan, window):
        yield from zip(step.segments, step.segments, strict=True)
        return
    share = max(-(-step.rows * shape.kv_heads // plan.tiles), 8)  # so that items go round
    chunk, first = min(plan.attend_rows // shape.group, share), 0
    groups = plan.groups(step.rows)
    edges = [sum(groups[:number]) for number in range(len(groups) + 1)]
    for segment in step.segments:
        for begin, end in pairwise(edges):  # in a row group
            low, high = max(begin - first, 0), min(end - first, segment.count)
            if low < high:
                for part in _chunks(Segment(segment.start + low, high - low), chunk):
                    yield segment, part
        first += segment.count


def spreads(shape: Shape, step: Step, plan: Plan, window: int) -> bool:
    """Whether pages are attended to on different tiles: steps of few rows with many pages."""
    rows = min(4 * plan.tiles // shape.heads, plan.attend_rows // shape.group)
    segments = (plan.tiles - 1) // shape.kv_heads
    if not plan.split_bytes or not segments or len(plan.groups(step.rows)) > 1:
        return False
    if step.rows > rows or len(step.segments) > segments:
        return False
    pages = [_pages(segment, window) for segment in step.segments]
    heads = -(-shape.kv_heads // plan.clusters)
    counts = zip(pages, step.segments, strict=True)
    results = sum(number * segment.count for number, segment in counts) * heads * shape.group
    room = results * 4 * (shape.dim + 2) <= plan.split_bytes
    return room and sum(pages) >= 2 * len(step.segments)


def _pages(segment: Segment, window: int) -> int:
    """Pages that a segment's rows see."""
    return -(-(segment.start + segment.count) // PAGE) - _first_seen(segment, window) // PAGE


def _chunks(segment: Segment, rows: int) -> Iterator[Segment]:
    """A segment's queries, at most `rows` at a time."""
    for first in range(0, segment.count, rows):
        yield Segment(segment.start + first, min(rows, segment.count - first))


def _first_seen(queries: Segment, window: int) -> int:
    return max(0, queries.start - window + 1) if window else 0


def _tables(shape: Shape, step: Step, plan: Plan) -> Bytes:
    """Row tables, the whole page table, cosines and sines: once, for all tiles."""
    control = 3 * 4 * step.rows + 16 * step.wanted + 16 * len(step.segments) + 4 * plan.page_entries
    rope = 4 * 3 * (shape.dim // 2) * step.rows
    embeddings = 2 * shape.hidden * step.rows
    return {
        "control": [control, 0],
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
    groups, fused = plan.groups(rows), rows <= plan.fused_rows
    times = {name: _times(name, matrix, groups, plan) for name, matrix in matrices.items()}
    rope = 4 * 3 * (shape.dim // 2)
    tiles = [tiles for _, tiles in _head_tiles(shape, step, plan)]
    ropes = sum(each * number for each, number in zip(groups, tiles, strict=True))
    x, qkv, q = 4 * rows * shape.hidden, 4 * rows * shape.qkv, 2 * rows * shape.wide
    queries = sum(_query_rows(shape, step, plan, window) for window in shape.windows())
    norms = sum(_norm_tiles(matrices[name], plan) if fused else 1 for name in ("qkv", "gate_up"))
    found: Bytes = {
        "x.data": [layers * (norms + 2) * x + 4 * wanted * shape.hidden, x + layers * 2 * x],
        "qkv.data": [layers * qkv, layers * qkv],
        "q.data": [2 * queries * shape.wide, layers * q],
        "rope.data": [layers * ropes * rope, rows * rope],
    }
    if plan.whole_heads and len(groups) > 1:
        times["qkv"], regions = _whole_heads(shape, groups, plan)
        found |= {"qkv.data": [0, 0], "rope.data": [layers * regions * rope, rows * rope]}
    lanes = plan.tiles // len(groups)
    inputs = [] if fused else [times["qkv"], times["gate_up"]]
    found |= _input("h", shape.hidden, rows, precision, inputs, layers, lanes)
    head = shape.head(numeric["lm_head"])
    final = [_times("lm_head", head, [wanted], plan)] if wanted else []
    found |= _input("hw", shape.hidden, wanted, precision, final, 1, plan.tiles)
    local = {"o": _local(precision, shape.group * shape.dim), "f": _local(precision, 32)}
    for name, width, matrix in (("o", shape.wide, "o"), ("f", shape.ffn, "down")):
        if not local[name]:
            whole = layers * 4 * rows * width
            found[f"{name}.data"] = [whole, whole]
        place = name if local[name] else f"{name}q"
        found |= _input(place, width, rows, precision, [times[matrix]], layers, lanes)
    candidates = 4 * wanted * plan.tiles * plan.rankings * plan.top_k
    found["cand_values"] = [candidates, candidates]
    found["cand_ids"] = [4 * wanted * plan.top_k, candidates]
    return found


def _norm_tiles(matrix: Matrix, plan: Plan) -> int:
    """Tiles that normalise all rows: those that have columns of the matrix."""
    return sum(panels > 0 for panels in matrix.shares(plan.tiles))


def _query_rows(shape: Shape, step: Step, plan: Plan, window: int) -> int:
    """Rows of queries that are read in a layer: once, or for every page that is by itself."""
    if not spreads(shape, step, plan, window):
        return step.rows
    return sum(_pages(segment, window) * segment.count for segment in step.segments)


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
    lanes: int,
) -> Bytes:
    """A matrix's input: written for each use; `times` rows are read for each of the matrices."""
    written, read = layers * len(times) * rows, layers * sum(times)
    data = -(-columns * BITS[precision] // 8)
    found = {f"{name}.data": [read * data, written * data]}
    if precision in BLOCK:
        scales = -(-columns // BLOCK[precision])
        found[f"{name}.scales"] = [read * scales, written * scales]
    if precision == "fp8":  # every tile reads every row's scale before its columns
        found[f"{name}.row_scale"] = [written * lanes, written]
    return found


SHARED_ROWS = 32  #: rows of a step from which tiles of a cluster bring inputs for one another


def _times(name: str, matrix: Matrix, groups: list[int], plan: Plan) -> int:
    """Input rows of a matrix that are read in all, by all lanes of all row groups.

    A lane reads them once if all of them fit, else once for every block of its panels. Where a
    cluster's tiles share, each cluster reads them once, or as often as the lane with most blocks.
    """
    alone = name == "lm_head"
    lanes = plan.tiles // len(groups)
    shares = matrix.shares(lanes)
    wide = min(max(shares), plan.block_panels)
    blocks = [-(-share // wide) for share in shares]
    if groups[0] <= plan.resident_rows[name][len(groups) > 1 and not alone]:
        blocks = [min(block, 1) for block in blocks]
    shared = plan.multicast and plan.cluster_tiles > 1 and sum(groups) >= SHARED_ROWS
    if shared and not alone:
        return sum(groups) * (plan.clusters // len(groups)) * max(blocks)
    return sum(groups) * sum(blocks)


def _whole_heads(shape: Shape, groups: list[int], plan: Plan) -> tuple[int, int]:
    """Input rows that QKV reads, and rows of cosines: the latter for every block of every lane.

    A block is as many heads as are read out at once.
    """
    lanes, unit = plan.tiles // len(groups), shape.dim // PANEL
    heads = shape.qkv // shape.dim
    shares = [(n + 1) * heads // lanes - n * heads // lanes for n in range(lanes)]
    region = plan.stage[1] // PANEL // groups[0] // 4 * 4
    region = min(region, plan.block_panels, plan.stage[0] // 2 // PANEL // 4 * 4)
    wide = min(max(shares), region // unit)
    blocks = [-(-share // wide) for share in shares]
    ropes = sum(groups) * sum(blocks)
    if groups[0] <= plan.resident_rows["qkv"][1]:
        blocks = [min(block, 1) for block in blocks]
    if plan.multicast and plan.cluster_tiles > 1 and sum(groups) >= SHARED_ROWS:
        return sum(groups) * (plan.clusters // len(groups)) * max(blocks), ropes
    return sum(groups) * sum(blocks), ropes


# ---- what nobody can avoid


def compulsory(config: Config, numeric: Config, step: Step, plan: Plan) -> Bytes:
    """Each stored byte of a matrix once; visible rows of earlier steps and new rows once.

    But for rows that are in CSRAM as well.
    """
    shape = Shape(config)
    row = 2 * shape.dim * shape.kv_heads * (2 if numeric["kv"] == "bf16" else 1)
    seen = sum(
        max(segment.start - max(_first_seen(segment, window), near), 0)
        for window in shape.windows()
        for segment, near in zip(step.segments, _near(step, plan), strict=True)
    )
    matrices = list(shape.matrices(numeric["weights"]).values()) * shape.layers
    if step.wanted:
        matrices.append(shape.head(numeric["lm_head"]))
    return {
        "weights": [sum(matrix.weights + matrix.biases for matrix in matrices), 0],
        "scales": [sum(matrix.scales + matrix.factors for matrix in matrices), 0],
        "kv": [seen * row, shape.layers * step.rows * row],
        "embeddings": [2 * shape.hidden * step.rows, 0],
    }


def kept(config: Config, plan: Plan) -> int:
    """Bytes of gains that `reset` reads, to keep them."""
    shape = Shape(config)
    gains = shape.layers * 2 * (shape.hidden + (shape.dim if shape.head_norms else 0))
    return 4 * (gains + shape.hidden) if plan.gains_in_csram else 0
