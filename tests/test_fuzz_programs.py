"""Random programs that shrink, and what the generator of random programs reaches."""

from __future__ import annotations

from equality.programs import short_program
from equality.shrink import PIECES, Piece, kinds_of, program_of
from fuzz import coverage
from fuzz.catalogue import KINDS
from fuzz.programs import equal, survive
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from isa.codec import decode_program
from isa.spec import BY_MNEMONIC


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 99), PIECES)
def test_executors_are_equal(seed: int, pieces: tuple[Piece, ...]) -> None:
    assert equal(program_of(seed, pieces), seed)


def test_what_fails_shrinks() -> None:
    """As if `vscan` were wrong: nothing else is left."""

    def fails(pieces: tuple[Piece, ...]) -> bool:
        return "vscan" in kinds_of(pieces)

    options = settings(max_examples=2000, database=None, derandomize=True, deadline=None)
    found = find(PIECES, fails, settings=options)
    assert found == (Piece("tensor", 0, "vscan"),)
    opcodes = decode_program(program_of(0, found).code)["op"]
    assert BY_MNEMONIC["vscan"].opcode in opcodes


def test_a_piece_stays_what_it_is_when_others_go() -> None:
    kept, gone = Piece("tensor", 7, "gemm"), Piece("loop", 3, "", (Piece("tensor", 9, "dma"),))
    tables = [program_of(1, pieces).descriptors.tolist() for pieces in ((gone, kept), (kept,))]
    assert all(row in tables[0] for row in tables[1])


def test_coverage_names_what_ran_and_what_did_not() -> None:
    met = {name for seed in range(20) for name in equal(short_program(seed), seed)}
    missing = coverage.never(met)
    assert {"op halt", "op wait", "op add"} <= met
    assert 0 < len(missing) < 500
    assert not set(missing) & met
    assert met <= {n for names in coverage.everything().values() for n in names} | {"completed"}


def test_programs_of_all_kinds() -> None:
    for kind in KINDS.values():
        if kind.programs:
            assert list(kind.check(kind.batch + 1))
    assert survive(short_program(5), 5) == []
