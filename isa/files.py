"""Writing files so that nobody ever sees half of one."""

import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from isa.errors import FileError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of ``path`` when the block ends without an error.

    It is written beside its destination, synchronised and renamed; on any error it is removed
    and ``path`` is as before. What cannot be renamed onto (a device, a pipe) is written directly.
    Raises FileError if the file cannot be written.
    """
    target = Path(os.path.realpath(path))  # through symbolic links, which stay
    try:
        if _is_special(target):
            with target.open("wb") as file:
                yield file
            return
        with _replacement(target) as file:
            yield file
    except OSError as error:
        if not _concerns(error, target):
            raise
        raise _unwritable(path, error) from error


def check_writable(path: str | Path) -> None:
    """Raise FileError now if ``path`` can hardly be written later, after long work."""
    target = Path(os.path.realpath(path))
    try:
        if not _is_special(target):
            with _replacement(target, keep=False):
                pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str | Path, error: OSError) -> FileError:
    problem = (error.strerror or str(error)).lower()
    return FileError(f"{path}: cannot be written: {problem}")


def _concerns(error: OSError, target: Path) -> bool:
    """Whether an error is about the file written, not about one the block happened to read."""
    if error.filename is None:
        return True
    place = Path(os.fsdecode(error.filename))
    return place == target or (place.parent == target.parent and place.suffix == ".tmp")


def _is_special(target: Path) -> bool:
    """Whether something other than a regular file is there. A directory is an error."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a directory")
    return not stat.S_ISREG(mode)


@contextmanager
def _replacement(target: Path, keep: bool = True) -> Iterator[BinaryIO]:
    """A new file beside ``target`` that is renamed onto it at the end, unless it is a trial."""
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(None, "permission denied")  # a rename would not ask
    temporary = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if keep:
                os.fsync(file.fileno())
        if keep:
            temporary.replace(target)
        else:
            temporary.unlink()
    except BaseException:  # an interrupt too must leave nothing behind
        temporary.unlink(missing_ok=True)
        raise
    if keep:
        _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    """Make the rename itself durable, where the system can."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some file systems cannot; the file is complete all the same
    finally:
        os.close(handle)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole text file atomically, as UTF-8."""
    write_bytes(path, text.encode())


def json_text(data: Any) -> str:
    """JSON for people and programs alike. A lone surrogate is for whoever encodes it to escape."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, data: Any) -> None:
    """Write a JSON file atomically; NaN and infinities, which are no JSON, raise ValueError."""
    write_bytes(path, json_text(data).encode(errors="backslashreplace"))
