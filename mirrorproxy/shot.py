"""The shot: one request that is to be sent to a target.

These are the values. `rules` builds them, `replay` sets when they are due and
sends them. A shot holds nothing sealed, unless it says so, and is then not sent as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from mirrorproxy.record import Credential, HeaderList, Response


class Want(NamedTuple):
    """A value that is only known when the shot is sent, such as a token that expires.

    placeholder: what stands in the shot until then. source: where the value is
    to be had, see `rules.late`. key: what it is kept by there: one for a user, or
    "" for everybody. credential: the captured one that it takes the place of; sealed.
    """

    placeholder: str
    source: str
    key: str
    credential: Credential


class Shot(msgspec.Struct, gc=False):
    """One request for one target, made of one captured exchange.

    exchange_id: of the captured exchange. copy: from 0; above 0 only when a
    rule sends more than 100 percent. target: the target's name in the rule
    file. origin: (scheme, host, port) to connect to. path: the request target
    to send, in origin form. headers: all of them but framing, Host first.
    body: to send as it is, encoded as Content-Encoding says. body_length: what
    Content-Length says; None sends neither a length nor a body. body_ref: the
    object that holds the body, to be read and put in by `rules.plan.with_body`
    before sending; body is empty until then. body_bytes: the captured length,
    known before the object is read. rule: the name of the rule that took the
    exchange; None when it was sent without a rule.
    session: what the requests of one user share, for order and sampling.
    started_us, duration_us: of the captured exchange, in microseconds, by the
    clock of machine.
    status: production's; None when production gave none or none was seen
    (failure then says why, if it is known).
    recorded: production's answer as it was recorded, sealed; None where there is none.
    replacements: the bare value for a mark in the body object; secret.
    edit_body: what a rule makes of that object's content after that; may raise.
    wants: what is put in when it is sent; is_late_in_head: it stands in headers alone,
    cookies aside. shed: why it is not to be sent after all, by a rule's rate.
    sealed: whether it still holds marks, of what an answer to an earlier shot is to give; then
    what is not known when it is to be sent keeps it from being sent.
    cookies_removed: sealed cookies without a replacement that were taken out.
    due_s: when to send it, in seconds on the replay's monotonic clock.
    """

    exchange_id: str
    copy: int
    target: str
    origin: tuple[str, str, int]
    method: str
    path: str
    headers: HeaderList
    body: bytes
    body_length: int | None
    body_ref: str | None
    body_bytes: int
    rule: str | None
    session: str
    started_us: int
    duration_us: int
    status: int | None
    failure: str | None = None
    recorded: Response | None = None
    replacements: dict[str, str] = {}
    edit_body: Callable[[bytes], bytes] | None = None
    shed: str | None = None
    cookies_removed: int = 0
    machine: str = ""
    wants: tuple[Want, ...] = ()
    is_late_in_head: bool = False
    sealed: bool = False
    due_s: float = 0.0
