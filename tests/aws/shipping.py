"""A spool with records in it, shipped by the real shipper and boto3 to these tests' endpoints."""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from support.ministack import objects

from mirrorproxy.aws_urls import bodies_of, parse_streams
from mirrorproxy.clock import new_id, wall_us
from mirrorproxy.codec import encode_line
from mirrorproxy.keys import body_ref
from mirrorproxy.packs import Sink
from mirrorproxy.record import Exchange, Request
from mirrorproxy.sinks.cloud import S3Bucket, Streams
from mirrorproxy.sinks.firehose import FirehoseSink
from mirrorproxy.spool.segment import SegmentWriter
from mirrorproxy.spool.shipper import Shipper

DRAIN_S = 90.0


def fill(spool: Path, count: int, *, clients: int = 1, body: str = "x" * 500) -> list[str]:
    """Write records into a segment that is final afterwards; return their ids."""
    writer = SegmentWriter(spool, 0)
    ids = []
    for number in range(count):
        exchange = exchange_of(f"203.0.113.{number % clients}", body=body)
        ids.append(exchange.id)
        writer.append(encode_line(exchange))
    writer.close()
    return ids


def fill_with_body(spool: Path, body: bytes) -> tuple[str, str]:
    """Write a record whose body is an object of its own; return its id and the reference."""
    writer = SegmentWriter(spool, 1)
    exchange = exchange_of("203.0.113.1")
    ref = body_ref(exchange.started_us, exchange.id)
    file = writer.open_body(ref)
    file.write(body)
    file.commit()
    record = exchange.request
    record.body = record.body_encoding = None
    record.body_bytes, record.body_ref = len(body), ref
    writer.append(encode_line(exchange))
    writer.close()
    return exchange.id, ref


def exchange_of(client: str, body: str = "x") -> Exchange:
    at_us = wall_us()
    request = Request("POST", "/orders", "1.1", [], body, "utf8", len(body))
    return Exchange(1, new_id(at_us), "s", "inline", "n/0", at_us, 7, client, "http", "u", request)


def firehose_sink(to: str, jitter: float = 0.05) -> FirehoseSink:
    """Return the sink as `cloud.make_firehose_sink` does, but quick to try again."""
    url = parse_streams(to, "--to")
    bodies = S3Bucket(bodies_of(url, "--to"))
    put = Streams(url).put
    return FirehoseSink(url.streams, put, bodies, packing=url.packing, jitter=lambda: jitter)


def drain(spool: Path, sink: Sink) -> Shipper:
    """Ship everything, and expect that nothing is left."""
    shipper = Shipper(spool, sink, jitter=lambda: 0.05)
    try:
        left = shipper.drain(time.monotonic() + DRAIN_S)
        assert left == 0, shipper.status()
    finally:
        shipper.close()
    return shipper


def ids_of(content: bytes) -> list[str]:
    """Return the ids of an object's or a packed record's records."""
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    return [json.loads(line)["id"] for line in plain.splitlines()]


def stored(s3: Any, bucket: str, prefix: str = "") -> Counter[str]:
    """Return how often each record stands in the bucket's objects."""
    found = objects(s3, bucket, prefix)
    return Counter(
        record
        for key, content in found.items()
        if "bodies/" not in key
        for record in ids_of(content)
    )


def flat(records: Iterable[list[str]]) -> Counter[str]:
    """Return how often each id stands in what an endpoint's log noted."""
    return Counter(record for ids in records for record in ids)
