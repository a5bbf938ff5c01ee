"""``mirrorproxy replay`` where the target gives other ids and tokens than production gave."""

from __future__ import annotations

import json

import pytest
from answering import (
    MARKS,
    AnsweringTarget,
    Asked,
    answer_json,
    exchange,
    recorded,
)
from server import write_capture

from mirrorproxy.cli import main
from mirrorproxy.record import Credential, Response


@pytest.fixture
def serve():
    targets = []

    def start(answer):
        targets.append(AnsweringTarget(answer))
        return targets[-1]

    yield start
    for one in targets:
        one.close()


@pytest.fixture
def replay(capfd):
    """Run the command in this process; return its status, its JSON and its standard error."""

    def run(*arguments: object) -> tuple[int, dict, str]:
        status = main(["replay", "--json", "--speed", "max", *map(str, arguments)])
        out, err = capfd.readouterr()
        return status, json.loads(out) if out else {}, err

    return run


def test_what_the_target_called_an_order_is_asked_for_later(tmp_path, serve, replay):
    """42 becomes 77 in paths, queries and bodies where it is an order, and nowhere else."""

    def answer(asked: Asked):
        if asked.method == "POST" and asked.path == "/orders":
            return answer_json({"id": 77}, 201, [("Location", "/orders/77")])
        return answer_json({})

    target = serve(answer)
    captured = [
        exchange(0, "POST", "/orders", recorded({"id": 42}, 201, [("Location", "/orders/42")]),
                 body={"qty": 42}),
        exchange(1, "GET", "/orders/42?page=42", recorded({})),
        exchange(2, "GET", "/invoices?order_id=42&year=42", recorded({})),
        exchange(3, "POST", "/invoices", recorded({}), body={"orderId": 42, "price": 42}),
        exchange(4, "GET", "/users/42", recorded({})),
    ]  # fmt: skip
    status, shown, _ = replay(write_capture(tmp_path, captured), "--target", target.url)
    assert status == 0
    assert [(one.method, one.path, one.body) for one in target.asked] == [
        ("POST", "/orders", b'{"qty": 42}'),
        ("GET", "/orders/77?page=42", b""),
        ("GET", "/invoices?order_id=77&year=42", b""),
        ("POST", "/invoices", b'{"orderId": 77, "price": 42}'),
        ("GET", "/users/42", b""),
    ]
    assert shown["correlation"]["learned"] == 1
    assert shown["correlation"]["replaced"] == {"path": 1, "query": 1, "body": 1}


def test_the_token_of_a_login_goes_into_later_requests(tmp_path, serve, replay):
    """Production's was sealed; who logged in as another client waits for the answer."""

    def answer(asked: Asked):
        if asked.path == "/login":
            return answer_json({"access_token": "target-token", "refresh_token": "again"})
        return answer_json({})

    target = serve(answer)
    bearer = [("Authorization", f"Bearer {MARKS[1]}")]
    credential = [Credential("header", "Authorization", MARKS[1][1:-1], "Bearer")]
    captured = [
        exchange(0, "POST", "/login",
                 recorded({"access_token": MARKS[1], "refresh_token": MARKS[2]}),
                 body={"user": "ann"}),
        exchange(1, "GET", "/me", recorded({}), headers=bearer, credentials=credential),
        exchange(2, "POST", "/refresh", recorded({}), body={"refresh_token": MARKS[2]}),
        exchange(3, "GET", "/me", recorded({}), headers=[("Authorization", f"Bearer {MARKS[3]}")]),
    ]  # fmt: skip
    status, shown, _ = replay(write_capture(tmp_path, captured), "--target", target.url)
    assert status == 0
    assert target.asked[0].path == "/login"
    assert {one.path: one for one in target.asked}["/me"].headers["authorization"] == (
        "Bearer target-token"
    )
    assert {one.path: one for one in target.asked}["/refresh"].body == b'{"refresh_token": "again"}'
    assert len(target.asked) == 3
    assert shown["skipped"] == {"no credential": 1}


def test_what_was_not_learned_keeps_its_shot_from_being_sent(tmp_path, serve, replay):
    """Never with a mark, never with production's secret: it is shed."""
    target = serve(lambda asked: answer_json({}, 500))
    captured = [
        exchange(0, "POST", "/login", recorded({"access_token": MARKS[1]}), body={"user": "ann"}),
        exchange(1, "GET", "/me", recorded({}), headers=[("Authorization", f"Bearer {MARKS[1]}")]),
    ]
    _, shown, _ = replay(write_capture(tmp_path, captured), "--target", target.url)
    assert [one.path for one in target.asked] == ["/login"]
    assert shown["shed"] == {"no credential": 1}


def test_cookies_that_the_target_set_take_the_place_of_productions(tmp_path, serve, replay):
    """A sealed cookie that no answer gave is taken out, as without correlation."""

    def answer(asked: Asked):
        if asked.path == "/login":
            return answer_json({}, 200, [("Set-Cookie", "sid=target-session; Path=/; HttpOnly")])
        return answer_json({})

    target = serve(answer)
    captured = [
        exchange(0, "POST", "/login",
                 recorded({}, 200, [("Set-Cookie", f"sid={MARKS[1]}; Path=/; HttpOnly")])),
        exchange(1, "GET", "/me", recorded({}),
                 headers=[("Cookie", f"sid={MARKS[1]}; ad={MARKS[2]}")]),
    ]  # fmt: skip
    status, _, _ = replay(write_capture(tmp_path, captured), "--target", target.url)
    assert status == 0
    assert target.asked[1].headers["cookie"] == "sid=target-session"


def test_no_correlate_sends_ids_as_they_were(tmp_path, serve, replay):
    target = serve(lambda asked: answer_json({"id": 77}))
    captured = [
        exchange(0, "POST", "/orders", recorded({"id": 42})),
        exchange(1, "GET", "/orders/42", recorded({})),
    ]
    status, shown, _ = replay(
        write_capture(tmp_path, captured), "--target", target.url, "--no-correlate"
    )
    assert status == 0
    assert [one.path for one in target.asked] == ["/orders", "/orders/42"]
    assert shown["correlation"] is None


def test_answers_without_a_recorded_body_are_told_of(tmp_path, serve, capfd):
    """By the check, the dry run and the replay itself; headers are learned from all the same."""
    target = serve(lambda asked: answer_json({}, 201, [("Location", "/orders/77")]))
    bare = Response(201, [("Location", "/orders/42")], body_bytes=9)
    captured = [exchange(0, "POST", "/orders", bare), exchange(1, "GET", "/orders/42", bare)]
    capture = str(write_capture(tmp_path / "capture", captured))
    hint = (
        "hint: 100% of the answers to writes (1 of 1) have no recorded body to learn ids from; "
        "capture with --response-body"
    )
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"version: 1\ntargets: {{t: {{url: '{target.url}'}}}}\nrules: [{{name: a, send: {{}}}}]\n"
    )
    for command in (
        ["check", str(rules), capture],
        ["replay", capture, "--target", target.url, "--dry-run"],
        ["replay", capture, "--target", target.url, "--speed", "max"],
    ):
        assert main(command) == 0
        assert hint in capfd.readouterr().out.splitlines()
    assert [one.path for one in target.asked] == ["/orders", "/orders/77"]


def test_explain_says_what_was_replaced(tmp_path, serve, capfd):
    target = serve(lambda asked: answer_json({"id": 77}))
    captured = [
        exchange(0, "POST", "/orders", recorded({"id": 42})),
        exchange(1, "GET", "/orders/42", recorded({})),
    ]
    capture = str(write_capture(tmp_path, captured))
    asked_about = captured[1].id
    assert main(["replay", capture, "--target", target.url, "--explain", asked_about]) == 0
    assert (
        f"explain     {asked_about}: to target, path: 42 -> 77, learned from {captured[0].id} "
        "(json $.id)"
    ) in capfd.readouterr().out.splitlines()
