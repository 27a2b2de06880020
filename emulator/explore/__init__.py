"""Architecture exploration: many points, each a chip, a model, formats and a workload.

    STUDY.yaml ─► study ─► points ─► jobs ─► evaluate (any executor) ─► store ─► rows ─► exports

`reader` makes a `study` of the file, strictly; `sampling` and `search` choose points; `point` makes
a job of one: plain data that say all that its timing depends on, whose hash is its key. `evaluate`
times a job, in whatever process; `store` keeps what it gave. Metrics and constraints are functions
of stored results, so new ones cost no simulation. `quality` makes jobs of a point's formats, which
go the same way. docs/explore.md is for users.
"""
