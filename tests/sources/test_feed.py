"""Reading objects ahead in a thread, and what happens when it fails."""

from __future__ import annotations

import io
import threading

import pytest

from mirrorproxy.sources.events import CaptureObject, Signal, Unreadable
from mirrorproxy.sources.feed import InlineFeed, Reader


def source(data: bytes) -> CaptureObject:
    return CaptureObject(name="object", open=lambda: io.BytesIO(data))


def wait_for(feed, deadline: threading.Event):
    while (part := feed.poll()) is Signal.PENDING:
        assert not deadline.wait(0.001)
    return part


@pytest.fixture
def reader():
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def never():
    return threading.Event()


def test_a_thread_reads_what_an_inline_feed_reads(reader, never):
    """The same lines, then the end, again and again."""
    feed = reader.feed(source(b"one\ntwo\n"))
    inline = InlineFeed(source(b"one\ntwo\n"))
    assert wait_for(feed, never) == inline.poll() == [(0, b"one"), (4, b"two")]
    assert wait_for(feed, never) is inline.poll() is Signal.END
    assert feed.poll() is inline.poll() is Signal.END


def test_polling_never_waits(reader):
    """A disk that hangs shows as PENDING."""
    release = threading.Event()

    def slow() -> io.BytesIO:
        release.wait(10)
        return io.BytesIO(b"one\n")

    feed = reader.feed(CaptureObject(name="slow", open=slow))
    assert feed.poll() is Signal.PENDING
    release.set()
    assert wait_for(feed, threading.Event()) == [(0, b"one")]


def test_an_object_that_cannot_be_opened_is_unreadable():
    """It is named; the replay goes on with the others."""

    def refuse() -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    feed = InlineFeed(CaptureObject(name="secret.gz", open=refuse))
    assert feed.poll() == Unreadable("secret.gz", None, "cannot be opened: Permission denied", None)
    assert feed.poll() is Signal.END


def test_an_object_that_fails_on_the_way_is_unreadable_from_there():
    """What was read before is given out."""

    class Failing(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            data = super().read1(4)
            if not data:
                raise OSError(5, "Input/output error")
            return data

    feed = InlineFeed(CaptureObject(name="bad disk", open=lambda: Failing(b"one\n")))
    parts = []
    while (part := feed.poll()) is not Signal.END:
        parts.append(part)
    assert Unreadable("bad disk", None, "cannot be read on: Input/output error", None) in parts


def test_an_error_of_ours_in_the_thread_is_raised_where_it_is_noticed(reader, never):
    """A mistake in the program must not look like the end of the capture."""

    def broken() -> io.BytesIO:
        raise ZeroDivisionError

    feed = reader.feed(CaptureObject(name="x", open=broken))
    with pytest.raises(ZeroDivisionError):
        wait_for(feed, never)
    assert feed.poll() is Signal.END


def test_closing_a_feed_closes_its_file(reader, never):
    """Also while batches are still being read ahead."""
    files: list[io.BytesIO] = []

    def opened() -> io.BytesIO:
        files.append(io.BytesIO(b"x" * 100 + b"\n" + b"y" * 600_000 + b"\n" + b"z" * 600_000))
        return files[0]

    feed = reader.feed(CaptureObject(name="x", open=opened))
    wait_for(feed, never)
    feed.close()
    while not files[0].closed:
        assert not never.wait(0.001)
