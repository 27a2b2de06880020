"""Where everything lies in the checker's memory: word numbers of its int64 tables.

``c``, the checker, is the address of a block of words: constants, and addresses of tables.
"""

# ---- c: the checker

C_TILES = 0
C_TILES_PER_CLUSTER = 1
C_THREADS = 2
C_CLOCK_BYTES = 3  # of one vector clock: uint32 [threads], padded to whole 64 bytes
C_EVENTS = 4
C_EVENT_COUNT = 5
C_BY_THREAD = 6  # numbers of events, thread by thread
C_BY_TILE = 7  # numbers of events, tile by tile
C_THREAD = 8  # the threads' rows
C_TILE = 9  # the tiles' rows
C_SEMAPHORES = 10
C_CLOCKS = 11  # of every thread
C_SLOTS = 12  # clocks that were kept: of signals, and of control processors at an issue
C_SLOT_USERS = 13
C_SLOT_FREE = 14  # first free slot of those used before, -1: none
C_SLOT_COUNT = 15  # slots ever used
C_SIGNALS = 16  # signals that their waiters do not know all of
C_SIGNAL_FREE = 17
C_SIGNAL_COUNT = 18
C_ACCESSES = 19  # this entry's accesses, by id less C_FIRST
C_FIRST = 20  # the first id of this entry
C_NEXT = 21  # the next id
C_NODES = 22  # this entry's sets of readers, by number less C_FIRST_NODE
C_FIRST_NODE = 23
C_NEXT_NODE = 24
C_MEMO = 25  # sets already extended by the access at hand
C_FINDINGS = 26
C_FINDING_COUNT = 27
C_LOST = 28  # findings beyond the table
C_PLACES = 29
C_TURNS = 30  # a ring of threads that may be able to go on
C_TURN_HEAD = 31
C_TURN_TAIL = 32
C_FORCED = 33  # the thread whose wait is taken although more signals may come; -1
C_CURSOR = 34  # where to look for the next such thread
C_RANGES = 35  # room for the union of ranges
C_PROBLEM = 36  # OK, or why the checker cannot go on
C_WALK_BOX = 37  # addresses of compiled functions
C_INSTRUCT = 38
# the access at hand
C_NOW_THREAD = 40
C_NOW_CLOCK = 41  # address of its thread's clock
C_NOW_ID = 42
C_NOW_PLACE = 43  # address of a place's row
C_NOW_ORIGIN = 44  # address that the cell of byte 0 has, or would have
C_NOW_OWNER = 45
C_NOW_WRITES = 46
C_BOX = 48  # the box of elements at hand: 4 counts, then 4 steps in bits
C_SORTED = 56  # the same, what lies together merged and the rest sorted
C_WORDS = 64

OK, NO_SLOTS, NO_SIGNALS, NO_NODES, MIXED_UP = range(5)

# ---- an event: a retire record that matters

(
    E_HEAD,  # thread | kind << 32
    E_PC,  # pc | number within its tile << 32
    E_A,
    E_B,
    E_C,
    E_D,
    E_ISSUED,  # the control processor's own time at the issue
    E_SLOT,  # its clock at the issue, if the unit may not know that yet; -1
    E_WORDS,
) = range(9)

# kinds, and what A to D are
WAIT = 0  # semaphore's row, count
SIGNAL = 1  # semaphore, count, first and last tile
ACCESS = 2  # address of its log entry
LOAD = 3  # space, owner, address, bytes
OTHER = 4

# ---- a thread: tile * UNITS + unit

(
    TH_AT,  # its next event: an index of C_BY_THREAD
    TH_END,
    TH_SEMAPHORE,  # row of the semaphore it waits for, -1
    TH_NEED,  # and the count
    TH_TURN,  # 1: it is in the ring of turns
    TH_ISSUED,  # version of its control processor's clock that came along with an issue
    TH_LOGGED,  # its next event without a log entry, while entries are attached
    TH_WORDS,
) = range(8)

# ---- a tile

(
    TI_AT,  # the next event to be issued: an index of C_BY_TILE
    TI_BEGIN,
    TI_END,
    TI_VERSION,  # how often its control processor has waited
    TI_SLOT,  # a slot with the control processor's clock, -1: none that is up to date
    TI_WORDS,
) = range(6)

# ---- a semaphore of a tile

(
    S_HAVE,  # its count
    S_BEFORE,  # its count when the entry was rung
    S_DEMAND,  # the sum of all waits taken
    S_KNOWN,  # the sum of signals that the waiter knows all of, S_BEFORE included
    S_SOURCE,  # the only thread that signals it, NOBODY or SEVERAL
    S_WAITER,  # the thread that waits for it, NOBODY
    S_TOTAL,  # the sum of all signals of the entry
    S_ARRIVED,  # of S_TOTAL
    S_OWN,  # the part of S_TOTAL that comes from the waiter itself
    S_OWN_ARRIVED,
    S_FIRST,  # the first signal that the waiter does not know all of, -1
    S_LAST,
    S_WORDS,
) = range(13)
NOBODY, SEVERAL = -1, -2

# ---- a signal

G_NEXT, G_SLOT, G_THREAD, G_TIME, G_COUNT, G_WORDS = range(6)

# ---- an access: thread | time << 32, E_PC of its event

A_WHO, A_WHAT, A_WORDS = range(3)

# ---- a place: a kind of memory. Cells are 8 bytes for each byte of memory: the id of the access
# that wrote it last | the number of the set of those that have read it since << 32

(
    P_CELLS,  # address of owner 0's first cell; 0: nothing can go wrong here
    P_BYTES,  # of one owner
    P_ORIGIN,  # address of the first byte
    P_READS,  # whether reads are remembered
    P_KNOWN,  # whether all of it counts as written from the start
    P_PADDING,  # addresses that may be read before they are written: the first
    P_BEYOND,  # and the one behind the last
    P_WORDS,
) = range(8)
CSRAM, TSRAM, ACC, REGIONS = range(4)  # numbers of places; regions of HBM follow

#: ids of cells: never written; written before the first entry, or by the host
NEVER, BEFORE, FIRST_ID = range(3)

MEMO_WORDS, MEMO_ROWS = 3, 256  # set, access, extended set
MOST_SLOTS, MOST_SIGNALS, MOST_NODES = 1 << 20, 1 << 24, 1 << 28

# ---- a finding

(
    F_KIND,  # 0: the row is free
    F_PC,  # of the first instruction
    F_OTHER_PC,  # of the second; -1: none
    F_COUNT,
    F_THREAD,
    F_OTHER_THREAD,
    F_PLACE,
    F_OWNER,
    F_LOW,
    F_HIGH,
    F_IDS,  # of the two, the last time
    F_NUMBER,  # how many findings there were before it
    F_WORDS,
) = range(13)
MOST_FINDINGS = 1 << 12  # rows of the table; half of them are filled

# kinds
UNWRITTEN = 1  # the first reads what nobody wrote
READ_OF_WRITE = 2  # the first writes, the other reads
WRITE_OVER_READ = 3  # the first reads, the other writes
WRITE_OVER_WRITE = 4
