"""The grammar of an HTTP/1.x head: what is accepted at all, and how a body is framed.

Pure: bytes in, values out, or `PeerError`. Two rules decide every case. What two
parsers could frame differently is refused. What is merely ugly is passed on, byte
for byte, unless the listener is strict. The regular expressions use possessive
quantifiers throughout, so that no input costs more than linear time.

The grammar is that of RFC 9112 (sections 3, 4, 5, 6 and 7) and RFC 9110
(sections 5 and 7.2), less its tolerances: no bare LF, no line folding, no space
before a colon, no repeated or list-valued Content-Length, no transfer coding but
a lone "chunked".
"""

from __future__ import annotations

import functools
import re

from mirrorproxy.errors import PeerError
from mirrorproxy.record import HeaderList

CHUNKED = -1
"""Framing: the body is chunked."""

UNTIL_CLOSE = -2
"""Framing of a response only: the body ends with the connection."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# Field content: no control bytes but the tab. Bytes above 0x7f are opaque (obs-text).
_VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"

REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])")
"""Groups: method, target, minor version."""

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + _VALUE + rb"*+)?+")
"""Groups: minor version, status."""

TRAILERS = re.compile(rb"(?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*+\r\n")

REQUEST_HEAD = re.compile(REQUEST_LINE.pattern + rb"\r\n" + TRAILERS.pattern)
"""A whole head of a request, for those who write one."""

BARE_LF = re.compile(rb"(?<!\r)\n")

_FIELD = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n")
_VERSION = re.compile(rb"[^\r\n]*? HTTP/([0-9]+\.[0-9]+)\r?\n")

_HOST = re.compile(
    rb"(?:\[[0-9a-f:.]++(?:%25[0-9a-z\-._~]++)?\]|[0-9a-z\-._~!$&'()*+;=%]++)(?::[0-9]{0,5}+)?+"
)
_ABSOLUTE = re.compile(rb"[a-z][a-z0-9+\-.]*+://([^/?#]*+)", re.IGNORECASE)
# The characters that RFC 3986 lets stand in a path and a query.
_STRICT_TARGET = re.compile(rb"(?:[0-9A-Za-z\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})++")

_MAX_LENGTH_DIGITS = 18  # below 2**63, so that no peer's integer overflows


def fields(block: bytes) -> HeaderList:
    """Return the header lines of a valid block as (name, value) pairs of latin-1 text."""
    pairs: HeaderList = _FIELD.findall(block.decode("latin-1"))
    for position, (name, value) in enumerate(pairs):
        # Optional white space behind a value is not part of it (RFC 9112, 5.1).
        if value[-1:] in (" ", "\t"):
            pairs[position] = (name, value.rstrip(" \t"))
    return pairs


def members(values: list[bytes]) -> list[bytes]:
    """Return the comma-separated members of header values, trimmed, without empty ones."""
    found = (part.strip(b" \t") for value in values for part in value.split(b","))
    return [member for member in found if member]


def content_length(value: bytes, status: int) -> int:
    """Return the length in bytes that a Content-Length gives.

    status: what a `PeerError` says if it is malformed (400 to a client, 502 of an upstream).
    """
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise PeerError(status, "malformed Content-Length")
    return int(value)


def check_chunked(codings: list[bytes], version: int, status: int, *, has_length: bool) -> None:
    """Accept a lone "chunked" in HTTP/1.1 without a Content-Length; refuse all else.

    codings: the lower-case values of Transfer-Encoding. status: as above.
    """
    if has_length:
        raise PeerError(status, "Content-Length together with Transfer-Encoding")
    if version == 0:
        raise PeerError(status, "Transfer-Encoding in HTTP/1.0")
    if codings != [b"chunked"]:
        raise PeerError(status, "a transfer coding other than a lone chunked")


@functools.lru_cache(maxsize=1024)
def is_host(value: bytes) -> bool:
    """Tell whether a lower-case value is a host, with or without a port."""
    return _HOST.fullmatch(value) is not None


def check_authority(host: bytes, target: bytes) -> None:
    """Accept an absolute-form target whose authority is valid and what Host says, if it does.

    Raises PeerError(400).
    """
    absolute = _ABSOLUTE.match(target)
    authority = absolute[1].lower() if absolute else b""
    if not is_host(authority):
        raise PeerError(400, "invalid authority in the target")
    if host and authority != host:
        raise PeerError(400, "Host differs from the target's authority")


def check_target(method: bytes, target: bytes, *, strict: bool) -> None:
    """Accept origin-form, absolute-form, and the asterisk of OPTIONS; refuse all else.

    strict: refuse also what RFC 3986 gives no place in a path or a query.
    Raises PeerError (400, or 501 for CONNECT).
    """
    if method == b"CONNECT":
        raise PeerError(501, "CONNECT is for forward proxies")
    if target[:1] == b"/":
        pass
    elif target == b"*":
        if method != b"OPTIONS":
            raise PeerError(400, "the target * is for OPTIONS alone")
    elif not target[:8].lower().startswith((b"http://", b"https://")):
        raise PeerError(400, "a target that is neither a path nor a URL")
    if strict and target != b"*" and not _STRICT_TARGET.fullmatch(target):
        raise PeerError(400, "a character in the target that RFC 3986 does not allow")


def why_no_request(head: bytes) -> PeerError:
    """Return the error for a complete head that is not a request: 505 or 400."""
    version = _VERSION.match(head)
    if version and version[1] not in (b"1.0", b"1.1"):
        return PeerError(505, "an HTTP version other than 1.0 and 1.1")
    return PeerError(400, "malformed request head")
