"""Declared mappings: what a rule says is to be learned from answers, and used where.

Pure. Compiles ``learn`` and ``use`` of a rule. What is declared is known by its name
(``as``) alone, and comes before whatever is found by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET

from mirrorproxy.rules.jsonpath import JsonPath, parse_path
from mirrorproxy.rules.patterns import Compiled, Fault, KeyPath, compile_regex
from mirrorproxy.rules.schema_learn import LearnRule, UseRule

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_HOLE = re.compile(r"\{([^{}]*)\}")
_NOTHING: Mapping[str, str] = {}


class Learn(NamedTuple):
    """One value, or several, of an answer.

    source: as it is written, "response.json" and so on. path: in JSON. name: of the header
    or cookie. pattern: whose first group, or whole, is the value. key: what it is known by.
    """

    source: str
    path: JsonPath | None
    name: str
    pattern: Compiled | None
    key: str

    def found_in(self, text: str) -> list[str]:
        """Return the value in a header, a cookie or a text, [] if there is none."""
        if self.pattern is None:
            return [text] if text else []
        found = self.pattern.search(text.encode("utf-8", "replace"))
        if found is None:
            return []
        value = found[1 if self.pattern.groups else 0]
        return [value.decode("utf-8", "replace")] if value else []


class Template(NamedTuple):
    """A path. segments: a literal, "*" for any, "**" for all that follow, or a key."""

    segments: tuple[str, ...]
    keys: tuple[str, ...]

    def keys_in(self, segments: Sequence[str]) -> dict[int, str]:
        """Return the keys of a path's segments by their index, {} if it is another path."""
        found: dict[int, str] = {}
        for index, (wanted, key) in enumerate(zip(self.segments, self.keys, strict=True)):
            if wanted == "**":
                return found
            if index >= len(segments):
                return {}
            if key:
                found[index] = key
            elif wanted not in ("*", segments[index]):
                return {}
        return found if len(segments) == len(self.segments) else {}


class Uses(NamedTuple):
    """Where learned values go. All but paths by name; the values are keys."""

    templates: tuple[Template, ...] = ()
    query: Mapping[str, str] = _NOTHING
    form: Mapping[str, str] = _NOTHING
    headers: Mapping[str, str] = _NOTHING
    cookies: Mapping[str, str] = _NOTHING
    json: tuple[tuple[JsonPath, str], ...] = ()

    def in_path(self, segments: Sequence[str]) -> dict[int, str]:
        """Return the keys of a path's segments by their index."""
        for template in self.templates:
            if found := template.keys_in(segments):
                return found
        return {}

    def at_json(self, steps: Sequence[str | int]) -> str:
        """Return the key of a value in JSON by the way to it, "" if it has none."""
        for path, key in self.json:
            if leads_to(path, steps):
                return key
        return ""


class Declared(NamedTuple):
    """What a rule says of correlation. is_on: whether its exchanges take part at all."""

    learns: tuple[Learn, ...] = ()
    uses: Uses = Uses()
    is_on: bool = True


NOT_DECLARED = Declared()


def compile_declared(
    learn: Sequence[LearnRule], use: Sequence[UseRule], *, is_on: bool, at: KeyPath
) -> Declared:
    """Return what a rule declares, ready to use. Raises Fault."""
    if not is_on:
        for key, given in (("learn", learn), ("use", use)):
            if given:
                raise Fault("nothing is learned or used with correlate: false", (*at, key))
        return Declared(is_on=False)
    learns = [_compile_learn(one, (*at, "learn", index)) for index, one in enumerate(learn)]
    if not use:
        return Declared(tuple(learns)) if learns else NOT_DECLARED
    return Declared(tuple(learns), _compile_uses(use, (*at, "use")))


def _compile_learn(one: LearnRule, at: KeyPath) -> Learn:
    wanted = {
        "response.json": ("path",),
        "response.header": ("name", "regex"),
        "response.cookie": ("name", "regex"),
        "response.text": ("regex",),
    }[one.from_]
    for key in ("path", "name", "regex"):
        given = getattr(one, key)
        if given is not UNSET and key not in wanted:
            raise Fault(f"means nothing with from: {one.from_}", (*at, key))
    first = wanted[0]
    if getattr(one, first) is UNSET:
        raise Fault(f"from: {one.from_} needs {first}", at)
    pattern = None
    if one.regex is not UNSET:
        pattern = compile_regex(one.regex, (*at, "regex"), capture=True)
        if pattern.groups > 1:
            raise Fault("expected one group at most: the value", (*at, "regex"))
    return Learn(
        one.from_,
        None if one.path is UNSET else parse_path(one.path, (*at, "path")),
        "" if one.name is UNSET else one.name,
        pattern,
        _key(one.as_, (*at, "as")),
    )


def _compile_uses(use: Sequence[UseRule], at: KeyPath) -> Uses:
    templates: list[Template] = []
    named: dict[str, dict[str, str]] = {"query": {}, "form": {}, "header": {}, "cookie": {}}
    json: list[tuple[JsonPath, str]] = []
    for index, one in enumerate(use):
        where = (*at, index)
        wanted = "path" if one.in_ in ("path", "json") else "name"
        for key in ("path", "name"):
            if (getattr(one, key) is UNSET) == (key == wanted):
                said = "needs" if key == wanted else "has no"
                raise Fault(f"in: {one.in_} {said} {key}", where)
        if one.in_ == "path":
            if one.as_ is not UNSET:
                raise Fault("the path itself names values, such as /orders/{order_id}", where)
            templates.append(_template(str(one.path), (*where, "path")))
            continue
        if one.as_ is UNSET:
            raise Fault("as is missing: which learned value goes there", where)
        key = _key(one.as_, (*where, "as"))
        if one.in_ == "json":
            json.append((parse_path(str(one.path), (*where, "path")), key))
        else:
            name = str(one.name)
            named[one.in_][name.lower() if one.in_ == "header" else name] = key
    return Uses(
        tuple(templates),
        named["query"],
        named["form"],
        named["header"],
        named["cookie"],
        tuple(json),
    )


def _template(text: str, at: KeyPath) -> Template:
    if not text.startswith("/"):
        raise Fault("expected a path such as /orders/{order_id}/**", at)
    segments = text.split("/")
    keys: list[str] = []
    for index, segment in enumerate(segments):
        hole = _HOLE.fullmatch(segment)
        if hole is None and ("{" in segment or "}" in segment):
            raise Fault("a name in braces stands for a whole segment", at)
        if segment == "**" and index != len(segments) - 1:
            raise Fault("** stands at the end", at)
        keys.append("" if hole is None else _key(hole[1], at))
    if not any(keys):
        raise Fault("names no value: expected one in braces, such as {order_id}", at)
    return Template(tuple(segments), tuple(keys))


def _key(name: str, at: KeyPath) -> str:
    if not _NAME.fullmatch(name):
        raise Fault("expected a name of letters, digits, '_' and '-'", at)
    return f"as {name}"


def leads_to(path: JsonPath, steps: Sequence[str | int]) -> bool:
    """Tell whether a path leads to where these steps do; an index from the end leads nowhere."""
    return _leads(path, 0, steps, 0)


def _leads(path: JsonPath, at: int, steps: Sequence[str | int], done: int) -> bool:
    if at == len(path.steps):
        return done == len(steps)
    if done == len(steps):
        return False
    step, taken = path.steps[at], steps[done]
    if step.name is not None:
        fits = step.name == taken
    else:
        fits = step.item is None or step.item == taken
    if fits and _leads(path, at + 1, steps, done + 1):
        return True
    return step.is_deep and _leads(path, at, steps, done + 1)
