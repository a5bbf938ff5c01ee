"""The tap: what the proxy tells about one request while it forwards it.

Owns the state of one exchange between its first byte and its record. None of
its methods ever raises or waits; whatever goes wrong ends the tap, is counted
once, and the request goes on.
"""

from __future__ import annotations

from typing import Protocol

from mypy_extensions import mypyc_attr

from mirrorproxy.capture.facts import Facts
from mirrorproxy.capture.tee import RequestBody, ResponseBody
from mirrorproxy.http1.heads import RequestHead, ResponseHead
from mirrorproxy.http1.origin import Origin
from mirrorproxy.record import HeaderList

_SMALL_BODY = 8 * 1024
"""Bytes of a body that are kept without asking for memory: 80 MB at 10,000 requests in flight."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Tap:
    """The tap of a request that is not recorded: takes everything, keeps nothing."""

    __slots__ = ()

    def sent_to(self, upstream: Origin) -> None:
        """The request goes to another upstream than was said: that one could not be reached."""

    def request_data(self, data: bytes) -> None:
        """Part of the request's body, as decoded from its framing."""

    def request_end(self, trailers: HeaderList | None = None) -> None:
        """The whole request was received. A record without it is marked as truncated."""

    def response_head(self, head: ResponseHead) -> None:
        """Production's answer begins. Informational (1xx) heads other than 101 are not told."""

    def response_data(self, data: bytes) -> None:
        """Part of the answer's body, as decoded from its framing."""

    def response_end(self, trailers: HeaderList) -> None:
        """The answer ended with trailers; only told when there are any."""

    def finish(self, duration_us: int) -> None:
        """The exchange is complete; called before the answer's last bytes leave."""

    def fail(self, kind: str, duration_us: int) -> None:
        """Production gave no answer, or not all of it. kind: of `http1.client.Failure`."""

    def abandon(self, reason: str) -> None:
        """The request ends incomplete: it is not recorded. reason: such as "client_aborted"."""


IGNORED = Tap()
"""The one tap of all requests that are not recorded."""


class Keeper(Protocol):
    """What a tap needs of its recorder. None of these raises but new_body and keep."""

    def new_body(self, tap: ExchangeTap) -> RequestBody:
        """Return an empty copy of the request's body."""

    def keeps_answers(self, service: str) -> bool:
        """Tell whether bodies of a service's answers are recorded."""

    def new_response_body(self, head: ResponseHead) -> ResponseBody | None:
        """Return an empty copy of the answer's body, None where it is not recorded."""

    def keep(self, tap: ExchangeTap, duration_us: int, failure: str | None) -> None:
        """Record the exchange, or count why not."""

    def drop(self, reason: str) -> None:
        """Count an exchange that is not recorded."""

    def drop_for(self, error: Exception) -> None:
        """Count and report an exchange that is not recorded because of an error."""


class ExchangeTap(Tap):
    """The tap of a request that is to be recorded.

    Read by the recorder: what was told so far. request_complete: the whole
    request was seen. response_length: bytes of the answer's body. whole:
    a small body that came in one piece; any other is in body. facts: what the
    recorder already made of the head, if it had to. upstream: a URL, "" for a
    copy of a request that somebody else answers.
    """

    __slots__ = (
        "body", "facts", "head", "is_closed", "keeper", "peer", "record_id", "request_complete",
        "request_trailers", "response", "response_body", "response_length",
        "response_trailers", "service", "started_us", "upstream", "whole",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        head: RequestHead,
        service: str,
        upstream: str,
        peer: str,
        started_us: int,
    ) -> None:
        self.keeper = keeper
        self.head = head
        self.service = service
        self.upstream = upstream
        self.peer = peer
        self.started_us = started_us
        self.record_id: str | None = None
        self.facts: Facts | None = None
        self.whole: bytes | None = None
        self.body: RequestBody | None = None
        self.request_complete = False
        self.request_trailers: HeaderList | None = None
        self.response: ResponseHead | None = None
        self.response_body: ResponseBody | None = None
        self.response_length = 0
        self.response_trailers: HeaderList | None = None
        self.is_closed = False

    def sent_to(self, upstream: Origin) -> None:
        """See `Tap`."""
        self.upstream = str(upstream)

    def request_data(self, data: bytes) -> None:
        """See `Tap`."""
        if self.body is None and len(data) == self.head.framing and len(data) <= _SMALL_BODY:
            self.whole = data  # nearly every body
        else:
            self._add(data)

    def _add(self, data: bytes) -> None:
        if self.is_closed:
            return
        try:
            if self.body is None:
                self.body = self.keeper.new_body(self)
            self.body.add(data)
        except Exception as error:  # noqa: BLE001 - see `_give_up`
            self._give_up(error)

    def request_end(self, trailers: HeaderList | None = None) -> None:
        """See `Tap`."""
        self.request_complete = True
        self.request_trailers = trailers

    def response_head(self, head: ResponseHead) -> None:
        """See `Tap`."""
        self.response = head
        if self.keeper.keeps_answers(self.service):
            self._begin_answer(head)

    def _begin_answer(self, head: ResponseHead) -> None:
        if self.is_closed:
            return
        try:
            if self.response_body is not None:  # of another head, which this one takes back
                self.response_body.release()
            self.response_body = self.keeper.new_response_body(head)
        except Exception as error:  # noqa: BLE001 - see `_give_up`
            self._give_up(error)

    def response_data(self, data: bytes) -> None:
        """See `Tap`."""
        self.response_length += len(data)
        if self.response_body is not None:
            self.response_body.add(data)

    def response_end(self, trailers: HeaderList) -> None:
        """See `Tap`."""
        self.response_trailers = trailers

    def finish(self, duration_us: int) -> None:
        """See `Tap`."""
        self._keep(duration_us, None)

    def fail(self, kind: str, duration_us: int) -> None:
        """See `Tap`."""
        self._keep(duration_us, kind)

    def _keep(self, duration_us: int, failure: str | None) -> None:
        if self.is_closed:
            return
        try:
            self.keeper.keep(self, duration_us, failure)
        except Exception as error:  # noqa: BLE001 - see `_give_up`
            self._give_up(error)
        else:
            self.close()

    def abandon(self, reason: str) -> None:
        """See `Tap`."""
        if not self.is_closed:
            self.close()
            self.keeper.drop(reason)

    def _give_up(self, error: Exception) -> None:
        """End the tap because of an error: nothing in capturing may reach the request."""
        self.close()
        self.keeper.drop_for(error)

    def close(self) -> None:
        """Give back what is held; whatever is told from now on is ignored."""
        self.is_closed = True
        self.whole = None
        if self.body is not None:
            self.body.release()
            self.body = None
        if self.response_body is not None:
            self.response_body.release()
            self.response_body = None
