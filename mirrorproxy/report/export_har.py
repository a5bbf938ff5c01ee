"""Exchanges as entries of a HAR 1.2 document.

Pure. Owns the mapping, and what HAR has no place for: that stands in custom fields
named `_mirrorproxy`, so that `sources.har` gives the very record back. A document
is written piece by piece: HEAD, entries with SEPARATOR between them, TAIL.

HAR 1.2 is http://www.softwareishard.com/blog/har-12-spec/. Text in it is Unicode,
bodies stand without their content coding, times have fractions of a millisecond.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from mirrorproxy import __version__
from mirrorproxy.headers import first, values
from mirrorproxy.record import Exchange, HeaderList, Request, Response
from mirrorproxy.report.exported import Exported, authority_of, phrase

OURS = "_mirrorproxy"

_creator = msgspec.json.encode({"name": "mirrorproxy", "version": __version__})
HEAD = b'{"log":{"version":"1.2","creator":' + _creator + b',"entries":[\n'
SEPARATOR = b",\n"
TAIL = b"\n]}}\n"

Document = dict[str, object]
Decode = Callable[[bytes, str | None], bytes | None]
"""Takes a body and its Content-Encoding; returns it without, or None where that cannot be."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What stands in a URL as it stood in the target, so that the target is found in it again.
_PLAIN_TARGET = re.compile(r"/(?:[0-9A-Za-z\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_HOST = re.compile(r"[0-9A-Za-z\-._~:\[\]]+")
_ODD = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SAFE = "-._~!$&'()*+,;=:@/?%"
_ABSOLUTE = ("http://", "https://")
_BASE64_COMMENT = "Base64, as in content.encoding: HAR 1.2 has no place for bytes here"

_encoder = msgspec.json.Encoder()


def har_entry(exported: Exported, decode: Decode) -> bytes:
    """Return one entry as JSON, without a line end.

    decode: see `Decode`; bodies of responses stand decoded, the sent bytes beside them.
    """
    exchange = exported.exchange
    spent_ms = exchange.duration_us / 1000
    ours = msgspec.to_builtins(exchange)
    for key in ("request", "response"):
        ours.pop(key, None)
    entry: Document = {
        "startedDateTime": _moment(exchange.started_us),
        "time": spent_ms,
        "request": _request(exchange, exported.request_body),
        "response": _response(exchange, exported.response_body, decode),
        "cache": {},
        "timings": {"send": 0, "wait": spent_ms, "receive": 0},
    }
    if (address := _address(exchange.upstream)) is not None:
        entry["serverIPAddress"] = address
    if exchange.request.omitted is not None or exchange.request.truncated:
        entry["comment"] = "the body of the request is not here, or not all of it"
    entry[OURS] = ours
    return _encoder.encode(entry)


# -- requests ---------------------------------------------------------------------------


def _request(exchange: Exchange, body: bytes) -> Document:
    request = exchange.request
    extra = _beside(request)
    if not _PLAIN_TARGET.fullmatch(request.target):
        extra["target"] = request.target
    found: Document = {
        "method": request.method,
        "url": _url(exchange),
        "httpVersion": f"HTTP/{request.version}",
        "cookies": _cookies(request.headers),
        "headers": _headers(request.headers),
        "queryString": _query(request.target),
        "headersSize": -1,
        "bodySize": -1 if request.body_bytes is None else request.body_bytes,
    }
    if body:
        found["postData"] = _post_data(body, first(request.headers, "content-type"))
    return {**found, OURS: extra} if extra else found


def _post_data(body: bytes, content_type: str | None) -> Document:
    found: Document = {"mimeType": _shown(content_type or ""), "params": []}
    try:
        return {**found, "text": body.decode()}
    except UnicodeDecodeError:
        text = base64.b64encode(body).decode()
    return {**found, "text": text, "encoding": "base64", "comment": _BASE64_COMMENT}


def _url(exchange: Exchange) -> str:
    """Return the URL that was asked for; what no URL can hold is percent-encoded in it."""
    request = exchange.request
    raw = _bytes(request.target)
    if request.target.lower().startswith(_ABSOLUTE):
        return quote_from_bytes(raw, safe=_SAFE)
    host = first(request.headers, "host") or authority_of(exchange.upstream)
    if not _HOST.fullmatch(host):
        host = quote_from_bytes(_bytes(host), safe="") or "unknown.invalid"
    path = quote_from_bytes(raw, safe=_SAFE) if raw.startswith(b"/") else "/"
    return f"{exchange.scheme}://{host}{path}"


def _query(target: str) -> list[Document]:
    query = target.partition("?")[2]
    found: list[Document] = []
    for pair in query.split("&") if query else []:
        name, _, value = pair.partition("=")
        found.append({"name": _unquoted(name), "value": _unquoted(value)})
    return found


def _unquoted(text: str) -> str:
    return unquote_to_bytes(_bytes(text.replace("+", " "))).decode("utf-8", "replace")


def _cookies(headers: HeaderList) -> list[Document]:
    found: list[Document] = []
    for header in values(headers, "cookie"):
        for pair in header.split(";"):
            name, equals, value = pair.strip().partition("=")
            if name and equals:
                found.append({"name": _shown(name), "value": _shown(value)})
    return found


# -- responses --------------------------------------------------------------------------


def _response(exchange: Exchange, body: bytes, decode: Decode) -> Document:
    response = exchange.response
    if response is None:
        return _no_response(exchange.failure)
    extra = _beside(response)
    content_type = first(response.headers, "content-type")
    coding = first(response.headers, "content-encoding")
    size = len(body) or response.body_bytes or 0
    content: Document = {"size": size, "mimeType": _shown(content_type or "x-unknown")}
    if body:
        plain = decode(body, coding) if coding else body
        if plain is None:
            content["comment"] = "as it was sent: its content coding is not undone"
            plain = body
        if plain != body:
            # HAR holds what it says; only the bytes that were sent give the record back.
            extra |= {"body": base64.b64encode(body).decode(), "body_encoding": "base64"}
            content |= {"size": len(plain), "compression": len(plain) - len(body)}
        content |= _content_text(plain)
    found: Document = {
        "status": response.status,
        "statusText": phrase(response.status),
        "httpVersion": "HTTP/1.1",
        "cookies": [_set_cookie(value) for value in values(response.headers, "set-cookie")],
        "headers": _headers(response.headers),
        "content": content,
        "redirectURL": _shown(first(response.headers, "location") or ""),
        "headersSize": -1,
        "bodySize": -1 if response.body_bytes is None else response.body_bytes,
    }
    return {**found, OURS: extra} if extra else found


def _no_response(failure: str | None) -> Document:
    """Return what stands where there was none or none was seen: a status of 0, as in browsers."""
    found: Document = {
        "status": 0,
        "statusText": "",
        "httpVersion": "",
        "cookies": [],
        "headers": [],
        "content": {"size": 0, "mimeType": "x-unknown"},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
    }
    return found if failure is None else {**found, "_error": failure}


def _content_text(body: bytes) -> Document:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}


def _set_cookie(header: str) -> Document:
    first_pair, *attributes = header.split(";")
    name, _, value = first_pair.strip().partition("=")
    found: Document = {"name": _shown(name), "value": _shown(value)}
    for attribute in attributes:
        key, _, text = attribute.strip().partition("=")
        match key.lower():
            case "path" | "domain":
                found[key.lower()] = _shown(text)
            case "httponly":
                found["httpOnly"] = True
            case "secure":
                found["secure"] = True
            case "expires" if (moment := _http_date(text)) is not None:
                found["expires"] = moment
    return found


def _http_date(text: str) -> str | None:
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, OverflowError, IndexError):
        return None


# -- both -------------------------------------------------------------------------------


def _beside(message: Request | Response) -> Document:
    """Return what HAR says otherwise, or not at all, of a message."""
    found: Document = {"body_bytes": message.body_bytes}
    if message.truncated:
        found["truncated"] = True
    if message.omitted is not None:
        found["omitted"] = message.omitted
    if message.trailers:
        found["trailers"] = message.trailers
    return found


def _headers(headers: HeaderList) -> list[Document]:
    found: list[Document] = []
    for name, value in headers:
        one: Document = {"name": name, "value": _shown(value)}
        if not _is_text(value):
            one[OURS] = {"latin1": value}
        found.append(one)
    return found


def _is_text(value: str) -> bool:
    """Tell whether a header's value is found again in what its bytes say in UTF-8."""
    try:
        text = value.encode("latin-1").decode()
    except UnicodeError:
        return False
    return not _ODD.search(text) and text == text.strip(" \t")


def _shown(text: str) -> str:
    """Return latin-1 text as what its bytes say in UTF-8."""
    return text if text.isascii() else _bytes(text).decode("utf-8", "replace")


def _bytes(text: str) -> bytes:
    return text.encode("latin-1", "replace")


def _moment(at_us: int) -> str:
    at = _EPOCH + timedelta(microseconds=at_us)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_us % 1_000_000:06d}Z"


def _address(upstream: str) -> str | None:
    host = authority_of(upstream)
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None
