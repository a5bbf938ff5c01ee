"""The outcome: what became of one shot.

Only values. `replay` makes one for every planned shot, sent or not.
"""

from __future__ import annotations

from typing import Literal

import msgspec

LagCause = Literal["order", "limit", "sender"]
"""Why a shot left late: it waited for an earlier one of its session, for a limit
of its target, or the sender itself was not in time."""


class Production(msgspec.Struct, omit_defaults=True):
    """What production answered to the same request.

    duration_us: from the request's first byte to the answer's last, in
    microseconds. status: None when it gave none (failure then says why, if it
    is known) or none was seen.
    """

    duration_us: int
    status: int | None = None
    failure: str | None = None


class Outcome(msgspec.Struct, omit_defaults=True):
    """What became of one shot: answered, failed, shed or unsent.

    id: of the captured exchange. copy: from 0. due_us: when it was due,
    microseconds since 1970. lag_us: how much later it left. latency_us: from
    then to the answer's last byte, or to the failure. status: the target's; an
    HTTP 503 is an answer. failure: why there is none. shed: why it was not
    sent though its turn had come. unsent: the replay ended before its turn. differs: in
    what the answer differs from production's, such as ``status`` or ``$.price changed``:
    places, never values.
    """

    id: str
    copy: int
    target: str
    due_us: int
    production: Production
    rule: str | None = None
    lag_us: int | None = None
    lag_cause: LagCause | None = None
    latency_us: int | None = None
    status: int | None = None
    failure: str | None = None
    shed: str | None = None
    unsent: bool = False
    differs: tuple[str, ...] = ()
