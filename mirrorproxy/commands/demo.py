"""``mirrorproxy demo``: see it work on this machine, without any other part."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mirrorproxy.demo.show import show, verdict_lines
from mirrorproxy.demo.story import Places, tell
from mirrorproxy.errors import ConfigError

_PIPE_WIDTH = 120

DESCRIPTION = """\
Start a small orders application twice, as production and as staging, each with its own
data, users and tokens; record what two clients do to production; replay it into staging
with staging's tokens; show what both hold. Takes some seconds, ends by itself and leaves
nothing behind but the files it names.
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "demo",
        help="capture and replay two small applications on this machine",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dir",
        metavar="DIR",
        type=Path,
        help="where to leave the files: a new or empty directory (default: a temporary one)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 if staging ended as it should."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    places = Places(_directory(args.dir))
    facts = asyncio.run(tell(places, lambda line: console.print(Text(f"- {line}"), soft_wrap=True)))
    show(facts, places, console)
    return 0 if all(is_well for _, is_well in verdict_lines(facts)) else 1


def _directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="mirrorproxy-demo-"))
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if any(wanted.iterdir()):
            raise ConfigError("the directory is not empty", file=str(wanted))
    except OSError as error:
        raise ConfigError(
            f"no directory can be made: {error.strerror}", file=str(wanted)
        ) from error
    return wanted.resolve()
