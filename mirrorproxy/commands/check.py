"""``mirrorproxy check``: is a rule file good, and what would it do? Never sends anything.

Nothing that a credential was replaced with is printed: the query is shown as
it was captured, sealed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mirrorproxy.codec import MalformedRecord
from mirrorproxy.commands.decoding import Decoder, Told, body_reader
from mirrorproxy.commands.replay_correlation import bodies_hint
from mirrorproxy.commands.rules import schema_text
from mirrorproxy.correlation.tally import Tally
from mirrorproxy.errors import ConfigError
from mirrorproxy.marks import contains_mark
from mirrorproxy.record import Exchange
from mirrorproxy.report.printable import printable
from mirrorproxy.rules.facts import BodyUnreadError, split_target
from mirrorproxy.rules.lineage import Lineage
from mirrorproxy.rules.load import load_rules
from mirrorproxy.rules.offered import Offered
from mirrorproxy.rules.plan import (
    SKIP_NO_CREDENTIAL,
    SKIP_UNREADABLE,
    Plan,
    plan,
    with_body,
)
from mirrorproxy.rules.ruleset import Decision, RuleSet
from mirrorproxy.shot import Shot
from mirrorproxy.sources.events import Captured, CaptureObject, Unreadable
from mirrorproxy.sources.reading import read_capture

EXIT_LOST = 1

DESCRIPTION = """\
Validate a rule file. With a capture beside it, say for every exchange which rule takes it and
what would be sent where. Nothing is sent, and no secret is printed.
"""

EPILOG = """\
examples:
  mirrorproxy check rules.yaml
  mirrorproxy check rules.yaml ./capture
  mirrorproxy check rules.yaml ./capture --json | head -1
  mirrorproxy check --schema > rules.schema.json

exit status: 0 the rules are good, 1 a part of the capture was damaged, 2 a mistake
"""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command's options."""
    parser = subparsers.add_parser(
        "check",
        help="validate a rule file and say what it would do, without sending",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rules", nargs="?", metavar="RULES", help="a rule file")
    parser.add_argument(
        "source", nargs="*", metavar="SOURCE", help="a directory, files, or - for standard input"
    )
    parser.add_argument(
        "--target", metavar="URL", help="takes the place of the URL of the file's one target"
    )
    parser.add_argument(
        "--auth-env",
        metavar="NAME",
        help="the environment variable with a bearer token for the file's one target",
    )
    parser.add_argument(
        "--seed", default="replay", help="as given to replay, for sampling by session"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one object a line: an exchange and its shots"
    )
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of rule files, for editors"
    )


def run(args: argparse.Namespace) -> int:
    """Check; 1 if a part of the capture could not be read."""
    if args.schema:
        print(schema_text())
        return 0
    if args.rules is None:
        raise ConfigError("name a rule file", file="check")
    rules = load_rules(
        Path(args.rules), os.environ, target_url=args.target, bearer=_bearer(args.auth_env)
    )
    if args.source:
        return _Preview(rules, args.seed, as_json=args.json).show(args.source)
    print(
        f"{printable(args.rules)}: good; {_counted(len(rules.targets), 'target')}, "
        f"{_counted(len(rules.names), 'rule')}"
    )
    for decision in rules.decisions:
        print(printable(f"{decision.rule}: {described(decision)}"))
    return 0


def _bearer(name: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    if name is None:
        return None
    if name not in environ:
        raise ConfigError(f"the environment variable {name} is not set", file="--auth-env")
    return environ[name]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def described(decision: Decision) -> str:
    """Return what a rule does, for people, without a value that may be secret."""
    if not decision.targets:
        return "skip"
    share = ""
    if decision.percent != 100:
        share = f"{decision.percent:g} % by {'session' if decision.by_session else 'id'} "
    text = f"send {share}to {', '.join(target.name for target in decision.targets)}"
    if decision.rate is not None:
        text += f", at most {decision.rate:g}/s"
    if decision.without_body:
        text += ", without a body that was not logged"
    if decision.rewriter.changes:
        text += f"; rewrite {', '.join(decision.rewriter.changes)}"
    if decision.comparing.is_off:
        text += "; not compared"
    return text


class _Preview:
    """Plans a capture and prints what would become of it."""

    def __init__(self, rules: RuleSet, seed: str, *, as_json: bool) -> None:
        self._rules = rules
        self._seed = seed
        self._as_json = as_json
        self._decode = Decoder(keeps_secrets=rules.sends_logged_credentials)
        self._shots: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._unreadable = 0
        self._told = Told()
        self._offered = Offered()
        self._tally = Tally()
        self._lineage = Lineage() if rules.follows_tokens else None

    def show(self, specs: list[str]) -> int:
        """Print every exchange, then the sums; return the exit status."""
        for event in read_capture(specs, decode=self._decode):
            if isinstance(event, Captured):
                self._exchange(event.exchange, event.source)
            elif isinstance(event, Unreadable):
                self._unread(str(event), is_shown=self._told.is_new(event))
        if not self._as_json:
            self._sums()
        return EXIT_LOST if self._unreadable else 0

    def _unread(self, what: str, *, is_shown: bool = True) -> None:
        self._unreadable += 1
        if is_shown:
            print(f"mirrorproxy: {printable(what)}", file=sys.stderr)

    def _exchange(self, exchange: Exchange, source: CaptureObject) -> None:
        session = None
        if self._lineage is not None:
            session = self._lineage.session(exchange, self._rules.session_key(exchange))
        try:
            planned = plan(
                exchange,
                self._rules,
                self._seed,
                "check",
                read_body=body_reader(source),
                offered=self._offered,
                session=session,
            )
        except MalformedRecord as error:
            self._unread(f"{exchange.id}: {error}")
            return
        planned = _with_bodies(planned, source)
        self._offered.add(planned.shots)
        for shot in planned.shots:
            self._tally.look(shot)
        # What is sent in the clear by the rules' choice is not for showing.
        exchange = self._decode.sealed(exchange)
        rule = "no rule" if planned.rule is None else planned.rule
        self._shots[rule] += len(planned.shots)
        if planned.skipped is not None:
            self._skipped[planned.skipped] += 1
        if self._as_json:
            print(msgspec.json.encode(_described(exchange, planned)).decode())
            return
        head = f"{exchange.id} {exchange.request.method} {exchange.request.target}"
        print(printable(f"{head}: {_outcome(exchange, planned, rule)}"))

    def _sums(self) -> None:
        print()
        for rule, shots in sorted(self._shots.items()):
            if shots:
                print(printable(f"{rule}: {_counted(shots, 'shot')}"))
        for reason, count in sorted(self._skipped.items()):
            print(f"skipped, {reason}: {count}")
        if self._skipped[SKIP_NO_CREDENTIAL]:
            print(
                "hint: auth in the rules, or --auth-env NAME, replaces sealed credentials; "
                "one in a body needs a table"
            )
        for line in bodies_hint(self._tally):
            print(line)


def _with_bodies(planned: Plan, source: CaptureObject) -> Plan:
    """Return a plan without the shots whose body, which lies apart, can't be rewritten."""
    read = body_reader(source)
    shots: list[Shot] = []
    left_out = list(planned.left_out)
    for shot in planned.shots:
        reason = None
        if shot.edit_body is not None and shot.body_ref is not None:
            try:
                filled = with_body(shot, read(shot.body_ref))
            except BodyUnreadError:
                reason = SKIP_UNREADABLE
            else:
                reason = filled if isinstance(filled, str) else None
        if reason is None:
            shots.append(shot)
        else:
            left_out.append((shot.target, reason))
    if len(shots) == len(planned.shots):
        return planned
    skipped = None if shots else left_out[-1][1]
    return planned._replace(shots=tuple(shots), skipped=skipped, left_out=tuple(left_out))


def _outcome(exchange: Exchange, planned: Plan, rule: str) -> str:
    if planned.skipped is not None:
        by = "" if planned.rule is None else f" ({planned.rule})"
        return f"skipped, {planned.skipped}{by}"
    sent = [f"{shot.target} {shot.method} {_url(exchange, shot)}" for shot in planned.shots]
    left = [f"not to {target}, {reason}" for target, reason in planned.left_out]
    return f"{rule} -> {'; '.join(sent + left)}"


def _described(exchange: Exchange, planned: Plan) -> dict[str, object]:
    return {
        "id": exchange.id,
        "method": exchange.request.method,
        "target": exchange.request.target,
        "rule": planned.rule,
        "skipped": planned.skipped,
        "shots": [
            {
                "target": shot.target,
                "copy": shot.copy,
                "method": shot.method,
                "url": _url(exchange, shot),
                "headers": [name for name, _ in shot.headers],
                "body_bytes": len(shot.body) or shot.body_bytes,
                "session": shot.session,
            }
            for shot in planned.shots
        ],
        "left_out": [{"target": target, "reason": reason} for target, reason in planned.left_out],
    }


def _url(exchange: Exchange, shot: Shot) -> str:
    """Return a shot's URL without what was put in for a sealed value."""
    captured_path, query = split_target(exchange.request.target)
    path = captured_path if contains_mark(captured_path) else shot.path.partition("?")[0]
    scheme, host, port = shot.origin
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{path}{query}"
