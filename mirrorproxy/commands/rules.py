"""``mirrorproxy rules``: what a rule file may hold, for editors."""

from __future__ import annotations

import argparse
from typing import Any

import msgspec

from mirrorproxy.rules.schema import json_schema

DESCRIPTION = """\
What a rule file may hold. `schema` prints it as a JSON Schema, with which editors complete and
check rule files; `mirrorproxy check` validates one.
"""

EPILOG = """\
examples:
  mirrorproxy rules schema > rules.schema.json
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "rules",
        help="print what a rule file may hold, for editors",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["schema"], help="print the JSON Schema of rule files")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    print(schema_text())
    return 0


def schema_text() -> str:
    """Return the JSON Schema of rule files as text."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode()
