"""Files are written whole or not at all."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from isa.errors import FileError
from isa.files import atomic_write, check_writable, write_json


def test_interrupt_while_writing_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nfrom isa.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as f:\n"
        "    f.write(b'half'); f.flush(); print('ready', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    process.wait()
    process.stdout.close()
    assert not list(tmp_path.iterdir())


def test_atomic_write_keeps_links_and_devices(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"1"
    with atomic_write("/dev/null") as file:
        file.write(b"1")
    assert not Path("/dev/null").is_file()


def test_errors_about_other_files_stay_themselves(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "out"):
        (tmp_path / "other").read_text()
    assert not list(tmp_path.iterdir())


def test_check_writable_leaves_no_trace(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    (tmp_path / "old").write_text("old")
    check_writable(tmp_path / "old")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("old", "old")]
    for bad in (tmp_path, tmp_path / "no" / "dir"):
        with pytest.raises(FileError, match="cannot be written"):
            check_writable(bad)


def test_json_is_valid_whatever_it_holds(tmp_path: Path) -> None:
    write_json(tmp_path / "j", {"x": "\ud800\N{SNOWMAN}"})
    assert json.loads((tmp_path / "j").read_text()) == {"x": "\ud800\N{SNOWMAN}"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "k", float("nan"))
    assert not (tmp_path / "k").exists()
