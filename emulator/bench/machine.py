"""What this machine is: facts that go with every figure."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

#: Features that decide which kernels are compiled, or that somebody may ask for.
_NOTABLE = (
    *("sse4.2", "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512bw", "avx512vl"),
    *("avx512vbmi", "avx512vnni", "avx512bf16", "avx512fp16", "amx-int8", "amx-bf16"),
    *("neon", "dotprod", "i8mm", "bf16", "sve", "sve2"),
)
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def facts() -> dict[str, Any]:
    """Processor, memory, system and versions."""
    from llvmlite import binding

    from emulator.kernels.lanes import target_features

    features = target_features()
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "isa": [name for name in _NOTABLE if name in features],
        "caches": caches(),
        "memory_bytes": _memory(),
        "load": _load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "llvm": ".".join(map(str, binding.llvm_version_info)),
    }


def _cpu() -> str:
    """The processor's name as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def caches(folder: Path = _CACHES) -> dict[str, int]:
    """Bytes of the first core's caches, by level and kind; empty where the system tells nothing."""
    found = {}
    for cache in sorted(folder.glob("index*")):
        try:
            level, kind, size = (
                (cache / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        found[f"L{level}{suffix}"] = int(size.rstrip("K")) * 1024 if size[:1].isdigit() else 0
    return found


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _load() -> float | None:
    """Processes that ran or waited in the last minute: above zero the machine was not alone."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def headline(facts: dict[str, Any]) -> str:
    """The facts in two lines."""
    sizes = ", ".join(f"{name} {size >> 10} KiB" for name, size in facts["caches"].items())
    memory = f"{facts['memory_bytes'] / 2**30:.0f} GiB" if facts["memory_bytes"] else "?"
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {memory}; {sizes}\n"
        f"{' '.join(facts['isa'])}; load {facts['load']}; Python {facts['python']}, "
        f"numpy {facts['numpy']}, numba {facts['numba']}, llvm {facts['llvm']}"
    )
