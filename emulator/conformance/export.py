"""A kit as a directory for others: `emu conformance export`, and the cache of our own runs.

export(path, chip, ["mxu"], full=False, jobs=2)      # manifest.json is written last
folder = cached(chip, ["mxu"], ["*/gemm/*"], full=False, jobs=2)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from emulator.conformance import kit
from emulator.conformance.build import PARTS, build, write_part
from emulator.conformance.case import PROFILES, Maker
from emulator.conformance.documents import DOCS, documents, lacking
from emulator.conformance.entry import KINDS, Entry
from emulator.conformance.folder import (
    MANIFEST,
    SCHEMA,
    Folder,
    holds,
    nothing_selected,
    open_folder,
    read_file,
    wanted_name,
)
from emulator.conformance.sources import cache_root, content_key, prune
from emulator.errors import InputError
from isa.chip import Chip
from isa.codec import instruction_hash
from isa.files import json_text, write_bytes, write_text
from isa.spec import INSTRUCTIONS, ISA_VERSION

KIND: Final = "tessera-conformance-kit"
VERSION: Final = 1  #: of the kit; raised when a case means something else than before
WORK: Final = ".export"  # what an export that is not finished needs
_EXTRAS: Final = ("README.txt", "run.sh")
_ASSETS: Final = Path(__file__).parent / "assets"


def export(path: Path, chip: Chip, makers: Sequence[Maker], jobs: int) -> tuple[Folder, bool]:
    """Write a kit, or complete or check the one that is there; whether there was work to do."""
    makers, key = kit.for_chip(makers, chip), content_key(chip)
    _check_ours(path)
    if _is_finished(path, key, makers):
        return open_folder(path), False
    work = _prepared(path, key)
    entries = build(path, work / PARTS, makers, chip, jobs, vectors=True)
    _finish(path, {**facts(chip), "content": key}, entries)
    return open_folder(path), True


def facts(chip: Chip) -> dict[str, Any]:
    """The manifest without its cases."""
    from isa.doc_json import export as specification

    return {
        "kind": KIND,
        "schema": SCHEMA,
        "kit": VERSION,
        "isa": {
            "version": list(ISA_VERSION),
            "sha256": hashlib.sha256(specification().encode()).hexdigest(),
            "instructions": {e.mnemonic: instruction_hash(e).hex() for e in INSTRUCTIONS},
        },
        "chip": {
            "name": chip.name,
            "digest": chip.digest(),
            "architecture": dict(chip.architecture),
        },
    }


def cached(
    chip: Chip, profiles: Sequence[str], globs: Sequence[str], full: bool, jobs: int
) -> Folder:
    """The kit of these sources with the cases asked for; they are kept for the next run."""
    everything = kit.for_chip(kit.makers(profiles or ("full",), full), chip)
    makers = [maker for maker in everything if wanted_name(maker.name, globs)]
    if not makers:
        raise nothing_selected(profiles, globs)
    root, key = cache_root(), content_key(chip)
    path = root / key
    path.mkdir(parents=True, exist_ok=True)
    os.utime(path)
    prune(root, key)
    entries = build(path, path / PARTS, makers, chip, jobs, vectors=False)
    return Folder(path, key, facts(chip), tuple(entries))


# ---- the directory


def _check_ours(path: Path) -> None:
    """Refuse a directory that holds something else."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is no directory; choose another place")
    if not path.exists() or not any(path.iterdir()):
        return
    if (path / WORK).is_dir() or _old_manifest(path).get("kind") == KIND:
        return
    raise InputError(f"{path}: holds something that is no kit; choose an empty or new directory")


def _old_manifest(path: Path) -> dict[str, Any]:
    try:
        data = json.loads((path / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _old_folder(path: Path, key: str) -> Folder | None:
    """The kit that is there, if it came from the same sources."""
    if _old_manifest(path).get("content") != key:
        return None
    try:
        return open_folder(path)
    except InputError:
        return None


def _is_finished(path: Path, key: str, makers: Sequence[Maker]) -> bool:
    folder = _old_folder(path, key)
    return (
        folder is not None
        and [entry.name for entry in folder.entries] == [maker.name for maker in makers]
        and not (path / WORK).exists()
        and not folder.damaged()
        and _has_extras(path, folder.entries)
    )


def _has_extras(path: Path, entries: Sequence[Entry]) -> bool:
    """Whether the files that are no case's are as they should be."""
    texts = _extras(entries, read_file(path / MANIFEST))
    return all(holds_text(path / name, text) for name, text in texts.items())


def holds_text(path: Path, text: str) -> bool:
    """Whether a file has this text."""
    data = text.encode()
    return holds(path, len(data), hashlib.sha256(data).hexdigest())


def _prepared(path: Path, key: str) -> Path:
    """The directory for parts. The manifest goes, and what it has that is of use stays."""
    work, folder = path / WORK, _old_folder(path, key)
    stamp = work / "key"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {(error.strerror or '').lower()}") from None
    write_text(stamp, key)
    for entry in folder.entries if folder else ():
        write_part(work / PARTS, entry)
    (path / MANIFEST).unlink(missing_ok=True)
    return work


def _finish(path: Path, about: dict[str, Any], entries: Sequence[Entry]) -> None:
    """Remove what does not belong there; the manifest makes it a kit."""
    manifest = _manifest(about, entries)
    texts = _extras(entries, manifest)
    belongs = {fact.file for entry in entries for fact in entry.files.values()} | set(texts)
    for root in (*(kind.partition("/")[0] for kind in KINDS.values()), DOCS):
        _remove_strangers(path, path / root, belongs)
    for name, text in texts.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(path / name, text)
    (path / "run.sh").chmod(0o755)
    write_bytes(path / MANIFEST, manifest)
    shutil.rmtree(path / WORK)


def _manifest(about: dict[str, Any], entries: Sequence[Entry]) -> bytes:
    there = {entry.profile for entry in entries}
    data = {
        **about,
        "profiles": [profile for profile in PROFILES if profile in there],
        "cases": [entry.data() for entry in entries],
    }
    return json_text(data).encode()


def _remove_strangers(path: Path, root: Path, belongs: set[str]) -> None:
    for place in sorted(root.rglob("*"), reverse=True):
        if place.is_dir() and not place.is_symlink():
            if not any(place.iterdir()):
                place.rmdir()
        elif place.relative_to(path).as_posix() not in belongs:
            place.unlink()


def _extras(entries: Sequence[Entry], manifest: bytes) -> dict[str, str]:
    """Files for those who have neither Python nor a reader of JSON, and the pages to read."""
    found = {name: (_ASSETS / name).read_text() for name in _EXTRAS} | documents()
    found["README.txt"] += lacking(found)
    found["cases.txt"] = "".join(f"{entry.name}\n" for entry in entries)
    contents = {MANIFEST: manifest, **{name: text.encode() for name, text in found.items()}}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    sums |= {fact.file: fact.sha256 for entry in entries for fact in entry.files.values()}
    found["SHA256SUMS"] = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    return found
