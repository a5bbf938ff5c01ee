"""Spreading: when the shots of an object are due, within the time that there is.

Pure. All times are microseconds since 1970, by the wall clock: calls of `send` that never
hear of each other keep step by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from mirrorproxy.lambdas.settings import Spread

MAX_HASTE = 1.25
"""How much faster than it should a chunk is sent that began late; more, and it ends later too."""


def due_times(
    spread: Spread,
    started_us: Sequence[int],
    shots: Sequence[int],
    start_us: int,
    until_us: int,
) -> list[int]:
    """Return when the shots of each exchange are due, from start_us to before until_us.

    started_us: when each was captured, in order. shots: how many each has; they are due
    together. ``even`` gives each shot the same time for its own; ``captured`` keeps
    production's distances, made shorter or longer to fit.
    """
    span_us = max(until_us - start_us, 0)
    if spread == "captured" and started_us:
        captured_us = started_us[-1] - started_us[0]
        if captured_us > 0:
            # The last one has as much time left for its own as one has on average.
            span_us = span_us * len(started_us) // (len(started_us) + 1)
            return [start_us + (one - started_us[0]) * span_us // captured_us for one in started_us]
    total = max(sum(shots), 1)
    due: list[int] = []
    before = 0
    for count in shots:
        due.append(start_us + before * span_us // total)
        before += count
    return due


def caught_up(due_us: Sequence[int], now_us: int) -> list[int]:
    """Return when the shots of a chunk are due that begins now.

    due_us: in order. What began late is sent a little faster, so that it ends when it should and
    does not run into what follows it; never in a burst.
    """
    if not due_us or due_us[0] >= now_us:
        return list(due_us)
    first_us, span_us = due_us[0], due_us[-1] - due_us[0]
    left_us = max(due_us[-1] - now_us, int(span_us / MAX_HASTE))
    return [now_us + (one - first_us) * left_us // max(span_us, 1) for one in due_us]
