"""Errors a user of the compiler can cause."""

from isa.errors import TesseraError


class CompileError(TesseraError):
    """Bad input to the compiler: one line that names the file, the place and the remedy."""
