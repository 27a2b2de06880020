"""Quality as an axis: how well the shipped model predicts held-out text in a point's formats.

`text` has the held-out text, `reference` the model without Tessera, `emulated` the same from the
emulator's own bits; `job` makes jobs of formats, which are keyed, kept and run as timings are.
"""
