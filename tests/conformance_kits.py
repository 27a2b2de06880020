"""Tiny kits and a device of many bad habits, for the tests of the conformance kit's runner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from emulator.conformance.case import Case, Maker
from emulator.conformance.draft import Draft
from emulator.conformance.export import export
from isa.chip import Chip, load_chip
from isa.formats import Format

ONE, TWO = 0x3F800000, 0x40000000
MINI = load_chip("t1-mini")

#: What the device does is the last part of the case's name, up to a dash.
DEVICE = r"""#!/bin/sh
log=${0%/*}/log.txt program=$1 output=$2
kit=${program%/programs/*} name=${program#"$kit"/programs/} name=${name%.bin}
expected=$kit/expected/$name.txt
what=${name##*/}
echo "$name" >>"$log"
case ${what%-*} in
right) cp "$expected" "$output" ;;
slow) sleep 0.04; cp "$expected" "$output" ;;
wrong) sed 's/00000040/00004040/' "$expected" >"$output" ;;
hang) sleep 1000 ;;
late) trap '' TERM; sleep 1.3; cp "$expected" "$output" ;;
segv) kill -SEGV $$ ;;
three) echo "nothing works" >&2; exit 3 ;;
strange) printf 'bad \377\001 bytes' >&2; exit 5 ;;
chatty) head -c 3000000 /dev/zero | tr '\0' x; cp "$expected" "$output" ;;
garbage) head -c 5000 /dev/urandom >"$output" ;;
short) head -n 3 "$expected" >"$output" ;;
nothing) ;;
endless) exec yes >"$output" ;;
sparse) exec truncate -s 10G "$output" ;;
directory) mkdir "$output" ;;
fifo) mkfifo "$output" ;;
locked) mkdir "$TMPDIR/d"; touch "$TMPDIR/d/f"; chmod 0 "$TMPDIR/d"; cp "$expected" "$output" ;;
orphan) sleep 1000 & echo $! >"$log.orphan"; cp "$expected" "$output" ;;
unsupported) printf 'tessera-result 1\noutcome unsupported no vector unit\ndone\n' >"$output" ;;
esac
"""


def make_case(chip: Chip, name: str) -> Case:
    """1 + 1 in a vector of 4."""
    d = Draft(chip, name, f"a case about {name} & <others>")
    a = d.tensor("a", Format.FP32, np.full((1, 4), ONE))
    y = d.result("y", Format.FP32, (1, 4))
    d.do("vadd", dst=y, a=a, b=a)
    d.expect(y, np.full((1, 4), TWO))
    return d.case(covers=["rule:test_rule"])


def makers(names: Iterable[str]) -> list[Maker]:
    """Cases of these names."""
    return [Maker(name, make_case) for name in names]


def make_kit(path: Path, names: Iterable[str]) -> Path:
    """A kit of such cases."""
    export(path, MINI, makers(names), 1)
    return path


def make_device(path: Path) -> tuple[str, Path]:
    """The device's command, and the log of its invocations."""
    script, log = path / "device.sh", path / "log.txt"
    script.write_text(DEVICE)
    script.chmod(0o755)
    log.touch()
    return f"{script} {{program}} {{output}}", log


def start(*arguments: object) -> subprocess.Popen[str]:
    """`emu conformance ...` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "emulator.cli", "conformance", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def verdicts(report: Path) -> dict[str, dict[str, object]]:
    """The cases of a JSON report, by the last part of their names."""
    cases = json.loads(report.read_text())["cases"]
    return {case["name"].rpartition("/")[2]: case for case in cases}
