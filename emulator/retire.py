"""The retire stream's record: what ran, on which unit, with resolved addresses and sizes.

A chunk is an int64 array [n, 16]; the words are described in docs/architecture.md, section 5.
"""

WORDS = 16

TILE, UNIT, PC, CONTEXT, GAP, OPCODE, FLAGS = range(7)

SEM, COUNT, SCOPE, TARGET = 7, 8, 9, 10

ROWS, COLUMNS, DEPTH, FORMATS, MACS = 7, 8, 9, 10, 11
BYTES_A, BYTES_W, BYTES_ACC = 13, 14, 15

ELEMENTS, VECTOR_ROWS, LAST_AXIS, TOPK, STRIDES = 7, 8, 9, 11, 12
BYTES_READ, BYTES_WRITTEN = 13, 14

SPACES, SRC_OWNER, DST_OWNER, FANSTEP, SRC_ADDRESS, DST_ADDRESS = 7, 8, 9, 10, 11, 12
BYTES, RUNS, STRIDE = 13, 14, 15

LD_SPACE, LD_OWNER, LD_ADDRESS = 7, 8, 11
