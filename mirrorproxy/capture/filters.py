"""Filters: which exchanges of a service are recorded at all.

Pure. Judged on what was received, before anything is sealed. Each answer is the
field of `metrics` that counts what was filtered. Shares of the traffic are
`sampling`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mirrorproxy.capture.paths import compile_names, compile_paths, path_of

_STATUS = re.compile(r"([1-9])xx|([1-9]\d\d)(?:-([1-9]\d\d))?", re.IGNORECASE)


class Filters:
    """The filters of one service; an empty list takes everything.

    methods: names; their case counts (RFC 9110, 9.1). include, exclude: path
    globs, see `compile_paths`; what is in both is excluded. content_types:
    globs of the request's media type; a request that names none is taken.
    status: codes ("404"), classes ("5xx") or ranges ("400-499") of the answer;
    an exchange without an answer has none of them. is_empty: everything is taken.
    Raises ValueError with one line that names the bad pattern.
    """

    def __init__(
        self,
        *,
        methods: Iterable[str] = (),
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        content_types: Iterable[str] = (),
        status: Iterable[str] = (),
    ) -> None:
        self._methods = frozenset(methods)
        self._include = compile_paths(include)
        self._exclude = compile_paths(exclude)
        self._content_types = compile_names(content_types)
        self._status = frozenset(code for pattern in status for code in _codes(pattern))
        self.is_empty = not (
            self._methods or self._include or self._exclude or self._content_types or self._status
        )

    def of_request(self, method: str, target: str) -> str | None:
        """Return why a request is not recorded by its method or path, None if it is."""
        if self._methods and method not in self._methods:
            return "filtered_method"
        if self._include is None and self._exclude is None:
            return None
        path = path_of(target)
        if self._exclude is not None and self._exclude.fullmatch(path):
            return "filtered_path"
        if self._include is not None and not self._include.fullmatch(path):
            return "filtered_path"
        return None

    def of_content_type(self, content_type: str | None) -> str | None:
        """Return why a request is not recorded by its Content-Type, None if it is."""
        if self._content_types is None or content_type is None:
            return None
        media_type = content_type.partition(";")[0].strip()
        return None if self._content_types.fullmatch(media_type) else "filtered_content_type"

    def of_status(self, status: int | None) -> str | None:
        """Return why an exchange is not recorded by its answer's status, None if it is."""
        return "filtered_status" if self._status and status not in self._status else None


def _codes(pattern: str) -> range:
    match = _STATUS.fullmatch(pattern)
    if match is None:
        raise ValueError(f"a status is a code, a class or a range (404, 5xx, 400-499): {pattern!r}")
    if match[1]:
        return range(int(match[1]) * 100, int(match[1]) * 100 + 100)
    first, last = int(match[2]), int(match[3] or match[2])
    if last < first:
        raise ValueError(f"a range of statuses goes upwards: {pattern!r}")
    return range(first, last + 1)
