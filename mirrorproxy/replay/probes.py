"""Probes: requests sent twice, to find out in what a target differs from itself.

Owns which shots are asked for again, and when. A probe takes room that no shot wants: it
goes out when nothing waits for its target, within the target's limits, is no shot, and
stands apart in the ledger. It carries the header that marks every shot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from mirrorproxy.http1.client import Failure
from mirrorproxy.replay.answer import Answer
from mirrorproxy.replay.flight import Flight
from mirrorproxy.replay.lane import Lane
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.report.groups import Group

MAX_AT_ONCE: Final = 4


class _Sent:
    """A probe on its way. first: the flight that it repeats."""

    __slots__ = ("first", "group", "lane")

    def __init__(self, first: Flight, group: Group, lane: Lane) -> None:
        self.first = first
        self.group = group
        self.lane = lane


class Prober:
    """Sends probes and hears their answers; a `flight.Landing`.

    most: of one group. differs: compares two answers of the target to one request, place -> how.
    """

    def __init__(
        self,
        most: int,
        differs: Callable[[Flight, Flight], dict[str, str]],
        ledger: Ledger,
        *,
        clock_s: Callable[[], float],
    ) -> None:
        self._most = most
        self._differs = differs
        self._ledger = ledger
        self._clock_s = clock_s
        self._on_its_way: dict[Flight, _Sent] = {}
        self._lanes: Mapping[str, Lane] = {}
        self._send: Callable[[Flight, float | None], None] | None = None
        self._wake: Callable[[], None] | None = None
        self._is_open: Callable[[], bool] | None = None

    def attach(
        self,
        lanes: Mapping[str, Lane],
        send: Callable[[Flight, float | None], None],
        wake: Callable[[], None],
        is_open: Callable[[], bool],
    ) -> None:
        """Begin. is_open: whether anything may be sent now; wake: hears that a probe ended."""
        self._lanes, self._send, self._wake, self._is_open = lanes, send, wake, is_open

    @property
    def in_flight(self) -> int:
        """How many probes wait for their answer."""
        return len(self._on_its_way)

    def close(self) -> None:
        """Send no more, and wait for none."""
        self._send = None
        self._on_its_way.clear()

    def offer(self, flight: Flight, group: Group) -> None:
        """Take a flight that was answered, and ask the same again if there is room for it."""
        send = self._send
        if send is None or self._is_open is None or not self._is_open():
            return
        under_way = self._on_its_way
        if len(under_way) >= MAX_AT_ONCE or group.probes >= self._most:
            return
        if group.probes + sum(sent.group is group for sent in under_way.values()) >= self._most:
            return
        lane = self._lanes[flight.shot.target]
        if not lane.has_spare(self._clock_s()):
            return
        probe = Flight(flight.shot, flight.source, self)
        probe.head = flight.head
        probe.is_loaded = True
        probe.answer = Answer()
        under_way[probe] = _Sent(flight, group, lane)
        send(probe, lane.timeout_s)

    def landed(self, flight: Flight, failure: Failure | None) -> None:
        """Take the end of a probe; see `flight.Landing`."""
        sent = self._on_its_way.pop(flight, None)
        if sent is None:
            return
        sent.lane.in_flight -= 1
        self._ledger.probes["answered" if failure is None else "failed"] += 1
        if failure is None and flight.status == sent.first.status:
            sent.group.add_probe(self._differs(sent.first, flight))
        if self._wake is not None:
            self._wake()
