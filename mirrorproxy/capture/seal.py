"""Sealing: what a captured request becomes before any of it may reach a disk.

Owns the entry points that the recorder calls; how secrets are found and
replaced is told in the `seal_*` modules beside it. Values in, values out: no
file, no clock, no network, and no secret in any error.
"""

from __future__ import annotations

from typing import NamedTuple

from mirrorproxy.capture.seal_body import UNSEALABLE, BodyStream, is_clean_json, seal_body
from mirrorproxy.capture.seal_heads import Heads
from mirrorproxy.capture.seal_key import SealKey
from mirrorproxy.capture.seal_policy import Names, SealPolicy
from mirrorproxy.capture.seal_values import Findings, Unsealable, Vault
from mirrorproxy.record import Credential, HeaderList

__all__ = ["BodyStream", "SealKey", "SealPolicy", "SealedBody", "SealedHead", "Sealer"]


class SealedHead(NamedTuple):
    """A request's target and headers as they are recorded, and what was sealed in them."""

    target: str
    headers: HeaderList
    credentials: list[Credential]


class SealedBody(NamedTuple):
    """A body as it is recorded. data is None when it cannot be: omitted says why."""

    data: bytes | None
    omitted: str | None
    credentials: list[Credential]


class Sealer:
    """Seals with one policy and one key. Not for several threads at once."""

    def __init__(self, policy: SealPolicy, key: SealKey) -> None:
        self._vault = Vault(key, Names(policy))
        self._heads = Heads(self._vault)

    def target(self, target: str) -> tuple[str, list[Credential]]:
        """Return a request's target sealed, and what was sealed in it. Latin-1 text."""
        return self._heads.target(target)

    def line(self, line: tuple[str, str]) -> tuple[tuple[str, str] | None, tuple[Credential, ...]]:
        """Return one header line sealed (None: dropped), and what was sealed in it."""
        return self._heads.line(line)

    def request(self, target: str, headers: HeaderList) -> SealedHead:
        """Return a request's head sealed. target, headers: latin-1 text, as received."""
        sealed_target, credentials = self._heads.target(target)
        lines, found = self._heads.lines(headers)
        return SealedHead(sealed_target, lines, credentials + found)

    def response(self, headers: HeaderList) -> HeaderList:
        """Return an answer's headers sealed; trailers of either side likewise."""
        return self._heads.lines(headers)[0]

    def body(
        self, data: bytes, content_type: str | None, content_encoding: str | None
    ) -> SealedBody:
        """Return a whole body sealed, of a request or an answer.

        data: as it was on the wire, transfer coding taken off; also the
        beginning of a body that was cut.
        """
        if not data or is_clean_json(self._vault.names, data, content_type, content_encoding):
            return SealedBody(data, None, [])
        found = Findings(self._vault, "body")
        try:
            sealed = seal_body(found, data, content_type, content_encoding)
        except Unsealable:
            return SealedBody(None, UNSEALABLE, found.credentials)
        return SealedBody(sealed, None, found.credentials)

    def stream(self, content_type: str | None, content_encoding: str | None) -> BodyStream:
        """Return what seals a body piece by piece, for bodies too large for memory."""
        return BodyStream(Findings(self._vault, "body"), content_type, content_encoding)
