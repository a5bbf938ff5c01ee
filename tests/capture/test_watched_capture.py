"""A capture whose apps come and go, as a whole: real processes, real sockets, real kills."""

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from data_plane import Backend, exchange, nobody
from running_capture import Running, capture, free_port, records
from support.certificates import certificate

from mirrorproxy.topology import App, Topology

PROGRAM = str(Path(__file__).parent / "watched_capture.py")
TO_ORDERS = {"X-Mirrorproxy-App": "orders"}


class Watched:
    """A running capture, and what its watcher is told."""

    def __init__(self, running: Running, notes: Path) -> None:
        self.running = running
        self._notes = notes

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines()

    def say(self, line: str) -> None:
        stdin = self.running.process.stdin
        assert stdin
        stdin.write(line.encode() + b"\n")

    def serve(self, *apps: App) -> None:
        self.say(msgspec.json.encode(Topology(apps)).decode())

    async def health(self, app: str = "orders") -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.running.admin}/healthz/{app}") as response:
                return response.status, await response.text()

    async def healthy(self, app: str = "orders") -> None:
        async with asyncio.timeout(20):
            while (await self.health(app))[0] != 200:
                await asyncio.sleep(0.01)

    async def ask(self) -> tuple[int, str]:
        async with aiohttp.ClientSession(headers=TO_ORDERS) as session:
            async with session.get(f"{self.running.url}/") as response:
                return response.status, await response.text()


@contextlib.asynccontextmanager
async def watched(
    tmp_path: Path, *options: str, workers: int = 1, late: bool = False
) -> AsyncIterator[Watched]:
    notes = tmp_path / "notes"
    running = capture(
        None,
        tmp_path / "capture",
        "--consul",
        "http://127.0.0.1:8500",
        *options,
        workers=workers,
        program=(PROGRAM,),
        environ={"WATCHED_NOTES": str(notes), **({"WATCHED_LATE": "1"} if late else {})},
        wait=not late,
    )
    async with running as mirror:
        yield Watched(mirror, notes)


@contextlib.asynccontextmanager
async def backends(*names: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[Backend]]:
    made = [Backend(name, tls) for name in names]
    for backend in made:
        await backend.start()
    try:
        yield made
    finally:
        for backend in made:
            await backend.stop()


def orders(*from_: Backend, **more: object) -> App:
    return App(name="orders", instances=tuple(one.instance for one in from_), **more)  # type: ignore[arg-type]


class Load:
    """Requests without pause on kept connections, until stopped; bad: what was not 200."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self.sent = 0
        self.bad: list[object] = []
        self._url = url
        self._stopped = False
        self._tasks = [asyncio.create_task(self._client()) for _ in range(clients)]

    async def reach(self, count: int) -> None:
        """Wait until so many more were answered."""
        goal = self.sent + count
        async with asyncio.timeout(30):
            while self.sent < goal and not self.bad:
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _client(self) -> None:
        async with aiohttp.ClientSession(headers=TO_ORDERS) as session:
            while not self._stopped:
                try:
                    async with session.post(f"{self._url}/x", data=b"x") as response:
                        await response.read()
                        if response.status != 200:
                            self.bad.append(response.status)
                except aiohttp.ClientError as error:
                    self.bad.append(repr(error))
                self.sent += 1


async def test_changes_under_load_lose_no_request(tmp_path: Path) -> None:
    """Instances come and go twenty times; every request is answered and recorded."""
    async with backends("a", "b", "c") as (a, b, c), watched(tmp_path, workers=2) as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        load = Load(mirror.running.url)
        for chosen in [(a, b), (b,), (b, c), (c, a), (a,)] * 4:
            await load.reach(40)
            mirror.serve(orders(*chosen))
        await load.reach(40)
        await load.stop()
        assert load.bad == []
        assert all(backend.heads for backend in (a, b, c))
        status, ledger, _ = await mirror.running.end()
        assert status == 0
        assert ledger["balanced"]
        assert ledger["captured"] == load.sent
        assert len({one["id"] for one in records(tmp_path / "capture")}) == load.sent


async def test_a_worker_that_is_killed_comes_back_with_its_apps(tmp_path: Path) -> None:
    """No request is turned away by a worker that does not know yet what the others know."""
    async with backends("a") as (a,), watched(tmp_path) as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        mirror.say("percent 0")
        async with asyncio.timeout(20):
            while (await mirror.running.status())["apps"][0]["percent"] != 0:
                await asyncio.sleep(0.01)
        for _ in range(3):
            (pid,) = await mirror.running.worker_pids()
            os.kill(pid, signal.SIGKILL)
            statuses = set()
            async with asyncio.timeout(20):
                while await mirror.running.worker_pids() in ([pid], [0]) or not statuses:
                    with contextlib.suppress(aiohttp.ClientError):
                        statuses.add(await mirror.ask())
            assert statuses == {(200, "a")}
        status, ledger, _ = await mirror.running.end()
        assert (status, ledger["captured"]) == (0, 0), "the share that was set is kept too"


async def test_nobody_is_refused_before_the_apps_are_known(tmp_path: Path) -> None:
    """Who comes at the start of a mirror waits until it knows what it serves."""
    async with backends("a") as (a,), watched(tmp_path, late=True) as mirror:
        async with asyncio.timeout(20):
            while not (tmp_path / "notes").exists() or "run" not in mirror.notes:
                await asyncio.sleep(0.01)
        early = asyncio.create_task(mirror.ask())
        assert not await mirror.running.is_ready()
        mirror.serve(orders(a))
        assert await early == (200, "a")


async def test_health_of_an_app(tmp_path: Path) -> None:
    """Unknown, without instances, reachable, out of reach, leaving."""
    async with backends("a") as (a,), watched(tmp_path, "--drain-wait", "30s") as mirror:
        assert await mirror.health() == (404, "no app has this name\n")
        mirror.serve(orders())
        async with asyncio.timeout(20):
            while await mirror.health() != (503, "no healthy instance\n"):
                await asyncio.sleep(0.01)
        mirror.serve(orders(a))
        await mirror.healthy()
        mirror.serve(App(name="orders", instances=(nobody(), a.instance, nobody())))
        await mirror.healthy()
        mirror.serve(App(name="orders", instances=(nobody(),)), App(name="shop"))
        async with asyncio.timeout(20):
            while not (await mirror.health())[1].startswith("no instance could be connected to "):
                assert (await mirror.health())[0] in (200, 503)
                await asyncio.sleep(0.02)
        status = await mirror.running.status()
        assert [app["name"] for app in status["apps"]] == ["orders", "shop"]
        assert status["apps"][0]["mode"] == "inline"
        assert status["apps"][1]["unready"] == ["no healthy instance"]
        assert status["control"] == {"published": 4}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{mirror.running.admin}/traefik") as response:
                assert await response.json() == {"apps": ["orders", "shop"]}
        mirror.running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while not (await mirror.health())[1].startswith("draining\n"):
                await asyncio.sleep(0.01)


async def test_the_end_in_its_order(tmp_path: Path) -> None:
    """Deregistered first, then served on, then drained; no request meets a closed port before."""
    async with backends("a") as (a,), watched(tmp_path, "--drain-wait", "1s") as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        mirror.running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while "deregistered" not in mirror.notes:
                await asyncio.sleep(0.005)
        since = asyncio.get_running_loop().time()
        assert not await mirror.running.is_ready()
        assert await mirror.ask() == (200, "a")
        status, ledger, _ = await mirror.running.ended()
        assert asyncio.get_running_loop().time() - since > 0.9
        assert (status, ledger["shipped"]) == (0, 1)


async def test_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    """Whoever is in a hurry waits for nothing."""
    async with backends("a") as (a,), watched(tmp_path, "--drain-wait", "1h") as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        mirror.running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while "deregistered" not in mirror.notes:
                await asyncio.sleep(0.005)
        await mirror.running.end()


async def test_a_watcher_that_fails_is_started_again(tmp_path: Path) -> None:
    """And meanwhile the workers serve what they know."""
    async with backends("a") as (a,), watched(tmp_path) as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        mirror.say("fail")
        assert await mirror.ask() == (200, "a")
        async with asyncio.timeout(20):
            while mirror.notes.count("run") < 2:
                await asyncio.sleep(0.02)
        mirror.serve(orders(a), App(name="shop", mode="tap"))
        await mirror.healthy("shop")


async def test_copies_are_accounted_for(tmp_path: Path) -> None:
    """A tap beside the proxy, large bodies too: recorded, shipped, balanced."""
    port = free_port()
    options = ("--tap", f"127.0.0.1:{port}", "--body-limit", "2MiB")
    async with backends("a") as (a,), watched(tmp_path, *options, workers=2) as mirror:
        mirror.serve(orders(a))
        await mirror.healthy()
        headers = ["Host: h", "X-Mirrorproxy-App: orders"]
        for size in (0, 10, 1 << 20, 3 << 20):
            body = b"x" * size
            assert await exchange(("127.0.0.1", port), f"/{size}", headers, body) == (204, "")
        assert await mirror.ask() == (200, "a")
        status, ledger, _ = await mirror.running.end()
        assert status == 0
        assert ledger["balanced"]
        assert (ledger["captured"], ledger["shipped"], ledger["truncated"]) == (5, 5, 1)
        found = {one["request"]["target"]: one for one in records(tmp_path / "capture")}
        assert {target: one["via"] for target, one in found.items()} == {
            "/": "inline", "/0": "tap", "/10": "tap", f"/{1 << 20}": "tap", f"/{3 << 20}": "tap",
        }  # fmt: skip
        assert {one["upstream"] for one in found.values()} == {
            "",
            f"http://127.0.0.1:{a.instance.port}",
        }
        assert found["/10"]["observed"] is False
        assert found[f"/{1 << 20}"]["request"]["body_ref"]


async def test_an_apps_own_secrets_never_reach_the_disk(tmp_path: Path) -> None:
    """Names that one app calls secret are sealed in its records, and in no other app's."""
    secret, body = "9471-planted", b'{"pin":"9471-planted"}'
    async with backends("a") as (a,), watched(tmp_path) as mirror:
        instances = (a.instance,)
        mirror.serve(
            App(name="orders", instances=instances, seal=("X-Pin", "pin")),
            App(name="shop", instances=instances),
        )
        await mirror.healthy()
        address = ("127.0.0.1", int(mirror.running.url.rpartition(":")[2]))
        headers = ["Host: h", f"X-Pin: {secret}", "Content-Type: application/json"]
        for target, app in (("/?pin=9471-planted", "orders"), ("/", "shop"), ("/", "orders")):
            to_app = [*headers, f"X-Mirrorproxy-App: {app}"]
            assert (await exchange(address, target, to_app, body))[0] == 200
        assert (await mirror.running.end())[0] == 0
        found = records(tmp_path / "capture")
        assert [(one["service"], secret in str(one)) for one in found] == [
            ("orders", False),
            ("shop", True),
            ("orders", False),
        ]
        assert str(found[0]).count("{h1:") == 3


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        pytest.param([], 502, id="nobody vouches for it"),
        pytest.param(["--upstream-ca", "upstream.pem"], 200, id="its authority is trusted"),
        pytest.param(["--upstream-skip-verify"], 200, id="any certificate is taken"),
    ],
)
async def test_an_https_instance_is_verified(
    tmp_path: Path, option: list[str], expected: int
) -> None:
    """As Traefik does, by the instance's address."""
    pem = certificate(tmp_path)
    option = [str(pem) if word == pem.name else word for word in option]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with watched(tmp_path, *option) as mirror, backends("tls", tls=context) as (secure,):
        mirror.serve(orders(secure))
        await mirror.healthy()
        assert (await mirror.ask())[0] == expected
