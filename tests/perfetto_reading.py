"""Reads a Perfetto trace by the official protobuf definitions, and holds it to what a trace is."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4


@dataclass
class Slice:
    """A slice, or an instant, whose times are the same."""

    track: int
    begin: int
    end: int
    name: str
    category: str
    notes: dict[str, Any]
    starts: list[int]  #: flows that leave here
    ends: list[int]  #: flows that arrive here


@dataclass
class Trace:
    """What a trace says, its names looked up."""

    processes: dict[int, str] = field(default_factory=dict)  #: by track
    threads: dict[int, tuple[int, str]] = field(default_factory=dict)  #: parent's track, name
    counters: dict[int, tuple[str, str]] = field(default_factory=dict)  #: name, unit
    slices: list[Slice] = field(default_factory=list)
    instants: list[Slice] = field(default_factory=list)
    values: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

    def place(self, found: Slice) -> tuple[str, str]:
        """Names of the process and the track of a slice."""
        parent, name = self.threads[found.track]
        return self.processes[parent], name

    def arrows(self) -> list[tuple[Slice, Slice]]:
        """Both ends of every flow; each flow has exactly two."""
        everything = self.slices + self.instants
        begin = {flow: each for each in everything for flow in each.starts}
        end = {flow: each for each in everything for flow in each.ends}
        assert set(begin) == set(end)
        assert sum(len(each.starts) for each in everything) == len(begin)
        assert sum(len(each.ends) for each in everything) == len(end)
        return [(begin[flow], end[flow]) for flow in begin]


class _Names:
    """What was interned so far."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[int, str]] = defaultdict(dict)

    def learn(self, data: Any) -> None:
        for table in ("event_categories", "event_names", "debug_annotation_names"):
            for entry in getattr(data, table):
                assert entry.iid not in self.tables[table]
                self.tables[table][entry.iid] = entry.name
        for entry in data.debug_annotation_string_values:
            self.tables["strings"][entry.iid] = entry.str.decode()

    def notes(self, event: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for note in event.debug_annotations:
            name = self.tables["debug_annotation_names"][note.name_iid]
            text = note.HasField("string_value_iid")
            value = self.tables["strings"][note.string_value_iid] if text else note.uint_value
            assert name not in found
            found[name] = value
        return found


def read(data: bytes) -> Trace:
    """Parse a trace; every rule of the format that it could break is asserted."""
    parsed = perfetto_trace_pb2.Trace()
    parsed.ParseFromString(data)
    trace, names, events = Trace(), _Names(), []
    for index, packet in enumerate(parsed.packet):
        assert packet.trusted_packet_sequence_id == 1
        assert packet.sequence_flags == (1 if index == 0 else 2)
        if packet.HasField("interned_data"):
            names.learn(packet.interned_data)
        if packet.HasField("track_descriptor"):
            _describe(trace, packet.track_descriptor)
        if packet.HasField("track_event"):
            events.append((packet.timestamp, packet.track_event))
        assert not len(UnknownFieldSet(packet)) and not len(UnknownFieldSet(packet.track_event))
    events.sort(key=lambda pair: pair[0])  # stable, as Perfetto sorts
    _play(trace, names, events)
    return trace


def _describe(trace: Trace, track: Any) -> None:
    known = {**trace.processes, **trace.threads, **trace.counters}
    assert track.uuid not in known
    if track.HasField("process"):
        trace.processes[track.uuid] = track.process.process_name
    elif track.HasField("counter"):
        assert track.parent_uuid in trace.processes
        trace.counters[track.uuid] = (track.name, track.counter.unit_name)
    else:
        assert track.parent_uuid in trace.processes
        trace.threads[track.uuid] = (track.parent_uuid, track.thread.thread_name)


def _play(trace: Trace, names: _Names, events: list[tuple[int, Any]]) -> None:
    open_slices: dict[int, list[Slice]] = defaultdict(list)
    for time, event in events:
        if event.type == COUNTER:
            name, _ = trace.counters[event.track_uuid]
            trace.values[name].append((time, event.double_counter_value))
            continue
        assert event.track_uuid in trace.threads
        stack = open_slices[event.track_uuid]
        if event.type == END:
            stack.pop().end = time
            continue
        made = _slice(names, time, event)
        if event.type == BEGIN:
            assert not stack, "slices of a unit never nest"
            stack.append(made)
            trace.slices.append(made)
        else:
            assert event.type == INSTANT
            trace.instants.append(made)
    assert not any(open_slices.values())


def _slice(names: _Names, time: int, event: Any) -> Slice:
    tables = names.tables
    return Slice(
        event.track_uuid,
        time,
        time,
        event.name or tables["event_names"][event.name_iid],
        "".join(tables["event_categories"][iid] for iid in event.category_iids),
        names.notes(event),
        list(event.flow_ids),
        list(event.terminating_flow_ids),
    )
