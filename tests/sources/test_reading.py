"""A whole capture on disk, read by the commands that only look."""

from __future__ import annotations

import os
import sys

from mirrorproxy.codec import encode_line
from mirrorproxy.keys import object_key
from mirrorproxy.members import pack
from mirrorproxy.record import Exchange, Request
from mirrorproxy.sources.events import Captured, Duplicate, Unreadable
from mirrorproxy.sources.reading import read_capture

T0 = 1_700_000_000_000_000


def record(number: int) -> bytes:
    return encode_line(
        Exchange(
            v=1, id=f"{number:032x}", service="orders", via="inline", node="n/0",
            started_us=T0 + number, duration_us=1, client="203.0.113.7", scheme="http",
            upstream="http://10.0.3.7:8080", request=Request("GET", f"/{number}", "1.1", []),
        )
    )  # fmt: skip


def test_gzip_plain_and_damaged_objects_of_a_directory(tmp_path):
    """Every readable exchange comes once and in order; the damage is named."""
    objects = {
        object_key("", "a", T0, "u1"): pack(record(3) + record(1), 2) + pack(record(5), 1),
        object_key("", "b", T0, "u2"): record(2) + b"garbage\n" + record(4) + record(5),
    }
    for key, data in objects.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(data)
    events = list(read_capture([str(tmp_path)]))
    captured = [event.exchange.request.target for event in events if isinstance(event, Captured)]
    assert captured == ["/1", "/2", "/3", "/4", "/5"]
    assert sum(isinstance(event, Duplicate) for event in events) == 1
    (bad,) = [event for event in events if isinstance(event, Unreadable)]
    assert bad.name.endswith("u2.jsonl.gz")
    assert (bad.offset, bad.lines) == (len(record(2)), 1)


def test_standard_input_is_read(monkeypatch):
    """Through its descriptor, so that the rest of the program keeps its own."""
    read, write = os.pipe()
    os.write(write, record(1) + record(2))
    os.close(write)
    with open(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        events = list(read_capture(["-"]))
    assert [event.exchange.request.target for event in events] == ["/1", "/2"]
