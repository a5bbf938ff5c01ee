"""The words for a replay's ledger."""

from __future__ import annotations

import pytest

from mirrorproxy.report.summary import (
    Details,
    progress_line,
    session_name,
    summary_lines,
    unreadable_lines,
)

LEDGER = {
    "read": 12_345, "duplicates": 5, "skipped": {"rule": 40, "no credential": 300},
    "selected": 12_000, "planned": 12_000, "answered": 11_000, "failed": {"reset": 900},
    "shed": {"max_lag": 90}, "unsent": 10, "unreadable": 3, "unordered": 0,
    "status": {"2xx": 10_990, "5xx": 10},
    "lag_ms": {"p50": 0.5, "p99": 2.0, "max": 30.0},
    "latency_ms": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 1500.0}, "balanced": True,
}  # fmt: skip
DETAILS = Details(12.3, 0, 0, 0, {}, {}, {})


def test_the_sums_are_written_out():
    """Each line of the ledger with its parts, the most frequent first."""
    assert summary_lines(LEDGER, DETAILS) == [
        "exchanges   12,345 read = 5 duplicates + 340 skipped + 12,000 selected",
        "skipped     no credential 300, rule 40",
        "shots       12,000 planned = 11,000 answered + 900 failed + 90 shed + 10 unsent",
        "answers     2xx 10,990, 5xx 10",
        "failed      reset 900",
        "shed        max_lag 90",
        "latency     p50 1ms, p90 2ms, p99 3ms, max 1.5s",
        "lag         p50 500us, p99 2ms, max 30ms",
        "unreadable  3",
        "ledger      balanced",
        "took        12.3s",
        "hint: no credential: requests with a sealed credential need another one for the target: "
        "--auth-env NAME, or auth: in the rules (auth: none leaves it out); one in a body needs a "
        "table",
    ]


def test_details_are_told_when_there_are_any():
    """Lag by cause, lateness, differences, cookies, and what was left out for a target."""
    causes = {"limit": {"p50": 1.0, "p99": 20.0}, "sender": {"p50": 0.1, "p99": 1.0}}
    text = "\n".join(summary_lines(LEDGER, Details(1.0, 2, 3, 4, causes, {"a\x1b[31m": 5}, {})))
    assert "answers     2xx 10,990, 5xx 10; 3 differ from production's\n" in text
    assert "max 30ms (p99 by cause: limit 20ms, sender 1ms)\n" in text
    assert "late        2 came behind their turn\n" in text
    assert "cookies     4 taken out: sealed, without a replacement\n" in text
    assert "left out    a\\x1b[31m 5\n" in text


def test_keys_without_order_are_named_but_for_what_may_be_a_secret():
    """The most frequent; a cookie's or a header's own value is never shown."""
    robot = "h1:3f9a:5f0c61d25f0c61d25f0c61d25f0c61d2"
    shared = {"client:10.0.0.1": 20, f"{robot}\x001\x00staging": 300, "h1:s3cret": 1}
    shared |= {f"x-user:{number}": 5 for number in range(6)}
    lines = summary_lines(LEDGER | {"unordered": 351}, DETAILS._replace(shared=shared))
    (line,) = [line for line in lines if line.startswith("order")]
    assert f"351 went without: more than one user's ({robot} 300, client:10.0.0.1 20, ses" in line
    assert line.endswith(", and 4 more)")
    assert "x-user" not in line
    assert session_name("h1:s3cret") == session_name("h1:s3cret\x002")
    assert "s3cret" not in session_name("h1:s3cret")


@pytest.mark.parametrize(
    ("unreadable", "hint"),
    [
        pytest.param(
            0,
            "hint: no exchange here; a running capture writes its objects after some seconds "
            "(--roll-age)",
            id="empty",
        ),
        pytest.param(4, "hint: nothing here could be read: is it a capture?", id="no capture"),
    ],
)
def test_a_replay_of_nothing_says_why(unreadable, hint):
    """Sums of zeros alone would leave a user guessing."""
    ledger = LEDGER | {"read": 0, "skipped": {}, "unreadable": unreadable}
    assert summary_lines(ledger, DETAILS)[-1] == hint


def test_a_ledger_out_of_balance_is_shouted():
    """It must not be overlooked."""
    assert "ledger      DOES NOT BALANCE" in summary_lines(LEDGER | {"balanced": False}, DETAILS)


def test_nothing_sent_shows_no_times():
    """A figure that was not measured is not shown."""
    nothing = dict.fromkeys(("p50", "p90", "p99", "max"))
    lines = summary_lines(
        LEDGER | {"lag_ms": nothing, "latency_ms": nothing, "status": {}}, DETAILS
    )
    assert not any(line.startswith(("lag", "latency", "answers")) for line in lines)


def test_unreadable_places_are_bounded():
    """The first ones, and how many more; a file's name cannot act on the terminal."""
    assert unreadable_lines(["a: byte 5: bad", "b\x1b[2J"], 7) == [
        "unreadable: a: byte 5: bad",
        "unreadable: b\\x1b[2J",
        "unreadable: and 5 more places",
    ]


def test_progress_is_one_line():
    """What a person wants to know while it runs."""
    assert progress_line(LEDGER, 7, 10.0) == (
        "10s, 11,900 sent (1,190/s), 7 in flight, lag p99 2ms, 900 failed, 90 shed"
    )
