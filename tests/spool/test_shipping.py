"""The shipper: in order, at least once, counted, and never in a hurry to forget."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest
from spool_fakes import AT_US, Clock, ListSink, record_with_body, settle, shipper, writer

from mirrorproxy.packs import SinkState
from mirrorproxy.spool import checkpoint as checkpoints
from mirrorproxy.spool.segment import SegmentName
from mirrorproxy.spool.shipper import SpoolBusy, run
from mirrorproxy.spool.status import read_status


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


def segments(spool: Path) -> list[str]:
    return sorted(path.name for path in (spool / "segments").iterdir())


def test_a_few_lines_wait_a_second_for_company(tmp_path, clock, sink):
    """Packs of few lines cost most: 100 lines go at once, fewer after 1 s."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    writing.append(b"1\n")
    settle(shipping)
    clock.s = 0.9
    writing.append(b"2\n")
    settle(shipping)
    assert sink.packs == []
    clock.s = 1.0
    settle(shipping)
    assert sink.lines == [b"1", b"2"]
    for number in range(100):
        writing.append(b"%d\n" % number)
    settle(shipping)
    assert [pack.count for pack in sink.packs] == [2, 100]


def test_a_folder_that_goes_away_and_comes_back_is_shipped_once(tmp_path, clock, sink):
    """What was settled before is known when the segments are there again."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    writing.append(b"1\n")
    settle(shipping)
    clock.s = 1.0
    settle(shipping)
    (tmp_path / "segments").rename(tmp_path / "away")
    settle(shipping)
    (tmp_path / "away").rename(tmp_path / "segments")
    clock.s = 2.0
    settle(shipping)
    clock.s = 3.0
    settle(shipping)
    assert sink.lines == [b"1"]
    assert shipping.status().shipped == 1


def test_lines_of_several_workers_share_a_pack(tmp_path, clock, sink):
    """Oldest segment first."""
    first, second = writer(tmp_path, clock, slot=1), writer(tmp_path, clock, slot=0)
    first.append(b"1\n")
    clock.s = 0.5
    second.append(b"2\n")
    clock.s = 0.6
    first.append(b"3\n")
    shipping = shipper(tmp_path, sink, clock)
    settle(shipping)
    clock.s = 2.0
    settle(shipping)
    assert [pack.lines for pack in sink.packs] == [b"1\n3\n2\n"]


def test_a_pack_fits_a_firehose_record(tmp_path, clock, sink):
    """At most 900 KiB of lines; a longer line goes alone."""
    writing = writer(tmp_path, clock)
    for size in (400_000, 400_000, 400_000, 1_500_000, 10):
        writing.append(b"x" * size + b"\n")
    shipping = shipper(tmp_path, sink, clock)
    settle(shipping)
    clock.s = 1.0
    settle(shipping)
    assert [len(pack.lines) for pack in sink.packs] == [800_002, 400_001, 1_500_001, 11]


def test_the_end_of_a_segment_does_not_overfill_a_pack(tmp_path, clock, sink):
    """A line of the next segment that does not fit waits for the next pack."""
    writing, other = writer(tmp_path, clock), writer(tmp_path, clock, slot=1)
    writing.append(b"x" * 900_000 + b"\n")
    other.append(b"y" * 900_000 + b"\n")
    settle(shipper(tmp_path, sink, clock))
    assert [len(pack.lines) for pack in sink.packs] == [900_001, 900_001]


def test_only_complete_lines_are_taken(tmp_path, clock, sink):
    """Half a line waits for its other half, while its segment is written."""
    path = SegmentName(AT_US, 0, 1).path(tmp_path)
    path.parent.mkdir()
    writing = writer(tmp_path, clock)
    writing.append(b"1\n")
    os.write(writing._fd, b"ha")
    shipping = shipper(tmp_path, sink, clock)
    settle(shipping)
    clock.s = 1.0
    settle(shipping)
    assert sink.lines == [b"1"]
    os.write(writing._fd, b"lf\n")
    settle(shipping)
    clock.s = 2.0
    settle(shipping)
    assert sink.lines == [b"1", b"half"]


def test_a_pack_tells_when_its_first_record_arrived(tmp_path, clock, sink):
    """The end of its exchange, in microseconds since 1970; never in the future."""
    writing = writer(tmp_path, clock)
    clock.s = 5.0
    for started in (AT_US + 1_000_000, AT_US + 9_000_000):
        writing.append(b'{"v":1,"started_us":%d,"duration_us":500}\n' % started)
        shipping = shipper(tmp_path, sink, clock)
        shipping.drain(clock.s, sleep=clock.sleep)
        shipping.close()
    assert [pack.at_us for pack in sink.packs] == [AT_US + 1_000_500, AT_US + 5_000_000]


def test_a_final_segment_stays_two_seconds(tmp_path, clock, sink):
    """The supervisor reconciles a dead worker's counters from it meanwhile."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    writing.append(b"1\n")
    settle(shipping)
    clock.s = 100.0
    settle(shipping)
    assert sink.lines == [b"1"]
    writing.close()
    settle(shipping)
    clock.s = 101.9
    settle(shipping)
    assert len(segments(tmp_path)) == 1
    clock.s = 102.0
    settle(shipping)
    assert segments(tmp_path) == []


def test_a_segment_that_is_written_is_never_deleted(tmp_path, clock, sink):
    """However long ago its last line was shipped."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    writing.append(b"1\n")
    for clock.s in (0.0, 10.0, 1000.0, 2000.0):
        settle(shipping)
    assert len(segments(tmp_path)) == 1


def test_an_empty_file_that_a_worker_locks_late_is_kept(tmp_path, clock, sink):
    """It looked final between its making and its locking."""
    writing = writer(tmp_path, clock)
    path = SegmentName(AT_US, 0, 1).path(tmp_path)
    path.parent.mkdir()
    path.touch()
    shipping = shipper(tmp_path, sink, clock)
    settle(shipping)
    settle(shipping)
    late = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.flock(late, fcntl.LOCK_EX | fcntl.LOCK_NB)
    clock.s = 10.0
    settle(shipping)
    assert path.exists()
    os.write(late, b"1\n")
    settle(shipping)
    clock.s = 20.0
    settle(shipping)
    assert sink.lines == [b"1"]
    os.close(late)
    writing.close()


def test_an_empty_file_that_a_worker_filled_and_left_is_shipped(tmp_path, clock, sink):
    """It looked final and empty; the last look before deletion tells better."""
    path = SegmentName(AT_US, 0, 1).path(tmp_path)
    path.parent.mkdir()
    path.touch()
    shipping = shipper(tmp_path, sink, clock)
    settle(shipping)
    settle(shipping)
    path.write_bytes(b"1\n")
    for clock.s in (10.0, 11.0, 20.0, 30.0):
        settle(shipping)
    assert sink.lines == [b"1"]
    assert segments(tmp_path) == []


def test_nothing_is_forgotten_before_it_is_settled(tmp_path, clock):
    """A sink that only holds lines leaves segment and checkpoint as they were."""
    sink = ListSink(hold=True)
    writing = writer(tmp_path, clock)
    writing.append(b"1\n")
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    for clock.s in (0.0, 1.0, 2.0, 10.0):
        settle(shipping)
    assert sink.order == ["pack 1"]
    assert len(segments(tmp_path)) == 1
    assert shipping.status().waiting == 1
    sink.flush()
    settle(shipping)
    assert segments(tmp_path) == []
    assert checkpoints.load(tmp_path).totals == checkpoints.Totals(shipped=1)


def test_an_unavailable_sink_gets_everything_again(tmp_path, clock):
    """Same packs, same numbers; settled ones are not repeated."""
    sink = ListSink(hold=True)
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    for name in (b"a", b"b"):
        for number in range(100):
            writing.append(b"%s%d\n" % (name, number))
        settle(shipping)
    assert sink.order == ["pack 1", "pack 2"]
    sink.down = "no route to the sink"
    shipping.step()
    assert shipping.status().error == "no route to the sink"
    assert shipping.status().waiting == 200
    sink.down = None
    clock.s = 60.0
    settle(shipping)
    assert sink.order == ["pack 1", "pack 2", "pack 1", "pack 2"]
    sink.flush()
    settle(shipping)
    assert [pack.number for pack in sink.packs] == [1, 2]
    assert (shipping.status().shipped, shipping.status().error) == (200, None)


def test_what_was_settled_before_the_failure_is_not_repeated(tmp_path, clock):
    """A sink that stored one pack and then lost its connection gets the other one again."""
    sink = ListSink(hold=True)
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    for _ in range(100):
        writing.append(b"1\n")
    settle(shipping)
    sink.flush()
    sink.down = "connection lost"
    shipping.step()
    sink.down = None
    clock.s = 60.0
    settle(shipping)
    assert sink.order == ["pack 1"]
    assert shipping.status().shipped == 100


def test_attempts_grow_apart(tmp_path, clock, sink):
    """Full jitter up to 0.5, 1, 2, 4 ... 30 seconds; a receipt starts over."""
    writer(tmp_path, clock).append(b"1\n")
    shipping = shipper(tmp_path, sink, clock)
    sink.down = "down"
    waits = []
    for _ in range(9):
        assert not shipping.step()
        status = shipping.status()
        assert status.retrying_in_s is not None
        waits.append(status.retrying_in_s)
        clock.s += status.retrying_in_s - 0.01
        assert not shipping.step()
        assert shipping.status().retries == len(waits)
        clock.s += 0.02
    assert waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 30, 30, 30])


def test_bodies_come_before_the_record_that_names_them(tmp_path, clock, sink):
    """And leave the spool only when their record is settled."""
    sink.hold = True
    writing = writer(tmp_path, clock)
    ref, line = record_with_body(writing, b"large")
    writing.append(b"1\n")
    writing.append(line)
    shipping = shipper(tmp_path, sink, clock)
    for clock.s in (0.0, 1.0):
        settle(shipping)
    assert sink.order == [ref, "pack 1"]
    assert sink.bodies == {ref: b"large"}
    assert (tmp_path / ref).exists()
    sink.flush()
    settle(shipping)
    assert not (tmp_path / ref).exists()
    assert sink.lines == [b"1", line[:-1]]


def test_a_body_that_is_gone_does_not_stop_its_record(tmp_path, clock, sink):
    """It is counted; whoever replays sees that the body is missing."""
    writing = writer(tmp_path, clock)
    ref, line = record_with_body(writing, b"large")
    (tmp_path / ref).unlink()
    writing.append(line)
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(1.0, sleep=clock.sleep) == 0
    assert sink.lines == [line[:-1]]
    assert shipping.status().missing_bodies == 1


def test_a_refused_pack_is_kept_in_quarantine(tmp_path, clock, sink):
    """Counted and named; what comes after it is shipped."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    sink.reject_lines = {b"bad"}
    for lines in ([b"bad", b"neighbour"], [b"good"]):
        for line in lines:
            writing.append(line + b"\n")
        settle(shipping)
        clock.s += 1.0
        settle(shipping)
    status = shipping.status()
    assert (status.shipped, status.quarantined, status.waiting) == (1, 2, 0)
    kept = tmp_path / "quarantine" / "1700000000000000-0-1-0.ndjson"
    assert kept.read_bytes() == b"bad\nneighbour\n"
    assert status.quarantine_error == (
        f"a line it does not like (2 records kept as quarantine/{kept.name})"
    )
    assert status.error is None


def test_a_pack_may_be_refused_long_after_it_was_taken(tmp_path, clock, sink):
    """A receipt that rejects is as good as an error."""
    sink.reject_later = "schema"
    writing = writer(tmp_path, clock)
    ref, line = record_with_body(writing, b"large")
    writing.append(line)
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(1.0, sleep=clock.sleep) == 0
    assert shipping.status().quarantined == 1
    assert (tmp_path / "quarantine" / ref).read_bytes() == b"large"
    assert not (tmp_path / ref).exists()


def test_a_refused_body_takes_its_record_alone(tmp_path, clock, sink):
    """Neighbours in the same pack are shipped."""
    sink.reject_bodies = True
    writing = writer(tmp_path, clock)
    ref, line = record_with_body(writing, b"large")
    for text in (b"1\n", line, b"2\n"):
        writing.append(text)
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(1.0, sleep=clock.sleep) == 0
    assert sink.lines == [b"1", b"2"]
    assert (tmp_path / "quarantine/1700000000000000-0-1-2.ndjson").read_bytes() == line
    assert (tmp_path / "quarantine" / ref).read_bytes() == b"large"
    assert (shipping.status().shipped, shipping.status().quarantined) == (2, 1)


def test_a_full_quarantine_discards_and_counts(tmp_path, clock, sink):
    """It is bounded; the first ones are kept."""
    sink.reject_lines = {b"bad 1", b"bad 2"}
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock, quarantine_bytes=8)
    for line in (b"bad 1\n", b"bad 2\n"):
        writing.append(line)
        settle(shipping)
        clock.s += 1.0
        settle(shipping)
    status = shipping.status()
    assert (status.quarantined, status.discarded) == (1, 1)
    assert status.quarantine_error == (
        "a line it does not like (1 records discarded: the quarantine is full)"
    )


def test_a_torn_line_is_counted_once(tmp_path, clock, sink):
    """The end of a killed worker's segment is no record."""
    path = SegmentName(AT_US, 0, 1).path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"1\nhalf a li")
    shipping = shipper(tmp_path, sink, clock)
    for clock.s in (0.0, 1.0, 2.0):
        settle(shipping)
    status = shipping.status()
    assert (status.shipped, status.torn, status.waiting) == (1, 1, 0)
    shipping.close()
    again = shipper(tmp_path, sink, clock)
    assert again.drain(clock.s + 9, sleep=clock.sleep) == 0
    assert (again.status().shipped, again.status().torn) == (1, 1)
    assert sink.lines == [b"1"]


def test_only_one_shipper_works_on_a_spool(tmp_path, clock, sink):
    """The second one says so; when the first has gone it may begin."""
    first = shipper(tmp_path, sink, clock)
    with pytest.raises(SpoolBusy, match="another shipper works on the spool"):
        shipper(tmp_path, sink, clock)
    first.close()
    shipper(tmp_path, sink, clock).close()


def test_draining_ships_at_once_and_deletes(tmp_path, clock):
    """No waiting for company, none for reconciliation."""
    sink = ListSink(hold=True)
    writing = writer(tmp_path, clock)
    writing.append(b"1\n")
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(5.0, sleep=clock.sleep) == 0
    assert sink.lines == [b"1"]
    assert segments(tmp_path) == []
    assert clock.s < 1.0


def test_what_draining_cannot_ship_is_said(tmp_path, clock, sink):
    """It stays in the spool for the next start."""
    sink.down = "down"
    writing = writer(tmp_path, clock)
    for number in range(7):
        writing.append(b"%d\n" % number)
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(5.0, sleep=clock.sleep) == 7
    assert 5.0 <= clock.s < 6.0
    assert len(segments(tmp_path)) == 1


def test_the_status_is_written_once_a_second(tmp_path, clock, sink):
    """What the supervisor shows: lines that wait are counted, not guessed."""
    sink.hold = True
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    for number in range(150):
        writing.append(b"%d\n" % number)
    shipping.step()
    before = read_status(tmp_path)
    assert before is not None
    assert (before.waiting, before.shipped) == (150, 0)
    writing.append(b"one more\n")
    clock.s = 0.9
    shipping.step()
    assert read_status(tmp_path) == before
    clock.s = 1.0
    shipping.step()
    after = read_status(tmp_path)
    assert after is not None
    assert (after.waiting, after.updated_us) == (151, AT_US + 1_000_000)
    assert after.oldest_age_s == pytest.approx(1.0)
    sink.flush()
    clock.s = 3.0
    settle(shipping)
    assert shipping.status().waiting == 1
    assert shipping.status().delay_s == pytest.approx(3.0)


def test_a_damaged_checkpoint_ships_again(tmp_path, clock, sink, caplog):
    """Duplicates rather than loss; the file is kept for people."""
    path = SegmentName(AT_US, 0, 1).path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"1\n")
    (tmp_path / "checkpoint.json").write_bytes(b'{"segments":{"')
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(5.0, sleep=clock.sleep) == 0
    assert sink.lines == [b"1"]
    assert (tmp_path / "checkpoint.damaged").read_bytes() == b'{"segments":{"'
    assert "the checkpoint was damaged" in caplog.text


def test_the_checkpoint_forgets_segments_that_are_gone(tmp_path, clock, sink):
    """The file does not grow with time."""
    writing = writer(tmp_path, clock, max_segment_bytes=2)
    for _ in range(5):
        writing.append(b"1\n")
    writing.close()
    shipping = shipper(tmp_path, sink, clock)
    assert shipping.drain(5.0, sleep=clock.sleep) == 0
    shipping.close()
    writing.append(b"2\n")
    again = shipper(tmp_path, sink, clock)
    settle(again)
    clock.s = 1.0
    settle(again)
    saved = json.loads((tmp_path / "checkpoint.json").read_bytes())
    assert saved["segments"] == {"1700000000000000-0-6.ndjson": 2}
    assert saved["totals"]["shipped"] == 6


def test_a_full_disk_is_freed_through_the_reserve(tmp_path, clock, sink, monkeypatch):
    """The checkpoint that allows deletion needs space itself."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    writing.append(b"1\n")
    settle(shipping)
    clock.s = 1.0
    settle(shipping)
    assert (tmp_path / "reserve").stat().st_size == 1 << 20
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if (tmp_path / "reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    writing.append(b"2\n")
    writing.close()
    settle(shipping)
    monkeypatch.setattr(checkpoints.os, "write", full)
    clock.s = 2.0
    settle(shipping)
    assert checkpoints.load(tmp_path).totals.shipped == 2
    monkeypatch.undo()
    clock.s = 10.0
    settle(shipping)
    assert segments(tmp_path) == []


def test_a_spool_that_cannot_be_written_stops_nothing_for_good(tmp_path, clock, sink, monkeypatch):
    """No checkpoint, no deletion and no further packs; it is tried again later."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as broken:
        broken.setattr(checkpoints, "_replace", refuse)
        for _ in range(100):
            writing.append(b"1\n")
        settle(shipping)
        for _ in range(100):
            writing.append(b"2\n")
        writing.close()
        for clock.s in (1.0, 10.0, 20.0, 60.0):
            settle(shipping)
        assert [pack.number for pack in sink.packs] == [1]
        assert shipping.status().error == "spool: Read-only file system"
        assert len(segments(tmp_path)) == 1
    clock.s = 200.0
    settle(shipping)
    clock.s = 210.0
    settle(shipping)
    assert [pack.number for pack in sink.packs] == [1, 2]
    assert segments(tmp_path) == []
    assert shipping.status().error is None


def test_bodies_without_a_record_are_swept(tmp_path, clock, sink):
    """Only when every record from their time has left the spool."""
    writing = writer(tmp_path, clock)
    orphan, _ = record_with_body(writing, b"orphan", 1)
    waiting, line = record_with_body(writing, b"waiting", 2)
    for ref in (orphan, waiting):
        os.utime(tmp_path / ref, (AT_US / 1e6 + 1, AT_US / 1e6 + 1))
    writing.append(line)
    sink.hold = True
    shipping = shipper(tmp_path, sink, clock)
    for clock.s in (0.0, 100.0, 200.0):
        settle(shipping)
    assert (tmp_path / orphan).exists()
    sink.flush()
    for clock.s in (300.0, 301.0, 400.0):
        settle(shipping)
    assert sink.bodies == {waiting: b"waiting"}
    assert not (tmp_path / orphan).exists()


def test_a_spool_that_vanishes_is_made_again(tmp_path, clock, sink):
    """The shipper goes on with what comes."""
    spool = tmp_path / "spool"
    shipping = shipper(spool, sink, clock)
    writing = writer(spool, clock)
    writing.append(b"1\n")
    settle(shipping)
    for path in sorted(spool.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    spool.rmdir()
    clock.s = 1.0
    settle(shipping)
    writing.append(b"2\n")
    settle(shipping)
    for clock.s in (10.0, 20.0, 60.0):
        settle(shipping)
    assert sink.lines == [b"2"]
    assert shipping.status().error is None


def test_the_loop_rests_when_idle_and_drains_when_told(tmp_path, clock, sink):
    """50 to 100 ms between looks; the sink is closed at the end."""
    writing = writer(tmp_path, clock)
    writing.append(b"1\n")
    rests: list[float] = []

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        clock.sleep(seconds)
        if len(rests) == 4:
            writing.close()

    shipping = shipper(tmp_path, sink, clock)
    left = run(shipping, lambda: len(rests) >= 4, 5.0, monotonic=clock.monotonic, sleep=sleep)
    assert left == 0
    assert rests[:4] == pytest.approx([0.05, 0.075, 0.1, 0.1])
    assert sink.lines == [b"1"]
    assert sink.closed


def test_what_a_sink_still_holds_is_not_put_again(tmp_path, clock, sink):
    """A body that can't be stored now is no reason to double what is under way elsewhere."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    sink.hold = True
    writing.append(b"1\n")
    settle(shipping)
    clock.s = 1.0
    settle(shipping)
    sink.bodies_down = "no bucket"
    ref, line = record_with_body(writing, b"body")
    writing.append(line)
    clock.s = 2.0
    settle(shipping)
    clock.s = 3.0
    settle(shipping)
    assert shipping.status().error == "no bucket"
    sink.flush()
    settle(shipping)
    assert shipping.status().shipped == 1  # while the other waits
    sink.bodies_down = None
    sink.hold = False
    clock.s = 60.0
    settle(shipping)
    assert [pack.number for pack in sink.packs] == [1, 2]
    assert list(sink.bodies) == [ref]


def test_nothing_is_put_into_a_sink_without_room(tmp_path, clock, sink):
    """It stays in the spool."""
    writing = writer(tmp_path, clock)
    shipping = shipper(tmp_path, sink, clock)
    sink.room = False
    writing.append(b"1\n" * 200)
    settle(shipping)
    assert sink.packs == []
    assert shipping.status().waiting == 200
    sink.room = True
    settle(shipping)
    assert sink.lines == [b"1"] * 200


def test_a_sink_that_tries_again_by_itself_is_shown(tmp_path, clock, sink):
    """With its own words and numbers."""
    shipping = shipper(tmp_path, sink, clock)
    sink.now = SinkState("the stream is throttled", 1.5, 7, 3)
    shown = shipping.status()
    assert (shown.error, shown.retrying_in_s) == ("the stream is throttled", 1.5)
    assert (shown.retries, shown.rejected) == (7, 3)
