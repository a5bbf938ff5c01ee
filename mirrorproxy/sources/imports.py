"""Imports: HAR documents and GoReplay's files, read as if they were lines of records.

Owns the joining of `formats`, `gor` and `har`, so that everything that reads a
capture reads them too, from wherever it reads. What is read is hostile; memory is
bounded by what they are bounded by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, cast

from mirrorproxy.codec import MalformedRecord, encode_line
from mirrorproxy.members import Batch, Damage, read_batches
from mirrorproxy.sources.formats import GZIP_ERRORS, Begun, format_of, plain
from mirrorproxy.sources.gor import Pairing
from mirrorproxy.sources.gor_records import read_records
from mirrorproxy.sources.har import line_of
from mirrorproxy.sources.har_entries import read_entries

_MAX_BATCH = 64
_MAX_BATCH_BYTES = 256 * 1024

_Part = tuple[int, bytes] | Damage


def read_lines(stream: BinaryIO, name: str) -> Iterator[Batch | Damage]:
    """Yield the lines of an object of any format in batches, and its damages where they stand.

    name: of the object, see `formats.format_of`. Offsets in a HAR or GoReplay file
    are of its bytes as unpacked. Raises OSError only when reading the stream does.
    """
    begun = Begun(stream)
    kind = format_of(begun, name)
    if kind == "lines":
        yield from read_batches(cast(BinaryIO, begun))
        return
    yield from _batches(_gor(begun) if kind == "gor" else _har(begun))


def _gor(stream: Begun) -> Iterator[_Part]:
    read, _ = plain(stream)
    pairing = Pairing()
    offset = 0
    try:
        for record in read_records(read):
            offset = record.offset
            if isinstance(record, Damage):
                yield record
                continue
            try:
                for exchange in pairing.add(record):
                    yield offset, encode_line(exchange)
            except MalformedRecord as error:
                yield Damage(offset, str(error), 1)
    except GZIP_ERRORS as error:
        yield _damaged(offset, error)
    for exchange in pairing.rest():
        yield offset, encode_line(exchange)


def _har(stream: Begun) -> Iterator[_Part]:
    read, _ = plain(stream)
    offset = 0
    try:
        for entry in read_entries(read):
            offset = entry.offset
            if isinstance(entry, Damage):
                yield entry
                continue
            try:
                line = line_of(entry.data)
                if line is not None:
                    yield offset, line
            except MalformedRecord as error:
                yield Damage(offset, f"entry {entry.number}: {error}", 1)
    except GZIP_ERRORS as error:
        yield _damaged(offset, error)


def _damaged(offset: int, error: Exception) -> Damage:
    what = "truncated" if isinstance(error, EOFError) else "damaged"
    return Damage(offset, f"{what} gzip: what follows is lost", None)


def _batches(parts: Iterator[_Part]) -> Iterator[Batch | Damage]:
    """Gather lines, so that a thread hands over many at a time."""
    batch: Batch = []
    size = 0
    for part in parts:
        if not isinstance(part, Damage):
            batch.append(part)
            size += len(part[1])
        is_full = len(batch) >= _MAX_BATCH or size > _MAX_BATCH_BYTES
        if batch and (is_full or isinstance(part, Damage)):
            yield batch
            batch, size = [], 0
        if isinstance(part, Damage):
            yield part
    if batch:
        yield batch
