"""The demo from beginning to end: record writes to production, repeat them in staging.

Owns the order of the steps and the facts that they leave. Shows nothing and
decides nothing about what mirrorproxy does: it runs the same commands that a
user types.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from mirrorproxy.capture import seal_key
from mirrorproxy.demo import DemoFailed, processes, shoppers, verdict
from mirrorproxy.demo.orders import Order, Orders
from mirrorproxy.record import Exchange
from mirrorproxy.sources.events import Captured
from mirrorproxy.sources.reading import read_capture

SPEED = 2
USERS = {"alice": "test-alice", "bob": "test-bob"}
"""Production's users, and who stands for them in staging."""

PRODUCTION_PASSWORDS = {"alice": "correct horse battery", "bob": "staple tr0ub4dor"}
STAGING_PASSWORDS = {"test-alice": "staging only a", "test-bob": "staging only b"}

RULES = """\
version: 1
targets:
  staging:
    url: {url}
    auth:
      # Production's tokens are worth nothing here. Each was sealed to a fingerprint
      # of its user, and tokens.json holds staging's token for every one of these.
      - use:
          table: {{by: subject, file: tokens.json}}
rules:
  - name: health checks
    match: {{path: /health}}
    skip: true
  - name: logins             # the passwords are sealed, and staging has others
    match: {{path: /login}}
    skip: true
  - name: orders
    match: {{service: orders, path: [/orders, "/orders/**"]}}
    send: {{target: staging}}
"""


@dataclass(frozen=True)
class Places:
    """Where the demo's files lie."""

    directory: Path

    @property
    def capture(self) -> Path:
        """What the proxy recorded."""
        return self.directory / "capture"

    @property
    def capture_log(self) -> Path:
        """What ``mirrorproxy capture`` said."""
        return self.directory / "capture.log"

    @property
    def replay_log(self) -> Path:
        """What ``mirrorproxy replay`` said."""
        return self.directory / "replay.log"

    @property
    def rules(self) -> Path:
        """The rule file that leads to staging."""
        return self.directory / "rules.yaml"

    @property
    def tokens(self) -> Path:
        """Staging's tokens by the fingerprint of production's user."""
        return self.directory / "tokens.json"

    @property
    def outcomes(self) -> Path:
        """The folder of the replay's outcomes."""
        return self.directory / "replay"

    @property
    def seal_key(self) -> Path:
        """The key of the fingerprints."""
        return self.directory / "seal.key"


@dataclass(frozen=True)
class Facts:
    """What happened.

    requests: how many the clients made. refused: how many of the replayed
    requests staging did not take for lack of a token that it knows. ledger: as
    ``mirrorproxy replay --json`` prints it. differences: what is wrong with
    staging, empty when all is well. searched: files looked through for
    production's secrets; leaks: those that hold one.
    """

    requests: int
    production: Mapping[str, Order]
    staging: Mapping[str, Order]
    refused: int
    ledger: Mapping[str, Any]
    sample: Exchange
    differences: list[str]
    searched: int
    leaks: list[Path]


async def tell(places: Places, say: Callable[[str], None]) -> Facts:
    """Run the demo in a directory that exists; say() takes one line per step.

    Raises DemoFailed if a step does not do what it should.
    """
    before = _production_orders(), _staging_orders()
    production = Orders("production", PRODUCTION_PASSWORDS, _production_orders())
    staging = Orders("staging", STAGING_PASSWORDS, _staging_orders())
    async with _serving(production) as production_url, _serving(staging) as staging_url:
        say(f"two orders applications: production at {production_url}, staging at {staging_url}")
        requests = await _record(production_url, places, say)
        _write_rules(places, staging_url, {user: staging.token_for(USERS[user]) for user in USERS})
        say(f"replaying into staging at {SPEED} times the pace, with staging's tokens")
        ledger = await _replay(places)
    secrets = [*PRODUCTION_PASSWORDS.values(), *map(production.token_for, USERS)]
    searched, leaks = await asyncio.to_thread(verdict.files_holding, places.directory, secrets)
    return Facts(
        requests=requests,
        production=production.orders,
        staging=staging.orders,
        refused=staging.refused,
        ledger=ledger,
        sample=await asyncio.to_thread(_sample, places.capture),
        differences=verdict.differences(production.orders, staging.orders, USERS, *before),
        searched=searched,
        leaks=leaks,
    )


def _production_orders() -> dict[str, Order]:
    return {"P-1": Order("alice", "grinder", 1), "P-2": Order("bob", "cup", 4)}


def _staging_orders() -> dict[str, Order]:
    return {"S-1": Order("test-alice", "kettle", 7)}


@contextlib.asynccontextmanager
async def _serving(orders: Orders) -> AsyncIterator[str]:
    runner = web.AppRunner(orders.application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _record(upstream: str, places: Places, say: Callable[[str], None]) -> int:
    port = processes.free_port()
    arguments = ["capture", "--listen", f"127.0.0.1:{port}", "--upstream", upstream]
    arguments += ["--to", str(places.capture), "--service", "orders", "--workers", "1"]
    arguments += ["--seal-key", str(places.seal_key), "--response-body", "--admin", "off"]
    seal_key.load_or_create(places.seal_key)
    async with processes.started(arguments, places.capture_log) as process:
        await processes.wait_until_listening(port, process, places.capture_log)
        proxy = f"http://127.0.0.1:{port}"
        say(f"mirrorproxy capture before production, at {proxy}")
        say("alice and bob order, change, label and cancel, through the proxy")
        requests = await shoppers.shop(proxy, PRODUCTION_PASSWORDS)
        await processes.stop(process, places.capture_log)
    return requests


def _write_rules(places: Places, url: str, tokens: Mapping[str, str]) -> None:
    key = seal_key.load_or_create(places.seal_key)
    table = {key.fingerprint(user.encode()): token for user, token in tokens.items()}
    places.rules.write_text(RULES.format(url=url))
    descriptor = os.open(places.tokens, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        json.dump(table, file, indent=2)


async def _replay(places: Places) -> dict[str, Any]:
    arguments = ["replay", str(places.capture), "--rules", str(places.rules)]
    arguments += ["--speed", str(SPEED), "--json", "--out", str(places.outcomes)]
    output = await processes.output_of(arguments, places.replay_log)
    try:
        ledger: dict[str, Any] = json.loads(output)
    except ValueError as error:
        raise DemoFailed(f"replay printed no ledger: {error}") from error
    return ledger


def _sample(capture: Path) -> Exchange:
    """Return the first exchange that created an order."""
    for event in read_capture([str(capture)]):
        if isinstance(event, Captured):
            request = event.exchange.request
            if request.method == "POST" and request.target == "/orders":
                return event.exchange
    raise DemoFailed(f"{capture} holds no order that was created")
