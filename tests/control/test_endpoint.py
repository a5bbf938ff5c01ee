"""The control endpoint over real sockets: who may change what."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from support.live_fakes import FakeKnob, NoReports, replay_controls

from mirrorproxy.capture.listeners import Address, address_of, bind_alone
from mirrorproxy.control.admin import AdminServer
from mirrorproxy.control.endpoint import ControlEndpoint, read_token
from mirrorproxy.errors import ConfigError

TOKEN = "0123456789abcdef-secret"
JSON = {"Content-Type": "application/json"}
HALVE = b'{"rate_percent": 50}'


@contextlib.asynccontextmanager
async def serving(
    knob: FakeKnob, *, loopback: bool = True, token: str | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    listening = bind_alone(Address("127.0.0.1", 0))
    control = ControlEndpoint(replay_controls(knob, []), loopback=loopback, token=token)
    server = AdminServer(NoReports(), loopback=loopback, control=control)
    await server.start(listening)
    async with aiohttp.ClientSession(f"http://{address_of(listening)}") as session:
        try:
            yield session
        finally:
            await server.close()


async def post(
    session: aiohttp.ClientSession, body: bytes = HALVE, headers: dict[str, str] = JSON
) -> tuple[int, str]:
    async with session.post("/control", data=body, headers=headers) as response:
        return response.status, await response.text()


async def test_a_change_answers_with_the_values_now() -> None:
    """And so does GET, which says who made it."""
    knob = FakeKnob()
    async with serving(knob) as session:
        status, text = await post(session)
        assert status == 200
        assert knob.calls == ["rate 50"]
        async with session.get("/control") as response:
            values = await response.json()
            assert response.headers["Cache-Control"] == "no-store"
    assert text.endswith("}\n")
    assert (values["rate_percent"], values["state"]) == (50.0, "run")
    (change,) = values["changes"]
    assert (change["by"], change["set"]) == ("admin API from 127.0.0.1", {"rate_percent": 50.0})


async def test_a_mistake_is_one_line() -> None:
    """It names the key; nothing is changed."""
    knob = FakeKnob()
    async with serving(knob) as session:
        answer = await post(session, b'{"state": "halt"}')
    assert answer == (400, "state: expected run, pause or stop, not 'halt'\n")
    assert knob.calls == []


async def test_a_replay_that_ends_says_so() -> None:
    """A conflict, not a mistake."""
    knob = FakeKnob()
    async with serving(knob) as session:
        assert (await post(session, b'{"state": "stop"}'))[0] == 200
        assert await post(session) == (409, "the replay is ending\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Content-Type": "text/plain"}, 415, id="a form of another site"),
        pytest.param({"Content-Type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param(JSON | {"Origin": "http://evil.example"}, 403, id="a page of another site"),
        pytest.param(JSON | {"Origin": "null"}, 403, id="a page of no site"),
        pytest.param(JSON | {"Host": "evil.example"}, 421, id="a name that was pointed here"),
    ],
)
async def test_web_pages_change_nothing(headers, status) -> None:
    """Though the browser that shows them runs on this machine."""
    knob = FakeKnob()
    async with serving(knob) as session:
        assert (await post(session, headers=headers))[0] == status
    assert knob.calls == []


async def test_a_page_of_the_server_itself_may() -> None:
    """It has the same origin."""
    knob = FakeKnob()
    async with serving(knob) as session:
        origin = str(session._base_url).rstrip("/")
        assert (await post(session, headers=JSON | {"Origin": origin}))[0] == 200


async def test_a_preflight_is_not_answered_with_yes() -> None:
    """A browser asks this before it sends JSON for a page of another site."""
    async with serving(FakeKnob()) as session:
        async with session.options("/control", headers={"Origin": "http://evil"}) as response:
            assert response.status == 405
            assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        pytest.param(None, 401, id="none"),
        pytest.param(f"Bearer {TOKEN}x", 401, id="longer"),
        pytest.param(f"Bearer {TOKEN[:-1]}", 401, id="shorter"),
        pytest.param("Bearer ", 401, id="empty"),
        pytest.param(TOKEN, 401, id="no scheme"),
        pytest.param(f"Basic {TOKEN}", 401, id="another scheme"),
        pytest.param("Bearer \xe9\xff", 401, id="not ASCII"),
        pytest.param(f"Bearer {TOKEN}", 200, id="the token"),
        pytest.param(f"bearer {TOKEN}", 200, id="the scheme in any case"),
    ],
)
async def test_a_token_is_required_where_there_is_one(loopback, authorization, status) -> None:
    """Also on loopback: other users of the machine are there too."""
    knob = FakeKnob()
    headers = JSON if authorization is None else JSON | {"Authorization": authorization}
    async with serving(knob, loopback=loopback, token=TOKEN) as session:
        got, text = await post(session, headers=headers)
    assert got == status
    assert TOKEN not in text
    assert len(knob.calls) == (1 if status == 200 else 0)


async def test_over_the_network_nothing_is_changed_without_a_token() -> None:
    """Whoever listens wider than loopback must choose one; reading stays."""
    knob = FakeKnob()
    async with serving(knob, loopback=False) as session:
        status, text = await post(session)
        async with session.get("/control") as response:
            assert response.status == 200
    assert (status, knob.calls) == (403, [])
    assert "--admin-token-file" in text


async def test_a_large_body_is_refused() -> None:
    """It is not even read."""
    knob = FakeKnob()
    async with serving(knob) as session:
        status, _ = await post(session, b" " * 5000 + HALVE)
    assert (status, knob.calls) == (413, [])


def test_a_token_file(tmp_path):
    """Its line end does not count."""
    (tmp_path / "token").write_text(TOKEN + "\n")
    assert read_token(str(tmp_path / "token")) == TOKEN


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"short", id="short"),
        pytest.param(b"two words that are long", id="spaces"),
        pytest.param(b"\xff" * 20, id="not ASCII"),
    ],
)
def test_a_bad_token_file_is_told_without_its_content(tmp_path, content):
    """By its path."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_token(str(path))
    assert str(caught.value).startswith(f"--admin-token-file: {path}: ")
    assert "short" not in str(caught.value).replace(str(path), "").replace("shorter", "")


def test_a_missing_token_file_is_told(tmp_path):
    """In one line."""
    with pytest.raises(ConfigError, match="No such file"):
        read_token(str(tmp_path / "none"))
