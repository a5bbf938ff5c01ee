"""One exchange as a person reads it: a request and an answer, much as they were on the wire."""

from __future__ import annotations

import json
from http import HTTPStatus

import msgspec

from mirrorproxy.codec import MalformedRecord, body_of
from mirrorproxy.record import Credential, Exchange, Request, Response
from mirrorproxy.report.inspection_text import moment
from mirrorproxy.report.printable import printable, printable_lines

SHOWN_BODY_BYTES = 64 * 1024
_HEX_BYTES = 64


def describe(exchange: Exchange) -> str:
    """Return an exchange as lines of text that are safe on a terminal.

    Bodies are shown up to `SHOWN_BODY_BYTES`, JSON indented, binary ones by
    their first bytes. What is sealed stays sealed.
    """
    lines = [
        f"id        {exchange.id}",
        f"service   {printable(exchange.service)}",
        f"seen      {exchange.via} by {printable(exchange.node)}",
        f"started   {moment(exchange.started_us)}, took {exchange.duration_us / 1000:.1f} ms",
        f"client    {printable(exchange.client)} by {printable(exchange.scheme)}, "
        f"upstream {printable(exchange.upstream)}",
    ]
    lines += [f"secret    {_credential(credential)}" for credential in exchange.credentials]
    request = exchange.request
    lines += ["", printable(f"{request.method} {request.target} HTTP/{request.version}")]
    lines += _message(request)
    lines.append("")
    if exchange.response is not None:
        lines.append(f"{exchange.response.status} {_phrase(exchange.response.status)}".rstrip())
        lines += _message(exchange.response)
    elif exchange.failure is not None:
        lines.append(f"no answer: {printable(exchange.failure)}")
    else:
        lines.append("the answer was not seen")
    return "\n".join(lines)


def _credential(credential: Credential) -> str:
    scheme = f" {credential.scheme}" if credential.scheme else ""
    parts = [f"{credential.place} {credential.name}{scheme}: {credential.fingerprint}"]
    if credential.subject is not None:
        parts.append(f"subject {credential.subject}")
    if credential.user is not None:
        parts.append(f"user {credential.user}")
    if credential.claims:
        parts.append(f"claims {json.dumps(credential.claims)}")
    return printable(", ".join(parts))


def _message(message: Request | Response) -> list[str]:
    lines = [printable(f"{name}: {value}") for name, value in message.headers]
    body = _body(message)
    if body:
        lines += ["", body]
    lines += [printable(f"{name}: {value}") for name, value in message.trailers]
    return lines


def _body(message: Request | Response) -> str:
    if message.omitted is not None:
        return printable(f"({message.body_bytes} bytes, left out: {message.omitted})")
    if message.body_ref is not None:
        return printable(f"({message.body_bytes} bytes in {message.body_ref})")
    if message.body is None:
        return f"({message.body_bytes} bytes, not recorded)" if message.body_bytes else ""
    cut = f"\n({message.body_bytes} bytes, cut)" if message.truncated else ""
    if message.body_encoding == "utf8":
        return _text(message.body) + cut
    try:
        data = body_of(message)
    except MalformedRecord as error:
        return f"({error})"
    more = "..." if len(data) > _HEX_BYTES else ""
    return f"({len(data)} bytes) {data[:_HEX_BYTES].hex(' ')}{more}{cut}"


def _text(body: str) -> str:
    if len(body) > SHOWN_BODY_BYTES:
        return f"{printable_lines(body[:SHOWN_BODY_BYTES])}\n({len(body)} characters in all)"
    try:
        # Laid out as text, not decoded: repeated keys and odd numbers are part of what was sent.
        return printable_lines(msgspec.json.format(body, indent=2))
    except (msgspec.DecodeError, RecursionError):
        return printable_lines(body)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
