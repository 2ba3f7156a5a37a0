#!/usr/bin/env python3
"""check_trace.py FILE [--takeover]: reads a trace with Perfetto's own schema (the PyPI package `perfetto`) and says
what is wrong with it.

- Every controller and host has a track of its own, all in one process track.
- Every flow of a request begins at a host, goes through a controller, and comes back; its steps are in order.
- Every flow of a change of owner goes from one controller to its peer and back, in order.
- Slices that begin end, and do not cross.
"""

import sys
from collections import defaultdict

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

REQUEST = ["submitted", "taken", "served", "given", "completed", "answered", "reaped"]
CHANGE = ["requested", "hinted", "seen", "relinquishing", "drained", "granted", "begun"]


def main() -> int:
    path = sys.argv[1]
    trace = schema.Trace()
    with open(path, "rb") as file:
        trace.ParseFromString(file.read())
    wrong: list[str] = []
    names: dict[int, str] = {}
    parents: dict[int, int] = {}
    flows: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    open_slices: dict[int, list[int]] = defaultdict(list)
    clocks: set[int] = set()
    last = 0
    steps = 0
    slices: dict[str, int] = defaultdict(int)
    for packet in trace.packet:
        if packet.HasField("clock_snapshot"):
            clocks |= {clock.clock_id for clock in packet.clock_snapshot.clocks}
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            names[track.uuid] = track.name
            if track.parent_uuid:
                parents[track.uuid] = track.parent_uuid
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        if event.track_uuid not in names:
            wrong.append(f"an event on track {event.track_uuid}, which was never described")
            continue
        if packet.timestamp < last:
            wrong.append(f"{event.name} at {packet.timestamp} comes after {last}")
        last = packet.timestamp
        kind = schema.TrackEvent.Type.Name(event.type)
        if kind == "TYPE_SLICE_BEGIN":
            open_slices[event.track_uuid].append(packet.timestamp)
            slices[names[event.track_uuid].split(" of ")[0]] += 1
        elif kind == "TYPE_SLICE_END":
            if not open_slices[event.track_uuid]:
                wrong.append(f"a slice on {names[event.track_uuid]} ends that has not begun")
            else:
                open_slices[event.track_uuid].pop()
        else:
            steps += 1
            for flow in event.flow_ids:
                flows[flow].append((packet.timestamp, event.name, names[event.track_uuid]))
    for track, left in open_slices.items():
        if left:
            wrong.append(f"{len(left)} slices on {names[track]} do not end")
    if not {1, 3, 6} <= clocks:
        wrong.append(f"the clock snapshot has {sorted(clocks)}, and not 1, 3 and 6")
    roots = [track for track in names if track not in parents]
    if len(roots) != 1:
        wrong.append(f"{len(roots)} tracks have no parent")
    controllers = {name for name in names.values() if name.startswith("controller ")}
    hosts = {name for name in names.values() if name.startswith("host ")}
    if controllers != {"controller a", "controller b"}:
        wrong.append(f"controllers: {sorted(controllers)}")
    if not hosts:
        wrong.append("no host has a track")
    whole = changed = 0
    for flow, seen in flows.items():
        kinds = [name for _, name, _ in seen]
        tracks = [track for _, _, track in seen]
        if kinds[0] in CHANGE:
            if len(set(kinds)) != len(kinds):
                wrong.append(f"a change of owner has a step twice: {kinds}")
            # What one controller notes, it notes in order; a hint and the request that it is about go side by side.
            order = [CHANGE.index(name) for name in kinds if name in CHANGE and name != "hinted"]
            if order != sorted(order):
                wrong.append(f"a change of owner out of order: {kinds}")
            if kinds[0] in ("requested", "granted") and kinds[-1] == "begun":
                changed += 1
                if len(set(tracks)) < 2 and "seen" in kinds:
                    wrong.append(f"a change of owner on one track: {seen}")
        elif "submitted" in kinds and "reaped" in kinds and "answered" in kinds:
            whole += 1
            if kinds[0] != "submitted" or kinds[-1] != "reaped" or tracks[0] != tracks[-1]:
                wrong.append(f"a request that does not go from its host and back: {seen}")
            if not any(track in controllers for track in tracks):
                wrong.append(f"a request that no controller served: {seen}")
            order = [REQUEST.index(name) for name in kinds if name in REQUEST]
            if "replayed" not in kinds and order != sorted(order):
                wrong.append(f"a request out of order: {kinds}")
    if whole == 0:
        wrong.append("no request was recorded from its host and back")
    if changed == 0:
        wrong.append("no change of owner was recorded as a whole")
    if "--takeover" in sys.argv and slices["takeovers"] == 0:
        wrong.append("no takeover was recorded")
    for line in wrong[:20]:
        print(f"check_trace: {line}")
    print(
        f"check_trace: {steps} steps on {len(controllers)} controllers and {len(hosts)} hosts, {whole} requests, "
        f"{changed} changes of owner, slices: {dict(slices)}; {len(wrong)} faults"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
