"""Matching: which exchanges a rule takes.

Pure. A match is compiled once into a test; tests see the exchange as it was
captured, never what a rewrite made of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from mirrorproxy.record import Exchange
from mirrorproxy.rules.conditions import (
    client_test,
    content_type_test,
    credential_test,
    json_test,
    size_test,
    time_test,
)
from mirrorproxy.rules.facts import Facts
from mirrorproxy.rules.patterns import (
    Fault,
    KeyPath,
    Kind,
    Test,
    compile_patterns,
    each,
    fold,
    literal_prefix,
)
from mirrorproxy.rules.presence import compile_presence
from mirrorproxy.rules.schema import Match, Patterns

__all__ = ["Matcher", "compile_match", "compile_presence", "matches"]

FactsTest = Callable[[Facts], bool]

_STATUS = re.compile(r"([1-5][0-9]{2})(?:\s*-\s*([1-5][0-9]{2}))?|([1-5])xx")


class Matcher(NamedTuple):
    """A compiled match.

    services, methods: the only ones (methods in upper case) it can take; None
    for any. prefixes: a path that it takes begins with one of these. test: the
    rest, to be asked only when those hold; None if nothing is left.
    """

    services: frozenset[str] | None
    methods: frozenset[str] | None
    prefixes: tuple[str, ...]
    test: FactsTest | None

    def takes(self, facts: Facts) -> bool:
        """Tell whether the exchange fits."""
        return self.concerns(facts.exchange) and self.fits(facts)

    def concerns(self, exchange: Exchange) -> bool:
        """Tell whether service and method can fit."""
        return (self.services is None or exchange.service in self.services) and (
            self.methods is None or exchange.request.method.upper() in self.methods
        )

    def fits(self, facts: Facts) -> bool:
        """Tell whether all but service and method fits."""
        return facts.path.startswith(self.prefixes) and (self.test is None or self.test(facts))


def matches(matcher: Matcher, exchange: Exchange) -> bool:
    """Tell whether an exchange fits."""
    return matcher.takes(Facts(exchange))


def compile_match(match: Match | UnsetType, at: KeyPath = ()) -> Matcher:
    """Return a match ready to use; without one everything fits. Raises Fault."""
    if match is UNSET:
        return Matcher(None, None, ("",), None)
    services = _exact(match.service, Kind.TEXT)
    methods = _exact(match.method, Kind.FOLDED)
    tests: list[FactsTest] = []
    if match.service is not UNSET and services is None:
        tests.append(_service(compile_patterns(match.service, Kind.TEXT, (*at, "service"))))
    if match.method is not UNSET and methods is None:
        tests.append(_method(compile_patterns(match.method, Kind.FOLDED, (*at, "method"))))
    if match.status is not UNSET:
        tests.append(_status(match.status, (*at, "status")))
    if match.via is not UNSET:
        tests.append(_via(compile_patterns(match.via, Kind.TEXT, (*at, "via"))))
    if match.host is not UNSET:
        tests.append(_host(compile_patterns(match.host, Kind.FOLDED, (*at, "host"))))
    if match.headers is not UNSET:
        for name, wanted in match.headers.items():
            test = compile_presence(wanted, (*at, "headers", name))
            tests.append(_header(name.lower(), test))
    if match.query is not UNSET:
        for name, wanted in match.query.items():
            tests.append(_query(name, compile_presence(wanted, (*at, "query", name))))
    if match.time is not UNSET:
        tests.append(time_test(match.time, (*at, "time")))
    if match.size is not UNSET:
        tests.append(size_test(match.size, (*at, "size")))
    if match.content_type is not UNSET:
        tests.append(content_type_test(match.content_type, (*at, "content_type")))
    if match.client is not UNSET:
        tests.append(client_test(match.client, (*at, "client")))
    if match.credential is not UNSET:
        tests.append(credential_test(match.credential, (*at, "credential")))
    # The dearest come last: a path may need a regular expression.
    if match.path is not UNSET and not _is_prefix_alone(match.path):
        tests.append(_path(compile_patterns(match.path, Kind.PATH, (*at, "path"))))
    tests += _combined(match, at)
    # A body may have to be read from a file first.
    if match.json is not UNSET:
        for path, wanted in match.json.items():
            tests.append(json_test(path, wanted, (*at, "json", path)))
    return Matcher(
        services,
        frozenset(method.upper() for method in methods) if methods is not None else None,
        _prefixes(match.path),
        _conjunction(tests),
    )


def _exact(patterns: Patterns | UnsetType, kind: Kind) -> frozenset[str] | None:
    """Return the literals that patterns consist of; None if they are anything else."""
    if patterns is UNSET:
        return None
    found = set()
    for one in patterns if isinstance(patterns, list) else [patterns]:
        if not isinstance(one, str) or not one or "*" in one or "?" in one:
            return None
        found.add(fold(one, kind))
    return frozenset(found) or None


def _is_prefix_alone(path: Patterns) -> bool:
    """Tell whether the prefix says it all: ``/**`` is every path, as is ``**``."""
    return path in ("/**", "**")


def _prefixes(path: Patterns | UnsetType) -> tuple[str, ...]:
    if path is UNSET or _is_prefix_alone(path):
        return ("",)
    found = {literal_prefix(one) for one, _ in each(path, ())}
    return ("",) if "" in found else tuple(sorted(found))


def _service(test: Test) -> FactsTest:
    return lambda facts: test(facts.exchange.service)


def _method(test: Test) -> FactsTest:
    return lambda facts: test(facts.exchange.request.method.lower())


def _path(test: Test) -> FactsTest:
    return lambda facts: test(facts.path)


def _via(test: Test) -> FactsTest:
    return lambda facts: test(facts.exchange.via)


def _host(test: Test) -> FactsTest:
    return lambda facts: test(facts.host)


def _header(name: str, test: Callable[[list[str]], bool]) -> FactsTest:
    return lambda facts: test(facts.headers.get(name, []))


def _query(name: str, test: Callable[[list[str]], bool]) -> FactsTest:
    return lambda facts: test(facts.query.get(name, []))


def _status(wanted: int | str | list[int | str], at: KeyPath) -> FactsTest:
    statuses: set[int] = set()
    for index, one in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        where = (*at, index) if isinstance(wanted, list) else at
        found = _STATUS.fullmatch(str(one))
        if found is None:
            raise Fault("expected a status such as 201, 5xx or 400-404", where)
        if found[3]:
            statuses.update(range(int(found[3]) * 100, int(found[3]) * 100 + 100))
        else:
            low, high = int(found[1]), int(found[2] or found[1])
            if high < low:
                raise Fault("the second status of a range is below the first", where)
            statuses.update(range(low, high + 1))
    if not statuses:
        raise Fault("an empty list matches nothing", at)

    def test(facts: Facts) -> bool:
        response = facts.exchange.response
        return response is not None and response.status in statuses

    return test


def _combined(match: Match, at: KeyPath) -> list[FactsTest]:
    tests: list[FactsTest] = []
    for key, wanted, decide in (("any", match.any, any), ("all", match.all, all)):
        if wanted is not UNSET:
            if not wanted:
                raise Fault("an empty list matches nothing", (*at, key))
            parts = [compile_match(one, (*at, key, index)) for index, one in enumerate(wanted)]
            tests.append(_several(parts, decide))
    if match.not_ is not UNSET:
        tests.append(_negated(compile_match(match.not_, (*at, "not"))))
    return tests


def _several(parts: list[Matcher], decide: Callable[..., bool]) -> FactsTest:
    return lambda facts: decide(part.takes(facts) for part in parts)


def _negated(part: Matcher) -> FactsTest:
    return lambda facts: not part.takes(facts)


def _conjunction(tests: list[FactsTest]) -> FactsTest | None:
    if len(tests) < 2:
        return tests[0] if tests else None
    if len(tests) == 2:
        one, two = tests
        return lambda facts: one(facts) and two(facts)
    return lambda facts: all(test(facts) for test in tests)
