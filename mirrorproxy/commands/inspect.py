"""``mirrorproxy inspect``: show what is in a capture. Reads, and never writes or sends."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console, RenderableType

from mirrorproxy import codec
from mirrorproxy.commands.decoding import Decoder, Told
from mirrorproxy.commands.filters import add_filter_options, filter_of
from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Exchange
from mirrorproxy.report.exchange_text import describe
from mirrorproxy.report.inspection import Inspection
from mirrorproxy.report.inspection_text import render
from mirrorproxy.report.printable import printable
from mirrorproxy.report.summary import nothing_read
from mirrorproxy.sources.events import Captured, Duplicate, Unreadable
from mirrorproxy.sources.reading import read_capture

EXIT_LOST = 1
_PIPE_WIDTH = 160

DESCRIPTION = """\
Show what a capture holds: exchanges by service, method, path and status, the time span,
sizes, what was sealed, and any damage. With --json the exchanges themselves, one a line;
with --id one of them as a person reads it.
"""

EPILOG = """\
examples:
  mirrorproxy inspect ./capture
  mirrorproxy inspect ./capture --method POST --path '/api/**' --status 5xx
  mirrorproxy inspect ./capture --match '{headers: {X-Tenant: [a, b]}}' --json | head -1
  mirrorproxy inspect ./capture --id 019ab0c1f2a47e5c8d3f0a1b2c3d4e5f

exit status: 0 all was read, 1 something was damaged or --id was not found, 2 a mistake
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what is in a capture",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", nargs="+", metavar="SOURCE", help="a directory, files, or - for standard input"
    )
    parser.add_argument("--json", action="store_true", help="print the exchanges, one a line")
    parser.add_argument("--id", metavar="ID", help="show one exchange; the start of its id will do")
    add_filter_options(parser)


def run(args: argparse.Namespace) -> int:
    """Show it; 1 if a part of the capture could not be read or the id was not found."""
    wanted = filter_of(args)
    if args.id is not None:
        return _one(args, wanted)
    if args.json:
        return _lines(args, wanted)
    return _summary(args, wanted)


def _summary(args: argparse.Namespace, wanted: Callable[[Exchange], bool]) -> int:
    inspection = Inspection()
    damaged, read, told = False, 0, Told()
    for event in read_capture(args.source, decode=Decoder()):
        match event:
            case Captured(exchange=exchange):
                read += 1
                if wanted(exchange):
                    inspection.add(exchange)
            case Duplicate():
                inspection.add_duplicate()
            case Unreadable(name=name, offset=offset, reason=reason, lines=lines):
                damaged = True
                inspection.add_damage(name, offset, reason, lines, is_shown=told.is_new(event))
    summary = inspection.summary()
    _show(render(summary))
    if not read:
        print(f"hint: {nothing_read(is_damaged=damaged)}")
    elif not summary.exchanges:
        print(f"hint: the filters leave none of {read:,}")
    return EXIT_LOST if damaged else 0


def _show(report: RenderableType) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(report, crop=False)
        return
    # Tables are filled up with spaces: of no use to a file or to a program.
    console = Console(highlight=False, width=_PIPE_WIDTH)
    with console.capture() as shown:
        console.print(report, crop=False)
    for line in shown.get().splitlines():
        print(line.rstrip())


def _lines(args: argparse.Namespace, wanted: Callable[[Exchange], bool]) -> int:
    reader = _Exchanges(args.source)
    for exchange in reader:
        if wanted(exchange):
            sys.stdout.buffer.write(codec.encode_line(exchange))
    sys.stdout.buffer.flush()
    return EXIT_LOST if reader.damaged else 0


def _one(args: argparse.Namespace, wanted: Callable[[Exchange], bool]) -> int:
    reader = _Exchanges(args.source)
    found: Exchange | None = None
    for exchange in reader:
        if exchange.id.startswith(args.id.lower()) and wanted(exchange):
            if found is not None:
                raise ConfigError("several exchanges have an id that begins so", file="--id")
            found = exchange
    if found is None:
        print(f"mirrorproxy: no exchange with the id {printable(args.id)}", file=sys.stderr)
        return EXIT_LOST
    if args.json:
        sys.stdout.buffer.write(codec.encode_line(found))
        sys.stdout.buffer.flush()
    else:
        print(describe(found))
    return EXIT_LOST if reader.damaged else 0


class _Exchanges:
    """The exchanges of a capture; damage goes to standard error, a line each."""

    def __init__(self, specs: list[str]) -> None:
        self.damaged = False
        self._specs = specs
        self._told = Told()

    def __iter__(self) -> Iterator[Exchange]:
        for event in read_capture(self._specs, decode=Decoder()):
            if isinstance(event, Captured):
                yield event.exchange
            elif isinstance(event, Unreadable):
                self.damaged = True
                if self._told.is_new(event):
                    print(f"mirrorproxy: {printable(str(event))}", file=sys.stderr)
