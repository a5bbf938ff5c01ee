"""The demo's verdict: it must see what went wrong."""

from __future__ import annotations

import base64
import gzip

import pytest

from mirrorproxy.demo.orders import Order
from mirrorproxy.demo.verdict import differences, files_holding

USERS = {"alice": "test-alice"}
OLD = {"P-1": Order("alice", "cup", 1)}
OLD_STAGING = {"S-1": Order("test-alice", "kettle", 7)}
NEW = {**OLD, "A-1": Order("alice", "teapot", 2, ["note"], "ab12")}
COPY = Order("test-alice", "teapot", 2, ["note"], "ab12")


@pytest.mark.parametrize(
    ("staging", "found"),
    [
        pytest.param({**OLD_STAGING, "A-1": COPY}, [], id="as it should be"),
        pytest.param(OLD_STAGING, ["A-1 is missing"], id="nothing arrived"),
        pytest.param({"A-1": COPY}, ["S-1 is missing"], id="its own order is gone"),
        pytest.param(
            {**OLD_STAGING, "A-1": COPY, "P-1": COPY},
            ["P-1 should not be there"],
            id="an order that was not part of the capture",
        ),
        pytest.param(
            {**OLD_STAGING, "A-1": Order("alice", "teapot", 2, ["note"], "ab12")},
            [f"A-1 is {NEW['A-1']}, not {COPY}"],
            id="it belongs to production's user",
        ),
        pytest.param(
            {**OLD_STAGING, "A-1": Order("test-alice", "teapot", 2, ["note"], "ff")},
            [f"A-1 is {Order('test-alice', 'teapot', 2, ['note'], 'ff')}, not {COPY}"],
            id="the binary body differs",
        ),
    ],
)
def test_differences(staging, found):
    """Each kind of mistake is named."""
    assert differences(NEW, staging, USERS, OLD, OLD_STAGING) == found


SECRET = "correct horse battery"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f"x={SECRET};".encode(), id="plain"),
        pytest.param(gzip.compress(f"x={SECRET};".encode()), id="in gzip"),
        *(
            pytest.param(base64.b64encode(f"{'x' * pad}{SECRET}yz".encode()), id=f"base64 at {pad}")
            for pad in range(3)
        ),
    ],
)
def test_a_leak_is_found(tmp_path, content):
    """However it stands in a file."""
    (tmp_path / "good").write_bytes(b"nothing")
    (tmp_path / "deep").mkdir()
    bad = tmp_path / "deep" / "bad"
    bad.write_bytes(content)
    assert files_holding(tmp_path, [SECRET]) == (2, [bad])


def test_no_leak_where_there_is_none(tmp_path):
    """A broken gzip file is searched as it is."""
    (tmp_path / "a").write_bytes(b"\x1f\x8bbroken")
    assert files_holding(tmp_path, [SECRET]) == (1, [])
