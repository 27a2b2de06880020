"""The conformance kit: programs with known results, and the means to hold a device against them.

    cases(chip)                    # kit.py: every case of every suite, built when asked for
    case.program, case.expected    # case.py: what to run, and all that must come out
    judge(case, result)            # judge.py: a verdict, with the first difference explained

Expected results come from `oracle/`, which shares no arithmetic with the executors, the compiler
or `isa.formats`. docs/conformance.md is for who has a device; docs/architecture.md, section 7,
for who adds cases.
"""
