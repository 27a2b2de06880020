"""Chip descriptions: what ships, what is refused, and with which words."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from isa.chip import CHIPS, Chip, ChipError, chip_from_data, known_chips, load_chip
from isa.schema import leaves

T1_TEXT = (CHIPS / "t1.yaml").read_text()


def refuse(tmp_path: Path, text: str) -> str:
    """The one line with which a chip file is refused."""
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ChipError) as caught:
        load_chip(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(key: str, value: str) -> str:
    """t1's text with the first `key:` given another value."""
    text, count = re.subn(rf"(?m)^( *{key}:) .*$", rf"\1 {value}", T1_TEXT, count=1)
    assert count == 1
    return text


def test_t1_is_what_the_specification_says() -> None:
    chip = load_chip("t1")
    assert (chip.num_tiles, chip.clock_hz, chip.hbm.bytes) == (64, 2.4e9, 216 * 10**9)
    assert (chip.tile.tsram.bytes, chip.tile.acc.bytes) == (5 * 2**18, 2**19)
    assert chip.cluster.csram.bytes == 24 * 2**20
    assert chip.host.doorbell_s + chip.host.return_s == 5e-6
    peak = 2 * chip.tile.mxu.rows * chip.tile.mxu.columns * chip.num_tiles * chip.clock_hz
    assert peak == pytest.approx(5e15, rel=0.01)
    assert [chip.tile.mxu.rate(*pair) for pair in ((16, 16), (8, 4), (4, 4))] == [0.5, 1, 2]


def test_t1_mini_is_small() -> None:
    chip = load_chip("t1-mini")
    assert (chip.num_tiles, chip.tile.mxu.rows, chip.tile.tsram.bytes) == (4, 32, 256 * 1024)


@pytest.mark.parametrize("name", known_chips())
def test_every_value_of_a_shipped_chip_has_a_source(name: str) -> None:
    for line in (CHIPS / f"{name}.yaml").read_text().splitlines():
        if re.match(r" *\w+: *[^ #{]", line) and not line.startswith("name"):
            assert re.search(r" # \w", line), line


def test_burst_time_follows_from_the_peak_rate() -> None:
    hbm = load_chip("t1").with_(**{"hbm.bytes_per_second": 96 * 51.2e9}).hbm
    assert hbm.tbl_ns == pytest.approx(1.25)  # HBM3-6400: 51.2 GB/s per channel


def test_unknown_chip_names_the_known_ones() -> None:
    with pytest.raises(ChipError, match=r"t2: unknown chip; known are .*t1, t1-mini"):
        load_chip("t2")


def test_missing_file() -> None:
    with pytest.raises(ChipError, match=r"no/such\.yaml: cannot be read: No such file"):
        load_chip("no/such.yaml")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rows", "-3", "c.yaml: mesh.rows: expected an integer >= 1, got -3"),
        ("clusters", "0", "c.yaml: clusters: expected an integer >= 1, got 0"),
        ("clusters", "9", "c.yaml: mesh: 72 tiles do not fit on 64 routers"),
        ("clusters", "two", "c.yaml: clusters: expected an integer from 1 to 4096, got 'two'"),
        ("clusters", "true", "c.yaml: clusters: expected an integer from 1 to 4096, got True"),
        ("clusters", "2.5", "c.yaml: clusters: expected an integer from 1 to 4096, got 2.5"),
        ("clusters", "", "c.yaml: clusters: expected an integer from 1 to 4096, got nothing"),
        ("clock_hz", ".nan", "c.yaml: clock_hz: expected a number from"),
        ("clock_hz", ".inf", "c.yaml: clock_hz: expected a number <= 100000000000, got inf"),
        ("bytes", "9e99", "c.yaml: tile.tsram.bytes: expected an integer <= 1073741824"),
        ("bytes", "[1, 2]", "c.yaml: tile.tsram.bytes: expected an integer"),
        ("double_buffered", "1", "c.yaml: tile.mxu.double_buffered: expected true or false, got 1"),
        ("splits", "[1, 3]", "c.yaml: tile.mxu.splits: expected an ascending list of some of"),
        ("splits", "4", "c.yaml: tile.mxu.splits: expected an ascending list"),
        ("pe_latency", "{a: 1}", "c.yaml: tile.mxu.pe_latency: expected an integer"),
        ("name", '"a\\\\nb"', "c.yaml: name: expected a name"),
        ("name", "7", "c.yaml: name: expected a name, got 7"),
        ("name", "x" * 65, "c.yaml: name: expected at most 64 bytes"),
        ("refresh", "1.0", "c.yaml: hbm.refresh: expected a number <= 0.99, got 1.0"),
    ],
)
def test_bad_values(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert refuse(tmp_path, changed(key, value)).startswith(expected)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pe_latency", "pe_latncy", "tile.mxu.pe_latncy: unknown key; did you mean `tile.mxu.pe_"),
        ("\nhost:", "\nghost:", "c.yaml: ghost: unknown key; did you mean `host`?"),
        ("  hop: 9", "", "c.yaml: noc.hop: missing key"),
        ("name: t1", "name: t1\nname: t2", "c.yaml: line 11: key `name` is given twice"),
        ("splits: [1, 2, 4]", "splits: [1, 2", "c.yaml: line "),
        ("name: t1", "name: t1\nzzz: 1", "c.yaml: zzz: unknown key; known here: name, clusters"),
        ("name: t1", "name: !!python/name:os.system x", "c.yaml: line 10: could not determine"),
    ],
)
def test_bad_files(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in T1_TEXT
    assert expected in refuse(tmp_path, T1_TEXT.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "7", "[" * 2000, "\0", "- a", "a: *b"])
def test_files_that_are_no_chips(tmp_path: Path, text: str) -> None:
    assert refuse(tmp_path, text).startswith("c.yaml: ")


def test_binary_large_and_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xff\xfe" * 100)
    with pytest.raises(ChipError, match="not UTF-8"):
        load_chip(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ChipError, match="larger than"):
        load_chip(path)
    with pytest.raises(ChipError, match="Is a directory"):
        load_chip(f"{tmp_path}/")


def test_too_much_sram_in_all(tmp_path: Path) -> None:
    with pytest.raises(ChipError, match="bytes of SRAM in all"):
        load_chip("t1").with_(**{"cluster.csram.bytes": 1 << 35})


def test_splits_must_divide_the_array() -> None:
    with pytest.raises(ChipError, match=r"tile\.mxu\.splits: 30 x 128 cannot be split 4 ways"):
        load_chip("t1").with_(**{"tile.mxu.rows": 30})


def test_with_changes_only_what_it_names() -> None:
    chip = load_chip("t1")
    other = chip.with_(**{"tile.mxu.rows": 32, "clusters": 1, "tiles_per_cluster": 1})
    assert (other.tile.mxu.rows, other.num_tiles, other.tile.mxu.columns) == (32, 1, 128)
    assert chip.tile.mxu.rows == 128
    back = {"tile.mxu.rows": 128, "clusters": 8, "tiles_per_cluster": 8}
    assert other.with_(**back) == chip


@pytest.mark.parametrize("path", ["tile.mxu.rwos", "tile.mxu.rows.x", "nothing", "", "tile..mxu"])
def test_with_refuses_unknown_paths(path: str) -> None:
    with pytest.raises(ChipError, match="unknown key"):
        load_chip("t1").with_(**{path: 1})


def test_with_checks_values() -> None:
    with pytest.raises(ChipError, match=r"t1 with changes: tile\.mxu\.rows: expected an integer"):
        load_chip("t1").with_(**{"tile.mxu.rows": -3})


def test_digest_covers_what_code_depends_on_and_nothing_else() -> None:
    chip = load_chip("t1")
    for path in leaves(Chip):
        node: object = chip
        for key in path.split("."):
            node = getattr(node, key)
        if isinstance(node, bool) or not isinstance(node, int):
            continue
        change = node // 2 or node + 1  # some values have no room to grow
        if path.startswith("mesh."):
            change = node * 2  # nor may the mesh shrink
        same = chip.with_(**{path: change}).digest() == chip.digest()
        assert same == (path not in chip.architecture), path


def test_places_on_the_mesh() -> None:
    chip = load_chip("t1")
    assert chip.tile_router(10) == (2, 1)
    assert [chip.csram_port_tile(1, port) for port in range(8)] == list(range(8, 16))
    ports = [chip.hbm_port_router(s, p) for s in range(6) for p in range(4)]
    assert len(set(ports)) == 24
    assert all(x in (0, 7) or y in (0, 7) for x, y in ports)
    line = chip.with_(**{"clusters": 1, "mesh.rows": 1})
    assert {line.hbm_port_router(s, 0) for s in range(6)} <= {(x, 0) for x in range(8)}
    one = line.with_(**{"tiles_per_cluster": 1, "mesh.columns": 1})
    assert one.hbm_port_router(5, 3) == (0, 0)
    assert one.csram_port_tile(0, 7) == 0


def test_a_chip_is_plain_data_and_back() -> None:
    chip = load_chip("t1")
    assert chip_from_data(json.loads(json.dumps(asdict(chip))), "x") == chip
