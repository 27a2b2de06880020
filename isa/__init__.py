"""The Tessera instruction set: formats, instructions, descriptors, programs and chips.

This package imports nothing of the other packages; compiler and emulator build on it.
"""
