"""Why data does not fit a type, in words for the person who wrote it.

Pure. Translates msgspec's validation errors: finds the exact key, names what
is expected, offers the nearest known key. Never repeats a value, which may be
a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator

import msgspec
from msgspec import inspect

KeyPath = tuple[str | int, ...]
Hook = Callable[[type, object], object]

_AT = re.compile(r" - at `(?:key` in `)?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+|\.\.\.)\]")
_ANY_KEY = "..."
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]*)`")
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]*)`(?:, got `(?P<got>[^`]*)`)?")
_INVALID = re.compile(r"Invalid (?:enum )?value .*", re.DOTALL)
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def explain(
    error: msgspec.ValidationError, data: object, type_: type, hook: Hook
) -> tuple[str, KeyPath]:
    """Return the message for a user and the path of the offending key.

    data and type_: what was converted when the error was raised, with which
    dec_hook.
    """
    text = str(error)
    path: list[str | int] = []
    if at := _AT.search(text):
        text = text[: at.start()]
        path = [
            key if key else _ANY_KEY if index == _ANY_KEY else int(index)
            for key, index in _STEP.findall(at["path"])
        ]
        data_error = text
        while _ANY_KEY in path:
            place = path.index(_ANY_KEY)
            path[place] = _culprit(data, type_, hook, path[:place], data_error)
    if unknown := _UNKNOWN.fullmatch(text):
        key = unknown["key"]
        hint = _hint(key, sorted(_keys(type_, path)))
        return f"unknown key{hint}", (*path, key)
    if missing := _MISSING.fullmatch(text):
        return f"{missing['key']} is missing", tuple(path)
    if expected := _EXPECTED.fullmatch(text):
        return _expected(expected["expected"], expected["got"]), tuple(path)
    if _INVALID.fullmatch(text):
        return f"expected {_choice(sorted(_literals(type_, path)))}", tuple(path)
    return text, tuple(path)


def _culprit(data: object, type_: type, hook: Hook, path: list[str | int], message: str) -> str:
    """Return the key that msgspec does not name: the one that fails when it stands alone."""
    entries = _at(data, path)
    assert isinstance(entries, dict)  # noqa: S101 - the error said so
    for key, value in entries.items():
        try:
            msgspec.convert(_with(data, path, {key: value}), type_, strict=False, dec_hook=hook)
        except msgspec.ValidationError as error:
            if str(error).startswith(message):
                return str(key)
    return _ANY_KEY + "?"


def _at(data: object, path: list[str | int]) -> object:
    for step in path:
        data = data[step]  # type: ignore[index]
    return data


def _with(data: object, path: list[str | int], value: object) -> object:
    """Return data with the value at path replaced; nothing is changed in place."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(data, list) and isinstance(step, int):
        return [*data[:step], _with(data[step], rest, value), *data[step + 1 :]]
    assert isinstance(data, dict)  # noqa: S101 - paths lead through lists and mappings only
    return {**data, step: _with(data[step], rest, value)}


def _types(type_: type, path: list[str | int]) -> Iterator[inspect.Type]:
    """Yield the types that may stand at path, unions opened."""
    found = list(_open(inspect.type_info(type_)))
    for step in path:
        found = [deeper for info in found for deeper in _step(info, step)]
    yield from found


def _open(info: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.UnionType):
        for one in info.types:
            yield from _open(one)
    elif isinstance(info, inspect.Metadata):
        yield from _open(info.type)
    else:
        yield info


def _step(info: inspect.Type, step: str | int) -> Iterator[inspect.Type]:
    if isinstance(info, inspect.StructType):
        for field in info.fields:
            if field.encode_name == step:
                yield from _open(field.type)
    elif isinstance(info, inspect.DictType):
        yield from _open(info.value_type)
    elif isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        yield from _open(info.item_type)


def _keys(type_: type, path: list[str | int]) -> set[str]:
    return {
        field.encode_name
        for info in _types(type_, path)
        if isinstance(info, inspect.StructType)
        for field in info.fields
    }


def _literals(type_: type, path: list[str | int]) -> set[str]:
    return {
        str(value)
        for info in _types(type_, path)
        if isinstance(info, inspect.LiteralType)
        for value in info.values
    }


def _hint(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _expected(expected: str, got: str | None) -> str:
    wanted = _choice([_WORDS.get(name, name) for name in expected.split(" | ") if name != "null"])
    given = "a fraction" if got == "float" else _WORDS.get(got or "", got)
    return f"expected {wanted}" + (f", not {given}" if given else "")


def _choice(options: list[str]) -> str:
    if len(options) < 2:
        return "".join(options)
    return f"{', '.join(options[:-1])} or {options[-1]}"
