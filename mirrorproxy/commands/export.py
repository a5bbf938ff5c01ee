"""``mirrorproxy export``: write a capture as HAR, as curl commands, or for GoReplay."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

from mirrorproxy.aws_urls import SQS
from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.commands.decoding import Decoder, Told
from mirrorproxy.commands.filters import add_filter_options, filter_of
from mirrorproxy.commands.output_file import STDOUT, output
from mirrorproxy.commands.replay_source import open_source
from mirrorproxy.commands.source_options import add_span_options
from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Exchange, Request, Response
from mirrorproxy.report import export_curl, export_gor, export_har
from mirrorproxy.report.exported import Exported, NotExportedError
from mirrorproxy.report.printable import printable
from mirrorproxy.report.summary import nothing_read
from mirrorproxy.rules.coding import CannotRewriteError, plain_body
from mirrorproxy.sources.bodies import BodyError, read_body
from mirrorproxy.sources.events import Captured, CaptureObject, Event, Signal, Unreadable
from mirrorproxy.sources.feed import InlineFeed
from mirrorproxy.sources.merge import Merge

EXIT_LOST = 1
_SHOWN_LEFT_OUT = 20
_WAIT_S = 0.01
"""A bucket is listed meanwhile."""

DESCRIPTION = """\
Write what a capture holds in another form: a HAR 1.2 document, commands of curl, or a file for
GoReplay. Exchanges come in captured order, memory does not grow with the capture, and what is
sealed stays sealed.
"""

EPILOG = """\
examples:
  mirrorproxy export ./capture --format har --out capture.har
  mirrorproxy export ./capture --format curl --id 019ab0c1f2a4
  mirrorproxy export ./capture --path '/api/**' --status 5xx --limit 10 --out failing.sh
  mirrorproxy export s3://captures/orders --from -2h --format gor --out orders.gor.gz
  mirrorproxy export browser.har --format curl | head

exit status: 0 all was written, 1 a part of the capture was damaged or an exchange was
left out, 2 a mistake
"""


class _Format(NamedTuple):
    """How a format is written. one: makes the bytes of an exchange; raises NotExportedError.

    left_out: what stands in the place of one that is left out.
    """

    ends: tuple[str, ...]
    one: Callable[[Exported], bytes]
    head: bytes = b""
    between: bytes = b""
    tail: bytes = b""
    left_out: Callable[[Exchange, str], bytes] = lambda _exchange, _reason: b""


def _decoded(body: bytes, coding: str | None) -> bytes | None:
    try:
        return plain_body(body, coding)
    except CannotRewriteError:
        return None


FORMATS = {
    "har": _Format(
        (".har",),
        lambda exported: export_har.har_entry(exported, _decoded),
        export_har.HEAD,
        export_har.SEPARATOR,
        export_har.TAIL,
    ),
    "curl": _Format(
        (".sh", ".curl"),
        export_curl.curl_command,
        export_curl.HEAD,
        left_out=export_curl.left_out,
    ),
    "gor": _Format((".gor",), export_gor.gor_records),
}


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "export",
        help="write a capture as HAR, as curl commands, or for GoReplay",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # So that `--from -2h` is a value; argparse takes `-2` for one by itself.
    parser._negative_number_matcher = re.compile(r"-[0-9.]+[0-9.wdhmsu]*\Z")
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="a directory, files, - for standard input, or s3://BUCKET/PREFIX",
    )
    add("--bodies", metavar="DIR", help="where large bodies lie, when - does not say it")
    add("--format", choices=tuple(FORMATS), help="told by the name of --out where it is not given")
    add("--out", default=STDOUT, metavar="FILE", help="a file, packed if it ends in .gz (-)")
    add("--force", action="store_true", help="replace the file if it is there")
    which = parser.add_argument_group("what is written")
    add_span_options(which)
    which.add_argument("--limit", metavar="N", help="end when so many exchanges are written")
    which.add_argument("--id", metavar="ID", help="those whose ids begin so")
    add_filter_options(parser)
    # What a replay may ask of a source beyond this.
    parser.set_defaults(
        follow=False, checkpoint=None, delay=None, late=None, idle_exit=None, dry_run=True
    )


def run(args: argparse.Namespace) -> int:
    """Write it; 1 if a part could not be read, or was left out."""
    kind = _format(args.format, args.out)
    limit = _limit(args.limit)
    wanted = filter_of(args)
    if any(spec.startswith(SQS) for spec in args.source):
        raise ConfigError("a queue has no end: name where the objects lie", file=args.source[0])
    started = "" if args.id is None else args.id.lower()
    writing = _Writing(kind)
    opened = open_source(args, 1.0, _say)
    try:
        # Without look-ahead: nothing is sent.
        merge = Merge(opened.objects, InlineFeed, window_us=opened.window_us, decode=Decoder())
        chosen = opened.chosen(merge)
        with output(args.out, overwrites=args.force) as out:
            writing.begin(out)
            for event in _events(chosen.take):
                if isinstance(event, Unreadable):
                    writing.damage(event)
                elif isinstance(event, Captured):
                    exchange = event.exchange
                    writing.read += 1
                    if exchange.id.startswith(started) and wanted(exchange):
                        writing.write(exchange, event.source)
                        if limit is not None and writing.written >= limit:
                            break
            writing.end()
    finally:
        opened.close()
    return writing.result(args.out)


def _events(take: Callable[[], Event]) -> Iterator[Event]:
    while (event := take()) is not Signal.END:
        if event is Signal.PENDING:
            time.sleep(_WAIT_S)
        yield event


class _Writing:
    """Writes one format, and counts what became of the exchanges."""

    def __init__(self, kind: _Format) -> None:
        self._kind = kind
        self._out: IO[bytes] = sys.stdout.buffer
        self._told = Told()
        self._left_out: Counter[str] = Counter()
        self._is_damaged = False
        self.read = 0
        self.written = 0

    def begin(self, out: IO[bytes]) -> None:
        self._out = out
        out.write(self._kind.head)

    def end(self) -> None:
        self._out.write(self._kind.tail)

    def write(self, exchange: Exchange, source: CaptureObject) -> None:
        """Write an exchange, or leave it out and say so."""
        kind = self._kind
        try:
            data = kind.one(_whole(exchange, source))
        except NotExportedError as error:
            reason = str(error)
            self._left_out[reason] += 1
            if sum(self._left_out.values()) <= _SHOWN_LEFT_OUT:
                _say(f"{exchange.id} is left out: {reason}")
            self._out.write(kind.left_out(exchange, reason))
            return
        if self.written:
            self._out.write(kind.between)
        self._out.write(data)
        self.written += 1

    def damage(self, event: Unreadable) -> None:
        self._is_damaged = True
        if self._told.is_new(event):
            _say(str(event))

    def result(self, path: str) -> int:
        """Say how it went; return the exit status."""
        left_out = sum(self._left_out.values())
        if left_out > _SHOWN_LEFT_OUT:
            for reason, count in self._left_out.most_common():
                _say(f"left out, {reason}: {count:,}")
        if path != STDOUT:
            _say(f"{path}: {self.written:,} exchanges")
        if not self.read:
            _say(f"hint: {nothing_read(is_damaged=self._is_damaged)}")
        elif not self.written and not left_out:
            _say(f"hint: the filters leave none of {self.read:,}")
        return EXIT_LOST if left_out or self._is_damaged else 0


def _whole(exchange: Exchange, source: CaptureObject) -> Exported:
    """Return an exchange with its bodies, those read that lie apart. Raises NotExportedError."""
    request_body = _body(exchange.request, source)
    response = exchange.response
    return Exported(exchange, request_body, b"" if response is None else _body(response, source))


def _body(message: Request | Response, source: CaptureObject) -> bytes:
    try:
        if message.body_ref is not None:
            return read_body(source, message.body_ref)
        return body_of(message)
    except (BodyError, MalformedRecord) as error:
        raise NotExportedError(str(error)) from error


def _format(asked: str | None, path: str) -> _Format:
    if asked is not None:
        return FORMATS[asked]
    name = path.removesuffix(".gz")
    for kind in FORMATS.values():
        if name.endswith(kind.ends):
            return kind
    raise ConfigError(f"say which format to write: {', '.join(FORMATS)}", file="--format")


def _limit(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 10**12:
        raise ConfigError("expected a whole number above 0", file="--limit")
    return int(text)


def _say(line: str) -> None:
    print(f"mirrorproxy: {printable(line)}", file=sys.stderr)
