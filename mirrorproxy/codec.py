"""Records to lines and back: one JSON object a line, UTF-8.

Owns the encoding of exchanges and of their bodies, and every check that a line
from outside passes before it is an `Exchange`. Pure. Never repeats a line's
content in an error. The grammar of methods, targets and headers is checked
where a request is written (`http1`), not here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Sequence

import msgspec

from mirrorproxy.errors import SourceError
from mirrorproxy.record import (
    VERSION,
    BodyEncoding,
    Credential,
    Exchange,
    HeaderList,
    Request,
    Response,
)

MAX_LINE_BYTES = 900 * 1024
"""A longer line has its body in an object of its own: Firehose takes 1,000 KiB a record."""

MAX_TIME_US = 253_402_300_799_999_999  # the last microsecond of the year 9999: keys have 4 digits

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Exchange)
# No other path, and so no way out of the folder of bodies: see `keys.body_ref`.
_BODY_REF = re.compile(r"bodies/[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{2}/[0-9a-f]{32}")
_PATH = re.compile(r" - at `(\$[^`]*)`\Z")
_SAFE_REASON = re.compile(
    r"Expected `[^`]*`(?:, got `[^`]*`)?|Object missing required field `[^`]*`"
    r"|JSON is malformed: [a-z ]+ \(byte [0-9]+\)|Input data was truncated"
)


class MalformedRecord(ValueError):
    """A line that is no exchange record, or a body that can't be decoded."""


class UnsupportedVersion(SourceError):
    """A record of a higher version than this reader knows."""


class _Versioned(msgspec.Struct):
    v: int


_version_decoder = msgspec.json.Decoder(_Versioned)


def encode_text(text: str) -> bytes:
    """Return a text as JSON, for those who write a line from parts.

    Raises ValueError if it has no UTF-8 form (a lone surrogate).
    """
    return _encoder.encode(text)


def encode_credentials(credentials: Sequence[Credential]) -> bytes:
    """Return credentials as they stand between a record's brackets."""
    return _encoder.encode(credentials)[1:-1]


def encode_headers(headers: HeaderList) -> bytes:
    """Return a header list as JSON."""
    return _encoder.encode(headers)


def encode_line(exchange: Exchange) -> bytes:
    """Return the record as one line, its newline included.

    The caller compares its length with MAX_LINE_BYTES.
    Raises ValueError if a text of the record has no UTF-8 form (a lone surrogate).
    """
    return _encoder.encode(exchange) + b"\n"


def decode_line(line: bytes) -> Exchange:
    """Return the exchange of one line, with or without its newline.

    Raises MalformedRecord with a short reason that holds nothing of the line,
    and UnsupportedVersion when the record's version is higher than this
    reader's, whatever its shape.
    """
    reason = ""
    try:
        exchange = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = _reason(error)
    if reason:
        # Raised out here: compiled, `from None` would not part it from what quotes the line.
        _refuse_newer(line)
        raise MalformedRecord(reason)
    if exchange.v != VERSION:
        _refuse_newer(line)
        raise MalformedRecord("v is less than 1")
    if not _is_id(exchange.id):
        raise MalformedRecord("id is not 32 lower-case hex digits")
    if not 0 <= exchange.started_us <= MAX_TIME_US:
        raise MalformedRecord("started_us is no time from 1970 to 9999")
    if exchange.duration_us < 0:
        raise MalformedRecord("duration_us is negative")
    _check_body(exchange.request, "request")
    response = exchange.response
    if response is not None:
        if not 100 <= response.status <= 999:
            raise MalformedRecord("response.status is not from 100 to 999")
        _check_body(response, "response")
    return exchange


def encode_body(data: bytes) -> tuple[str, BodyEncoding] | tuple[None, None]:
    """Return a body as (text, encoding): utf8 where it is valid UTF-8, else base64.

    (None, None) when it is empty.
    """
    if not data:
        return None, None
    try:
        return data.decode("utf-8"), "utf8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode("ascii"), "base64"


def body_members(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a body that is not empty as members of a message in a line, to be joined.

    Each member stands behind its comma.
    """
    try:
        return b',"body":', _encoder.encode(data.decode("utf-8")), b',"body_encoding":"utf8"'
    except UnicodeDecodeError:
        return b',"body":"', base64.b64encode(data), b'","body_encoding":"base64"'


def body_of(message: Request | Response) -> bytes:
    """Return the body that stands in the record itself, b"" when it holds none.

    Raises MalformedRecord if it says base64 and is not.
    """
    if message.body is None:
        return b""
    if message.body_encoding == "base64":
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(message.body, validate=True)
        raise MalformedRecord("a body is not valid base64")
    return message.body.encode("utf-8")


def _is_id(text: str) -> bool:
    """Tell whether a text is 32 lower-case hex digits."""
    try:
        # A third of what a regular expression costs; white space and capitals do not come back.
        return len(text) == 32 and bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def _check_body(message: Request | Response, where: str) -> None:
    has_body = message.body is not None
    if has_body is (message.body_encoding is None):
        raise MalformedRecord(f"{where}.body and {where}.body_encoding need each other")
    size = message.body_bytes
    if size is not None and size < 0:
        raise MalformedRecord(f"{where}.body_bytes is negative")
    ref = message.body_ref
    if ref is not None:
        if not _BODY_REF.fullmatch(ref):
            raise MalformedRecord(f"{where}.body_ref is not bodies/YYYY/MM/DD/HH/<id>")
        if has_body:
            raise MalformedRecord(f"{where} has both a body and a body_ref")


def _refuse_newer(line: bytes) -> None:
    try:
        version = _version_decoder.decode(line).v
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if version > VERSION:
        raise UnsupportedVersion(
            f"the capture has records of version {min(version, 999)}, "
            f"this mirrorproxy reads {VERSION}: use a newer one"
        )


def _reason(error: Exception) -> str:
    # Some messages of msgspec quote the offending value, so only known forms are passed on.
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = str(error)
    path = _PATH.search(text)
    known = _SAFE_REASON.match(text)
    reason = known.group() if known else "not a valid record"
    return f"{reason} at {path.group(1)}" if path else reason
