"""Puts one raw request or response through a proxy and says what became of it.

The same functions judge every proxy, ours and others. They know the proxy's
address and the raw origin behind it, nothing else.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from support.messages import Ambiguous, Field, Message
from support.origin import RawOrigin, send_raw
from support.peer import Closed, Peer, Silent

ORDER_OR_CASE = "order or case of fields"
_ID = re.compile(rb"/case/(\d+)")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Expect:
    """What may become of a request; refused and passed both set: either will do.

    refused: statuses that say no. passed: the origin sees the request as it was
    sent, framing and `dropped` fields aside, with this body and these trailers.
    added: names of fields that the proxy may add. dropping: the connection may
    also be closed without an answer. keep: the connection stays open after the
    answer (None: not asked).
    """

    refused: tuple[int, ...] = ()
    passed: bool = False
    body: bytes = b""
    dropped: tuple[bytes, ...] = ()
    trailers: tuple[Field, ...] = ()
    start: bytes | None = None
    keep: bool | None = None
    added: tuple[bytes, ...] = ()
    dropping: bool = False


@dataclass(frozen=True)
class RequestCase:
    """One raw request. ``@ID`` in it becomes a number of its own."""

    name: str
    raw: bytes
    expect: Expect
    strict: Expect | None = None
    finish: bool = False

    def wanted(self, *, strict: bool) -> Expect:
        """Return what is expected in that mode."""
        return self.strict if strict and self.strict is not None else self.expect


@dataclass(frozen=True)
class ExpectAnswer:
    """What the client may get of an answer.

    passed: as the origin sent it, framing and `dropped` fields aside. refused:
    a 502 instead. cut: the connection ends before the answer is whole.
    interim: the 1xx statuses that precede it. added: as in `Expect`.
    """

    passed: bool = False
    refused: bool = False
    cut: bool = False
    body: bytes = b""
    dropped: tuple[bytes, ...] = ()
    trailers: tuple[Field, ...] = ()
    interim: tuple[int, ...] = ()
    added: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class ResponseCase:
    """One raw answer of the origin, to a request of that method and version."""

    name: str
    raw: bytes
    expect: ExpectAnswer
    method: bytes = b"GET"
    version: bytes = b"1.1"
    then: str = "keep"


@dataclass
class Observed:
    """What was seen of a case at both ends."""

    status: int | None = None
    answer: Message | None = None
    interim: list[int] = field(default_factory=list)
    how: str = ""
    closed: bool = False
    seen: list[Message] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def from_origin(self) -> bool:
        """Whether the answer is the origin's own."""
        return self.answer is not None and bool(self.answer.values(b"x-origin"))


def sent_fields(raw: bytes) -> list[Field]:
    """Return the fields of a raw head as they were written, split at every CRLF."""
    block = raw.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = (line.partition(b":") for line in block)
    return [(name, value.strip(b" \t")) for name, _, value in pairs]


def _follow_up(address: tuple[str, int], timeout_s: float) -> list[str]:
    """Return what is wrong with the answers to clean requests on a fresh connection."""
    faults = []
    try:
        with Peer.connect(address, timeout_s) as client:
            for method, body in ((b"GET", b""), (b"POST", b"clean"), (b"GET", b"")):
                line = b"%s /clean/%d HTTP/1.1" % (method, next(_numbers))
                length = b"Content-Length: %d\r\n" % len(body) if body else b""
                client.send(line + b"\r\nHost: clean.test\r\n" + length + b"\r\n" + body)
                response, _ = client.read_final()
                if response.body != line:
                    faults.append(f"clean {line!r} was answered {response.body[:60]!r}")
    except (Closed, Silent, Ambiguous, OSError) as error:
        faults.append(f"clean request: {type(error).__name__} {error}")
    return faults


def _converse(
    address: tuple[str, int],
    raw: bytes,
    method: bytes,
    timeout_s: float,
    *,
    finish: bool = False,
    closing: bool = False,
) -> Observed:
    observed = Observed()
    with Peer.connect(address, timeout_s) as client:
        client.send(raw)
        if finish:
            client.finish()
        try:
            response, interim = client.read_final(method)
            observed.status, observed.answer = response.status, response
            observed.interim = [one.status for one in interim]
            observed.how = "answered"
        except Closed:
            observed.how = "dropped"
        except Silent:
            observed.how = "silent"
        except Ambiguous as fault:
            observed.how = "ambiguous"
            observed.faults.append(f"client got: {fault}")
        if closing and observed.status is not None and not observed.from_origin:
            observed.closed = client.is_closed(min(timeout_s, 2.0))
        observed.faults += _follow_up(address, timeout_s)
        if observed.how == "answered" and (extra := client.pending()):
            observed.faults.append(f"client got more than the answer: {extra[:80]!r}")
        if not observed.closed:
            observed.closed = client.is_closed(0.001)
    return observed


def run_request(
    case: RequestCase, address: tuple[str, int], origin: RawOrigin, timeout_s: float = 5.0
) -> Observed:
    """Send a request case, then clean ones; return what both ends saw."""
    origin.forget()
    raw = case.raw.replace(b"@ID", b"%d" % next(_numbers))
    method = raw.lstrip(b"\r\n").split(b" ", 1)[0]
    observed = _converse(address, raw, method, timeout_s, finish=case.finish, closing=True)
    observed.seen = [one for one in origin.seen if not one.target.startswith(b"/clean/")]
    observed.faults += [f"origin got: {fault}" for fault in origin.faults]
    return observed


def _leaks(message: Message) -> list[str]:
    """Return the fields of one connection that went on to the next."""
    found = [
        f"fields: added {(name, value)}"
        for name, value in message.fields
        if name.lower() in {b"keep-alive", b"proxy-connection", b"te"}
    ]
    options = b",".join(message.values(b"connection")).lower().replace(b" ", b"").split(b",")
    if strange := set(options) - {b"", b"close", b"keep-alive", b"upgrade"}:
        found.append(f"fields: added Connection {strange}")
    if b"upgrade" not in options and message.values(b"upgrade"):
        found.append("fields: added Upgrade")
    return found


def _field_differences(wanted: list[Field], got: list[Field]) -> list[str]:
    if got == wanted:
        return []
    if sorted((n.lower(), v) for n, v in got) == sorted((n.lower(), v) for n, v in wanted):
        return [ORDER_OR_CASE]
    more = [one for one in got if one not in wanted]
    less = [one for one in wanted if one not in got]
    return [f"fields: added {more[:3]}, missing {less[:3]}"]


def differences(case: RequestCase, expect: Expect, seen: Message) -> list[str]:
    """Return in which respects the origin saw another request than was sent."""
    lines = case.raw.lstrip(b"\r\n").split(b"\r\n")
    start = expect.start or lines[0].replace(b"HTTP/1.0", b"HTTP/1.1")
    number = _ID.search(seen.target)
    found = []
    if seen.start.replace(b"HTTP/1.0", b"HTTP/1.1") != start.replace(
        b"@ID", number[1] if number else b""
    ):
        found.append(f"start line {seen.start[:100]!r}")
    wanted = Message(b"", sent_fields(case.raw)).end_to_end(expect.dropped)
    found += _field_differences(wanted, seen.end_to_end(expect.added)) + _leaks(seen)
    if seen.body != expect.body:
        found.append(f"body {seen.body[:60]!r}")
    if tuple(seen.trailers) != expect.trailers:
        found.append(f"trailers {seen.trailers}")
    return found


def judge_request(case: RequestCase, observed: Observed, *, strict: bool = False) -> list[str]:
    """Return what is wrong with what became of a request; empty when all is well."""
    expect = case.wanted(strict=strict)
    problems = list(observed.faults)
    if observed.from_origin:
        if not expect.passed:
            return [*problems, f"passed on, expected {expect.refused}"]
        if len(observed.seen) != 1:
            return [*problems, f"the origin saw {[one.start for one in observed.seen]}"]
        problems += differences(case, expect, observed.seen[0])
        if expect.keep is not None and observed.closed == expect.keep:
            problems.append(f"connection closed: {observed.closed}")
        return problems
    if observed.seen:
        problems.append(f"not answered, but the origin saw {[o.start for o in observed.seen]}")
    if observed.how == "dropped" and expect.dropping:
        return problems
    if observed.how != "answered":
        return [*problems, f"{observed.how}, expected {expect.refused or 'the answer'}"]
    if observed.status not in expect.refused:
        problems.append(f"answered {observed.status}, expected {expect.refused or 'the origin'}")
    if not observed.closed:
        problems.append("the connection stayed open after the refusal")
    return problems


def run_response(
    case: ResponseCase, address: tuple[str, int], origin: RawOrigin, timeout_s: float = 5.0
) -> Observed:
    """Ask for a response case, then for clean answers; return what both ends saw."""
    origin.forget()
    key = b"%d" % next(_numbers)
    origin.script(key, send_raw(case.raw, then=case.then))
    raw = b"%s /case/%s HTTP/%s\r\nHost: a.test\r\n\r\n" % (case.method, key, case.version)
    observed = _converse(address, raw, case.method, timeout_s)
    observed.seen = [one for one in origin.seen if not one.target.startswith(b"/clean/")]
    return observed


def answer_differences(case: ResponseCase, got: Message) -> list[str]:
    """Return in which respects the client got another answer than the origin sent."""
    expect = case.expect
    blocks = case.raw.split(b"\r\n\r\n")
    final = b""
    for block in blocks:
        final = block
        if not block.split(b" ", 1)[1].startswith(b"1") or block[9:12] == b"101":
            break
    found = []
    start = final.split(b"\r\n")[0]
    if got.start[8:].rstrip() != start[8:].rstrip():
        found.append(f"status line {got.start!r}")
    wanted = Message(b"", sent_fields(final + b"\r\n\r\n")).end_to_end(expect.dropped)
    found += _field_differences(wanted, got.end_to_end(expect.added)) + _leaks(got)
    if got.body != expect.body:
        found.append(f"body {got.body[:60]!r}")
    if tuple(got.trailers) != expect.trailers:
        found.append(f"trailers {got.trailers}")
    return found


def judge_response(case: ResponseCase, observed: Observed) -> list[str]:
    """Return what is wrong with what became of an answer; empty when all is well."""
    expect = case.expect
    problems = list(observed.faults)
    if observed.how == "dropped":
        return problems if expect.cut else [*problems, "cut short"]
    if observed.answer is None:
        return [*problems, observed.how]
    if observed.from_origin:
        if not expect.passed:
            return [*problems, f"passed on as {observed.answer.start!r}"]
        problems += answer_differences(case, observed.answer)
        if tuple(observed.interim) != expect.interim:
            problems.append(f"interim answers {observed.interim}")
        return problems
    if observed.status != 502 or not expect.refused:
        problems.append(f"answered {observed.status}")
    return problems
