"""A real capture that is told to record another share while it runs."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from running_capture import capture, origin, post, records

TOKEN = "0123456789abcdef-secret"


async def turn(admin: str, token: str | None = None, **words: object) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(f"{admin}/control", json=words) as response:
            return response.status


async def test_a_running_capture_records_another_share(tmp_path: Path) -> None:
    """Every worker from the next request on; no request fails; the status says who asked for it."""
    async with origin() as upstream, capture(upstream.url, tmp_path, workers=2) as running:
        assert await post(running.url, 10) == [200] * 10
        assert await turn(running.admin, percent=0) == 200
        assert await post(running.url, 10) == [200] * 10
        assert await turn(running.admin, percent=100, service="default") == 200
        assert await post(running.url, 10) == [200] * 10
        assert await turn(running.admin, percent=5, service="shop") == 400
        live = (await running.status())["live"]
        status, ledger, said = await running.end()
    assert live["percent"] == {"default": 100.0}
    assert [change["set"] for change in live["changes"]] == [
        {"percent": 0.0},
        {"percent": 100.0, "service": "default"},
    ]
    assert "control: percent 0 (by admin API from 127.0.0.1)" in said
    assert (status, ledger["captured"], ledger["sampled"]) == (0, 20, 10)
    assert len(records(tmp_path)) == 20


async def test_a_capture_with_a_token_wants_it(tmp_path: Path) -> None:
    """Also on loopback."""
    (tmp_path / "token").write_text(TOKEN)
    option = ("--admin-token-file", str(tmp_path / "token"))
    async with origin() as upstream, capture(upstream.url, tmp_path / "to", *option) as running:
        assert await turn(running.admin, percent=0) == 401
        assert await turn(running.admin, TOKEN, percent=0) == 200
        _, _, said = await running.end()
    assert TOKEN not in said
