"""The kit for other chips: many tiles, two, three; a chip that it cannot be made for is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from cli_runs import emu
from conformance_cases import CHIP as MINI

from emulator.conformance.case import Case, Maker
from emulator.conformance.device import chip_of, run
from emulator.conformance.kit import LEAST, for_chip, makers
from emulator.errors import InputError
from isa.chip import CHIPS, Chip, load_chip

T1 = load_chip("t1")
#: The least of everything that the kit can do with, in a single cluster.
SMALL = MINI.with_(**{
    "name": "small", "clusters": 1, **LEAST,
})  # fmt: skip
BOTH = {"t1": T1, "small": SMALL}

SEVERAL_TILES = ["control", "dma", "sync", "faults"]
ONE_TILE = ["mxu", "vpu", "quant"]

#: What once could not be built or was wrong for one of the chips below.
ONCE_WRONG = [
    "dma/dma/ends", "dma/dma/order", "dma/dma/order-write-after-read", "dma/dma/transpose",
    "dma/dma/fan-tiles", "dma/dma/fan-clusters", "dma/dma/channels-of-every-tile",
    "sync/signal/scope-tile-each", "sync/wait/mxu-after-remote", "sync/wait/ctl-after-remote",
    "faults/deadlock/each-other", "faults/illegal/zero-word", "faults/illegal/zero-word+1",
    "faults/dma/some-0", "faults/dma/some-0+1", "faults/ld/some-0", "faults/ld/some-0+1",
    "faults/signal/bad_tile-1", "faults/call/call_depth-0", "faults/call/call_depth-0+1",
]  # fmt: skip


def sized(clusters: int, per: int) -> Chip:
    """A chip of so many tiles, each cluster a row of the mesh."""
    return MINI.with_(
        clusters=clusters, tiles_per_cluster=per, mesh={"columns": per, "rows": clusters}
    )


def cases(chip: Chip, profiles: list[str]) -> Mapping[str, Maker]:
    return {maker.name: maker for maker in for_chip(makers(profiles), chip)}


@pytest.mark.parametrize("chip", BOTH.values(), ids=BOTH)
def test_all_cases_of_several_tiles_can_be_built(chip: Chip) -> None:
    for maker in for_chip(makers(SEVERAL_TILES), chip):
        maker.case(chip)


@pytest.mark.parametrize(("chip", "first"), [(T1, 0), (SMALL, 1)], ids=BOTH)
def test_cases_of_one_tile_can_be_built(chip: Chip, first: int) -> None:
    """A fifth of them for each: they take nothing of a chip but the size of a memory."""
    for maker in for_chip(makers(ONE_TILE), chip)[first::5]:
        maker.case(chip)


@pytest.mark.parametrize(
    "chip", [T1, SMALL, sized(2, 1), sized(1, 3), sized(8, 2)], ids=lambda chip: chip.num_tiles
)
def test_what_was_wrong_once(chip: Chip) -> None:
    there = cases(chip, SEVERAL_TILES)
    for name in ONCE_WRONG:
        if name in there:  # a part that a chip of many tiles does not need
            case = there[name].case(chip)
            assert run(case.program, chip, "reference") == case.expected, name


def test_few_tiles_take_the_same_faults_in_parts() -> None:
    """Nothing is left out where a chip has too few tiles for a program's faults."""
    for maker in [m for m in makers(["faults"]) if m.tiles > 1]:
        names = [part.name for part in maker.parts(SMALL)]
        parts = [part.case(SMALL) for part in maker.parts(SMALL)]
        assert names[0] == maker.name and len(set(names)) == len(names)
        assert all(part.expected.faults for part in parts), maker.name
        assert _faults(*parts) == _faults(maker.case(MINI)), maker.name


def _faults(*cases: Case) -> list[str]:
    return sorted(fault.name for case in cases for fault in case.expected.faults)


def test_our_executors_find_a_chip_for_any_program() -> None:
    """With routers for all of its tiles."""
    for chip in (T1, SMALL, sized(8, 1), sized(1, 16), sized(25, 8)):
        program = makers(["control"])[0].case(chip).program
        assert chip_of(program).architecture == chip.architecture


@pytest.mark.parametrize(
    ("changes", "need"),
    [
        ({"clusters": 1, "tiles_per_cluster": 1}, "2 to 64 tiles (it has 1)"),
        ({"mesh": {"columns": 8, "rows": 9}, "clusters": 9, "tiles_per_cluster": 8},
         "2 to 64 tiles (it has 72)"),
        ({"tile.dma.channels": 4}, "8 DMA channels a tile (it has 4)"),
        ({"tile.tsram.bytes": 65536}, "tile.tsram.bytes of 204800 or more (it has 65536)"),
        ({"cluster.csram.bytes": 100001}, "cluster.csram.bytes in multiples of 4 (it has 100001)"),
    ],
)  # fmt: skip
def test_a_chip_that_lacks_something_is_refused(changes: dict[str, object], need: str) -> None:
    with pytest.raises(InputError) as caught:
        for_chip([], MINI.with_(**changes))
    assert str(caught.value) == f"chip t1-mini: the conformance kit needs {need}"


def test_the_commands_refuse_it_in_one_line(tmp_path: Path) -> None:
    text = (CHIPS / "t1-mini.yaml").read_text()
    one = text.replace("\nclusters: 2", "\nclusters: 1").replace("cluster: 2", "cluster: 1")
    chip = tmp_path / "one.yaml"
    chip.write_text(one)
    for words in (["run", "--dut", "fast"], ["export", tmp_path / "kit"], ["list"]):
        result = emu("conformance", *words, "--chip", chip)
        assert result.status == 2 and result.err.count("\n") == 1
        assert "the conformance kit needs 2 to 64 tiles (it has 1)" in result.err
    assert not (tmp_path / "kit").exists()


def test_the_list_is_that_of_the_chip(tmp_path: Path) -> None:
    """With few tiles there are more programs: some cases come in parts."""
    text = (CHIPS / "t1-mini.yaml").read_text()
    chip = tmp_path / "two.yaml"
    chip.write_text(text.replace("\nclusters: 2", "\nclusters: 1"))
    words = ("conformance", "list", "--profile", "faults", "--chip")
    two, mini = (emu(*words, name).out.splitlines() for name in (chip, "t1-mini"))
    assert "faults/illegal/zero-word+1" in two and "faults/illegal/zero-word+1" not in mini
