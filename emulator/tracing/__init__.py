"""Timelines of a run, instruction by instruction: for Perfetto, for Konata (docs/trace.md)."""
