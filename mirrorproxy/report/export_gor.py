"""Exchanges as GoReplay's records: a request, and the response where there was one.

Pure. Owns the form of a record and the framing of its message: recreated, as
records of exchanges hold none. What a file of GoReplay's cannot hold is refused,
never bent: its reader would take it for something else.
"""

from __future__ import annotations

import re

from mirrorproxy.headers import first
from mirrorproxy.http1.body import chunk, last_chunk
from mirrorproxy.http1.grammar import REQUEST_HEAD, STATUS_LINE, TRAILERS
from mirrorproxy.record import Exchange, HeaderList, Request, Response
from mirrorproxy.report.exported import Exported, NotExportedError, phrase, why_incomplete

SEPARATOR = "\n\N{MONKEY FACE}\N{SEE-NO-EVIL MONKEY}\N{HEAR-NO-EVIL MONKEY}\n".encode()
"""GoReplay's protocol.go: payloadSeparator."""

_REQUEST, _RESPONSE = b"1", b"2"
_RESPONSE_HEAD = re.compile(STATUS_LINE.pattern + rb"\r\n" + TRAILERS.pattern)
_FRAMING = frozenset({"content-length", "transfer-encoding"})


def gor_records(exported: Exported) -> bytes:
    """Return the records of an exchange, each with its separator.

    The time of both is the request's, the latency of the response the whole
    duration, as GoReplay's documentation says. A response whose body was not
    recorded has an empty one. Raises NotExportedError.
    """
    exchange = exported.exchange
    if (reason := why_incomplete(exchange.request)) is not None:
        raise NotExportedError(reason)
    at_ns = exchange.started_us * 1000
    records = [_record(_REQUEST, exchange.id, at_ns, 0, _request(exchange, exported.request_body))]
    if exchange.response is not None:
        message = _response(exchange, exchange.response, exported.response_body)
        duration_ns = exchange.duration_us * 1000
        records.append(_record(_RESPONSE, exchange.id, at_ns, duration_ns, message))
    return b"".join(records)


def _record(kind: bytes, record_id: str, at_ns: int, latency_ns: int, message: bytes) -> bytes:
    # Also where the separator's beginning stands at the message's very end.
    if (message + SEPARATOR).find(SEPARATOR) != len(message):
        raise NotExportedError("holds GoReplay's separator, which would end it early")
    meta = b"%b %b %d %d\n" % (kind, record_id.encode(), at_ns, latency_ns)
    return meta + message + SEPARATOR


def _request(exchange: Exchange, body: bytes) -> bytes:
    request = exchange.request
    start = f"{request.method} {request.target} HTTP/{request.version}"
    head, framed = _framed(start, request, body, has_body=bool(body) or _had_length(request))
    if not REQUEST_HEAD.fullmatch(head):
        raise NotExportedError("is no request of HTTP/1")
    return head + framed


def _response(exchange: Exchange, response: Response, body: bytes) -> bytes:
    start = f"HTTP/1.1 {response.status} {phrase(response.status)}"
    if exchange.request.method == "HEAD" or response.status in (204, 304):
        # Its length is that of a body that is not sent.
        head = _head(start, response.headers)
        framed = b""
    else:
        head, framed = _framed(start, response, body, has_body=response.status >= 200)
    if not _RESPONSE_HEAD.fullmatch(head):
        raise NotExportedError("has a response that is none of HTTP/1")
    return head + framed


def _framed(
    start: str, message: Request | Response, body: bytes, *, has_body: bool
) -> tuple[bytes, bytes]:
    """Return the head with its framing, and the body in it."""
    if message.trailers:
        lines = [line for line in message.headers if line[0].lower() not in _FRAMING]
        head = _head(start, [*lines, ("Transfer-Encoding", "chunked")])
        trailers = _lines(message.trailers)
        if not TRAILERS.fullmatch(trailers + b"\r\n"):
            raise NotExportedError("has trailers that HTTP does not allow")
        return head, b"".join([*chunk([body]), last_chunk(trailers)])
    length = ("Content-Length", str(len(body)))
    headers: HeaderList = []
    for line in message.headers:
        if line[0].lower() not in _FRAMING:
            headers.append(line)
        elif length[1] and line[0].lower() == "content-length":
            # Where it stood, and in its spelling; the body may have been sealed since.
            headers.append((line[0], length[1]))
            length = ("", "")
    if has_body and length[1]:
        headers.append(length)
    return _head(start, headers), body


def _had_length(request: Request) -> bool:
    return first(request.headers, "content-length") is not None


def _head(start: str, headers: HeaderList) -> bytes:
    return _latin1(f"{start}\r\n") + _lines(headers) + b"\r\n"


def _lines(headers: HeaderList) -> bytes:
    return _latin1("".join(f"{name}: {value}\r\n" for name, value in headers))


def _latin1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise NotExportedError("has a head that is no latin-1 text") from error
