"""What must come out, by exact arithmetic on integers and fractions.

Written from docs/isa/ for the kit alone. It shares nothing with the executors, the compiler,
`isa.formats` or `isa.blockscale` beyond the names of formats; only `isa.descriptor` and the enums
of `isa.formats` may be imported here.
"""
