"""Plans: the shots that one exchange becomes, or why it becomes none.

Pure. Nothing sealed, cut, or already replayed passes here.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import msgspec

from mirrorproxy import __version__
from mirrorproxy.codec import body_of
from mirrorproxy.headers import REPLAY_HEADER, first
from mirrorproxy.marks import contains_mark
from mirrorproxy.record import BODY_NOT_LOGGED, Exchange, Request
from mirrorproxy.rules.bodies import Moment
from mirrorproxy.rules.coding import CannotRewriteError, NotSentError
from mirrorproxy.rules.facts import BodyUnreadError, Facts, ReadBody
from mirrorproxy.rules.heads import Head, Header, is_any_sealed, pairs_of, set_header, value_of
from mirrorproxy.rules.offered import Offered
from mirrorproxy.rules.offers import Replacement
from mirrorproxy.rules.rewrite import BodyChange, Rewriter
from mirrorproxy.rules.ruleset import CompiledTarget, Decision, RuleSet
from mirrorproxy.rules.unseal import (
    Parts,
    fill_body,
    holds_sealed,
    may_hold_mark,
    put_in,
    wanted_in,
    without_sealed_cookies,
)
from mirrorproxy.sampling import copies
from mirrorproxy.shot import Shot, Want

SKIP_RULE = "rule"
SKIP_NO_RULE = "no rule"
SKIP_SAMPLED = "sampled"
SKIP_TRUNCATED = "truncated"
SKIP_OMITTED = "omitted"
SKIP_NO_BODY = "no body in log"
SKIP_REPLAYED = "replayed traffic"
SKIP_UPGRADE = "upgrade"
SKIP_NO_CREDENTIAL = "no credential"
SKIP_UNREADABLE = "body unreadable"
"""A rule looks at the body, and the object that holds it cannot be read."""
SKIP_UNSAFE = "unsafe method"

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""RFC 9110, 9.2.1: nothing is asked for but reading."""

_OVERRIDES = frozenset(("x-http-method-override", "x-http-method", "x-method-override"))

USER_AGENT = f"mirrorproxy/{__version__}"


class Plan(NamedTuple):
    """What becomes of one exchange.

    skipped: the reason when there are no shots; one of the SKIP_ constants.
    left_out: targets that the rule names but that get no shot, with the reason;
    shots for the others are planned all the same.
    """

    rule: str | None
    shots: tuple[Shot, ...] = ()
    skipped: str | None = None
    left_out: tuple[tuple[str, str], ...] = ()


def plan(
    exchange: Exchange,
    rules: RuleSet,
    seed: str,
    run: str,
    *,
    read_body: ReadBody | None = None,
    offset_us: int | None = None,
    offered: Offered | None = None,
    session: str | None = None,
) -> Plan:
    """Return the shots for an exchange.

    seed: the run's, for sampling by session; workers of one fleet share it.
    run: the run's id, for the header that marks every shot and for fresh values.
    read_body: for rules that match on bodies that lie apart; without it such a
    request has none. offset_us: how much later it is sent than it was captured;
    without it times are not shifted. offered: what is sealed in answers of before; a
    request may hold it, see `Shot.sealed`. session: its key, if more is known than the
    exchange alone tells.
    Raises codec.MalformedRecord if the body in the record cannot be decoded.
    """
    head = Head(exchange.request.headers)
    if refusal := _refusal(exchange, head):
        return Plan(None, skipped=refusal)
    facts = Facts(exchange, read_body)
    try:
        decision = rules.decide(exchange, facts)
    except BodyUnreadError:
        return Plan(None, skipped=SKIP_UNREADABLE)
    if not decision.targets:
        reason = SKIP_NO_RULE if decision.rule is None else SKIP_RULE
        return Plan(decision.rule, skipped=reason)
    if exchange.request.omitted is not None and not decision.without_body:
        return Plan(decision.rule, skipped=SKIP_NO_BODY)
    if session is None:
        session = rules.session_key(exchange)
    count = 1
    if decision.percent != 100:
        key, salt = (session, seed) if decision.by_session else (exchange.id, decision.rule or "")
        count = copies(key, decision.percent, salt)
        if not count:
            return Plan(decision.rule, skipped=SKIP_SAMPLED)
    if not decision.declared.is_on:
        offered = None
    body = body_of(exchange.request)
    parts = Parts(facts.path, facts.query_text, head.sent, body, may_hold_mark(body))
    moment = Moment(run, 0, exchange.started_us, offset_us)
    shots: list[Shot] = []
    left_out: list[tuple[str, str]] = []
    for target in decision.targets:
        if target.safe_methods_only and not _is_safe(exchange.request):
            left_out.append((target.name, SKIP_UNSAFE))
            continue
        try:
            shots += _shots(exchange, parts, decision, target, session, moment, count, offered)
        except NotSentError as error:
            left_out.append((target.name, error.reason))
    if not shots:
        return Plan(decision.rule, (), _foremost(left_out), tuple(left_out))
    return Plan(decision.rule, tuple(shots), None, tuple(left_out))


def _refusal(exchange: Exchange, head: Head) -> str | None:
    request, response = exchange.request, exchange.response
    if head.is_replayed:
        return SKIP_REPLAYED
    if request.truncated:
        return SKIP_TRUNCATED
    # Of a body that was never logged the rule may say that the request goes without it.
    if request.omitted is not None and request.omitted != BODY_NOT_LOGGED:
        return SKIP_OMITTED
    if request.method == "CONNECT" or (response is not None and response.status == 101):
        return SKIP_UPGRADE
    return None


def _shots(
    exchange: Exchange,
    parts: Parts,
    decision: Decision,
    target: CompiledTarget,
    session: str,
    moment: Moment,
    count: int,
    offered: Offered | None,
) -> list[Shot]:
    """Return the copies of a shot; raises if it cannot be sent as it should."""
    rewriter = decision.rewriter
    replacement = target.auth.replacement(exchange)
    if replacement is not None:
        parts = put_in(parts, replacement)
    change = None
    if rewriter.changes_bodies:
        headers = exchange.request.headers
        change = BodyChange(
            rewriter.body,
            first(headers, "content-type"),
            first(headers, "content-encoding"),
            moment,
        )
    filled = parts.body
    if rewriter.changes:
        parts = _rewritten(parts, rewriter, change, moment)
    shot = _shot(exchange, parts, decision, target, session, moment.run, replacement, offered)
    shot.edit_body = None if change is None else change.apply
    if count == 1:
        return [shot]
    moments = [moment._replace(copy=copy) for copy in range(1, count)]
    return [shot, *[_copy(shot, rewriter, filled, change, one) for one in moments]]


def _rewritten(
    parts: Parts, rewriter: Rewriter, change: BodyChange | None, moment: Moment
) -> Parts:
    body, may_hold = parts.body, parts.may_hold
    if change is not None and body:
        body = change.apply(body)
        may_hold = may_hold or may_hold_mark(body)
    return Parts(
        rewriter.path(parts.path),
        rewriter.query(parts.query, moment),
        rewriter.headers(parts.headers, moment),
        body,
        may_hold,
    )


def _copy(
    shot: Shot, rewriter: Rewriter, filled: bytes, change: BodyChange | None, moment: Moment
) -> Shot:
    """Return another copy: what every copy has for its own is fresh in it.

    filled: the body before it was rewritten.
    """
    copied: Shot = msgspec.structs.replace(
        shot,
        copy=moment.copy,
        path=rewriter.copy_path(shot.path, moment),
        headers=rewriter.copy_headers(shot.headers, moment),
    )
    if change is not None and not rewriter.repeats_bodies:
        change = change._replace(moment=moment)
        copied.edit_body = change.apply
        if filled:
            copied.body = change.apply(filled)
            copied.body_length = len(copied.body)
    return copied


def _shot(
    exchange: Exchange,
    parts: Parts,
    decision: Decision,
    target: CompiledTarget,
    session: str,
    run: str,
    replacement: Replacement | None,
    offered: Offered | None,
) -> Shot:
    """Return the first copy of a shot; raises if something sealed has no replacement."""
    request = exchange.request
    is_sealed = holds_sealed(parts)
    if is_sealed and not _is_offered(parts, offered, target.name):
        raise NotSentError(SKIP_NO_CREDENTIAL)
    headers, removed = parts.headers, 0
    if is_any_sealed(headers):
        is_kept = None
        if offered is not None:
            is_kept = partial(offered.holds, target.name)
        headers, removed = without_sealed_cookies(headers, is_kept)
        if is_any_sealed(headers):
            is_sealed = True
            if offered is None or not all(
                offered.holds(target.name, pair[1]) for is_one, _, pair in headers if is_one
            ):
                raise NotSentError(SKIP_NO_CREDENTIAL)
    host = decision.rewriter.host
    if host is None and target.keeps_host:
        host = first(request.headers, "host")
        if host is not None and contains_mark(host):
            raise NotSentError(SKIP_NO_CREDENTIAL)
    if target.user_agent != "keep":
        headers = _named(headers, target)
    wants: tuple[Want, ...] = ()
    is_late_in_head = False
    if replacement is not None and replacement.wants:
        wants, is_late_in_head = wanted_in(parts._replace(headers=headers), replacement.wants)
        if request.body_ref is not None:
            wants, is_late_in_head = replacement.wants, False
    path, query, _, body, _ = parts
    if path != "*":
        path = target.base_path + path
    return Shot(
        exchange_id=exchange.id,
        copy=0,
        target=target.name,
        origin=decision.rewriter.origin(target.origin),
        method=request.method,
        path=path + query,
        headers=[
            ("Host", target.authority if host is None else host),
            *pairs_of(headers),
            (REPLAY_HEADER, f"{run}/{exchange.id}"),
        ],
        body=body,
        body_length=_body_length(request, len(body)),
        body_ref=request.body_ref,
        body_bytes=len(body) if request.omitted else request.body_bytes or len(body),
        rule=decision.rule,
        session=session,
        started_us=exchange.started_us,
        duration_us=exchange.duration_us,
        status=None if exchange.response is None else exchange.response.status,
        failure=exchange.failure,
        recorded=exchange.response,
        machine=exchange.node.partition("/")[0],
        cookies_removed=removed,
        wants=wants,
        is_late_in_head=is_late_in_head,
        sealed=is_sealed,
        replacements=dict(replacement.values) if replacement and request.body_ref else {},
    )


def _is_offered(parts: Parts, offered: Offered | None, target: str) -> bool:
    """Return whether all that is sealed in path, query and body was in an answer of before."""
    return (
        offered is not None
        and offered.holds(target, f"{parts.path}\n{parts.query}")
        and (not parts.may_hold or offered.holds(target, parts.body))
    )


def _foremost(left_out: list[tuple[str, str]]) -> str:
    """Return the reason that is given for an exchange of which nothing is sent."""
    # What could be mended is said first.
    reasons = [reason for _, reason in left_out]
    if SKIP_NO_CREDENTIAL in reasons:
        return SKIP_NO_CREDENTIAL
    return next((reason for reason in reasons if reason != SKIP_UNSAFE), SKIP_UNSAFE)


def _is_safe(request: Request) -> bool:
    """Return whether the request asks for nothing but reading, whatever a framework makes of it."""
    return request.method in SAFE_METHODS and not any(
        name.lower() in _OVERRIDES for name, _ in request.headers
    )


def _named(headers: list[Header], target: CompiledTarget) -> list[Header]:
    """Return the headers with the User-Agent that the target asks for."""
    captured = value_of(headers, "user-agent") if target.user_agent == "append" else None
    return set_header(headers, "User-Agent", f"{captured} {USER_AGENT}" if captured else USER_AGENT)


def _body_length(request: Request, sent: int) -> int | None:
    if sent or request.body_ref is not None:
        return sent
    # RFC 9110, 8.6: a method that anticipates content says 0; others say nothing.
    says_zero = first(request.headers, "content-length") is not None
    return 0 if says_zero or request.method in ("POST", "PUT", "PATCH") else None


def with_body(shot: Shot, body: bytes) -> Shot | str:
    """Return a shot with the body that its body_ref named, or why it can't be sent.

    body: the object's content, sealed as recorded. The reason is
    SKIP_NO_CREDENTIAL if it holds something sealed that has no replacement, or
    says why a rule's rewrite cannot be done.
    """
    filled = fill_body(body, first(shot.headers, "content-type"), shot.replacements)
    if shot.edit_body is not None:
        try:
            filled = shot.edit_body(filled)
        except CannotRewriteError as error:
            return error.reason
    if contains_mark(filled):
        return SKIP_NO_CREDENTIAL
    return msgspec.structs.replace(shot, body=filled, body_length=len(filled))
