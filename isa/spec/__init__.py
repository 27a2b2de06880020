"""The machine-readable specification: every instruction, once.

``INSTRUCTIONS`` lists the entries by opcode; ``BY_MNEMONIC`` and ``BY_OPCODE`` look them up.
"""

from isa.spec import control, dma, matrix, sync, vector
from isa.spec.model import Instruction

ISA_VERSION = (1, 1)

INSTRUCTIONS: tuple[Instruction, ...] = tuple(
    sorted(
        (
            *control.INSTRUCTIONS,
            *sync.INSTRUCTIONS,
            *matrix.INSTRUCTIONS,
            *vector.INSTRUCTIONS,
            *dma.INSTRUCTIONS,
        ),
        key=lambda entry: entry.opcode,
    )
)
BY_MNEMONIC: dict[str, Instruction] = {entry.mnemonic: entry for entry in INSTRUCTIONS}
BY_OPCODE: dict[int, Instruction] = {entry.opcode: entry for entry in INSTRUCTIONS}
