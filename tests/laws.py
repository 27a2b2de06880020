"""How many random cases a law is held against: few in `make test`, TESSERA_LAWS in `make laws`."""

import os

LAWS = int(os.environ.get("TESSERA_LAWS", "0"))


def cases(few: int) -> int:
    """So many, unless TESSERA_LAWS says otherwise."""
    return LAWS or few
