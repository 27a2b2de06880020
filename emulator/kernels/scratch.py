"""The work memory of one kernel call: where each piece lies, in bytes from its start.

One thread owns one scratch. Everything is aligned to 64 bytes: unaligned vector loads cost half the
speed. A matrix product is cut into row blocks of `ROWS`, column groups of `GROUP` panels and chunks
of at most `DEPTH` values of k; A and W are held as fp32 in rows and panels of constant stride,
which makes the addresses inside the micro-kernels immediates. Strides are odd multiples of a cache
line where several rows or panels are read side by side, so that they do not share a cache set.
"""

from __future__ import annotations

from emulator.kernels.inner import inner

LINE = 64
ROWS = 256  # row-chunks of A held at once
GROUP = 8  # panels of 16 columns decoded at once
COLUMNS = 16 * GROUP
DEPTH = 128  # k per chunk, a multiple of 32
BLOCKS = DEPTH // 16  # scale blocks per chunk, at most

#: Bytes of a panel and of its scales that are asked for before they are needed: about as far as
#: memory is away. Eight panels are more streams than a processor's own prefetching follows.
AHEAD, SCALES_AHEAD = 2048, 2 * LINE
#: The same for FP8 by FP4: a chunk of eight panels is far enough, and what is asked for beyond a
#: panel's end may be in vain; fewer panels are fewer streams, and each has to be further ahead.
AHEAD_OF_GROUP, AHEAD_OF_FEW = 1024, 3072

A_STRIDE = 4 * DEPTH + LINE  # bytes from one row of A to the next
W_STRIDE = LINE * DEPTH + 2 * LINE  # bytes from one decoded panel to the next
SA_STRIDE = 4 * BLOCKS  # scales of one row of A
SW_STRIDE = LINE * BLOCKS  # scales of one panel: 16 per block
C_STRIDE = 4 * COLUMNS  # a row of the edge tile

A_AT = 0
SA_AT = A_AT + ROWS * A_STRIDE
W_AT = SA_AT + ROWS * SA_STRIDE
SW_AT = W_AT + GROUP * W_STRIDE
C_AT = SW_AT + GROUP * SW_STRIDE
RANGES_AT = C_AT + ROWS * C_STRIDE  # per row: k range of the call, then of the chunk
RANGES_STRIDE = 64
SCALES_AT = RANGES_AT + ROWS * RANGES_STRIDE  # scale range of A, one word per chunk
STAGE_STRIDE = 4 * DEPTH + LINE  # one column's codes, copied together
STAGE_AT = SCALES_AT + 8 * ROWS
WORDS_AT = STAGE_AT + 16 * STAGE_STRIDE  # panel words made from strided columns
DIGITS_AT = WORDS_AT + LINE * DEPTH  # of few rows of A, see matrix_digits.py
D_STRIDE = 10 * LINE + LINE
MEMO_AT = DIGITS_AT + ROWS * D_STRIDE  # what the row of A was packed from, see matrix_memo.py
MEMO_BYTES = LINE + ROWS * DEPTH + ROWS * DEPTH // 16
SCRATCH_BYTES = MEMO_AT + MEMO_BYTES + LINE  # wherever it begins

# ---- the vector unit's pieces lie over the matrix unit's

RUN = 1024  # elements treated together: their fp32 copies stay in the nearest cache
BUFFER = 4 * RUN + LINE
LONG_RUN = 2 * RUN  # of what reads each run twice; its buffer is that of the first two inputs
LEAD = 4 * LONG_RUN  # bytes that memory is asked ahead for, at least, see rows.py
NEST_AT = 0  # shape and strides of the loops, see rows.py
LANES_AT = 512  # 32 lanes of a reduction
HOLDS_AT = 768  # a comparison's relation, sixteen times
OUT_AT = 1024
IN_AT = OUT_AT + BUFFER  # up to four inputs
CODES_AT = IN_AT + 4 * BUFFER  # codes copied together


@inner
def aligned(address):
    """`address` rounded up to a cache line."""
    return (address + (LINE - 1)) & -LINE
