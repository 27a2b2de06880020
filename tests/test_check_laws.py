"""The happens-before checker on small programs: what orders two instructions, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from emulator.check import checker as checker_module
from emulator.check.findings import Finding
from isa.assembler import assemble
from isa.errors import ProgramError
from tests.check_runs import CHIP, checked, findings, ring

HEAD = """
.chip t1-mini
.const TILES = 4
.region io 0 0x10000 io
.region fixed 0x10000 0x100 weights ro
.data fixed "00"
.region kv 0x20000 0x1000 kv
.symbol x io fp32[64] in
.symbol y io+0x1000 fp32[64] out
.symbol cache kv fp32[64] state
.desc x_hbm hbm:x fp32[64]
.desc y_hbm hbm:y fp32[64]
.desc cache_hbm hbm:cache fp32[64]
.desc spare_hbm hbm:kv+0x800 fp32[64]
.desc fixed_hbm hbm:fixed fp32[64]
.desc a tsram:0x0 fp32[64]
.desc ai tsram:0x0 i32[64]
.desc b tsram:0x1000 fp32[64]
.desc bi tsram:0x1000 i32[64]
.desc c tsram:0x2000 fp32[64]
.entry main
"""
LOAD = """
dld d0, x_hbm
dld d1, a
dld d2, b
dld d3, y_hbm
dld d4, ai
dld d5, bi
dld d6, c
"""


def found(text: str, rings: int = 1) -> list[Finding]:
    return findings(assemble(f"{HEAD}{LOAD}{text}\nhalt\n"), rings=rings)


def kinds(text: str, rings: int = 1) -> list[str]:
    """A word for each finding: its kind, and of a race what the two do."""
    return sorted(
        "/".join([f.kind, *(s.does for s in f.sites if f.kind == "race")])
        for f in found(text, rings)
    )


READ_EARLY, WRITE_EARLY = "race/writes/reads", "race/reads/writes"

# ---- what orders


def test_a_signal_and_its_wait() -> None:
    right = "dma dma0, d1, d0\nsignal dma0, s0, 1\nwait vpu, s0, 1\nvadd d2, d1, #1.0\n"
    assert kinds(right) == []
    assert kinds("dma dma0, d1, d0\nvadd d2, d1, #1.0\n") == [READ_EARLY]


def test_one_unit_is_in_order() -> None:
    assert kinds("dma dma0, d1, d0\ndma dma0, d2, d1\ndma dma0, d1, d2\n") == []
    assert kinds("dma dma0, d1, d0\ndma dma1, d2, d1\n") == [READ_EARLY]


def test_what_the_control_processor_knows_goes_along_with_an_issue() -> None:
    start = "dma dma0, d1, d0\nsignal dma0, s0, 1\n"
    assert kinds(f"{start}wait ctl, s0, 1\nvadd d2, d1, #1.0\nld r9, d4, 0\n") == []
    assert kinds(f"{start}vadd d2, d1, #1.0\nwait ctl, s0, 1\n") == [READ_EARLY]
    assert kinds(f"{start}ld r9, d4, 0\nwait ctl, s0, 1\n") == [READ_EARLY]


def test_a_load_comes_before_what_is_issued_later() -> None:
    assert kinds("viota d4, 0\nsignal vpu, s0, 1\nwait ctl, s0, 1\nld r9, d4, 0\n"
                 "dma dma0, d1, d0\n") == []  # fmt: skip


def test_a_full_queue_orders_nothing() -> None:
    """The control processor came so far only because the first of these had left the queue."""
    many = "viota d4, 0\n" + "viota d5, 0\n" * 20
    wait = "wait vpu, s0, 1\n"
    late = "signal dma0, s0, 1\n"
    assert kinds(f"{late}{wait}{many}ld r9, d4, 0\n") == [READ_EARLY]


def test_entries_are_in_order() -> None:
    text = "ld r9, d5, 0\nsignal ctl, s1, 1\nwait vpu, s1, 1\nviota d5, 7\n"
    assert kinds(text) == ["unwritten"]
    assert kinds(text, rings=3) == ["unwritten"]
    assert found(text, rings=3)[0].times == 4  # on each tile, the first time only


def test_order_is_transitive() -> None:
    text = "dma dma0, d1, d0\nsignal dma0, s0, 1\nwait vpu, s0, 1\nsignal vpu, s1, 1\n"
    assert kinds(f"{text}wait dma1, s1, 1\ndma dma1, d2, d1\n") == []


def test_a_signal_is_no_promise_of_what_comes_after_it() -> None:
    assert kinds("signal dma0, s0, 1\ndma dma0, d1, d0\nwait vpu, s0, 1\nvadd d2, d1, #1.0\n") == [
        READ_EARLY
    ]


# ---- counts


def shared(tokens: str, waits: str) -> str:
    """Two channels that fill halves of two buffers, and run ahead of a reader by one turn."""
    return f"""
signal ctl, s4, 2
signal ctl, s5, 2
li r9, 0
loop 4, end
dset d1, base, r9
dset d1, dim0, 32
dset d2, base, r9+128
dset d2, dim0, 32
dset d0, dim0, 32
dset d4, base, r9
wait dma0, s4, 1
dma dma0, d1, d0
wait dma1, s5, 1
dma dma1, d2, d0
{tokens}
{waits}
vcopy d5, d4
signal vpu, s4, 1
signal vpu, s5, 1
xor r9, r9, 0x100
end:
wait dma0, s4, 2
wait dma1, s5, 2
"""


def test_a_shared_token_may_be_two_of_one_producer() -> None:
    """Counted together, one channel's second turn stands in for the other's first."""
    apart = ("signal dma0, s0, 1\nsignal dma1, s1, 1", "wait vpu, s0, 1\nwait vpu, s1, 1")
    assert kinds(shared(*apart)) == []
    together = found(shared("signal dma0, s0, 1\nsignal dma1, s0, 1", "wait vpu, s0, 2"))
    assert {f.kind for f in together} == {"race"}
    assert {s.unit for f in together for s in f.sites} == {2, 3, 4}


def test_a_shared_token_is_right_if_nobody_can_run_ahead() -> None:
    text = shared("signal dma0, s0, 1\nsignal dma1, s0, 1", "wait vpu, s0, 2")
    assert kinds(text.replace("s4, 2", "s4, 1").replace("s5, 2", "s5, 1")) == []


def test_a_count_that_was_there_before() -> None:
    """A credit that an entry finds satisfies a wait without the signal of this entry."""
    text = "dma dma0, d1, d0\nsignal dma0, s0, 1\nwait vpu, s0, 1\nvadd d2, d1, #1.0\n"
    assert kinds(f"{text}signal ctl, s0, 1\n") == [READ_EARLY, "unbalanced"]
    assert kinds(f"signal dma1, s0, 0\n{text}") == []


def test_one_of_two_signals_is_not_certain() -> None:
    text = "dma dma0, d1, d0\nsignal dma0, s0, 1\ndma dma1, d2, d0\nsignal dma1, s0, 1\n"
    assert kinds(f"{text}wait vpu, s0, 2\nvadd d6, d1, d2\n") == []
    early = found(f"{text}wait vpu, s0, 1\nvadd d6, d1, d2\nwait vpu, s0, 1\n")
    assert [s.unit for f in early for s in f.sites] == [3, 2, 4, 2]


# ---- bytes


def test_writes_in_no_order() -> None:
    assert kinds("dma dma0, d1, d0\ndma dma1, d1, d0\n") == ["race/writes/writes"]
    text = "dset d1, dim0, 32\ndma dma0, d1, d0\ndset d1, base, 128\ndma dma1, d1, d0\n"
    assert kinds(f"dset d0, dim0, 32\n{text}") == []


def test_a_buffer_still_in_use() -> None:
    text = "dma dma0, d1, d0\nsignal dma0, s0, 1\nwait vpu, s0, 1\nvadd d2, d1, #1.0\n"
    (finding,) = found(f"{text}dma dma0, d1, d0\n")
    assert finding.title == "a DMA into a buffer still in use"
    assert (finding.bytes.space, finding.bytes.place) == ("TSRAM", 0)
    assert (finding.bytes.first, finding.bytes.beyond) == (0, 256)
    assert finding.times == 4  # one on each tile


def test_half_bytes_are_bytes() -> None:
    text = """
dld d7, nibble
dld d8, one
dld d9, byte
dma dma0, d1, d0
signal dma0, s0, 1
wait vpu, s0, 1
vcvt d7, d8
dset d0, dim0, 1
dld d10, eight
dma dma1, d9, d10
"""
    descs = """
.desc nibble tsram:0x3000 e2m1[1]
.desc one tsram:0 fp32[1]
.desc byte tsram:0x3000 u8[1]
.desc eight hbm:fixed u8[1]
"""
    program = assemble(HEAD.replace(".entry", f"{descs}.entry") + LOAD + text + "halt\n")
    assert [f.title for f in findings(program)] == ["two writes in no order"]


def test_tiles() -> None:
    """Tiles write into each other's memory; a signal to the other tile says when."""
    text = """
dld d7, b
rdsr r9, TILE_ID
add r10, r9, 1
remu r10, r10, TILES
dset d2, owner, r10
dma dma0, d2, d0
{}
vcopy d6, d7
"""
    signal = "signal dma0, s0, 1, scope=tile, tile=r10\nwait vpu, s0, 1"
    assert kinds(text.format(signal)) == []
    assert kinds(text.format("")) == [READ_EARLY]


def test_a_multicast() -> None:
    text = "dld d7, b\ndset d2, owner, 0\ndset d2, fan, TILES\ndset d2, fanstep, 1\n"
    text += "rdsr r9, TILE_ID\nbne r9, 0, rest\ndma dma0, d2, d0\n{}\nrest: {}\nvcopy d6, d7\n"
    everybody = text.format("signal dma0, s0, 1, scope=all", "wait vpu, s0, 1")
    assert kinds(everybody) == []
    assert kinds(text.format("", "nop")) == [READ_EARLY]


# ---- bytes that nobody wrote


def test_unwritten() -> None:
    (finding,) = found("vadd d2, d1, #1.0\n")
    assert (finding.kind, finding.bytes.first, finding.bytes.beyond) == ("unwritten", 0, 256)
    assert kinds("dma dma0, d1, d3\n") == ["unwritten"]  # an output is not written by the host
    assert kinds("dld d7, cache_hbm\ndma dma0, d1, d7\n") == []  # it keeps the state
    assert kinds("dld d7, spare_hbm\ndma dma0, d1, d7\n") == ["unwritten"]
    assert kinds("dld d7, fixed_hbm\ndma dma0, d1, d7\n") == []


def test_what_the_host_writes_is_written() -> None:
    machine = checked(assemble(f"{HEAD}{LOAD}dma dma0, d1, d3\nhalt\n"))
    machine.write("y", np.zeros(64, np.uint32))
    assert ring(machine) == ""
    assert machine.findings() == []


@pytest.mark.parametrize(("first", "beyond"), [(0, 256), (0, 128), (64, 256), (0, 0)])
def test_padding_may_be_read_if_the_program_says_where(first: int, beyond: int) -> None:
    """In every CSRAM, and there only: all of what is read has to lie in there."""
    metadata = f'.meta "check" = {{"padding": {{"csram": [{first}, {beyond}]}}}}\n'
    text = (HEAD + LOAD).replace(".entry", f"{metadata}.desc far csram:0x0 fp32[64]\n.entry")
    last = "dld d7, far\ndset d7, owner, CLUSTERS-1\n".replace("CLUSTERS", str(CHIP.clusters))
    for owner in (last, "dld d7, far\n"):
        problems = findings(assemble(f"{text}{owner}dma dma0, d1, d7\nhalt\n"))
        assert [problem.kind for problem in problems] == ["unwritten"] * (
            (first, beyond) != (0, 256)
        )
    (finding,) = findings(assemble(f"{text}vadd d2, d1, #1.0\nhalt\n"))
    assert (finding.kind, finding.bytes.space) == ("unwritten", "TSRAM")


# ---- balance and deadlock


def test_unbalanced() -> None:
    (finding,) = found("signal ctl, s5, 2\nwait vpu, s5, 1\n")
    assert finding.kind == "unbalanced"
    assert finding.title == "`main` does not leave s5 as it found it"
    assert finding.details[0] == "tile 0: 0 before, 1 after; so on 4 tiles"
    assert [(s.does, s.unit) for s in finding.sites] == [("signals", 0), ("waits", 2)]


def test_entries_may_leave_credits_if_they_say_so() -> None:
    text = HEAD.replace(".entry", '.meta "check" = {"credits": ["main"]}\n.entry')
    assert findings(assemble(f"{text}signal ctl, s5, 2\nhalt\n")) == []


@pytest.mark.parametrize("value", ["[]", '{"credits": 3}', '{"credits": [3]}'])
def test_bad_metadata(value: str) -> None:
    text = HEAD.replace(".entry", f'.meta "check" = {value}\n.entry')
    with pytest.raises(ProgramError, match=r"metadata: check\.credits"):
        checked(assemble(f"{text}halt\n"))


@pytest.mark.parametrize(
    "value", ["[]", "3", '{"csram": 3}', '{"csram": [1]}', '{"csram": [2, 1]}', '{"tsram": [0, 1]}']
)
def test_bad_padding(value: str) -> None:
    text = HEAD.replace(".entry", f'.meta "check" = {{"padding": {value}}}\n.entry')
    with pytest.raises(ProgramError, match=r"metadata: check\.padding"):
        checked(assemble(f"{text}halt\n"))


def test_a_circle() -> None:
    text = "viota d4, 0\nwait vpu, s1, 1\nsignal vpu, s2, 1\nwait dma0, s2, 1\nsignal dma0, s1, 1\n"
    first, second = found(text)
    assert first.kind == "deadlock"
    assert first.times == 4
    assert first.title == (
        "tile 0 vpu waits for s1 from tile 0 dma0, which waits for s2 from tile 0 vpu"
    )
    assert first.details[0].endswith("s1 is 0, it takes 1")
    assert first.details[1] == "since pc 7: `viota d4, 0`, the last thing it did"
    assert second.details[1] == "since the start: it has done nothing"


def test_nobody_signals() -> None:
    (finding,) = found("wait ctl, s1, 2\n")
    assert finding.title == "tile 0 ctl waits for s1, which no instruction signals"


def test_the_control_processor_would_have_to_issue_it() -> None:
    text = "wait vpu, s1, 1\nsignal vpu, s2, 1\nwait ctl, s2, 1\nsignal dma0, s1, 1\n"
    titles = {f.title for f in found(text)}
    assert "tile 0 vpu waits for s1 from tile 0 ctl, which waits for s2 from tile 0 vpu" in titles


def test_a_full_queue_in_a_circle() -> None:
    text = "wait vpu, s1, 1\n" + "viota d4, 0\n" * 20 + "signal ctl, s1, 1\n"
    titles = [f.title for f in found(text)]
    assert any("room in the queue of vpu" in title for title in titles)


# ---- long runs


def test_numbers_that_run_out_are_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"{HEAD}{LOAD}dma dma0, d1, d0\nsignal dma0, s0, 1\nwait vpu, s0, 1\nvadd d2, d1, #1.0\n"
    machine = checked(assemble(f"{text}halt\n"))
    monkeypatch.setattr(checker_module, "_IDS", 20)
    assert ring(machine, rings=9) == ""
    assert machine.findings() == []
    assert int(machine.checker.shadows.cells[1].max() & 0xFFFFFFFF) <= 20
