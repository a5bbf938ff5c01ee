"""Sealing exchanges that others wrote down: what an access log holds in the clear.

Pure. Owns the order of things for an exchange that never passed the proxy; how
secrets are found and replaced is the sealer's business.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mirrorproxy.capture.ports import Sealer
from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange, HeaderList
from mirrorproxy.remembered import Remembered

_Line = tuple[str, str]
_Sealed = tuple[tuple[str, str] | None, Sequence[Credential]]


class RecordSealer:
    """Seals the heads of exchanges without bodies. Not for several threads at once.

    node: who has sealed it, for the record.
    """

    def __init__(self, sealer: Sealer, node: str) -> None:
        self._node = node
        self._target = sealer.target
        self._line: Remembered[_Line, _Sealed] = Remembered(sealer.line)

    def seal(self, exchange: Exchange) -> Exchange:
        """Return an exchange with its target and headers sealed.

        Its own credentials are those of headers that were redacted before; their
        marks stay as they are.
        """
        request = exchange.request
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
        return msgspec.structs.replace(
            exchange,
            node=self._node,
            request=msgspec.structs.replace(request, target=target, headers=headers),
            credentials=credentials,
        )
