"""The options that choose exchanges by what was captured: their text, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from msgspec import UNSET, UnsetType

from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Exchange
from mirrorproxy.rules.match import compile_match, matches
from mirrorproxy.rules.patterns import Fault
from mirrorproxy.rules.schema import Match
from mirrorproxy.yamlfile import convert, dotted, load


def add_filter_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `filter_of` reads them."""
    chosen = parser.add_argument_group(
        "filters",
        "as in a rule's match, on what was captured; repeat an option for either of several",
    )
    chosen.add_argument("--service", action="append", metavar="GLOB")
    chosen.add_argument("--via", action="append", metavar="GLOB")
    chosen.add_argument("--method", action="append", metavar="GLOB")
    chosen.add_argument("--host", action="append", metavar="GLOB")
    chosen.add_argument(
        "--path", action="append", metavar="GLOB", help="* within a segment, ** beyond"
    )
    chosen.add_argument(
        "--status", action="append", metavar="STATUS", help="such as 201, 5xx or 400-499"
    )
    chosen.add_argument(
        "--match", metavar="YAML", help="any match of a rule, such as '{query: {page: true}}'"
    )


def filter_of(args: argparse.Namespace) -> Callable[[Exchange], bool]:
    """Return what tells whether an exchange was asked for. Raises ConfigError."""
    match = Match(
        service=_given(args.service),
        via=_given(args.via),
        method=_given(args.method),
        host=_given(args.host),
        path=_given(args.path),
        status=_given(args.status),
    )
    try:
        plain = compile_match(match)
    except Fault as fault:
        raise ConfigError(fault.message, file=f"--{fault.at[0]}" if fault.at else None) from None
    if args.match is None:
        return lambda exchange: matches(plain, exchange)
    document = load(args.match, name="--match")
    try:
        further = compile_match(convert(document, Match))
    except Fault as fault:
        raise ConfigError(fault.message, file="--match", key=dotted(fault.at)) from None
    return lambda exchange: matches(plain, exchange) and matches(further, exchange)


def _given(values: list[Any] | None) -> list[Any] | UnsetType:
    return UNSET if values is None else values
