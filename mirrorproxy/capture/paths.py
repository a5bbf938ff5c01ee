"""Paths of request targets, and globs over them.

Pure. Paths are compared as received: nothing is decoded, joined or normalised,
so that a pattern sees what the application sees. Every pattern takes linear
time on any input: what stands between two stars is matched at its first place
and never tried again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")
_MANY = "**"


def path_of(target: str) -> str:
    """Return a target's path, without its query and, in absolute form, its authority.

    ``*`` (OPTIONS) stays as it is; an absolute form without a path gives ``/``.
    """
    if target[:1] != "/" and (authority := _ABSOLUTE_FORM.match(target)):
        target = target[authority.end() :]
        if target[:1] != "/":
            return "/"
    return target.partition("?")[0]


def compile_paths(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression whose fullmatch takes any of the globs, None for no glob.

    ``*`` stands for any characters but a slash, ``?`` for one of these, ``**``
    for any number of whole segments: ``/api/**`` takes ``/api`` and all below.
    Raises ValueError with one line that names the glob.
    """
    sources = [_path_source(glob) for glob in globs]
    return re.compile("|".join(sources), re.DOTALL) if sources else None


def compile_names(globs: Iterable[str]) -> re.Pattern[str] | None:
    """Return one expression for names without structure, such as media types; None for no glob.

    ``*`` stands for any characters, ``?`` for one; case does not count.
    """
    sources = [_pieces(glob.split("*"), any_character=".", end=r"\Z") for glob in globs]
    return re.compile("|".join(sources), re.DOTALL | re.IGNORECASE) if sources else None


def _path_source(glob: str) -> str:
    if not glob.startswith("/"):
        raise ValueError(f"a path glob begins with a slash: {glob!r}")
    runs: list[str] = [""]
    for segment in glob[1:].split("/"):
        if segment == _MANY:
            if runs[-1] or len(runs) == 1:
                runs.append("")
        elif _MANY in segment:
            raise ValueError(f"** stands for whole segments, as in /a/**/b: {glob!r}")
        else:
            runs[-1] += "/" + _pieces(segment.split("*"), any_character="[^/]", end=r"(?=/|\Z)")
    first, *rest = runs
    if not rest:
        return first
    *middle, last = rest
    # Whatever follows ** may begin anywhere later, so the first place is as good as any.
    source = first + "".join(f"(?>(?:/[^/]*)*?{run})" for run in middle)
    return source + (rf"(?:/[^/]*)*?{last}\Z" if last else r"(?:/.*)?")


def _pieces(pieces: list[str], *, any_character: str, end: str) -> str:
    literal = [re.escape(piece).replace(r"\?", any_character) for piece in pieces]
    if len(literal) == 1:
        return literal[0] + end
    first, *middle, last = literal
    return (
        first
        + "".join(f"(?>{any_character}*?{piece})" for piece in middle if piece)
        + f"{any_character}*{last}{end}"
    )
