"""Patterns from files: globs and regular expressions that can't hang a replay.

Pure. Plain globs become string comparisons; all else runs on RE2, whose time
is linear in the text whatever the pattern (docs/decisions/regex.md).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Protocol

import re2  # type: ignore[import-untyped,unused-ignore]

from mirrorproxy.rules.schema import Patterns, Regex

Test = Callable[[str], bool]
KeyPath = tuple[str | int, ...]

_MAX_PROGRAM_BYTES = 1 << 20
_MAX_LENGTH = 2_000
_META = frozenset(".^$*+?()[]{}|\\")
_REFERENCE = re.compile(r"\$(\$|[0-9])?")


class Fault(Exception):
    """A mistake in a rule file: what is wrong, and the path of the key it stands in."""

    def __init__(self, message: str, at: KeyPath) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class _Match(Protocol):
    def __getitem__(self, group: int) -> bytes | None: ...


class Compiled(Protocol):
    """The part of an RE2 pattern over UTF-8 bytes that is used."""

    @property
    def groups(self) -> int:
        """How many groups it captures."""

    def search(self, text: bytes) -> _Match | None:
        """Return the first match."""

    def subn(self, repl: Callable[[_Match], bytes], text: bytes) -> tuple[bytes, int]:
        """Return text with every match replaced, and how many there were."""


class Kind(enum.Enum):
    """What ``*`` and case mean in a glob.

    PATH: ``*`` stays within a segment, ``**`` does not. TEXT: ``*`` is
    anything. FOLDED: like TEXT, whatever the case; the text must come in lower case.
    """

    PATH = "path"
    TEXT = "text"
    FOLDED = "folded"


def compile_regex(text: str, at: KeyPath, *, capture: bool = False) -> Compiled:
    """Return a compiled regular expression over UTF-8 bytes.

    capture: whether groups are needed; without it matching is faster. Raises
    Fault with RE2's own reason, without the part of the pattern that it names:
    the pattern may hold what ``${NAME}`` put in.
    """
    if len(text) > _MAX_LENGTH:
        raise Fault(f"a regular expression of more than {_MAX_LENGTH} characters", at)
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PROGRAM_BYTES
    options.never_capture = not capture
    try:
        compiled: Compiled = re2.compile(text.encode("utf-8", "replace"), options)
    except re2.error as error:
        raise Fault(f"not a regular expression of RE2: {_reason(error)}", at) from error
    return compiled


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else b""
    text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
    return text.partition(": ")[0]


def compile_patterns(patterns: Patterns, kind: Kind, at: KeyPath) -> Test:
    """Return a test that tells whether any of the patterns fits a text.

    Raises Fault for an empty list, an empty glob or a bad regular expression.
    """
    tests = [_compile_one(one, kind, where) for one, where in each(patterns, at)]
    if len(tests) == 1:
        return tests[0]
    literals = {one for one, _ in each(patterns, at) if isinstance(one, str)}
    if len(literals) == len(tests) and not any("*" in one or "?" in one for one in literals):
        known = frozenset(fold(one, kind) for one in literals)
        return known.__contains__
    return lambda text: any(test(text) for test in tests)


def each(patterns: Patterns, at: KeyPath) -> list[tuple[str | Regex, KeyPath]]:
    """Return each pattern with the path of its key; Fault if there is none."""
    if not isinstance(patterns, list):
        return [(patterns, at)]
    if not patterns:
        raise Fault("an empty list matches nothing", at)
    return [(one, (*at, index)) for index, one in enumerate(patterns)]


def fold(text: str, kind: Kind) -> str:
    """Return a literal as it is compared."""
    return text.lower() if kind is Kind.FOLDED else text


def _compile_one(pattern: str | Regex, kind: Kind, at: KeyPath) -> Test:
    if isinstance(pattern, Regex):
        prefix = "(?i)" if kind is Kind.FOLDED else ""
        compiled = compile_regex(prefix + pattern.regex, (*at, "regex"))
        return _searching(compiled, fold(literal_start(pattern.regex), kind))
    glob = fold(pattern, kind)
    if not glob:
        raise Fault("an empty pattern", at)
    if "*" not in glob and "?" not in glob:
        return glob.__eq__
    simple = _simple_path(glob) if kind is Kind.PATH else _simple_text(glob)
    if simple is not None:
        return simple
    search = compile_regex(_glob_regex(glob, kind), at).search
    # RE2 costs ten times what it costs to see that the longest plain piece is missing.
    piece = max(re.split(r"/\*\*|\*\*/|[*?]", glob), key=len)
    return lambda text: piece in text and search(text.encode("utf-8", "replace")) is not None


def _searching(compiled: Compiled, piece: str) -> Test:
    search = compiled.search
    return lambda text: piece in text and search(text.encode("utf-8", "replace")) is not None


def _simple_path(glob: str) -> Test | None:
    stem = glob.removesuffix("/**")
    if stem == glob or "*" in stem or "?" in stem:
        return None
    below = stem + "/"
    return lambda text: text.startswith(below) or text == stem


def _simple_text(glob: str) -> Test | None:
    inner = glob.strip("*")
    if "*" in inner or "?" in inner:
        return None
    if not inner:
        return lambda _text: True
    if not glob.endswith("*"):
        return lambda text: text.endswith(inner)
    if not glob.startswith("*"):
        return lambda text: text.startswith(inner)
    return lambda text: inner in text


_GLOB_PIECE = re.compile(r"/\*\*(?=/|$)|^\*\*/|\*+|\?|[^*?/]+|/")


def _glob_regex(glob: str, kind: Kind) -> str:
    one = "[^/]" if kind is Kind.PATH else "."
    parts = []
    for piece in _GLOB_PIECE.findall(glob):
        if kind is Kind.PATH and piece == "/**":
            parts.append("(?:/.*)?")
        elif kind is Kind.PATH and piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "/**":
            parts.append("/.*")
        elif piece == "?":
            parts.append(one)
        elif "*" in piece:
            parts.append(f"{one}*" if len(piece) == 1 else ".*")
        else:
            parts.append(re.escape(piece))
    return rf"(?s)\A{''.join(parts)}\z"


def literal_prefix(pattern: str | Regex) -> str:
    """Return what every path that fits the pattern begins with; "" if that is unknown."""
    if isinstance(pattern, Regex):
        return _regex_prefix(pattern.regex)
    stars = [at for at in (pattern.find("*"), pattern.find("?")) if at >= 0]
    if not stars:
        return pattern
    # "/**" may stand for nothing at all, its slash included.
    return pattern[: min(stars)].removesuffix("/")


def _regex_prefix(text: str) -> str:
    return literal_start(text) if text.startswith("^") else ""


def literal_start(text: str) -> str:
    """Return what stands, or for ``^`` begins, every text in which a regular expression is found.

    "" if that is unknown: only what a pattern begins with is looked at.
    """
    start = 1 if text.startswith("^") else 0
    if "|" in text and ("[" in text or "\\" in text or _has_bare_choice(text)):
        return ""
    end = next((at for at, char in enumerate(text[start:], start) if char in _META), len(text))
    # A quantifier may make the character before it optional.
    is_optional = text[end : end + 1] in ("*", "?", "{")
    return text[start : max(end - 1, start) if is_optional else end]


def _has_bare_choice(text: str) -> bool:
    """Tell whether a choice stands outside of all groups; there is no class and no escape."""
    depth = 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "|" and depth == 0:
            return True
    return False


def compile_template(text: str, groups: int, at: KeyPath) -> Callable[[_Match], bytes]:
    """Return a function that fills ``$1`` to ``$9`` (``$0``: all of it, ``$$``: a dollar).

    Raises Fault for a lone dollar or a group that the pattern does not have.
    """
    parts: list[bytes | int] = []
    end = 0
    for reference in _REFERENCE.finditer(text):
        parts.append(text[end : reference.start()].encode())
        end = reference.end()
        if reference[1] is None:
            raise Fault("$ stands before a group's number; write $$ for a dollar", at)
        if reference[1] == "$":
            parts.append(b"$")
        elif int(reference[1]) > groups:
            raise Fault(f"${reference[1]} is a group that the pattern does not have", at)
        else:
            parts.append(int(reference[1]))
    parts.append(text[end:].encode())

    def fill(match: _Match) -> bytes:
        return b"".join((match[part] or b"") if isinstance(part, int) else part for part in parts)

    return fill
