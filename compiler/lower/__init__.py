"""Lowering: fused phases become the instructions of one SPMD program."""
