"""Vectors as text: round trips, wrong devices, garbage."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.conformance import streams
from emulator.conformance.oracle.matrix import Operand, gemm_obvious
from emulator.conformance.oracle.quantise import mx_block_obvious, nv_block_obvious
from emulator.errors import InputError
from isa.formats import Format, ScaleKind
from tests import vector_obvious as obvious

F = Format


def test_every_operation_makes_vectors_that_pass() -> None:
    for op in streams.operations():
        lines = list(streams.vectors(op, 40, seed=5))
        report = streams.check(op, lines)
        assert (report.total, report.failed, report.messages) == (40, 0, []), op
        assert len(set(lines)) > 1, op


@pytest.mark.parametrize(
    "op", ["vadd_fp32", "vcvt_fp32_e2m1", "vrsum_bf16", "vargmax_fp32", "vquant_e4m3fn_mx32"]
)
def test_a_wrong_device_is_found(op: str) -> None:
    lines = list(streams.vectors(op, 50, seed=1))
    for at in (7, 31):
        head, _, last = lines[at].rpartition(" ")
        lines[at] = f"{head} {int(last, 16) ^ 1:0{len(last)}x}"
    report = streams.check(op, lines)
    assert (report.total, report.failed) == (50, 2)
    assert report.messages[0].startswith("line 8: ") and report.messages[1].startswith("line 32: ")


def test_messages_show_numbers() -> None:
    report = streams.check("vadd_fp32", ["3f800000 40000000 40400001"])
    assert report.messages == [
        "line 1: FP32 0x40400001 (3.00000024, 0x1.8000020000000p+1), not FP32 0x40400000 "
        "(3, 0x1.8000000000000p+1) of FP32 0x3f800000 (1, 0x1.0000000000000p+0), FP32 0x40000000 "
        "(2, 0x1.0000000000000p+1)"
    ]


def test_a_device_reads_the_operands_alone() -> None:
    """A device in float32 arithmetic of the processor, fed stripped lines."""
    lines = list(streams.vectors("vmul_fp32", 3000, seed=2))
    answers = []
    for line in streams.strip(lines):
        a, b = (np.array(int(word, 16), np.uint32).view(np.float32) for word in line.split())
        with np.errstate(all="ignore"):
            answers.append(f"{line} {int((a * b).view(np.uint32)):08x}")
    report = streams.check("vmul_fp32", answers)
    wrong = [a for a, b in zip(answers, lines, strict=True) if a != b]
    assert report.total == 3000 and report.failed == len(wrong)
    nans = [int(line.split()[2], 16) & 0x7FFFFFFF > 0x7F800000 for line in wrong]
    assert wrong and all(nans)  # its NaNs are not the canonical one


def test_small_sources_are_swept_whole() -> None:
    lines = streams.vectors("vcvt_bf16_e5m2_nosat", 1 << 16, seed=9)
    assert len({line.split()[0] for line in lines}) == 1 << 16


def test_seeds_and_counts() -> None:
    first = list(streams.vectors("vdiv_bf16", 100, seed=1))
    assert first == list(streams.vectors("vdiv_bf16", 100, seed=1))
    assert first != list(streams.vectors("vdiv_bf16", 100, seed=2))
    assert list(streams.vectors("vdiv_bf16", 0, seed=1)) == []
    assert len(list(streams.vectors("vdiv_bf16", 5000, seed=1))) == 5000


def test_blocks_and_rows_are_those_of_fractions() -> None:
    for line in streams.vectors("gemm_e2m1_e5m2", 40, seed=3):
        codes = [int(word, 16) for word in line.split()]
        a = Operand(F.E2M1, [codes[:32]], ScaleKind.MX32, [[codes[64]]])
        w = Operand(F.E5M2, [codes[32:64]], ScaleKind.MX32, [[codes[65]]])
        assert gemm_obvious(a, w, old=[[codes[66]]])[0, 0] == codes[67]
    for line in streams.vectors("vrsum_fp32", 40, seed=3):
        count, *codes = (int(word, 16) for word in line.split())
        assert len(codes) == count + 1
        assert obvious.reduced("vrsum", codes[:-1], 0, count) == codes[-1]
    for line in streams.vectors("vargmax_fp32", 40, seed=3):
        _, *codes = (int(word, 16) for word in line.split())
        assert obvious.ranked(codes[:-1])[0] == codes[-1]


def test_quantised_blocks_are_joined_digits() -> None:
    for line in streams.vectors("vquant_e5m2_mx32_floor", 40, seed=3):
        *words, last = line.split()
        block = mx_block_obvious([int(word, 16) for word in words], F.E5M2, floor=True)
        assert last == f"{block.scale:02x}" + "".join(f"{code:02x}" for code in block.elements)
    for line in streams.vectors("vquant_e2m1_nv16", 40, seed=3):
        ts, *words, last = line.split()
        block = nv_block_obvious([int(word, 16) for word in words], int(ts, 16))
        assert last == f"{block.scale:02x}" + "".join(f"{code:x}" for code in block.elements)


@pytest.mark.parametrize(
    ("op", "line", "problem"),
    [
        ("vadd_fp32", "3f800000 40000000", "line 2: 2 fields, not 3"),
        ("vadd_fp32", "3f800000 40000000 zz400000", "`zz400000` is not 8 hexadecimal digits"),
        ("vadd_fp32", "3f800000 40000000 4040000", "`4040000` is not 8"),
        ("vrsum_fp32", "02 3f800000 40000000", "2 fields, not 3"),
        ("vrsum_fp32", "hello", "`hello` is not 2"),
        ("vargmax_fp32", "00 00000000", "a row without elements"),
        ("no_such_op", "", "none of that name"),
    ],
)
def test_garbage_is_refused_by_line(op: str, line: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        streams.check(op, ["", line])
    assert problem in str(caught.value)
