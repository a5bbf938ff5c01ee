"""Credentials that a replay fetches: kept per user, renewed before they expire.

Owns what is kept and when it is asked for again: one request at a time for each user,
before expiry, with full jitter after a failure. How a credential is fetched is the
sources'; what waits for one is told when it is there, or that it cannot be had. Nothing
here is written to disk, and no value is ever shown.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from mirrorproxy.replay.tokens import Fetch, Token, TokenError, is_usable
from mirrorproxy.shot import Want

MAX_KEPT = 100_000
"""How many users' credentials are kept; the oldest make room."""

MAX_WAIT_S = 10.0
"""How long a shot waits for its credential."""

REJECTED_S = 30.0
"""A credential that the target refused is renewed at most this often for one user."""

_AT_ONCE = 8
_BASE_S, _CAP_S = 0.5, 30.0
_FINAL_BASE_S, _FINAL_CAP_S = 5.0, 300.0
_MARGIN_S, _MARGIN_SHARE = 1.0, 0.1
"""What is left of a lifetime for a shot on its way."""

Then = Callable[[bool], None]
"""Is told once whether the credential is there."""


class Fetching(NamedTuple):
    """One source. refresh_before_s: how long before its end a credential is renewed."""

    fetch: Fetch
    refresh_before_s: float = 30.0


class _Source:
    def __init__(self, name: str, fetching: Fetching) -> None:
        self.name = name
        self.fetch = fetching.fetch
        self.refresh_before_s = fetching.refresh_before_s
        self.lane = asyncio.Semaphore(_AT_ONCE)
        # While it fails one request at a time finds out whether it works again.
        self.probe = asyncio.Lock()
        self.failures = 0
        self.failing_since_s: float | None = None
        self.not_before_s = -math.inf
        self.is_told = False


class _Kept:
    """What is kept for one user, and who waits for it."""

    __slots__ = (
        "is_refused", "not_before_s", "refresh_at_s", "refusals", "rejected_s", "source", "task",
        "timer", "token", "usable_until_s", "value", "waiting", "want",
    )  # fmt: skip

    def __init__(self, want: Want, source: _Source) -> None:
        self.want = want
        self.source = source
        self.token: Token | None = None
        self.value = ""
        self.usable_until_s = self.refresh_at_s = self.rejected_s = -math.inf
        self.not_before_s = -math.inf
        self.is_refused = False
        self.refusals = 0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: deque[tuple[float, Then]] = deque()


class Credentials:
    """The credentials of one replay; see the module. For use inside one event loop.

    sources: by the name that wants give. counts: of requests by how they ended:
    ``granted``, ``refused``, ``failed``. say: takes lines for people. max_waiting:
    shots that wait for one user's credential at most, None for no bound.
    """

    def __init__(
        self,
        sources: Mapping[str, Fetching],
        counts: Counter[str],
        say: Callable[[str], None],
        *,
        clock_s: Callable[[], float],
        max_waiting: int | None = None,
        max_kept: int = MAX_KEPT,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._sources = {name: _Source(name, one) for name, one in sources.items()}
        self._counts = counts
        self._say = say
        self._clock_s = clock_s
        self._max_waiting = max_waiting
        self._max_kept = max_kept
        self._sleep = sleep
        self._jitter = jitter
        self._kept: dict[str, _Kept] = {}
        self._is_closed = False

    def value(self, want: Want) -> str | None:
        """Return a credential that is good now, None if there is none; renews it in time."""
        kept = self._kept.get(want.placeholder)
        if kept is None:
            return None
        now_s = self._clock_s()
        if now_s >= kept.refresh_at_s:
            self._start(kept, now_s)
        return kept.value if now_s < kept.usable_until_s else None

    def wait(self, want: Want, then: Then) -> None:
        """Tell `then` whether the credential can be had: at once, or within MAX_WAIT_S."""
        if self.value(want) is not None:
            then(True)
            return
        now_s = self._clock_s()
        kept = self._kept.get(want.placeholder) or self._keep(want)
        source = kept.source
        # What has only failed for now may be there by the time the shot is due.
        self._start(kept, now_s, is_patient=not kept.is_refused)
        is_down = source.failing_since_s is not None and now_s - source.failing_since_s > MAX_WAIT_S
        is_full = self._max_waiting is not None and len(kept.waiting) >= self._max_waiting
        if kept.task is None or is_down or is_full or self._is_closed:
            then(False)
            return
        kept.waiting.append((now_s + MAX_WAIT_S, then))
        if kept.timer is None:
            kept.timer = asyncio.get_running_loop().call_later(MAX_WAIT_S, self._expire, kept)

    def rejected(self, want: Want, value: str) -> bool:
        """Take that the target refused a credential; return whether another is worth a try."""
        kept = self._kept.get(want.placeholder)
        if kept is None or self._is_closed:
            return False
        now_s = self._clock_s()
        if kept.value != value or now_s >= kept.usable_until_s:
            return True
        if now_s - kept.rejected_s < REJECTED_S:
            return False
        kept.rejected_s = now_s
        kept.usable_until_s = kept.refresh_at_s = -math.inf
        self._start(kept, now_s)
        return True

    @property
    def held(self) -> int:
        """How many credentials are kept."""
        return len(self._kept)

    async def close(self) -> None:
        """Ask for nothing more, and tell those who wait."""
        self._is_closed = True
        tasks = [kept.task for kept in self._kept.values() if kept.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for kept in self._kept.values():
            self._tell(kept, is_had=False)
        self._kept.clear()

    # -- one user's -----------------------------------------------------------------

    def _keep(self, want: Want) -> _Kept:
        if len(self._kept) >= self._max_kept:
            self._make_room()
        kept = self._kept[want.placeholder] = _Kept(want, self._sources[want.source])
        return kept

    def _make_room(self) -> None:
        """Forget the oldest tenth of those that nobody waits for."""
        idle = [key for key, kept in self._kept.items() if kept.task is None and not kept.waiting]
        for key in idle[: max(self._max_kept // 10, 1)]:
            del self._kept[key]

    def _start(self, kept: _Kept, now_s: float, *, is_patient: bool = False) -> None:
        is_time = is_patient or now_s >= kept.not_before_s
        if kept.task is None and is_time and not self._is_closed:
            kept.task = asyncio.get_running_loop().create_task(self._obtain(kept))

    async def _obtain(self, kept: _Kept) -> None:
        try:
            while True:
                if (pause_s := kept.not_before_s - self._clock_s()) > 0:
                    await self._sleep(pause_s)
                if await self._attempt(kept) or not kept.waiting:
                    return
        finally:
            kept.task = None
            if kept.waiting and not self._is_closed:
                self._tell(kept, is_had=False)

    async def _attempt(self, kept: _Kept) -> bool:
        """Ask once; return whether that settles it."""
        source = kept.source
        async with source.lane:
            if not source.failures:
                return await self._ask(source, kept)
            async with source.probe:
                if (pause_s := source.not_before_s - self._clock_s()) > 0:
                    await self._sleep(pause_s)
                # Whoever waited may have given up meanwhile.
                if not kept.waiting and kept.token is None:
                    return True
                return await self._ask(source, kept)

    async def _ask(self, source: _Source, kept: _Kept) -> bool:
        asked_s = self._clock_s()
        try:
            token = await source.fetch(kept.want, kept.token)
        except TokenError as error:
            return self._failed(source, kept, error)
        except Exception as error:  # noqa: BLE001 - a source must not end the replay
            # Its kind alone: its text may hold a secret.
            return self._failed(source, kept, TokenError(type(error).__name__, is_final=True))
        lifetime_s = math.inf if token.lifetime_s is None else token.lifetime_s
        if not is_usable(token.value) or lifetime_s <= 0:
            problem = "what was given is no credential that can be sent"
            return self._failed(source, kept, TokenError(problem, is_final=True))
        self._granted(source, kept, token, asked_s, lifetime_s)
        return True

    def _granted(
        self, source: _Source, kept: _Kept, token: Token, asked_s: float, lifetime_s: float
    ) -> None:
        self._counts["granted"] += 1
        kept.token, kept.value = token, token.value
        margin_s = min(_MARGIN_S, lifetime_s * _MARGIN_SHARE)
        kept.usable_until_s = asked_s + lifetime_s - margin_s
        kept.refresh_at_s = asked_s + lifetime_s - min(source.refresh_before_s, lifetime_s / 2)
        kept.is_refused, kept.refusals, kept.not_before_s = False, 0, -math.inf
        source.failures, source.failing_since_s, source.not_before_s = 0, None, -math.inf
        if source.is_told:
            source.is_told = False
            self._say(f"{source.name}: credentials can be had again")
        self._tell(kept, is_had=True)

    def _failed(self, source: _Source, kept: _Kept, error: TokenError) -> bool:
        now_s = self._clock_s()
        if error.is_final:
            self._counts["refused"] += 1
            pause_s = self._pause(kept.refusals, _FINAL_BASE_S, _FINAL_CAP_S)
            kept.refusals += 1
            kept.is_refused = True
            # It was answered: whatever else, the source works.
            source.failures, source.failing_since_s = 0, None
        else:
            self._counts["failed"] += 1
            pause_s = self._pause(source.failures, _BASE_S, _CAP_S)
            source.failures += 1
            if source.failing_since_s is None:
                source.failing_since_s = now_s
            source.not_before_s = now_s + max(pause_s, error.retry_after_s)
        kept.not_before_s = now_s + max(pause_s, error.retry_after_s)
        if not source.is_told:
            source.is_told = True
            self._say(f"warning: {source.name}: no credential: {error.message}")
        if error.is_final:
            self._tell(kept, is_had=False)
        return error.is_final

    def _pause(self, failures: int, base_s: float, cap_s: float) -> float:
        # Full jitter: those who failed together do not come again together.
        return self._jitter(0.0, min(cap_s, base_s * 2 ** min(failures, 16)))

    # -- those who wait --------------------------------------------------------------

    def _tell(self, kept: _Kept, *, is_had: bool) -> None:
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        waiting, kept.waiting = kept.waiting, deque()
        for _, then in waiting:
            then(is_had)

    def _expire(self, kept: _Kept) -> None:
        kept.timer = None
        now_s = self._clock_s()
        gone: list[Then] = []
        while kept.waiting and kept.waiting[0][0] <= now_s + 0.001:
            gone.append(kept.waiting.popleft()[1])
        if kept.waiting:
            delay_s = max(kept.waiting[0][0] - now_s, 0.001)
            kept.timer = asyncio.get_running_loop().call_later(delay_s, self._expire, kept)
        for then in gone:
            then(False)
