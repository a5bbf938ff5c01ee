"""The Firehose sink: packed records to one stream or several, bodies straight to S3.

Owns which packs are under way in which streams. A pack is settled when every record made
of it is taken; what a stream rejects is sent again by its `StreamQueue`, so nothing that
was taken is put twice.
"""

from __future__ import annotations

import random
import time
from binascii import b2a_base64
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from mirrorproxy.aws_urls import Packing
from mirrorproxy.errors import SinkUnavailable
from mirrorproxy.packs import Pack, Receipt, Shape, SinkState
from mirrorproxy.retry import RetrySchedule
from mirrorproxy.sinks.records import by_stream, gzip_member, plain_lines, records_of
from mirrorproxy.sinks.stream import Packed, StreamQueue

PERMISSION = "firehose:PutRecordBatch"

PutRecords = Callable[[str, Sequence[bytes]], list[str | None]]
"""Puts records into a stream, see `stream.PutBatch`."""


class Bodies(Protocol):
    """Where body objects go."""

    def put_body(self, ref: str, path: Path) -> None:
        """Store the file as the body object ``ref``."""

    def close(self) -> None:
        """Let go of connections."""


class FirehoseSink:
    """Puts packs into streams. put: sends a batch. bodies: stores what no record can hold."""

    def __init__(
        self,
        streams: Sequence[str],
        put: PutRecords,
        bodies: Bodies,
        *,
        packing: Packing = "gzip",
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bodies = bodies
        self._encode = gzip_member if packing == "gzip" else plain_lines
        self._queues = [
            StreamQueue(partial(put, stream), RetrySchedule(jitter), monotonic)
            for stream in streams
        ]
        self._left: dict[int, int] = {}
        self._refused: dict[int, str] = {}
        self._settled: list[Receipt] = []
        usual, number = Shape(), len(streams)
        # Each stream's share of a pack is a record of its own: it is as large as with one stream.
        self.shape = Shape(
            usual.lines * number, usual.full_bytes * number, usual.max_bytes * number
        )

    def put_body(self, ref: str, path: Path) -> None:
        """Store a body object in the bucket."""
        self._bodies.put_body(ref, path)

    def put(self, pack: Pack) -> None:
        """Take a pack over, as records of its streams."""
        parts = [
            (stream, Packed(pack.number, data))
            for stream, lines, count in by_stream(pack.lines, pack.count, len(self._queues))
            for data in records_of(lines, count, self._encode)
        ]
        self._left[pack.number] = len(parts)
        for stream, record in parts:
            self._queues[stream].add(record)

    def has_room(self) -> bool:
        """Tell whether no stream holds as much as it may: a pack may go to all of them."""
        return all(queue.has_room() for queue in self._queues)

    def poll(self) -> None:
        """Send the batches that are due."""
        self._step(hurry=False)

    def flush(self) -> None:
        """Send what there is."""
        self._step(hurry=True)

    def held(self) -> Collection[int]:
        """Return the packs with a record that is not taken."""
        return self._left.keys()

    def state(self) -> SinkState:
        """Return how the streams are, together."""
        states = [queue.state() for queue in self._queues]
        return SinkState(
            next((state.error for state in states if state.error), None),
            min(
                (state.retrying_in_s for state in states if state.retrying_in_s is not None),
                default=None,
            ),
            sum(state.retries for state in states),
            sum(state.rejected for state in states),
        )

    def settled(self) -> list[Receipt]:
        """Return the packs whose every record is taken or refused."""
        settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Give up what is held."""
        self._bodies.close()

    def _step(self, *, hurry: bool) -> None:
        for queue in self._queues:
            queue.step(hurry=hurry)
            for number, refused in queue.ended():
                if refused is not None:
                    self._refused[number] = refused
                self._left[number] -= 1
                if not self._left[number]:
                    del self._left[number]
                    self._settled.append(Receipt(number, self._refused.pop(number, None)))


def put_records(client: Any, stream: str, records: Sequence[bytes]) -> list[str | None]:
    """Put a batch by boto3's client; return why each record was rejected, None where it was not."""
    body = _batch_json(stream, records)

    def fill(params: dict[str, Any], **_: Any) -> None:
        params["body"] = body

    # boto3 spends more on making JSON of base64 than on all else: the body is made here, and
    # put in before it is signed.
    events = client.meta.events
    events.register("before-call.firehose.PutRecordBatch", fill)
    try:
        answer = client.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": b""}])
    finally:
        events.unregister("before-call.firehose.PutRecordBatch", fill)
    told = answer.get("RequestResponses", [])
    if len(told) != len(records):
        raise SinkUnavailable(f"the stream {stream} answers for {len(told)} records")
    return [one.get("ErrorCode") for one in told]


def _batch_json(stream: str, records: Sequence[bytes]) -> bytes:
    """Return the request of PutRecordBatch. A stream's name needs no escape, nor does base64."""
    data = b'"},{"Data":"'.join(b2a_base64(record, newline=False) for record in records)
    return b'{"DeliveryStreamName":"%b","Records":[{"Data":"%b"}]}' % (stream.encode(), data)
