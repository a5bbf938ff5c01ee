"""A client's connection: requests in order, bounded waiting, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_fakes import Notes, Server

from mirrorproxy.http1.deadlines import NEVER
from mirrorproxy.http1.handler import Handler
from mirrorproxy.http1.heads import RequestHead
from mirrorproxy.http1.limits import ServerLimits
from mirrorproxy.http1.server import ServerConnection

POST = b"POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST /%d HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"
)
GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class AnswersAtOnce(Handler):
    def __init__(self, notes: Notes) -> None:
        self.notes = notes

    def start(self, body: bytes | None) -> None:
        self.notes.start(body)
        self.notes.answer()


@given(
    kinds=st.lists(st.sampled_from([POST, CHUNKED, GET]), min_size=1, max_size=6),
    size=st.integers(1, 200),
)
def test_any_split_of_any_pipeline_reads_the_same(kinds: list[bytes], size: int) -> None:
    """Requests come out one by one, in order, with their own bodies."""
    server = Server()
    server.receive(b"".join(kind % number for number, kind in enumerate(kinds)), size)
    for number, kind in enumerate(kinds):
        request = server.requests[number]
        assert len(server.requests) == number + 1
        assert request.head.target == b"/%d" % number
        assert request.ended
        assert request.body == (b"" if kind is GET else b"hello")
        assert request.trailers == (b"X-T: 1\r\n" if kind is CHUNKED else b"")
        request.answer()
        assert server.transport.taken() == ANSWER
    assert server.transport.ended is None
    assert server.refused == []


def test_a_thousand_requests_answered_at_once_do_not_pile_up() -> None:
    """Answers given inside the call are no recursion."""
    server = Server()

    noting = server.service.handler

    def answering(connection: ServerConnection, head: RequestHead, started_us: int) -> Handler:
        return AnswersAtOnce(noting(connection, head, started_us))

    server.service.handler = answering
    server.receive(GET % 1 * 5000)
    assert server.transport.taken() == ANSWER * 5000


def test_requests_ahead_of_their_turn_wait_in_a_bounded_buffer() -> None:
    """Beyond the bound the client is not read from until the answer is out."""
    server = Server(ServerLimits(max_pipelined_bytes=1000))
    server.receive(GET % 0)
    server.receive(GET % 1 * 100, 100)
    assert not server.transport.reading
    for number in range(100):
        server.requests[number].answer()
        assert len(server.requests) == number + 2
    assert server.transport.reading


@pytest.mark.parametrize(
    ("sent", "wait_s", "answer"),
    [
        pytest.param(b"", 30, b"", id="nothing sent: closed silently"),
        pytest.param(b"GET / HT", 30, b"HTTP/1.1 408 ", id="half a head"),
        pytest.param((POST % 0)[:-2], 60, b"HTTP/1.1 408 ", id="half a body"),
    ],
)
def test_a_client_that_stalls_is_let_go(sent: bytes, wait_s: float, answer: bytes) -> None:
    """Nobody holds a connection by sending slowly, or nothing."""
    server = Server()
    server.receive(sent)
    server.wait(wait_s - 1)
    assert server.transport.written == b""
    server.wait(1)
    assert server.transport.written.startswith(answer)
    assert server.transport.ended or server.transport.eof


def test_a_head_that_trickles_does_not_push_its_deadline() -> None:
    """The 30 s run from the first byte, not from the last."""
    server = Server()
    for _ in range(29):
        server.receive(b"X")
        server.wait(1)
    assert server.transport.written == b""
    server.wait(1)
    assert server.transport.written.startswith(b"HTTP/1.1 408 ")


def test_empty_lines_for_ever_are_no_request() -> None:
    """A client that sends only CRLF is idle."""
    server = Server()
    for _ in range(30):
        server.receive(b"\r\n")
        server.wait(1)
    assert server.transport.ended == "closed"


def test_a_body_that_keeps_coming_is_never_timed_out() -> None:
    """The body's deadline runs between two reads."""
    server = Server()
    server.receive(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
    for _ in range(9):
        server.wait(59)
        server.receive(b"x")
    assert server.transport.written == b""
    server.receive(b"x")
    assert server.connection.deadline == NEVER


def test_no_deadline_runs_while_production_works() -> None:
    """A slow answer is nobody's fault here."""
    server = Server()
    server.receive(GET % 0)
    server.wait(86_400)
    assert server.transport.ended is None


def test_an_idle_connection_is_closed_after_two_minutes() -> None:
    """Traefik re-uses one for up to 90 s: never sooner."""
    server = Server()
    server.receive(GET % 0)
    server.requests[0].answer()
    server.wait(119)
    assert server.transport.ended is None
    server.wait(1)
    assert server.transport.ended == "closed"


def test_a_reader_that_stalls_is_cut_off() -> None:
    """A client that takes no byte for a minute loses its connection, and its handler hears it."""
    server = Server()
    server.receive(GET % 0)
    server.connection.pause_writing()
    server.wait(60)
    assert server.transport.ended == "aborted"
    assert server.requests[0].events == ["blocked", "client_stalled"]


def test_a_head_beyond_the_limit_is_a_431() -> None:
    """And a target beyond it a 414."""
    limits = ServerLimits(max_head_bytes=1000)
    for data, status in (
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 1000, 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"y" * 1000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 1000, 414),
    ):
        for size in (7, 5000):
            server = Server(limits)
            server.receive(data, size)
            assert server.transport.written.startswith(b"HTTP/1.1 %d " % status)
            assert server.refused == [status]


def test_trailers_that_are_too_long_are_a_bad_request() -> None:
    """The client did not stall: it sent too much."""
    server = Server()
    server.receive(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 70_000
    )
    assert server.requests[0].events == ["bad_request"]
    assert server.transport.written.startswith(b"HTTP/1.1 431 ")


def test_a_bad_chunk_ends_the_request_and_the_connection() -> None:
    """The handler learns it, the client gets a 400, and nothing behind it is read as a request."""
    server = Server()
    server.receive(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET % 9
    )
    assert server.requests[0].events == ["bad_request"]
    assert server.transport.written.startswith(b"HTTP/1.1 400 ")
    assert len(server.requests) == 1
    server.receive(GET % 9)
    assert len(server.requests) == 1


def test_a_bad_chunk_behind_an_answer_that_began_cuts_the_connection() -> None:
    """A second answer inside the first would be read as its body."""
    server = Server()
    server.receive(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.connection.answer_started = True
    server.receive(b"zz\r\n")
    assert (server.transport.written, server.transport.ended) == (b"", "aborted")


def test_an_answer_before_the_whole_request_lets_the_client_finish() -> None:
    """The answer must not be lost to a reset: what still comes is read and thrown away."""
    server = Server()
    server.receive((POST % 0)[:-2])
    server.requests[0].answer()
    assert server.transport.eof
    server.receive(b"lo" + GET % 1)
    assert len(server.requests) == 1
    server.wait(2)
    assert server.transport.ended == "aborted"


@pytest.mark.parametrize(
    ("sent", "events"),
    [
        pytest.param((POST % 0)[:-1], ["client_aborted"], id="in its body"),
        pytest.param(POST % 0, ["half closed"], id="after its request"),
    ],
)
def test_a_client_that_says_it_will_send_no_more(sent: bytes, events: list[str]) -> None:
    """In mid-request that is an abort; afterwards the upstream may still answer."""
    server = Server()
    server.receive(sent)
    kept = server.connection.eof_received()
    assert server.requests[0].events == events
    assert kept == (events == ["half closed"])


def test_after_a_half_close_the_answer_is_the_last() -> None:
    """It is delivered, then the connection ends."""
    server = Server()
    server.receive(GET % 0)
    server.connection.eof_received()
    assert not server.connection.may_keep
    server.requests[0].answer()
    assert (server.transport.taken(), server.transport.ended) == (ANSWER, "closed")


def test_draining_closes_the_idle_and_spares_the_busy() -> None:
    """A request under way is answered; its connection takes no other."""
    idle, busy = Server(), Server()
    busy.receive(GET % 0)
    idle.service.drain()
    busy.service.drain()
    assert busy.connection.deadline == NEVER
    assert not busy.connection.may_keep
    assert idle.connection.deadline == idle.loop.now + 1
    idle.connection.on_deadline(idle.loop.now + 1)
    assert (idle.transport.ended, busy.transport.ended) == ("closed", None)


def test_a_request_on_its_way_when_draining_begins_is_answered() -> None:
    """Its client could not tell a connection closed at once from a request that was lost."""
    server = Server()
    server.service.drain()
    server.receive(GET % 0)
    assert server.connection.deadline == NEVER
    server.requests[0].answer(keep=server.connection.may_keep)
    assert (server.transport.taken(), server.transport.ended) == (ANSWER, "closed")


def test_an_answer_that_is_still_being_read_when_draining_begins_is_not_cut() -> None:
    """Only afterwards is its connection idle."""
    server = Server()
    server.receive(GET % 0)
    server.connection.pause_writing()
    server.requests[0].answer()
    before = server.connection.deadline
    server.service.drain()
    assert server.connection.deadline == before > server.loop.now + 1
    server.connection.resume_writing()
    assert server.connection.deadline == server.loop.now + 1


def test_a_tunnel_hands_over_what_came_early_and_all_that_follows() -> None:
    """Bytes behind the upgrade request belong to the other protocol."""
    server = Server()
    server.receive(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nearly")
    assert server.requests[0].body == b""
    server.connection.start_tunnel()
    server.receive(b" late")
    assert server.requests[0].body == b"early late"


def test_strict_listeners_refuse_more() -> None:
    """The flag reaches the grammar."""
    for strict, refused in ((False, []), (True, [400])):
        server = Server(strict=strict)
        server.receive(b"GET /a|b HTTP/1.1\r\nHost: h\r\n\r\n")
        assert server.refused == refused
