"""Good inputs that the mutations start from."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
from equality.programs import random_program, short_program

from fuzz.journal import ROOT
from isa.chip import CHIPS, load_chip
from isa.codec import encode, pack_words
from isa.disassembler import disassemble
from isa.formats import Format
from isa.program import Debug, Program, Region, RegionClass, Role, Symbol, require

TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": 0, "content": "<s>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True},
    ],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": True},
    "post_processor": {"type": "TemplateProcessing",
                       "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                  {"Sequence": {"id": "A", "type_id": 0}}],
                       "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                                {"Sequence": {"id": "B", "type_id": 1}}],
                       "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None,
              "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
              "byte_fallback": False, "ignore_merges": False,
              "vocab": {"<s>": 0, "a": 1, "b": 2, "c": 3, "\u0120": 4, "ab": 5, "abc": 6},
              "merges": ["a b", "ab c"]},
}  # fmt: skip

DECODER: dict[str, Any] = {
    "kind": "decoder",
    "capacity": {"rows": 4, "wanted": 2, "sequences": 1, "context": 64, "top_k": 3, "blocks": 2,
                 "pages": 2, "page": 32},
    "model": {"vocab": 9, "eos": [2], "family": "llama"},
    "numeric": {"weights": "mxfp4", "scale_mode": "floor"},
    "choice_sites": {"3": {"low": 0, "high": 8}, "4095": {"low": -5, "high": 5}},
    "phases": [["embed", 0], ["layer 0", 1.5]],
}  # fmt: skip


@cache
def everything() -> Program:
    """A decoder's symbols, data, operations, a tokenizer and metadata: every kind of section."""
    shapes = {"rows": (3, 4), "wanted": (2, 4), "segments": (1, 4), "pages": (1, 2), "next": (2,)}
    symbols = [
        Symbol(name, 256 * i, shape, Format.I32, Role.IN)
        for i, (name, shape) in enumerate(shapes.items())
    ]
    symbols.append(Symbol("logits", 2048, (2, 9), Format.FP32, Role.OUT))
    symbols.append(Symbol("nibbles", 4096, (3, 5), Format.E2M1, Role.STATE))
    data = (np.arange(300) % 251).astype(np.uint8)
    return Program(
        pack_words([encode("dld", dst=1, index=0), encode("nop"), encode("halt"), (0xFF, 1)]),
        np.arange(32, dtype=np.int64).reshape(2, 16),
        {"step": 0, "other": 2},
        (
            Region("control", 0, 4096, RegionClass.CONTROL, writable=True),
            Region("weights", 4096, 300, RegionClass.WEIGHTS, data=data),
            Region("äö", 8192, 4096, RegionClass.KV, writable=True),
        ),
        tuple(symbols),
        require(load_chip("t1-mini")),
        Debug(("embed", "layer 0"), np.array([0, 1, -1, 0], np.int32)),
        DECODER,
        json.dumps(TOKENIZER).encode(),
    )


@cache
def programs() -> tuple[Program, ...]:
    """Some of everything, some of code."""
    return everything(), short_program(3), random_program(11)


@cache
def assembly() -> tuple[str, ...]:
    """Assembly texts: those that come along, what a disassembler writes, and every directive."""
    files = sorted((ROOT / "programs" / "asm").glob("*.tasm"))
    texts = [path.read_text() for path in files]
    texts += [disassemble(program, all_data=True) for program in programs()]
    return (DIRECTIVES, DIRECTIVES, *texts)


DIRECTIVES = """.chip t1-mini
.const N = (1 << 5) + 3 * 2 - 10 % 3 ; a comment
.const EPS = 1.5e-3
.alias count = r7
.region io 0 0x4000 io
.region w 0x4000 64 weights ro
.region big 0x100000 0x200000 kv
.data w e4m3fn[1.0, -2.5, nan]
.data w "00ff 10"
.data w i32[1, 2, -3]
.symbol x io+16 fp32[4, N] in
.symbol y io+0x800 e2m1[3, 5] out
.symbol z w u8[7] state
.desc a tsram:0x40 bf16[4, 32] stride[32, 1] owner=2
.desc b hbm:io+16 fp32[4, N] fan=2 fanstep=1
.desc p tsram:0x800 e2m1[16, 64] panel scale=nv16@0x1000
.desc odd words[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -15]
.meta key = {"a": [1, 2.5, null]} // another
.op "embed tokens"
.entry go
start: rdsr r9, TILE_ID
    add r1, r2, count
    li r3, 0x123456789abcdef
    loop 3, end
    dld d0, a
    dset d0, base, r1+64
    vadd d1, d0, #1.5
    gemm.acc.split2 d2, d0, d1, bounds=d3, k0=r4+128
end: bne r9, 0, start
    signal dma0, s3, 1
    wait vpu, s3, r2+1
.op
.entry other = last
last: halt
    .word 0xff, 1
"""


@cache
def chips() -> tuple[str, ...]:
    """The chips' YAML, comments left out."""
    texts = [path.read_text() for path in sorted(CHIPS.glob("*.yaml"))]
    lines = ["\n".join(line.split("#")[0].rstrip() for line in text.split("\n")) for text in texts]
    return tuple("\n".join(line for line in text.split("\n") if line) + "\n" for text in lines)
