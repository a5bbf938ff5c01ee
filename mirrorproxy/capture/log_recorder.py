"""The recorder of an access log: each of its lines becomes a record, or is counted as none.

Owns the ledger of following, on the counters of a worker: every line is counted
once as captured, filtered, sampled or dropped. Nothing unsealed is ever written.
Unlike a request a line can wait: what the spool does not take is not dropped,
its line is to be recorded again.
"""

from __future__ import annotations

import msgspec

from mirrorproxy import sampling
from mirrorproxy.capture.ports import Writer
from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.seal_record import RecordSealer
from mirrorproxy.codec import MAX_LINE_BYTES, MalformedRecord, encode_line
from mirrorproxy.errors import SourceError
from mirrorproxy.headers import REPLAY_HEADER, first
from mirrorproxy.metrics import INDEX, Slot, captured_store
from mirrorproxy.record import Exchange
from mirrorproxy.sources.access_log import exchange_of, fields_of

_SEEN = INDEX["seen"]
_CAPTURED = INDEX["captured"]

NOT_AN_ENTRY = "not a line of a JSON access log"


class LogRecorder:
    """Records the lines of one log.

    service: the name of all exchanges; None to take what the log says.
    """

    def __init__(
        self,
        *,
        sealer: RecordSealer,
        writer: Writer,
        slot: Slot,
        policy: ServicePolicy,
        service: str | None = None,
    ) -> None:
        self._sealer = sealer
        self._writer = writer
        self._slot = slot
        self._policy = policy
        self._service = service
        self._store_captured = captured_store(slot)
        self.complaint: str | None = None
        """Why the last unreadable line was none, without anything of it."""

    def record(self, data: bytes) -> None:
        """Record one line, or count why not.

        Raises SpoolFull or OSError if it cannot be written just now; nothing was
        counted then.
        """
        line, reason = self._line_of(data)
        if line is None:
            self._slot[INDEX[reason]] += 1
        else:
            writer = self._writer
            writer.append(line)
            captured = self._slot[_CAPTURED] + 1
            self._store_captured(writer.created_us, writer.seq, writer.size, captured)
        # Counted last: a kill before it leaves a record that is found, never a line that is lost.
        self._slot[_SEEN] += 1

    def _line_of(self, data: bytes) -> tuple[bytes | None, str]:
        """Return the record of a line, or the field that counts why there is none."""
        try:
            fields = fields_of(data)
            if fields is None:
                self.complaint = NOT_AN_ENTRY
                return None, "dropped_unreadable"
            exchange = exchange_of(fields)
        except (MalformedRecord, SourceError) as error:
            self.complaint = str(error)
            return None, "dropped_unreadable"
        if self._service is not None:
            exchange = msgspec.structs.replace(exchange, service=self._service)
        if reason := self._refusal(exchange):
            return None, reason
        sealed = self._sealer.seal(exchange)
        if not self._is_sampled(sealed):
            return None, "sampled"
        try:
            line = encode_line(sealed)
        except ValueError:
            return None, "dropped_error"
        return (line, "") if len(line) <= MAX_LINE_BYTES else (None, "dropped_error")

    def _refusal(self, exchange: Exchange) -> str | None:
        request, filters = exchange.request, self._policy.filters
        if first(request.headers, REPLAY_HEADER) is not None:
            return "filtered_replay"
        if filters.is_empty:
            return None
        return (
            filters.of_request(request.method, request.target)
            or filters.of_content_type(first(request.headers, "content-type"))
            or filters.of_status(exchange.response.status if exchange.response else None)
        )

    def _is_sampled(self, sealed: Exchange) -> bool:
        policy = self._policy
        if policy.percent >= 100:
            return True
        by_id = policy.percent_by == "id"
        key = sealed.id if by_id else sampling.session_key(sealed.credentials, sealed.client)
        return sampling.copies(key, policy.percent, sampling.CAPTURE_SALT) > 0
