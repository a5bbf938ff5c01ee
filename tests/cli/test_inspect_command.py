"""``mirrorproxy inspect`` over captures written as the proxy writes them."""

from __future__ import annotations

import json

import pytest

from mirrorproxy import cli, codec, keys, members
from mirrorproxy.record import Exchange, Request, Response

STARTED_US = 1_700_000_000_000_000


def exchange(number, method, target, status, **changes) -> Exchange:
    fields = {
        "v": 1,
        "id": f"{number:032x}",
        "service": "orders",
        "via": "inline",
        "node": "m/0",
        "started_us": STARTED_US + number,
        "duration_us": 1_000,
        "client": "203.0.113.7",
        "scheme": "http",
        "upstream": "http://10.0.0.1:80",
        "request": Request(method, target, "1.1", [("Host", "a.example"), ("X-Env", "blue")]),
        "response": Response(status),
    }
    return Exchange(**{**fields, **changes})


EXCHANGES = [
    exchange(0xA1, "POST", "/orders?x=1", 201),
    exchange(0xA2, "GET", "/orders/7", 200),
    exchange(0xB3, "GET", "/orders/8", 503, service="shop"),
]


@pytest.fixture
def capture(tmp_path):
    """A capture directory of three exchanges, one of them twice."""
    lines = [codec.encode_line(one) for one in [*EXCHANGES, EXCHANGES[0]]]
    path = tmp_path / keys.object_key("", "orders", STARTED_US, "0" * 32)
    path.parent.mkdir(parents=True)
    path.write_bytes(members.pack(b"".join(lines), len(lines)))
    return tmp_path, path


def printed_ids(capsys) -> list[str]:
    return [json.loads(line)["id"][-2:] for line in capsys.readouterr().out.splitlines()]


def test_a_summary_counts_by_shape(capture, capsys):
    """Two GETs of an order are one row; a duplicate is counted once."""
    assert cli.main(["inspect", str(capture[0])]) == 0
    out = capsys.readouterr().out
    assert "3 and 1 duplicates" in out
    assert "200 1, 201 1, 503 1" in out
    assert ["orders", "GET", "/orders/{int}", "1", "200", "1"] in [
        line.split()[:6] for line in out.splitlines()
    ]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        pytest.param([], ["a1", "a2", "b3"], id="all"),
        pytest.param(["--method", "get"], ["a2", "b3"], id="method, whatever its case"),
        pytest.param(["--path", "/orders/*"], ["a2", "b3"], id="path glob"),
        pytest.param(["--path", "/orders", "--path", "/orders/7"], ["a1", "a2"], id="either path"),
        pytest.param(["--method", "GET", "--status", "5xx"], ["b3"], id="both must fit"),
        pytest.param(["--service", "shop"], ["b3"], id="service"),
        pytest.param(["--host", "*.example"], ["a1", "a2", "b3"], id="host"),
        pytest.param(["--via", "tap"], [], id="via"),
        pytest.param(["--match", "{query: {x: true}}"], ["a1"], id="a rule's match"),
        pytest.param(
            ["--match", "{headers: {x-env: blue}}", "--service", "shop"], ["b3"], id="match, too"
        ),
    ],
)
def test_filters_choose_as_rules_do(capture, capsys, options, ids):
    """Options AND, repeats of one OR."""
    assert cli.main(["inspect", str(capture[0]), "--json", *options]) == 0
    assert printed_ids(capsys) == ids


def test_json_prints_the_records_themselves(capture, capsys):
    """What comes out can be read back."""
    cli.main(["inspect", str(capture[0]), "--json"])
    lines = capsys.readouterr().out.encode().splitlines()
    assert [codec.decode_line(line) for line in lines] == EXCHANGES


def test_one_exchange_is_shown_by_its_id(capture, capsys):
    """Readable, or as a record with --json; the start of an id is enough if it is alone."""
    whole = EXCHANGES[1].id
    assert cli.main(["inspect", str(capture[0]), "--id", whole.upper()]) == 0
    out = capsys.readouterr().out
    assert "GET /orders/7 HTTP/1.1\nHost: a.example\n" in out
    assert cli.main(["inspect", str(capture[0]), "--id", whole, "--json"]) == 0
    assert printed_ids(capsys) == ["a2"]


@pytest.mark.parametrize(
    ("record_id", "status", "line"),
    [
        pytest.param("ff", 1, "mirrorproxy: no exchange with the id ff\n", id="unknown"),
        pytest.param(
            "0",
            2,
            "mirrorproxy: --id: several exchanges have an id that begins so\n",
            id="ambiguous",
        ),
    ],
)
def test_an_id_that_names_no_single_exchange(capture, capsys, record_id, status, line):
    """Nothing is guessed."""
    assert cli.main(["inspect", str(capture[0]), "--id", record_id]) == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        pytest.param(["--status", "9xx"], "--status: ", id="no such status"),
        pytest.param(["--match", "{paths: /x}"], "--match:1: paths: ", id="unknown key"),
        pytest.param(["--match", "{path: {regex: '('}}"], "--match: path", id="bad regex"),
        pytest.param(["--match", "{"], "--match", id="no YAML"),
    ],
)
def test_a_filter_that_makes_no_sense_is_one_line(capture, capsys, options, part):
    """The option is named, nothing is printed."""
    assert cli.main(["inspect", str(capture[0]), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"mirrorproxy: {part}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_damage_is_named_and_is_status_1(capture, capsys, options):
    """What can be read is still shown."""
    directory, path = capture
    path.write_bytes(path.read_bytes() + b"\x1f\x8b broken")
    assert cli.main(["inspect", str(directory), *options]) == 1
    captured = capsys.readouterr()
    shown = captured.out + captured.err
    assert f"{path}: byte " in shown
    assert "/orders" in captured.out


def test_a_source_that_is_not_there_is_one_line(tmp_path, capsys):
    """A mistyped path."""
    assert cli.main(["inspect", str(tmp_path / "no")]) == 2
    assert capsys.readouterr().err == f"mirrorproxy: {tmp_path / 'no'}: No such file or directory\n"


def test_a_pipe_gets_no_padding(capture, capsys):
    """What goes to a file or a program has no spaces at the ends of its lines."""
    assert cli.main(["inspect", str(capture[0])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_an_empty_capture_says_why_it_may_be_empty(tmp_path, capsys):
    """A first look is often at a capture that has not written its first object."""
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        "exchanges  0\n"
        "hint: no exchange here; a running capture writes its objects after some seconds "
        "(--roll-age)\n"
    )


def test_what_is_no_capture_is_asked_about(tmp_path, capsys):
    """The damage stands there, and a guess at the reason."""
    path = tmp_path / "notes.txt"
    path.write_text("hello\n")
    assert cli.main(["inspect", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["exchanges  0", "", "damage: 1 place, 1 line known to be lost"]
    assert lines[-1] == "hint: nothing here could be read: is it a capture?"


def test_filters_that_leave_nothing_are_named(capture, capsys):
    """An empty answer must not look like an empty capture."""
    assert cli.main(["inspect", str(capture[0]), "--service", "nope"]) == 0
    assert capsys.readouterr().out == (
        "exchanges  0 and 1 duplicates\nhint: the filters leave none of 3\n"
    )
