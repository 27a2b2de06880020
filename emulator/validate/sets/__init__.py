"""The sets: measurements, and how each becomes a program."""
