"""Executes Tessera programs: values from the executors, cycles from the timing model."""
