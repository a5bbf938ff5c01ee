"""Chunks of an object: its parts cut, each shot with its time.

Pure. Joins `cutting` and `spread`, and gives each chunk its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mirrorproxy.lambdas.chunk import VERSION, ChunkEvent, Item, digest_of, object_id
from mirrorproxy.lambdas.cutting import Cut, cuts
from mirrorproxy.lambdas.picking import Part
from mirrorproxy.lambdas.settings import Settings
from mirrorproxy.lambdas.spread import due_times
from mirrorproxy.lambdas.trigger import ObjectEvent


class Chunk(NamedTuple):
    """A chunk: its event, without its lines, and these."""

    event: ChunkEvent
    items: list[Item]


class Spread(NamedTuple):
    """A part whose shots have their times. chunks: by their first one."""

    part: Part
    number: int
    chunks: list[Chunk]

    @property
    def first_us(self) -> int:
        """When its first shot is due; 0 if it has none."""
        return self.chunks[0].items[0].due_us if self.chunks else 0

    @property
    def shots(self) -> int:
        """How many shots are to be sent."""
        return sum(chunk.event.shots for chunk in self.chunks)


def spread_parts(
    parts: Sequence[Part],
    asked: ObjectEvent,
    settings: Settings,
    *,
    run: str,
    rules: str,
    start_us: int,
    until_us: int,
) -> list[Spread]:
    """Return the parts of an object as chunks, all together spread over a time.

    asked: what is split, with its entity tag. rules: their identity. start_us, until_us:
    microseconds since 1970.
    """
    picked = [one for part in parts for one in part.picked]
    due = due_times(
        settings.spread,
        [one.started_us for one in picked],
        [one.shots for one in picked],
        start_us,
        until_us,
    )
    spread: list[Spread] = []
    before = 0
    for number, part in enumerate(parts, asked.part):
        its_due = due[before : before + len(part.picked)]
        before += len(part.picked)
        spread.append(
            Spread(part, number, _chunks(part, its_due, number, asked, settings, run, rules))
        )
    return spread


def _chunks(
    part: Part,
    due: Sequence[int],
    number: int,
    asked: ObjectEvent,
    settings: Settings,
    run: str,
    rules: str,
) -> list[Chunk]:
    name = object_id(asked.bucket, asked.key, asked.etag or "")
    cut = list(cuts(part.picked, settings.max_chunk_shots, settings.max_senders))
    senders = max(1, len({one.shard for one in cut}))
    chunks: list[Chunk] = []
    # By what comes first in the object, not by when it is due: so it is the same each time.
    for one in sorted(cut, key=lambda one: one.members[0]):
        items = _items(part, due, one)
        event = ChunkEvent(
            v=VERSION,
            id=f"{name}-{number}-{one.shard}-{one.number}",
            bucket=asked.bucket,
            key=asked.key,
            run=run,
            seed=settings.seed,
            rules=rules,
            senders=senders,
            shots=sum(item.shots for item in items),
            digest=digest_of(items),
        )
        chunks.append(Chunk(event, items))
    return chunks


def _items(part: Part, due: Sequence[int], cut: Cut) -> list[Item]:
    return [
        Item(picked.line, due[at], picked.shots, picked.only, picked.record_id)
        for at in cut.members
        for picked in (part.picked[at],)
    ]
