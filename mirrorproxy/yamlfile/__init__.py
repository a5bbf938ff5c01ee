"""YAML files that people write: read, expanded, converted, with every error at its line.

Only plain data is read: no tags, no objects, no merge keys, one document. The
scalars are those of YAML 1.2 (``on`` and ``no`` are text), keys are always
text and never repeated. What a hostile file can cost is bounded. Values are
never printed: they may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from mirrorproxy.errors import ConfigError
from mirrorproxy.yamlfile.explain import explain

T = TypeVar("T")
KeyPath = tuple[str | int, ...]

MAX_BYTES = 4 << 20
MAX_NODES = 200_000
MAX_DEPTH = 64

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2.2, 10.3.2: the core schema.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,300}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

_STR_TAG = "tag:yaml.org,2002:str"
_EXPANSION = re.compile(r"\$?\$\{([^{}]*)(\}?)")
SECRET_STORES = ("secretsmanager", "ssm")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Document:
    """The data of one file, and the line of each key in it.

    data: dict, list, str, int, float, bool or None, nested. name: the file as
    errors name it.
    """

    def __init__(self, data: object, name: str, lines: Mapping[KeyPath, int]) -> None:
        self.data = data
        self.name = name
        self.lines = lines

    def line_of(self, path: KeyPath) -> int | None:
        """Return the 1-based line of a key or item, or of the nearest one around it."""
        for end in range(len(path), -1, -1):
            line = self.lines.get(path[:end])
            if line is not None:
                return line
        return None

    def error(self, message: str, path: KeyPath = ()) -> ConfigError:
        """Return an error that names the file, and the line and key of path."""
        return ConfigError(
            message, file=self.name, line=self.line_of(path), key=dotted(path) or None
        )


def dotted(path: KeyPath) -> str:
    """Return a path as people write it, on one line: ``rules[0].match.path``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def load(
    path_or_text: Path | str,
    *,
    name: str,
    max_bytes: int = MAX_BYTES,
    max_nodes: int = MAX_NODES,
) -> Document:
    """Read a file (Path) or a text (str).

    name: what errors call it. max_bytes, max_nodes: what the file may cost at
    most; aliases count as often as they are used. An empty file has the data None.
    Raises ConfigError if it cannot be read or is not plain YAML.
    """
    if isinstance(path_or_text, Path):
        text = _read(path_or_text, name, max_bytes)
    else:
        text = path_or_text
    if len(text) > max_bytes:
        raise ConfigError(f"larger than {max_bytes >> 20} MiB", file=name)
    try:
        return _Builder(name, yaml.parse(text, Loader=_LOADER), max_nodes).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"not valid YAML: {error.problem or error.context}",
            file=name,
            line=mark.line + 1 if mark else None,
        ) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ConfigError("not valid YAML: a character that text cannot hold", file=name) from error


def read_bounded(path: Path, name: str, max_bytes: int) -> bytes:
    """Return what a file holds. name: for errors. Raises ConfigError, also if it is larger."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=name) from error
    if len(data) > max_bytes:
        raise ConfigError(f"larger than {max_bytes >> 20} MiB", file=name)
    return data


def _read(path: Path, name: str, max_bytes: int) -> str:
    data = read_bounded(path, name, max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", file=name, line=line) from error


class _Builder:
    """Turns parser events into data; recursion and the number of nodes are bounded."""

    def __init__(self, name: str, events: Iterator[yaml.Event], max_nodes: int) -> None:
        self._name = name
        self._events = events
        self._max_nodes = max_nodes
        self._lines: dict[KeyPath, int] = {}
        self._nodes = 0
        self._deepest = 0
        # Anchored data with its number of nodes and levels; None while it is still open.
        self._anchors: dict[str, tuple[object, int, int] | None] = {}

    def document(self) -> Document:
        data: object = None
        seen = False
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    raise self._error("more than one document in the file", event)
                seen = True
                data = self._value(next(self._events), ())
        return Document(data, self._name, self._lines)

    def _error(self, message: str, event: yaml.Event, path: KeyPath = ()) -> ConfigError:
        return ConfigError(message, file=self._name, line=_line(event), key=dotted(path) or None)

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self._nodes += nodes
        if self._nodes > self._max_nodes:
            raise self._error(f"more than {self._max_nodes:,} values, aliases written out", event)

    def _descend(self, depth: int, event: yaml.Event) -> None:
        self._deepest = max(self._deepest, depth)
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", event)

    def _value(self, event: yaml.Event, path: KeyPath) -> object:
        self._lines.setdefault(path, _line(event))
        self._descend(len(path), event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path)
        self._count(1, event)
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", _STR_TAG):
            raise self._error("tags such as !name are not supported", event, path)
        anchor = getattr(event, "anchor", None)
        before, around = self._nodes, self._deepest
        if anchor is not None:
            self._anchors[anchor] = None
            self._deepest = len(path)
        value: object
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._mapping(path)
        if anchor is not None:
            self._anchors[anchor] = (value, self._nodes - before + 1, self._deepest - len(path))
            self._deepest = max(self._deepest, around)
        return value

    def _alias(self, event: yaml.AliasEvent, path: KeyPath) -> object:
        known = self._anchors.get(event.anchor or "")
        if known is None:
            raise self._error("an alias of nothing that was finished before it", event, path)
        value, nodes, levels = known
        self._count(nodes, event)
        self._descend(len(path) + levels, event)
        return value

    def _sequence(self, path: KeyPath) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, object]:
        entries: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._error("a key must be plain text", event, path)
            key = event.value
            here = (*path, key)
            if key == "<<" and event.implicit[0]:
                raise self._error("merge keys (<<) are not supported", event, path)
            if key in entries:
                first = self._lines[here]
                raise self._error(f"repeated; it stands on line {first} already", event, here)
            self._lines[here] = _line(event)
            entries[key] = self._value(next(self._events), here)
        return entries


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _scalar(event: yaml.ScalarEvent) -> object:
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def expand(
    document: Document,
    environ: Mapping[str, str],
    read_file: Callable[[str], str],
    read_secret: Callable[[str, str], str] | None = None,
) -> Document:
    """Return the document with ``${NAME}`` and ``${file:PATH}`` in its values put in.

    read_secret: likewise for ``${STORE:NAME}`` of the stores in SECRET_STORES; given the
    store and the name, it raises ValueError with what to tell.

    Keys are left alone; ``$${`` stands for ``${``. One newline at the end of a
    file is dropped. What was put in is not expanded again.
    read_file: may raise OSError or ValueError. Raises ConfigError if a
    variable or file is missing; it names the variable or file, never a value.
    """

    def one(match: re.Match[str], path: KeyPath) -> str:
        inner = match[1]
        if match[0].startswith("$$"):
            return match[0][1:]
        if match[2] and inner.startswith("file:") and len(inner) > len("file:"):
            return from_file(inner.removeprefix("file:"), path)
        store, _, name = inner.partition(":")
        if match[2] and read_secret is not None and store in SECRET_STORES and name:
            return from_store(read_secret, store, name, path)
        if not match[2] or not _NAME.fullmatch(inner):
            raise document.error(
                "${ begins neither ${NAME} nor ${file:PATH}; write $${ for the text", path
            )
        if inner not in environ:
            raise document.error(f"the environment variable {inner} is not set", path)
        return environ[inner]

    def from_file(name: str, path: KeyPath) -> str:
        try:
            return read_file(name).removesuffix("\n").removesuffix("\r")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise document.error(f"the file {name} cannot be read: {reason}", path) from error
        except ValueError as error:
            raise document.error(f"the file {name} is not UTF-8 text", path) from error

    def from_store(read: Callable[[str, str], str], store: str, name: str, path: KeyPath) -> str:
        try:
            return read(store, name)
        except ValueError as error:
            problem = str(error)
        raise document.error(f"{store}:{name} cannot be had: {problem}", path)

    def walk(value: object, path: KeyPath) -> object:
        if isinstance(value, str):
            if "${" not in value:
                return value
            return _EXPANSION.sub(lambda match: one(match, path), value)
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        return value

    return Document(walk(document.data, ()), document.name, document.lines)


def convert(document: Document, type_: type[T]) -> T:
    """Return the document's data as a msgspec Struct (or other type), validated.

    Structs should forbid unknown fields. A type with a class method ``parse``
    (such as `units.Seconds`) is made by it from the plain value; its
    ValueError is shown. Numbers may be given as text, so that ``${NAME}`` works.
    Raises ConfigError with file, line, key and, for unknown keys, a hint.
    """
    if document.data is None:
        raise document.error("the file is empty")
    try:
        return msgspec.convert(document.data, type_, strict=False, dec_hook=_parse)
    except msgspec.ValidationError as error:
        message, path = explain(error, document.data, type_, _parse)
    # Outside of the handler: msgspec's own text may repeat a value.
    raise document.error(message, path)


def _parse(type_: type, value: object) -> object:
    parse = getattr(type_, "parse", None)
    if parse is None:
        raise NotImplementedError(f"{type_.__name__} cannot stand in a file")
    return parse(value)
