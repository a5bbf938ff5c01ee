"""The admin server, over real sockets."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from mirrorproxy.capture.listeners import Address, address_of, bind_alone
from mirrorproxy.control.admin import AdminServer, is_local_host


class FakeReports:
    """Reports that a test sets."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def unready(self) -> list[str]:
        return self.reasons

    def app_unready(self, name: str) -> list[str] | None:
        return {"orders": self.reasons}.get(name)

    def metrics(self) -> str:
        return "mirrorproxy_seen_total 3\n"

    def status(self) -> object:
        return {"ledger": {"seen": 3}}


@pytest.fixture
def reports() -> FakeReports:
    return FakeReports()


@pytest.fixture
async def client(reports: FakeReports) -> AsyncIterator[aiohttp.ClientSession]:
    listening = bind_alone(Address("127.0.0.1", 0))
    server = AdminServer(reports, loopback=True)
    await server.start(listening)
    async with aiohttp.ClientSession(f"http://{address_of(listening)}") as session:
        yield session
    await server.close()


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        pytest.param("/healthz", "text/plain; charset=utf-8", "ok\n", id="health"),
        pytest.param("/readyz", "text/plain; charset=utf-8", "ready\n", id="readiness"),
        pytest.param(
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "mirrorproxy_seen_total 3\n",
            id="metrics",
        ),
        pytest.param(
            "/status",
            "application/json",
            '{\n  "ledger": {\n    "seen": 3\n  }\n}\n',
            id="status",
        ),
    ],
)
async def test_reports(
    client: aiohttp.ClientSession, path: str, content_type: str, body: str
) -> None:
    """Each report in its form, never cached."""
    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == content_type
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.text() == body


async def test_not_ready_says_why(client: aiohttp.ClientSession, reports: FakeReports) -> None:
    """A 503 with one reason a line, while health stays good."""
    reports.reasons = ["worker 1 is starting", "draining"]
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert await response.text() == "worker 1 is starting\ndraining\n"
    async with client.get("/healthz") as response:
        assert response.status == 200


async def test_the_health_of_one_app(client: aiohttp.ClientSession, reports: FakeReports) -> None:
    """200 while its traffic may come, 503 with the reasons, 404 for a name that nobody has."""
    async with client.get("/healthz/orders") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    reports.reasons = ["no healthy instance"]
    async with client.get("/healthz/orders") as response:
        assert (response.status, await response.text()) == (503, "no healthy instance\n")
    async with client.get("/healthz/shop") as response:
        assert (response.status, await response.text()) == (404, "no app has this name\n")


async def test_the_document_for_traefik(
    client: aiohttp.ClientSession, reports: FakeReports
) -> None:
    """Made at each request; without one there is nothing at that path."""
    async with client.get("/traefik") as response:
        assert response.status == 404
    listening = bind_alone(Address("127.0.0.1", 0))
    documents = iter([{"http": {}}, {"http": {"routers": {}}}])
    server = AdminServer(reports, loopback=True, traefik=lambda: next(documents))
    await server.start(listening)
    try:
        async with aiohttp.ClientSession(f"http://{address_of(listening)}") as session:
            for expected in ({"http": {}}, {"http": {"routers": {}}}):
                async with session.get("/traefik") as response:
                    assert response.headers["Content-Type"] == "application/json"
                    assert await response.json() == expected
    finally:
        await server.close()


async def test_a_name_elsewhere_is_refused(client: aiohttp.ClientSession) -> None:
    """A page that points its own name at this machine reads nothing."""
    async with client.get("/status", headers={"Host": "evil.example:9808"}) as response:
        assert response.status == 421
        assert "seen" not in await response.text()


async def test_nothing_can_be_changed(client: aiohttp.ClientSession) -> None:
    """Every report is for reading only."""
    async with client.post("/status", data=b"{}") as response:
        assert response.status == 405


async def test_other_names_are_answered_where_other_machines_may_ask(
    reports: FakeReports,
) -> None:
    """Bound to more than loopback, the server is asked by whatever name it has."""
    listening = bind_alone(Address("127.0.0.1", 0))
    server = AdminServer(reports, loopback=False)
    await server.start(listening)
    try:
        async with aiohttp.ClientSession(f"http://{address_of(listening)}") as session:
            async with session.get("/healthz", headers={"Host": "mirror-1:9808"}) as response:
                assert response.status == 200
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("LOCALHOST:9808", True),
        ("127.0.0.1:9808", True),
        ("[::1]:9808", True),
        ("[::1]", True),
        ("localhost.:1", True),
        ("", False),
        ("example.com", False),
        ("localhost.example.com", False),
        ("127.0.0.1.nip.io", False),
        ("10.0.0.1:9808", False),
        ("localhost:x", False),
        ("::1:80", False),
        ("[", False),
    ],
)
def test_local_hosts(host: str, is_local: bool) -> None:
    """Loopback by name or address, and nothing that only looks like it."""
    assert is_local_host(host) is is_local
