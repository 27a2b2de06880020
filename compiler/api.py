"""Compiles a model for a chip: from a Hugging Face checkpoint, or from its config alone.

program = compile_checkpoint(Path("model"), load_chip("t1"), Options(weights="mxfp4"))
save(program, "program.bin")
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from compiler.buffers import at_address, layout_buffers
from compiler.config import ModelConfig
from compiler.copies import Resident, Room
from compiler.emit import Code, Label
from compiler.errors import CompileError
from compiler.fuse import Phases, fuse
from compiler.graph import Graph, build
from compiler.hbm import PAGE, layout_hbm
from compiler.image import Image
from compiler.lower.attention_split import split_bytes
from compiler.lower.context import Plan
from compiler.lower.cutting import most_resident, takes_heads
from compiler.lower.kv import reads_early
from compiler.lower.linear import most_fused
from compiler.lower.program import lower
from compiler.matrices import matrices
from compiler.options import Options
from compiler.precision import KV_FORMATS, precision
from compiler.safetensors import Checkpoint
from compiler.schedule import Schedule, schedule, verify_schedule
from compiler.tile_memory import CapacityFor, plan_tile
from compiler.tile_phases import Sizing
from compiler.verify import verify_code, verify_plan
from isa.chip import MAX_HBM_BYTES, Chip
from isa.descriptor import Space
from isa.formats import Format
from isa.program import Debug, Program, Role, Symbol, require

DEFAULT_CONTEXT = 4096


@dataclass(frozen=True)
class Compiled:
    """Every stage of one compilation, for `--dump` and for tests."""

    graph: Graph
    phases: Phases
    plan: Plan
    schedule: Schedule
    code: Code
    entries: dict[str, Label]
    layer_count: int  #: pc of the instruction that says how many layers there are


def compile_checkpoint(model: Path, chip: Chip, options: Options) -> Program:
    """The program of a checkpoint directory. Regions make their bytes when the program is saved.

    Raises CompileError with one line naming file, place and remedy.
    """
    config = ModelConfig.load(model)
    checkpoint = Checkpoint.open(model)
    checkpoint.check(config)
    stages = compile_stages(config, chip, options)
    return _program(stages, checkpoint, _tokenizer(model))


def compile_config(
    config: ModelConfig, chip: Chip, options: Options, ignore_capacity: bool = False
) -> Program:
    """A program without weights, for timing only.

    With `ignore_capacity` it may need more HBM than the chip has; the program then says so.
    """
    if not ignore_capacity:
        return _program(compile_stages(config, chip, options), None, None)
    stages = compile_stages(config, chip.with_hbm(MAX_HBM_BYTES), options)
    needed = stages.plan.hbm.end
    roomy = chip.with_hbm(max(needed, chip.hbm.bytes))
    stages = replace(stages, plan=replace(stages.plan, chip=roomy))
    program = _program(stages, None, None)
    if needed <= chip.hbm.bytes:
        return program
    beyond = {"hbm_bytes": needed, "chip_hbm_bytes": chip.hbm.bytes}
    return replace(program, metadata=program.metadata | {"beyond_capacity": beyond})


def compile_stages(config: ModelConfig, chip: Chip, options: Options) -> Compiled:
    """Graph, fusion, plan and code; each stage is verified."""
    graph, phases, plan = _planned(config, chip, options)
    code, tokens, entries, layer_count = lower(plan, phases)
    verify_code(code)
    found = schedule(plan)
    verify_schedule(found, code, tokens)
    return Compiled(graph, phases, plan, found, code, entries, layer_count)


def plan_config(
    config: ModelConfig, chip: Chip, options: Options, ignore_capacity: bool = False
) -> Plan:
    """The plan of a program alone, in a hundredth of the time. Raises CompileError."""
    return _planned(config, chip.with_hbm(MAX_HBM_BYTES) if ignore_capacity else chip, options)[2]


def _planned(config: ModelConfig, chip: Chip, options: Options) -> tuple[Graph, Phases, Plan]:
    if chip.tile.dma.channels < 8:
        raise CompileError(f"{chip.name}: tile.dma.channels: the schedule needs 8 channels")
    if options.split is not None and options.split not in chip.tile.mxu.splits:
        raise CompileError(f"--split: {chip.name}'s array cannot be split {options.split} ways")
    activations = precision(options.activations, "--activations")
    graph = build(config, options.activations, options.kv)
    phases = fuse(graph, activations)
    plan = _plan(config, chip, options, phases)
    verify_plan(plan)
    return graph, phases, plan


def _plan(config: ModelConfig, chip: Chip, options: Options, phases: Phases) -> Plan:
    weights = precision(options.weights, "--weights")
    head = precision(options.lm_head or options.weights, "--lm-head")
    activations = precision(options.activations, "--activations")
    context = options.context or min(config.max_positions, DEFAULT_CONTEXT)
    if context > config.max_positions:
        raise CompileError(
            f"--context: {context} is beyond the model's max_position_embeddings "
            f"{config.max_positions}"
        )
    top_k = min(options.top_k, config.vocab)
    found = matrices(config, weights, head)
    groups = 1 if "groups" in options.without else chip.clusters
    whole_heads = "fused-heads" not in options.without
    sizing = Sizing(
        config, phases, found, activations, options.kv, chip, groups, whole_heads, options.tiling
    )
    capacity_for = CapacityFor(groups, options.sequences, context, top_k, options.logit_rows)
    tile, group_rows = plan_tile(sizing, capacity_for, options.rows)
    capacity = capacity_for(group_rows, options.rows)
    named = {matrix.name: matrix for matrix in found}
    buffers = layout_buffers(
        config, phases, named, capacity, activations, options.kv, chip, tile.head.rankings
    )
    hbm = layout_hbm(config, found, capacity, options.kv, buffers.spill, chip)
    placed = at_address(buffers, hbm.base["spill"])
    return _copy_pages(Plan(config, options, activations, capacity, chip, hbm, placed, tile))


def _copy_pages(plan: Plan) -> Plan:
    """The plan with pages in CSRAM, where nothing else is."""
    buffers, without = plan.buffers, plan.options.without
    room = Room(plan.config, plan.capacity, plan.options.kv, plan.chip, buffers.csram)
    staged, resident = room.place(
        "staged-pages" not in without and plan.groups[-1] > 1,
        "resident-kv" not in without and reads_early(plan),  # rows come from copies in CSRAM
    )
    tops = [found.base + found.nbytes for found in (staged, resident) if found is not None]
    top = max(buffers.csram, *tops, 0)
    return replace(plan, buffers=replace(buffers, csram=top, staged=staged, resident=resident))


def _tokenizer(model: Path) -> bytes | None:
    path = model / "tokenizer.json"
    return path.read_bytes() if path.is_file() else None


def _program(stages: Compiled, checkpoint: Checkpoint | None, tokenizer: bytes | None) -> Program:
    plan, code = stages.plan, stages.code
    mode: Any = plan.options.scale_mode
    image = Image(plan.config, checkpoint, plan.hbm, plan.capacity.context, mode)
    return Program(
        code.words(),
        code.descriptors(),
        {name: label.index for name, label in stages.entries.items()},
        image.regions(),
        _symbols(plan),
        require(plan.chip),
        Debug(tuple(code.op_names), code.op_index().astype(np.int32)),
        _metadata(stages),
        tokenizer,
        path=plan.config.family,
    )


def _symbols(plan: Plan) -> tuple[Symbol, ...]:
    base, cap, config = plan.hbm.base, plan.capacity, plan.config
    cache = (config.layers, config.kv_heads, cap.pages * PAGE, config.head_dim)
    kv = KV_FORMATS[plan.options.kv]
    return (
        Symbol("rows", base["rows"], (3, cap.rows), Format.I32, Role.IN),
        Symbol("wanted", base["wanted"], (cap.wanted, 4), Format.I32, Role.IN),
        Symbol("segments", base["segments"], (cap.sequences, 4), Format.I32, Role.IN),
        Symbol("pages", base["pages"], (cap.sequences, cap.blocks), Format.I32, Role.IN),
        Symbol("logits", base["logits"], (cap.wanted, config.vocab), Format.FP32, Role.OUT),
        Symbol("next", base["next"], (cap.wanted,), Format.I32, Role.OUT),
        Symbol("ranked", base["ranked"], (cap.wanted, cap.top_k), Format.FP32, Role.OUT),
        Symbol("ranked_ids", base["ranked_ids"], (cap.wanted, cap.top_k), Format.I32, Role.OUT),
        Symbol("k_cache", base["k_cache"], cache, kv, Role.STATE),
        Symbol("v_cache", base["v_cache"], cache, kv, Role.STATE),
    )


def _check(resident: Resident | None) -> dict[str, Any]:
    """What `emu run --check` cannot know.

    `reset` hands out the empty slots of every buffer. Of resident pages whole blocks of keys are
    read, as of the cache, which counts as written, and masked behind a sequence's end.
    """
    found: dict[str, Any] = {"credits": ["reset"]}
    if resident is not None:
        found["padding"] = {"csram": [resident.base, resident.base + resident.nbytes]}
    return found


def _metadata(stages: Compiled) -> dict[str, Any]:
    plan = stages.plan
    config, cap, tile = plan.config, plan.capacity, plan.tile
    rows, staged, resident = plan.buffers.rows.values(), plan.buffers.staged, plan.buffers.resident
    placed = [part for buffer in rows for part in (buffer.data, buffer.scales, buffer.row_scale)]
    placed += plan.buffers.raw.values()
    return {
        "kind": "decoder",
        "check": _check(resident),
        "model": {
            "family": config.family,
            "hidden": config.hidden,
            "layers": config.layers,
            "heads": config.heads,
            "kv_heads": config.kv_heads,
            "head_dim": config.head_dim,
            "ffn": config.ffn,
            "vocab": config.vocab,
            "bos": config.bos,
            "eos": list(config.eos),
            "windows": list(config.windows),
            "tied": config.tied,
        },
        "numeric": plan.options.numeric(),
        "options": json.loads(json.dumps(plan.options.record())),
        "precision": precision_notes(plan),
        "capacity": {
            "rows": cap.rows,
            "wanted": cap.wanted,
            "sequences": cap.sequences,
            "context": cap.context,
            "top_k": cap.top_k,
            "blocks": cap.blocks,
            "pages": cap.pages,
            "page": PAGE,
        },
        "plan": {
            "layer_count": stages.layer_count,
            "group_rows": cap.group_rows,
            "fused_rows": most_fused(plan),
            "resident_rows": {
                matrix.name: [most_resident(plan, matrix), most_resident(plan, matrix, True)]
                for matrix in plan.hbm.matrices.values()
            },
            "block_panels": tile.block_panels,
            "stage": [tile.stage, tile.wide_stage],
            "rankings": tile.head.rankings,
            "weight_slots": tile.w_depth,
            "weight_slot_bytes": tile.w_slot,
            "norm_rows": tile.norm_rows,
            "attend_rows": tile.attend_rows,
            "page_slots": tile.page_slots,
            "early_pages": reads_early(plan),
            "whole_heads": takes_heads(plan),
            "staged_pages": 0 if staged is None else staged.pages,
            "resident_pages": 0 if resident is None else resident.pages,
            "resident_bytes": 0 if resident is None else resident.nbytes * plan.chip.clusters,
            "split_bytes": split_bytes(plan),
            "tsram_bytes": tile.used,
            "csram_bytes": plan.buffers.csram,
            "gains_in_csram": plan.buffers.norms >= 0,
            "spilled_bytes": plan.buffers.spill,
            "hbm_buffers": [part.name for part in placed if part and part.space is Space.HBM],
        },
    }


def precision_notes(plan: Plan) -> dict[str, str]:
    """What is kept in which format: nothing is left implicit."""
    numeric = plan.options.numeric()
    return {
        "weights of q, k, v, o, gate, up, down": str(numeric["weights"]),
        "weights of lm_head": str(numeric["lm_head"]),
        "inputs of every weight matrix": str(numeric["activations"]),
        "KV cache": str(numeric["kv"]),
        "embedding table": "bf16",
        "queries and attention probabilities": "bf16",
        "residual stream, norms, RoPE, softmax, biases, SwiGLU, logits": "fp32",
    }


STAGES = ("graph", "fused", "plan", "schedule", "asm")


def dump(stages: Compiled, stage: str) -> str:
    """The text of one of the `STAGES`."""
    if stage == "asm":
        from isa.disassembler import disassemble

        return disassemble(_program(stages, None, None))
    if stage == "graph":
        return stages.graph.dump()
    if stage == "fused":
        return stages.phases.dump()
    if stage == "plan":
        return dump_plan(stages.plan)
    if stage == "schedule":
        return stages.schedule.dump()
    raise CompileError(f"--dump: '{stage}' is none of {', '.join(STAGES)}")


def _copies(plan: Plan) -> list[str]:
    """Which pages are in CSRAM, and where."""
    staged, found, lines = plan.buffers.staged, plan.buffers.resident, []
    if staged is not None:
        lines.append(f"staged pages of a layer: {staged.pages:,}, CSRAM {staged.base:#010x}")
    if found is None:
        return [*lines, f"pages in CSRAM: 0 of {plan.capacity.pages:,}"]
    size = f"{found.runs} x {found.run_bytes:,} bytes"
    where = f"each cluster {size}, CSRAM {found.base:#010x}"
    return [*lines, f"pages in CSRAM: {found.pages:,} of {plan.capacity.pages:,}; {where}"]


def dump_plan(plan: Plan) -> str:
    """Regions, matrices, buffers and the tile's memory."""
    lines = ["HBM regions:"]
    for region in plan.hbm.regions:
        lines.append(f"  {region.base:#014x} {region.size:>14,} {region.klass:<11} {region.name}")
    lines.append("activation buffers:")
    for rows in plan.buffers.rows.values():
        for part in (rows.data, rows.scales, rows.row_scale):
            if part is not None:
                where = f"{part.space.name} {part.base:#010x}"
                lines.append(f"  {where} {part.rows:>6} x {part.row_bytes:<8} {part.name}")
    lines += _copies(plan)
    lines.append(f"tile memory ({plan.tile.used:,} of {plan.tile.size:,} bytes):")
    for name, address in sorted(plan.tile.at.items(), key=lambda item: item[1]):
        lines.append(f"  {address:#09x} {name}")
    return "\n".join(lines)
