"""The programs behind the bench's rates do what they are said to."""

from __future__ import annotations

import pytest

from emulator.bench import programs


@pytest.mark.parametrize("turns", [1, 3])
def test_instructions_are_those_of_the_text(turns: int) -> None:
    """Per tile: 4 before the loop, the loop itself, 10 a turn, 2 after it."""
    count, seconds = programs.instructions(turns)
    assert (count, seconds > 0) == (64 * (4 + 1 + 10 * turns + 2), True)


def test_events_grow_with_the_turns() -> None:
    one, two, three = (programs.timing_events(turns)[0] for turns in (1, 2, 3))
    assert 0 < two - one == three - two
    assert programs.timing_events(3)[0] == three


def test_a_decoders_events_are_the_same_each_time() -> None:
    assert programs.decoder_events("8b", 1)[0] == programs.decoder_events("8b", 1)[0] > 0


def test_a_step_beyond_the_chip_is_timed() -> None:
    assert "beyond_capacity" in programs.decoder_program("405b").metadata
    assert "beyond_capacity" not in programs.decoder_program("70b").metadata
    cycles, seconds = programs.timing_only_step("8b")
    assert cycles > 0 and seconds > 0
