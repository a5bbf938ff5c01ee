"""Paths into JSON: a kept-up subset of RFC 9535, read and edited without loss.

Pure. Only what a path leads through is taken apart; everything beside it stays
byte for byte as it was, numbers above all. Owns which paths there are:
``$`` and then ``.name``, ``['name']``, ``[0]``, ``[-1]``, ``.*``, ``[*]``, and any of
these behind two dots for every depth (``..name``, ``..*``, ``..[0]``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from mirrorproxy.rules.patterns import Fault, KeyPath

MAX_LENGTH: Final = 500
MAX_DEPTH: Final = 100
"""Of what is looked into: a body that goes deeper on the way of a path is not JSON to us."""

HELP: Final = "expected a path such as $.user.email, $.items[*].id or $..token"

_STEP = re.compile(
    r"(?P<deep>\.\.)?"
    r"(?:(?P<dot>\.)?(?P<name>[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff-]*)"
    r"|(?P<dotstar>\.)?(?P<star>\*)"
    r"|\[(?P<index>-?[0-9]{1,9}|\*)\]"
    r"|\['(?P<single>(?:[^'\\]|\\.)*)'\]"
    r'|\["(?P<double>(?:[^"\\]|\\.)*)"\])'
)
_ESCAPE = re.compile(r"\\(.)")
_SPACE: Final = b" \t\r\n"

Members = dict[str, msgspec.Raw]
Items = list[msgspec.Raw]

_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items_of = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text_in = msgspec.json.Decoder(str).decode
_checked = msgspec.json.Decoder(msgspec.Raw).decode
_encode = msgspec.json.Encoder().encode


class NotJsonError(ValueError):
    """A text that is no JSON, or goes too deep."""


class _Step(NamedTuple):
    """One step. name: of a member; item: the number of an item; both None for all of them."""

    name: str | None
    item: int | None
    is_deep: bool


class JsonPath(NamedTuple):
    """A path ready to use."""

    steps: tuple[_Step, ...]

    @property
    def names_a_member(self) -> bool:
        """Whether it ends with a name that can be added to what is before it."""
        return bool(self.steps) and self.steps[-1].name is not None and not self.steps[-1].is_deep


Change = Callable[[bytes], bytes | None]
"""From a value as JSON text to what takes its place, None to take it out."""


def parse_path(text: str, at: KeyPath) -> JsonPath:
    """Return a path ready to use. Raises Fault."""
    if not text.startswith("$"):
        raise Fault(f"{HELP}: it begins with $", at)
    if len(text) > MAX_LENGTH:
        raise Fault(f"a path of more than {MAX_LENGTH} characters", at)
    steps: list[_Step] = []
    end = 1
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None or _is_misplaced(found):
            raise Fault(f"{HELP}; filters, slices and lists of names are not supported", at)
        steps.append(_step(found))
        end = found.end()
    return JsonPath(tuple(steps))


def _is_misplaced(found: re.Match[str]) -> bool:
    """Tell whether a name stands without its dot, or behind three."""
    is_dotted = found["dot"] is not None or found["dotstar"] is not None
    needs_dot = found["name"] is not None or found["star"] is not None
    if found["deep"] is not None:
        return is_dotted
    return needs_dot and not is_dotted


def _step(found: re.Match[str]) -> _Step:
    is_deep = found["deep"] is not None
    quoted = found["single"] if found["single"] is not None else found["double"]
    if quoted is not None:
        return _Step(_ESCAPE.sub(r"\1", quoted), None, is_deep)
    if found["name"] is not None:
        return _Step(found["name"], None, is_deep)
    if found["index"] is not None and found["index"] != "*":
        return _Step(None, int(found["index"]), is_deep)
    return _Step(None, None, is_deep)


def find_texts(body: bytes, path: JsonPath) -> list[str]:
    """Return the values at a path as text: strings bare, all else as it is spelled.

    Raises NotJsonError.
    """
    try:
        _checked(body)
        return [_text_of(value) for value in _found(body, path.steps, 0)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJsonError("not JSON") from error


def _text_of(value: bytes) -> str:
    value = value.strip(_SPACE)
    return _text_in(value) if value.startswith(b'"') else value.decode()


def _found(value: bytes, steps: tuple[_Step, ...], depth: int) -> Iterator[bytes]:
    if depth > MAX_DEPTH:
        raise NotJsonError("nested too deeply")
    if not steps:
        yield value
        return
    step = steps[0]
    beginning = value.lstrip(_SPACE)[:1]
    if beginning == b"{":
        members = _members_of(value)
        if step.name is not None:
            if step.name in members:
                yield from _found(bytes(members[step.name]), steps[1:], depth + 1)
        elif step.item is None:
            for member in members.values():
                yield from _found(bytes(member), steps[1:], depth + 1)
        if step.is_deep:
            for member in members.values():
                yield from _found(bytes(member), steps, depth + 1)
    elif beginning == b"[":
        items = _items_of(value)
        for position in _positions(step, len(items)):
            yield from _found(bytes(items[position]), steps[1:], depth + 1)
        if step.is_deep:
            for item in items:
                yield from _found(bytes(item), steps, depth + 1)


def _positions(step: _Step, count: int) -> range:
    if step.name is not None:
        return range(0)
    if step.item is None:
        return range(count)
    index = step.item + count if step.item < 0 else step.item
    return range(index, index + 1) if 0 <= index < count else range(0)


def edit(body: bytes, path: JsonPath, change: Change, added: bytes | None = None) -> bytes:
    """Return a body with each value at a path changed.

    added: JSON text to add under the path's last name where what is before it
    is an object without that name. A body in which nothing is found comes back
    as it is. Raises NotJsonError.
    """
    try:
        # Read whole: what is not looked into must be JSON too, or half of a text would be edited.
        _checked(body)
        if not path.steps:
            changed = change(body)
        else:
            changed = _edited(body, path.steps, change, added, 0)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJsonError("not JSON") from error
    return b"null" if changed is None else changed


def _edited(
    value: bytes, steps: tuple[_Step, ...], change: Change, added: bytes | None, depth: int
) -> bytes | None:
    """Return a value with what steps lead to changed; the very same object if nothing was."""
    if depth > MAX_DEPTH:
        raise NotJsonError("nested too deeply")
    if not steps:
        return change(value)
    step = steps[0]
    beginning = value.lstrip(_SPACE)[:1]
    if beginning == b"{":
        return _edited_object(value, step, steps, change, added, depth)
    if beginning == b"[":
        return _edited_array(value, step, steps, change, added, depth)
    return value


def _edited_object(
    value: bytes,
    step: _Step,
    steps: tuple[_Step, ...],
    change: Change,
    added: bytes | None,
    depth: int,
) -> bytes:
    members = _members_of(value)
    result: Members = {}
    is_changed = False
    for name, raw in members.items():
        before = bytes(raw)
        after: bytes | None = before
        if step.is_deep:
            after = _edited(before, steps, change, added, depth + 1)
        if after is not None and (step.name == name or (step.name is None and step.item is None)):
            after = _edited(after, steps[1:], change, added, depth + 1)
        if after is None:
            is_changed = True
            continue
        is_changed = is_changed or after is not before
        result[name] = msgspec.Raw(after)
    if added is not None and len(steps) == 1 and step.name is not None and step.name not in members:
        result[step.name] = msgspec.Raw(added)
        is_changed = True
    return _encode(result) if is_changed else value


def _edited_array(
    value: bytes,
    step: _Step,
    steps: tuple[_Step, ...],
    change: Change,
    added: bytes | None,
    depth: int,
) -> bytes:
    items = _items_of(value)
    wanted = _positions(step, len(items))
    result: Items = []
    is_changed = False
    for position, raw in enumerate(items):
        before = bytes(raw)
        after: bytes | None = before
        if step.is_deep:
            after = _edited(before, steps, change, added, depth + 1)
        if after is not None and position in wanted:
            after = _edited(after, steps[1:], change, added, depth + 1)
        if after is None:
            is_changed = True
            continue
        is_changed = is_changed or after is not before
        result.append(msgspec.Raw(after))
    return _encode(result) if is_changed else value
