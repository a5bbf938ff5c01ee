"""Assembling a record: the tap's facts, sealed, become its line.

Owns the order of things: seal first, then write, then measure the line. Writes
nothing but a body object that the record turns out to need.
"""

from __future__ import annotations

from collections.abc import Callable

from mirrorproxy import keys
from mirrorproxy.capture.facts import Facts
from mirrorproxy.capture.lines import LineReader, json_of
from mirrorproxy.capture.ports import BodyFile, Sealer
from mirrorproxy.capture.tap import ExchangeTap
from mirrorproxy.codec import (
    MAX_LINE_BYTES,
    body_members,
    body_of,
    decode_line,
    encode_credentials,
    encode_headers,
    encode_line,
    encode_text,
)
from mirrorproxy.headers import first
from mirrorproxy.http1.heads import ResponseHead
from mirrorproxy.record import VERSION, Credential
from mirrorproxy.remembered import Remembered


class RecordTooLarge(Exception):
    """The heads alone pass what a line may hold."""


class Assembled:
    """A record's line, and how to make the body object that it names appear, if any.

    is_unsealable: a body is left out because a secret in it cannot be sealed.
    is_truncated: the request's body is not all there.
    """

    __slots__ = ("commit", "is_truncated", "is_unsealable", "line")

    def __init__(
        self,
        line: bytes,
        commit: Callable[[], None] | None,
        *,
        is_unsealable: bool,
        is_truncated: bool,
    ) -> None:
        self.line = line
        self.commit = commit
        self.is_unsealable = is_unsealable
        self.is_truncated = is_truncated


class Assembler:
    """Writes the records of one worker. node: as in `record.Exchange`.

    The line is joined from parts, most of them ready as JSON: made from values by
    an encoder, the same line takes twice as long. A test holds it to the codec's.
    open_body: begins the body object of a reference, for a body that does not fit
    into the line after all.
    """

    def __init__(
        self, sealer: Sealer, lines: LineReader, open_body: Callable[[str], BodyFile], node: str
    ) -> None:
        self._sealer = sealer
        self._lines = lines
        self._open_body = open_body
        self._via_inline = b'","via":"inline","node":%b,"started_us":' % encode_text(node)
        self._via_tap = b'","via":"tap","node":%b,"started_us":' % encode_text(node)
        # Services, upstreams and clients come again and again.
        self._text = Remembered(encode_text).__getitem__

    def assemble(
        self, tap: ExchangeTap, facts: Facts, record_id: str, duration_us: int, failure: str | None
    ) -> Assembled:
        """Return the record of an exchange, to be appended once its body is committed.

        Raises RecordTooLarge, and what sealing, the spool and writing raise.
        """
        text = self._text
        head = tap.head
        found: list[Credential] = []
        target, in_target = self._sealer.target(head.target.decode("latin-1"))
        credentials = [line.credentials_json for line in facts.lines if line.credentials_json]
        if in_target:
            credentials.insert(0, encode_credentials(in_target))
        parts = [
            b'{"v":%d,"id":"' % VERSION, record_id.encode(),
            b'","service":', text(tap.service)[:-1],
            self._via_inline if tap.upstream else self._via_tap,
            b'%d,"duration_us":%d,"client":' % (tap.started_us, duration_us),
            text(facts.client), b',"scheme":"', facts.scheme.encode(),
            b'","upstream":', text(tap.upstream),
            b',"request":{"method":', text(head.method.decode("latin-1")),
            b',"target":', encode_text(target),
            b',"version":"1.1","headers":[' if head.version else b',"version":"1.0","headers":[',
            json_of(facts.lines, head.connection_options()), b"]",
        ]  # fmt: skip
        omitted, is_truncated, commit = self._request_body(parts, tap, facts, record_id, found)
        is_unsealable = omitted is not None
        if tap.response is not None and self._response(parts, tap, tap.response):
            is_unsealable = True
        if failure is not None:
            parts.append(b',"failure":%b' % encode_text(failure))
        if not tap.upstream:  # a copy: somebody else has seen the answer
            parts.append(b',"observed":false')
        if found:
            credentials.append(encode_credentials(found))
        if credentials:
            parts += (b',"credentials":[', b",".join(credentials), b"]}\n")
        else:
            parts.append(b"}\n")
        line = b"".join(parts)
        if len(line) > MAX_LINE_BYTES:
            line, commit = self._shorten(line, commit)
        return Assembled(line, commit, is_unsealable=is_unsealable, is_truncated=is_truncated)

    def _request_body(
        self,
        parts: list[bytes],
        tap: ExchangeTap,
        facts: Facts,
        record_id: str,
        found: list[Credential],
    ) -> tuple[str | None, bool, Callable[[], None] | None]:
        """Write the rest of the request, sealed; add what was sealed in it to found.

        Returns why the body is left out, whether it was cut, and what commits its object.
        """
        omitted: str | None = None
        ref: str | None = None
        is_truncated = not tap.request_complete
        length = 0
        commit: Callable[[], None] | None = None
        body = tap.body
        if tap.whole is not None:
            length = len(tap.whole)
            omitted = self._body(
                parts, tap.whole, facts.content_type, facts.content_encoding, found
            )
        elif body is not None:
            body.finish()
            length = body.length
            omitted = body.omitted
            is_truncated = is_truncated or body.is_cut
            spill = body.spill
            if spill is not None:
                ref = keys.body_ref(tap.started_us, record_id)
                found += spill.credentials
                commit = spill.commit
            elif omitted is None:
                omitted = self._body(
                    parts, body.kept(), facts.content_type, facts.content_encoding, found
                )
        parts.append(b',"body_bytes":%d' % length)
        if ref is not None:
            parts.append(b',"body_ref":"%b"' % ref.encode())
        if is_truncated:
            parts.append(b',"truncated":true')
        if omitted is not None:
            parts.append(b',"omitted":%b' % encode_text(omitted))
        if tap.request_trailers:
            trailers = self._sealer.request("/", tap.request_trailers)
            if trailers.headers:
                parts.append(b',"trailers":%b' % encode_headers(trailers.headers))
            found += trailers.credentials
        parts.append(b"}")
        return omitted, is_truncated, commit

    def _response(self, parts: list[bytes], tap: ExchangeTap, head: ResponseHead) -> bool:
        """Write the answer, sealed; return whether its body is left out because of a secret."""
        headers = json_of(self._lines.read(head.lines), head.connection_options())
        parts.append(b',"response":{"status":%d' % head.status)
        if headers:
            parts += (b',"headers":[', headers, b"]")
        omitted: str | None = None
        kept = tap.response_body.kept() if tap.response_body is not None else None
        if kept:
            received = head.headers()
            omitted = self._body(
                parts,
                kept,
                first(received, "content-type"),
                first(received, "content-encoding"),
                [],
            )
        parts.append(b',"body_bytes":%d' % tap.response_length)
        if omitted is not None:
            parts.append(b',"omitted":%b' % encode_text(omitted))
        if tap.response_trailers:
            trailers = self._sealer.response(tap.response_trailers)
            if trailers:
                parts.append(b',"trailers":%b' % encode_headers(trailers))
        parts.append(b"}")
        return omitted is not None

    def _body(
        self,
        parts: list[bytes],
        data: bytes,
        content_type: str | None,
        content_encoding: str | None,
        found: list[Credential],
    ) -> str | None:
        """Write a body, sealed, and add what was sealed to found; return why it is left out."""
        sealed = self._sealer.body(data, content_type, content_encoding)
        found += sealed.credentials
        if sealed.data:
            parts += body_members(sealed.data)
        return sealed.omitted

    def _shorten(
        self, line: bytes, commit: Callable[[], None] | None
    ) -> tuple[bytes, Callable[[], None] | None]:
        """Return a line that fits, by moving the body into an object of its own.

        commit: of the object that the body is in already, if it is.
        """
        exchange = decode_line(line)
        request, response = exchange.request, exchange.response
        data = body_of(request)
        if data:
            request.body = request.body_encoding = None
            request.body_ref = keys.body_ref(exchange.started_us, exchange.id)
        line = encode_line(exchange)
        if len(line) > MAX_LINE_BYTES and response is not None and response.body is not None:
            response.body = response.body_encoding = None
            line = encode_line(exchange)
        if len(line) > MAX_LINE_BYTES:
            raise RecordTooLarge
        if not data or request.body_ref is None:
            return line, commit
        file = self._open_body(request.body_ref)
        try:
            file.write(data)
        except BaseException:
            file.discard()
            raise
        return line, file.commit
