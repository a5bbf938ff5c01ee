"""The recorder: decides what is recorded, seals it, and appends it to the spool.

One per worker, in its event loop. Owns the ledger of capturing: every exchange
seen is counted exactly once as captured, filtered, sampled or dropped. Nothing
here ever raises into the proxy or waits for anything but the local disk, and
nothing unsealed is ever written.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mirrorproxy import keys, sampling
from mirrorproxy.capture.assemble import Assembler, RecordTooLarge
from mirrorproxy.capture.breaker import SLOW_APPEND_S, Breaker, Complaints
from mirrorproxy.capture.facts import Facts, facts_of, is_recorded_text
from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.lines import LineReader
from mirrorproxy.capture.ports import BodyFile, Sealer, Writer
from mirrorproxy.capture.tap import IGNORED, ExchangeTap, Tap
from mirrorproxy.capture.tee import Budget, RequestBody, ResponseBody, Spill, TeeLimits
from mirrorproxy.clock import new_id
from mirrorproxy.headers import REPLAY_HEADER, first
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.origin import Origin
from mirrorproxy.metrics import INDEX, Slot, captured_store
from mirrorproxy.remembered import Remembered
from mirrorproxy.spool.segment import SpoolFull

_log = logging.getLogger("mirrorproxy.capture")

_SEEN = INDEX["seen"]
_CAPTURED = INDEX["captured"]
_SAMPLED = INDEX["sampled"]
_REPLAYED = INDEX["filtered_replay"]
_UNSEALABLE = INDEX["omitted_unsealable"]
_TRUNCATED = INDEX["truncated"]
_DROPPED_CLIENT_ABORTED = INDEX["dropped_client_aborted"]

_WHY = {
    "spool_full": "the spool is full",
    "disk": "the spool cannot be written",
    "slow_disk": "the spool's disk hangs",
}

_ORIGINS_REMEMBERED = 1024

_REPLAY_NAME = REPLAY_HEADER.lower()


class Sealing:
    """A sealer with what it has read: made once for all services that share it.

    assembler: of the recorder that uses it, once it has.
    """

    __slots__ = ("assembler", "lines", "sealer")

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer
        self.lines = LineReader(sealer.line)
        self.assembler: Assembler | None = None


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """What of one service is recorded.

    percent: 0 to 100, the share of what the filters take. percent_by: "id"
    chooses each request by itself, "session" keeps or leaves sessions whole.
    response_body: record the bodies of answers that are text and short enough.
    sealing: in place of the recorder's own, where more is secret than elsewhere.
    """

    filters: Filters = field(default_factory=Filters)
    percent: float = 100.0
    percent_by: Literal["id", "session"] = "id"
    response_body: bool = False
    sealing: Sealing | None = None


class _Blocked(Exception):
    """The spool is left alone for the moment. reason: as in `Breaker`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Recorder:
    """Records the exchanges of one worker.

    policies: by service; a service without one is recorded whole. writer: left
    alone for a second whenever it fails. slot: the worker's counters. node:
    ``<name>/<slot>``.
    trust_forwarded: whether the headers of a proxy in front are believed.
    monotonic: seconds, for time-outs alone.
    """

    def __init__(
        self,
        *,
        sealer: Sealer,
        writer: Writer,
        slot: Slot,
        node: str,
        policies: Mapping[str, ServicePolicy] | None = None,
        trust_forwarded: bool = True,
        limits: TeeLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sealing = Sealing(sealer)
        self._node = node
        self._writer = writer
        self._slot = slot
        self._store_captured = captured_store(slot)
        self._policies = dict(policies or {})
        self._default_policy = ServicePolicy()
        self._trust_forwarded = trust_forwarded
        self._limits = limits or TeeLimits()
        self._budget = Budget(self._limits.buffered)
        self._monotonic = monotonic
        self._breaker = Breaker()
        self._complaints = Complaints()
        self._origin = Remembered[Origin, str](str, _ORIGINS_REMEMBERED).__getitem__

    def begin(
        self,
        head: RequestHead,
        *,
        service: str,
        upstream: Origin | None,
        peer: str,
        started_us: int,
    ) -> Tap:
        """Return the tap of a request that is about to be forwarded.

        service: its route's name. upstream: None for a copy, which is not
        forwarded. peer: the address of the other end of the connection.
        started_us: wall clock at the request's first byte.
        """
        self._slot[_SEEN] += 1
        try:
            return self._begin(head, service, upstream, peer, started_us)
        except Exception as error:  # noqa: BLE001 - nothing in capturing may reach the request
            self.drop_for(error)
            return IGNORED

    def policy(self, service: str) -> ServicePolicy:
        """Return what is recorded of a service."""
        return self._policies.get(service, self._default_policy)

    def set_policy(self, service: str, policy: ServicePolicy) -> None:
        """Change what is recorded of a service from the next request on."""
        self._policies[service] = policy

    def close(self) -> None:
        """Let go of the segment. Raises OSError."""
        self._writer.close()

    def _begin(
        self, head: RequestHead, service: str, upstream: Origin | None, peer: str, started_us: int
    ) -> Tap:
        if not head.is_plain and head.values(_REPLAY_NAME):
            self._slot[_REPLAYED] += 1
            return IGNORED
        policy = self.policy(service)
        if not policy.filters.is_empty:
            reason = policy.filters.of_request(
                head.method.decode("latin-1"), head.target.decode("latin-1")
            )
            if reason is not None:
                self._slot[INDEX[reason]] += 1
                return IGNORED
        origin = "" if upstream is None else self._origin(upstream)
        tap = ExchangeTap(self, head, service, origin, peer, started_us)
        if policy.percent < 100 and not self._is_sampled(tap, policy):
            self._slot[_SAMPLED] += 1
            return IGNORED
        return tap

    def _is_sampled(self, tap: ExchangeTap, policy: ServicePolicy) -> bool:
        if policy.percent_by == "id":
            key = self._id_of(tap)
        else:
            facts = self._facts_of(tap)
            key = sampling.session_key(facts.credentials, facts.client)
        return sampling.copies(key, policy.percent, sampling.CAPTURE_SALT) > 0

    # What the tap asks for.

    def new_body(self, tap: ExchangeTap) -> RequestBody:
        """Return an empty copy of a request's body."""
        return RequestBody(
            self._limits, self._budget, tap.head.framing, lambda: self._open_spill(tap)
        )

    def keeps_answers(self, service: str) -> bool:
        """Tell whether bodies of a service's answers are recorded."""
        return self.policy(service).response_body

    def new_response_body(self, head: ResponseHead) -> ResponseBody | None:
        """Return an empty copy of an answer's body, None where it is not recorded."""
        if head.framing > self._limits.response:
            return None
        if not is_recorded_text(first(head.headers(), "content-type")):
            return None
        return ResponseBody(self._limits, self._budget)

    def keep(self, tap: ExchangeTap, duration_us: int, failure: str | None) -> None:
        """Record an exchange, or count why not. Raises whatever keeps it from being recorded."""
        facts = self._facts_of(tap)
        policy = self.policy(tap.service)
        filters = policy.filters
        if not filters.is_empty:
            reason = filters.of_content_type(facts.content_type) or filters.of_status(
                tap.response.status if tap.response is not None else None
            )
            if reason is not None:
                self._slot[INDEX[reason]] += 1
                return
        if self._breaker.is_set and (blocked := self._breaker.reason(self._monotonic())):
            self.drop(blocked)
            return
        sealing = policy.sealing or self._sealing
        assembler = sealing.assembler
        if assembler is None:
            assembler = Assembler(sealing.sealer, sealing.lines, self._open_body, self._node)
            sealing.assembler = assembler
        record = assembler.assemble(tap, facts, self._id_of(tap), duration_us, failure)
        if record.commit is not None:
            # Before the record that names it; a body without a record is swept later.
            record.commit()
        self._append(record.line)
        if record.is_unsealable:
            self._slot[_UNSEALABLE] += 1
        if record.is_truncated:
            self._slot[_TRUNCATED] += 1

    def drop(self, reason: str) -> None:
        """Count an exchange that is not recorded. reason: of a field ``dropped_<reason>``.

        One without a field of its own says how a request came to stay incomplete,
        and counts as the client's. Only what hints at a fault of ours is reported.
        """
        self._slot[INDEX.get(f"dropped_{reason}", _DROPPED_CLIENT_ABORTED)] += 1
        if reason in _WHY:
            self._complain(_WHY[reason])

    def drop_for(self, error: Exception) -> None:
        """Count and report an exchange that an error keeps from being recorded."""
        reason, detail = _explain(error)
        if reason in ("spool_full", "disk") and not isinstance(error, _Blocked):
            self._breaker.open(self._monotonic(), reason)
        self._slot[INDEX[f"dropped_{reason}"]] += 1
        self._complain(detail)

    # The spool.

    def _append(self, line: bytes) -> None:
        writer = self._writer
        began = self._monotonic()
        writer.append(line)
        captured = self._slot[_CAPTURED] + 1
        self._store_captured(writer.created_us, writer.seq, writer.size, captured)
        ended = self._monotonic()
        if ended - began > SLOW_APPEND_S:
            self._breaker.open(ended, "slow_disk")

    def _open_body(self, ref: str) -> BodyFile:
        if self._breaker.is_set and (blocked := self._breaker.reason(self._monotonic())):
            raise _Blocked(blocked)
        return self._writer.open_body(ref)

    def _open_spill(self, tap: ExchangeTap) -> Spill:
        facts = self._facts_of(tap)
        file = self._open_body(keys.body_ref(tap.started_us, self._id_of(tap)))
        sealer = self._sealing_of(tap).sealer
        return Spill(sealer.stream(facts.content_type, facts.content_encoding), file)

    # What is made of a head once, when first needed.

    def _facts_of(self, tap: ExchangeTap) -> Facts:
        if tap.facts is None:
            head = tap.head
            tap.facts = facts_of(
                self._sealing_of(tap).lines.read(head.lines),
                tap.peer,
                trust_forwarded=self._trust_forwarded,
            )
        return tap.facts

    def _sealing_of(self, tap: ExchangeTap) -> Sealing:
        return self.policy(tap.service).sealing or self._sealing

    def _id_of(self, tap: ExchangeTap) -> str:
        if tap.record_id is None:
            tap.record_id = new_id(tap.started_us)
        return tap.record_id

    def _complain(self, detail: str) -> None:
        if count := self._complaints.add(self._monotonic()):
            _log.warning("%d exchange(s) not recorded, the last because %s", count, detail)


def _explain(error: Exception) -> tuple[str, str]:
    """Return what is counted and what is said of an error; its own text may quote a request."""
    match error:
        case _Blocked():
            return error.reason, _WHY[error.reason]
        case SpoolFull():
            return "spool_full", _WHY["spool_full"]
        case RecordTooLarge():
            return "error", "its heads are too large for a record"
        case OSError():
            name = errno.errorcode.get(error.errno or 0, "unknown error")
            return "disk", f"{_WHY['disk']} ({name})"
        case _:
            return "error", f"of {type(error).__name__} in {_place_of(error)}"


def _place_of(error: BaseException) -> str:
    """Return where an error arose, as file and line; its text may quote a request."""
    trace = error.__traceback__
    if trace is None:
        return "an unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
