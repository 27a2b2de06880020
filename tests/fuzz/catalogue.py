"""All kinds: importing the modules that define them fills the table."""

from fuzz import compilations, containers, models, programs, texts, words
from fuzz.kinds import KINDS

__all__ = ["KINDS", "MODULES"]

MODULES = (programs, words, containers, models, texts, compilations)
