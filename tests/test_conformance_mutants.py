"""The measured strength of the kit: mutants apply, run, are killed, or are known to survive."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from emulator.conformance.case import Case
from emulator.conformance.draft import Draft
from emulator.conformance.mutants import cli, measure, table
from emulator.conformance.mutants.bench import Bench
from emulator.conformance.mutants.cases import Prepared, ordered, prepare
from emulator.conformance.mutants.change import (
    StaleMutant,
    add,
    edit,
    fault,
    patched,
    source_of,
)
from emulator.conformance.mutants.operators import all_sites, drawn
from emulator.conformance.mutants.seeded import groups, seeded
from emulator.errors import InputError
from isa.chip import load_chip
from isa.formats import Format

CHIP = load_chip("t1-mini")
ONE, MINUS_ONE, TINY, NAN = 0x3F800000, 0xBF800000, 1, 0x7FC00000
SUM = "return np.add(a, b, dtype=np.float32)"


def add_case() -> Case:
    draft = Draft(CHIP, "vpu/vadd/sums")
    a = draft.tensor("a", Format.FP32, np.array([[ONE, TINY, ONE, 0x7F800000]]))
    b = draft.tensor("b", Format.FP32, np.array([[ONE, TINY, MINUS_ONE, 0xFF800000]]))
    y = draft.result("y", Format.FP32, (1, 4))
    draft.do("vadd", dst=y, a=a, b=b)
    draft.expect(y, np.array([[0x40000000, 2, 0, NAN]]))
    return draft.case()


def copy_case() -> Case:
    draft = Draft(CHIP, "dma/dma/row")
    a = draft.tensor("a", Format.U8, np.arange(40).reshape(4, 10))
    y = draft.result("y", Format.U8, (4, 10))
    draft.do("dma", dst=y, src=a)
    draft.expect(y, np.arange(40).reshape(4, 10))
    return draft.case()


@pytest.fixture(scope="module")
def cases() -> list[Prepared]:
    return [prepare(add_case()), prepare(copy_case())]


@pytest.fixture
def bench(cases: list[Prepared], tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(cases, tmp_path, jobs=2)
    yield bench
    bench.close()


def test_every_seeded_fault_applies_and_compiles() -> None:
    mutants = seeded()
    assert len(mutants) >= 75
    for mutant in mutants:
        for module, text in patched(mutant).items():
            assert text != source_of(module), mutant.name
            compile(text, module, "exec")


def test_seeded_faults_are_described_and_differ() -> None:
    mutants = seeded()
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    assert len({mutant.what for mutant in mutants}) == len(mutants)
    assert len({mutant.digest for mutant in mutants}) == len(mutants)
    profiles = ("mxu", "vpu", "quant", "dma", "control", "sync", "faults")
    for mutant in mutants:
        assert mutant.first and all(f.partition("/")[0] in profiles for f in mutant.first)
        assert (
            mutant.what[0].islower()
            or mutant.what.split()[0].strip(",:").isupper()
            or any(c.isdigit() or c.isupper() for c in mutant.what.split()[0])
        ), mutant.what
    assert all(heading and found for heading, found in groups())


def test_text_that_is_not_there_once_is_stale() -> None:
    with pytest.raises(StaleMutant, match="has 0 times `no such text`"):
        patched(fault("x", "?", "vpu/", edit("matrix", "no such text", "")))
    with pytest.raises(StaleMutant, match="not once"):
        patched(fault("x", "?", "vpu/", edit("matrix", "np", "")))


def test_edits_of_one_module_follow_each_other() -> None:
    both = fault("x", "?", "vpu/", edit("reduce", "LANES: Final = 32", "LANES: Final = 16"),
                 edit("reduce", "LANES: Final = 16", "LANES: Final = 8"),
                 add("reduce", "END = 1"))  # fmt: skip
    (text,) = patched(both).values()
    assert "LANES: Final = 8" in text and text.endswith("END = 1\n")


def test_the_unchanged_executor_passes(bench: Bench) -> None:
    assert bench.control() > 0


def test_a_wrong_case_is_noticed_before_mutants_are(tmp_path: Path) -> None:
    case = add_case()
    case.expected.symbols["tsram"] = bytes(len(case.expected.symbols["tsram"]))
    bench = Bench([prepare(case)], tmp_path)
    with pytest.raises(InputError, match="the unchanged executor fails vpu/vadd/sums: "):
        bench.control()


def test_faults_are_killed_and_equivalents_survive(bench: Bench) -> None:
    same = fault("same", "an equivalent change", "vpu/",
                 edit("arith", SUM, "return np.add(b, a, dtype=np.float32)"))  # fmt: skip
    names = ("vadd-daz", "vadd-ftz", "nan-negative", "strides-reversed", "halt-at-once")
    early = fault("halt-at-once", "an import that fails", "vpu/", add("arith", "1 / 0"))
    crash = fault("crash", "an executor that raises", "vpu/",
                  edit("arith", SUM, "raise ValueError('x')"))  # fmt: skip
    mutants = [*(m for m in seeded() if m.name in names), same, early, crash]
    found = bench.measure(mutants)
    assert found["vadd-daz"].case == found["vadd-ftz"].case == "vpu/vadd/sums"
    assert "y[0, 1] is FP32 0x00000000 (0, 0x0.0p+0), not FP32 0x00000002" in (
        found["vadd-daz"].detail
    )
    assert found["nan-negative"].case == "vpu/vadd/sums"
    assert found["strides-reversed"].case == "dma/dma/row"
    assert found["crash"].detail == "crashed: ValueError in add: x"
    assert found["same"].case == "" and found["same"].loads
    assert not found["halt-at-once"].loads
    rows = [measure.Row(mutant, found[mutant.name]) for mutant in mutants]
    assert [row.mutant.name for row in measure.Measured(rows).survivors][:1] == ["same"]
    assert {row.how for row in rows} == {"differs", "crashed", "SURVIVES"}
    text = table.markdown(measure.Measured([row for row in rows if row.mutant.name in names]))
    assert "| vadd-daz | vadd reads subnormals as zero | differs | `vpu/vadd/sums` |" in text


def test_a_hang_is_a_kill(cases: list[Prepared], tmp_path: Path) -> None:
    bench = Bench(cases[:1], tmp_path)
    bench._limits = [1.5]
    hang = fault("hang", "an executor that hangs", "vpu/",
                 edit("arith", SUM, "while True: pass"))  # fmt: skip
    start = time.monotonic()
    finding = bench.measure([hang])["hang"]
    assert (finding.case, finding.detail) == ("vpu/vadd/sums", "timed out")
    assert time.monotonic() - start < 12
    bench.close()


def test_findings_are_kept_while_nothing_changes(cases: list[Prepared], tmp_path: Path) -> None:
    mutants = [mutant for mutant in seeded() if mutant.name in ("vadd-daz", "vsub-daz")]
    said: list[str] = []
    for _ in range(2):
        bench = Bench(cases, tmp_path, tell=said.append)
        found = bench.measure(mutants)
        bench.close()
        assert found["vadd-daz"].case and not found["vsub-daz"].case
    assert sorted(said) == ["vadd-daz: vpu/vadd/sums", "vsub-daz: SURVIVES"]
    fewer = Bench(cases[:1], tmp_path, tell=said.append)  # another suite: survivors are tried again
    fewer.measure(mutants)
    fewer.close()
    assert len(said) == 3 and said[2].startswith("vsub-daz")


def test_all_killers_are_found(cases: list[Prepared], bench: Bench) -> None:
    (mutant,) = [mutant for mutant in seeded() if mutant.name == "nan-negative"]
    assert bench.killers(mutant) == ["vpu/vadd/sums"]


def test_cases_come_in_the_order_of_the_hints(cases: list[Prepared]) -> None:
    assert ordered(cases, ("dma/",)) == [1, 0]
    assert ordered(cases, ("vpu/vmul", "vpu/")) == [0, 1]


def test_machine_made_mutants_are_the_same_every_time() -> None:
    sites = all_sites()
    assert len({site.name for site in sites}) == len(sites) > 1000
    first = [site.name for _, site in zip(range(60), drawn(sites, 1), strict=False)]
    again = [site.name for _, site in zip(range(60), drawn(sites, 1), strict=False)]
    other = [site.name for _, site in zip(range(60), drawn(sites, 2), strict=False)]
    assert first == again != other
    assert sorted(site.name for site in drawn(sites, 3)) == [site.name for site in sites]


def test_machine_made_mutants_compile_and_change_one_place() -> None:
    for site in all_sites()[::7]:
        (text,) = patched(site.mutant()).values()
        compile(text, site.module, "exec")
        assert site.before not in ("", site.after)


def test_what_no_program_sees_is_left_alone() -> None:
    sites = all_sites()
    assert not [site for site in sites if site.module in ("records", "faults")]
    assert not [site for site in sites if "self_test" in site.function]
    assert not [site for site in sites if '"""' in site.before or site.before[:2] in ('f"', "f'")]


def test_arguments_are_of_mutants_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all(len(text) > 30 for text in measure.arguments().values())
    stale = tmp_path / "equivalent.yaml"
    stale.write_text("matrix.gone-12345678: it was equivalent\n")
    monkeypatch.setattr(measure, "ARGUMENTS", stale)
    with pytest.raises(InputError, match=r"no such mutant: matrix.gone-12345678"):
        measure.arguments()


def test_the_command(
    cases: list[Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.conformance.mutants.cases.fast_suite", lambda *_: cases)
    options = ["--work", str(tmp_path), "--json", str(tmp_path / "s.json"), "--only"]
    markdown = ["--markdown", str(tmp_path / "s.md")]
    done = CliRunner().invoke(cli.command, [*options, "vadd-d*", *markdown, "--all-killers"])
    assert done.exit_code == 0, done.output
    assert "Seeded faults: 1 of 1 are noticed." in done.output
    assert json.loads((tmp_path / "s.json").read_text())["seeded"][0]["verdict"] == "differs"
    assert "`vpu/vadd/sums` and 0 more" in (tmp_path / "s.md").read_text()
    done = CliRunner().invoke(cli.command, [*options, "vsub-daz"])
    assert done.exit_code == 1 and "SURVIVES vsub-daz: vsub reads subnormals" in done.output
    done = CliRunner().invoke(cli.command, [*options, "arith.add-*", "--drawn", "--verbose"])
    assert done.exit_code in (0, 1)
