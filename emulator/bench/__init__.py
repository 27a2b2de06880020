"""What the emulator's speed is, beside what this machine can do: `emu bench`.

    host facts and probes ─► rows: a probe beside its yardstick, alternating ─► table, JSON

A *probe* (measure.py) does a known amount of work and says how long it took. A *row* is the rate
of one probe over that of its yardstick, both measured in the same run, in turns, so that a busy
machine slows both alike. `suite.py` lists the rows; each module beside it has the rows of one kind.
"""
