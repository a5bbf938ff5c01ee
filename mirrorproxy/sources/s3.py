"""Captures in S3: finding their objects, and reading them.

Owns what is listed and how few requests that takes, and the reading of
record and body objects. Blocks: used by threads alone. Never writes.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from mirrorproxy import keys
from mirrorproxy.aws_urls import S3, BucketUrl
from mirrorproxy.errors import SourceError
from mirrorproxy.sources.aws import START_ATTEMPTS, AwsError, Caller, Deed, Kind
from mirrorproxy.sources.download import Download, Downloads
from mirrorproxy.sources.events import Account, CaptureObject
from mirrorproxy.sources.span import Span, hour_folder

_MAX_FOLDERS = 1000
_YEAR = re.compile(r"[0-9]{4}")
_HOUR = re.compile(r"([0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{2})/[^/]+")
_DATED = re.compile(r"(?:^|(?<=/))[0-9]{4}/(?:[0-9]{2}/){0,3}\Z")
_FAILED = "-failed"
"""How Firehose ends the prefix of what it could not process."""

_STARTING: frozenset[Kind] = frozenset({"unavailable"})
_READING: frozenset[Kind] = frozenset({"unavailable", "credentials"})
_RUNNING: frozenset[Kind] = frozenset({"unavailable", "credentials", "denied"})


class Entry(NamedTuple):
    """An object as it is listed. size in bytes; changed_us: microseconds since 1970."""

    key: str
    size: int
    changed_us: int


class Found(NamedTuple):
    """An object of a capture, and what begins to fetch it."""

    source: CaptureObject
    prefetch: Callable[[], None]


class S3Reader:
    """Reads objects of any bucket with one client."""

    def __init__(self, client: Any, call: Caller, downloads: Downloads) -> None:
        self._client = client
        self._call = call
        self._downloads = downloads

    def object(
        self,
        bucket: str,
        key: str,
        size: int | None = None,
        version: str | None = None,
        account: Account | None = None,
        on_lost: Callable[[], None] = lambda: None,
        etag: str | None = None,
    ) -> Found:
        """Return an object as a source. on_lost: told when it cannot be read at all, or on.

        etag: read no other content than the one of this entity tag, None: whatever is there.
        """

        def fetch(begin: int, end: int) -> bytes:
            try:
                return self._range(bucket, key, version, begin, end, etag=etag)
            except OSError:
                on_lost()
                raise

        download = Download(self._downloads, fetch, size)
        base = keys.base_of(key)
        source = CaptureObject(
            name=f"{S3}{bucket}/{key}",
            open=download.open,
            time_us=keys.time_us(key),
            base=f"{S3}{bucket}/{base}",
            read_body=partial(self._body, bucket, base),
            account=account,
        )
        return Found(source, download.prefetch)

    def check(self, bucket: str, key: str) -> None:
        """Read a byte of an object, to see that it is allowed. Raises SourceError."""
        try:
            self._range(bucket, key, None, 0, 1, attempts=START_ATTEMPTS)
        except OSError as error:
            raise SourceError(f"{S3}{bucket}/{key}: {error.strerror}") from error

    def _range(
        self,
        bucket: str,
        key: str,
        version: str | None,
        begin: int,
        end: int,
        attempts: int | None = None,
        etag: str | None = None,
    ) -> bytes:
        """Raises OSError, its strerror the reason."""
        if end <= begin:
            return b""
        wanted: dict[str, Any] = {"Bucket": bucket, "Key": key, "Range": f"bytes={begin}-{end - 1}"}
        if etag is not None:
            wanted["IfMatch"] = etag
        permission = "s3:GetObject"
        if version is not None:
            wanted["VersionId"] = version
            permission = "s3:GetObjectVersion"
        deed = Deed(f"{S3}{bucket}/{key}", f"{permission} on arn:aws:s3:::{bucket}/{key}")

        def get() -> bytes:
            try:
                body: bytes = self._client.get_object(**wanted)["Body"].read()
            except Exception as error:
                # Of an empty object there is no range.
                response = getattr(error, "response", {})
                if response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                    return b""
                raise
            return body

        try:
            again = _READING if attempts is None else _STARTING
            return self._call(deed, get, attempts=attempts, again=again)
        except AwsError as error:
            raise OSError(0, error.trouble.reason) from error

    def _body(self, bucket: str, base: str, ref: str, limit: int) -> bytes:
        return self._range(bucket, base + ref, None, 0, limit + 1)


class S3Capture:
    """The objects of one capture in S3."""

    def __init__(self, url: BucketUrl, client: Any, call: Caller, reader: S3Reader) -> None:
        self._url = url
        self._client = client
        self._call = call
        self._reader = reader
        self.name = f"{S3}{url.bucket}/{url.prefix}"
        self._deed = Deed(f"{S3}{url.bucket}", f"s3:ListBucket on arn:aws:s3:::{url.bucket}")
        self._attempts: int | None = START_ATTEMPTS

    def check(self, span: Span) -> None:
        """See that the capture can be listed and read. Raises SourceError, which says why not."""
        first = next(self._entries(span), None)
        if first is not None:
            self._reader.check(self._url.bucket, first.key)
        self._attempts = None

    def objects(
        self, span: Span, account_of: Callable[[str], Account | None] | None = None
    ) -> Iterator[Found]:
        """Yield the objects that may hold a span, by the time in their keys; unknown ones first.

        account_of: gives the account of an object by its name; those without one are
        left out. Raises SourceError.
        """
        bucket = self._url.bucket
        for entry in self._entries(span):
            account = None
            if account_of is not None:
                account = account_of(f"{S3}{bucket}/{entry.key}")
                if account is None:
                    continue
            yield self._reader.object(bucket, entry.key, entry.size, account=account)

    def _entries(self, span: Span) -> Iterator[Entry]:
        loose, bases = self._look_around()
        yield from sorted((one for one in loose if _may_hold(one, span)), key=_order)
        yield from heapq.merge(*(self._by_hour(*one, span) for one in bases), key=_order)

    def _look_around(self) -> tuple[list[Entry], list[tuple[str, str]]]:
        """Return the objects that lie about, and what stands before year folders.

        A capture has one such place, or one for each stream; each with the first
        key prefix that is to be listed below it.
        """
        prefix = self._url.prefix
        if prefix and _DATED.search(prefix if prefix.endswith("/") else f"{prefix}/"):
            dated = prefix if prefix.endswith("/") else f"{prefix}/"
            return [], [(dated[: _dated_at(dated)], dated)]
        loose: list[Entry] = []
        bases: list[tuple[str, str]] = []
        waiting = [prefix]
        seen = 0
        while waiting:
            folder = waiting.pop()
            has_years = False
            for page in self._pages({"Prefix": folder, "Delimiter": "/"}):
                for one in page.get("CommonPrefixes", ()):
                    inner: str = one["Prefix"]
                    if folder and not folder.endswith("/"):
                        # The prefix was named without its slash: nothing else that begins so.
                        if inner == f"{folder}/":
                            waiting.append(inner)
                        continue
                    name = inner[len(folder) : -1]
                    if _YEAR.fullmatch(name):
                        has_years = True
                    elif f"{name}/" != keys.BODIES and not name.endswith(_FAILED):
                        waiting.append(inner)
                        seen += 1
                loose += [
                    _entry(one)
                    for one in page.get("Contents", ())
                    if not one["Key"].endswith("/")
                    and (folder.endswith("/") or not folder or one["Key"] == folder)
                ]
            if has_years:
                bases.append((folder, folder))
            if seen > _MAX_FOLDERS:
                text = f"more than {_MAX_FOLDERS} folders; name a prefix that stands before years"
                raise SourceError(f"{self.name}: {text}")
        return loose, bases

    def _by_hour(self, base: str, prefix: str, span: Span) -> Iterator[Entry]:
        """Yield the objects below a base, hour after hour, each sorted by time."""
        hour, held = "", list[Entry]()
        last = None if span.last_us is None else hour_folder(span.last_us)
        for entry in self._dated(base, prefix, span):
            match = _HOUR.fullmatch(entry.key, len(base))
            if match is None:
                if entry.key[len(base) : len(base) + 1] > "9":
                    break
                continue
            if match[1] != hour:
                yield from sorted(held, key=_order)
                hour, held = match[1], []
            if last is not None and hour > last:
                return
            if _may_hold(entry, span):
                held.append(entry)
        yield from sorted(held, key=_order)

    def _dated(self, base: str, prefix: str, span: Span) -> Iterator[Entry]:
        # Keys sort as their hours do: a listing that begins within the first needs no other.
        wanted = {"Prefix": prefix}
        if span.first_us is not None:
            wanted["StartAfter"] = base + hour_folder(span.first_us)
        for page in self._pages(wanted):
            for one in page.get("Contents", ()):
                yield _entry(one)

    def _pages(self, wanted: dict[str, str]) -> Iterator[Any]:
        arguments = {"Bucket": self._url.bucket, **wanted}
        while True:
            try:
                page = self._call(
                    self._deed,
                    partial(self._client.list_objects_v2, **arguments),
                    attempts=self._attempts,
                    again=_STARTING if self._attempts else _RUNNING,
                )
            except AwsError as error:
                raise SourceError(error.trouble.text) from error
            yield page
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]


def _dated_at(prefix: str) -> int:
    match = _DATED.search(prefix)
    return match.start() if match else len(prefix)


def _entry(listed: dict[str, Any]) -> Entry:
    changed: datetime = listed["LastModified"]
    return Entry(listed["Key"], listed["Size"], int(changed.timestamp() * 1_000_000))


def _order(entry: Entry) -> int:
    at_us = keys.time_us(entry.key)
    return -1 if at_us is None else at_us


def _may_hold(entry: Entry, span: Span) -> bool:
    if entry.size == 0:
        return False
    at_us = keys.time_us(entry.key)
    if at_us is None:
        return span.from_us is None or entry.changed_us >= span.from_us
    if keys.key_time_us(entry.key) is None and span.first_us is not None:
        # Only the hour is known, and any minute of it may be meant.
        at_us = max(at_us, min(span.first_us, at_us + 3_600_000_000))
    return span.may_be_in(at_us)
