"""One Firehose stream's records on their way: batched, and resent until each is taken.

Owns the records that were put and not yet taken, and when to try again. Does no I/O of its
own: what puts a batch is passed in. Only what was rejected is sent again; a batch that got
no answer is sent again whole, as nobody knows what became of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mirrorproxy.errors import SinkRejected, SinkUnavailable
from mirrorproxy.packs import SinkState
from mirrorproxy.retry import RetrySchedule

MAX_BATCH_RECORDS = 100
MAX_BATCH_BYTES = 3 << 20
"""Firehose takes 500 records and 4 MiB (API reference, PutRecordBatch); a batch that is
accepted and not answered comes again as a whole, so it is not made as large as it may be."""

LINGER_S = 0.5
"""A batch that is not full waits so long for company: a call costs as much as packing 1 MB."""

_MAX_HELD_BATCHES = 2
_HURRY_LIMIT_S = 1.0

PutBatch = Callable[[Sequence[bytes]], list[str | None]]
"""Puts records; returns why each was rejected for the moment, None where it was taken.
Raises SinkUnavailable, or SinkRejected if the batch will never be taken as it is."""


class Packed(NamedTuple):
    """One record. number: of the pack whose lines it holds, or some of them."""

    number: int
    data: bytes


class Ended(NamedTuple):
    """What became of a record: taken, or refused says why it never will be."""

    number: int
    refused: str | None = None


@dataclass
class _Waiting:
    record: Packed
    since_s: float


class StreamQueue:
    """The records of one stream. put: sends a batch."""

    def __init__(
        self, put: PutBatch, schedule: RetrySchedule, monotonic: Callable[[], float]
    ) -> None:
        self._put = put
        self._schedule = schedule
        self._monotonic = monotonic
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._alone = 0  # so many go one by one, to find the one that is refused for good
        self._error: str | None = None
        self._rejected = 0
        self._ended: list[Ended] = []

    def has_room(self) -> bool:
        """Tell whether another record is taken: at most two batches are held."""
        return (
            self._bytes < _MAX_HELD_BATCHES * MAX_BATCH_BYTES
            and len(self._waiting) < _MAX_HELD_BATCHES * MAX_BATCH_RECORDS
        )

    def add(self, record: Packed) -> None:
        """Take a record over."""
        self._waiting.append(_Waiting(record, self._monotonic()))
        self._bytes += len(record.data)

    def step(self, *, hurry: bool = False) -> None:
        """Send a batch if one is due. hurry: whether it is full or not, and soon if not now."""
        now = self._monotonic()
        if hurry:
            self._schedule.hurry(now, _HURRY_LIMIT_S)
        if not self._waiting or not self._schedule.is_due(now):
            return
        if hurry or self._alone or self._is_full() or now - self._waiting[0].since_s >= LINGER_S:
            self._send()

    def ended(self) -> list[Ended]:
        """Return what came to its end since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def state(self) -> SinkState:
        """Return how it is."""
        return SinkState(
            self._error,
            self._schedule.waits_s(self._monotonic()),
            self._schedule.retries,
            self._rejected,
        )

    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_BATCH_RECORDS or self._bytes >= MAX_BATCH_BYTES

    def _batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        most = 1 if self._alone else MAX_BATCH_RECORDS
        for waiting in self._waiting:
            size += len(waiting.record.data)
            if batch and (size > MAX_BATCH_BYTES or len(batch) == most):
                break
            batch.append(waiting)
        return batch

    def _send(self) -> None:
        batch = self._batch()
        self._schedule.started()
        try:
            reasons = self._put([waiting.record.data for waiting in batch])
        except SinkUnavailable as error:
            self._error = str(error)
            self._schedule.failed(self._monotonic())
            return
        except SinkRejected as error:
            if len(batch) > 1:
                self._alone = len(batch)
                return
            reasons = [None]
            self._end(batch[0], str(error))
        else:
            for waiting, reason in zip(batch, reasons, strict=True):
                if reason is None:
                    self._end(waiting, None)
        self._alone = max(0, self._alone - len(batch))
        self._conclude(batch, reasons)

    def _conclude(self, batch: list[_Waiting], reasons: list[str | None]) -> None:
        """Leave what was rejected in front, and wait if there is any."""
        for _ in batch:
            self._waiting.popleft()
        again = [one for one, reason in zip(batch, reasons, strict=True) if reason is not None]
        self._waiting.extendleft(reversed(again))
        self._error = None
        if len(again) < len(batch):
            self._schedule.succeeded()
        if again:
            self._rejected += len(again)
            reason = next(reason for reason in reasons if reason is not None)
            self._error = f"{len(again)} of {len(batch)} records were rejected: {reason}"
            self._schedule.failed(self._monotonic())

    def _end(self, waiting: _Waiting, refused: str | None) -> None:
        self._bytes -= len(waiting.record.data)
        self._ended.append(Ended(waiting.record.number, refused))
