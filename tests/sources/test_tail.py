"""Following: what is found once, what is remembered, and what a checkpoint says."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from mirrorproxy.errors import ConfigError, SourceError
from mirrorproxy.keys import object_key
from mirrorproxy.sources.arrivals import Arrivals
from mirrorproxy.sources.events import CaptureObject
from mirrorproxy.sources.progress import Progress, load, save
from mirrorproxy.sources.tail import Seen, Tail

T0 = 1_763_884_800_000_000
MINUTE = 60_000_000
HOUR = 60 * MINUTE
SOURCE = ["s3://b"]


class Shelf:
    """Objects that can be looked for; each look notes what it was asked for."""

    def __init__(self) -> None:
        self.objects: dict[str, int] = {}
        self.error: SourceError | None = None
        self.looks = 0
        self.looked = threading.Condition()

    def put(self, minute: int) -> str:
        at_us = T0 + minute * MINUTE
        name = object_key("", "mirror", at_us, f"u{minute}")
        self.objects[name] = at_us
        return name

    def look(self, span, account_of):
        found = []
        for name, at_us in sorted(self.objects.items()):
            if span.may_be_in(at_us) and (account := account_of(name)) is not None:
                found.append(
                    Seen(CaptureObject(name, NotImplemented, at_us, account=account), None)
                )
        with self.looked:
            self.looks += 1
            self.looked.notify_all()
        if self.error is not None:
            raise self.error
        return found

    def wait(self, more: int = 2) -> None:
        """Wait for so many more looks: what the first of them found is then written down."""
        with self.looked:
            wanted = self.looks + more
            assert self.looked.wait_for(lambda: self.looks >= wanted, 30)


class Followed:
    """A tail over a shelf, with what it needs."""

    def __init__(self, shelf: Shelf, checkpoint: Path | None, progress: Progress | None = None):
        self.arrivals = Arrivals(lambda: 0)
        self.stopping = threading.Event()
        self.said: list[str | None] = []
        self.now_us = T0 + HOUR
        self.tail = Tail(
            shelf.look, self.arrivals, progress or Progress(SOURCE, T0, T0 - 15 * MINUTE),
            look_s=0.01, lookback_us=HOUR, wall_us=lambda: self.now_us, stopping=self.stopping,
            on_problem=self.said.append, checkpoint=checkpoint,
        )  # fmt: skip
        self.tail.start()

    def taken(self) -> list[CaptureObject]:
        found = []
        while isinstance(one := next(self.arrivals), CaptureObject):
            found.append(one)
        return found

    def close(self) -> None:
        self.stopping.set()
        self.tail.close()


@pytest.fixture
def shelf():
    return Shelf()


def end(source: CaptureObject) -> None:
    """Take an object to its end, as a merge and an engine do."""
    assert source.account is not None
    source.account.add()
    source.account.done()


def test_each_object_is_given_once(shelf):
    """While it is worked on, and when it is done with."""
    followed = Followed(shelf, None)
    try:
        first = shelf.put(5)
        shelf.wait()
        (one,) = followed.taken()
        end(one)
        other = shelf.put(1)
        shelf.wait()
        assert (one.name, [source.name for source in followed.taken()]) == (first, [other])
    finally:
        followed.close()


def test_a_checkpoint_holds_what_is_done_with_alone(shelf, tmp_path):
    """What is under way is found again, and what came before the first look back is forgotten."""
    path = tmp_path / "checkpoint"
    followed = Followed(shelf, path)
    done, under_way = shelf.put(50), shelf.put(40)
    shelf.wait()
    for source in followed.taken():
        if source.name == done:
            end(source)
    followed.now_us = T0 + 4 * HOUR
    followed.close()
    progress = load(path, SOURCE)
    assert progress == Progress(SOURCE, T0, T0 + 40 * MINUTE, [done])
    again = Followed(shelf, path, progress)
    try:
        shelf.wait()
        assert [source.name for source in again.taken()] == [under_way]
    finally:
        again.close()


def test_what_is_long_done_with_is_forgotten(shelf, tmp_path):
    """The file does not grow with the capture."""
    path = tmp_path / "checkpoint"
    followed = Followed(shelf, path)
    shelf.put(1)
    shelf.wait()
    for source in followed.taken():
        end(source)
    followed.now_us = T0 + 4 * HOUR
    followed.close()
    progress = load(path, SOURCE)
    assert progress == Progress(SOURCE, T0, T0 + 4 * HOUR - 75 * MINUTE, [])


def test_a_look_that_fails_is_told_and_made_again(shelf):
    """Until it does not fail."""
    followed = Followed(shelf, None)
    try:
        shelf.error = SourceError("away")
        shelf.wait()
        shelf.error = None
        shelf.put(5)
        deadline = time.monotonic() + 30
        while None not in followed.said and time.monotonic() < deadline:
            shelf.wait()
        assert (followed.said[0], followed.said[-1]) == ("away", None)
        assert len(followed.taken()) == 1
    finally:
        followed.close()


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    """And is replaced as a whole."""
    path = tmp_path / "checkpoint"
    assert load(path, SOURCE) is None
    save(path, Progress(SOURCE, 1, 2, ["a"]))
    save(path, Progress(SOURCE, 1, 3, ["b"]))
    assert load(path, SOURCE) == Progress(SOURCE, 1, 3, ["b"])
    assert [one.name for one in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"half", "not a checkpoint"),
        (b'{"source":["s3://c"],"from_us":0,"floor_us":0}', "of another source, s3://c"),
        (b'{"source":["s3://b"],"from_us":0,"floor_us":0,"v":2}', "of a newer version"),
    ],
)
def test_a_file_that_is_no_checkpoint_of_this_source_is_refused(tmp_path, content, said):
    """Before anything is sent twice by mistake."""
    path = tmp_path / "checkpoint"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load(path, SOURCE)
