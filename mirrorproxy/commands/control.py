"""``mirrorproxy control``: change a running capture or replay, or show what it is set to.

Owns the words of the command line and what is printed. What they do is done by
the process that is asked, over `POST /control` of its admin server.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
from pathlib import Path
from typing import Any

from mirrorproxy.capture.listeners import Address, parse_address
from mirrorproxy.errors import ConfigError, MirrorproxyError

DEFAULT_ADMIN = "127.0.0.1:9808"
TIMEOUT_S = 10.0
_MAX_ANSWER = 1 << 20

DESCRIPTION = """\
Change a capture or a replay while it runs, or show what it is set to. The values as they are
then are printed as JSON, with the last changes and who made them.
"""

EPILOG = """\
examples:
  mirrorproxy control percent 25
      the capture on this machine records a quarter from now on

  mirrorproxy control --admin 127.0.0.1:9809 rate 50
      the replay whose admin server is there sends half of what it planned, at once

  mirrorproxy control --admin 127.0.0.1:9809 show | jq .state
      what it does now: run, pause or stop

exit status: 0 done, 1 nobody answers there, 2 a mistake in options, or refused
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "control",
        help="change a running capture or replay",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_address(parser, DEFAULT_ADMIN, None)
    words = parser.add_subparsers(title="what", metavar="WHAT", dest="what", required=True)
    percent = words.add_parser("percent", help="of a capture: record this share, 0 to 100")
    percent.add_argument("value", metavar="N", type=float)
    percent.add_argument("--service", metavar="NAME", help="of this service alone")
    rate = words.add_parser(
        "rate", help="of a replay: send this share of what it planned, 0 to 100"
    )
    rate.add_argument("value", metavar="N", type=float)
    words.add_parser("pause", help="of a replay: send nothing more for now")
    words.add_parser("resume", help="of a replay: go on where it was paused")
    words.add_parser("stop", help="of a replay: end in good order, as Ctrl-C does")
    words.add_parser("show", help="print the values, change nothing")
    for word in words.choices.values():
        # Behind the word as well, and what stands before it is not forgotten for that.
        _add_address(word, argparse.SUPPRESS, argparse.SUPPRESS)


def _add_address(parser: argparse.ArgumentParser, admin: str, token_file: str | None) -> None:
    add = parser.add_argument
    add("--admin", metavar="HOST:PORT", default=admin, help=f"default: {DEFAULT_ADMIN}")
    add(
        "--token-file", metavar="FILE", default=token_file, help="the one of its --admin-token-file"
    )


def run(args: argparse.Namespace) -> int:
    """Ask; print the values; return the exit status.

    Raises ConfigError for a mistake or a refusal, MirrorproxyError if nobody answers.
    """
    try:
        address = parse_address(args.admin)
    except ValueError as error:
        raise ConfigError(str(error), file="--admin") from None
    headers = {"Content-Type": "application/json"}
    if args.token_file is not None:
        headers["Authorization"] = f"Bearer {_token(args.token_file)}"
    change = change_of(args)
    status, answer = _ask(address, None if change is None else json.dumps(change), headers)
    if status != http.HTTPStatus.OK:
        raise ConfigError(_line(status, answer), file=str(address))
    sys.stdout.write(answer)
    return 0


def change_of(args: argparse.Namespace) -> dict[str, object] | None:
    """Return what to send, None to change nothing."""
    match args.what:
        case "percent":
            service = {} if args.service is None else {"service": args.service}
            return {"percent": args.value, **service}
        case "rate":
            return {"rate_percent": args.value}
        case "resume":
            return {"state": "run"}
        case "pause" | "stop":
            return {"state": args.what}
    return None


def _ask(address: Address, body: str | None, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET" if body is None else "POST", "/control", body, headers)
        response = connection.getresponse()
        return response.status, response.read(_MAX_ANSWER).decode("utf-8", "replace")
    except OSError as error:
        reason = error.strerror or "no answer in time"
        raise MirrorproxyError(f"{address}: {reason}; is it running, with --admin?") from error
    except http.client.HTTPException as error:
        raise MirrorproxyError(f"{address}: what answers there is no mirrorproxy") from error
    finally:
        connection.close()


def _line(status: int, answer: str) -> str:
    """Return why it was refused, as the server says it."""
    if status == http.HTTPStatus.NOT_FOUND:
        return "nothing can be changed there"
    text = " ".join(answer.split())[:300]
    return "".join(c for c in text if c.isprintable()) or f"refused with status {status}"


def _token(path: str) -> str:
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "a token is plain ASCII"
        raise ConfigError(f"{path}: {reason}", file="--token-file") from error
    if not token.isprintable() or not token:
        raise ConfigError(f"{path}: holds no token", file="--token-file")
    return token
