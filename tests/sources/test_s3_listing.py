"""Listing S3: how few requests it takes, and what is found, with a bucket made of a list."""

from __future__ import annotations

import bisect
import io
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from mirrorproxy.aws_urls import BucketUrl
from mirrorproxy.keys import object_key
from mirrorproxy.sources.aws import Caller
from mirrorproxy.sources.download import Downloads
from mirrorproxy.sources.s3 import S3Capture, S3Reader
from mirrorproxy.sources.span import EVERYTHING, Span

T0 = 1_763_884_800_000_000
HOUR = 3_600_000_000
LISTED = datetime(2026, 1, 1, tzinfo=UTC)


class Bucket:
    """S3's listing over a sorted list of keys, a thousand a page; counts requests."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = sorted(keys)
        self.lists = 0

    def get_object(self, **_wanted: Any) -> dict[str, Any]:
        return {"Body": io.BytesIO(b"x")}

    def list_objects_v2(
        self, Bucket: str, Prefix: str, Delimiter: str = "", StartAfter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:  # fmt: skip
        self.lists += 1
        at = bisect.bisect_right(self.keys, max(StartAfter, ContinuationToken))
        at = max(at, bisect.bisect_left(self.keys, Prefix))
        contents, folders, last = [], [], ""
        while at < len(self.keys) and self.keys[at].startswith(Prefix):
            if len(contents) + len(folders) == 1000:
                token = {"IsTruncated": True, "NextContinuationToken": last}
                return {"Contents": contents, "CommonPrefixes": folders, **token}
            key = self.keys[at]
            inner, slash, _ = key[len(Prefix) :].partition(Delimiter or "\0")
            if slash:
                folders.append({"Prefix": f"{Prefix}{inner}/"})
                at = bisect.bisect_left(self.keys, f"{Prefix}{inner}0")
            else:
                contents.append({"Key": key, "Size": 10, "LastModified": LISTED})
                at += 1
            last = self.keys[at - 1]
        return {"Contents": contents, "CommonPrefixes": folders, "IsTruncated": False}


@pytest.fixture
def downloads():
    downloads = Downloads(threads=1)
    yield downloads
    downloads.close()


def found(bucket: Bucket, downloads: Downloads, prefix: str = "", span: Span = EVERYTHING):
    call = Caller(lambda _text: None, threading.Event())
    reader = S3Reader(bucket, call, downloads)
    capture = S3Capture(BucketUrl("b", prefix), bucket, call, reader)
    capture.check(span)
    return [one.source.name.removeprefix("s3://b/") for one in capture.objects(span)]


def key(hour: float, stream: str = "mirror", prefix: str = "") -> str:
    return object_key(prefix, stream, T0 + int(hour * HOUR), f"u{hour}".replace("-", "m"))


def test_one_hour_of_a_month_takes_a_few_requests(downloads):
    """100,000 objects over 30 days: what lies before and after is never listed."""
    bucket = Bucket([key(n * 720 / 100_000) for n in range(100_000)])
    names = found(bucket, downloads, span=Span(T0 + 360 * HOUR, T0 + 361 * HOUR))
    assert bucket.lists <= 4
    assert 312 <= len(names) <= 313
    assert names == sorted(names)


def test_bodies_and_what_firehose_could_not_process_are_left_out(downloads):
    """Also where they sort before the years."""
    mine = key(0, prefix="p/")
    others = [f"p/bodies/2025/11/23/08/{n:032x}" for n in range(3)]
    others += [key(0, prefix="p/processing-failed/"), "p/", "p2/x.gz", "p2025/11/23/08/x.gz"]
    assert found(Bucket([mine, *others]), downloads, "p") == [mine]
    assert found(Bucket([mine, *others]), downloads, "p/") == [mine]


def test_several_captures_below_a_prefix_are_merged_by_time(downloads):
    """A folder for each stream, and files that lie about, whose time nobody knows, first."""
    keys = [key(0, prefix="a/"), key(2, prefix="a/"), key(1, "z", "b/c/"), "loose.jsonl"]
    assert found(Bucket(keys), downloads) == [keys[3], keys[0], keys[2], keys[1]]


@pytest.mark.parametrize("prefix", ["a/2025/11/23/08/", "a/2025/11", "a/2025/"])
def test_a_prefix_may_reach_into_the_years(downloads, prefix):
    """One hour or one month by hand."""
    mine = key(0, prefix="a/")
    assert found(Bucket([mine, key(0, prefix="b/")]), downloads, prefix) == [mine]


def test_one_object_may_be_named(downloads):
    """By its whole key."""
    assert found(Bucket(["a/x.gz", "a/x.gz.old"]), downloads, "a/x.gz") == ["a/x.gz"]


def test_within_an_hour_streams_are_merged_by_time(downloads):
    """Their names come first in the key, their times count."""
    keys = [key(0.1, "b"), key(0.2, "a"), key(0.3, "b")]
    assert found(Bucket(keys), downloads) == keys
