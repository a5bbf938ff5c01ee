"""From lines to Firehose records: their size, and their stream."""

from __future__ import annotations

import json
import os

import pytest

from mirrorproxy.errors import SinkRejected
from mirrorproxy.sinks.records import by_stream, gzip_member, plain_lines, records_of, stream_of


def line(client: str, **credential: str) -> bytes:
    credentials = [{"name": "Authorization", "in": "header", **credential}] if credential else []
    return json.dumps({"id": "x", "client": client, "credentials": credentials}).encode()


def test_lines_that_fit_are_one_record():
    """Whatever they are."""
    assert list(records_of(b"1\n2\n", 2, plain_lines)) == [b"1\n2\n"]


def test_lines_that_do_not_fit_are_parted_between_lines():
    """Each record is of whole lines, below 1,024,000 bytes."""
    lines = b"".join(b"%d" % number + b"x" * 100_000 + b"\n" for number in range(25))
    parts = list(records_of(lines, 25, plain_lines))
    assert b"".join(parts) == lines
    assert all(part.endswith(b"\n") and len(part) <= 1_024_000 for part in parts)


def test_two_lines_of_which_the_first_is_the_long_one():
    """They are parted behind it."""
    lines = b"x" * 900_000 + b"\n" + b"y" * 200_000 + b"\n"
    assert list(map(len, records_of(lines, 2, plain_lines))) == [900_001, 200_001]


def test_a_line_that_no_record_can_hold():
    """It is refused, with its size."""
    with pytest.raises(SinkRejected, match="a record of 1100001 bytes, packed; Firehose takes"):
        list(records_of(b"x" * 1_100_000 + b"\n", 1, plain_lines))
    with pytest.raises(SinkRejected):
        list(records_of(os.urandom(1_100_000).replace(b"\n", b"x") + b"\n", 1, gzip_member))


def test_one_stream_takes_all_lines_as_they_are():
    """Nothing is decoded."""
    assert list(by_stream(b"not json\n", 1, 1)) == [(0, b"not json\n", 1)]


def test_lines_keep_their_order_within_a_stream():
    """Every line goes to one stream, and is counted there."""
    lines = [line(f"10.0.0.{number}") + b"\n" for number in range(200)]
    parts = list(by_stream(b"".join(lines), 200, 3))
    assert [stream for stream, *_ in parts] == [0, 1, 2]
    for stream, text, count in parts:
        mine = [one for one in lines if stream_of(one, 3) == stream]
        assert (text, count) == (b"".join(mine), len(mine))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(line("a", fingerprint="h1:k:1", subject="h1:k:s"),
                     line("b", fingerprint="h1:k:2", subject="h1:k:s"), id="a refreshed token"),
        pytest.param(line("a", fingerprint="h1:k:1"), line("b", fingerprint="h1:k:1"),
                     id="a key from two addresses"),
        pytest.param(line("a"), line("a"), id="an address"),
    ],
)  # fmt: skip
def test_a_session_has_one_stream_of_many(one, other):
    """Whatever else differs."""
    assert stream_of(one, 1000) == stream_of(other, 1000)


def test_what_is_no_record_goes_to_the_first_stream():
    """Whoever reads it will count it."""
    assert stream_of(b"{", 5) == 0
