"""Where a replay reads from: directories, files, standard input, S3, SQS.

Owns the choice of classes and how they are put together; `source_options` owns
the options. Nothing of AWS is loaded unless it is asked for.
"""

from __future__ import annotations

import argparse
import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mirrorproxy.aws_urls import parse_bucket, parse_queue
from mirrorproxy.clock import wall_us
from mirrorproxy.commands.source_options import Asked, asked_of
from mirrorproxy.errors import SourceError
from mirrorproxy.sources.arrivals import Arrivals
from mirrorproxy.sources.chosen import Chosen, Taken
from mirrorproxy.sources.events import Account, CaptureObject, Unreadable, Waiting
from mirrorproxy.sources.merge import SLACK_US
from mirrorproxy.sources.objects import find_objects
from mirrorproxy.sources.progress import Progress, load
from mirrorproxy.sources.span import BUFFER_US, Span
from mirrorproxy.sources.tail import LOOK_S, LOOK_S3_S, Seen, Tail

if TYPE_CHECKING:
    from mirrorproxy.sources.s3 import S3Capture

_PER_S = 1_000_000

Say = Callable[[str], None]


class Opened:
    """A source that is ready to be read. objects: for the merge; window_us: see there."""

    def __init__(
        self,
        objects: Iterator[CaptureObject | Waiting],
        asked: Asked,
        *,
        aside: deque[Unreadable],
        stop: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
        status: Callable[[], Mapping[str, object]] = dict,
    ) -> None:
        self.objects = objects
        self.window_us = asked.window_us
        self.delay_s = None if asked.delay_us is None else asked.delay_us / _PER_S
        self._asked = asked
        self._aside = aside
        self._stop = stop
        self.close = close
        """Lets go of everything; what is done with is written down."""
        self.status = status
        """Gives what `/status` shows."""

    def chosen(self, merged: Taken) -> Taken:
        """Return what is asked for of what the merge gives."""
        asked = self._asked
        if not (asked.s3 or asked.is_queue or asked.follows or asked.has_bounds):
            return merged
        return Chosen(
            merged,
            self._asked.span,
            delay_us=self._asked.delay_us,
            skips_late=self._asked.skips_late,
            wall_us=wall_us,
            aside=self._aside,
            on_close=self._stop,
        )


def open_source(args: argparse.Namespace, speed: float, warn: Say) -> Opened:
    """Find the source. Raises ConfigError and SourceError, which say what is wrong."""
    asked = asked_of(args, speed, wall_us())
    aside: deque[Unreadable] = deque()
    if not (asked.is_queue or asked.follows or asked.s3):
        return Opened(find_objects(asked.specs, args.bodies, asked.span), asked, aside=aside)
    parts = _Parts(asked, args.bodies, aside, warn)
    if asked.is_queue:
        return parts.queue()
    return parts.followed() if asked.follows else parts.listed()


# -- putting together -------------------------------------------------------------------


class _Problem:
    """What goes wrong just now, said once."""

    def __init__(self, warn: Say) -> None:
        self._warn = warn
        self.text: str | None = None

    def __call__(self, text: str | None) -> None:
        before, self.text = self.text, text
        if text is None and before is not None:
            self._warn("the source can be read again")
        elif text is not None and text != before:
            self._warn(f"{text}; trying again")


class _Parts:
    """What the sources that find their objects while they are read have in common."""

    def __init__(
        self, asked: Asked, bodies: str | None, aside: deque[Unreadable], warn: Say
    ) -> None:
        self._asked = asked
        self._bodies = bodies
        self._aside = aside
        self._warn = warn
        self._problem = _Problem(warn)
        self._stopping = threading.Event()
        self._closing: list[Callable[[], None]] = []

    def listed(self) -> Opened:
        """Return the objects of a span, listed by a thread while they are read."""
        captures = self._captures()
        local = (
            find_objects(self._asked.local, self._bodies, self._asked.span)
            if (self._asked.local)
            else iter(())
        )
        last_us = -1
        arrivals = Arrivals(lambda: last_us)

        def work() -> None:
            nonlocal last_us
            try:
                for seen in self._merged(captures, local):
                    last_us = (seen.source.time_us or 0) - SLACK_US
                    if not arrivals.add(*seen):
                        return
                arrivals.end()
            except SourceError as error:
                arrivals.fail(error)

        threading.Thread(target=work, name="listing", daemon=True).start()
        return self._opened(arrivals, arrivals.close, lambda: {"objects_waiting": arrivals.known})

    def followed(self) -> Opened:
        """Return the objects of a capture that is still written."""
        asked = self._asked
        captures = self._captures()
        if asked.local:
            find_objects(asked.local, self._bodies, asked.span)
        from_us = asked.span.from_us or 0
        source = list(asked.specs)
        progress = load(asked.checkpoint, source) if asked.checkpoint is not None else None
        if progress is None:
            progress = Progress(source, from_us, max(0, from_us - BUFFER_US))
        # Whoever goes on asks for what was asked for at first.
        self._asked = asked._replace(span=asked.span._replace(from_us=progress.from_us))
        arrivals = Arrivals(asked.until_us)
        tail = Tail(
            self._look(captures),
            arrivals,
            progress,
            look_s=LOOK_S3_S if captures else LOOK_S,
            lookback_us=asked.span.lookback_us,
            wall_us=wall_us,
            stopping=self._stopping,
            on_problem=self._problem,
            checkpoint=asked.checkpoint,
            idle_exit_s=asked.idle_exit_s,
        )
        tail.start()
        self._closing.append(tail.close)
        return self._opened(arrivals, arrivals.close, lambda: {"objects_in_hand": tail.in_hand})

    def queue(self) -> Opened:
        """Return the objects that messages on a queue tell of."""
        from mirrorproxy.sources import aws, s3, sqs  # noqa: PLC0415

        asked = self._asked
        url = parse_queue(asked.specs[0], asked.specs[0])
        call = aws.Caller(self._problem, self._stopping)
        arrivals = Arrivals(asked.until_us)
        feed = sqs.SqsFeed(
            url,
            aws.client("sqs", url.region),
            call,
            s3.S3Reader(aws.client("s3", url.region), call, self._downloads()),
            arrivals,
            until_us=asked.until_us,
            aside=self._aside,
            stopping=self._stopping,
            idle_exit_s=asked.idle_exit_s,
        )
        if warning := feed.check():
            self._warn(warning)
        feed.start()
        self._closing.append(feed.close)

        def stop() -> None:
            feed.receive_no_more()
            arrivals.close()

        return self._opened(arrivals, stop, feed.status)

    def _captures(self) -> list[S3Capture]:
        if not self._asked.s3:
            return []
        from mirrorproxy.sources import aws, s3  # noqa: PLC0415

        urls = [parse_bucket(spec, spec) for spec in self._asked.s3]
        call = aws.Caller(self._problem, self._stopping)
        downloads = self._downloads()
        captures = []
        for url in urls:
            client = aws.client("s3", url.region, url.endpoint)
            capture = s3.S3Capture(url, client, call, s3.S3Reader(client, call, downloads))
            capture.check(self._asked.span)
            captures.append(capture)
        return captures

    def _downloads(self) -> Any:
        from mirrorproxy.sources.download import Downloads  # noqa: PLC0415

        downloads = Downloads()
        self._closing.append(downloads.close)
        return downloads

    def _merged(
        self, captures: Iterable[S3Capture], local: Iterator[CaptureObject]
    ) -> Iterator[Seen]:
        streams: list[Iterator[Seen]] = [(Seen(one, None) for one in local)]
        streams += [
            (Seen(*found) for found in capture.objects(self._asked.span)) for capture in captures
        ]
        return heapq.merge(*streams, key=lambda seen: seen.source.time_us or -1)

    def _look(
        self, captures: Sequence[S3Capture]
    ) -> Callable[[Span, Callable[[str], Account | None]], Iterator[Seen]]:
        local = self._asked.local

        def look(span: Span, account_of: Callable[[str], Account | None]) -> Iterator[Seen]:
            for source in find_objects(local, self._bodies, span) if local else ():
                if (account := account_of(source.name)) is not None:
                    yield Seen(msgspec.structs.replace(source, account=account), None)
            for capture in captures:
                for found in capture.objects(span, account_of):
                    yield Seen(*found)

        return look

    def _opened(
        self,
        arrivals: Arrivals,
        stop: Callable[[], None],
        status: Callable[[], Mapping[str, object]],
    ) -> Opened:
        def close() -> None:
            stop()
            self._stopping.set()
            for one in self._closing:
                one()

        return Opened(
            arrivals,
            self._asked,
            aside=self._aside,
            stop=stop,
            close=close,
            status=lambda: {**status(), "problem": self._problem.text},
        )
