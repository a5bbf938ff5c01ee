"""The directory sink: whole objects under their keys, or nothing."""

from __future__ import annotations

import errno
import gzip
import itertools
import os
import shutil
from pathlib import Path

import pytest
from spool_fakes import AT_US, Clock

from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.keys import body_ref
from mirrorproxy.members import MAX_MEMBER_BYTES
from mirrorproxy.packs import Pack, Receipt
from mirrorproxy.sinks import directory as sinks
from mirrorproxy.sinks.directory import DirectorySink

REF = body_ref(AT_US, "0a" * 16)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(directory: Path, clock: Clock, **options: float) -> DirectorySink:
    numbers = itertools.count(1)
    return DirectorySink(
        directory,
        "orders",
        monotonic=clock.monotonic,
        unique=lambda: f"u{next(numbers)}",
        **options,  # type: ignore[arg-type]
    )


def pack(number: int, at_s: float = 0.0) -> Pack:
    return Pack(number, b"line %d\n" % number, 1, AT_US + round(at_s * 1e6))


def objects(directory: Path) -> dict[str, bytes]:
    """What a reader sees: keys and content, dot files aside."""
    return {
        str(path.relative_to(directory)): gzip.decompress(path.read_bytes())
        for path in sorted(directory.rglob("*.gz"))
    }


KEY = "2023/11/14/22/orders-1-2023-11-14-22-13-20-u1.jsonl.gz"


def test_an_object_appears_when_it_is_old_enough(tmp_path, clock):
    """Until then a reader sees nothing and nothing is settled."""
    sink = make(tmp_path, clock)
    sink.put(pack(1))
    clock.s = 9.9
    sink.put(pack(2))
    sink.poll()
    assert objects(tmp_path) == {}
    assert sink.settled() == []
    clock.s = 10.0
    sink.poll()
    assert objects(tmp_path) == {KEY: b"line 1\nline 2\n"}
    assert sink.settled() == [Receipt(1), Receipt(2)]
    assert sink.settled() == []
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_an_object_ends_by_size(tmp_path, clock):
    """Of its bytes as they are stored."""
    sink = make(tmp_path, clock, roll_bytes=60)
    for number in (1, 2, 3):
        sink.put(pack(number))
    assert sink.settled() == [Receipt(1), Receipt(2)]
    assert objects(tmp_path) == {KEY: b"line 1\nline 2\n"}


def test_an_object_holds_a_short_stretch_of_captured_time(tmp_path, clock):
    """After an outage hours arrive at once; their keys still tell the time."""
    sink = make(tmp_path, clock)
    for number, at_s in enumerate((0, 9, 11, 3600), start=1):
        sink.put(pack(number, at_s))
    sink.flush()
    assert objects(tmp_path) == {
        KEY: b"line 1\nline 2\n",
        "2023/11/14/22/orders-1-2023-11-14-22-13-31-u2.jsonl.gz": b"line 3\n",
        "2023/11/14/23/orders-1-2023-11-14-23-13-20-u3.jsonl.gz": b"line 4\n",
    }
    assert [receipt.number for receipt in sink.settled()] == [1, 2, 3, 4]


def test_flushing_nothing_makes_no_object(tmp_path, clock):
    """An idle hour leaves no file."""
    sink = make(tmp_path, clock)
    sink.flush()
    sink.poll()
    sink.close()
    assert objects(tmp_path) == {}


def test_what_is_not_complete_is_given_up(tmp_path, clock):
    """The shipper puts it again; no half object stays."""
    sink = make(tmp_path, clock)
    sink.put(pack(1))
    sink.close()
    assert sink.settled() == []
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_what_a_killed_process_left_is_removed_at_the_next_start(tmp_path, clock):
    """But not what another mirror is writing there."""
    other = make(tmp_path, clock)
    other.put(pack(1))
    (tmp_path / ".incoming" / "dead.part").write_bytes(b"half")
    sink = make(tmp_path, clock)
    assert [path.name for path in (tmp_path / ".incoming").iterdir()] == ["u1.part"]
    other.flush()
    assert objects(tmp_path) == {KEY: b"line 1\n"}
    sink.close()


def test_a_folder_that_vanishes_costs_nothing(tmp_path, clock):
    """Its packs are given back, and the next ones make it again."""
    directory = tmp_path / "captures"
    sink = make(directory, clock)
    sink.put(pack(1))
    shutil.rmtree(directory)
    with pytest.raises(SinkUnavailable, match=r"cannot write to .*captures: No such file"):
        sink.flush()
    assert sink.settled() == []
    sink.put(pack(1))
    sink.flush()
    assert list(objects(directory).values()) == [b"line 1\n"]
    assert sink.settled() == [Receipt(1)]


def test_a_mount_that_goes_away_is_waited_for(tmp_path, clock):
    """Nothing is written into the place where it should be mounted."""
    directory = tmp_path / "mount" / "captures"
    sink = make(directory, clock)
    shutil.rmtree(tmp_path / "mount")
    with pytest.raises(SinkUnavailable):
        sink.put(pack(1))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mount").mkdir()
    sink.put(pack(1))
    sink.flush()
    assert sink.settled() == [Receipt(1)]


def test_a_full_disk_gives_packs_back(tmp_path, clock, monkeypatch):
    """The object so far is given up; what was settled stays settled."""
    sink = make(tmp_path, clock, roll_bytes=60)
    for number in (1, 2, 3):
        sink.put(pack(number))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(sinks.os, "write", full)
        with pytest.raises(SinkUnavailable, match="No space left on device"):
            sink.put(pack(4))
    assert sink.settled() == [Receipt(1), Receipt(2)]
    assert list((tmp_path / ".incoming").iterdir()) == []
    sink.put(pack(3))
    sink.put(pack(4))
    assert [receipt.number for receipt in sink.settled()] == [3, 4]


def test_an_impossible_pack_is_rejected(tmp_path, clock):
    """A member that no reader takes is not written; others are not touched."""
    sink = make(tmp_path, clock)
    sink.put(pack(1))
    with pytest.raises(SinkRejected, match="too much for one member"):
        sink.put(Pack(2, bytes(MAX_MEMBER_BYTES + 1), 1, AT_US))
    sink.flush()
    assert sink.settled() == [Receipt(1)]


@pytest.mark.parametrize("name", ["", "a/b", "..\n", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused_at_once(tmp_path, clock, name):
    """Before anything is captured for it."""
    with pytest.raises(ValueError):
        DirectorySink(tmp_path, name)


@pytest.mark.parametrize("linked", [True, False])
def test_a_body_is_stored_beside_the_year_folders(tmp_path, clock, monkeypatch, linked):
    """By a link, or a copy where links are not possible; twice is once."""
    if not linked:

        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(sinks.os, "link", refuse)
    body = tmp_path / "spool" / "body"
    body.parent.mkdir()
    body.touch(mode=0o600)
    body.write_bytes(b"large")
    directory = tmp_path / "captures"
    sink = make(directory, clock)
    sink.put_body(REF, body)
    sink.put_body(REF, body)
    assert (directory / REF).samefile(body) is linked
    body.unlink()
    assert (directory / REF).read_bytes() == b"large"
    assert (directory / REF).stat().st_mode & 0o077 == 0
    assert list((directory / ".incoming").iterdir()) == []


def test_a_body_that_cannot_be_stored_is_tried_again(tmp_path, clock, monkeypatch):
    """No half body stays under its name."""
    body = tmp_path / "body"
    body.write_bytes(b"large")
    directory = tmp_path / "captures"
    sink = make(directory, clock)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(sinks.os, "fsync", broken)
        with pytest.raises(SinkUnavailable, match="Input/output error"):
            sink.put_body(REF, body)
    assert not (directory / REF).exists()
    sink.put_body(REF, body)
    assert (directory / REF).read_bytes() == b"large"


def test_only_the_owner_can_read_objects(tmp_path, clock):
    """Captured traffic is nobody else's."""
    sink = make(tmp_path, clock)
    old = os.umask(0)
    try:
        sink.put(pack(1))
        sink.flush()
    finally:
        os.umask(old)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
