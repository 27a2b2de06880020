"""Kits as directories: the same bytes each time, complete or without a manifest, checked."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from cli_runs import emu
from conformance_kits import MINI, make_case, make_device, make_kit, makers

from emulator.conformance.case import Case, Maker
from emulator.conformance.export import WORK, export
from emulator.conformance.folder import MANIFEST, open_folder
from emulator.conformance.image import read_codes
from emulator.errors import InputError
from isa.chip import Chip
from isa.spec import INSTRUCTIONS, ISA_VERSION

NAMES = ["vpu/vadd/right", "vpu/vadd/right-2", "quant/right-3", "mxu/gemm/right"]


def tree(path: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module", autouse=True)
def same_sources() -> Iterator[None]:
    """The sources stay the same, even while somebody works on them."""
    with patch("emulator.conformance.export.content_key", lambda chip: "0" * 24):
        yield


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("kit") / "kit", NAMES)


def test_manifest(kit: Path) -> None:
    manifest = json.loads((kit / MANIFEST).read_text())
    assert manifest["schema"] == 1 and manifest["kit"] == 1
    assert manifest["isa"]["version"] == list(ISA_VERSION)
    assert set(manifest["isa"]["instructions"]) == {entry.mnemonic for entry in INSTRUCTIONS}
    specification = Path(__file__).parents[1] / "docs" / "isa" / "isa.json"
    assert manifest["isa"]["sha256"] == hashlib.sha256(specification.read_bytes()).hexdigest()
    assert manifest["chip"]["architecture"] == MINI.architecture
    assert manifest["profiles"] == ["mxu", "vpu", "quant"]
    assert [case["name"] for case in manifest["cases"]] == NAMES
    case = manifest["cases"][0]
    assert case["operation"] == ["vadd d0, d1, d2"] and "instruction:vadd" in case["covers"]
    uses = [(t["name"], t["instruction"], t["operand"]) for t in case["tensors"]]
    assert uses == [("a", 0, "a"), ("y", 0, "dst"), ("a", 0, "b")]
    assert case["tensors"][1] | {"offset": 0} == {
        "name": "y", "role": "out", "symbol": "tsram", "space": "TSRAM", "format": "FP32",
        "layout": "STRIDED", "shape": [1, 4], "strides": [4, 1], "offset": 0,
        "instruction": 0, "operand": "dst",
    }  # fmt: skip


def test_files(kit: Path) -> None:
    """Each is what its hash says, vectors have both images, and an entry gives back its case."""
    folder = open_folder(kit)
    assert folder.damaged() == []
    case, entry = make_case(MINI, NAMES[0]), folder.entries[0]
    assert folder.known(entry).expected == case.expected
    assert entry.views == case.views and set(entry.covers) == case.covers
    image = folder.read(entry, "vectors")
    half = len(image) // 2
    assert image[:half] == case.image and image[half:] == case.expected.symbols["tsram"]
    assert read_codes(image[half:], entry.views[1].descriptor).tolist() == [[0x40000000] * 4]
    files = {file for file in tree(kit) if "/" in file and not file.startswith("docs/")}
    assert files == {fact.file for e in folder.entries for fact in e.files.values()}


def test_sums_are_of_every_file(kit: Path) -> None:
    lines = [line.split("  ") for line in (kit / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} | {"SHA256SUMS"} == set(tree(kit))
    for digest, name in lines:
        assert hashlib.sha256((kit / name).read_bytes()).hexdigest() == digest


def test_pages_come_along(kit: Path) -> None:
    """What README.txt refers to is there, and so is what the pages refer to."""
    source = Path(__file__).parents[1]
    pages = {name: data for name, data in tree(kit).items() if name.startswith("docs/")}
    there = {str(p.relative_to(source)) for p in (source / "docs" / "isa").iterdir()}
    assert set(pages) == there | {"docs/conformance.md"}
    assert all(data == (source / name).read_bytes() for name, data in pages.items())
    manifest = json.loads((kit / MANIFEST).read_text())
    digest = hashlib.sha256(pages["docs/isa/isa.json"]).hexdigest()
    assert manifest["isa"]["sha256"] == digest
    readme = (kit / "README.txt").read_text()
    assert "lacks" not in readme
    for name in re.findall(r"\S+\.(?:md|json|sh)\b", readme):
        assert (kit / name.strip("(")).exists() or (kit / "docs/isa" / name.strip("(")).exists()
    for name, data in pages.items():
        for target in re.findall(r"\]\(([^)#]+)", data.decode()) if name.endswith(".md") else ():
            assert (kit / name).parent.joinpath(target).exists(), (name, target)


def test_a_kit_of_an_installed_package_says_what_it_lacks(tmp_path: Path) -> None:
    """There the pages that are written by hand are not at hand."""
    with patch("emulator.conformance.documents.isa.__file__", "/nowhere/isa/__init__.py"):
        path = make_kit(tmp_path / "kit", NAMES[:1])
    lost = {"docs/conformance.md", "docs/isa/machine.md", "docs/isa/program.md"}
    assert not lost & set(tree(path)) and (path / "docs/isa/matrix.md").exists()
    readme = (path / "README.txt").read_text()
    assert "lacks these pages" in readme and all(name in readme for name in lost)
    assert export(path, MINI, makers(NAMES[:1]), 1)[1] is True
    (path / "docs" / "isa" / "stranger.md").write_text("no\n")
    (path / "docs" / "isa" / "matrix.md").write_text("no\n")
    assert export(path, MINI, makers(NAMES[:1]), 1)[1] is True
    assert tree(path) == tree(make_kit(tmp_path / "again", NAMES[:1]))


def test_two_exports_are_the_same(kit: Path, tmp_path: Path) -> None:
    folder, changed = export(tmp_path / "kit", MINI, makers(NAMES), 3)
    assert changed and tree(folder.path) == tree(kit)


def test_it_runs_without_python(kit: Path, tmp_path: Path) -> None:
    make_device(tmp_path)
    run = [str(kit / "run.sh"), str(tmp_path / "device.sh")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "4 pass, 0 do not\n")
    bad = make_kit(tmp_path / "bad", ["vpu/wrong", "vpu/right", "vpu/unsupported", "vpu/three"])
    done = subprocess.run(
        [str(bad / "run.sh"), run[1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == (
        "fail vpu/wrong\nunsupported vpu/unsupported: no vector unit\ncrashed vpu/three\n"
        "1 pass, 3 do not\n"
    )


def test_an_interrupted_export_has_no_manifest_and_goes_on(kit: Path, tmp_path: Path) -> None:
    path, log = tmp_path / "kit", tmp_path / "log"

    def counted(chip: Chip, name: str) -> Case:
        with log.open("a") as file:
            file.write(name + "\n")
        return make_case(chip, name)

    def broken(chip: Chip, name: str) -> Case:
        raise AssertionError("no power")

    half = [Maker(name, counted) for name in NAMES[:2]]
    with pytest.raises(InputError, match=r"(?s)cannot be built.*no power"):
        export(path, MINI, [*half, Maker(NAMES[2], broken)], 1)
    assert not (path / MANIFEST).exists() and (path / WORK).is_dir()
    result = emu("conformance", "run", "--dut", "cat", "--kit", path)
    assert result.status == 2 and "has no manifest.json" in result.err

    (path / "programs" / "stranger.bin").write_bytes(b"x")
    export(path, MINI, [Maker(name, counted) for name in NAMES], 1)
    assert sorted(log.read_text().split()) == sorted(NAMES)  # none was built twice
    assert tree(path) == tree(kit)


def test_a_finished_kit_is_checked_and_mended(kit: Path, tmp_path: Path) -> None:
    path = tmp_path / "kit"
    shutil.copytree(kit, path)
    assert export(path, MINI, makers(NAMES), 1)[1] is False
    (path / "expected" / "quant" / "right-3.txt").write_text("no\n")
    assert open_folder(path).damaged() == ["expected/quant/right-3.txt"]
    result = emu("conformance", "run", "--dut", "cat", "--kit", path, "--case", "quant/*",
                 "--state", tmp_path / "s")  # fmt: skip
    assert result.status == 2 and result.err.count("\n") == 1
    assert "right-3.txt: is not what the manifest says" in result.err
    assert export(path, MINI, makers(NAMES), 1)[1] is True
    assert tree(path) == tree(kit)
    export(path, MINI, makers(NAMES[:1]), 1)
    assert [name for name in tree(path) if name.startswith("programs")] == [
        "programs/vpu/vadd/right.bin"
    ]


def test_foreign_directories_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work\n")
    before = tree(tmp_path)
    for place in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "kit"):
        result = emu("conformance", "export", place, "--profile", "vpu")
        assert result.status == 2 and result.err.count("\n") == 1, result
    (tmp_path / MANIFEST).write_text("{}")
    assert emu("conformance", "export", tmp_path, "--profile", "vpu").status == 2
    assert tree(tmp_path) == before | {MANIFEST: b"{}"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m.update(schema=2), "is not of schema 1"),
        (lambda m: m.update(cases=[]), "has no cases"),
        (lambda m: m["cases"][0].pop("seconds"), "case 0: 'seconds' is missing"),
        (lambda m: m["cases"][0].update(name="../../etc/x"), "'../../etc/x' is no name"),
        (lambda m: m["cases"][0].update(tensors=[3]), "case 0: "),
        (lambda m: m["cases"][0]["program"].update(file="../x"), "cannot be '../x'"),
        (lambda m: m["cases"][0]["program"].update(sha256="0"), "'0' is no hash"),
        (lambda m: m["cases"][0]["tensors"][0].update(format="FP7"), "'FP7' is no Format"),
        (lambda m: m["cases"].append(m["cases"][0]), "two cases have one name"),
    ],
)
def test_bad_manifests(kit: Path, tmp_path: Path, change: object, problem: str) -> None:
    manifest = json.loads((kit / MANIFEST).read_text())
    change(manifest)  # type: ignore[operator]
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    result = emu("conformance", "run", "--dut", "cat", "--kit", tmp_path)
    assert result.status == 2 and result.err.count("\n") == 1 and problem in result.err


def test_list(kit: Path) -> None:
    assert emu("conformance", "list", "--kit", kit).out == "".join(f"{n}\n" for n in NAMES)
    result = emu("conformance", "list", "--kit", kit, "--profile", "vpu", "--case", "*-2")
    assert result.out == "vpu/vadd/right-2\n"
    assert emu("conformance", "list", "--profile", "dma").out.startswith("dma/")
