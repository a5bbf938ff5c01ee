"""Downloads: whatever the sizes, the bytes come in order, and the room comes back."""

from __future__ import annotations

import pytest

from mirrorproxy.sources.download import PART_BYTES, Download, Downloads

MIB = 1024 * 1024


class Store:
    def __init__(self, size: int) -> None:
        self.data = bytes(range(251)) * (size // 251 + 1)
        self.data = self.data[:size]
        self.asked: list[tuple[int, int]] = []

    def fetch(self, begin: int, end: int) -> bytes:
        self.asked.append((begin, end))
        return self.data[begin:end]


@pytest.fixture
def downloads():
    downloads = Downloads(threads=2, ahead_bytes=2 * PART_BYTES)
    yield downloads
    downloads.close()


@pytest.mark.parametrize("is_known", [True, False], ids=["size known", "unknown"])
@pytest.mark.parametrize("prefetches", [True, False])
@pytest.mark.parametrize(
    "size", [0, 1, MIB, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 9 * MIB + 3]
)
def test_an_object_comes_whole(downloads, size, prefetches, is_known):
    """Part after part; and nothing stays taken."""
    store = Store(size)
    download = Download(downloads, store.fetch, size if is_known else None)
    if prefetches:
        download.prefetch()
        download.prefetch()
    with download.open() as stream:
        parts = iter(lambda: stream.read(256 * 1024), b"")
        assert b"".join(parts) == store.data
    assert downloads.room == 2 * PART_BYTES
    assert len(store.asked) == len(set(store.asked))


def test_no_more_is_fetched_ahead_than_there_is_room_for(downloads):
    """Those beyond are fetched when they are opened, and all of them come whole."""
    stores = [Store(PART_BYTES) for _ in range(4)]
    opened = [Download(downloads, store.fetch, PART_BYTES) for store in stores]
    for download in opened:
        download.prefetch()
    assert downloads.room == 0
    for download, store in zip(opened, stores, strict=True):
        with download.open() as stream:
            assert b"".join(iter(lambda: stream.read(MIB), b"")) == store.data
    assert downloads.room == 2 * PART_BYTES


def test_what_goes_wrong_is_raised_where_it_is_read(downloads):
    """Not in the thread that fetches, which goes on."""

    def fetch(_begin: int, _end: int) -> bytes:
        raise OSError(0, "no such object")

    download = Download(downloads, fetch, 10)
    download.prefetch()
    with download.open() as stream, pytest.raises(OSError, match="no such object"):
        stream.read(10)
    assert downloads.room == 2 * PART_BYTES
    with Download(downloads, Store(5).fetch, 5).open() as stream:
        assert len(stream.read(10)) == 5
