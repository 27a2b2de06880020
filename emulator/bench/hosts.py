"""Rows of the machine itself: what everything else is held against."""

from __future__ import annotations

from functools import partial

from emulator.bench.host import Host
from emulator.bench.measure import Probe
from emulator.bench.rows import Entry, Measured

GIGA = 1e9


def entries() -> list[Entry]:
    """Peaks of arithmetic and of memory."""
    return [
        Entry("fma_peak", "GMAC/s", _fma),
        Entry("dot_peak", "GMAC/s", _dots),
        Entry("sgemm", "GMAC/s", _sgemm, "fma_peak"),
        Entry("read_1", "GB/s", partial(_reading, 1)),
        Entry("read_2", "GB/s", partial(_reading, 2)),
    ]


def _rate(probe: Probe, host: Host) -> float:
    return probe.rate(host.effort.repeats) / GIGA


def _fma(host: Host) -> Measured:
    return Measured(_rate(host.fma, host), note="fused multiply-adds of fp32, one thread")


def _dots(host: Host) -> Measured:
    if host.dots is None:
        return Measured(None, note="no VNNI here")
    return Measured(_rate(host.dots, host), note="dot products of bytes, one thread")


def _sgemm(host: Host) -> Measured:
    if host.sgemm is None:
        return Measured(None, note="NumPy's matrix product did not run")
    core, best = host.sgemm
    return Measured(best / GIGA, _rate(host.fma, host), f"best core type: {core}")


def _reading(threads: int, host: Host) -> Measured:
    name, probe = host.reading(threads)
    return Measured(_rate(probe, host), note=f"read by {name}, {threads} thread(s)")
