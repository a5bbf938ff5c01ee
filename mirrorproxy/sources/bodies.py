"""Body objects: the bodies too large for a record, read when they are needed.

Owns the way from a record's `body_ref` to its bytes. A reference comes from a
hostile line: nothing outside the capture is ever opened, nothing larger than
the capture limit is ever read.
"""

from __future__ import annotations

import os
import re
import stat

from mirrorproxy.sources.events import CaptureObject

MAX_BODY_BYTES = 64 * 1024 * 1024
"""The default capture limit: a larger body is never recorded whole."""


# The codec has checked it already; this is the place that would open the file.
_REF = re.compile(r"bodies/[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{2}/[0-9a-f]{32}")


class BodyError(Exception):
    """A body object that is not there, or is none of ours."""


def read_body(source: CaptureObject, ref: str, limit: int = MAX_BODY_BYTES) -> bytes:
    """Return the body that a record of source refers to.

    Its length is its own: sealing may have changed it from what was captured.
    Blocks: call it in a thread.
    Raises BodyError with a reason that names the file.
    """
    if source.base is None:
        raise BodyError(f"{ref}: no --bodies say where body objects lie")
    if not _REF.fullmatch(ref):
        raise BodyError("a body reference is no reference into the capture")
    if source.read_body is not None:
        return _fetched(source, ref, limit)
    path = os.path.join(source.base, ref)
    try:
        # No link leads out of the capture, and no pipe makes the reader wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise BodyError(f"{path}: not a file")
            data = file.read(limit + 1)
    except OSError as error:
        raise BodyError(f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise BodyError(f"{path}: larger than {limit} bytes")
    return data


def _fetched(source: CaptureObject, ref: str, limit: int) -> bytes:
    assert source.read_body is not None  # noqa: S101 - the caller asked
    try:
        data = source.read_body(ref, limit)
    except OSError as error:
        raise BodyError(f"{source.base}{ref}: {error.strerror or error}") from error
    if len(data) > limit:
        raise BodyError(f"{source.base}{ref}: larger than {limit} bytes")
    return data
