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
_FIELDS = rb"((?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*+)\r\n"

REQUEST_HEAD = re.compile(
    rb"(" + _TOKEN + rb"++) ([\x21-\x7e\x80-\xff]++) HTTP/1\.([01])\r\n" + _FIELDS
)
RESPONSE_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: (" + _VALUE + rb"*+))?\r\n" + _FIELDS
)
TRAILERS = re.compile(_FIELDS)

_FIELD = re.compile(r"([^:]++):[ \t]*+([^\r]*+)\r\n")
_VERSION = re.compile(rb"[^\r\n]*? HTTP/([0-9]+\.[0-9]+)\r?\n")

# One search finds whatever steers the connection; most heads behind a load
# balancer have only Host and Content-Length.
_SPECIAL = re.compile(
    rb"\n(host|content-length|transfer-encoding|connection|keep-alive|proxy-connection"
    rb"|te|upgrade|expect|http2-settings|x-mirrorproxy-app):[ \t]*+([^\r]*+)"
)
_HOST = re.compile(
    rb"(?:\[[0-9a-f:.]++(?:%25[0-9a-z\-._~]++)?\]|[0-9a-z\-._~!$&'()*+;=%]++)(?::[0-9]{0,5}+)?+"
)
_ABSOLUTE = re.compile(rb"[a-z][a-z0-9+\-.]*+://([^/?#]*+)", re.IGNORECASE)
# The characters that RFC 3986 lets stand in a path and a query.
_STRICT_TARGET = re.compile(rb"(?:[0-9A-Za-z\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})++")

_MAX_LENGTH_DIGITS = 18  # below 2**63, so that no peer's integer overflows

Special = dict[bytes, list[bytes]]
"""Lower-case names of headers that steer the connection -> their lower-case values."""


def fields(block: bytes) -> HeaderList:
    """Return the header lines of a valid block as (name, value) pairs of latin-1 text."""
    pairs: HeaderList = _FIELD.findall(block.decode("latin-1"))
    for position, (name, value) in enumerate(pairs):
        # Optional white space behind a value is not part of it (RFC 9112, 5.1).
        if value[-1:] in (" ", "\t"):
            pairs[position] = (name, value.rstrip(" \t"))
    return pairs


def special_fields(block: bytes) -> Special:
    """Return the headers of a valid block that steer framing, routing or the connection."""
    found: Special = {}
    for name, value in _SPECIAL.findall(b"\n" + block.lower()):
        if name in found:
            found[name].append(value.rstrip(b" \t"))
        else:
            found[name] = [value.rstrip(b" \t")]
    return found


def options(special: Special, name: bytes) -> list[bytes]:
    """Return the comma-separated, lower-case members of a header of `special_fields`."""
    members = (part.strip(b" \t") for value in special.get(name, ()) for part in value.split(b","))
    return [member for member in members if member]


def content_length(values: list[bytes], status: int) -> int:
    """Return the length in bytes that one well-formed Content-Length gives.

    status: what a `PeerError` says otherwise (400 to a client, 502 of an upstream).
    """
    if len(values) != 1:
        raise PeerError(status, "more than one Content-Length")
    value = values[0]
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise PeerError(status, "malformed Content-Length")
    return int(value)


def _check_chunked(special: Special, version: int, status: int) -> None:
    if b"content-length" in special:
        raise PeerError(status, "Content-Length together with Transfer-Encoding")
    if version == 0:
        raise PeerError(status, "Transfer-Encoding in HTTP/1.0")
    if special[b"transfer-encoding"] != [b"chunked"]:
        raise PeerError(status, "a transfer coding other than a lone chunked")


def request_framing(special: Special, version: int) -> int:
    """Return a request's body length in bytes (0: none), or CHUNKED.

    Raises PeerError(400).
    """
    if b"transfer-encoding" in special:
        _check_chunked(special, version, 400)
        return CHUNKED
    lengths = special.get(b"content-length")
    return content_length(lengths, 400) if lengths else 0


def response_framing(special: Special, version: int, status: int, *, to_head: bool) -> int:
    """Return a response's body length in bytes (0: none), CHUNKED or UNTIL_CLOSE.

    to_head: whether it answers a HEAD request. Framing headers are checked even
    where the status leaves no room for a body: the next reader may not know that.
    Raises PeerError(502).
    """
    length = UNTIL_CLOSE
    if b"transfer-encoding" in special:
        _check_chunked(special, version, 502)
        length = CHUNKED
    elif lengths := special.get(b"content-length"):
        length = content_length(lengths, 502)
    if to_head or status < 200 or status in (204, 304):
        return 0
    return length


def check_host(special: Special, version: int, target: bytes) -> bytes:
    """Return the host of a request, lower-case with its port; b"" for HTTP/1.0 without one.

    Raises PeerError(400) when it is missing, repeated, invalid, or differs from
    the authority of an absolute-form target.
    """
    hosts = special.get(b"host")
    if not hosts:
        if version == 1:
            raise PeerError(400, "no Host")
        host = b""
    elif len(hosts) > 1:
        raise PeerError(400, "more than one Host")
    else:
        host = hosts[0]
        if not _HOST.fullmatch(host):
            raise PeerError(400, "invalid Host")
    if target[:1] != b"/" and target != b"*":
        absolute = _ABSOLUTE.match(target)
        authority = absolute[1].lower() if absolute else b""
        if not _HOST.fullmatch(authority):
            raise PeerError(400, "invalid authority in the target")
        if host and authority != host:
            raise PeerError(400, "Host differs from the target's authority")
    return host


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
