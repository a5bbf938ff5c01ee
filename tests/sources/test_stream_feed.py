"""A pipe among the sources: it may be silent, and nothing else waits for it."""

from __future__ import annotations

import os
import threading

from mirrorproxy.sources.events import Signal
from mirrorproxy.sources.feed import Reader
from mirrorproxy.sources.objects import find_objects


def test_a_silent_pipe_does_not_hold_up_a_file(tmp_path):
    """The file is read while nobody has written to the pipe yet."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"one\n")
    pipe, file = find_objects([str(tmp_path / "pipe"), str(tmp_path / "file")])
    reader = Reader()
    silent, ready = reader.feed(pipe), reader.feed(file)
    never = threading.Event()
    while (part := ready.poll()) is Signal.PENDING:
        assert not never.wait(0.001)
    assert part == [(0, b"one")]
    assert silent.poll() is Signal.PENDING
    (tmp_path / "pipe").write_bytes(b"two\n")
    while (part := silent.poll()) is Signal.PENDING:
        assert not never.wait(0.001)
    assert part == [(0, b"two")]
    reader.close()
