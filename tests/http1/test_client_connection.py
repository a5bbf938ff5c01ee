"""An upstream's connection: answers in any split, and whether it may be used again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_fakes import Answers, FakeLoop, FakeTransport

from mirrorproxy.http1.client import ClientConnection, Failure
from mirrorproxy.http1.limits import ClientLimits
from mirrorproxy.http1.origin import Origin

ORIGIN = Origin("http", "127.0.0.1", 1)
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"
)


class Upstream:
    """One client connection on a fake transport. released: whether each time it was reusable."""

    def __init__(self, limits: ClientLimits | None = None) -> None:
        self.loop = FakeLoop()
        self.released: list[bool] = []
        self.connection = ClientConnection(
            self.loop,  # type: ignore[arg-type]
            ORIGIN,
            limits or ClientLimits(),
            lambda _connection, reusable: self.released.append(reusable),
        )
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    def ask(
        self, method: bytes = b"GET", *, sent: bool = True, upgradable: bool = False
    ) -> Answers:
        answers = Answers()
        self.connection.begin(answers, method, upgradable=upgradable)
        if sent:
            self.connection.request_sent()
        return answers

    def receive(self, data: bytes, size: int | None = None) -> None:
        size = size or len(data)
        for start in range(0, len(data), size):
            if self.transport.ended is None:
                self.connection.data_received(data[start : start + size])


@given(st.sampled_from([WHOLE, CHUNKED]), st.integers(1, 60), st.integers(0, 3))
def test_any_split_of_an_answer_reads_the_same(answer: bytes, size: int, early: int) -> None:
    """Informational answers first, then head, body and trailers; the connection is kept."""
    upstream = Upstream()
    answers = upstream.ask()
    upstream.receive(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * early + answer, size)
    assert answers.informational == [103] * early
    assert [head.status for head in answers.heads] == [200]
    assert answers.body == b"hello"
    assert answers.trailers == (b"X-T: 1\r\n" if answer is CHUNKED else b"")
    assert upstream.released == [True]


def test_a_head_that_comes_again_is_read_for_the_request_that_it_answers():
    """Whatever was answered with the same head before: a HEAD's answer has no body."""
    upstream = Upstream()
    head = WHOLE.removesuffix(b"hello")
    other = WHOLE.replace(b"200 OK", b"404 No").replace(b"5", b"2").replace(b"hello", b"no")
    bodies = []
    for method, data in [
        (b"GET", WHOLE), (b"GET", head + b"again"), (b"HEAD", head), (b"GET", WHOLE),
        (b"GET", other),
    ]:  # fmt: skip
        answers = upstream.ask(method)
        upstream.receive(data)
        bodies.append((answers.heads[0].status, bytes(answers.body)))
    assert bodies == [
        (200, b"hello"), (200, b"again"), (200, b""), (200, b"hello"), (404, b"no"),
    ]  # fmt: skip
    assert upstream.released == [True] * 5


@pytest.mark.parametrize(
    ("method", "data", "sent"),
    [
        pytest.param(
            b"GET", WHOLE.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), True, id="close"
        ),
        pytest.param(b"GET", WHOLE.replace(b"1.1", b"1.0"), True, id="1.0"),
        pytest.param(b"GET", WHOLE + b"H", True, id="bytes behind the answer"),
        pytest.param(b"GET", WHOLE, False, id="answered before the request was sent"),
        pytest.param(b"HEAD", WHOLE, True, id="a body to HEAD"),
        pytest.param(
            b"GET", b"HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\nx", True, id="a body in 204"
        ),
        pytest.param(b"GET", CHUNKED + b"0\r\n", True, id="bytes behind the last chunk"),
    ],
)
def test_a_connection_in_doubt_is_not_used_again(method: bytes, data: bytes, sent: bool) -> None:
    """The answer is good, but the next request goes elsewhere."""
    for size in (1, 9, len(data)):
        upstream = Upstream()
        answers = upstream.ask(method, sent=sent)
        upstream.receive(data, size)
        assert answers.complete
        assert upstream.transport.ended == "aborted"
        # Bytes that come later find it idle, and end it then.
        assert True not in upstream.released or size < len(data)


def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    """They would be taken for the answer to the next request."""
    upstream = Upstream()
    upstream.ask()
    upstream.receive(WHOLE)
    upstream.receive(WHOLE)
    assert upstream.transport.ended == "aborted"


def test_a_body_until_close_is_complete_at_the_end() -> None:
    """Whether its first bytes came with the head or not."""
    for split in (1, 4, 1000):
        upstream = Upstream()
        answers = upstream.ask()
        upstream.receive(b"HTTP/1.1 200 OK\r\n\r\nhello", split)
        assert not answers.complete
        upstream.connection.eof_received()
        assert (answers.complete, answers.body) == (True, b"hello")


@pytest.mark.parametrize(
    ("data", "error", "kind"),
    [
        pytest.param(b"", None, "closed_early", id="nothing"),
        pytest.param(b"", ConnectionResetError(), "reset", id="reset"),
        pytest.param(b"HTTP/1.1 200", None, "closed_early", id="half a head"),
        pytest.param(WHOLE[:-1], None, "closed_early", id="half a body"),
        pytest.param(CHUNKED[:-2], None, "closed_early", id="no last chunk"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n\r\nhe", ConnectionResetError(), "reset", id="reset until close"
        ),
    ],
)
def test_an_answer_that_breaks_off_is_a_failure(
    data: bytes, error: Exception | None, kind: str
) -> None:
    """And says which kind; what came before it is never taken for the whole."""
    upstream = Upstream()
    answers = upstream.ask()
    if data:
        upstream.receive(data)
    if error is None:
        upstream.connection.eof_received()
    upstream.connection.connection_lost(error)
    assert answers.failure is not None
    assert answers.failure.kind == kind
    assert not answers.complete


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\nX: y\n\n", id="bare LF"),
        pytest.param(CHUNKED.replace(b"3\r\nhel", b"zz\r\nhel"), id="bad chunk"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="a 101 that nobody asked for"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 2000, id="endless head"),
    ],
)
def test_an_answer_that_is_no_http_is_a_failure(data: bytes) -> None:
    """The connection ends, and the failure says so once."""
    upstream = Upstream(ClientLimits(max_head_bytes=1000))
    answers = upstream.ask()
    upstream.receive(data)
    assert answers.failure is not None
    assert answers.failure.kind == "bad_response"
    assert upstream.transport.ended == "aborted"


def test_an_upgrade_becomes_a_tunnel() -> None:
    """Bytes behind the 101 and all that follow are handed on as they come."""
    upstream = Upstream()
    answers = upstream.ask(upgradable=True)
    upstream.receive(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly")
    upstream.receive(b" HTTP/1.1 200 OK\r\n\r\n")
    assert answers.body == b"early HTTP/1.1 200 OK\r\n\r\n"
    upstream.connection.connection_lost(None)
    assert answers.complete


def test_an_answer_that_does_not_begin_in_time_is_a_failure() -> None:
    """The limit runs from the end of the request to the head, not to the body's end."""
    upstream = Upstream(ClientLimits(response_timeout_s=10))
    answers = upstream.ask()
    upstream.receive(CHUNKED[:60])
    assert upstream.connection.deadline > upstream.loop.now + 1000
    late = Upstream(ClientLimits(response_timeout_s=10))
    answers = late.ask()
    late.loop.now += 10
    assert late.connection.deadline <= late.loop.now
    late.connection.on_deadline(late.loop.now)
    assert answers.failure == Failure("response_timeout", "no answer in time")


def test_an_idle_connection_closes_before_the_upstream_does() -> None:
    """Four seconds by default: Node closes its own at five."""
    upstream = Upstream()
    upstream.ask()
    upstream.receive(WHOLE)
    assert upstream.connection.deadline == upstream.loop.now + 4
    upstream.connection.on_deadline(upstream.connection.deadline)
    assert upstream.transport.ended == "closed"


def test_a_paused_connection_is_given_back_reading() -> None:
    """A slow reader's back-pressure ends with its exchange."""
    upstream = Upstream()
    upstream.ask()
    upstream.connection.pause_reading()
    upstream.receive(WHOLE)
    assert upstream.transport.reading
