"""The mesh against a measured curve: useful bytes a cycle by packet size on Wormhole."""

from __future__ import annotations

import pytest
from test_timing_streams import TSRAM, dma, stream, timed

from isa.chip import load_chip

PAIR = load_chip("wormhole-noc")
PACKETS = 64

#: Bytes a cycle; the table of Tenstorrent's performance estimator (tt-npe, wormhole_b0.hpp).
BY_PACKET = {128: 5.5, 256: 10.1, 512: 18.0, 1024: 27.4, 2048: 30.0, 8192: 30.0}


def rate(packet: int) -> float:
    """Bytes a cycle from one tile to the next, in packets of so many bytes."""
    total = PACKETS * packet
    send = dma(0, 0, TSRAM, TSRAM, total, dst_owner=1, run=packet, stride=2 * packet)
    found = timed(PAIR, stream(PAIR, send))
    return total / int(found.last[0] - found.first[0])


@pytest.mark.parametrize("packet", BY_PACKET)
def test_small_packets_pay_their_latency(packet: int) -> None:
    """Two packets under way, each there and back: 38 cycles and its flits."""
    assert rate(packet) == pytest.approx(BY_PACKET[packet], rel=0.10)
