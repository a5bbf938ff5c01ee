"""Finding the objects of a capture: a directory, files, or standard input.

Owns what counts as a record object in a directory, and the order in which
objects are to be opened. Lists hour folders only as far as they are asked for,
so that a large capture costs no memory. Never reads an object.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from mirrorproxy import keys
from mirrorproxy.errors import SourceError
from mirrorproxy.sources.events import CaptureObject
from mirrorproxy.sources.span import EVERYTHING, Span

STDIN = "-"
_TEMPORARY = (".tmp", ".part", "~")
_YEAR = re.compile(r"[0-9]{4}")
_TWO_DIGITS = re.compile(r"[0-9]{2}")
_FOLDER_LEVELS = (_YEAR, _TWO_DIGITS, _TWO_DIGITS, _TWO_DIGITS)
_UNKNOWN_FIRST = -1


def find_objects(
    specs: Sequence[str], bodies: str | None = None, span: Span = EVERYTHING
) -> Iterator[CaptureObject]:
    """Return the objects of some sources, by the time in their keys; unknown times first.

    specs: directories, files and "-" for standard input. bodies: the directory
    that body objects lie under, for objects whose place does not say so. span: of a directory only
    the hour folders and objects that may hold it.
    Raises SourceError if a source is not there or is named twice.
    """
    if not specs:
        raise SourceError("no source is named")
    if repeated := next((spec for spec in specs if specs.count(spec) > 1), None):
        raise SourceError(f"{_name(repeated)}: named more than once")
    streams = [_objects(spec, bodies, span) for spec in specs]
    return heapq.merge(*streams, key=_time)


def file_object(path: str, bodies: str | None = None, *, is_stream: bool = False) -> CaptureObject:
    """Return the object of one file; its bodies lie beside its year folder, see `keys`."""
    key = path.replace(os.sep, "/")
    return CaptureObject(
        name=path,
        open=partial(_open_file, path),
        time_us=keys.key_time_us(key),
        base=bodies if bodies is not None else keys.base_of(key) or ".",
        is_stream=is_stream,
    )


def stdin_object(bodies: str | None = None) -> CaptureObject:
    """Return standard input as an object; it can be opened once."""
    return CaptureObject(name=_name(STDIN), open=_open_stdin, base=bodies, is_stream=True)


def _objects(spec: str, bodies: str | None, span: Span) -> Iterator[CaptureObject]:
    # Checked here, not in the generator: a mistake must show before anything is sent.
    if spec == STDIN:
        return iter((stdin_object(bodies),))
    if "://" in spec:
        raise SourceError(f"{spec.partition('://')[0]}:// is no source that can be read")
    try:
        mode = os.stat(spec).st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise SourceError(f"{spec}: {reason}") from error
    if stat.S_ISDIR(mode):
        if not os.access(spec, os.R_OK | os.X_OK):
            raise SourceError(f"{spec}: Permission denied")
        return _directory(Path(spec), bodies, span)
    return iter((file_object(spec, bodies, is_stream=not stat.S_ISREG(mode)),))


def _time(source: CaptureObject) -> int:
    return _UNKNOWN_FIRST if source.time_us is None else source.time_us


def _name(spec: str) -> str:
    return "standard input" if spec == STDIN else spec


def _open_file(path: str) -> BinaryIO:
    return open(path, "rb")


def _open_stdin() -> BinaryIO:
    return open(sys.stdin.fileno(), "rb", closefd=False)


def _directory(root: Path, bodies: str | None, span: Span) -> Iterator[CaptureObject]:
    """Merge the hour folders of every prefix below root, and the files that lie about."""
    loose: list[CaptureObject] = []
    streams: list[Iterator[CaptureObject]] = [iter(loose)]
    waiting = [str(root)]
    while waiting:
        folders, files = _entries(waiting.pop())
        found = (file_object(path, bodies) for path in files)
        loose.extend(one for one in found if span.may_be_in(one.time_us))
        years = [path for path in folders if _YEAR.fullmatch(os.path.basename(path))]
        if years:
            streams.append(_by_hour(years, 1, bodies, span))
        waiting.extend(path for path in folders if path not in years)
    loose.sort(key=_time)
    return heapq.merge(*streams, key=_time)


def _by_hour(
    folders: Sequence[str], level: int, bodies: str | None, span: Span
) -> Iterator[CaptureObject]:
    """Yield the objects below folders of one level (1: years, 4: hours), one folder at a time."""
    for folder in folders:
        if not span.takes_folder("/".join(folder.split(os.sep)[-level:])):
            continue
        inner, files = _entries(folder)
        found = (file_object(path, bodies) for path in files)
        yield from sorted((one for one in found if span.may_be_in(one.time_us)), key=_time)
        if level < len(_FOLDER_LEVELS):
            wanted = _FOLDER_LEVELS[level]
            known = [path for path in inner if wanted.fullmatch(os.path.basename(path))]
            yield from _by_hour(known, level + 1, bodies, span)


def _entries(folder: str) -> tuple[list[str], list[str]]:
    """Return (folders, record files) of one folder, each sorted; a vanished one is empty."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != keys.BODIES.rstrip("/"):
                        folders.append(entry.path)
                elif entry.is_file() and not entry.name.endswith(_TEMPORARY):
                    files.append(entry.path)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise SourceError(f"{folder}: {error.strerror}") from error
    return sorted(folders), sorted(files)
