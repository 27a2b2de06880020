"""The Gemmini RTL set: 684 1x1 layers, each lowered by its own mapping and timed.

    rows = read_rows(Path("gemmini_rtl.csv"))
    cycles = predict(rows, load_chip("gemmini-128"), processes=2)

docs/validation/gemmini-rtl.md says what is assumed. `rows` reads the file, `nest` has a row's loops
and tiles, `sampling` which turns are simulated, `lowering` makes the program, `predict` times it,
`baselines` has the roofline and the regressor it is compared with, `fit` the fitted constants.
"""
