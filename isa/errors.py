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


def printable(text: str, keep: str = "") -> str:
    """Text of somebody's file as an error may show it: what no terminal prints becomes `\ufffd`.

    Each character stays one, so that columns stay right; those in `keep` stay as they are.
    """
    return "".join(c if c.isprintable() or c in keep else "\ufffd" for c in text)
