"""What is not replaced stays byte for byte, and what may be a secret is shown to nobody."""

from __future__ import annotations

import json
import re

from answering import MARKS
from correlated import Correlated
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.correlation.explain import Explained
from mirrorproxy.replay.correlate import Correlation

OPAQUE, SECRET = "3f9a8b7c6d5e4f3a2b1c", "9z8y7x6w5v4u3t2s1r0q"

KINDS = st.sampled_from(
    ["application/json", "application/x-www-form-urlencoded", "application/xml", "text/plain", ""]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(100, 10**6) | st.floats(100, 1e6) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
BODIES = st.binary() | JSON.map(lambda value: json.dumps(value).encode())
PATHS = st.from_regex(r"(/[a-z0-9%A-F.;:-]*){1,5}(\?[a-z0-9=&%+,A-F]*)?", fullmatch=True)


@given(PATHS, BODIES, KINDS, st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_shot_without_learned_values_is_sent_as_it_is(path, body, kind, header):
    """The same object, whatever it holds."""
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77})
    headers = [("Host", "staging"), ("Content-Type", kind), ("X-Any-Id", header)]
    flight = correlated.plan("PUT", path, headers=headers, body=body)
    if "42" in f"{path}{header}{body!r}":
        return
    before = flight.shot
    assert correlated.depart(flight) is before


@given(JSON, JSON, st.sampled_from(["", " ", "\n\t"]))
def test_a_replaced_shot_differs_in_the_place_of_the_value_alone(before, after, space):
    correlated = Correlated()
    correlated.teach("POST", "/orders", {"id": 42}, {"id": 77777})
    text = f'{{"before":{json.dumps(before)},{space}"order_id"{space}:{space}42{space},"z":'
    body = f"{text}{json.dumps(after)}}}"
    assert correlated.body(body, "/x") == body.replace(
        f'"order_id"{space}:{space}42', f'"order_id"{space}:{space}77777', 1
    )


def test_explained_values_are_ids_and_no_secrets():
    explained = Explained(["3".zfill(32), "4".zfill(32)])
    correlated = Correlated(Correlation(explained=explained))
    made = {"id": 42, "access_token": MARKS[1], "key": OPAQUE}
    given = {"id": 77, "access_token": SECRET, "key": SECRET[::-1]}
    correlated.teach("POST", "/orders", made, given, exchange_id="1".zfill(32))
    correlated.sent(
        "PUT", "/orders/42", sealed=True, exchange_id="3".zfill(32),
        headers=[("Authorization", f"Bearer {MARKS[1]}"), ("X-Key", OPAQUE)],
    )  # fmt: skip
    lines = explained.lines()
    assert lines[0] == (
        f"explain     {'3'.zfill(32)}: to staging, path: 42 -> 77, learned from {'1'.zfill(32)} "
        "(json $.id)"
    )
    assert [re.sub(".*: to staging, ", "", line) for line in lines[1:3]] == [
        f"header X-Key: … -> …, learned from {'1'.zfill(32)} (json $.key)",
        f"sealed: … -> …, learned from {'1'.zfill(32)} (json $.access_token)",
    ]
    assert lines[3] == f"explain     {'4'.zfill(32)}: nothing was replaced"
    shown = json.dumps(explained.to_json())
    assert SECRET not in shown
    assert SECRET[::-1] not in shown
    assert MARKS[1] not in shown


def test_a_targets_value_cannot_break_out_of_a_header():
    """It came from a server: it may hold anything."""
    correlated = Correlated()
    correlated.teach("POST", "/login", {"token": MARKS[1]}, {"token": "a\r\nX-Evil: 1"})
    bearer = [("Authorization", f"Bearer {MARKS[1]}")]
    flight = correlated.plan("GET", "/", headers=bearer, sealed=True)
    assert correlated.depart(flight) == "no credential"
