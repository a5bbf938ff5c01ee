"""The spool, the clock, running mirrors and their keys."""

from __future__ import annotations

import msgspec
import pytest

from mirrorproxy.doctor import keys, machine, mirrors
from mirrorproxy.doctor.http import Unanswered, ahead_of, check_url
from mirrorproxy.doctor.machine import SpoolFacts, check_clock, check_spool
from mirrorproxy.doctor.spool import measure_spool
from mirrorproxy.errors import ConfigError
from mirrorproxy.record import Credential, Exchange, Request

GIB = 1 << 30
SPOOL = SpoolFacts(
    path="/s", exists=True, owner=1000, me=1000, mode=0o700, writable=True, free_bytes=9 * GIB,
    used_bytes=0, filesystem="ext4",
)  # fmt: skip
STATUS = {
    "mirror": {"name": "m1", "seal_key_id": "3f9a", "version": "1"},
    "unready": [],
    "ledger": {"captured": 1234, "dropped": {}, "quarantined": 0, "balanced": True},
    "shipping": {"oldest_age_s": 0.5, "error": None},
    "workers": [],
}


def test_a_good_spool():
    """One line."""
    (finding,) = check_spool(SPOOL, 4 * GIB)
    assert (finding.level, finding.says) == ("ok", "writable, 9GiB free on its disk")


@pytest.mark.parametrize(
    ("change", "level", "says"),
    [
        pytest.param(
            {"writable": False, "owner": 0},
            "problem",
            "cannot be written by user 1000 (owner 0)",
            id="not ours to write",
        ),
        pytest.param({"owner": 0}, "warning", "belongs to user 0, not to 1000", id="another's"),
        pytest.param(
            {"mode": 0o755}, "warning", "everybody on this machine may look into it", id="open"
        ),
        pytest.param(
            {"free_bytes": 2 * GIB, "used_bytes": GIB},
            "problem",
            "may grow to 4GiB, and its disk has 3GiB",
            id="bound above the disk",
        ),
        pytest.param({"used_bytes": int(3.5 * GIB)}, "warning", "holds 3.5GiB of 4GiB", id="full"),
        pytest.param(
            {"filesystem": "nfs4"},
            "warning",
            "lies on a network (nfs4): its locks and its pace are another's",
            id="network",
        ),
        pytest.param(
            {"quarantined": 2},
            "warning",
            "2 files in quarantine: records refused for good",
            id="quarantine",
        ),
        pytest.param({"error": "x is no directory"}, "problem", "x is no directory", id="a file"),
    ],
)
def test_what_is_wrong_with_a_spool(change, level, says):
    """Each by itself, with a remedy."""
    findings = check_spool(msgspec.structs.replace(SPOOL, **change), 4 * GIB)
    (finding,) = [one for one in findings if one.level != "ok"]
    assert (finding.level, finding.says) == (level, says)
    assert finding.do


def test_a_spool_is_measured(tmp_path):
    """As it lies there, or where it would be made; nothing is made for it."""
    missing = measure_spool(tmp_path / "a" / "b")
    assert (missing.exists, missing.writable, missing.used_bytes) == (False, True, 0)
    assert list(tmp_path.iterdir()) == []
    spool = tmp_path / "spool"
    (spool / "segments").mkdir(parents=True)
    (spool / "segments" / "x").write_bytes(b"12345")
    (spool / "quarantine").mkdir()
    (spool / "quarantine" / "y").write_bytes(b"")
    found = measure_spool(spool)
    assert (found.exists, found.used_bytes, found.quarantined, found.owner) == (
        True, 5, 1, found.me,
    )  # fmt: skip
    assert "Not a directory" in measure_spool(spool / "segments" / "x").error


@pytest.mark.parametrize(
    ("ahead_s", "signs", "level"),
    [
        (0.4, False, "ok"), (-2.0, True, "ok"), (2.5, False, "warning"), (-400, False, "warning"),
        (250, True, "warning"), (-301, True, "problem"),
    ],
)  # fmt: skip
def test_clocks(ahead_s, signs, level):
    """Dates in HTTP have whole seconds; AWS takes five minutes."""
    assert check_clock("it", ahead_s, signs=signs).level == level


def test_a_date_says_how_far_our_clock_is_ahead():
    """To half a second, and nonsense says nothing."""
    assert ahead_of("Thu, 01 Jan 1970 00:01:00 GMT", lambda: 65.5) == 5.0
    assert ahead_of("yesterday", lambda: 65.5) is None
    assert ahead_of(None) is None


def check(**changes: object) -> list[str]:
    found = mirrors.check_mirror("http://x", mirrors.view({**STATUS, **changes}))
    return [f"{one.level}: {one.what}: {one.says}" for one in found]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ["ok: mirror m1: ready, 1,234 captured"], id="well"),
        pytest.param({"shipping": None}, ["ok: mirror m1: ready, 1,234 captured"], id="starting"),
        pytest.param(
            {"unready": ["worker 1 is down"]},
            ["problem: mirror m1: worker 1 is down"],
            id="unready",
        ),
        pytest.param(
            {"shipping": {"error": "denied", "oldest_age_s": 900.0}},
            ["problem: mirror m1: cannot ship: denied"],
            id="cannot ship",
        ),
        pytest.param(
            {"shipping": {"oldest_age_s": 90.0}},
            [
                "ok: mirror m1: ready, 1,234 captured",
                "warning: mirror m1: ships late: the oldest record waits for 1m30s",
            ],
            id="ships late",
        ),
        pytest.param(
            {
                "ledger": {
                    "captured": 5,
                    "dropped": {"spool full": 7},
                    "quarantined": 3,
                    "balanced": False,
                }
            },
            [
                "warning: mirror m1: 3 records were refused for good",
                "warning: mirror m1: dropped records: spool full 7",
                "problem: mirror m1: its ledger does not balance",
            ],
            id="losses",
        ),
        pytest.param(
            {"ledger": "?"},
            ["problem: mirror http://x: what answers there is no capture"],
            id="something else",
        ),
    ],
)
def test_mirrors(changes, expected):
    """By their /status."""
    assert check(**changes) == expected


def test_a_mirror_that_does_not_answer():
    """Says where it was looked for."""
    (finding,) = mirrors.check_mirror("http://x", Unanswered("no answer: Connection refused"))
    assert (finding.level, finding.what) == ("problem", "mirror http://x")


def test_mirrors_have_one_key():
    """More than one breaks sessions."""
    assert keys.check_mirror_keys({"a": "3f9a", "b": "3f9a"}).says == "3f9a on 2 mirrors"
    finding = keys.check_mirror_keys({"a": "3f9a", "b": "77aa"})
    assert finding.level == "problem"
    assert "(a 3f9a, b 77aa)" in finding.says


def exchange(node: str, key: str) -> Exchange:
    return Exchange(
        v=1, id="0" * 32, service="s", via="inline", node=node, started_us=1, duration_us=1,
        client="127.0.0.1", scheme="http", upstream="http://u",
        request=Request(method="GET", target="/", version="1.1", headers=[]),
        credentials=[Credential("header", "Authorization", f"h1:{key}:{'0' * 32}")] if key else [],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("exchanges", "level", "part"),
    [
        pytest.param([exchange("m1/0", "")], "ok", "none in the 1 looked at", id="nothing sealed"),
        pytest.param(
            [exchange("m1/0", "3f9a"), exchange("m2/1", "3f9a")], "ok", "3f9a in the 2", id="one"
        ),
        pytest.param(
            [exchange("m1/0", "3f9a"), exchange("m1/1", "3f9a"), exchange("m2/0", "77aa")],
            "problem",
            "(3f9a by m1, 77aa by m2)",
            id="two",
        ),
    ],
)
def test_records_were_sealed_with_one_key(exchanges, level, part):
    """By the ids in their marks."""
    finding = keys.check_record_keys(*keys.keys_of(exchanges))
    assert finding.level == level
    assert part in finding.says


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9808", "ftp://x", "http://", "http://u:p@x", "http://[x"]
)
def test_addresses_are_checked(url):
    """Before anything is asked, and no password is taken."""
    with pytest.raises(ConfigError, match=r"^--mirror: expected a URL"):
        check_url(url, "--mirror")


def test_the_limits_are_what_aws_allows():
    """Signatures of five minutes."""
    assert machine.SIGNATURE_SKEW_S == 300
