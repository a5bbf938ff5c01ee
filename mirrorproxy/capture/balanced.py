"""A flow to one of several instances: goes on to the next where one cannot be connected to.

Owns the choice among an app's instances for one request; everything else is
`flow`'s. A request of which a byte was sent stays where it is.
"""

from __future__ import annotations

import time

from mirrorproxy.capture.balance import Balance, Member
from mirrorproxy.capture.flow import Flow, Plane
from mirrorproxy.capture.tap import Tap
from mirrorproxy.http1.client import ClientConnection, Failure
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.server import ServerConnection
from mirrorproxy.metrics import INDEX

IMPATIENT_S = 1.0
"""For a connection while there is another instance: TCP repeats its first packet after 1 s."""

_SET_ASIDE = INDEX["set_aside"]
_ELSEWHERE = INDEX["upstream_elsewhere"]


class BalancedFlow(Flow):
    """One request to an app. member: the first choice of its balance."""

    def __init__(
        self,
        plane: Plane,
        client: ServerConnection,
        head: RequestHead,
        balance: Balance,
        member: Member,
        tap: Tap,
    ) -> None:
        super().__init__(plane, client, head, member.route, tap)
        self._balance = balance
        self._member: Member = member
        self._tried: list[Member] = []

    def start(self, body: bytes | None) -> None:
        """See `Handler`: send the request on."""
        self._member.outstanding += 1
        super().start(body)

    def client_gone(self, reason: str) -> None:
        """See `Handler`."""
        self._member.outstanding -= 1
        super().client_gone(reason)

    def on_complete(self, trailers: bytes) -> None:
        """See `Receiver`."""
        if self._tunnel:
            self._member.outstanding -= 1
        super().on_complete(trailers)

    def on_failure(self, failure: Failure) -> None:
        """See `Receiver`."""
        member = self._member
        if self._connection is None:
            now = time.monotonic()
            if member.failed(now):
                self._plane.slot[_SET_ASIDE] += 1
            self._tried.append(member)
            other = self._balance.pick(now, self._tried)
            if other is not None:
                member.outstanding -= 1
                self._go_to(other)
                return
        super().on_failure(failure)
        if self._attempt is None:  # not tried once more on a fresh connection: this is its end
            member.outstanding -= 1

    def _go_to(self, member: Member) -> None:
        member.outstanding += 1
        self._member = member
        self._route = member.route
        self._tap.sent_to(member.route.upstream)
        self._plane.slot[_ELSEWHERE] += 1
        self._connect()

    def _connect(self) -> None:
        plane, route = self._plane, self._route
        is_last = len(self._tried) + 1 >= len(self._balance)
        self._attempt = plane.pool_of(route).connect(
            route.upstream, self._on_connected, None if is_last else IMPATIENT_S
        )

    def _on_connected(self, result: ClientConnection | Failure) -> None:
        if not isinstance(result, Failure):
            self._member.reached()
        super()._on_connected(result)

    def _end_answer(self, last: bytes) -> None:
        member = self._member
        member.outstanding -= 1
        if member.failures:  # it answers on a connection that was there before
            member.reached()
        super()._end_answer(last)
