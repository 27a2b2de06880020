"""The event queue: a binary heap of (time, key, payload), ordered by time, then by key.

Keys of pending events are unique (tile, slot, and for signals a sequence number), so the order in
which events are taken does not depend on the order in which they were put.
"""

from emulator.timing.compiled import helper
from emulator.timing.layout import G_HEAP, H_KEY, H_PAYLOAD, H_TIME


@helper
def push(heap, g, time, key, payload):
    """Add an event."""
    i = g[G_HEAP]
    g[G_HEAP] = i + 1
    while i > 0:
        parent = (i - 1) >> 1
        if heap[parent, H_TIME] < time:
            break
        if heap[parent, H_TIME] == time and heap[parent, H_KEY] < key:
            break
        heap[i, H_TIME] = heap[parent, H_TIME]
        heap[i, H_KEY] = heap[parent, H_KEY]
        heap[i, H_PAYLOAD] = heap[parent, H_PAYLOAD]
        i = parent
    heap[i, H_TIME], heap[i, H_KEY], heap[i, H_PAYLOAD] = time, key, payload


@helper
def drop_first(heap, g):
    """Remove the earliest event, which is heap[0]."""
    count = g[G_HEAP] - 1
    g[G_HEAP] = count
    if count == 0:
        return
    time, key, payload = heap[count, H_TIME], heap[count, H_KEY], heap[count, H_PAYLOAD]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        right = child + 1
        if right < count and (
            heap[right, H_TIME] < heap[child, H_TIME]
            or (
                heap[right, H_TIME] == heap[child, H_TIME]
                and heap[right, H_KEY] < heap[child, H_KEY]
            )
        ):
            child = right
        if heap[child, H_TIME] > time:
            break
        if heap[child, H_TIME] == time and heap[child, H_KEY] > key:
            break
        heap[i, H_TIME] = heap[child, H_TIME]
        heap[i, H_KEY] = heap[child, H_KEY]
        heap[i, H_PAYLOAD] = heap[child, H_PAYLOAD]
        i = child
    heap[i, H_TIME], heap[i, H_KEY], heap[i, H_PAYLOAD] = time, key, payload
