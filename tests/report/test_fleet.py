"""The ledgers of a fleet: their sum, and what does not add up."""

from __future__ import annotations

import json

import msgspec
import pytest

from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.report.fleet import WorkerLedger, difference, read_ledger, total

ONE = WorkerLedger(
    read=10, duplicates=1, skipped={"rule": 2}, selected=7, planned=8, answered=4,
    failed={"reset": 1}, shed={"rate": 2}, unsent=1, unreadable=3, status={"2xx": 4},
    lag_ms={"p50": 1.0, "max": None}, latency_ms={"p99": 5.0},
)  # fmt: skip
OTHER = WorkerLedger(
    read=5, duplicates=0, skipped={"rule": 1, "late": 1}, selected=3, planned=3, answered=3,
    failed={}, shed={}, unsent=0, status={"2xx": 2, "5xx": 1},
    lag_ms={"p50": 2.5, "max": 9.0}, latency_ms={"p99": 4.0},
)  # fmt: skip


def test_sums_are_those_of_all_workers():
    """Counts are added by their reason; of percentiles the highest stands there."""
    assert total([ONE, OTHER]) == WorkerLedger(
        read=15, duplicates=1, skipped={"late": 1, "rule": 3}, selected=10, planned=11, answered=7,
        failed={"reset": 1}, shed={"rate": 2}, unsent=1, unreadable=3,
        status={"2xx": 6, "5xx": 1}, lag_ms={"p50": 2.5, "max": 9.0}, latency_ms={"p99": 5.0},
    )  # fmt: skip


def test_a_fleet_of_none_sums_to_nothing():
    """And adds up."""
    assert total([]).read == 0
    assert total([]).is_balanced


@pytest.mark.parametrize(
    ("change", "balances"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"read": 11}, False, id="an exchange too many"),
        pytest.param({"skipped": {"rule": 1}}, False, id="an exchange lost"),
        pytest.param({"planned": 9}, False, id="a shot too many"),
        pytest.param({"shed": {}}, False, id="a shot lost"),
    ],
)
def test_a_ledger_balances_by_its_numbers(change, balances):
    """Whatever it says of itself."""
    assert msgspec.structs.replace(ONE, **change).is_balanced is balances


def test_the_ledger_of_a_replay_is_read():
    """As replay writes it, with keys that a later version adds."""
    ledger = Ledger()
    ledger.read = ledger.selected = ledger.planned = ledger.answered = 2
    ledger.status[200] = 2
    ledger.latency.add(1500)
    written = json.dumps({**ledger.to_json(), "of a later version": 1}).encode()
    found = read_ledger(written)
    assert (found.read, found.status, found.is_balanced) == (2, {"2xx": 2}, True)
    assert found.latency_ms["max"] == 1.5


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no ledger"),
        pytest.param(b'{"read": "ten"}', id="words for numbers"),
        pytest.param(msgspec.json.encode(ONE).replace(b'"read":10', b'"read":-1'), id="below 0"),
        pytest.param(b"\xff\xfe", id="bytes"),
    ],
)
def test_what_is_no_ledger_is_refused(content):
    """Whatever lies there."""
    with pytest.raises(ValueError, match=r".+"):
        read_ledger(content)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        pytest.param({"answered": 4, "failed": 1, "shed": 2, "unsent": 1}, None, id="as counted"),
        pytest.param(
            {"answered": 3, "failed": 1, "shed": 2},
            "3 answered and not 4, 0 unsent and not 1",
            id="some are missing",
        ),
    ],
)
def test_outcomes_are_those_of_the_ledger(counted, expected):
    """Or the report says which are not."""
    assert difference(ONE, counted) == expected
