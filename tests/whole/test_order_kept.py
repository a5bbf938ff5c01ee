"""Order, end to end: what users did one after the other, through two workers, stays so."""

from __future__ import annotations

import random
import threading
import time
from itertools import pairwise
from typing import NamedTuple

import pytest
from support.commands import Answer, Application, Received, capturing, free_port, run, serving
from support.peer import Peer

from mirrorproxy.record import Exchange
from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture

USERS = 6
STEPS = 15
RULES = """\
version: 1
defaults: {unmatched: send, session: {by: ["header:X-User"]}}
targets: {staging: {limits: {max_lag: 1h}, url: "%s"}}
"""


class Handled(NamedTuple):
    """When an application began with a request, and when it was about to answer."""

    began_s: float
    ended_s: float


class Slow:
    """Answers after a while, and remembers when. most_s: how long that may take."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._chance = random.Random(6)
        self.handled: dict[str, Handled] = {}

    def answer(self, request: Received) -> Answer:
        began_s = time.monotonic()
        time.sleep(self._chance.uniform(0, self._most_s))
        self.handled[request.target] = Handled(began_s, time.monotonic())
        return Answer()


def ask(port: int, user: int, what: str) -> None:
    """One request on a connection of its own: the kernel chooses a worker for each."""
    head = f"POST /{user}/{what} HTTP/1.1\r\nHost: shop\r\nX-User: {user}\r\nContent-Length: 0\r\n"
    with Peer.connect(("127.0.0.1", port), 60) as client:
        client.send(head.encode() + b"\r\n")
        assert client.read_response(b"POST").status == 201


def use(port: int, user: int) -> None:
    """One step after the other; with every third, two pictures beside it."""
    for step in range(STEPS):
        beside = []
        if step % 3 == 0:
            beside = [
                threading.Thread(target=ask, args=(port, user, f"picture{step}-{n}"))
                for n in range(2)
            ]
        for one in beside:
            one.start()
        ask(port, user, f"step{step}")
        for one in beside:
            one.join()


def pairs(exchanges: list[Exchange]) -> list[tuple[str, str]]:
    """Every two requests of a user of which the first had ended when the second began."""
    return [
        (one.request.target, other.request.target)
        for one in exchanges
        for other in exchanges
        if one.request.target.split("/")[1] == other.request.target.split("/")[1]
        and one.started_us + one.duration_us <= other.started_us
        and one is not other
    ]


@pytest.mark.timeout(300)
def test_what_came_after_an_answer_comes_after_it_again(tmp_path):
    """Captured by two workers; replayed as recorded, five times as fast, and at full speed."""
    production = Slow(0.01)
    shop = Application(production.answer)
    port = free_port()
    arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--to", "capture", "--admin", "off"]
    arguments += ["--upstream", shop.url, "--workers", "2"]
    with serving(shop), capturing(arguments, tmp_path, port):
        users = [threading.Thread(target=use, args=(port, user)) for user in range(USERS)]
        for one in users:
            one.start()
        for one in users:
            one.join()
    captured = read_capture([str(tmp_path / "capture")])
    exchanges = [event.exchange for event in captured if isinstance(event, Captured)]
    assert len(exchanges) == len(production.handled)
    assert len({one.node for one in exchanges}) == 2
    before = pairs(exchanges)
    # What was asked for after an answer was recorded so: no pair of steps is missing.
    assert {(f"/{user}/step{n}", f"/{user}/step{n + 1}") for user in range(USERS)
            for n in range(STEPS - 1)} <= set(before)  # fmt: skip
    for speed in ("1", "5", "max"):
        staging = Slow(0.03)
        target = Application(staging.answer)
        (tmp_path / "rules.yaml").write_text(RULES % target.url)
        with serving(target):
            done = run(["replay", "capture", "--rules", "rules.yaml", "--speed", speed], tmp_path)
        assert done.returncode == 0, done.stderr + done.stdout
        assert len(staging.handled) == len(exchanges)
        for one, other in before:
            assert staging.handled[one].ended_s <= staging.handled[other].began_s


def test_without_order_successors_do_not_wait(tmp_path):
    """The same target turns pairs round when it is told not to wait: the test above can fail."""
    staging = Slow(0.2)
    target = Application(staging.answer)
    production = Application()
    port = free_port()
    arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--to", "capture", "--admin", "off"]
    with serving(production):
        with capturing([*arguments, "--upstream", production.url], tmp_path, port):
            for step in range(10):
                ask(port, 1, f"step{step}")
    with serving(target):
        done = run(
            ["replay", "capture", "--target", target.url, "--speed", "max", "--order", "off"],
            tmp_path,
        )
    assert done.returncode == 0, done.stderr
    times = [staging.handled[f"/1/step{step}"] for step in range(10)]
    assert any(one.ended_s > other.began_s for one, other in pairwise(times))
