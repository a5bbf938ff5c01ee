"""GoReplay's records, as exchanges.

Pure. Owns what its requests and responses become, and the pairing of the two:
they share an id, and a response comes some time after its request. A record knows
the time of its message, and how long it took: the response of older versions
begins when its request did, of newer ones when it came itself.

What a file holds in the clear comes out in the clear: whoever shows, keeps or
sends an exchange seals it first.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator

import msgspec

from mirrorproxy.codec import MAX_TIME_US, MalformedRecord, encode_body
from mirrorproxy.errors import PeerError
from mirrorproxy.headers import end_to_end, first
from mirrorproxy.http1.body import decoder
from mirrorproxy.http1.grammar import CHUNKED, UNTIL_CLOSE, fields
from mirrorproxy.http1.heads import RequestHead, ResponseHead, parse_request, parse_response
from mirrorproxy.record import VERSION, Exchange, HeaderList, Request, Response
from mirrorproxy.sources.gor_records import REPLAYED, REQUEST, GorRecord
from mirrorproxy.sources.imported import UNKNOWN_SERVICE, derived_id

MAX_WAITING = 4096
"""Requests that wait for their response at the same time; then the oldest goes without."""

MAX_WAITING_BYTES = 16 * 1024 * 1024

MAX_WAIT_US = 25_000_000
"""In captured time: within what `merge` puts in order, so that none comes behind its turn."""

MAX_INTERIM = 16
"""Interim answers before one that counts; each costs a look at all that follows it."""

_OUR_ID = re.compile(r"[0-9a-f]{32}")
_MAX_TRAILERS = 65536
_NO_TIME = "a time that is not from 1970 to 9999"


class Pairing:
    """Puts requests and their responses together. Memory is bounded by the limits above.

    max_waiting: how many requests wait at the same time.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._waiting: OrderedDict[str, tuple[Exchange, int]] = OrderedDict()
        self._bytes = 0
        self._newest_us = 0

    def add(self, record: GorRecord) -> Iterator[Exchange]:
        """Take one record; yield what is complete, or waits no longer.

        A response without its request is left out: it may stand in the file before.
        Raises MalformedRecord, with a reason that holds nothing of the record.
        """
        if record.kind == REPLAYED:
            return
        if record.kind == REQUEST:
            yield from self._request(record)
            return
        found = self._waiting.pop(record.id, None)
        if found is None:
            return
        exchange, size = found
        self._bytes -= size
        try:
            answered = _answered(exchange, record)
        except MalformedRecord:
            # The request is worth as much without it.
            yield exchange
            raise
        yield answered

    def rest(self) -> Iterator[Exchange]:
        """Yield those whose response never came."""
        while self._waiting:
            yield self._oldest()

    def _request(self, record: GorRecord) -> Iterator[Exchange]:
        exchange = exchange_of(record)
        if record.id in self._waiting:
            before, size = self._waiting.pop(record.id)
            self._bytes -= size
            yield before
        size = len(record.message)
        self._waiting[record.id] = (exchange, size)
        self._bytes += size
        self._newest_us = max(self._newest_us, exchange.started_us)
        while self._is_over():
            yield self._oldest()

    def _is_over(self) -> bool:
        if len(self._waiting) > self._max_waiting or self._bytes > MAX_WAITING_BYTES:
            return True
        oldest, _ = next(iter(self._waiting.values()))
        return len(self._waiting) > 1 and oldest.started_us < self._newest_us - MAX_WAIT_US

    def _oldest(self) -> Exchange:
        _, (exchange, size) = self._waiting.popitem(last=False)
        self._bytes -= size
        return exchange


def exchange_of(record: GorRecord) -> Exchange:
    """Return the exchange of a request, its response not seen yet.

    Its node is empty: nobody has sealed it. Raises MalformedRecord.
    """
    started_us = record.at_ns // 1000
    if started_us > MAX_TIME_US:
        raise MalformedRecord(_NO_TIME)
    try:
        head = parse_request(record.message)
        if head is None:
            raise MalformedRecord("a request whose head does not end")
        request = _request(head, record.message[len(head.raw) :])
    except PeerError as error:
        raise MalformedRecord(f"no HTTP/1 request: {error}") from error
    is_ours = _OUR_ID.fullmatch(record.id) is not None
    return Exchange(
        v=VERSION,
        id=record.id if is_ours else derived_id(started_us, record.id.encode()),
        service=UNKNOWN_SERVICE,
        via="gor",
        node="",
        started_us=started_us,
        duration_us=0,
        client=_client(request.headers),
        scheme=_scheme(request.headers),
        upstream="",
        request=request,
        observed=False,
    )


def _answered(exchange: Exchange, record: GorRecord) -> Exchange:
    try:
        response = _response(record.message, to_head=exchange.request.method == "HEAD")
    except PeerError as error:
        raise MalformedRecord(f"no HTTP/1 response: {error}") from error
    began_us = max(0, record.at_ns // 1000 - exchange.started_us)
    return msgspec.structs.replace(
        exchange,
        response=response,
        observed=True,
        duration_us=min(began_us + max(0, record.latency_ns) // 1000, MAX_TIME_US),
    )


def _request(head: RequestHead, rest: bytes) -> Request:
    body, size, trailers, is_cut = _body(head.framing, rest, 400)
    text, encoding = encode_body(body)
    return Request(
        head.method.decode(),
        head.target.decode("latin-1"),
        f"1.{head.version}",
        end_to_end(head.headers()),
        text,
        encoding,
        body_bytes=size,
        truncated=is_cut,
        trailers=trailers,
    )


def _response(message: bytes, *, to_head: bool) -> Response:
    for _ in range(MAX_INTERIM + 1):
        head: ResponseHead | None = parse_response(message, to_head=to_head)
        if head is None:
            raise MalformedRecord("a response whose head does not end")
        message = message[len(head.raw) :]
        # An interim answer, such as 100: the one that counts follows.
        if head.status >= 200 or head.status == 101 or not message:
            break
    else:
        raise MalformedRecord(f"a response after more than {MAX_INTERIM} interim ones")
    body, size, trailers, is_cut = _body(head.framing, message, 502)
    text, encoding = encode_body(body)
    return Response(
        head.status,
        end_to_end(head.headers()),
        text,
        encoding,
        body_bytes=size,
        truncated=is_cut,
        trailers=trailers,
    )


def _body(framing: int, rest: bytes, status: int) -> tuple[bytes, int, HeaderList, bool]:
    """Return a body, its length, its trailers, and whether GoReplay has cut it."""
    if framing == UNTIL_CLOSE:
        return rest, len(rest), [], False
    taking = decoder(framing, status, _MAX_TRAILERS)
    pieces: list[bytes] = []
    taking.feed(rest, pieces)
    body = b"".join(pieces)
    size = len(body) if framing == CHUNKED else framing
    return body, size, fields(taking.trailers), not taking.done


def _client(headers: HeaderList) -> str:
    """Return the client's address, as a proxy before the application or GoReplay itself put it."""
    address = first(headers, "x-forwarded-for") or first(headers, "x-real-ip") or ""
    return address.partition(",")[0].strip()


def _scheme(headers: HeaderList) -> str:
    forwarded = (first(headers, "x-forwarded-proto") or "").partition(",")[0].strip().lower()
    return "https" if forwarded in ("https", "wss") else "http"
