"""The order in which a mirror leaves."""

import asyncio

import pytest

from mirrorproxy.capture.ending import Ending


class Steps:
    """A supervisor and a registration that note what is asked of them."""

    def __init__(self, fails: Exception | None = None, hangs: bool = False) -> None:
        self.taken: list[str] = []
        self.drained = asyncio.Event()
        self._fails = fails
        self._hangs = hangs

    def leave(self) -> None:
        self.taken.append("leave")

    def drain(self) -> None:
        self.taken.append("drain")
        self.drained.set()

    def abort(self) -> None:
        self.taken.append("abort")

    async def deregister(self) -> None:
        self.taken.append("deregister")
        if self._fails:
            raise self._fails
        if self._hangs:
            await asyncio.Event().wait()


async def test_says_that_it_goes_before_it_drains() -> None:
    """Health says no, the registration is taken back, then what is in flight is finished."""
    steps = Steps()
    Ending(steps, steps.deregister).signal()
    await asyncio.wait_for(steps.drained.wait(), 5)
    assert steps.taken == ["leave", "deregister", "drain"]


async def test_serves_on_after_deregistering() -> None:
    """Whoever has not heard of it yet is still served; a second signal ends the wait and all."""
    steps = Steps()
    ending = Ending(steps, steps.deregister, wait_s=3600)
    ending.signal()
    for _ in range(10):
        await asyncio.sleep(0)
    assert steps.taken == ["leave", "deregister"]
    ending.signal()
    await ending.close()
    assert steps.taken == ["leave", "deregister", "abort"]


async def test_without_a_registration_it_drains_at_once() -> None:
    """What it was before there was Consul."""
    steps = Steps()
    Ending(steps).signal()
    await asyncio.wait_for(steps.drained.wait(), 5)
    assert steps.taken == ["leave", "drain"]


async def test_a_registration_that_cannot_be_taken_back_keeps_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Consul may be away: its check ends the registration. The error's own text is not logged."""
    steps = Steps(fails=OSError("with a token"))
    Ending(steps, steps.deregister).signal()
    await asyncio.wait_for(steps.drained.wait(), 5)
    assert "not deregistered: OSError" in caplog.text
    assert "token" not in caplog.text


async def test_a_registration_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For so long, and no longer."""
    steps = Steps(hangs=True)
    Ending(steps, steps.deregister, deregister_timeout_s=0.01).signal()
    await asyncio.wait_for(steps.drained.wait(), 5)
    assert steps.taken == ["leave", "deregister", "drain"]
