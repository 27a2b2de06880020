"""Searches for the tiling with which named steps take the fewest cycles on a chip.

    shape, chip, options ─► Subject ─┐
    knobs that may be turned ─► Walk ┴► jobs ─► store of `emu explore`, or the timing model ─► Found

It stands above the compiler and the emulator, and neither knows of it: what it finds is a
`compiler.tiling.Tiling`, which a user could have given as well (`emu compile --tiling`). Bounded by
a number of programs, the same for the same seed on any number of processes, and answered from the
store where a step was timed before.
"""
