"""The function `split`: what an event tells of, read, picked, spread, and given to `send`.

Owns the order of these steps. An object is read before anything of it is given away, so
that one that cannot be read is a message that failed; a part of it is given away as its
time comes, and what there is no time for is handed on to another call.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from mirrorproxy import keys
from mirrorproxy.clock import wall_us
from mirrorproxy.errors import MirrorproxyError, SourceError
from mirrorproxy.lambdas.around import Call
from mirrorproxy.lambdas.chunk import encoded
from mirrorproxy.lambdas.invoking import NotTaken
from mirrorproxy.lambdas.lines import say
from mirrorproxy.lambdas.picking import Part, Picker
from mirrorproxy.lambdas.rules_at import Rules
from mirrorproxy.lambdas.send_function import MAX_HOPS, stored_or_whole
from mirrorproxy.lambdas.split_ledger import SplitLedger
from mirrorproxy.lambdas.spreading import Chunk, Spread, spread_parts
from mirrorproxy.lambdas.trigger import ObjectEvent, Work, encoded_object, works
from mirrorproxy.sources.aws import START_ATTEMPTS, AwsError, Deed
from mirrorproxy.sources.events import Unreadable

LEAD_US = 5_000_000
"""So long before its first shot is due a chunk is given to `send`, which may have to start."""

READING_SHARE = 0.5
"""When so much of the time is over, no further part of an object is read: the rest is handed on."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""So many bytes of lines are held until their time comes; the rest of an object is handed on."""

_SHOWN_UNREADABLE = 5


class NotSplit(MirrorproxyError):
    """An object, or a part of it, that was not given to `send`."""


class Job:
    """An object in hand.

    event: what is asked for. parts: what was read of it. rest: what follows them, None if
    that is all. until_us: when the time is over that they are spread over. is_over: whether
    nothing more is to be done for it here.
    """

    def __init__(
        self,
        work: Work,
        event: ObjectEvent,
        parts: list[Spread],
        rest: ObjectEvent | None,
        until_us: int,
    ) -> None:
        self.work = work
        self.event = event
        self.parts = parts
        self.rest = rest
        self.until_us = until_us
        self.is_over = False


def split(call: Call, event: object) -> dict[str, object] | None:
    """Split what an event tells of; return the messages that failed, if it was messages.

    Raises UnknownEvent, ConfigError and NotSplit, where no message can be named.
    """
    asked = works(event)
    splitting = _Split(call)
    try:
        failed = splitting.run(asked)
    finally:
        splitting.ledger.throttled = call.invoker.throttled
        splitting.ledger.log()
    if all(work.message_id is not None for work in asked):
        return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
    if failed:
        raise NotSplit("; ".join(failed.values()))
    return None


class _Split:
    def __init__(self, call: Call) -> None:
        self._call = call
        self._deadline = call.deadline
        self.ledger = SplitLedger(call.settings)
        self._shown = 0
        self._failed: dict[str, str] = {}
        self._in_s3 = False

    def run(self, asked: list[Work]) -> dict[str, str]:
        """Do all of it; return what failed, by message id, with the reason."""
        rules = self._call.rules()
        # What the rules send as it was logged never stands in an event, nor in a queue.
        self._in_s3 = rules.compiled.sends_logged_credentials
        jobs = [job for work in asked for job in self._read_all(work, rules)]
        for job, spread in _in_time(jobs):
            if not job.is_over:
                self._give(job, spread)
        for job in jobs:
            if not job.is_over and job.rest is not None:
                self._hand_on(job, job.rest, 0)
        return self._failed

    def _fail(self, work: Work, reason: str) -> None:
        self._failed.setdefault(work.message_id or "", reason)
        self.ledger.failed.append(reason)
        say(f"error: {reason}")

    # -- reading --------------------------------------------------------------------

    def _read_all(self, work: Work, rules: Rules) -> list[Job]:
        """Return the objects of a message, none of them if one cannot be read."""
        if work.error is not None:
            self._fail(work, work.error)
            return []
        jobs: list[Job] = []
        for one in work.objects:
            if self._call.places.is_own(one.bucket, one.key):
                continue
            try:
                jobs.append(self._read(work, one, rules))
            except AwsError as error:
                self._fail(work, error.trouble.text)
                return []
            except MirrorproxyError as error:
                self._fail(work, f"{_place(one)}: {error}")
                return []
        self.ledger.objects += len(jobs)
        return jobs

    def _read(self, work: Work, asked: ObjectEvent, rules: Rules) -> Job:
        call, settings = self._call, self._call.settings
        asked, size = self._looked_at(asked)
        run = asked.run or self._run(asked)
        lost: list[bool] = []
        found = call.reader.object(
            asked.bucket,
            asked.key,
            size,
            asked.version,
            on_lost=lambda: lost.append(True),
            etag=asked.etag,
        )
        picker = Picker(
            rules.compiled,
            settings.seed,
            run,
            max_chunk_shots=settings.max_chunk_shots,
            max_senders=settings.max_senders,
            on_unreadable=self._unreadable,
        )
        parts: list[Part] = []
        held = 0
        for part in picker.parts(found.source, asked.skip):
            parts.append(part)
            held += sum(len(one.line) for one in part.picked)
            if part.is_last or held > MAX_HELD_BYTES or self._has_read_enough():
                break
        if lost:
            raise SourceError("it cannot be read")
        start_us, until_us = self._window(asked)
        spread = spread_parts(
            parts,
            asked,
            settings,
            run=run,
            rules=rules.identity,
            start_us=start_us,
            until_us=until_us,
        )
        rest = None
        if not parts[-1].is_last:
            # The time that was given is used up by what was read: the rest has one of its own.
            taken, number = parts[-1].taken, asked.part + len(parts)
            rest = _follow_up(asked, run, taken, number, until_us, 0)
        return Job(work, msgspec.structs.replace(asked, run=run), spread, rest, until_us)

    def _looked_at(self, asked: ObjectEvent) -> tuple[ObjectEvent, int]:
        """Return the event with the entity tag of the object, and its size in bytes."""
        wanted = {"Bucket": asked.bucket, "Key": asked.key}
        if asked.version is not None:
            wanted["VersionId"] = asked.version
        deed = Deed(_place(asked), f"s3:GetObject on arn:aws:s3:::{asked.bucket}/{asked.key}")
        head = self._call.aws(
            deed, lambda: self._call.s3.head_object(**wanted), attempts=START_ATTEMPTS
        )
        etag = str(head["ETag"])
        if asked.etag is not None and asked.etag != etag:
            raise SourceError("it was overwritten after a part of it was split")
        looked_at: ObjectEvent = msgspec.structs.replace(asked, etag=etag)
        return looked_at, int(head["ContentLength"])

    def _run(self, asked: ObjectEvent) -> str:
        """Return the run's name, the same whenever the object is split."""
        settings = self._call.settings
        if settings.run is not None:
            return settings.run
        at_us = keys.time_us(asked.key)
        hour = "" if at_us is None else time.strftime("-%Y%m%d%H", time.gmtime(at_us // 1_000_000))
        return settings.function[:53] + hour

    def _window(self, asked: ObjectEvent) -> tuple[int, int]:
        """Return between which moments the shots are spread."""
        start_us = max(asked.start_us, wall_us() + LEAD_US)
        if asked.until_us > start_us:
            return start_us, asked.until_us
        over_s = self._call.settings.spread_over_s
        if over_s is None:
            over_s = max(self._deadline.hand_on_s - time.monotonic() - LEAD_US / 1e6, 1.0)
        return start_us, start_us + round(over_s * 1e6)

    def _has_read_enough(self) -> bool:
        return self._deadline.left_s() < self._deadline.whole_s * (1 - READING_SHARE)

    def _unreadable(self, event: Unreadable) -> None:
        self._shown += 1
        if self._shown <= _SHOWN_UNREADABLE:
            say(f"warning: {event}")

    # -- giving away ----------------------------------------------------------------

    def _give(self, job: Job, spread: Spread) -> None:
        """Give the chunks of a part to `send` as their time comes, or hand the part on."""
        time_s = self._deadline.hand_on_s - time.monotonic()
        if spread.chunks and _wait_s(spread.first_us) > max(time_s, 0):
            self._pause(time_s)
            begun = job.event.given if spread.number == job.event.part else 0
            self._hand_on_from(job, spread, begun)
            return
        given = job.event.given if spread.number == job.event.part else 0
        for at, chunk in enumerate(spread.chunks[given:], given):
            # A part that was begun is given away whole: `send` waits where this call cannot.
            wait_s = _wait_s(chunk.items[0].due_us)
            self._pause(min(wait_s, self._deadline.hand_on_s - time.monotonic()))
            try:
                self._invoke(chunk)
            except NotTaken as error:
                say(f"warning: {error}: {chunk.event.id} and what follows is handed on")
                self._hand_on_from(job, spread, at)
                return
            except AwsError as error:
                job.is_over = True
                self._fail(job.work, f"{_place(job.event)}: {error.trouble.text}")
                return
        # Whoever gives the last chunk away counts the part, with what others gave before.
        self.ledger.take(spread.part.ledger, spread.shots, len(spread.chunks))

    def _invoke(self, chunk: Chunk) -> None:
        call = self._call
        event = stored_or_whole(call, chunk.event, chunk.items, always_stored=self._in_s3)
        if event.data is None:
            self.ledger.stored += 1
        function = call.settings.send_function
        call.invoker.invoke(function, encoded(event), self._deadline.hand_on_s)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    # -- handing on -----------------------------------------------------------------

    def _hand_on_from(self, job: Job, spread: Spread, given: int) -> None:
        """Hand on a part, but for so many of its chunks, and all that follows it."""
        at = job.parts.index(spread)
        skip = job.parts[at - 1].part.taken if at else job.event.skip
        run = job.event.run or ""
        rest = _follow_up(job.event, run, skip, spread.number, spread.first_us, job.until_us)
        left = sum(one.shots for one in job.parts[at:])
        left -= sum(chunk.event.shots for chunk in spread.chunks[:given])
        self._hand_on(job, msgspec.structs.replace(rest, given=given), left)

    def _hand_on(self, job: Job, rest: ObjectEvent, shots: int) -> None:
        job.is_over = True
        call = self._call
        if rest.hop > MAX_HOPS:
            self._fail(
                job.work, f"{_place(rest)}: was handed on {MAX_HOPS} times; it takes too long"
            )
            return
        try:
            call.invoker.invoke(call.own_arn, encoded_object(rest), self._deadline.last_s)
        except NotTaken as error:
            self._fail(job.work, f"{_place(rest)}: {error}")
        except AwsError as error:
            self._fail(job.work, f"{_place(rest)}: {error.trouble.text}")
        else:
            self.ledger.handed_on += shots
            say(f"{_place(rest)}: handed on after {rest.skip} exchanges")


def _in_time(jobs: Sequence[Job]) -> list[tuple[Job, Spread]]:
    """Return the parts of all objects by their first shot, those of one object in their order."""
    timed: list[tuple[int, int, int]] = []
    for at, job in enumerate(jobs):
        first_us = 0
        for number, spread in enumerate(job.parts):
            # One of which nothing is sent follows the one before it.
            first_us = max(first_us, spread.first_us)
            timed.append((first_us, at, number))
    return [(jobs[at], jobs[at].parts[number]) for _, at, number in sorted(timed)]


def _follow_up(
    asked: ObjectEvent, run: str, skip: int, part: int, start_us: int, until_us: int
) -> ObjectEvent:
    rest: ObjectEvent = msgspec.structs.replace(
        asked,
        run=run,
        skip=skip,
        part=part,
        given=0,
        start_us=start_us,
        until_us=until_us,
        hop=asked.hop + 1,
    )
    return rest


def _wait_s(due_us: int) -> float:
    """Return in how many seconds a chunk is to be given away."""
    return (due_us - LEAD_US - wall_us()) / 1e6


def _place(event: ObjectEvent) -> str:
    return f"s3://{event.bucket}/{event.key}"
