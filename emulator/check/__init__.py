"""`emu run --check`: whether a program's instructions are ordered where they must be.

docs/check.md is the page about it.
"""
