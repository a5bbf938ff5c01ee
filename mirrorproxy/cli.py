"""The command line: finds the command, runs it, turns errors into one line.

Owns no behaviour of any command. Only the module of the command that was asked
for is imported, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, cast

from mirrorproxy import __version__
from mirrorproxy.errors import ConfigError, MirrorproxyError, SourceError

COMMANDS = {
    "capture": "stand before an application and record its traffic",
    "replay": "send a capture to another server, paced as it was recorded",
    "control": "change a running capture or replay",
    "report": "add up the ledgers of a fleet, and count what was sent twice",
    "doctor": "check what a capture or replay needs, and say what to do",
    "inspect": "show what is in a capture",
    "export": "write a capture as HAR, as curl commands, or for GoReplay",
    "check": "validate a rule file and say what it would do, without sending",
    "rules": "print what a rule file may hold, for editors",
    "demo": "capture and replay two small applications on this machine",
}
"""Every command with the line that ``mirrorproxy --help`` shows for it."""

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

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
exit status: 0 done, 1 something was lost, 2 a mistake in options or files, 3 shots
failed or none was sent
"""


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line; subparsers are of this class too."""

    def error(self, message: str) -> NoReturn:
        """End the process with one line instead of the whole usage."""
        self.exit(EXIT_USAGE, f"mirrorproxy: {_plainer(message)}; see {self.prog} --help\n")


def _plainer(message: str) -> str:
    message = message.removeprefix("argument ")
    return message.replace("invalid float value", "not a number").replace(
        "invalid int value", "not a whole number"
    )


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
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
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
        # The reader (`| head`) has gone.
        _give_up_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        # A full disk or quota under standard output; anything else is a mistake of ours.
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        _give_up_output()
        _complain(MirrorproxyError(f"the output cannot be written: {error.strerror}"))
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of one command; ``command`` is its module, None where none is named.

    Raises SystemExit, as argparse does.
    """
    name = next((word for word in arguments if not word.startswith("-")), None)
    command = _load(name) if name in COMMANDS else None
    parser = _parser(name, command)
    if name is not None and name == arguments[0] and command is None:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(COMMANDS)}"
        parser.error(f"{name!r} is no command; {known}")
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        # Said by the command's own parser, as its help is what helps.
        Parser(prog=parser.prog if command is None else f"{parser.prog} {name}").error(
            f"unrecognized arguments: {' '.join(unknown)}"
        )
    args.command = command
    return args


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"mirrorproxy.commands.{name}"))


def _parser(name: str | None, command: Command | None) -> argparse.ArgumentParser:
    parser = Parser(
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


def _give_up_output() -> None:
    """Keep the interpreter's own last flush from failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(error: MirrorproxyError) -> None:
    line = " ".join(str(error).split())
    print(f"mirrorproxy: {line}", file=sys.stderr)
