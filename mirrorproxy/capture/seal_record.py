"""Sealing exchanges that others wrote down: what logs, HAR and GoReplay hold in the clear.

Pure. Owns the order of things for an exchange that never passed the proxy; how
secrets are found and replaced is the sealer's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from mirrorproxy.capture.ports import Sealer
from mirrorproxy.codec import body_of, encode_body
from mirrorproxy.headers import first
from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange, HeaderList, Request, Response
from mirrorproxy.remembered import Remembered

_Message = TypeVar("_Message", Request, Response)
_Line = tuple[str, str]
_Sealed = tuple[tuple[str, str] | None, Sequence[Credential]]


class RecordSealer:
    """Seals exchanges whose bodies, if any, stand in the record. Not for several threads at once.

    node: who has sealed it, for the record.
    """

    def __init__(self, sealer: Sealer, node: str) -> None:
        self._node = node
        self._sealer = sealer
        self._target = sealer.target
        self._line: Remembered[_Line, _Sealed] = Remembered(sealer.line)

    def seal(self, exchange: Exchange) -> Exchange:
        """Return an exchange without its secrets, its response's included.

        Its own credentials are those of headers that were redacted before; their
        marks stay as they are.
        """
        request, response = exchange.request, exchange.response
        target, found = self._target(request.target)
        redacted = {mark_of(one.fingerprint) for one in exchange.credentials}
        headers: HeaderList = []
        credentials = [*found, *exchange.credentials]
        for line in request.headers:
            if line[1] in redacted:
                headers.append(line)
                continue
            sealed, in_line = self._line[line]
            if sealed is not None:
                headers.append(sealed)
            credentials += in_line
        request, in_body = self._with_sealed_body(request)
        credentials += in_body
        if response is not None:
            response, _ = self._with_sealed_body(response)
            response = msgspec.structs.replace(
                response,
                headers=self._sealer.response(response.headers),
                trailers=self._sealer.response(response.trailers),
            )
        return msgspec.structs.replace(
            exchange,
            node=self._node,
            request=msgspec.structs.replace(
                request,
                target=target,
                headers=headers,
                trailers=self._sealer.response(request.trailers),
            ),
            response=response,
            credentials=credentials,
        )

    def _with_sealed_body(self, message: _Message) -> tuple[_Message, Sequence[Credential]]:
        """Return a message with its body sealed, or left out where it cannot be."""
        if message.body is None:
            return message, ()
        sealed = self._sealer.body(
            body_of(message),
            first(message.headers, "content-type"),
            first(message.headers, "content-encoding"),
        )
        text, encoding = encode_body(sealed.data or b"")
        return msgspec.structs.replace(
            message, body=text, body_encoding=encoding, omitted=sealed.omitted
        ), sealed.credentials
