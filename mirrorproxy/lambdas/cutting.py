"""Cutting: which of an object's requests make a chunk.

Pure. The same object, rules and bounds are cut at the same places whenever that is done:
by number and size, never by the clock. So a chunk that was made twice has the same id and
the same content, and is seen when it is sent twice.

An object is cut into parts that follow each other, a part into shards that are sent side by
side. All of a session is in one shard of a part: what waits for what is kept there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mirrorproxy.lambdas.chunk import MAX_CHUNK_BYTES, Only

MAX_PART_BYTES = 32 * 1024 * 1024
"""So many bytes of lines make a part: it is held in memory until it is cut."""


class Picked(NamedTuple):
    """An exchange that is to be sent; see `chunk.Item`."""

    line: bytes
    record_id: str
    session: str
    started_us: int
    shots: int
    only: Only | None


class Cut(NamedTuple):
    """One chunk of a part: its shard, its number in it, and which of the part's exchanges."""

    shard: int
    number: int
    members: list[int]


def is_whole(shots: int, size: int, max_chunk_shots: int, max_senders: int) -> bool:
    """Return whether a part has as many shots, or bytes, as one has."""
    return shots >= max_chunk_shots * max_senders or size >= MAX_PART_BYTES


def cuts(part: Sequence[Picked], max_chunk_shots: int, max_senders: int) -> Iterator[Cut]:
    """Yield the chunks of a part, none of them empty."""
    shots = sum(picked.shots for picked in part)
    # A quarter more than are needed: sessions do not fall evenly, and a full shard is cut again.
    shards = min(max_senders, max(1, -(-shots * 5 // (max_chunk_shots * 4))))
    if shots <= max_chunk_shots:
        shards = 1
    members: list[list[int]] = [[] for _ in range(shards)]
    for at, picked in enumerate(part):
        members[_shard(picked.session, shards)].append(at)
    for shard, wanted in enumerate(members):
        for number, some in enumerate(_slices(part, wanted, max_chunk_shots)):
            yield Cut(shard, number, some)


def _shard(session: str, shards: int) -> int:
    digest = hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards


def _slices(
    part: Sequence[Picked], members: Sequence[int], max_chunk_shots: int
) -> Iterator[list[int]]:
    some: list[int] = []
    shots = size = 0
    for at in members:
        picked = part[at]
        if some and (
            shots + picked.shots > max_chunk_shots or size + len(picked.line) > MAX_CHUNK_BYTES
        ):
            yield some
            some, shots, size = [], 0, 0
        some.append(at)
        shots += picked.shots
        size += len(picked.line)
    if some:
        yield some
