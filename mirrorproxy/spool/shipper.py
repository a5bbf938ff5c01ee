"""The shipper: from the spool's segments to a sink, at least once, and then forgotten.

Owns the order that makes it safe: body objects, then the records that name
them, then the checkpoint, then deletion. Retries without end, with full jitter;
what the sink refuses for good goes to quarantine. Runs in one thread; sleeps
only in `drain` and `run`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from mirrorproxy.clock import wall_us
from mirrorproxy.errors import MirrorproxyError, SinkRejected, SinkUnavailable
from mirrorproxy.packs import Receipt, Sink
from mirrorproxy.retry import RetrySchedule
from mirrorproxy.spool import checkpoint as checkpoints
from mirrorproxy.spool.body import sweep
from mirrorproxy.spool.parcel import Parcel, build_parcel
from mirrorproxy.spool.quarantine import DEFAULT_LIMIT_BYTES, Quarantine
from mirrorproxy.spool.status import ShipperStatus, write_status
from mirrorproxy.spool.tail import Chunk, Span, Tail

_log = logging.getLogger(__name__)

PACK_AGE_S = 1.0
"""A pack is put when it has the sink's shape, or its first line waited this long."""

FINAL_GRACE_S = 2.0
"""A segment stays so long after it was seen final: its worker's counters are reconciled from it."""

_DRAIN_BACK_OFF_MAX_S = 1.0
_STATUS_INTERVAL_S = 1.0
_SWEEP_INTERVAL_S = 60.0
_ORPHAN_GRACE_S = 60.0
_POLL_MIN_S = 0.05
_POLL_MAX_S = 0.1


class SpoolBusy(MirrorproxyError):
    """Another shipper works on this spool."""


class Shipper:
    """Ships one spool to one sink. Raises SpoolBusy, or OSError if the spool cannot be used.

    jitter: a number from 0 to 1 at each call.
    """

    def __init__(
        self,
        spool: Path,
        sink: Sink,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = wall_us,
        jitter: Callable[[], float] = random.random,
        quarantine_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._monotonic = monotonic
        self._now_us = now_us
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(spool)
        loaded = checkpoints.load(spool)
        self._totals = loaded.totals
        self._tail = Tail(spool, loaded.segments)
        self._quarantine = Quarantine(spool, quarantine_bytes)
        self._numbers = 0
        self._underway: dict[int, Parcel] = {}
        self._again: list[Parcel] = []
        self._receipts: deque[Receipt] = deque()
        self._settled_bodies: list[str] = []
        self._unsaved = False
        self._draining = False
        self._waiting_since: float | None = None
        self._schedule = RetrySchedule(jitter)
        self._status_at = self._sweep_at = float("-inf")
        self._error: str | None = None
        self._quarantine_error: str | None = None
        self._missing_bodies = 0
        self._delay_s = 0.0

    def step(self) -> bool:
        """Do the next piece of work; False if there is nothing to do just now.

        Never raises for what a disk or a sink does: it is said in the status and tried again.
        """
        now = self._monotonic()
        worked = False
        try:
            if self._schedule.is_due(now):
                self._schedule.started()
                worked = self._work(now)
            elif self._underway:
                # A body that cannot be stored now holds up the packs behind it, none before.
                worked = self._follow()
        except SinkUnavailable as error:
            self._take_back()
            self._back_off(now, str(error))
        except OSError as error:
            self._back_off(now, f"spool: {error.strerror or error}")
        self._tell(now)
        return worked

    def drain(self, deadline: float, *, sleep: Callable[[float], None] = time.sleep) -> int:
        """Ship all that is in the spool until a moment of the monotonic clock; return what is left.

        The workers have ended: every segment is final.
        """
        self._draining = True
        self._schedule.started()
        while True:
            worked = self.step()
            if not (worked or self._tail.segments or self._unsaved or self._error):
                break
            if self._monotonic() >= deadline:
                break
            if not worked:
                sleep(_POLL_MIN_S)
        self._tell(self._monotonic(), now_at_once=True)
        return self.status().waiting

    def status(self) -> ShipperStatus:
        """Return how things stand. Counts lines that were not read yet, so call it rarely."""
        now_us = self._now_us()
        try:
            waiting, waiting_bytes = self._tail.count_waiting()
        except OSError as error:
            waiting, waiting_bytes = self._tail.known_waiting(), 0
            self._error = self._error or f"spool: {error.strerror or error}"
        oldest_us = min(
            (parcel.at_us for parcel in [*self._underway.values(), *self._again]),
            default=self._tail.oldest_us(),
        )
        sink = self._sink.state()
        waits_s = self._schedule.waits_s(self._monotonic())
        return ShipperStatus(
            updated_us=now_us,
            shipped=self._totals.shipped,
            waiting=waiting,
            waiting_bytes=waiting_bytes,
            quarantined=self._totals.quarantined,
            discarded=self._totals.discarded,
            torn=self._totals.torn,
            oldest_age_s=max(0.0, (now_us - oldest_us) / 1e6) if waiting and oldest_us else 0.0,
            delay_s=self._delay_s,
            missing_bodies=self._missing_bodies,
            retries=self._schedule.retries + sink.retries,
            rejected=sink.rejected,
            retrying_in_s=sink.retrying_in_s if waits_s is None else waits_s,
            error=self._error or sink.error,
            quarantine_error=self._quarantine_error,
        )

    def close(self) -> None:
        """Let go of the sink and the spool."""
        self._sink.close()
        os.close(self._lock)

    def _work(self, now: float) -> bool:
        self._tail.refresh(now)
        self._save()
        worked = self._sink.has_room() and self._put_next(now)
        worked |= self._follow(hurry=not worked)
        grace_s = 0.0 if self._draining else FINAL_GRACE_S
        worked |= self._tail.delete_done(now - grace_s) > 0
        self._sweep(now)
        if not self._again:
            self._error = None
        return worked

    def _follow(self, *, hurry: bool = True) -> bool:
        """See to what was put. hurry: while draining, have it stored now."""
        self._sink.poll()
        if self._draining and hurry:
            self._sink.flush()
        worked = self._receive()
        self._settle()
        self._save()
        return worked

    def _put_next(self, now: float) -> bool:
        """Put the oldest parcel that was given back, or else a new one if enough has come."""
        if self._again:
            self._put(self._again[0])
            return True
        chunks = list(self._tail.chunks(self._sink.shape.max_bytes))
        if not chunks:
            self._waiting_since = None
            return False
        if self._waiting_since is None:
            self._waiting_since = now
        if not (
            self._draining
            or now - self._waiting_since >= PACK_AGE_S
            or self._is_full_enough(chunks)
        ):
            return False
        self._waiting_since = None
        self._numbers += 1
        parcel, spans_of = build_parcel(self._numbers, chunks, self._now_us())
        for chunk, spans in zip(chunks, spans_of, strict=True):
            self._tail.take(chunk, spans)
        self._again.append(parcel)
        self._put(parcel)
        return True

    def _is_full_enough(self, chunks: list[Chunk]) -> bool:
        shape = self._sink.shape
        size = sum(len(chunk.lines) for chunk in chunks)
        return size >= shape.full_bytes or sum(chunk.line_count for chunk in chunks) >= shape.lines

    def _put(self, parcel: Parcel) -> None:
        """Put the first parcel of those to be put. Raises SinkUnavailable, OSError."""
        while parcel.bodies:
            ref, span = parcel.bodies[0]
            if span.fate is None:
                self._put_body(ref, span)
            del parcel.bodies[0]
        if parcel.open_spans:
            try:
                self._sink.put(parcel.pack())
            except SinkRejected as error:
                for span in parcel.open_spans:
                    self._refuse(span, str(error))
            else:
                parcel.data = None
                self._underway[parcel.number] = parcel
        del self._again[0]

    def _put_body(self, ref: str, span: Span) -> None:
        path = self._spool / ref
        if not path.exists():
            self._missing_bodies += 1
            _log.warning("%s is gone; its record is shipped without it", ref)
            return
        try:
            self._sink.put_body(ref, path)
        except SinkRejected as error:
            self._refuse(span, str(error))

    def _refuse(self, span: Span, reason: str) -> None:
        name = f"{span.segment.path.stem}-{span.start}.ndjson"
        kept = self._quarantine.keep(name, span.read(), span.bodies)
        span.fate = "quarantined" if kept else "discarded"
        where = f"kept as quarantine/{name}" if kept else "discarded: the quarantine is full"
        self._quarantine_error = f"{reason} ({span.count} records {where})"
        _log.warning("refused for good: %s", self._quarantine_error)

    def _receive(self) -> bool:
        """Take the sink's receipts in. Raises OSError; what is left is taken in the next time."""
        self._receipts.extend(self._sink.settled())
        worked = False
        while self._receipts:
            receipt = self._receipts[0]
            if parcel := self._underway.get(receipt.number):
                for span in parcel.open_spans:
                    if receipt.rejected is None:
                        span.fate = "shipped"
                    else:
                        self._refuse(span, receipt.rejected)
                del self._underway[receipt.number]
                self._delay_s = max(0.0, (self._now_us() - parcel.at_us) / 1e6)
                if not self._again:
                    self._schedule.succeeded()
                worked = True
            self._receipts.popleft()
        return worked

    def _take_back(self) -> None:
        """After SinkUnavailable: what was put and the sink no longer has is to be put again."""
        self._receipts.extend(self._sink.settled())
        settled = {receipt.number for receipt in self._receipts}.union(self._sink.held())
        lost = [number for number in self._underway if number not in settled]
        self._again = sorted(
            [*self._again, *(self._underway.pop(number) for number in lost)],
            key=lambda parcel: parcel.number,
        )

    def _settle(self) -> None:
        done = self._tail.advance(self._totals)
        if done:
            self._unsaved = True
            self._settled_bodies += [ref for span in done for ref in span.bodies]

    def _save(self) -> None:
        if self._unsaved:
            saved = checkpoints.Checkpoint(self._tail.offsets(), self._totals)
            checkpoints.save(self._spool, saved)
            self._unsaved = False
        while self._settled_bodies:
            (self._spool / self._settled_bodies[-1]).unlink(missing_ok=True)
            self._settled_bodies.pop()

    def _sweep(self, now: float) -> None:
        """Remove bodies of records that never came: complete before all that still waits began."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + _SWEEP_INTERVAL_S
        oldest_us = self._tail.oldest_us() or self._now_us()
        before_s = min(oldest_us, self._now_us()) / 1e6 - _ORPHAN_GRACE_S
        if removed := sweep(self._spool, before_s):
            _log.info("removed %d bodies that no record names", removed)

    def _back_off(self, now: float, error: str) -> None:
        if error != self._error:
            _log.warning("cannot ship: %s", error)
        self._error = error
        self._schedule.failed(now, _DRAIN_BACK_OFF_MAX_S if self._draining else None)

    def _tell(self, now: float, *, now_at_once: bool = False) -> None:
        if now < self._status_at and not now_at_once:
            return
        self._status_at = now + _STATUS_INTERVAL_S
        try:
            write_status(self._spool, self.status())
        except OSError as error:
            self._error = self._error or f"spool: {error.strerror or error}"


def run(
    shipper: Shipper,
    should_stop: Callable[[], bool],
    drain_timeout_s: float,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Ship until told to stop, then drain; return how many records are left in the spool."""
    idle_s = _POLL_MIN_S
    while not should_stop():
        if shipper.step():
            idle_s = _POLL_MIN_S
        else:
            sleep(idle_s)
            idle_s = min(_POLL_MAX_S, idle_s * 1.5)
    try:
        return shipper.drain(monotonic() + drain_timeout_s, sleep=sleep)
    finally:
        shipper.close()


def _lock(spool: Path) -> int:
    fd = os.open(spool / "shipper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise SpoolBusy(f"another shipper works on the spool {spool}") from None
    return fd
