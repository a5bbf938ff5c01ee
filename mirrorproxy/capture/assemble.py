"""Assembling a record: the tap's facts, sealed, become an `Exchange` and its line.

Owns the order of things: seal first, then build, then measure the line. Writes
nothing but a body object that the record turns out to need.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mirrorproxy import keys
from mirrorproxy.capture.build import Facts, recorded_headers, request_record, response_record
from mirrorproxy.capture.ports import BodyFile, Sealer
from mirrorproxy.capture.tap import ExchangeTap
from mirrorproxy.codec import MAX_LINE_BYTES, body_of, encode_line
from mirrorproxy.headers import first
from mirrorproxy.record import VERSION, Credential, Exchange, Request, Response


class RecordTooLarge(Exception):
    """The heads alone pass what a line may hold."""


class Committable(NamedTuple):
    """A record's line, and how to make the body object that it names appear, if any."""

    exchange: Exchange
    line: bytes
    commit: Callable[[], None] | None


def assemble(
    tap: ExchangeTap,
    facts: Facts,
    record_id: str,
    *,
    sealer: Sealer,
    open_body: Callable[[str], BodyFile],
    node: str,
    duration_us: int,
    failure: str | None,
) -> Committable:
    """Return the record of an exchange, ready to be appended once its body is committed.

    open_body: begins the body object of a reference, for a body that does not
    fit into the line after all.
    Raises RecordTooLarge, and what sealing, open_body and writing raise.
    """
    head = tap.sealed or sealer.request(tap.head.target.decode("latin-1"), facts.headers)
    credentials = list(head.credentials)
    request = _request(tap, facts, record_id, sealer, head.target, head.headers, credentials)
    exchange = Exchange(
        v=VERSION,
        id=record_id,
        service=tap.service,
        via="inline",
        node=node,
        started_us=tap.started_us,
        duration_us=duration_us,
        client=facts.client,
        scheme=facts.scheme,
        upstream=tap.upstream,
        request=request,
        response=_response(tap, sealer),
        failure=failure,
        credentials=credentials,
    )
    line = encode_line(exchange)
    spill = tap.body.spill if tap.body is not None else None
    if len(line) > MAX_LINE_BYTES:
        return _shorten(exchange, open_body)
    return Committable(exchange, line, spill.commit if spill is not None else None)


def _request(
    tap: ExchangeTap,
    facts: Facts,
    record_id: str,
    sealer: Sealer,
    target: str,
    headers: list[tuple[str, str]],
    credentials: list[Credential],
) -> Request:
    """Return the sealed request; adds to credentials what its body and trailers held."""
    data = b""
    length = 0
    body_ref = omitted = None
    is_cut = not tap.request_complete
    if (body := tap.body) is not None:
        body.finish()
        length = body.length
        is_cut = is_cut or body.is_cut
        omitted = body.omitted
        if body.spill is not None:
            body_ref = keys.body_ref(tap.started_us, record_id)
            credentials += body.spill.credentials
        elif omitted is None:
            sealed = sealer.body(body.kept(), facts.content_type, facts.content_encoding)
            data, omitted = sealed.data or b"", sealed.omitted
            credentials += sealed.credentials
    trailers = []
    if tap.request_trailers:
        sealed_trailers = sealer.request("/", tap.request_trailers)
        trailers = sealed_trailers.headers
        credentials += sealed_trailers.credentials
    return request_record(
        tap.head,
        target,
        headers,
        body=data,
        length=length,
        body_ref=body_ref,
        truncated=is_cut,
        omitted=omitted,
        trailers=trailers,
    )


def _response(tap: ExchangeTap, sealer: Sealer) -> Response | None:
    if tap.response is None:
        return None
    headers = recorded_headers(tap.response.headers())
    data, omitted = b"", None
    kept = tap.response_body.kept() if tap.response_body is not None else None
    if kept:
        sealed = sealer.body(
            kept, first(headers, "content-type"), first(headers, "content-encoding")
        )
        data, omitted = sealed.data or b"", sealed.omitted
    return response_record(
        tap.response.status,
        sealer.response(headers),
        body=data,
        length=tap.response_length,
        omitted=omitted,
        trailers=sealer.response(tap.response_trailers) if tap.response_trailers else [],
    )


def _shorten(exchange: Exchange, open_body: Callable[[str], BodyFile]) -> Committable:
    """Return a record whose line fits, by moving its body into an object of its own."""
    request, response = exchange.request, exchange.response
    data = b""
    if request.body is not None:
        data = body_of(request)
        request.body = request.body_encoding = None
        request.body_ref = keys.body_ref(exchange.started_us, exchange.id)
    line = encode_line(exchange)
    if len(line) > MAX_LINE_BYTES and response is not None and response.body is not None:
        response.body = response.body_encoding = None
        line = encode_line(exchange)
    if len(line) > MAX_LINE_BYTES:
        raise RecordTooLarge
    if not data:
        return Committable(exchange, line, None)
    file = open_body(request.body_ref or "")
    try:
        file.write(data)
    except BaseException:
        file.discard()
        raise
    return Committable(exchange, line, file.commit)
