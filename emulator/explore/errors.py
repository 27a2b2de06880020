"""What can be wrong with a study, or with where its results go."""

from importlib import import_module
from typing import Any

from isa.errors import TesseraError


class StudyError(TesseraError):
    """A study that cannot be run: one line naming the file, the line and the remedy."""


class MissingExtra(TesseraError):
    """A library that only an extra of the installation brings."""

    def __init__(self, what: str, extra: str) -> None:
        """`what` needs it."""
        super().__init__(f"{what} needs the extra `{extra}`: pip install 'tessera[{extra}]'")


def extra(module: str, what: str, name: str) -> Any:
    """A module that `what` needs and the extra `name` brings. Raises MissingExtra."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtra(what, name) from None
