"""Picking: the same exchanges of an object whoever picks them, and the same as `send` plans."""

from __future__ import annotations

import io
from pathlib import Path

from stored_captures import SECOND, T0, exchange, packed

from mirrorproxy.lambdas.picking import Picker
from mirrorproxy.marks import mark_of
from mirrorproxy.record import Credential, Response
from mirrorproxy.rules.load import rules_of
from mirrorproxy.rules.plan import plan
from mirrorproxy.sources.events import CaptureObject
from mirrorproxy.yamlfile import load

RULES = """version: 1
targets: {t: {url: 'http://t'}}
rules: [{name: r, send: {%s}}]
"""


def rules(send):
    return rules_of(load(RULES % send, name="rules.yaml"), Path("."), {})


def parts(compiled, exchanges, skip=0):
    picker = Picker(
        compiled, "seed", "run", max_chunk_shots=5, max_senders=1, on_unreadable=NotImplemented
    )
    source = CaptureObject("object", lambda: io.BytesIO(packed(exchanges)))
    return list(picker.parts(source, skip))


def ids(found):
    return [one.record_id for part in found for one in part.picked]


def fingerprint(number):
    return f"h1:3f9a:{number:032x}"


def logins(count):
    """Users who are given two tokens by one answer, and come with each of them once."""
    for user in range(count):
        at_us = T0 + 3 * user * SECOND
        tokens = [f"h1:3f9a:{2 * user + number:032x}" for number in range(2)]
        login = exchange(at_us, user)
        login.response = Response(200, [], " ".join(map(mark_of, tokens)), "utf8")
        yield login
        for number, token in enumerate(tokens, 1):
            asked = exchange(at_us + number * SECOND, user)
            asked.credentials = [Credential("header", "Authorization", token)]
            yield asked


def test_sessions_are_those_that_send_will_see():
    """A percentage of sessions is decided by each exchange alone: `send` has no other."""
    compiled = rules("percent: 50, percent_by: session")
    exchanges = list(logins(40))
    planned = [one.id for one in exchanges if plan(one, compiled, "seed", "run").shots]
    assert ids(parts(compiled, exchanges)) == planned
    assert 20 < len(planned) < 100


def test_a_part_is_the_same_whoever_picks_those_before():
    """As after a call that had no time for all of it: a rule's rate begins with each part."""
    compiled = rules("rate: 2")
    exchanges = [exchange(T0 + number * SECOND // 5, number) for number in range(60)]
    first, *others = parts(compiled, exchanges)
    assert ids(parts(compiled, exchanges, first.taken)) == ids(others)
    assert len(others) > 1
