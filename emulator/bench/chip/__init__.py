"""How good the compiled code is on the simulated chip: `emu bench chip`.

    shapes ─► program (compiler) ─► step on the timing model ─► cycles ─┐
    shapes ─► bound (closed form) ─► cycles at the measured copy's rate ─┴► row, table, picture

Cycles are the timing model's and belong to the simulated chip: the same on every host, for every
number of threads. What they are held against is computed from the shape alone (`bound.py`), and at
the rate at which the same chip copies its HBM in the same run (`hbm_copy.py`).
"""
