"""Tokens that answers gave to one user are one session; nobody else's are."""

from __future__ import annotations

import json

from rulekit import SUBJECT, exchange, rules_from, sending

from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Exchange, Response
from mirrorproxy.rules.lineage import Lineage
from mirrorproxy.rules.planner import Planner


def token(name: str) -> str:
    """The fingerprint of a token with this name."""
    return f"h1:3f9a:{name.encode().hex():0>32}"


def asked(
    bearer: str | None = None,
    *,
    body: str | None = None,
    subject: str | None = None,
    gives: tuple[str, ...] = (),
    cookie: str | None = None,
    status: int = 200,
) -> Exchange:
    """A request with a token in its head or body; the answer gives others."""
    credentials = []
    if bearer:
        credentials.append(
            Credential("header", "Authorization", token(bearer), scheme="Bearer", subject=subject)
        )
    if body:
        credentials.append(Credential("body", "refresh_token", token(body)))
    made = exchange(credentials=credentials)
    content = {f"{number}_token": mark_of(token(one)) for number, one in enumerate(gives)}
    headers = [("Set-Cookie", f"sid={mark_of(token(cookie))}; Path=/")] if cookie else []
    made.response = Response(status, headers, json.dumps(content), "utf8")
    return made


def sessions(*exchanges: Exchange, limit: int = 1000) -> list[str]:
    """The sessions of exchanges, one after the other; "own" where nothing is known."""
    lineage = Lineage(limit)
    return [lineage.session(one, "own") for one in exchanges]


def test_a_refreshed_token_is_the_same_session():
    """From the login on, by way of the refresh token."""
    found = sessions(
        asked(gives=("access", "refresh")),
        asked("access"),
        asked(body="refresh", gives=("access 2", "refresh 2")),
        asked("access 2"),
        asked(body="refresh 2", gives=("access 3", "refresh 3")),
        asked("access 3"),
    )
    assert found == ["own", *[token("access")] * 5]


def test_a_cookie_that_a_token_was_traded_for_is_the_same_session():
    """And the other way round."""
    assert (
        sessions(asked("access", cookie="sid"), asked("sid"), asked("access"))
        == [token("access")] * 3
    )


def test_two_logins_are_two_sessions():
    """Whatever they have in common otherwise."""
    found = sessions(
        asked(gives=("one", "a")), asked(gives=("two", "b")), asked("one"), asked("two")
    )
    assert found[2:] == [token("one"), token("two")]


def test_a_subject_stays_the_session_and_its_refresh_token_joins_it():
    """As a JWT says whose it is, and the token that renews it does not."""
    found = sessions(
        asked(gives=("jwt", "refresh")),
        asked("jwt", subject=SUBJECT),
        asked(body="refresh", gives=("jwt 2", "refresh 2")),
        asked("jwt 2", subject=SUBJECT),
    )
    assert found == ["own", SUBJECT, SUBJECT, SUBJECT]


def test_what_several_are_given_is_nobodys():
    """Such as the key of a map that every page holds."""
    found = sessions(
        asked("ann", gives=("map",)), asked("ben", gives=("map",)), asked("map"), asked("ann")
    )
    assert found == [token("ann"), token("ben"), token("map"), token("ann")]


def test_a_list_of_secrets_is_not_one_user():
    """Nor is what an error shows."""
    many = tuple(f"key {number}" for number in range(7))
    assert sessions(asked("admin", gives=many), asked("key 1"))[1] == token("key 1")
    assert sessions(asked("ann", gives=("ben",), status=401), asked("ben"))[1] == token("ben")


def test_memory_is_bounded():
    """What was not used for longest is forgotten."""
    logins = [asked(gives=(f"access {number}", f"refresh {number}")) for number in range(3)]
    found = sessions(*logins, asked(body="refresh 0"), asked(body="refresh 2"), limit=4)
    assert found[3:] == ["own", token("access 2")]


def test_rules_decide_whether_tokens_are_followed():
    """Only where the credential comes first."""
    for by, session in (("[credential, client]", token("one")), ("[client]", "client:203.0.113.7")):
        rules = rules_from(sending() + f"defaults: {{unmatched: send, session: {{by: {by}}}}}\n")
        planner = Planner(rules, "seed", "run", speed=1.0, now_us=lambda: 0)
        planner.plan(asked(gives=("one", "two")))
        planned = planner.plan(asked(body="two"))
        assert [shot.session for shot in planned.shots] == [session]
