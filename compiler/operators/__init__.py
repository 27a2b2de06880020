"""Single operators as whole programs: HBM to HBM, on any chip.

    program = gemm(load_chip("t1"), 512, 512, 512)

Each is one entry, `run`, that takes no arguments and can be rung again. None of them looks at the
shape beyond what must fit: the same rules cut every shape, on every chip.
"""

from compiler.operators.attention import attention
from compiler.operators.copy import copy
from compiler.operators.gemm import GemmFormats, blocked, gemm
from compiler.operators.rowwise import layernorm, softmax

__all__ = ["GemmFormats", "attention", "blocked", "copy", "gemm", "layernorm", "softmax"]
