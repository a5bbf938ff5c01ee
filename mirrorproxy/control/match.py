"""Match: what hosts and paths a Traefik rule is for, as the globs that a mirror routes by.

Pure. Understands Host, Path and PathPrefix with ``&&``, ``||`` and brackets, in
the spelling of Traefik 2 and 3, and says None for everything else: a glob that
took more than the rule would send one app's requests to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"\s*(?:(?P<mark>&&|\|\||[()!,])|(?P<name>[A-Za-z]+)|`(?P<raw>[^`]*)`|\"(?P<text>[^\"\\]*)\")"
)
_HOST = re.compile(r"[A-Za-z0-9._\-]+")
_MAX_TOKENS = 512
_MAX_CASES = 64
_MAX_DEPTH = 32


class _Case(NamedTuple):
    """One way to fit a rule. None: whatever it is."""

    hosts: frozenset[str] | None
    paths: frozenset[str] | None


class _NotExpressibleError(Exception):
    """The rule asks for more than hosts and paths."""


def globs_of(rules: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Return hosts and path globs that together take exactly what any of the rules takes.

    Empty takes all, as in `capture.routes`. None when hosts times paths cannot say it.
    """
    try:
        cases = {case for rule in rules for case in _Parser(rule).parse()}
    except _NotExpressibleError:
        return None
    if not cases:
        return None
    all_hosts, all_paths = {case.hosts for case in cases}, {case.paths for case in cases}
    if len(all_hosts) > 1 and len(all_paths) > 1:
        return None
    return _union(all_hosts), _union(all_paths)


def hosts_of(rule: str) -> frozenset[str] | None:
    """Return the only hosts that a rule can take, in lower case; None for any, or not known."""
    try:
        cases = _Parser(rule).parse()
    except _NotExpressibleError:
        return None
    hosts: frozenset[str] = frozenset()
    for case in cases:
        if case.hosts is None:
            return None
        hosts |= case.hosts
    return hosts


def _union(sets: Iterable[frozenset[str] | None]) -> tuple[str, ...]:
    joined: set[str] = set()
    for one in sets:
        if one is None:
            return ()
        joined |= one
    return tuple(sorted(joined))


class _Parser:
    """Recursive descent over one rule; && binds before ||. Bounded in depth and size."""

    def __init__(self, rule: str) -> None:
        self._tokens = list(_tokens(rule))
        self._at = 0
        self._depth = 0

    def parse(self) -> list[_Case]:
        cases = self._any()
        if self._at != len(self._tokens):
            raise _NotExpressibleError
        return cases

    def _any(self) -> list[_Case]:
        cases = self._all()
        while self._take("mark", "||"):
            cases = cases + self._all()
        if len(cases) > _MAX_CASES:
            raise _NotExpressibleError
        return cases

    def _all(self) -> list[_Case]:
        cases = self._one()
        while self._take("mark", "&&"):
            right = self._one()
            if len(cases) * len(right) > _MAX_CASES:
                raise _NotExpressibleError
            joined = [_both(a, b) for a in cases for b in right]
            cases = [case for case in joined if case is not None]
        return cases

    def _one(self) -> list[_Case]:
        if self._take("mark", "("):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise _NotExpressibleError
            cases = self._any()
            self._expect(")")
            self._depth -= 1
            return cases
        name = self._take("name")
        if name is None:
            raise _NotExpressibleError
        self._expect("(")
        values = [self._value()]
        while self._take("mark", ","):
            values.append(self._value())
        self._expect(")")
        return [_leaf(name.lower(), values)]

    def _value(self) -> str:
        value = self._take("raw")
        if value is None:
            value = self._take("text")
        if value is None:
            raise _NotExpressibleError
        return value

    def _expect(self, mark: str) -> None:
        if self._take("mark", mark) is None:
            raise _NotExpressibleError

    def _take(self, kind: str, text: str | None = None) -> str | None:
        if self._at == len(self._tokens):
            return None
        found, value = self._tokens[self._at]
        if found != kind or (text is not None and value != text):
            return None
        self._at += 1
        return value


def _tokens(rule: str) -> Iterator[tuple[str, str]]:
    at, rule = 0, rule.strip()
    for _ in range(_MAX_TOKENS):
        if at == len(rule):
            return
        found = _TOKEN.match(rule, at)
        if found is None or found.lastgroup is None:
            break
        at = found.end()
        yield found.lastgroup, found[found.lastgroup]
    raise _NotExpressibleError


def _leaf(name: str, values: list[str]) -> _Case:
    if name == "host" and all(_HOST.fullmatch(value) for value in values):
        return _Case(frozenset(value.lower() for value in values), None)
    plain = all(value.startswith("/") and not set(value) & set("*?{}") for value in values)
    if name == "path" and plain:
        return _Case(None, frozenset(values))
    if name == "pathprefix" and plain:
        if "/" in values:
            return _Case(None, None)
        # The prefix may end within a segment: `/api` takes `/apis` too.
        return _Case(None, frozenset(f"{value}*/**" for value in values))
    raise _NotExpressibleError


def _both(a: _Case, b: _Case) -> _Case | None:
    """Return what fits both, None when nothing can."""
    hosts = a.hosts if b.hosts is None else b.hosts if a.hosts is None else a.hosts & b.hosts
    if hosts is not None and not hosts:
        return None
    if a.paths is not None and b.paths is not None and a.paths != b.paths:
        raise _NotExpressibleError
    return _Case(hosts, b.paths if a.paths is None else a.paths)
