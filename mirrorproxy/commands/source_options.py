"""The options of what a replay reads: what they are, and what they mean.

Owns their text and their checks, and how much is held back by a delay. Opens nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mirrorproxy.aws_urls import S3, SQS
from mirrorproxy.clock import wall_us
from mirrorproxy.errors import ConfigError
from mirrorproxy.replay.schedule import MAX_SPEED
from mirrorproxy.sources.merge import WINDOW_US
from mirrorproxy.sources.objects import STDIN
from mirrorproxy.sources.span import LOOKBACK_US, Span
from mirrorproxy.units import parse_duration, parse_moment

_FOLLOWED_WINDOW_US = 5_000_000
"""Without a delay nobody waits half a minute for the order of what is captured now."""

_EVER_US = 1 << 62
_PER_S = 1_000_000

_PLANNED_AHEAD_US = 3_000_000
"""So long before it is due an exchange is given out: the engine plans two seconds ahead."""


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is read."""
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="a directory, files, - for standard input, s3://BUCKET/PREFIX or sqs://QUEUE; "
        "captures, access logs, HAR and GoReplay's files are told apart by what they hold",
    )
    add("--bodies", metavar="DIR", help="where large bodies lie, when - does not say it")
    which = parser.add_argument_group("what is read")
    add_span_options(which)
    add = which.add_argument
    add("--follow", action="store_true", help="go on with what is written meanwhile")
    add("--checkpoint", metavar="FILE", help="remember what was followed; go on from there")
    add(
        "--delay",
        metavar="TIME",
        help="send what was captured exactly so long ago, alike on all of a fleet",
    )
    add("--late", choices=("skip", "send"), help="what comes after its time (skip with --delay)")
    add("--idle-exit", metavar="TIME", help="end when nothing has come for so long")


def add_span_options(which: argparse._ArgumentGroup) -> None:
    """Add the options that say which captured times are read."""
    add = which.add_argument
    add("--from", dest="from_time", metavar="TIME", help="captured since, such as -2h")
    add("--to", dest="to_time", metavar="TIME", help="captured before")
    add(
        "--lookback",
        metavar="TIME",
        help="how late after its capture an exchange may have been stored (1h)",
    )


class Asked(NamedTuple):
    """What the options mean. Times in microseconds."""

    specs: Sequence[str]
    span: Span
    follows: bool
    checkpoint: Path | None
    delay_us: int | None
    skips_late: bool
    idle_exit_s: float | None

    @property
    def is_queue(self) -> bool:
        """Whether messages on a queue name the objects."""
        return any(spec.startswith(SQS) for spec in self.specs)

    @property
    def s3(self) -> list[str]:
        """The captures in S3."""
        return [spec for spec in self.specs if spec.startswith(S3)]

    @property
    def local(self) -> list[str]:
        """Directories, files and standard input."""
        return [spec for spec in self.specs if not spec.startswith((S3, SQS))]

    @property
    def has_bounds(self) -> bool:
        """Whether anything is left out by its time."""
        span = self.span
        return span.from_us is not None or span.to_us is not None or self.skips_late

    @property
    def window_us(self) -> int:
        """How much is held back to be put in order: never as long as the delay itself."""
        if self.delay_us is not None:
            return min(WINDOW_US, self.delay_us // 2)
        return _FOLLOWED_WINDOW_US if self.follows else WINDOW_US

    def until_us(self) -> int:
        """Return up to which captured time objects are read now."""
        now_us = wall_us()
        if self.delay_us is None:
            return now_us if self.follows else _EVER_US
        return min(now_us, now_us - self.delay_us + self.window_us + _PLANNED_AHEAD_US)


def asked_of(args: argparse.Namespace, speed: float, now_us: int) -> Asked:
    """Return what the options mean. now_us: the wall clock. Raises ConfigError."""
    is_queue = any(spec.startswith(SQS) for spec in args.source)
    if is_queue and len(args.source) > 1:
        raise ConfigError(f"{SQS} is read alone, without another source")
    is_live = bool(args.follow or is_queue)
    if args.dry_run and is_live:
        raise ConfigError(f"needs an end: not with --follow or {SQS}", file="--dry-run")
    delay_s = _duration("--delay", args.delay)
    lookback_s = _duration("--lookback", args.lookback)
    idle_exit_s = _duration("--idle-exit", args.idle_exit)
    from_us = _moment("--from", args.from_time, now_us)
    to_us = _moment("--to", args.to_time, now_us)
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise ConfigError("is not after --from", file="--to")
    if args.follow:
        _check_followed(args)
        # What was captured before nobody has asked for.
        from_us = now_us - round((delay_s or 0) * _PER_S) if from_us is None else from_us
    for option, given, needs in (
        ("--delay", delay_s, is_live),
        ("--idle-exit", idle_exit_s, is_live),
        ("--checkpoint", args.checkpoint, args.follow),
    ):
        if given is not None and not needs:
            raise ConfigError(f"means nothing without --follow, or {SQS}", file=option)
    if delay_s is not None and speed != 1:
        raise ConfigError("goes with --speed 1 alone: its pace is production's", file="--delay")
    if is_queue and delay_s is None and speed != MAX_SPEED:
        text = "needs --delay TIME or --speed max: objects come in no order, and workers share them"
        raise ConfigError(text, file=args.source[0])
    lookback_us = LOOKBACK_US if lookback_s is None else round(lookback_s * _PER_S)
    # Without a delay there is no time that anything could be too late for.
    skips_late = args.late == "skip" or (args.late is None and delay_s is not None)
    return Asked(
        specs=args.source,
        span=Span(from_us, to_us, lookback_us),
        follows=args.follow,
        checkpoint=None if args.checkpoint is None else Path(args.checkpoint),
        delay_us=None if delay_s is None else round(delay_s * _PER_S),
        skips_late=skips_late,
        idle_exit_s=idle_exit_s,
    )


def _check_followed(args: argparse.Namespace) -> None:
    if any(spec.startswith(SQS) for spec in args.source):
        raise ConfigError(f"{SQS} follows by itself", file="--follow")
    if args.to_time is not None:
        raise ConfigError("means nothing with --follow", file="--to")
    for spec in args.source:
        if spec == STDIN or not (spec.startswith(S3) or os.path.isdir(spec)):
            raise ConfigError(f"{spec}: only directories and {S3} are followed", file="--follow")


def _duration(option: str, text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise ConfigError(str(error), file=option) from error


def _moment(option: str, text: str | None, now_us: int) -> int | None:
    try:
        return None if text is None else parse_moment(text, now_us)
    except ValueError as error:
        raise ConfigError(str(error), file=option) from error
