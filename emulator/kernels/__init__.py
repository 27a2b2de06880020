"""The fast arithmetic of the emulator, compiled by Numba.

A kernel is a compiled function `int64 k_name(int64 args)`: the address of an argument record
(operand.py) in, status bits out. Kernels trust the record, which the executor has checked; they
hold no state, and work in scratch memory (scratch.py) that belongs to the calling thread. `kernels`
names them by opcode. What a product leaves in scratch for the next one (matrix_memo.py) is used
only for operands that are the same, byte by byte.

The hot loops are LLVM IR over sixteen lanes (lanes.py), so that speed does not hang on the
auto-vectoriser, in a few shapes that follow the machine's registers; every machine computes the
same bits. `emu bench` measures them beside the machine's peaks.
"""

from __future__ import annotations

from typing import Any


def kernels() -> dict[int, Any]:
    """The kernel of every opcode that computes or moves tensor elements: `int64 f(int64 args)`."""
    from emulator.kernels import (
        argmax,
        copy,
        exponentials,
        matrix,
        matrix_read,
        quantise,
        reductions,
        scan,
        topk,
        vector,
    )
    from isa.spec import BY_MNEMONIC

    by_mnemonic = {
        "gemm": matrix.k_gemm,
        "readout": matrix_read.k_readout,
        "seed": copy.k_copy,
        **dict.fromkeys(("vadd", "vsub", "vmul", "vdiv", "vmin", "vmax"), vector.k_binary),
        "vmuladd2": vector.k_muladd2,
        **dict.fromkeys(("vsqrt", "vrcp", "vrsqrt", "vexp2"), vector.k_unary),
        "vcvt": vector.k_convert,
        "vcmp": vector.k_compare,
        "vsel": vector.k_select,
        "viota": vector.k_iota,
        "vscan": scan.k_scan,
        "vtrans": copy.k_transpose,
        "vcopy": copy.k_copy,
        **dict.fromkeys(("vrsum", "vrmax", "vrmin"), reductions.k_reduce),
        "vexp2sum": exponentials.k_exp2_sum,
        "vargmax": argmax.k_argmax,
        "vtopk": topk.k_topk,
        "vquant": quantise.k_quantise,
        "vquantr": quantise.k_quantise_rows,
        "dma": copy.k_copy,
        "dmag": copy.k_gather,
        "dmas": copy.k_scatter,
    }
    return {BY_MNEMONIC[name].opcode: kernel for name, kernel in by_mnemonic.items()}
