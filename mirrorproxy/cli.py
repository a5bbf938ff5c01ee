"""The command line: finds the command, runs it, turns errors into one line.

Owns no behaviour of any command. Only the module of the command that was asked
for is imported, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from mirrorproxy import __version__
from mirrorproxy.errors import ConfigError, MirrorproxyError, SourceError

COMMANDS = {
    "capture": "stand before an application and record its traffic",
    "replay": "send a capture to another server, paced as it was recorded",
    "inspect": "show what is in a capture",
    "check": "validate a rule file and say what it would do, without sending",
    "demo": "capture and replay two small applications on this machine",
}
"""Every command with the line that ``mirrorproxy --help`` shows for it."""

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

EPILOG = """\
examples:
  mirrorproxy demo
      see it work: two small applications, a capture, a replay

  mirrorproxy capture --listen 0.0.0.0:8000 --upstream http://127.0.0.1:8080 --to ./capture
      record what passes through port 8000 to the application on 8080

  mirrorproxy inspect ./capture
      what was recorded, by service, method, path and status

  mirrorproxy replay ./capture --target https://staging.example.com --auth-env STAGING_TOKEN
      send it to staging with staging's own token, at the recorded pace

'mirrorproxy COMMAND --help' says more about each.
exit status: 0 done, 1 something was lost, 2 a mistake in options or files, 3 shots failed
"""


class Command(Protocol):
    """What a module of `mirrorproxy.commands` offers."""

    def add_parser(self, subparsers: argparse._SubParsersAction[Any]) -> object:
        """Add the command's own parser."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; return the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    argv: without the program's name; those of the process by default. Raises
    SystemExit, as argparse does, for ``--help`` and for options it can't take.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = parse(arguments)
        if args.command is None:
            _parser(None, None).print_help()
            return EXIT_USAGE
        status = cast(Command, args.command).run(args)
        sys.stdout.flush()
    except (ConfigError, SourceError) as error:
        _complain(error)
        return EXIT_USAGE
    except MirrorproxyError as error:
        _complain(error)
        return EXIT_ERROR
    except BrokenPipeError:
        # The reader (`| head`) has gone: the interpreter's own last flush must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of one command; ``command`` is its module, None where none is named.

    Raises SystemExit, as argparse does.
    """
    name = next((word for word in arguments if not word.startswith("-")), None)
    command = _load(name) if name in COMMANDS else None
    args = _parser(name, command).parse_args(arguments)
    args.command = command
    return args


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"mirrorproxy.commands.{name}"))


def _parser(name: str | None, command: Command | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mirrorproxy",
        description="Capture live HTTP traffic, bodies included, without risk to production,\n"
        "and replay it, writes included, against another environment.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mirrorproxy {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for other, line in COMMANDS.items():
        if other == name and command is not None:
            command.add_parser(subparsers)
        else:
            subparsers.add_parser(other, help=line)
    return parser


def _complain(error: MirrorproxyError) -> None:
    line = " ".join(str(error).split())
    print(f"mirrorproxy: {line}", file=sys.stderr)
