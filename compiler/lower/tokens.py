"""Tokens between the units of the chip, and the channels that are ordered by them.

Units are ordered by tokens. A pair of semaphores guards a buffer: `full` counts filled slots and
is waited for by the consumer, `free` counts empty slots and is waited for by the producer. All
`free` tokens are handed out by the `reset` entry, and every step returns them all; those of the
weight ring, whose number depends on the step, are handed out and taken back by the step.

Channels: dma0..dma3 stream weights, dma4 brings activations in, dma5 takes results out, dma6
streams keys, dma7 values and small constants.

Phases are separated by a barrier between dma5 (results are out) of every tile and dma4 (inputs
may be read) of every tile: a cluster's tiles signal their first tile, and that one signals all
tiles. A tile reaches a barrier only when it has passed the one before, and so when every cluster
has signalled that: counts tell barriers apart.
"""

from __future__ import annotations

from compiler.emit import Code
from compiler.tile_memory import A_SLOTS

W_CHANNELS = ("dma0", "dma1", "dma2", "dma3")
IN, OUT, KEYS, CONST = "dma4", "dma5", "dma6", "dma7"
VALUES = CONST
MXU, VPU, CTL = "mxu", "vpu", "ctl"


class Tokens:
    """The semaphores, named by what they guard (see module)."""

    def __init__(self, code: Code) -> None:
        self.arrived = code.sem()  # dma5 of a cluster's tiles -> dma5 of its first
        self.barrier = code.sem()  # dma5 of first tiles -> dma4 of all
        self.order = code.sem()  # dma4 passed the barrier -> dma5 may signal the next
        self.to_keys, self.to_values = code.sem(), code.sem()
        self.tables = code.sem()  # control tables are in TSRAM -> ctl
        self.vector_to_in = code.sem()  # vpu -> dma4
        self.in_full, self.in_free = code.sem(), code.sem()  # dma4 -> vpu
        self.out_full, self.out_free = code.sem(), code.sem()  # vpu -> dma5
        self.old_full, self.old_free = code.sem(), code.sem()  # dma4 -> vpu: two slots
        self.part_full, self.part_free = code.sem(), code.sem()  # vpu -> dma5: parts of products
        self.const_full, self.const_free = code.sem(), code.sem()  # dma7 -> vpu
        self.column_full, self.column_free = code.sem(), code.sem()  # dma7 -> mxu
        self.a_full = tuple(code.sem() for _ in range(A_SLOTS))  # dma4 of a cluster -> mxu
        self.a_free = tuple(code.sem() for _ in range(A_SLOTS))
        self.a_made = code.sem()  # vpu -> mxu: activations normalised in place
        self.w_full = tuple(code.sem() for _ in W_CHANNELS)  # dma0..3 -> mxu
        self.w_free = tuple(code.sem() for _ in W_CHANNELS)
        self.stage_full, self.stage_free = code.sem(), code.sem()  # mxu -> vpu
        self.q_full, self.q_free = code.sem(), code.sem()  # dma4 -> mxu, freed by vpu
        self.row_full = self.q_full  # dma4 -> mxu: the activations' row scales
        self.k_full, self.k_free = code.sem(), code.sem()  # dma6 -> mxu
        self.v_full, self.v_free = code.sem(), code.sem()  # dma7 -> mxu
        self.k_rest, self.k_room = code.sem(), code.sem()  # dma4 -> mxu: second half of a page
        self.v_rest, self.v_room = code.sem(), code.sem()  # dma5 -> mxu
        self.s_full, self.p_full, self.o_full = code.sem(), code.sem(), code.sem()
        self.bounds_full = code.sem()  # dma4 -> vpu
        self.k_old, self.v_old = code.sem(), code.sem()  # dma6, dma7 -> dma4: old rows are there
        self.k_new, self.v_new = code.sem(), code.sem()  # dma4 -> mxu: this step's rows are
        self.k_own, self.v_own = code.sem(), code.sem()  # the same from dma6, dma7
        self.k_over, self.v_over = code.sem(), code.sem()  # mxu -> dma6, dma7: all slots are free
        self.k_cached, self.v_cached = code.sem(), code.sem()  # dma6, dma7 -> dma5: are in HBM
        self.partial_full, self.partial_free = code.sem(), code.sem()  # vpu -> dma5
