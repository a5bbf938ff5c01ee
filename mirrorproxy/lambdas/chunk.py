"""Chunks: the requests that one call of `send` sends, as an event or as an object in S3.

Pure. Owns what a chunk is written as, and the checks when it is read. A chunk holds
exchanges as they were captured, sealed: no credential of a target ever stands in one.
`send` plans them again by the same rules.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from mirrorproxy.members import MAX_MEMBER_BYTES, Damage, pack, read_batches

VERSION = 1

EVENT_LIMIT_BYTES = 1024 * 1024
"""The most that an asynchronous invocation takes (Lambda quotas; 256 KB before October 2025)."""

SYNC_LIMIT_BYTES = 6 * 1024 * 1024
"""The most that a synchronous invocation takes, such as a chunk sent by hand (Lambda quotas)."""

MAX_EVENT_BYTES = 1_000_000
"""What is larger goes to S3. Less than the limit: what fails is wrapped in a message for the
dead-letter queue, which takes 1 MiB too, and must fit there as well."""

MAX_CHUNK_BYTES = 4 * 1024 * 1024
"""So many bytes of lines make a chunk; a longer line is one alone. A packed member holds 8 MiB."""

MAX_UNPACKED_BYTES = 2 * MAX_MEMBER_BYTES
"""No chunk of ours has more; what would have is not read."""

_ID = re.compile(r"[0-9a-f]{16}-[0-9]{1,9}-[0-9]{1,4}-[0-9]{1,9}(?:~[0-9]{1,4})?")

Only = Sequence[tuple[str, int]]
"""Target and copy of those of an exchange's shots that are meant."""


class ChunkError(ValueError):
    """A chunk that cannot be read; its text says why, with nothing of its content."""


class Item(NamedTuple):
    """One exchange of a chunk.

    line: its record. due_us: when its shots are due, microseconds since 1970. shots: how many
    there are. only: which ones, None for all that the rules give. record_id: of the exchange.
    """

    line: bytes
    due_us: int
    shots: int
    only: Only | None
    record_id: str


class ChunkEvent(msgspec.Struct, kw_only=True):
    """What `send` is invoked with.

    id: of object, content and place in it, the same whenever it is split. source: the object
    that it is of. rules: the identity of the rules it was picked by. senders: how many
    chunks are sent at the same time. hop: how often it was handed on. data: its packed
    lines, base64; None where they lie in S3.
    """

    mirrorproxy: Literal["chunk"] = "chunk"
    v: int
    id: str
    bucket: str
    key: str
    run: str
    seed: str
    rules: str
    senders: int
    shots: int
    digest: str
    hop: int = 0
    data: str | None = None


class _Meta(msgspec.Struct, array_like=True):
    due_us: int
    shots: int
    record_id: str
    only: list[tuple[str, int]] | None = None


_encoder = msgspec.json.Encoder()
_metas = msgspec.json.Decoder(_Meta)


def packed(items: Sequence[Item]) -> bytes:
    """Return the items as a chunk holds them: a gzip member with two lines for each."""
    lines: list[bytes] = []
    for line, due_us, shots, only, record_id in items:
        meta = _Meta(due_us, shots, record_id, None if only is None else list(only))
        lines += (_encoder.encode(meta), b"\n", line.rstrip(b"\n"), b"\n")
    return pack(b"".join(lines), 2 * len(items))


def unpacked(data: bytes) -> list[Item]:
    """Return the items of a chunk. Raises ChunkError."""
    lines: list[bytes] = []
    size = 0
    for part in read_batches(io.BytesIO(data)):
        if isinstance(part, Damage):
            raise ChunkError(f"the chunk holds {part.reason}")
        lines += [line for _, line in part]
        size += sum(len(line) for _, line in part)
        if size > MAX_UNPACKED_BYTES:
            raise ChunkError("the chunk is larger than any")
    if len(lines) % 2:
        raise ChunkError("the chunk ends in the middle")
    items: list[Item] = []
    for at in range(0, len(lines), 2):
        try:
            meta = _metas.decode(lines[at])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ChunkError("the chunk holds no list of exchanges") from None
        items.append(Item(lines[at + 1], meta.due_us, meta.shots, meta.only, meta.record_id))
    return items


def digest_of(items: Sequence[Item]) -> str:
    """Return what tells chunks of one id apart whose content is not the same."""
    content = hashlib.blake2b(digest_size=16)
    for item in items:
        content.update(item.record_id.encode())
        content.update(repr(None if item.only is None else sorted(item.only)).encode())
    return content.hexdigest()


def object_id(bucket: str, key: str, etag: str) -> str:
    """Return what the chunks of one object's one content begin with: 16 hex digits."""
    text = f"{bucket}\0{key}\0{etag}".encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest()


def with_data(event: ChunkEvent, data: bytes) -> ChunkEvent:
    """Return the event with its packed lines in it."""
    return msgspec.structs.replace(event, data=base64.b64encode(data).decode())


def encoded(event: ChunkEvent) -> bytes:
    """Return the payload of an invocation."""
    return _encoder.encode(event)


def data_of(event: ChunkEvent) -> bytes | None:
    """Return the packed lines in an event, None where they lie in S3. Raises ChunkError."""
    if event.data is None:
        return None
    try:
        return base64.b64decode(event.data, validate=True)
    except (binascii.Error, ValueError):
        raise ChunkError("its data are not base64") from None


def chunk_event(event: object) -> ChunkEvent:
    """Return what `send` was invoked with. Raises ChunkError."""
    try:
        found = msgspec.convert(event, ChunkEvent)
    except (msgspec.ValidationError, TypeError):
        raise ChunkError("it is no chunk") from None
    if found.v != VERSION:
        raise ChunkError(f"a chunk of version {found.v}, this mirrorproxy reads {VERSION}")
    if not _ID.fullmatch(found.id) or found.senders < 1 or found.shots < 0 or found.hop < 0:
        raise ChunkError("a chunk with impossible values")
    return found
