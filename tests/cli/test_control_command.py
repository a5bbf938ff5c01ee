"""``mirrorproxy control`` against a real admin server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from support.live_fakes import FakeKnob, FakePercents, NoReports, capture_controls, replay_controls

from mirrorproxy.capture.listeners import Address, address_of, bind_alone
from mirrorproxy.cli import main
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.endpoint import ControlEndpoint
from mirrorproxy.control.live import Controls

TOKEN = "0123456789abcdef-secret"


class Server:
    """An admin server in a loop and a thread of its own."""

    def __init__(self, controls: Controls | None, token: str | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        listening = bind_alone(Address("127.0.0.1", 0))
        self.address = str(address_of(listening))
        control = controls and ControlEndpoint(controls, loopback=True, token=token)
        self._server = AdminServer(NoReports(), loopback=True, control=control or None)
        self._loop.run_until_complete(self._server.start(listening))
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def knob() -> FakeKnob:
    return FakeKnob()


@pytest.fixture
def replay(knob) -> Iterator[str]:
    server = Server(replay_controls(knob, []))
    yield server.address
    server.close()


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["rate", "50"], ["rate 50"]),
        (["rate", "0.5"], ["rate 0.5"]),
        (["pause"], ["pause"]),
        (["resume"], ["resume"]),
        (["stop"], ["stop"]),
        (["show"], []),
    ],
)
def test_a_replay_is_turned(knob, replay, capsys, words, calls):
    """And says what it is set to, as JSON that pipes."""
    assert main(["control", "--admin", replay, *words]) == 0
    assert knob.calls == calls
    out, err = capsys.readouterr()
    assert json.loads(out)["state"] == knob.state
    assert err == ""


def test_the_address_may_come_last(knob, replay, capsys):
    """As it is typed when a command is changed and run again."""
    assert main(["control", "rate", "50", "--admin", replay]) == 0
    assert knob.calls == ["rate 50"]


@pytest.mark.parametrize(
    ("words", "shares"),
    [
        (["percent", "25"], {"orders": 25.0, "shop": 25.0}),
        (["percent", "25", "--service", "shop"], {"orders": 100.0, "shop": 25.0}),
    ],
)
def test_a_capture_is_turned(capsys, words, shares):
    """All of it, or one service."""
    percents = FakePercents()
    server = Server(capture_controls(percents, []))
    try:
        assert main(["control", "--admin", server.address, *words]) == 0
    finally:
        server.close()
    assert json.loads(capsys.readouterr().out)["percent"] == shares == percents.shares


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rate", "150"], "rate_percent: expected a number from 0 to 100, not 150.0"),
        (["percent", "5"], "'percent': no such key; known: rate_percent, state"),
    ],
)
def test_what_is_refused_is_one_line(knob, replay, capsys, words, said):
    """As the process says it; nothing is printed on standard output; the status is 2."""
    assert main(["control", "--admin", replay, *words]) == 2
    assert capsys.readouterr() == ("", f"mirrorproxy: {replay}: {said}\n")
    assert knob.calls == []


def test_a_token_is_brought_along(knob, tmp_path, capsys):
    """From a file, never from the command line, where others of the machine could read it."""
    server = Server(replay_controls(knob, []), TOKEN)
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "other").write_text(TOKEN.upper())
    words = ["control", "--admin", server.address]
    try:
        assert main([*words, "pause"]) == 2
        assert main([*words, "--token-file", str(tmp_path / "other"), "pause"]) == 2
        assert knob.calls == []
        assert main([*words, "--token-file", str(tmp_path / "token"), "pause"]) == 0
    finally:
        server.close()
    assert knob.calls == ["pause"]
    out, err = capsys.readouterr()
    assert "needs the token" in err
    assert TOKEN not in (out + err)


def test_nobody_there_is_one_line(capsys):
    """With a hint; the status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as unheard:
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
    assert main(["control", "--admin", address, "stop"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"mirrorproxy: {address}: Connection refused; ")


def test_a_server_that_lets_nothing_be_changed(capsys):
    """Such as one of an older version."""
    server = Server(None)
    try:
        assert main(["control", "--admin", server.address, "stop"]) == 2
    finally:
        server.close()
    assert capsys.readouterr().err == (
        f"mirrorproxy: {server.address}: nothing can be changed there\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing"),
        pytest.param(["halve"], id="no such word"),
        pytest.param(["rate"], id="no number"),
        pytest.param(["rate", "half"], id="not a number"),
        pytest.param(["--admin", "9808", "show"], id="no address"),
        pytest.param(["--token-file", "/missing", "show"], id="no token"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(capsys, words):
    """Before anything is asked."""
    try:
        status = main(["control", *words])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
