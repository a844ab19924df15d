"""A segment as a row of the archive's table `segments`, and back.

The row is what the segment says of its process, how it ended, what was counted, lost or damaged. That a
segment has a row here means that all its events are in the archive.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pythonaudit.journal import layout
from pythonaudit.journal.chunks import Damage, Header
from pythonaudit.journal.decode import SegmentDecoder
from pythonaudit.journal.summary import LOSS_NAMES, named_losses

STATES = {
    layout.STATE_OPEN: "open",
    layout.STATE_ROTATED: "rotated",
    layout.STATE_CLEAN_END: "clean end",
}
_LARGEST = (1 << 63) - 1
_NOBODY = bytes(16)


def build_row(decoder: SegmentDecoder, file: str, batch: str, damage: list[Damage]) -> dict[str, Any]:
    """The row of a segment.

    Args:
        decoder: of the segment.
        file: its name.
        batch: the batch that holds its events.
        damage: what could not be read of it.
    """
    segment, process, header = decoder.segment, decoder.process, decoder.segment.header
    begin = min(header.begin_realtime, _LARGEST)
    end = min(header.end_realtime, _LARGEST) or int(segment.events.time.max(initial=begin))
    counts = [
        {"event": segment.text(one.name), "source": layout.SOURCES.get(one.source, "unknown"), "count": one.count}
        for one in segment.counts
    ]
    found = [{"offset": one.offset, "length": one.length, "reason": one.reason} for one in damage]
    return {
        "process": process.id,
        "sequence": header.sequence,
        "batch": batch,
        "parent": process.parent,
        "host": process.host,
        "boot": process.boot or None,
        "pid": process.pid,
        "ppid": process.ppid,
        "pid_start": min(process.pid_start, _LARGEST),
        "pid_namespace": min(process.pid_namespace, _LARGEST),
        "uid": process.uid,
        "user": process.user,
        "way": process.way,
        "canary": process.canary,
        "run": process.run,
        "python": process.python,
        "exe": process.exe,
        "argv": _json(process.argv) if process.argv else None,
        "cwd": process.cwd,
        "attributes": _json(process.attributes),
        "begin": begin // 1000,
        "end": end // 1000,
        "begin_ns": begin,
        "end_ns": end,
        "state": STATES.get(header.state, "open"),
        "drained": header.drained,
        "file": file,
        "events": len(segment.events),
        "counts": _json(counts) if counts else None,
        "losses": _json(named_losses(header)) if any(header.losses) else None,
        "damage": _json(found) if found else None,
    }


def build_header(row: Mapping[str, Any], lost: Mapping[str, int]) -> Header:
    """The header that a segment had, as far as readers of events look at it.

    Args:
        row: of the segment.
        lost: its column `losses`, decoded.
    """
    states = {name: number for number, name in STATES.items()}
    ways = {name: number for number, name in layout.WAYS.items()}
    slots = {name: slot for slot, name in enumerate(LOSS_NAMES)}
    losses = [0] * layout.LOSS_SLOTS
    for reason, count in lost.items():
        losses[slots[reason]] = count
    return Header(
        format_minor=0,
        header_size=layout.HEADER_SIZE,
        process=bytes.fromhex(row["process"]),
        parent=bytes.fromhex(row["parent"]) if row["parent"] else _NOBODY,
        boot=bytes.fromhex(row["boot"]) if row["boot"] else _NOBODY,
        sequence=row["sequence"],
        state=states.get(row["state"], layout.STATE_OPEN),
        pid=row["pid"],
        ppid=row["ppid"],
        pid_start=row["pid_start"],
        pid_namespace=row["pid_namespace"],
        uid=row["uid"],
        gid=0,
        clock=0,
        way=ways.get(row["way"], 0),
        ticks_hz=0,
        begin_ticks=0,
        begin_monotonic=0,
        begin_realtime=row["begin_ns"],
        end_ticks=0,
        end_monotonic=0,
        end_realtime=row["end_ns"],
        used=0,
        canary=layout.CANARY_SEEN if row["canary"] else 0,
        drained=row["drained"],
        beat_monotonic=0,
        beat_realtime=0,
        losses=tuple(losses),
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
