"""`emu chips`, and `emu compile` for chips that hold no program."""

import json
import math
from pathlib import Path

import pytest
from cli_runs import done, emu, keep_outputs, refused

from emulator.explore.chips import others, presets

CONFIG = Path(__file__).parent.parent / "programs" / "configs" / "llama-3.2-1b"


def test_the_list_names_every_chip() -> None:
    out = done("chips").out
    for name in presets():
        assert f"\n  {name} " in out
    assert all(name in out for name in others())
    assert all(len(line) <= 100 for line in out.splitlines())


def test_one_chip_is_explained_with_sources_and_limits() -> None:
    out = done("chips", "maia-200").out
    for text in (
        "5,033.2",
        "10,066.3",
        "ISSCC 2026",
        "Limits",
        "FP6",
        "Conflicts",
        "HBM interface",
    ):
        assert text in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_json_has_what_the_table_shows(tmp_path: Path) -> None:
    shown = done("chips", "maia-200", "lpu-sram", "--json", "-").json
    assert shown["schema"] == 1 and shown["technology"] == "public-2026"
    maia, lpu = shown["chips"]
    assert maia["peak_flops"]["fp8 x fp8"] == pytest.approx(5.033e15, rel=1e-3)
    assert maia["power_w"] == {"value": 750, "kind": "measured", "source": "microsoft"}
    assert maia["flop_per_byte"] == pytest.approx(719, abs=1)
    assert lpu["hbm"] == {"bytes": 0, "bytes_per_second": None} and lpu["flop_per_byte"] is None
    for chip in shown["chips"]:
        for ledger in chip["ledgers"].values():
            assert ledger["total"] == math.fsum(row["value"] for row in ledger["entries"])
    file = tmp_path / "chips.json"
    done("chips", "maia-200", "lpu-sram", "--json", file)
    assert json.loads(file.read_text()) == shown


def test_several_chips_are_compared() -> None:
    out = done("chips", "h200-like", "t1").out
    assert out.index("h200-like") < out.index("\n  t1 ")
    assert "maia-200" not in out


def test_prices_follow_the_technology(tmp_path: Path) -> None:
    from emulator.explore.economics.technology import TECHNOLOGIES

    text = (TECHNOLOGIES / "public-2026.yaml").read_text()
    file = tmp_path / "dear.yaml"
    file.write_text(text.replace("hbm: {value: 15.1", "hbm: {value: 30.2"))
    facts = [
        done("chips", "t1", "--json", "-", *option).json["chips"][0]
        for option in ((), ("--technology", file))
    ]
    cheap, dear = (chip["usd_to_make"]["value"] for chip in facts)
    assert dear - cheap == pytest.approx(216 * 15.1 / 0.84)


def test_a_chip_that_cannot_be_made_is_listed_without_a_price(tmp_path: Path) -> None:
    from isa.chip import CHIPS

    text = (CHIPS / "t1.yaml").read_text()
    file = tmp_path / "huge.yaml"
    file.write_text(text.replace("    bytes: 25165824 ", "    bytes: 268435456 "))
    out = done("chips", file).out
    assert "No price: area: a die of" in out and "beyond the reticle" in out
    assert done("chips", file, "--json", "-").json["chips"][0]["usd"] is None


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("nosuch",), "nosuch: unknown chip; known are "),
        (("t1", "--technology", "later"), "later: unknown technology; known are public-2026"),
        (("t1", "--technology", "no.yaml"), "no.yaml: cannot be read"),
    ],
)
def test_bad_names_are_one_line(arguments: tuple[str, ...], expected: str) -> None:
    result = emu("chips", *arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"emu: error: {expected}") and result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("chip", "expected"),
    [
        ("lpu-sram", "emu: error: lpu-sram: has no HBM, and programs keep weights and KV cache "
         "there; their 2,271.8 MB need 10 chips of 231.6 MB SRAM; choose a --chip with HBM"),
        ("hardwired", "emu: error: hardwired: weights are wired into the chip, and programs bring "
         "their own; the model's 1.24 billion parameters need 1 such chip; "),
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", [("--no-weights",), ("--no-weights", "--ignore-capacity")])
def test_compile_refuses_chips_without_hbm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chip: str, expected: str,
    option: tuple[str, ...],
) -> None:  # fmt: skip
    keep_outputs(tmp_path, monkeypatch)
    refused(expected, "compile", CONFIG, "--chip", chip, *option, "-o", "kept.bin")
