"""Session keys: what the requests of one user have in common.

Pure. The key orders and samples; it holds fingerprints, never secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import UNSET

from mirrorproxy.headers import SESSION_COOKIE, values
from mirrorproxy.record import Credential, Exchange
from mirrorproxy.rules.offers import claim_texts
from mirrorproxy.rules.patterns import Fault, KeyPath
from mirrorproxy.rules.schema import Session

SessionKey = Callable[[Exchange], str]
_Part = Callable[[Exchange], str | None]

PARTS = "credential, subject, fingerprint, client, cookie:<name>, header:<name> or claim:<name>"


class SessionOrder(NamedTuple):
    """What of a session waits for what. is_kept: whether anything does.

    by_target: whether each target has an order of its own. skips_broken:
    whether a session ends when one of its shots gets no answer.
    """

    is_kept: bool = True
    by_target: bool = False
    skips_broken: bool = False


def compile_order(session: Session, *, fans_out: bool) -> SessionOrder:
    """Return the order that is asked for. fans_out: whether a rule sends to several targets."""
    order = session.order
    if order is UNSET:
        # Targets that are sent the same are environments of their own; else parts of one.
        order = "target" if fans_out else "session"
    return SessionOrder(order != "off", order == "target", session.on_failure == "skip_session")


def follows_tokens(by: Sequence[str]) -> bool:
    """Tell whether a session is whatever one user's tokens make it, see `lineage`."""
    return by[:1] == ["credential"] or by[:1] == ("credential",)


def compile_session(by: Sequence[str], at: KeyPath) -> SessionKey:
    """Return a function from an exchange to its session's key.

    by: the first of these that an exchange has makes the key; an exchange that
    has none of them is a session of its own. Raises Fault.
    """
    if not by:
        raise Fault(f"expected {PARTS}", at)
    parts = [_compile_part(one, (*at, index)) for index, one in enumerate(by)]

    def key(exchange: Exchange) -> str:
        for part in parts:
            if found := part(exchange):
                return found
        return f"exchange:{exchange.id}"

    return key


def _compile_part(by: str, at: KeyPath) -> _Part:
    known: dict[str, _Part] = {
        "credential": _credential,
        "subject": lambda exchange: _of_any(exchange, lambda one: one.subject),
        "fingerprint": lambda exchange: _of_any(exchange, lambda one: one.fingerprint),
        "client": lambda exchange: f"client:{exchange.client}" if exchange.client else None,
    }
    if by in known:
        return known[by]
    kind, _, name = by.partition(":")
    if name and kind == "cookie":
        return lambda exchange: _cookie(exchange, name)
    if name and kind == "header":
        return lambda exchange: next(
            (f"{name.lower()}:{value}" for value in values(exchange.request.headers, name)), None
        )
    if name and kind == "claim":
        return lambda exchange: _of_any(
            exchange, lambda one: "\n".join(claim_texts(one, name)) or None
        )
    raise Fault(f"expected {PARTS}", at)


def _of_any(exchange: Exchange, value: Callable[[Credential], str | None]) -> str | None:
    for credential in exchange.credentials:
        if credential.place != "body" and (found := value(credential)):
            return found
    return None


def speaking(exchange: Exchange) -> Credential | None:
    """Return the credential of a request that says who the user is, None if none does."""
    for credential in exchange.credentials:
        if credential.place in ("header", "query"):
            return credential
    for credential in exchange.credentials:
        # Other cookies count visits or hold settings; many users may share their value.
        if credential.place == "cookie" and SESSION_COOKIE.search(credential.name):
            return credential
    return None


def _credential(exchange: Exchange) -> str | None:
    who = speaking(exchange)
    return None if who is None else who.subject or who.fingerprint


def _cookie(exchange: Exchange, name: str) -> str | None:
    for credential in exchange.credentials:
        if credential.place == "cookie" and credential.name == name:
            return credential.fingerprint
    for header in values(exchange.request.headers, "cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return f"cookie:{value}"
    return None
