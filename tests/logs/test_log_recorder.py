"""The recorder and the follower of a log, with a writer that can refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.access_lines import line

from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.follower import Follower, load_position
from mirrorproxy.capture.log_recorder import LogRecorder
from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.seal import Sealer
from mirrorproxy.capture.seal_key import SealKey
from mirrorproxy.capture.seal_policy import SealPolicy
from mirrorproxy.capture.seal_record import RecordSealer
from mirrorproxy.metrics import INDEX, Slot, volatile_slot
from mirrorproxy.sources.follow import LogFollower, nothing_read
from mirrorproxy.spool.segment import SpoolFull

SECRET = "s3cr3t-t0ken"


class ListWriter:
    """Keeps what is appended. refusals: what to raise first, one at a call."""

    created_us = seq = size = 0

    def __init__(self, *refusals: Exception) -> None:
        self.lines: list[bytes] = []
        self.refusals = list(refusals)
        self.synced = 0

    def append(self, data: bytes) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        self.lines.append(data)

    def sync(self) -> None:
        self.synced = len(self.lines)

    def open_body(self, ref: str):
        raise AssertionError(f"a log has no bodies: {ref}")

    def close(self) -> None:
        """Nothing to let go of."""

    @property
    def records(self) -> list[dict]:
        return [json.loads(one) for one in self.lines]


def recorder(writer: ListWriter, slot: Slot, policy: ServicePolicy | None = None) -> LogRecorder:
    sealer = Sealer(SealPolicy(), SealKey(bytes(32)))
    return LogRecorder(
        sealer=RecordSealer(sealer, "mirror-1/0"),
        writer=writer,
        slot=slot,
        policy=policy or ServicePolicy(),
    )


def counts(slot: Slot) -> dict[str, int]:
    """The fields that are not 0, the process's own aside."""
    return {
        name: slot[at]
        for name, at in INDEX.items()
        if slot[at] and name not in ("pid", "heartbeat_ns", "ready")
    }


def test_secrets_in_the_clear_are_sealed_before_they_are_written():
    """Header, cookie and query alike; a redacted one keeps its mark."""
    writer, slot = ListWriter(), volatile_slot()
    recorder(writer, slot).record(
        line(
            **{
                "RequestPath": f"/orders?access_token={SECRET}",
                "request_Authorization": f"Bearer {SECRET}",
                "request_Cookie": f"sid={SECRET}",
                "request_X-Api-Key": "REDACTED",
            }
        )
    )
    assert SECRET.encode() not in writer.lines[0]
    (record,) = writer.records
    assert record["node"] == "mirror-1/0"
    assert record["request"]["target"].startswith("/orders?access_token={h1:")
    headers = dict(record["request"]["headers"])
    assert headers["Authorization"].startswith("Bearer {h1:")
    assert headers["X-Api-Key"].startswith("{h1:0000:")
    assert {one["name"] for one in record["credentials"]} == {
        "access_token", "Authorization", "sid", "X-Api-Key",
    }  # fmt: skip
    assert counts(slot) == {"seen": 1, "captured": 1}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        pytest.param(b"no json", "dropped_unreadable", id="noise"),
        pytest.param(
            b'1.2.3.4 - - [14/Nov/2023:22:13:20 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 1',
            "dropped_unreadable", id="the common log format",
        ),
        pytest.param(
            line(**{"request_X-Mirrorproxy-Replay": "run/1"}), "filtered_replay", id="a replay's",
        ),
        pytest.param(line(RequestMethod="HEAD"), "filtered_method", id="another method"),
        pytest.param(line(RequestPath="/health"), "filtered_path", id="an excluded path"),
        pytest.param(line(DownstreamStatus=503), "filtered_status", id="another status"),
        pytest.param(line(**{"request_X-Long": "x" * 1_000_000}), "dropped_error", id="too long"),
    ],
)  # fmt: skip
def test_what_is_not_recorded_is_counted_once(data, field):
    """Each line has one fate."""
    writer, slot = ListWriter(), volatile_slot()
    filters = Filters(methods=["GET"], exclude=["/health"], status=["2xx"])
    recorder(writer, slot, ServicePolicy(filters=filters)).record(data)
    assert writer.lines == []
    assert counts(slot) == {"seen": 1, field: 1}


def test_a_share_is_the_same_share_each_time():
    """A line that is read again has the same fate: its id decides."""
    lines = [line(RequestCount=number) for number in range(400)]
    taken = []
    for _ in range(2):
        writer, slot = ListWriter(), volatile_slot()
        recording = recorder(writer, slot, ServicePolicy(percent=25))
        for one in lines:
            recording.record(one)
        assert counts(slot) == {
            "seen": 400, "captured": len(writer.lines), "sampled": 400 - len(writer.lines),
        }  # fmt: skip
        taken.append([one["id"] for one in writer.records])
    assert taken[0] == taken[1]
    assert 60 < len(taken[0]) < 140


class Following:
    """A follower of a log with a fake clock; told to stop after some waits."""

    def __init__(self, folder: Path, writer: ListWriter, *, waits: int) -> None:
        self.writer, self.slot = writer, volatile_slot()
        self.kept_in = folder / "position.json"
        self.now_s = 0.0
        self._waits = waits
        self.log = LogFollower(
            folder / "access.log", load_position(self.kept_in) or nothing_read(0)
        )
        self._follower = Follower(
            self.log, recorder(writer, self.slot), writer, self.slot, self.kept_in,
            wait=self._wait, drain_timeout_s=10, monotonic=lambda: self.now_s,
        )  # fmt: skip

    def _wait(self, seconds: float) -> bool:
        self.now_s += seconds
        if seconds:
            self._waits -= 1
        return self._waits < 0

    def run(self) -> Following:
        self._follower.run()
        return self


def test_a_full_spool_makes_the_log_wait(tmp_path):
    """A line on disk is not dropped: it is recorded when there is room."""
    (tmp_path / "access.log").write_bytes(line() + b"\n")
    writer = ListWriter(SpoolFull(), OSError(28, "No space left on device"))
    following = Following(tmp_path, writer, waits=3).run()
    assert len(writer.lines) == 1
    assert counts(following.slot) == {"seen": 1, "captured": 1}


def test_what_was_not_recorded_when_it_ends_is_read_by_the_next(tmp_path):
    """Neither lost nor twice."""
    lines = [line(RequestCount=number) for number in range(3)]
    (tmp_path / "access.log").write_bytes(b"\n".join(lines) + b"\n")

    class Filling(ListWriter):
        def append(self, data: bytes) -> None:
            if len(self.lines) == 2:
                raise SpoolFull
            super().append(data)

    first = Following(tmp_path, Filling(), waits=1).run()
    second = Following(tmp_path, ListWriter(), waits=1).run()
    ids = [one["id"] for one in [*first.writer.records, *second.writer.records]]
    assert (len(first.writer.lines), len(set(ids)), len(ids)) == (2, 3, 3)


def test_the_position_is_kept_after_the_records_are_on_the_disk(tmp_path):
    """The other way round a power failure would lose them."""
    (tmp_path / "access.log").write_bytes(line() + b"\n")
    writer = ListWriter()
    following = Following(tmp_path, writer, waits=1)
    kept_when_synced = []
    sync = writer.sync

    def noted() -> None:
        kept_when_synced.append(load_position(following.kept_in))
        sync()

    writer.sync = noted  # type: ignore[method-assign]
    following.run()
    position = load_position(following.kept_in)
    assert [kept and kept.offset for kept in kept_when_synced] == [None, 0]
    assert position is not None
    assert position.offset == len(line()) + 1


def test_a_damaged_position_is_no_position(tmp_path, caplog):
    """The log is read from its beginning then: duplicates have the same ids."""
    (tmp_path / "position.json").write_text("{")
    assert load_position(tmp_path / "position.json") is None
    assert "is damaged" in caplog.text
