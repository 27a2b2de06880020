"""Seeded bugs: right programs made wrong by one line, and what the checker must say of each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """A program of programs/asm, what is wrong with it (see `check_runs.edited`), what is found.

    `kind` is of a finding whose instructions are those of the `lines`, in this order.
    """

    program: str
    edit: str
    kind: str
    lines: tuple[str, ...]


def _bug(program: str, edit: str, kind: str, *lines: str) -> Bug:
    return Bug(program, edit, kind, lines)


_FILL, _SCALES, _GEMM = "dma dma0, wb, w_src", "dma dma0, sb, s_src", "gemm acc, aq, wb"
_READOUT, _BACK = "readout yb, acc", "dma dma1, y_dst, yb"
_SEND, _SUM, _ALL, _OUT = (
    "dma dma1, slot, part",
    "vadd total, total, row",
    "dma dma2, all, total",
    "dma dma3, y_dst, final",
)
_KEYS, _SCORES, _VALUES = "dma dma1, tk, dk", "gemm as, tq, tk", "gemm ao, p, tvt,"

BUGS = (
    # ---- a wait that is missing
    _bug("gemm", "- wait dma0, w_free, 1", "race", _GEMM, _FILL),
    _bug("gemm", "- wait mxu, w_full, 1", "race", _FILL, _GEMM),
    _bug("gemm", "- wait mxu, y_free, 1", "race", _BACK, _READOUT),
    _bug("gemm", "- wait dma1, y_full, 1", "race", _READOUT, _BACK),
    _bug("gemm", "- wait vpu, a_here, 1", "race", "dma dma2, a_in, a_src", "vquant aq, a_in"),
    _bug("gemm", "- wait mxu, a_done, 1", "race", "vquant aq, a_in", _GEMM),
    _bug("softmax", "- wait dma0, empty, 1", "race", "dma dma1, dst, v", "dma dma0, v, src"),
    _bug("softmax", "- wait vpu, filled, 1", "race", "dma dma0, v, src", "vdiv v, v, lN"),
    _bug("softmax", "- wait dma1, ready, 1", "race", "dma dma0, v, src", "dma dma1, dst, v"),
    _bug("all_reduce", "- wait dma1, loaded, 1", "race", "dma dma0, mine, x_src", _SEND),
    _bug("all_reduce", "- wait vpu, arrived, tiles", "race", _SEND, _SUM),
    _bug("all_reduce", "- wait dma2, summed, 1", "race", _SUM, _ALL),
    _bug("topk", "- wait vpu, here, tiles", "race", "dma dma1, d4, d2", "vtopk d8, d9, d6"),
    _bug("topk", "- wait dma1, ranked, 1", "race", "vtopk d2, d3, d1,", "dma dma1, d4, d2"),
    _bug("topk", "- wait dma2, best, 1", "race", "vtopk d8, d9, d6", "dmag dma2, d11, d7,"),
    _bug("flash_attention", "- wait mxu, constants, 1", "race", "viota temp, ALPHA",
         "readout s, as, row=fac"),
    _bug("flash_attention", "- wait mxu, q_full, 1", "race", "dma dma0, tq, dq", _SCORES),
    _bug("flash_attention", "- wait mxu, p_full, 1", "race", "vcvt p, s", _VALUES),
    # ---- after a multicast
    _bug("all_reduce", "- wait dma3, gathered, tiles", "race", _ALL, _OUT),
    _bug("all_reduce", "signal dma2, gathered, 1, => signal vpu, gathered, 1, scope=all", "race",
         _ALL, _OUT),
    _bug("all_reduce",
         ".desc result => .desc result tsram:RESULT fp32[SLICE] owner=0 fan=TILES-1 fanstep=1",
         "unwritten", _OUT),
    # ---- one tile too few
    _bug("all_reduce", "wait vpu, arrived, tiles => wait vpu, arrived, TILES - 1", "race", _SEND,
         _SUM),
    _bug("all_reduce", "wait dma3, gathered, tiles => wait dma3, gathered, TILES - 1", "race",
         _ALL, _OUT),
    _bug("topk", "wait vpu, here, tiles => wait vpu, here, TILES - 1", "race",
         "dma dma1, d4, d2", "vtopk d8, d9, d6"),
    # ---- a signal that is missing
    _bug("gemm", "- signal mxu, w_free, 1", "deadlock", "wait dma0, w_free, 1"),
    _bug("gemm", "- signal dma0, w_full, 1", "deadlock", "wait mxu, w_full, 1"),
    _bug("topk", "- signal dma1, here, 1,", "deadlock", "wait vpu, here, tiles"),
    # ---- a signal that comes too early, or of the wrong unit or semaphore
    _bug("gemm", f"{_GEMM} <> signal mxu, w_free, 1", "race", "signal mxu, w_free, 1", _FILL),
    _bug("gemm", f"{_READOUT} <> signal mxu, y_full, 1", "race", "signal mxu, y_full, 1", _BACK),
    _bug("gemm", f"{_SCALES} <> signal dma0, w_full, 1", "race", "signal dma0, w_full, 1", _GEMM),
    _bug("all_reduce", f"{_SEND} <> signal dma1, arrived, 1,", "race", "signal dma1, arrived, 1,",
         _SUM),
    _bug("flash_attention", f"{_VALUES} <> signal mxu, kv_free, 1", "race",
         "signal mxu, kv_free, 1", "dma dma1, tv, dv"),
    _bug("flash_attention", "vcvt p, s <> signal vpu, p_full, 1", "race",
         "signal vpu, p_full, 1", _VALUES),
    _bug("softmax", "signal dma1, empty, 1 => signal vpu, empty, 1", "race", "dma dma1, dst, v",
         "dma dma0, v, src"),
    _bug("softmax", "signal vpu, ready, 1 => signal vpu, filled, 1", "deadlock",
         "wait dma1, ready, 1"),
    # ---- the wrong unit's wait
    _bug("gemm", "wait dma1, y_full, 1 => wait dma2, y_full, 1", "race", _READOUT, _BACK),
    _bug("gemm", f"{_SCALES} => dma dma2, sb, s_src", "race", _SCALES, _GEMM),
    _bug("topk", "dma dma1, d5, d3 => dma dma3, d5, d3", "race", "dma dma1, d5, d3",
         "dmag dma2, d11, d7,"),
    # ---- the wrong count
    _bug("gemm", "wait dma0, w_free, 1 => wait dma0, w_free, 0", "race", _GEMM, _FILL),
    _bug("gemm", "signal ctl, w_free, 2 => signal ctl, w_free, 3", "race", _GEMM, _FILL),
    _bug("gemm", "signal ctl, w_free, 2 => signal ctl, w_free, 3", "unbalanced",
         "signal ctl, w_free, 2", "signal mxu, w_free, 1", "wait dma0, w_free, 1",
         "wait dma0, w_free, 2"),
    _bug("flash_attention", "signal ctl, kv_free, 2 => signal ctl, kv_free, 3", "race", _SCORES,
         _KEYS),
    _bug("gemm", "- wait dma0, w_free, 2", "unbalanced", "signal ctl, w_free, 2",
         "signal mxu, w_free, 1", "wait dma0, w_free, 1"),
    # ---- the wrong buffer
    _bug("gemm", "- xor half, half, 1", "race", _GEMM, _FILL),
    _bug("gemm", "- dset wb, base, at+WB", "race", _GEMM, _FILL),
    _bug("flash_attention", "- xor half, half, 1", "race", _SCORES, _KEYS),
    # ---- the wrong address or size of a DMA
    _bug("gemm", "dset sb, base, at+WS => dset sb, base, at+YB", "unwritten", _GEMM),
    _bug("gemm", "dset sb, base, at+WS => dset sb, base, at+YB", "race", _READOUT, _SCALES),
    _bug("gemm", "- dset y_dst, base, at+y", "race", _BACK, _BACK),
    _bug("all_reduce", "- dadd slot, base, at", "race", _SEND, _SEND),
    _bug("topk", "dadd d5, base, at => dadd d5, base, 0", "race", "dma dma1, d5, d3",
         "dma dma1, d5, d3"),
)  # fmt: skip
