"""Rewrites: what a rule changes in a request on its way.

Pure. Compiled once; works on the path and the headers, after credentials were
put in, so that what the user sets by hand has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from mirrorproxy.rules.facts import host_of
from mirrorproxy.rules.heads import Header, set_header
from mirrorproxy.rules.offers import checked_header
from mirrorproxy.rules.patterns import (
    Fault,
    KeyPath,
    Kind,
    Test,
    compile_patterns,
    compile_regex,
    compile_template,
)
from mirrorproxy.rules.schema import HeaderRewrite, PathRewrite, Patterns, Rewrite

_PATH_TEXT = re.compile(r"[!-\"$->@-~\x80-\xff]*")
"""What may stand in a path: visible characters, neither ``?`` nor ``#``."""


class Rewriter(NamedTuple):
    """A compiled rewrite. host: the Host header, None to leave it to the target."""

    host: str | None = None
    paths: tuple[Callable[[str], str], ...] = ()
    removed: Test | None = None
    set: tuple[tuple[str, str], ...] = ()

    def path(self, path: str) -> str:
        """Return the path as it is to be sent; it always begins with a slash."""
        for change in self.paths:
            path = change(path)
        return path if path.startswith("/") or path == "*" else f"/{path}"

    def headers(self, headers: list[Header]) -> list[Header]:
        """Return the headers with some taken out, then some set."""
        if self.removed is not None:
            is_removed = self.removed
            headers = [header for header in headers if not is_removed(header[1])]
        for name, value in self.set:
            headers = set_header(headers, name, value)
        return headers


KEEP = Rewriter()
"""Changes nothing."""


def compile_rewrite(rewrite: Rewrite | UnsetType, at: KeyPath) -> Rewriter:
    """Return a rewrite ready to use. Raises Fault."""
    if rewrite is UNSET:
        return KEEP
    host = None
    if rewrite.host is not UNSET:
        host = rewrite.host
        if not host_of(host) or not re.fullmatch(r"[!-.0-~]+", host) or "@" in host:
            raise Fault(
                "expected a host such as api.example.com or api.example.com:8443", (*at, "host")
            )
    paths: list[Callable[[str], str]] = []
    if rewrite.path is not UNSET:
        changes = rewrite.path if isinstance(rewrite.path, list) else [rewrite.path]
        for index, change in enumerate(changes):
            where = (*at, "path", index) if isinstance(rewrite.path, list) else (*at, "path")
            paths.append(_compile_path(change, where))
    headers = HeaderRewrite() if rewrite.headers is UNSET else rewrite.headers
    for name, value in headers.set.items():
        checked_header(name, value, (*at, "headers", "set", name))
    removed = None
    if headers.remove:
        globs: Patterns = headers.remove if isinstance(headers.remove, str) else [*headers.remove]
        removed = compile_patterns(globs, Kind.FOLDED, (*at, "headers", "remove"))
    return Rewriter(host, tuple(paths), removed, tuple(headers.set.items()))


def _compile_path(change: PathRewrite, at: KeyPath) -> Callable[[str], str]:
    pattern = compile_regex(change.from_, (*at, "from"), capture=True)
    if not _PATH_TEXT.fullmatch(change.to):
        raise Fault("holds a character that a path can't: a space, ?, # or control", (*at, "to"))
    fill = compile_template(change.to, pattern.groups, (*at, "to"))

    def rewrite(path: str) -> str:
        text = path.encode("utf-8", "replace")
        if pattern.search(text) is None:
            return path
        return pattern.subn(fill, text)[0].decode("utf-8", "replace")

    return rewrite
