"""A replay that is turned while it runs: by its admin server, by keys in Consul."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from server import T0, Target, exchange, write_capture
from support.live_fakes import FakeKnob

from mirrorproxy.cli import main
from mirrorproxy.commands.replay_control import ControlSettings, controlled
from mirrorproxy.replay.ledger import Ledger

PER_S = 200
DEADLINE_S = 60
ADMIN = re.compile(r"admin on http://(\S+):(\d+): ")


class Running:
    """A replay in a process of its own, with an admin server. lines: of its standard error."""

    def __init__(self, process: subprocess.Popen[str], target: Target) -> None:
        self.process = process
        self.target = target
        self.lines: list[str] = []
        self._named = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._named.wait(DEADLINE_S)
        found = ADMIN.search(self.lines[0])
        assert found, self.lines
        self._address = found[1], int(found[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._named.set()
        self._named.set()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self._address, timeout=DEADLINE_S)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def turn(self, **words: object) -> None:
        assert self.ask("POST", "/control", words)[0] == 200

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask("GET", "/status")[1])
        return found

    def arrived(self) -> list[int]:
        """The numbers of the exchanges that have arrived, in their order."""
        return [
            int((request.header(b"x-mirrorproxy-replay") or b"").rpartition(b"/")[2], 16)
            for request in tuple(self.target.requests)
        ]

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def ended(self) -> dict[str, Any]:
        """Wait for the end; return the ledger."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        self.process.wait(DEADLINE_S)
        self._reader.join()
        found: dict[str, Any] = json.loads(out)
        return found


@contextlib.contextmanager
def replaying(tmp_path: Path, seconds: float, *options: str) -> Iterator[Running]:
    """Replay a capture of a hundred clients, 200 requests a second."""
    captured = (
        exchange(n, started_us=T0 + n * 1_000_000 // PER_S, client=f"198.51.100.{n % 100}")
        for n in range(int(seconds * PER_S))
    )
    capture = write_capture(tmp_path / "capture", captured)
    target = Target()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mirrorproxy", "replay", str(capture), "--target", target.url,
            "--json", "--out", str(tmp_path / "out"), "--run", "r1", "--admin", "127.0.0.1:0",
            *options,
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )  # fmt: skip
    try:
        yield Running(process, target)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        target.close()


def outcomes(tmp_path: Path) -> dict[int, dict[str, Any]]:
    lines = (tmp_path / "out" / "outcomes.jsonl").read_text().splitlines()
    return {int(one["id"], 16): one for one in map(json.loads, lines)}


def test_a_running_replay_halves_within_a_second(tmp_path):
    """Of what was due a second after the turn and later, half arrives; the ledger says the rest."""
    with replaying(tmp_path, 60) as running:
        running.wait_for(lambda: len(running.arrived()) >= PER_S)
        running.turn(rate_percent=50)
        turned_at = max(running.arrived())
        running.wait_for(lambda: max(running.arrived()) >= turned_at + 3 * PER_S)
        halved_to = max(running.arrived())
        running.turn(state="stop")
        ledger = running.ended()
    assert running.process.returncode == 0
    found = outcomes(tmp_path)
    before = [found[n] for n in range(turned_at - PER_S // 2)]
    after = [found[n] for n in range(turned_at + PER_S, halved_to)]
    assert [one["shed"] for one in before if "shed" in one] == []
    assert len(after) == pytest.approx(2 * PER_S, abs=PER_S)
    assert {one.get("shed") for one in after} == {None, "rate"}
    assert sum("shed" in one for one in after) / len(after) == pytest.approx(0.5, abs=0.15)
    assert ledger["shed"]["rate"] == sum(one.get("shed") == "rate" for one in found.values())
    assert ledger["planned"] == (
        ledger["answered"] + sum(ledger["shed"].values()) + ledger["unsent"]
    )
    assert ledger["balanced"]
    assert "control: rate_percent 50 (by admin API from 127.0.0.1)\n" in running.lines


def test_a_pause_holds_and_then_everything_goes_on_as_it_was(tmp_path):
    """Nothing arrives meanwhile; afterwards all of it, in order, and none of it late."""
    with replaying(tmp_path, 2, "--concurrency", "1", "--max-lag", "3s") as running:
        running.wait_for(lambda: len(running.arrived()) >= 20)
        running.turn(state="pause")
        assert running.ask("GET", "/readyz") == (503, "paused\n")
        running.wait_for(lambda: running.status()["progress"]["in_flight"] == 0)
        held = len(running.arrived())
        time.sleep(3.5)  # longer than --max-lag: without the shift all that was due would be shed
        assert len(running.arrived()) == held < 2 * PER_S
        running.turn(state="run")
        ledger = running.ended()
    assert running.arrived() == list(range(2 * PER_S))
    assert (ledger["answered"], ledger["shed"]) == (2 * PER_S, {})
    assert ledger["lag_ms"]["max"] < 3000


def test_status_and_metrics_of_a_replay(tmp_path):
    """The ledger so far, the knob and who turned it, and the same as numbers for Prometheus."""
    with replaying(tmp_path, 60) as running:
        running.wait_for(lambda: len(running.arrived()) >= 20)
        running.turn(rate_percent=0)
        running.wait_for(lambda: running.status()["ledger"]["shed"].get("rate", 0) >= 20)
        status = running.status()
        _, metrics = running.ask("GET", "/metrics")
        health = running.ask("GET", "/healthz")
        running.process.terminate()
        running.ended()
    assert health == (200, "ok\n")
    assert status["replay"]["run"] == "r1"
    assert status["replay"]["seconds"] > 0
    assert (status["control"]["rate_percent"], status["control"]["state"]) == (0.0, "run")
    assert [change["set"] for change in status["control"]["changes"]] == [{"rate_percent": 0.0}]
    assert status["progress"]["pending"] > 0
    assert status["ledger"]["answered"] >= 20
    assert "balanced" not in status["ledger"]
    assert 'mirrorproxy_replay_info{run="r1",' in metrics
    assert "mirrorproxy_replay_rate_percent 0\n" in metrics
    assert 'mirrorproxy_replay_state{state="run"} 1\n' in metrics
    assert re.search(r'mirrorproxy_replay_answered_total\{class="2xx"\} [1-9]', metrics)
    assert re.search(r'mirrorproxy_replay_shed_total\{reason="rate"\} [1-9]', metrics)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(["--admin", "9809"], "--admin: expected HOST:PORT", id="no address"),
        pytest.param(
            ["--admin-token-file", "x"], "--admin-token-file: there is no admin server", id="off"
        ),
        pytest.param(
            ["--admin", "127.0.0.1:0", "--admin-token-file", "/missing"],
            "--admin-token-file: /missing: No such file",
            id="no token",
        ),
        pytest.param(["--name", "x"], "--name: means nothing without --consul", id="name alone"),
        pytest.param(
            ["--consul-token-file", "x"],
            "--consul-token-file: means nothing without --consul",
            id="token alone",
        ),
        pytest.param(
            ["--consul", "http://127.0.0.1:1", "--name", "a/b"],
            "--name: expected letters",
            id="bad name",
        ),
    ],
)
def test_a_mistake_in_what_is_asked_for_is_one_line(tmp_path, capfd, options, said):
    """Before anything is sent or written; the status is 2."""
    capture = write_capture(tmp_path / "capture", [exchange(0)])
    out = tmp_path / "out"
    words = ["replay", str(capture), "--target", "http://h", "--out", str(out), *options]
    assert main(words) == 2
    err = capfd.readouterr().err
    assert err.startswith(f"mirrorproxy: {said}")
    assert err.count("\n") == 1
    assert not out.exists()


def test_a_port_in_use_is_one_line(tmp_path, capfd):
    """Nothing is sent."""
    target = Target()
    try:
        capture = write_capture(tmp_path / "capture", [exchange(0)])
        words = ["replay", str(capture), "--target", target.url, "--admin", target.url[7:]]
        assert main(words) == 2
    finally:
        target.close()
    assert target.requests == []
    err = capfd.readouterr().err
    assert err.startswith("mirrorproxy: --admin: cannot listen on ")
    assert err.count("\n") == 1


# -- keys in Consul ---------------------------------------------------------------


class FakeKv:
    """A store that tells what a test puts into it."""

    def __init__(self) -> None:
        self.prefixes: list[str] = []
        self.told = asyncio.Event()
        self.steps: list[object] = []
        self.is_cancelled = False

    async def __call__(self, prefix, on_change, on_problem) -> None:
        self.prefixes.append(prefix)
        try:
            for step in self.steps:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, dict):
                    on_change(step)
                else:
                    on_problem(step)
        finally:
            self.told.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


async def follow(knob: FakeKnob, kv: FakeKv) -> list[str]:
    """Let a knob follow a store until it has told everything; return what was said."""
    said: list[str] = []
    settings = ControlSettings("r1", None, None, None, None, "staging")
    async with controlled(settings, SimpleNamespace(knob=knob), Ledger(), said.append, kv):
        await kv.told.wait()
    return said


async def test_a_replay_follows_its_keys():
    """What stands there at first, and each change; it lets go at the end."""
    knob, kv = FakeKnob(), FakeKv()
    kv.steps = [{"rate_percent": "50"}, {"rate_percent": "50", "state": "pause"}]
    said = await follow(knob, kv)
    assert kv.prefixes == ["mirrorproxy/staging/replay/r1/"]
    assert knob.calls == ["rate 50", "pause"]
    assert kv.is_cancelled
    assert said == [
        "replay r1: follows mirrorproxy/staging/replay/r1/ in Consul",
        "control: rate_percent 50 (by Consul, mirrorproxy/staging/replay/r1/)",
        "control: state pause (by Consul, mirrorproxy/staging/replay/r1/)",
    ]


async def test_an_outage_is_told_once_and_changes_nothing():
    """And so is its end."""
    knob, kv = FakeKnob(), FakeKv()
    kv.steps = [{"state": "pause"}, None, "Consul: refused", "Consul: refused", None, None]
    said = await follow(knob, kv)
    assert knob.state == "pause"
    assert said[2:] == [
        "warning: Consul: refused; the replay goes on as it is",
        "Consul can be read again",
    ]


async def test_a_watch_that_breaks_is_told():
    """The replay goes on, and nobody believes that it still listens."""
    kv = FakeKv()
    kv.steps = [RuntimeError("no such thing")]
    said = await follow(FakeKnob(), kv)
    assert said[-1] == (
        "warning: mirrorproxy/staging/replay/r1/ is followed no longer: RuntimeError: no such thing"
    )
