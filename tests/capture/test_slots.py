"""Slots: reconciling what dead workers left behind."""

import struct
from pathlib import Path

import pytest

from mirrorproxy.capture.slots import SLOTS, SlotLocks, adopt, reconcile
from mirrorproxy.metrics import INDEX, CounterFile, captured_store, volatile_slot
from mirrorproxy.spool import checkpoint


def counters_with(tmp_path: Path, **numbers: int) -> CounterFile:
    counters = CounterFile(tmp_path / "counters", SLOTS)
    slot = counters.slot(1)
    for name, value in numbers.items():
        slot[INDEX[name]] = value
    return counters


@pytest.mark.parametrize(
    ("segments", "mark", "found"),
    [
        pytest.param({}, (5, 0, 10), 0, id="shipped and deleted"),
        pytest.param({(5, 1, 0): b"a\nb\n"}, (5, 0, 4), 0, id="all counted"),
        pytest.param({(5, 1, 0): b"a\nb\nc\n"}, (5, 0, 2), 2, id="two behind"),
        pytest.param({(5, 1, 0): b"a\nb\nto"}, (5, 0, 2), 1, id="a torn line is no record"),
        pytest.param({(5, 1, 0): b"a\n", (6, 1, 1): b"b\nc\n"}, (5, 0, 2), 2, id="rolled since"),
        pytest.param({(4, 1, 0): b"a\n", (5, 1, 0): b"a\n"}, (5, 0, 2), 0, id="older: done before"),
        pytest.param({(5, 2, 0): b"a\n", (6, 11, 0): b"a\n"}, (5, 0, 0), 0, id="of other slots"),
    ],
)
def test_reconcile(
    tmp_path: Path,
    segments: dict[tuple[int, int, int], bytes],
    mark: tuple[int, int, int],
    found: int,
) -> None:
    """Records that reached a segment but not the counter are captured, once."""
    (tmp_path / "segments").mkdir()
    for (created, slot, sequence), content in segments.items():
        (tmp_path / "segments" / f"{created:016d}-{slot}-{sequence}.ndjson").write_bytes(content)
    segment_us, segment_seq, segment_bytes = mark
    counters = counters_with(
        tmp_path,
        seen=9,
        segment_us=segment_us,
        segment_seq=segment_seq,
        segment_bytes=segment_bytes,
    )
    assert reconcile(counters, 1, tmp_path) == (found, 9 - found)
    assert reconcile(counters, 1, tmp_path) == (0, 0)
    assert counters.read(1)["captured"] == found


def test_what_is_stored_together_is_stored_at_once() -> None:
    """A store that fails half-way leaves all four numbers as they were, as a kill would."""
    slot = volatile_slot()
    store = captured_store(slot)
    store(7, 8, 9, 10)
    with pytest.raises(struct.error):
        store(1, 2, 3, -1)
    fields = ("segment_us", "segment_seq", "segment_bytes", "captured")
    assert [slot[INDEX[field]] for field in fields] == [7, 8, 9, 10]
    assert sum(slot.tolist()) == 34


def test_every_fate_is_subtracted_before_a_request_is_lost(tmp_path: Path) -> None:
    """Captured, filtered, sampled and dropped requests are not lost."""
    counters = counters_with(
        tmp_path,
        seen=20,
        captured=4,
        sampled=3,
        filtered_path=2,
        filtered_replay=1,
        dropped_disk=2,
        dropped_client_aborted=1,
        lost=1,
    )
    assert reconcile(counters, 1, tmp_path) == (0, 6)


def test_gauges_of_the_dead_are_zero(tmp_path: Path) -> None:
    """A dead worker has no process and no open connections."""
    counters = counters_with(tmp_path, pid=1234, ready=1, open_connections=5, connections=6)
    reconcile(counters, 1, tmp_path)
    numbers = counters.read(1)
    assert [numbers[name] for name in ("pid", "ready", "open_connections")] == [0, 0, 0]
    assert numbers["connections"] == 6


def test_slot_lock_is_free_again_after_asking(tmp_path: Path) -> None:
    """Asking whether a slot is free leaves it free."""
    locks = SlotLocks(tmp_path / "slots")
    assert locks.is_free(3)
    assert locks.hold(3)
    locks.close()


def spool_with(tmp_path: Path, shipped: int, waiting: int) -> Path:
    (tmp_path / "segments").mkdir()
    name = "0000000000000005-3-1.ndjson"
    (tmp_path / "segments" / name).write_bytes(b"{}\n" * (waiting + 1))
    checkpoint.save(tmp_path, checkpoint.Checkpoint({name: 3}, checkpoint.Totals(shipped=shipped)))
    return tmp_path


@pytest.mark.parametrize(
    ("captured", "difference", "seen_after", "captured_after", "lost_after"),
    [
        pytest.param(7, 0, 7, 7, 0, id="agrees"),
        pytest.param(0, 7, 7, 7, 0, id="new counters beside an old spool"),
        pytest.param(10, -3, 10, 7, 3, id="records gone from the spool"),
    ],
)
def test_adopt(
    tmp_path: Path,
    captured: int,
    difference: int,
    seen_after: int,
    captured_after: int,
    lost_after: int,
) -> None:
    """Counters that know another number of records than the spool follow the spool."""
    counters = counters_with(tmp_path, seen=captured, captured=captured)
    spool = spool_with(tmp_path, shipped=5, waiting=2)
    assert adopt(counters, spool) == difference
    totals = counters.totals()
    assert (totals["seen"], totals["captured"], totals["lost"]) == (
        seen_after,
        captured_after,
        lost_after,
    )
    assert adopt(counters, spool) == 0


def test_records_that_new_counters_never_saw(tmp_path: Path) -> None:
    """A spool older than its counters: its records count as seen too, so that the sums agree."""
    spool = spool_with(tmp_path, shipped=5, waiting=2)
    counters = CounterFile(tmp_path / "counters", SLOTS)
    assert reconcile(counters, 3, spool) == (3, 0)
    assert adopt(counters, spool) == 4
    totals = counters.totals()
    assert (totals["seen"], totals["captured"], totals["lost"]) == (7, 7, 0)
