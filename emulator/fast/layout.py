"""Where everything lies in the executor's own memory: word numbers of its int64 blocks.

Compiled functions take host addresses of four kinds of block:

- ``m``, the machine: constants of one program on one chip;
- ``t``, a tile: its whole architected state, queues excepted;
- ``w``, a worker thread: the arguments of a kernel and what is known of its operands;
- a queue slot: an instruction with the descriptors and scalars captured at its issue.

Plain words instead of NumPy arrays keep the loop free of reference counts, of array structs and
of most of Numba's compile time.
"""

from isa.faults import NUM_UNITS
from isa.spec.model import CALL_DEPTH, LOOP_DEPTH, NUM_DESCRIPTORS, NUM_SCALARS, NUM_SEMAPHORES

# ---- m: the machine

M_TILES = 0
M_TILES_PER_CLUSTER = 1
M_CLUSTERS = 2
M_CODE = 3  # address of the decoded rows
M_CODE_ROWS = 4
M_TABLE = 5  # address of the program's descriptor table
M_TABLE_ROWS = 6
M_QUEUE_DEPTH = 7
M_REGIONS = 8  # address of the region rows, sorted by base
M_REGION_ROWS = 9
M_TSRAM = 10  # address of tile 0's bytes; the next word is the size of one tile's
M_TSRAM_BYTES = 11
M_CSRAM = 12
M_CSRAM_BYTES = 13
M_ACC = 14
M_ACC_BYTES = 15
M_KERNELS = 16  # address of the table of kernel addresses, by opcode
M_RULES = 17  # address of the operand rules, by opcode
M_TILE0 = 18  # address of tile 0's block
M_TIMING_ONLY = 19
M_RECORDING = 20
M_BUDGET = 21  # a tile's share of one superstep, in scalar instructions' worth
M_BOARD = 22  # address of the workers' board (rounds.py)
M_SITES = 23  # address of the choice sites' rows, by site; 0: none are declared
M_SEED = 24
M_RESOLVE = 25  # addresses of the loop's own parts: see dispatch.py
M_TENSOR = 26
M_RECORD = 27
M_LOG = 28  # the function that logs accesses (access_log.py); 0: they are not wanted
M_ALLOCATE = 29  # a C function that takes a size and gives memory
M_POSTPONED = 30  # address of tile 0's postponed copies (postponed.py); 0: all are made at once
M_PREPARE = 31  # the function that sees to them
M_LEAST_COPY = 32  # bytes of the smallest copy that is postponed
M_ALONE = 33  # what the first worker does before it has others woken, in scalar instructions' worth
M_WORKERS = 34
M_YIELD = 35  # a C function that lets other threads have the processor; 0: there is none
M_WORDS = 40

#: One row of the region table.
REGION_BASE, REGION_END, REGION_HOST, REGION_WRITABLE, REGION_CONTROL = range(5)
REGION_WORDS = 8

#: One row of the choice sites: values are `low + hash mod span`.
SITE_LOW, SITE_SPAN = range(2)
SITE_WORDS = 2

# ---- decoded rows: 32 bytes each, offsets in bytes

ROW_OP = 0  # 0: illegal
ROW_FLAGS = 1
ROW_RD = 2
ROW_RA = 3
ROW_RB = 4
ROW_UNIT = 5
ROW_SEM = 6
ROW_SCOPE = 7
ROW_SEL = 8
ROW_D = 9  # d0..d4
ROW_IMM = 16  # int64
ROW_TARGET = 24  # uint32
ROW_SITE = 28  # uint32
ROW_BYTES = 32

# ---- t: a tile

T_ID = 0
T_CLUSTER = 1
T_PC = 2
T_CONTEXT = 3
T_GAP = 4  # scalar instructions since the last record
T_TAKEN = 5  # taken branches since the last record
T_CALLS = 6  # depth
T_LOOPS = 7  # depth
T_CONTROL = 8  # RUNNING, HALTED or FAULTED
T_READY = 9  # bit u: unit u may be able to go on
T_RUNNABLE = 10  # whether the next superstep looks at this tile
T_OUTBOX = 11  # number of signals to deliver at the end of the superstep
T_RING = 12  # address of the ring of retire records
T_RING_ROWS = 13  # a power of two
T_RING_HEAD = 14  # first record not handed on yet, counted from when the ring was last empty
T_RING_TAIL = 15  # next record to be issued
T_RING_FULL = 16  # the tile stopped because its ring was full
T_DRAWS = 17  # values drawn at choice sites
T_STICKY = 18  # some conversion to E2M1 met a NaN
T_QUEUES = 19  # address of unit 0's first slot
T_LOG_PIECE = 20  # address of the access log's piece that is being filled
T_LOG_AT = 21  # where its next entry goes
T_REGISTERS = 24
T_DESCRIPTORS = T_REGISTERS + NUM_SCALARS
T_SEMAPHORES = T_DESCRIPTORS + 16 * NUM_DESCRIPTORS
T_WAITERS = T_SEMAPHORES + NUM_SEMAPHORES  # unit + 1; 0: none yet
T_CALL_STACK = T_WAITERS + NUM_SEMAPHORES
T_LOOP_STACK = T_CALL_STACK + CALL_DEPTH  # start, end, left
T_UNITS = T_LOOP_STACK + 3 * LOOP_DEPTH
T_SENT = T_UNITS + 8 * NUM_UNITS
T_WORDS = (T_SENT + 8 * NUM_UNITS + 7) // 8 * 8
#: What ringing an entry clears: all but memory, semaphore counts and where things lie.
T_CLEARED = (
    (T_PC, T_RING),
    (T_RING_HEAD, T_QUEUES),
    (T_REGISTERS, T_SEMAPHORES),
    (T_WAITERS, T_WORDS),
)

RUNNING, HALTED, FAULTED = range(3)

#: One of a tile's units.
U_STATE, U_HEAD, U_COUNT, U_FAULT, U_FAULT_PC = range(5)
SERVING, SENDING, STOPPED = range(3)  # SENDING: its signal is under way to other tiles

#: One signal in a tile's outbox.
S_UNIT, S_SEM, S_COUNT, S_FIRST, S_LAST, S_PC, S_RECORD = range(7)

# ---- queue slots

Q_PC = 0
Q_NUMBER = 1  # rb + immediate
Q_RECORD = 2  # number of its retire record; -1: none. Not its address: a ring may grow
Q_RA = 3  # not beside Q_NUMBER: LLVM would load both at once, just after each was stored alone
Q_DESCRIPTORS = 8
Q_WORDS = Q_DESCRIPTORS + 5 * 16

# ---- w: a worker

W_SCRATCH = 0  # address of the kernels' scratch memory
W_BUDGET = 1  # what is left of the tile's share, in scalar instructions' worth
W_SPENT = 2  # what tensor instructions have taken of it since it was last reckoned up
W_WORK = 3  # what its tiles have used of their shares since the first worker was called
W_NUMBER = 4  # the worker's; 0 is the first
W_OPERAND = 8  # addresses of up to five descriptors
W_INFO = 16  # 16 words for each operand
W_ARGS = W_INFO + 5 * 16  # the kernel's argument record
W_WORDS = W_ARGS + 16 * 6

#: What is known of an operand besides its argument record.
I_SPACE, I_OWNER, I_ADDRESS, I_BYTES, I_ELEMENTS, I_FAN, I_FANSTEP, I_CONTROL = range(8)
I_STRIDE = 8  # bytes from one owner's memory to that of the next in the fan
I_FIXED = 9  # in HBM: its region is one that programs cannot write
I_LENGTH = 10  # bytes from the first to the last, if there are elements
I_SCALE_LENGTH = 11  # the same of its scales; 0: none

#: The argument record of a kernel (docs/architecture.md, section 4).
A_OPCODE, A_FLAGS, A_NUMBER, A_K0, A_SCRATCH, A_STATUS = 0, 1, 2, 3, 4, 15
A_ADDRESS, A_FORMAT, A_LAYOUT, A_SCALE, A_SHAPE, A_STRIDES = 0, 1, 2, 3, 4, 8
A_SCALE_ADDRESS, A_SCALE_STRIDE0, A_SCALE_STRIDE1, A_RANK = 12, 13, 14, 15
