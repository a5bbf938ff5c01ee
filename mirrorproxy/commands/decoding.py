"""How commands read: records as they are, others sealed as they come in, bodies for rules.

Owns the joining of them. What a log, a HAR or a file of GoReplay's holds in the clear
is sealed before a command sees it, so that it is shown, matched and replaced as in a
capture.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping

from mirrorproxy.record import Exchange
from mirrorproxy.rules.facts import BodyUnreadError, ReadBody
from mirrorproxy.sources import access_log
from mirrorproxy.sources.bodies import BodyError, read_body
from mirrorproxy.sources.events import CaptureObject, Unreadable

SEAL_KEY_VARIABLE = "MIRRORPROXY_SEAL_KEY"

_OTHERS = frozenset({"access-log", "har", "gor"})
"""How an exchange came that nobody has sealed, unless it names the node that did."""


def body_reader(source: CaptureObject) -> ReadBody:
    """Return what reads the bodies beside an object, for rules that look at them."""

    def read(ref: str) -> bytes:
        try:
            return read_body(source, ref)
        except BodyError as error:
            raise BodyUnreadError(str(error)) from error

    return read


class Told:
    """What of a source was told already: that a log has the wrong format is said once of each."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def is_new(self, event: Unreadable) -> bool:
        """Tell whether an event says something that was not said before."""
        if event.reason != access_log.COMMON_LOG_FORMAT:
            return True
        if event.name in self._names:
            return False
        self._names.add(event.name)
        return True


class Decoder:
    """Decodes lines, each a record or a line of an access log. For one thread.

    keeps_secrets: leave what a log or an import holds in the clear as it is, where the
    rules say that it is sent.
    """

    def __init__(
        self, *, keeps_secrets: bool = False, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._keeps_secrets = keeps_secrets
        self._environ = environ
        self._sealers: dict[str, Callable[[Exchange], Exchange]] = {}

    def __call__(self, line: bytes) -> Exchange:
        """Return the exchange of a line. Raises what `access_log.decode` raises."""
        exchange = access_log.decode(line)
        return exchange if self._keeps_secrets else self.sealed(exchange)

    def sealed(self, exchange: Exchange) -> Exchange:
        """Return an exchange as it may be shown; what was captured is sealed already."""
        if exchange.via not in _OTHERS or exchange.node:
            return exchange
        if not self._sealers:
            self._sealers = _record_sealers(self._environ)
        return self._sealers[exchange.via](exchange)


def _record_sealers(environ: Mapping[str, str]) -> dict[str, Callable[[Exchange], Exchange]]:
    """Return what seals an exchange of each kind, and names the kind as its node."""
    # Not loaded for captures, which are sealed already: it takes a tenth of a command's start.
    from mirrorproxy.capture.seal import Sealer  # noqa: PLC0415
    from mirrorproxy.capture.seal_key import KEY_BYTES, SealKey, from_env  # noqa: PLC0415
    from mirrorproxy.capture.seal_policy import SealPolicy  # noqa: PLC0415
    from mirrorproxy.capture.seal_record import RecordSealer  # noqa: PLC0415

    # Without a key of the installation fingerprints hold within this run, which is all it needs.
    if SEAL_KEY_VARIABLE in environ:
        key = from_env(SEAL_KEY_VARIABLE, environ)
    else:
        key = SealKey(secrets.token_bytes(KEY_BYTES))
    sealer = Sealer(SealPolicy(), key)
    return {via: RecordSealer(sealer, via).seal for via in sorted(_OTHERS)}
