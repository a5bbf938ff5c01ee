"""Asked: the ``mirrorproxy.*`` tags of an app.

Pure. Each is read once; one that cannot be read, or is not known, becomes a
problem that names it: a misspelt percent must not record everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, cast, get_args

from mirrorproxy.control.labels import flag, listed, shown
from mirrorproxy.topology import AppMode

OWN_PREFIX = "mirrorproxy"
PercentBy = Literal["id", "session"]

KEYS = ("enable", "mode", "percent", "percent-by", "response-body", "match.path", "seal")
_NUMBER = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")


class Asked:
    """The tags of an app, whatever their case; what cannot be read is added to problems."""

    def __init__(self, tags: Iterable[str], problems: list[str]) -> None:
        split = (tag.partition("=") for tag in tags)
        given = {key.lower(): value.strip() for key, equals, value in split if equals}
        start = f"{OWN_PREFIX}."
        self._given = {
            key.removeprefix(start): value for key, value in given.items() if key.startswith(start)
        }
        self._problems = problems
        for key in self._given:
            if key not in KEYS:
                self._problem(key, f"is not known: {', '.join(KEYS)} are")

    def _problem(self, key: str, text: str) -> None:
        self._problems.append(f"the tag {OWN_PREFIX}.{shown(key)} {text}")

    def truth(self, key: str) -> bool:
        """Return a truth value; false when it is not given."""
        value = self._given.get(key, "false")
        found = flag(value)
        if found is None:
            self._problem(key, "is neither true nor false")
        return bool(found)

    def mode(self) -> AppMode:
        """Return the mode, inline when it is not given."""
        value = self._given.get("mode", "inline").lower()
        for mode in get_args(AppMode):
            if value == mode:
                return cast("AppMode", mode)
        self._problem("mode", "is none of inline, pooled and tap")
        return "inline"

    def percent(self) -> float:
        """Return the share, 100 when it is not given and 0 when it cannot be read."""
        value = self._given.get("percent", "100")
        if not _NUMBER.fullmatch(value) or float(value) > 100:
            self._problem("percent", "is not a number from 0 to 100")
            return 0.0
        return float(value)

    def percent_by(self) -> PercentBy:
        """Return what a share is chosen by."""
        value = self._given.get("percent-by", "id").lower()
        if value == "session":
            return "session"
        if value != "id":
            self._problem("percent-by", "is neither id nor session")
        return "id"

    def paths(self) -> tuple[str, ...]:
        """Return the globs of what is recorded; ** stands for whole segments, as when recording."""
        globs = listed(self._given.get("match.path", ""))
        for glob in globs:
            segments = glob.split("/")
            if segments[0] or any("**" in word and word != "**" for word in segments):
                self._problem("match.path", "holds what is no path glob, such as /api/**")
                return ()
        return globs

    def seal(self) -> tuple[str, ...]:
        """Return further names of secrets."""
        names = listed(self._given.get("seal", ""))
        if not all(_NAME.fullmatch(name) for name in names):
            self._problem("seal", "holds what is no name of a header or field")
            return ()
        return names
