"""The parts of capture's configuration that say what is recorded: filters, and access logs.

Owns their shape, defaults and checks. The rest of the file is `config`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.settings import FilterSettings, LogSettings
from mirrorproxy.config_limits import Fail, Part, Place


class FilterConfig(Part, frozen=True):
    """`services[].record`: what of a service is recorded; the rest is only forwarded."""

    method: str | tuple[str, ...] = ()
    path: str | tuple[str, ...] = ()
    exclude_path: str | tuple[str, ...] = ()
    content_type: str | tuple[str, ...] = ()
    status: str | int | tuple[str | int, ...] = ()


class AccessLogConfig(Part, frozen=True):
    """`access_log`: a log that is followed, in place of a listener."""

    file: str | None = None
    service: str | None = None
    record: FilterConfig = FilterConfig()
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"


def resolve_filters(record: FilterConfig, at: Place, fail: Fail) -> FilterSettings:
    """Return complete filters. at: where they stand. Raises what fail makes."""
    # Case counts in a method (RFC 9110, 9.1): `post` would fit nothing, and nobody would know.
    if any(method != method.upper() for method in texts(record.method)):
        raise fail("methods are in upper case, such as POST", (*at, "method"))
    filters = FilterSettings(
        methods=texts(record.method),
        include=texts(record.path),
        exclude=texts(record.exclude_path),
        content_types=texts(record.content_type),
        status=texts(record.status),
    )
    try:
        Filters(**msgspec.structs.asdict(filters))
    except ValueError as error:
        raise fail(str(error), at) from None
    return filters


def resolve_log(
    log: AccessLogConfig, is_name: Callable[[str], object], fail: Fail
) -> LogSettings | None:
    """Return the log to follow, None if there is none. Raises what fail makes."""
    if log.file is None:
        if log != AccessLogConfig():
            raise fail("say which log to follow: a file", ("access_log", "file"))
        return None
    if not log.file:
        raise fail("say which log to follow: a file", ("access_log", "file"))
    if log.service is not None and not is_name(log.service):
        raise fail(
            "a name has letters, digits, '.', '_' and '-', 63 at most", ("access_log", "service")
        )
    if not 0 <= log.percent <= 100:
        raise fail("a share is from 0 to 100", ("access_log", "percent"))
    return LogSettings(
        file=log.file,
        service=log.service,
        percent=log.percent,
        percent_by=log.percent_by,
        filters=resolve_filters(log.record, ("access_log", "record"), fail),
    )


def texts(value: str | int | tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the texts of a value that may be one or a list."""
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
