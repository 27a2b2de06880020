"""Producers and consumers on one tile: queues, buffers, chains of units."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from emulator.conformance.case import Case, Maker
from emulator.conformance.script import DMA0, Make, Script, ints, pattern, u8
from isa.chip import Chip
from isa.descriptor import Descriptor, Space
from isa.formats import Format

BUFFER: Final = 0x400  #: where in TSRAM the cases have their buffers


def makers() -> list[Maker]:
    """The cases of this module."""
    cases: dict[str, Make] = {
        "signal/behind-work": _behind_work,
        "wait/deep-queue": _deep_queue,
        "wait/double-buffer": _double_buffer,
        "wait/three-units": _three_units,
    }
    return [Maker(f"sync/{name}", make) for name, make in cases.items()]


def words(*values: int) -> bytes:
    """Integers as I32."""
    return struct.pack(f"<{len(values)}i", *values)


def bring_out(s: Script, content: bytes, base: int, channel: int = 0) -> None:
    """Bytes of the own TSRAM to the host."""
    size = len(content)
    s.move(channel, u8(Space.HBM, s.result(content), size), u8(Space.TSRAM, base, size))
    s.fence(DMA0 + channel)


def finish(s: Script, *rules: str) -> Case:
    """The end of the code and the case."""
    s.emit("halt")
    return s.case([f"rule:{rule}" for rule in rules])


def _behind_work(chip: Chip, name: str) -> Case:
    """A signal behind long and short work of one unit, before work that must not have begun."""
    s = Script(
        chip, name, "a chain: long copies, a signal, a reader in another unit, a signal back"
    )
    s.only(0)
    content, later = pattern(4096, 1), pattern(4096, 2)
    here = u8(Space.TSRAM, 0x1000, 4096)
    s.emit("wait", unit="dma2", sem=1, count=1)
    s.move(2, u8(Space.HBM, s.result(content), 4096), here)
    s.test("signal", unit="dma2", sem=2, count=1)
    for half in (2048, 0):
        s.move(1, u8(Space.TSRAM, 0x1000 + half, 2048),
               u8(Space.HBM, s.data(content[half : half + 2048]), 2048))  # fmt: skip
    s.test("signal", unit="dma1", sem=1, count=1)
    s.emit("wait", unit="dma1", sem=2, count=1)
    s.move(1, here, u8(Space.HBM, s.data(later), 4096))
    s.fence(DMA0 + 1)
    bring_out(s, later, 0x1000)
    return finish(s, "sync-after-work", "sync-order")


def _deep_queue(chip: Chip, name: str) -> Case:
    """A producer and a consumer with far more in flight than queues hold."""
    s = Script(chip, name, "the vector unit writes words, a channel sends each as it comes")
    s.only(0)
    turns = 4 * chip.tile.queue_depth + 5
    s.load(1, ints(BUFFER, 1))
    s.load(2, ints(BUFFER, 1))
    slot = s.result(words(*(3 * i for i in range(turns))))
    s.load(3, replace(ints(slot, 1), space=Space.HBM))
    s.emit("loop", count=turns, target="end")
    s.emit("viota", dst=1, start=(1, 0))
    s.test("signal", unit="vpu", sem=1, count=1)
    s.test("wait", unit="dma1", sem=1, count=1)
    s.emit("dma", channel="dma1", dst=3, src=2)
    s.emit("add", rd=1, ra=1, b=3)
    for register in (1, 2, 3):
        s.emit("dadd", dst=register, field="base", b=4)
    s.label("end")
    s.fence(DMA0 + 1)
    return finish(s, "sync-order", "sync-after-work")


def _double_buffer(chip: Chip, name: str) -> Case:
    """Two buffers, loads ahead of work ahead of stores, with credits back."""
    s = Script(chip, name, "load, negate and store in two buffers; 24 rounds")
    s.only(0)
    rounds, size = 24, 16
    values = [(i * 2654435761) % 65536 - 32768 for i in range(rounds * size)]
    source, slot = s.data(words(*values)), s.result(words(*(5 - v for v in values)))
    s.load(1, ints(source, size, Space.HBM))
    s.load(2, ints(slot, size, Space.HBM))
    s.load(5, replace(ints(0x200, size), strides=(0,)))
    s.load(6, ints(0x200, 1))
    s.emit("viota", dst=6, start=5)
    s.emit("signal", unit="ctl", sem=1, count=2)  # two buffers are free
    s.emit("loop", count=rounds // 2, target="end")
    for half in range(2):
        s.load(3, ints(BUFFER + 64 * half, size))
        s.load(4, ints(BUFFER + 256 + 64 * half, size))
        s.emit("wait", unit="dma1", sem=1, count=1)
        s.emit("dma", channel="dma1", dst=3, src=1)
        s.emit("signal", unit="dma1", sem=2, count=1)
        s.test("wait", unit="vpu", sem=2, count=1)
        s.emit("vsub", dst=4, a=5, b=3)
        s.emit("signal", unit="vpu", sem=5, count=1)
        s.emit("wait", unit="dma2", sem=5, count=1)
        s.emit("dma", channel="dma2", dst=2, src=4)
        s.emit("signal", unit="dma2", sem=1, count=1)
        for register in (1, 2):
            s.emit("dadd", dst=register, field="base", b=4 * size)
    s.label("end")
    s.fence(DMA0 + 2)
    return finish(s, "sync-order", "sync-blocks", "sync-counts")


def _three_units(chip: Chip, name: str) -> Case:
    """Matrix, vector unit and a channel hand a word on, each behind the other, eight times."""
    s = Script(chip, name, "vpu to mxu to dma and back to vpu")
    s.only(0)
    rounds = 8
    slot = s.result(words(*(7 + i for i in range(rounds))))
    one = Descriptor(Space.TSRAM, Format.FP32, (1, 1), (1, 1), BUFFER)
    s.load(1, ints(BUFFER, 1))
    s.load(2, one)
    s.load(3, replace(one, space=Space.ACC, base=0))
    s.load(4, one.at(BUFFER + 64))
    s.load(5, replace(one, format=Format.I32, base=BUFFER + 64))
    s.load(6, replace(one, format=Format.I32, space=Space.HBM, base=slot))
    s.emit("li", rd=1, imm=7)
    s.emit("signal", unit="ctl", sem=1, count=1)
    s.emit("loop", count=rounds, target="end")
    s.emit("wait", unit="vpu", sem=1, count=1)
    s.emit("viota", dst=1, start=(1, 0))
    s.test("signal", unit="vpu", sem=2, count=1)
    s.test("wait", unit="mxu", sem=2, count=1)
    s.emit("seed", acc=3, src=2)
    s.emit("readout", dst=4, acc=3)
    s.test("signal", unit="mxu", sem=3, count=1)
    s.test("wait", unit="dma7" if chip.tile.dma.channels > 7 else "dma1", sem=3, count=1)
    channel = "dma7" if chip.tile.dma.channels > 7 else "dma1"
    s.emit("dma", channel=channel, dst=6, src=5)
    s.test("signal", unit=channel, sem=1, count=1)
    s.emit("dadd", dst=6, field="base", b=4)
    s.emit("add", rd=1, ra=1, b=1)
    s.label("end")
    s.fence(DMA0 + int(channel[3:]))
    return finish(s, "sync-pairs", "sync-after-work")
