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
        report = streams.check(op, lines, 40, seed=5)
        assert report.passes and report.messages == [], op
        assert report.summary() == "40 of 40 are right"
        assert len(set(lines)) > 1, op


@pytest.mark.parametrize(
    "op", ["vadd_fp32", "vcvt_fp32_e2m1", "vrsum_bf16", "vargmax_fp32", "vquant_e4m3fn_mx32"]
)
def test_a_wrong_device_is_found(op: str) -> None:
    lines = list(streams.vectors(op, 50, seed=1))
    for at in (7, 31):
        head, _, last = lines[at].rpartition(" ")
        lines[at] = f"{head} {int(last, 16) ^ 1:0{len(last)}x}"
    report = streams.check(op, lines, 50, seed=1)
    assert (report.right, report.passes) == (48, False)
    assert report.messages[0].startswith("line 8: ") and report.messages[1].startswith("line 32: ")


def test_messages_show_numbers() -> None:
    report = streams.check("vadd_fp32", ["3f800000 40000000 40400001"], 1, seed=None)
    assert report.messages == [
        "line 1: FP32 0x40400001 (3.00000024, 0x1.8000020000000p+1), not FP32 0x40400000 "
        "(3, 0x1.8000000000000p+1) of FP32 0x3f800000 (1, 0x1.0000000000000p+0), FP32 0x40000000 "
        "(2, 0x1.0000000000000p+1)"
    ]


def test_a_device_reads_the_operands_alone() -> None:
    """A device in float32 arithmetic of the processor."""
    right = list(streams.vectors("vmul_fp32", 3000, seed=2))
    answers = []
    for line in streams.operands("vmul_fp32", 3000, seed=2):
        a, b = (np.array(int(word, 16), np.uint32).view(np.float32) for word in line.split())
        with np.errstate(all="ignore"):
            answers.append(f"{line} {int((a * b).view(np.uint32)):08x}")
    report = streams.check("vmul_fp32", answers, 3000, seed=2)
    wrong = [a for a, b in zip(answers, right, strict=True) if a != b]
    assert report.total - report.right == len(wrong) and report.came == 3000
    nans = [int(line.split()[2], 16) & 0x7FFFFFFF > 0x7F800000 for line in wrong]
    assert wrong and all(nans)  # its NaNs are not the canonical one


def test_lines_that_do_not_come_are_noticed() -> None:
    lines = list(streams.vectors("vadd_fp32", 3000))
    died = streams.check("vadd_fp32", lines[:10], 3000)
    assert not died.passes and died.summary() == "10 of 3000 are right; 2990 did not come"
    more = streams.check("vadd_fp32", lines, 2999)
    assert not more.passes
    assert more.summary() == "2999 of 2999 are right; 1 more came: give --count as to `vectors`"
    assert not streams.check("vadd_fp32", [], 1).passes


def test_other_operands_are_noticed() -> None:
    """A unit that answers one line again and again, one that skips a line."""
    lines = list(streams.vectors("vadd_fp32", 50))
    stuck = streams.check("vadd_fp32", [lines[0]] * 50, 50)
    assert stuck.right == 1 and stuck.came == 50
    assert stuck.messages[0].startswith("line 2: not the operands that `vectors` gives there: `")
    skipped = streams.check("vadd_fp32", lines[:20] + lines[21:], 50)
    assert skipped.right == 20 and not skipped.passes
    assert streams.check("vadd_fp32", [lines[0].upper()] * 50, 50, seed=None).passes


def test_what_is_missing_is_the_result() -> None:
    """Of `vectors OP | cat | check OP`."""
    with pytest.raises(InputError, match="line 1: 2 fields, not 3: the result is missing"):
        streams.check("vadd_fp32", streams.operands("vadd_fp32", 5), 5)


def test_the_catalogue_names_the_columns() -> None:
    """Lines have the columns and digits that the catalogue says."""
    digits = {"e2m1": 1, "u8": 2, "e8m0": 2, "e4m3fn": 2, "e5m2": 2, "bf16": 4, "fp16": 4}
    listed = dict(line.split(maxsplit=1) for line in streams.catalogue())
    assert list(listed) == streams.operations()
    assert listed["gemm_e4m3fn_e2m1"] == (
        "a*32:e4m3fn w*32:e2m1 scale_a:e8m0 scale_w:e8m0 acc:fp32 -> result:fp32"
    )
    assert listed["gemm_bf16_e2m1"].split()[2:4] == ["scale_w:e8m0", "acc:fp32"]
    assert listed["vquant_e2m1_nv16"] == "ts:fp32 a*16:fp32 -> scale:e4m3fn,codes*16:e2m1"
    assert listed["vrsum_bf16"] == "n:u8 a*n:bf16 -> result:bf16"

    def widths(part: str, count: str) -> list[int]:
        name, fmt = part.split(":")
        times = name.partition("*")[2].replace("n", count) or "1"
        return [digits.get(fmt, 8)] * int(times)

    for op, columns in listed.items():
        operands, _, result = columns.partition(" -> ")
        for line in streams.vectors(op, 3, seed=1):
            *words, last = line.split()
            count = str(int(words[0], 16))
            assert [len(word) for word in words] == [
                width for part in operands.split() for width in widths(part, count)
            ], op
            assert len(last) == sum(sum(widths(part, "")) for part in result.split(",")), op


def test_small_sources_are_swept_whole() -> None:
    lines = streams.operands("vcvt_bf16_e5m2_nosat", 1 << 16, seed=9)
    assert len(set(lines)) == 1 << 16


def test_seeds_and_counts() -> None:
    first = list(streams.vectors("vdiv_bf16", 100, seed=1))
    assert first == list(streams.vectors("vdiv_bf16", 100, seed=1))
    assert first != list(streams.vectors("vdiv_bf16", 100, seed=2))
    assert list(streams.vectors("vdiv_bf16", 0, seed=1)) == []
    assert len(list(streams.vectors("vdiv_bf16", 5000, seed=1))) == 5000
    for op in ("vdiv_bf16", "vrsum_fp32", "vcvt_fp16_fp32", "gemm_e2m1_e2m1_nv16"):
        few, many = (list(streams.operands(op, count, seed=1)) for count in (30, 2100))
        assert many[:30] == few  # whatever the count
        assert [line.rpartition(" ")[0] for line in streams.vectors(op, 30, seed=1)] == few


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
        streams.check(op, ["", line], 2)
    assert problem in str(caught.value)
