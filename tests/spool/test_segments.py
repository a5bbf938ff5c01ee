"""Segments and bodies: the writer's side of the spool."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest
from spool_fakes import AT_US, Clock, writer

from mirrorproxy.keys import body_ref
from mirrorproxy.spool import segment as segments
from mirrorproxy.spool.body import sweep
from mirrorproxy.spool.room import SpoolFull, used_bytes
from mirrorproxy.spool.segment import SegmentName, count_lines, parse_name

REF = body_ref(AT_US, "0a" * 16)


def files(spool: Path) -> list[str]:
    """All files of the spool, relative to it."""
    return sorted(str(path.relative_to(spool)) for path in spool.rglob("*") if path.is_file())


def is_locked(path: Path) -> bool:
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_segment_is_named_by_time_slot_and_number(tmp_path, clock):
    """Names sort by time and tell who wrote what."""
    writing = writer(tmp_path, clock, slot=3)
    writing.append(b"a\n")
    assert files(tmp_path) == ["segments/1700000000000000-3-1.ndjson"]
    assert SegmentName(writing.created_us, 3, writing.seq).path(tmp_path).read_bytes() == b"a\n"
    assert writing.size == 2
    writing.close()


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        pytest.param("1700000000000000-3-12.ndjson", SegmentName(AT_US, 3, 12), id="ours"),
        pytest.param(".1700000000000000-3-12.ndjson", None, id="hidden"),
        pytest.param("1700000000000000-3-12.ndjson.gz", None, id="another ending"),
        pytest.param("17-3-12.ndjson", None, id="short time"),
    ],
)
def test_only_segments_are_taken_for_segments(name, parsed):
    """What people leave in the folder is no segment."""
    assert parse_name(name) == parsed


def test_a_writer_without_records_leaves_no_file(tmp_path, clock):
    """The first append makes the first segment."""
    writer(tmp_path, clock).close()
    assert files(tmp_path) == []


def test_a_segment_is_locked_as_long_as_it_is_written(tmp_path, clock):
    """A free lock means that it is final."""
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    (path,) = (tmp_path / "segments").iterdir()
    assert is_locked(path)
    writing.close()
    assert not is_locked(path)


def test_a_segment_ends_by_size(tmp_path, clock):
    """The line that would pass the bound begins the next one; a longer one has its own."""
    writing = writer(tmp_path, clock, max_segment_bytes=8)
    for line in (b"123\n", b"456\n", b"7\n", b"0123456789\n", b"8\n"):
        writing.append(line)
    writing.close()
    contents = [path.read_bytes() for path in sorted((tmp_path / "segments").iterdir())]
    assert contents == [b"123\n456\n", b"7\n", b"0123456789\n", b"8\n"]


def test_a_segment_ends_by_age(tmp_path, clock):
    """Ten seconds after it was made, not after its last line."""
    writing = writer(tmp_path, clock, max_age_s=10)
    writing.append(b"a\n")
    clock.s = 9.9
    writing.append(b"b\n")
    clock.s = 10.0
    writing.append(b"c\n")
    assert [file[9:] for file in files(tmp_path)] == [
        "1700000000000000-0-1.ndjson",
        "1700000010000000-0-2.ndjson",
    ]
    writing.close()


def test_a_clock_that_is_set_back_gives_new_names_still(tmp_path, clock):
    """A name that is taken is never opened again."""
    taken = SegmentName(AT_US, 0, 1).path(tmp_path)
    taken.parent.mkdir()
    taken.write_bytes(b"of a killed worker\n")
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    writing.close()
    assert taken.read_bytes() == b"of a killed worker\n"
    assert SegmentName(AT_US, 0, 2).path(tmp_path).read_bytes() == b"a\n"


def test_a_file_that_the_shipper_locked_first_is_left_to_it(tmp_path, clock, monkeypatch):
    """Between making a file and locking it, it looks final: the writer takes another."""
    real = fcntl.flock
    taken: list[int] = []

    def quick_shipper(fd: int, flags: int) -> None:
        if not taken:
            taken.append(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))
            real(taken[0], fcntl.LOCK_SH)
        real(fd, flags)

    monkeypatch.setattr(segments.fcntl, "flock", quick_shipper)
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    os.close(taken[0])
    writing.close()
    assert SegmentName(AT_US, 0, 1).path(tmp_path).read_bytes() == b""
    assert SegmentName(AT_US, 0, 2).path(tmp_path).read_bytes() == b"a\n"


def test_the_bound_is_that_of_the_whole_spool(tmp_path, clock):
    """Another worker's lines and bodies count; what the shipper deletes makes room again."""
    other = writer(tmp_path, clock, slot=1)
    other.append(b"x" * 59 + b"\n")
    body = other.open_body(REF)
    body.write(b"y" * 30)
    writing = writer(tmp_path, clock, limit_bytes=100)
    writing.append(b"123456789\n")
    with pytest.raises(SpoolFull):
        writing.append(b"1\n")
    body.discard()
    with pytest.raises(SpoolFull):
        writing.append(b"1\n")
    clock.s = 1.0
    writing.append(b"1\n")
    assert used_bytes(tmp_path) == 72
    writing.close()
    other.close()


def test_a_write_that_fails_leaves_nothing_of_the_line(tmp_path, clock, monkeypatch):
    """Half a line is cut off, and the next line stands where it began."""
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    real = os.write
    monkeypatch.setattr(segments.os, "write", lambda fd, data: real(fd, data[:3]))
    with pytest.raises(OSError) as failed:
        writing.append(b"123456\n")
    assert failed.value.errno == errno.ENOSPC
    monkeypatch.undo()
    writing.append(b"b\n")
    writing.close()
    (path,) = (tmp_path / "segments").iterdir()
    assert path.read_bytes() == b"a\nb\n"


def test_a_segment_that_cannot_be_mended_is_ended(tmp_path, clock, monkeypatch):
    """A line after half a line would be lost with it: it goes to the next segment."""
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    real = os.write

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(segments.os, "write", lambda fd, data: real(fd, data[:3]))
    monkeypatch.setattr(segments.os, "ftruncate", refuse)
    with pytest.raises(OSError):
        writing.append(b"123456\n")
    monkeypatch.undo()
    writing.append(b"b\n")
    writing.close()
    contents = [path.read_bytes() for path in sorted((tmp_path / "segments").iterdir())]
    assert contents == [b"a\n123", b"b\n"]


def test_a_segment_that_was_deleted_under_its_writer_is_left(tmp_path, clock):
    """Within a second the writer makes a new one, and the folder with it."""
    writing = writer(tmp_path, clock)
    writing.append(b"a\n")
    for path in (tmp_path / "segments").iterdir():
        path.unlink()
    (tmp_path / "segments").rmdir()
    clock.s = 1.0
    writing.append(b"b\n")
    writing.close()
    (path,) = (tmp_path / "segments").iterdir()
    assert path.read_bytes() == b"b\n"


@pytest.mark.parametrize(("offset", "count"), [(0, 3), (2, 2), (6, 0), (7, 0), (100, 0)])
def test_lines_behind_an_offset_are_counted(tmp_path, offset, count):
    """Complete ones only."""
    path = tmp_path / "segment"
    path.write_bytes(b"a\nb\nc\nhalf a line")
    assert count_lines(path, offset) == count


def test_only_the_owner_can_read_the_spool(tmp_path, clock):
    """Captured traffic is nobody else's."""
    spool = tmp_path / "spool"
    writing = writer(spool, clock)
    writing.append(b"a\n")
    body = writing.open_body(REF)
    body.commit()
    writing.close()
    modes = {path.stat().st_mode & 0o077 for path in spool.rglob("*") if path.is_file()}
    assert modes == {0}
    assert (spool / "segments").stat().st_mode & 0o077 == 0


def test_a_body_has_its_name_once_it_is_complete(tmp_path, clock):
    """Until then it is a locked, hidden file."""
    body = writer(tmp_path, clock).open_body(REF)
    body.write(b"first, ")
    body.write(b"second")
    temporary = tmp_path / f"{REF[:-32]}.{'0a' * 16}.part"
    assert files(tmp_path) == [str(temporary.relative_to(tmp_path))]
    assert is_locked(temporary)
    body.commit()
    assert files(tmp_path) == [REF]
    assert (tmp_path / REF).read_bytes() == b"first, second"
    assert body.size == 13


def test_a_discarded_body_is_gone(tmp_path, clock):
    """Discarding after a commit, or twice, changes nothing."""
    writing = writer(tmp_path, clock)
    body = writing.open_body(REF)
    body.write(b"x")
    body.discard()
    body.discard()
    assert files(tmp_path) == []
    kept = writing.open_body(REF)
    kept.commit()
    kept.discard()
    assert files(tmp_path) == [REF]


def test_a_body_counts_against_the_bound(tmp_path, clock):
    """A large upload can't fill the disk."""
    body = writer(tmp_path, clock, limit_bytes=10).open_body(REF)
    body.write(b"123456789")
    with pytest.raises(SpoolFull):
        body.write(b"01")
    body.discard()
    assert files(tmp_path) == []


def test_the_sweep_takes_old_bodies_that_nobody_writes(tmp_path, clock):
    """Complete or not; one that is being written stays, however old; empty folders go."""
    writing = writer(tmp_path, clock)
    for number, record_id in enumerate(["0a" * 16, "0b" * 16, "0c" * 16, "0d" * 16]):
        body = writing.open_body(body_ref(AT_US + number * 3_600_000_000, record_id))
        if number < 2:
            body.commit()
        if number == 2:
            abandoned = body
    os.close(abandoned._fd)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            os.utime(path, (1000, 1000))
    os.utime(tmp_path / body_ref(AT_US, "0a" * 16), (2000, 2000))
    assert sweep(tmp_path, before_s=1500) == 2
    assert files(tmp_path) == [
        body_ref(AT_US, "0a" * 16),
        "bodies/2023/11/15/01/." + "0d" * 16 + ".part",
    ]
    assert sweep(tmp_path, before_s=1500) == 0
    assert not (tmp_path / "bodies/2023/11/14/23").exists()
