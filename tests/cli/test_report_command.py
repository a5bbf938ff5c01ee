"""``mirrorproxy report``: what a fleet's workers left, added up."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mirrorproxy import cli
from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.replay.ledger import Ledger
from mirrorproxy.report.comparison_file import encode
from mirrorproxy.report.groups import Groups


def worker(folder: Path, ids: range, *, ledger: bool = True, answered: int | None = None) -> str:
    """Lay down what a worker leaves that had an answer to each of its shots."""
    folder.mkdir()
    outcomes = [
        Outcome(f"{n:032x}", 0, "staging", 1, Production(7, 200), status=200, latency_us=9)
        for n in ids
    ]
    (folder / "outcomes.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(outcomes))
    if ledger:
        kept = Ledger()
        kept.read = kept.selected = kept.planned = kept.answered = len(ids)
        kept.status[200] = len(ids)
        if answered is not None:
            kept.answered = answered
        (folder / "ledger.json").write_text(json.dumps(kept.to_json()))
    return str(folder)


def test_a_fleet_that_did_everything_once(tmp_path, capsys):
    """Adds up; status 0."""
    outs = [worker(tmp_path / "a", range(3)), worker(tmp_path / "b", range(3, 5))]
    assert cli.main(["report", "--once", "--ledger", *outs]) == 0
    assert capsys.readouterr().out == (
        "workers     2, 2 with a ledger\n"
        "exchanges   5 read = 0 duplicates + 0 skipped + 5 selected\n"
        "shots       5 planned = 5 answered + 0 failed + 0 shed + 0 unsent\n"
        "answers     2xx 5\n"
        "ledger      balanced\n"
        "once        5 different shots = 5 sent once + 0 more than once + 0 never\n"
        "answered    5 of them at least once\n"
        "repeated    0 sent again; 0 shots by several workers\n"
    )


def test_a_killed_worker_is_counted_by_its_outcomes(tmp_path, capsys):
    """It left no ledger, and a line that was cut; what others sent again is named."""
    killed = worker(tmp_path / "a", range(3), ledger=False)
    with (tmp_path / "a" / "outcomes.jsonl").open("ab") as file:
        file.write(b'{"id":"0000')
    other = worker(tmp_path / "b", range(2, 5))
    assert cli.main(["report", "--ledger", killed, "--ledger", other, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["workers"][0] == {
        "name": killed, "ledger": False, "outcomes": 3, "damaged": 1,
        "problem": "left no ledger: it runs, or was killed; what it had in flight then is not "
        "known",
    }  # fmt: skip
    assert (report["total"]["planned"], report["total"]["balanced"]) == (3, False)
    assert report["once"] == {
        "shots": 5, "sent": 5, "answered": 5, "not_sent": 0, "repeated": 1, "by_several": 1,
        "extra": 1,
    }  # fmt: skip
    assert report["repeated"] == [
        {"id": f"{2:032x}", "copy": 0, "target": "staging", "workers": {killed: 1, other: 1}}
    ]


def test_without_any_ledger_there_are_no_sums(tmp_path, capsys):
    """Only what outcomes say."""
    killed = worker(tmp_path / "a", range(3), ledger=False)
    assert cli.main(["report", "--ledger", killed]) == 1
    assert capsys.readouterr().out == (
        "workers     1, 0 with a ledger\n"
        "once        3 different shots = 3 sent once + 0 more than once + 0 never\n"
        "answered    3 of them at least once\n"
        "repeated    0 sent again; 0 shots by several workers\n"
        f"problem: {killed}: left no ledger: it runs, or was killed; what it had in flight then is "
        "not known\n"
    )


def test_every_repeated_shot_can_be_had(tmp_path, capsys):
    """The report names the first, a file all of them; --once makes it a failure."""
    outs = [worker(tmp_path / "a", range(30)), worker(tmp_path / "b", range(30))]
    listed = tmp_path / "twice.jsonl"
    argv = ["report", "--ledger", *outs, "--repeated", str(listed)]
    assert cli.main(argv) == 0
    shown = capsys.readouterr().out.splitlines()
    assert len([one for one in shown if one.startswith("repeated: 0")]) == 10
    assert shown[-1] == "repeated: and 20 more; --repeated FILE writes all of them"
    assert {json.loads(one)["id"] for one in listed.read_text().splitlines()} == {
        f"{n:032x}" for n in range(30)
    }
    assert cli.main([*argv, "--once"]) == 3


def test_outcomes_that_are_not_those_of_the_ledger_are_told(tmp_path, capsys):
    """Somebody mixed them, or the disk was full."""
    out = worker(tmp_path / "a", range(3))
    (tmp_path / "a" / "outcomes.jsonl").write_bytes(b"")
    assert cli.main(["report", "--ledger", out]) == 1
    assert (
        "its outcomes are not those of its ledger: 0 answered and not 3" in capsys.readouterr().out
    )


def test_a_ledger_that_does_not_balance_is_named(tmp_path, capsys):
    """Status 1."""
    out = worker(tmp_path / "a", range(3), answered=2)
    assert cli.main(["report", "--ledger", out]) == 1
    shown = capsys.readouterr().out
    assert "ledger      DOES NOT BALANCE\n" in shown
    assert f"problem: {out}: its ledger does not balance\n" in shown


def test_ledgers_alone_say_nothing_of_repeats(tmp_path, capsys):
    """As `replay --json` printed them into files."""
    worker(tmp_path / "a", range(3))
    ledger = str(tmp_path / "a" / "ledger.json")
    assert cli.main(["report", "--ledger", ledger]) == 0
    assert "once        not counted" in capsys.readouterr().out
    assert cli.main(["report", "--ledger", ledger, "--once"]) == 2


@pytest.mark.parametrize(
    ("made", "said"),
    [
        pytest.param("missing", "missing is not there", id="nothing there"),
        pytest.param("empty/", "holds neither ledger.json nor outcomes.jsonl", id="empty"),
        pytest.param("no-ledger.json", "no ledger of a replay", id="another file"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, capsys, made, said):
    """Status 2, before anything is added."""
    path = tmp_path / made
    if made.endswith("/"):
        path.mkdir()
    elif made.endswith(".json"):
        path.write_text("{}")
    assert cli.main(["report", "--ledger", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_same_worker_twice_is_a_mistake(tmp_path, capsys):
    """It would look like everything was sent twice."""
    out = worker(tmp_path / "a", range(3))
    assert cli.main(["report", "--ledger", out, f"{out}/"]) == 2
    assert "the same one twice" in capsys.readouterr().err


def test_what_a_fleet_compared_is_added_up(tmp_path, capsys):
    """A worker that compared nothing leaves the others' sum as it is."""
    outs = [worker(tmp_path / name, range(3)) for name in "abc"]
    for name in "ab":
        groups = Groups()
        group = groups.group("staging", None, "POST", "/orders")
        for _ in range(2):
            group.answers.add(is_astray=False)
            group.add_status(201, 500, is_astray=False)
        (tmp_path / name / "comparison.json").write_bytes(encode(groups))
    cli.main(["report", "--ledger", *outs])
    assert capsys.readouterr().out.endswith(
        "differs     POST /orders: 100 % answered 500 where production answered 201 (4 of 4)\n"
    )
    cli.main(["report", "--json", "--ledger", *outs])
    assert json.loads(capsys.readouterr().out)["comparison"]["answers"] == 4


def test_a_comparison_that_is_none_is_a_mistake(tmp_path, capsys):
    """Named; a part of the sum would say less than it seems to."""
    out = worker(tmp_path / "a", range(3))
    (tmp_path / "a" / "comparison.json").write_text("{}")
    assert cli.main(["report", "--ledger", out]) == 2
    assert "comparison.json: no comparison of a replay" in capsys.readouterr().err
