"""Keeping credentials: when one is asked for, on a clock that only moves when it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from mirrorproxy.record import Credential
from mirrorproxy.replay.credentials import Credentials, Fetching
from mirrorproxy.replay.tokens import Token, TokenError
from mirrorproxy.shot import Want

SEALED = Credential("header", "Authorization", "h1:3f9a:00")


def want(user: str = "ann") -> Want:
    return Want(f"Late{user}", "source", user, SEALED)


class Fakes:
    """Credentials with everything around them faked. script: tokens, or errors, in order."""

    def __init__(self, *script: Token | Exception, **settings: object) -> None:
        self.now_s = 1000.0
        self.script = list(script)
        self.asked: list[tuple[str, float]] = []
        self.before: list[Token | None] = []
        self.counts: Counter[str] = Counter()
        self.said: list[str] = []
        self.told: list[bool] = []
        self.jitters: list[tuple[float, float]] = []
        self.gate: asyncio.Event | None = None
        self.credentials = Credentials(
            {"source": Fetching(self.fetch, 30.0)},
            self.counts,
            self.said.append,
            clock_s=lambda: self.now_s,
            sleep=self.sleep,
            jitter=self.jitter,
            **settings,
        )

    async def fetch(self, one: Want, before: Token | None) -> Token:
        self.asked.append((one.key, self.now_s))
        self.before.append(before)
        if self.gate is not None:
            await self.gate.wait()
        result = self.script.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)

    def jitter(self, low: float, high: float) -> float:
        self.jitters.append((low, high))
        return high

    async def settle(self) -> None:
        """Let everything that can go on go on."""
        for _ in range(30):
            await asyncio.sleep(0)

    def wait(self, user: str = "ann") -> None:
        self.credentials.wait(want(user), self.told.append)

    def value(self, user: str = "ann") -> str | None:
        return self.credentials.value(want(user))


async def test_all_who_wait_are_told_of_one_request():
    """A thousand shots, one token."""
    fakes = Fakes(Token("t1", 300))
    for _ in range(1000):
        fakes.wait()
    assert fakes.told == []
    await fakes.settle()
    assert fakes.told == [True] * 1000
    assert (fakes.asked, fakes.value()) == ([("ann", 1000.0)], "t1")


async def test_a_token_is_renewed_before_it_expires():
    """The old one is given while the new one is on its way; there is one request."""
    fakes = Fakes(Token("t1", 300), Token("t2", 300))
    fakes.wait()
    await fakes.settle()
    fakes.now_s += 269
    assert (fakes.value(), len(fakes.asked)) == ("t1", 1)
    fakes.now_s += 1
    assert [fakes.value() for _ in range(100)] == ["t1"] * 100
    await fakes.settle()
    assert (fakes.value(), fakes.asked) == ("t2", [("ann", 1000.0), ("ann", 1270.0)])
    assert fakes.before[1].value == "t1"


async def test_a_short_token_is_renewed_at_half_its_life():
    """Not over and over because it ends within the usual time."""
    fakes = Fakes(Token("t1", 10), Token("t2", 10))
    fakes.wait()
    await fakes.settle()
    fakes.now_s += 4.9
    fakes.value()
    await fakes.settle()
    assert len(fakes.asked) == 1
    fakes.now_s += 0.2
    fakes.value()
    await fakes.settle()
    assert len(fakes.asked) == 2


async def test_an_expired_token_is_never_given():
    """Nor one that would expire on its way; its time counts from the question on."""
    fakes = Fakes(Token("t1", 300), TokenError("down"))
    fakes.wait()
    await fakes.settle()
    fakes.now_s += 298.9
    assert fakes.value() == "t1"
    fakes.now_s += 0.2
    assert fakes.value() is None


async def test_failures_are_answered_by_full_jitter():
    """From zero to twice as much each time, at most 30 s."""
    failures = [TokenError("down") for _ in range(9)]
    fakes = Fakes(*failures, Token("t1", 300))
    fakes.wait()
    await fakes.settle()
    await fakes.settle()
    assert fakes.jitters == [
        (0.0, 0.5), (0.0, 1.0), (0.0, 2.0), (0.0, 4.0), (0.0, 8.0), (0.0, 16.0), (0.0, 30.0),
        (0.0, 30.0), (0.0, 30.0),
    ]  # fmt: skip
    assert fakes.told == [True]
    assert fakes.counts == {"failed": 9, "granted": 1}
    assert fakes.said == [
        "warning: source: no credential: down", "source: credentials can be had again",
    ]  # fmt: skip


async def test_retry_after_is_honoured():
    """What the endpoint asks for is waited for."""
    fakes = Fakes(TokenError("busy", retry_after_s=7), Token("t1"))
    fakes.wait()
    await fakes.settle()
    assert [at for _, at in fakes.asked] == [1000.0, 1007.0]


async def test_a_refused_user_is_told_at_once_and_not_asked_for_again_soon():
    """Others are not touched by it."""
    fakes = Fakes(TokenError("HTTP 400", is_final=True), Token("t1"), Token("t2"))
    fakes.wait("eve")
    await fakes.settle()
    fakes.wait("eve")
    assert fakes.told == [False, False]
    fakes.wait("ann")
    await fakes.settle()
    assert fakes.told == [False, False, True]
    fakes.now_s += 5
    fakes.wait("eve")
    await fakes.settle()
    assert [user for user, _ in fakes.asked] == ["eve", "ann", "eve"]
    assert fakes.told[-1]


async def test_while_a_source_is_down_nobody_waits_in_vain():
    """After as long as a shot may wait, those that come are told at once."""
    fakes = Fakes(TokenError("down"), TokenError("down"))
    fakes.wait()
    fakes.gate = None
    for _ in range(4):
        await asyncio.sleep(0)
    fakes.gate = asyncio.Event()  # the next question gets no answer
    await fakes.settle()
    fakes.now_s += 11
    fakes.wait("ben")
    assert fakes.told == [False]
    await fakes.credentials.close()


async def test_a_credential_that_the_target_refused_is_renewed_once():
    """All shots that were refused with it take the new one; that one's refusal stands."""
    fakes = Fakes(Token("t1"), Token("t2"), Token("t3"))
    fakes.wait()
    await fakes.settle()
    assert [fakes.credentials.rejected(want(), "t1") for _ in range(5)] == [True] * 5
    assert fakes.value() is None
    await fakes.settle()
    assert (fakes.value(), len(fakes.asked)) == ("t2", 2)
    assert fakes.credentials.rejected(want(), "t1")  # an answer that came late
    assert not fakes.credentials.rejected(want(), "t2")
    fakes.now_s += 31
    assert fakes.credentials.rejected(want(), "t2")


@pytest.mark.parametrize("value", ["", "a\nb", " a", "a\x7f", "\u20ac"])
async def test_what_cannot_be_sent_is_refused(value):
    """A header must not be broken by an endpoint."""
    fakes = Fakes(Token(value))
    fakes.wait()
    await fakes.settle()
    assert (fakes.told, fakes.counts) == ([False], {"refused": 1})


async def test_an_unexpected_error_says_its_kind_alone():
    """Its text may hold a secret."""
    fakes = Fakes(ValueError("s3cret"))
    fakes.wait()
    await fakes.settle()
    assert fakes.said == ["warning: source: no credential: ValueError"]


async def test_memory_is_bounded():
    """The oldest users make room."""
    fakes = Fakes(*(Token("t") for _ in range(50)), max_kept=10)
    for number in range(50):
        fakes.wait(f"user{number}")
        await fakes.settle()
    assert fakes.credentials.held <= 10
    assert fakes.value("user49") == "t"


async def test_those_who_wait_for_one_user_are_bounded():
    """More are told at once that there is none."""
    fakes = Fakes(Token("t1"), max_waiting=2)
    for _ in range(3):
        fakes.wait()
    assert fakes.told == [False]
    await fakes.settle()
    assert fakes.told == [False, True, True]


async def test_closing_tells_those_who_wait():
    """Nothing is left hanging."""
    fakes = Fakes(Token("t1"))
    fakes.gate = asyncio.Event()
    fakes.wait()
    await asyncio.sleep(0)
    await fakes.credentials.close()
    assert fakes.told == [False]
    fakes.wait()
    assert fakes.told == [False, False]


def test_a_token_does_not_show_itself():
    """Not where somebody prints it."""
    assert repr(Token("s3cret", 5, "s3cret")) == "Token(lifetime_s=5)"
