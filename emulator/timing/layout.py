"""Where every quantity lies in the timing model's arrays.

All state is in a few int64 arrays (`emulator/timing/state.py` makes them), because compiled code
then takes them by reference at no cost. The names here are their columns. Times are cycles of the
chip's clock since the entry was rung; -1 is "none".
"""

from isa.faults import NUM_UNITS
from isa.spec.model import NUM_SEMAPHORES

UNITS = NUM_UNITS  #: of a tile: ctl, mxu, vpu, dma0..7
SEMAPHORES = NUM_SEMAPHORES
TICKS = 256  #: HBM channels are reserved in 1/256 cycle, since a burst takes a fraction of cycles
NEVER = 1 << 62
LINE = 8  #: words of a cache line. Rows end at one's end, so that none lies in more than it must.


def lines(words: int) -> int:
    """Words of the cache lines that so many words take."""
    return -(-words // LINE) * LINE


# ---- kinds of units
KINDS = ("ctl", "mxu", "vpu", "dma")
CTL, MXU, VPU, DMA = range(len(KINDS))

# ---- why a unit's time passes. Every cycle of every unit has exactly one of these.
CAUSES = (
    "execute",  # does what it is for
    "start",  # fixed cost of starting an instruction
    "weight load",  # MXU: weights arrive more slowly than they are used
    "drain",  # MXU: the array fills and empties
    "tsram banks",  # bank conflicts, or other units using the banks
    "hbm",  # HBM channel slower than the DMA channel, or busy
    "noc",  # a link or port is used by others
    "csram",  # CSRAM is used by others
    "latency",  # DMA: all allowed requests are under way
    "semaphore",  # waits for a semaphore
    "issue",  # its queue is empty
    "queue full",  # ctl: waits for a place in a unit's queue
    "scalar load",  # ctl: waits for a `ld`
    "signal",  # of a path only, never of a unit: a signal is on its way
    "after end",  # has nothing left to do in this entry
)
NC = 16
(
    EXECUTE,
    START,
    WEIGHT_LOAD,
    DRAIN,
    BANKS,
    HBM_SLOW,
    NOC_BUSY,
    CSRAM_BUSY,
    LATENCY,
    SEMAPHORE,
    ISSUE,
    QUEUE_FULL,
    SCALAR_LOAD,
    SIGNAL_WAY,
    AFTER_END,
) = range(len(CAUSES))

#: Causes along a path: as above, but it says whose work and whose start it is. Without those that
#: no path has: what a unit waits for has a path, which it takes over.
PATH_CAUSES = (
    "control",  # the control processor's instructions
    "dma start",
    *CAUSES[2:9],
    "issue",
    "scalar load",
    "signal",
    "array",  # MXU streams, reads out or loads
    "vector",  # VPU computes
    "moving data",  # DMA channel at its own rate
    "unit start",  # MXU's and VPU's instructions
)
NP = len(PATH_CAUSES)
W_ISSUE, W_SCALAR_LOAD, W_SIGNAL, W_ARRAY, W_VECTOR, W_MOVING, W_UNIT_START = range(LATENCY + 1, NP)

# ---- constants of the chip (int64); the rest of the names are first numbers of resources
(
    P_TILES,
    P_TILES_PER_CLUSTER,
    P_COLUMNS,
    P_DEPTH,  # of a unit's queue
    P_SCALAR,
    P_BRANCH,
    P_ISSUE,
    P_LOAD_SRAM,
    P_LOAD_HBM,
    P_MXU_ROWS,
    P_MXU_COLUMNS,
    P_PE,
    P_DOUBLE,
    P_LOAD_ROWS,
    P_LOAD_LATENCY,
    P_MIN_INTERVAL,
    P_MXU_START,
    P_ACC_BYTES,
    P_LANES,
    P_VPU_START,
    P_BANKS,
    P_BANK_BYTES,
    P_OUTSTANDING,
    P_REQUEST,
    P_DMA_START,
    P_DMA_START_SRAM,
    P_DMA_BYTES,  # of a channel, per cycle
    P_PIECE,  # largest piece of a transfer, bytes
    P_PIECE_REQUESTS,
    P_CSRAM_PORTS,
    P_CSRAM_BYTES,
    P_CSRAM_LATENCY,
    P_LINK_BYTES,
    P_HOP,
    P_INTERFACE,
    P_REMOTE_SIGNAL,
    P_INTERLEAVE,
    P_HASH,  # granules' channels are spread by a hash
    P_CHANNELS,  # of the chip
    P_PSEUDO,  # pseudo-channels of a channel
    P_PSEUDO_BYTES,  # contiguous bytes of a channel on one of them
    P_BURST,
    P_ROW_BYTES,  # of a bank, or of the banks that a row is striped over
    P_GANG,  # how many banks these are
    P_BANK_STRIPE,  # bytes before the next of them
    P_HBM_BANKS,  # of a pseudo-channel; ganged ones are one
    P_HBM_QUEUE,  # entries of a channel's queue
    P_ENTRY_BYTES,  # of one of them
    P_ROW_SWITCH,  # ticks to close a row and open another
    P_ROW_AGAIN,  # ticks from a row's first byte until its bank may close it
    P_ROW_CLOSE,  # ticks from a row's last byte until its bank may close it
    P_TURNAROUND,  # ticks of the bus, once
    P_WRITE_BATCH,  # bytes
    P_HBM_LATENCY,
    R_TILE_OUT,
    R_TILE_IN,
    R_CSRAM_OUT,
    R_CSRAM_IN,
    R_PORT_OUT,
    R_PORT_IN,
    R_CLUSTER,
    R_CHANNEL,  # pseudo-channels
    R_COUNT,
    P_LEAVES,  # of the event queue
    P_COUNT,
) = range(65)

P_SHIFTS = P_COUNT  #: behind the constants, for each: log2 of a power of two, else -1 (costs.py)
STEPS = 16  #: a power of two
P_CHANNEL_STEPS = 2 * P_COUNT  #: STEPS numbers coprime to the channels (hbm.py)
P_BANK_STEPS = P_CHANNEL_STEPS + STEPS  #: the same for the banks of a pseudo-channel
#: What a visit of HBM costs that takes all bytes of a pseudo-channel's turn (hbm.py)
V_BURSTS, V_ENTRIES, V_LENGTH, V_OPENING, V_SLOWEST, P_END = range(
    P_BANK_STEPS + STEPS, P_BANK_STEPS + STEPS + 6
)

# ---- constants of the chip (float64)
F_BURST = 0  # HBM ticks of one burst on a pseudo-channel
F_ACTIVATE = 1  # HBM ticks between two activates on a pseudo-channel
F_SAME_GROUP = 2  # HBM ticks between two bursts of one bank group
F_RATES = 3  # nine: activations' width x weights' width
F_PASSES = 12  # by vector class

# ---- what an opcode is (column 0 of the opcode table), and its vector class (column 1)
OP_SCALAR, OP_WAIT, OP_SIGNAL, OP_GEMM, OP_READOUT, OP_SEED, OP_VECTOR, OP_DMA, OP_LOAD, OP_HALT = (
    range(10)
)
VECTOR_CLASSES = (
    "vector1",
    "vector2",
    "vector4",
    "vector_slow",
    "reduce",
    "scan",
    "topk",
    "quantise",
    "reduce_slow",
)
(
    V_VECTOR1,
    V_VECTOR2,
    V_VECTOR4,
    V_SLOW,
    V_REDUCE,
    V_SCAN,
    V_TOPK,
    V_QUANTISE,
    V_REDUCE_SLOW,
) = range(len(VECTOR_CLASSES))
#: A class that has the passes of another one; the others' are the chip's, by their own names.
PASSES_OF = {"reduce_slow": "vector_slow"}

# ---- a record in the pool
NEXT = 0  #: instead of its tile: the record behind it in its tile's FIFO
ROW = 3  #: instead of its context: the number of the report's row

# ---- a tile's FIFO of records not yet used (indices into the pool), and the signals on their way
T_HEAD, T_TAIL, T_SIGNAL, T_LAST_SIGNAL, T_FIELDS = range(5)

# ---- a unit
(
    U_PTR,  # its time is accounted for up to here
    U_DRAIN,  # up to here, idle time is the array's drain
    U_DONE,  # when everything taken so far is complete
    U_ROW,  # the report row of the instruction taken last
    U_HEAD,  # of the queue
    U_COUNT,  # entries in the queue
    U_PASSED,  # DMA: entries that the front end has passed on
    U_ACTIVE,  # the front end has an event or waits for a semaphore
    U_WAITING,  # 1 waits for a semaphore, 2 has just been given it
    U_WEIGHTS,  # MXU: when the spare weight buffer is free
    U_STREAM,  # MXU: when the array is free; DMA: when the next piece may be issued
    U_IDEAL,  # when it would be complete if nothing were shared (the critical path)
    U_IDEAL_STREAM,
    U_FETCHED,  # ctl: the next record's gap has passed
    U_BLOCKED,  # ctl: waits for a place in this unit's queue; DMA: the back end has an event
    U_TURNED,  # ctl, if watched: when it turned to its record + 1; 0: it has not
) = range(16)
U_CAUSES = 16
U_PATH = U_CAUSES + NC  # causes along the critical path to this unit's U_PTR; sums to U_PTR
U_FIELDS = lines(U_PATH + NP)

# ---- an entry of a unit's queue. What a `wait` or `signal` is lies here, so that units need not
# look for its record, which is far away.
(
    Q_REC,  # -1: is not needed any more
    Q_TIME,
    Q_IDEAL,
    Q_FROM,  # FROM..TO: the wait, or the doorbell
    Q_TO,
    Q_WHAT,  # row << WHAT_BITS | what the opcode is
    Q_SYNC,  # semaphore, scope and target (sync.py)
    Q_COUNTED,  # what a `wait` takes, or a `signal` gives
    Q_PATH,  #  the control processor's path when it issued this
) = range(9)
WHAT_BITS = 4
Q_WAIT_PATH = Q_PATH + NP  # the path of the signal that ended the wait
Q_FIELDS = lines(Q_WAIT_PATH + NP)

# ---- a semaphore
S_COUNT, S_WAITER, S_NEED, S_IDEAL, S_FIELDS = range(5)  # waiter: unit + 1

# ---- a DMA channel: the transfer under way, and a ring of pieces in flight
(
    C_REC,
    C_OFFSET,  # bytes of the transfer already issued
    C_PIECE,  # bytes of the next piece
    C_PIECE_RUNS,
    C_PIECE_REQUESTS,
    C_PIECE_ADDRESS,
    C_FIRST,  # no piece of this transfer has been issued
    C_FINISH,  # when all pieces so far are complete
    C_LAST_SPACE,  # destination of the transfer before, for order in memory
    C_LAST_OWNER,
    C_LAST_LOW,
    C_LAST_HIGH,
    C_RING_HEAD,
    C_RING_COUNT,
    C_FLYING,  # requests in flight
    C_CHANNEL,  # of the next piece, if it is read from HBM
) = range(16)
C_RING = lines(C_CHANNEL + 1)

SEEN_FIELDS = 4  #: of `seen` (network.py); the fourth is spare, for no line to lie in two lines

# ---- a bank of HBM
(
    B_ROW,  # open row + 1
    B_BEFORE,  # the row before it + 1
    B_OPENED,  # tick of the open row's first byte
    B_FREE,  # tick from which on it may be closed
) = range(4)
B_FIELDS = 4

# ---- the queue of an HBM channel: a ring of groups of entries (hbm.py)
HQ_TOTAL, HQ_HEAD, HQ_COUNT, HQ_FIRST = range(4)
HQ_GROUPS = 36  # two neighbours are more than a sixteenth of the queue together, so 33 are enough
HQ_FIELDS = lines(HQ_FIRST + 4 * HQ_GROUPS)

# ---- a signal on its way
SIG_NEXT, SIG_TIME, SIG_SEM, SIG_COUNT, SIG_IDEAL = range(5)
SIG_FROM, SIG_SENT, SIG_SENDER = range(5, 8)  # if watched (slices.py)
SIG_PATH = 8
SIG_FIELDS = lines(SIG_PATH + NP)

# ---- globals
(
    G_SIGNAL_FREE,  # first free signal
    G_SIGNALS,  # free signals
    G_FREE,  # free records
    G_STAMP,  # of multicast pieces
    G_CLOSED,  # no more records will come
    G_END,  # the latest completion so far
    G_EVENTS,
    G_PIECES,
    G_LAST_UNIT,  # the unit that completed last, for the critical path
    G_IDEAL,
    G_TRACED,  # tiles below this one are watched (slices.py), 0 if nobody watches
    G_TRACED_FROM,  # but for those below this one
    G_SLICES,  # slices in the buffer
    G_SLICES_LEFT,  # free places there
    G_SERIAL,  # of the next record of watched tiles
    G_SIGNALLER,  # serial of the signal that is being sent
    G_WINDOW,  # cycles of a window of the meters
    G_COUNT,
) = range(18)

# ---- a report row: an operation in a context
ROW_FIRST, ROW_LAST = 0, 1
ROW_CAUSES = 2  # by kind of unit (ctl, mxu, vpu, dma), then by cause
ROW_PATH = ROW_CAUSES + len(KINDS) * NC  # the path to its end
ROW_FIELDS = lines(ROW_PATH + NP)

SLOT_SIGNAL = 31  # slots of a tile: 2 * unit (front end), 2 * unit + 1 (DMA back end), signals
