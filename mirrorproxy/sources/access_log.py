"""Access logs: one line of Traefik's JSON access log, as an exchange.

Pure. Owns the names of the log's fields from Traefik 1 to 3, and what shippers
wrap a line in: Fluentd, Fluent Bit, Vector, Docker, the kubelet. A log knows no
bodies and of the answer only its status. What it holds in the clear comes out in
the clear: whoever shows, keeps or sends an exchange seals it first.

The same line gives the same id, wherever and however often it was shipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from mirrorproxy.codec import MalformedRecord, decode_line
from mirrorproxy.headers import end_to_end
from mirrorproxy.marks import mark_of
from mirrorproxy.record import (
    BODY_NOT_LOGGED,
    VERSION,
    Credential,
    Exchange,
    HeaderList,
    Request,
    Response,
)
from mirrorproxy.sources.imported import (
    UNKNOWN_SERVICE,
    as_bytes,
    derived_id,
    is_secret_name,
    redacted,
    time_us,
)

COMMON_LOG_FORMAT = (
    "the common log format holds no headers and cannot be replayed: "
    "set accessLog.format: json in Traefik"
)

# Traefik: middlewares/accesslog/logdata.go, of 1.3 (HTTP...), 1.7 (Backend...) and 2 to 3.
_METHOD = ("RequestMethod", "HTTPMethod")
_PATH = ("RequestPath", "HTTPRequestPath")
_LINE = ("RequestLine", "HTTPRequestLine")
_PROTOCOL = ("RequestProtocol", "HTTPProtocol")
_HOST = ("RequestAddr", "HTTPHost", "RequestHost")
_SERVICE = ("ServiceName", "BackendName", "RouterName", "FrontendName")
_UPSTREAM = ("ServiceURL", "BackendURL", "ServiceAddr", "BackendAddr")
_CLIENT = ("ClientHost", "ClientAddr", "ClientRemoteAddr")
_STATUS = ("DownstreamStatus", "OriginStatus")
_STARTED = ("StartUTC", "StartLocal")
_ENTRY = frozenset((*_METHOD, *_PATH, *_LINE))

_WRAPPERS = ("log", "message", "log_processed", "MESSAGE", "msg", "event", "record", "line")
"""Where a line is put by Docker and Fluent Bit, Vector and Fluentd, the kubernetes filter ..."""

_MAX_DEPTH = 4
_MAX_PREFIX_BYTES = 256
_HEADER = "request_"
_REDACTED = "REDACTED"
_NOT_OF_THE_CLIENT = ("x-forwarded-", "x-real-ip")
# Nothing is asked of a client that has no body to send (RFC 9110, 10.1.1).
_NOT_KEPT = frozenset({"host", "expect"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

_COMMON = re.compile(rb'[^\s{"]+ \S+ \S+ \[[^\]"]{5,40}\] "')

_decoder = msgspec.json.Decoder(dict[str, object])
_canonical = msgspec.json.Encoder(order="sorted")

Fields = Mapping[str, object]


def decode(line: bytes) -> Exchange:
    """Return the exchange of one line, a record or a line of an access log.

    Raises MalformedRecord with a short reason that holds nothing of the line,
    and UnsupportedVersion as `codec.decode_line` does.
    """
    if line.startswith(b'{"v":'):
        return decode_line(line)
    fields = fields_of(line)
    return decode_line(line) if fields is None else exchange_of(fields)


def fields_of(line: bytes) -> Fields | None:
    """Return the fields of an access log's line, whatever it is wrapped in; None if it is none.

    Raises MalformedRecord for a line of the common log format.
    """
    wrapped: object = line
    for _ in range(_MAX_DEPTH):
        if isinstance(wrapped, str):
            wrapped = wrapped.encode("utf-8", "replace")
        if isinstance(wrapped, bytes):
            wrapped = _object(wrapped)
        if not isinstance(wrapped, dict):
            return None
        if not _ENTRY.isdisjoint(wrapped):
            return wrapped
        inner: object = None
        for name in _WRAPPERS:
            inner = wrapped.get(name)
            if isinstance(inner, (str, dict)) and inner:
                break
        wrapped = inner
    return None


def exchange_of(fields: Fields) -> Exchange:
    """Return the exchange that the fields of a line tell of.

    A header that the log redacted and that may be a secret becomes a mark, like a
    sealed one: it is never sent. Its fingerprint is that of the client's address,
    so that sessions are kept apart. Other redacted headers are left out.
    Its node is empty: nobody has captured it, and nobody has sealed it yet.
    Raises MalformedRecord if there is no method, path or time.
    """
    method, target, protocol = _request_line(fields)
    duration_us = max(0, _number(fields, "Duration") or 0) // 1000
    started_us = _started_us(fields, duration_us)
    client = _client(fields)
    headers, credentials, length = _headers(fields, client)
    had_body, size = _body(fields, method, length)
    status = _number(fields, *_STATUS)
    is_answer = status is not None and 100 <= status <= 999
    return Exchange(
        v=VERSION,
        id=_id(fields, started_us),
        service=_text(fields, *_SERVICE).partition("@")[0] or UNKNOWN_SERVICE,
        via="access-log",
        node="",
        started_us=started_us,
        duration_us=duration_us,
        client=client,
        scheme=_scheme(fields),
        upstream=_upstream(fields),
        request=Request(
            method,
            target,
            protocol.removeprefix("HTTP/") or "1.1",
            headers,
            body_bytes=size,
            omitted=BODY_NOT_LOGGED if had_body else None,
        ),
        response=Response(status) if is_answer and status is not None else None,
        observed=False,
        credentials=credentials,
    )


def _object(line: bytes) -> object:
    """Return the object of a line, what shippers write before it taken off; None if there is none.

    Such as ``time<TAB>tag<TAB>`` (Fluentd's out_file), ``time stdout F `` (the
    kubelet), or ``name | `` (Docker Compose).
    """
    if not line.startswith(b"{"):
        if _COMMON.match(line):
            raise MalformedRecord(COMMON_LOG_FORMAT)
        at = line.find(b"{", 0, _MAX_PREFIX_BYTES)
        if at < 0 or b'"' in line[:at]:
            return None
        line = line[at:]
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _request_line(fields: Fields) -> tuple[str, str, str]:
    method, target = _text(fields, *_METHOD), _text(fields, *_PATH)
    protocol = _text(fields, *_PROTOCOL)
    if not (method and target):
        parts = _text(fields, *_LINE).split(" ")
        if len(parts) >= 3:
            method, target, protocol = parts[0], " ".join(parts[1:-1]), parts[-1]
    if not method:
        raise MalformedRecord("the log's line names no method (RequestMethod)")
    if not target:
        raise MalformedRecord("the log's line names no path (RequestPath)")
    return method, as_bytes(target), protocol


def _started_us(fields: Fields, duration_us: int) -> int:
    for name in _STARTED:
        started_us = time_us(_text(fields, name))
        if started_us is not None:
            return started_us
    # The moment of writing, to the second: the best there is when both were dropped.
    written_us = time_us(_text(fields, "time"))
    if written_us is None:
        raise MalformedRecord("the log's line holds no time (StartUTC)")
    return max(0, written_us - duration_us)


def _client(fields: Fields) -> str:
    """Return the client's address: the first of a list, without a port."""
    address = _text(fields, *_CLIENT).partition(",")[0].strip()
    host, colon, port = address.rpartition(":")
    has_port = colon and port.isdigit() and (":" not in host or host.endswith("]"))
    return (host if has_port else address).strip("[]")


def _headers(fields: Fields, client: str) -> tuple[HeaderList, list[Credential], str | None]:
    """Return the client's headers, the redacted secrets among them, and the Content-Length."""
    headers: HeaderList = []
    credentials: list[Credential] = []
    length: str | None = None
    host = _text(fields, *_HOST)
    if host and host != "-":
        headers.append(("Host", as_bytes(host)))
    for key, value in fields.items():
        if not key.startswith(_HEADER) or not isinstance(value, str):
            continue
        name = as_bytes(key[len(_HEADER) :])
        lower = name.lower()
        if lower in _NOT_KEPT or lower.startswith(_NOT_OF_THE_CLIENT):
            continue
        if value == _REDACTED:
            if is_secret_name(name):
                credential = redacted(name, client)
                credentials.append(credential)
                headers.append((name, mark_of(credential.fingerprint)))
            continue
        if lower == "content-length":
            length = value
        headers.append((name, as_bytes(value)))
    return end_to_end(headers), credentials, length


def _body(fields: Fields, method: str, length: str | None) -> tuple[bool, int | None]:
    """Return whether there was a body, and its size if the log knows it."""
    size = _number(fields, "RequestContentSize")
    if length is not None and length.isdigit() and len(length) < 19:
        # Traefik counts what was read: nothing if it answered by itself.
        size = max(int(length), size or 0)
    if size is None or size < 0:
        # Such a method without a word about its length: to send it empty would be a guess.
        return method in _WITH_BODY, None if method in _WITH_BODY else 0
    return size > 0, size


def _scheme(fields: Fields) -> str:
    scheme = _text(fields, "RequestScheme")
    if scheme in ("http", "https"):
        return scheme
    forwarded = _text(fields, "request_X-Forwarded-Proto").partition(",")[0].strip()
    entry_point = _text(fields, "entryPointName").lower()
    is_tls = _text(fields, "TLSVersion") or entry_point in ("https", "websecure")
    return "https" if is_tls or forwarded in ("https", "wss") else "http"


def _upstream(fields: Fields) -> str:
    """Return the URL of the application's instance, "" where none was asked."""
    for name in _UPSTREAM:
        value = fields.get(name)
        if isinstance(value, dict):  # Go's url.URL, as Traefik 1 and 2 wrote it
            scheme, host = value.get("Scheme"), value.get("Host")
            if isinstance(scheme, str) and isinstance(host, str) and host:
                return f"{scheme or 'http'}://{host}"
        elif isinstance(value, str) and value:
            return value if "://" in value else f"http://{value}"
    return ""


def _id(fields: Fields, started_us: int) -> str:
    own = {name: value for name, value in fields.items() if _is_own(name)}
    return derived_id(started_us, _canonical.encode(own))


def _is_own(name: str) -> bool:
    """Tell whether Traefik wrote a field of what happened; shippers add fields in lower case."""
    return name[:1].isupper() or name.startswith((_HEADER, "origin_", "downstream_"))


def _text(fields: Fields, *names: str) -> str:
    """Return the first of some fields that is a text and not empty, or ""."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _number(fields: Fields, *names: str) -> int | None:
    """Return the first of some fields that is a number; shippers may make it text or a float."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.isdigit() and len(value) < 19:
            return int(value)
        if isinstance(value, (int, float)) and abs(value) < 1 << 62:
            return int(value)
    return None
