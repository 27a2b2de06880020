"""`emu validate`: the timing model held against measured parts.

    sets/     what was measured, and how it becomes programs: one module for each part
    data/     the measurements, with their citations
    case.py   a case, a set     registry.py  which sets there are
    predict.py  cycles of a program          run.py  all cases, on several processors
    errors.py   MAPE, rank, bias             table.py, report.py  text, JSON
    fit.py      the fitted constants, again  sensitivity.py  what the errors rest on

A new set is a module with a function `load(data: Path | None) -> Set`, and its line in registry.py.
"""
