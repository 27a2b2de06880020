"""The errors a user can cause, each a single line, and the exit status each one means."""


class TesseraError(Exception):
    """An error to be shown as one line: what, where, and what to do about it."""

    #: What the command line exits with: 2 for bad input, 1 for a program that faulted.
    exit_status = 2


class ChipError(TesseraError):
    """A chip description that cannot be used: `t1.yaml: tile.mxu.rows: expected ...`."""


class ProgramError(TesseraError):
    """A program, or a program file, that cannot be used: `file: place: problem; remedy`."""


class FileError(TesseraError):
    """A file that cannot be read or written."""
