"""GoReplay's files as its versions wrote them, and as nobody should."""

from __future__ import annotations

import gzip
import io

import pytest
from exported_samples import as_gor, exchange, exchanges, read, read_all, request
from hypothesis import given

from mirrorproxy.members import Damage
from mirrorproxy.record import Exchange, Response
from mirrorproxy.sources import gor
from mirrorproxy.sources.gor_records import SEPARATOR, GorRecord, read_records
from mirrorproxy.sources.imports import read_lines

OLD_ID = "8e091765ae902fef8a2b7d9dd960e9d52222bd8c"
ID = "f45590522cd1838b4a0d5c5a"
AT_NS = 1_439_818_823_587_396_305
GET = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def record(kind: int, message: bytes, name: str = ID, at_ns: int = AT_NS, rest: str = " 0"):
    return f"{kind} {name} {at_ns}{rest}\n".encode() + message + SEPARATOR


def one(data: bytes) -> Exchange:
    (found,) = read(data)
    return found


def test_a_request_and_its_response_of_version_1():
    """Ids of 24 digits; the response begins when its request did, its latency is the duration."""
    found = one(record(1, GET) + record(2, OK, rest=" 2782013"))
    assert (found.via, found.node, found.service) == ("gor", "", "default")
    assert (found.started_us, found.duration_us) == (1_439_818_823_587_396, 2782)
    assert (found.request.method, found.request.target) == ("GET", "/x")
    assert found.request.headers == [("Host", "a.example")]
    assert found.response == Response(200, [("Content-Length", "2")], "ok", "utf8", body_bytes=2)


def test_newer_versions_give_the_response_a_time_of_its_own():
    """It came 5 ms after the request began, and took 1 ms."""
    found = one(record(1, GET) + record(2, OK, at_ns=AT_NS + 5_000_000, rest=" 1000000"))
    assert found.duration_us == 6000


@pytest.mark.parametrize("rest", ["", " ", " -1", " 192.168.1.102"])
def test_without_a_latency(rest):
    """Old versions leave it out of requests, forks write an address."""
    found = one(record(1, GET, OLD_ID, rest=rest))
    assert (found.duration_us, found.observed) == (0, False)


def test_an_id_of_ours_is_kept_and_others_make_the_same_one_each_time():
    """So that a file that is read twice counts once."""
    ours = "019ab0c1f2a47e5c8d3f0a1b2c3d4e5f"
    assert one(record(1, GET, ours)).id == ours
    assert one(record(1, GET, OLD_ID)).id == one(record(1, GET, OLD_ID)).id
    assert one(record(1, GET, OLD_ID)).id != one(record(1, GET, OLD_ID, AT_NS + 10**6)).id


def test_answers_of_a_replay_are_not_production_s():
    """Type 3 is left out, and the request waits on for its own."""
    found = one(record(1, GET) + record(3, OK.replace(b"200", b"500")) + record(2, OK))
    assert found.response is not None
    assert found.response.status == 200


def test_responses_find_their_requests_in_any_order():
    """They come when they come."""
    other = "0" * 24
    asked = record(1, GET) + record(1, GET.replace(b"/x", b"/y"), other)
    answers = record(2, OK.replace(b"200", b"201"), other) + record(2, OK)
    found = {one.request.target: one.response for one in read(asked + answers)}
    assert {target: answer and answer.status for target, answer in found.items()} == {
        "/x": 200,
        "/y": 201,
    }


def test_a_response_whose_request_stands_in_the_file_before():
    """GoReplay cuts its files by size: that is no damage."""
    assert read(record(2, OK) + record(1, GET, OLD_ID))[0].request.target == "/x"


def test_what_waits_is_bounded():
    """The oldest go without a response, in their order, and nothing is lost."""
    many = b"".join(record(1, GET, f"{n:024d}", AT_NS + n * 1000) for n in range(100))
    answers = b"".join(record(2, OK, f"{n:024d}") for n in range(100))
    pairing = gor.Pairing(max_waiting=10)
    found: list[Exchange] = []
    for part in read_records(io.BytesIO(many + answers).read1):
        assert isinstance(part, GorRecord)
        found += pairing.add(part)
    assert [one.started_us for one in found] == sorted(one.started_us for one in found)
    assert [one.response is not None for one in found] == [False] * 90 + [True] * 10


def test_nobody_waits_longer_than_the_merge_puts_in_order():
    """A file without responses is given out as it comes."""
    pairing = gor.Pairing()
    seconds = [0, 10, 20, 30]
    given = []
    for second in seconds:
        at_ns = AT_NS + second * 10**9
        (made,) = read_records(io.BytesIO(record(1, GET, f"{second:024d}", at_ns)).read)
        given.append(len(list(pairing.add(made))))
    assert given == [0, 0, 0, 1]


# -- bodies -----------------------------------------------------------------------------

CHUNKED = (
    b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"5;ext=1\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
)


def test_a_chunked_body_is_taken_out_of_its_chunks():
    """Framing belongs to the connection; trailers to the request."""
    asked = one(record(1, CHUNKED)).request
    assert (asked.body, asked.body_bytes, asked.trailers) == ("hello", 5, [("X-Sum", "1")])
    assert asked.headers == [("Host", "a"), ("Trailer", "X-Sum")]


@pytest.mark.parametrize(
    ("message", "size"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", 9),
        (CHUNKED[:-15], 5),
    ],
    ids=["length", "chunks"],
)
def test_a_body_that_goreplay_has_cut_is_never_replayed(message, size):
    """Its buffers are bounded, too."""
    asked = one(record(1, message)).request
    assert (asked.truncated, asked.body_bytes) == (True, size)


def test_a_body_is_bytes():
    """And the last line end is not a part of it."""
    data = bytes(range(256)) + b"\n"
    message = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
    assert read(as_gor(one(record(1, message))))[0].request == one(record(1, message)).request


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", None),
        (b"GET", b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end"),
        (
            b"GET",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "x",
        ),
    ],
    ids=["HEAD", "not modified", "until close", "behind an interim answer"],
)
def test_the_body_of_a_response_is_framed_as_on_the_wire(method, answer, body):
    """What has no body is not cut."""
    found = one(record(1, GET.replace(b"GET", method)) + record(2, answer)).response
    assert found is not None
    assert (found.body, found.truncated) == (body, False)


def test_the_client_is_whom_a_proxy_or_goreplay_names():
    """--input-raw-realip-header X-Real-IP; X-Forwarded-For counts first."""
    lines = b"X-Real-IP: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n\r\n"
    found = one(record(1, GET[:-2] + lines))
    assert (found.client, found.scheme) == ("10.0.0.9", "https")
    found = one(record(1, GET[:-2] + b"X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\n" + lines))
    assert found.client == "203.0.113.7"


# -- files ------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["requests_0.gor", "x", "requests_0.gz"])
def test_a_file_is_known_by_its_bytes(pack, name):
    """GoReplay packs by the name; copies have other names."""
    assert len(read(pack(record(1, GET) + record(2, OK)), name)) == 1


def test_members_of_gzip_may_be_many():
    """GoReplay begins another at every start."""
    data = gzip.compress(record(1, GET)) + gzip.compress(record(1, GET, OLD_ID))
    assert len(read(data)) == 2


@pytest.mark.parametrize("first", range(1, 120, 7))
@pytest.mark.parametrize("size", [1, 2, 50])
def test_gzip_may_come_in_any_pieces(first, size):
    """From a pipe, a member's first byte may come without its second."""
    member = gzip.compress(record(1, GET), mtime=0)
    stream = Pieces(member + gzip.compress(record(1, GET, OLD_ID), mtime=0), first, size)
    assert sum(len(batch) for batch in read_lines(stream, "x") if isinstance(batch, list)) == 2


class Pieces(io.BytesIO):
    """A stream that hands over first so many bytes, then others at a time."""

    def __init__(self, data: bytes, first: int, size: int) -> None:
        super().__init__(data)
        self._sizes = iter([first])
        self._size = size

    def read1(self, _size: int | None = -1) -> bytes:
        return super().read1(next(self._sizes, self._size))


def test_gzip_that_ends_too_soon():
    """What came before counts, and the loss is told."""
    data = gzip.compress(record(1, GET) + record(1, GET, OLD_ID) * 3, 0)
    *found, damage = sorted(read_all(data[:-40]), key=lambda part: isinstance(part, Damage))
    assert isinstance(damage, Damage)
    assert damage.reason == "truncated gzip: what follows is lost"
    assert found


def test_an_editor_took_the_last_line_end():
    """That is no damage."""
    assert len(read(record(1, GET)[:-1])) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"what is this" + SEPARATOR, "no record of GoReplay: expected <1|2|3> <id> <time>"),
        (record(1, b"\x16\x03\x01TLS"), "a request whose head does not end"),
        (record(1, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"), "no HTTP/1 request: an HTTP version"),
        (record(1, b"GET / HTTP/1.1\r\n\r\n"), "no HTTP/1 request: no Host"),
        (record(1, GET, at_ns=10**18 * 9 * 1000), "no record of GoReplay"),
        (
            record(1, CHUNKED.replace(b"5;ext=1", b"zz")),
            "no HTTP/1 request: malformed chunk size",
        ),
    ],
)
def test_damage_is_told_by_its_place_and_stepped_over(bad, reason):
    """The records around it count."""
    first, last = record(1, GET), record(1, GET, OLD_ID)
    found = read_all(first + bad + last)
    (damage,) = [part for part in found if isinstance(part, Damage)]
    assert damage.reason.startswith(reason)
    assert (damage.offset, damage.lines) == (len(first), 1)
    assert len(found) == 3


def test_a_response_that_is_none_leaves_its_request():
    """It can be sent all the same."""
    found = read_all(record(1, GET) + record(2, b"HTTP/9 x\r\n\r\n"))
    assert [part.reason for part in found if isinstance(part, Damage)] == [
        "no HTTP/1 response: malformed response head"
    ]
    assert [part.request.target for part in found if isinstance(part, Exchange)] == ["/x"]


def test_interim_answers_are_stepped_over_but_not_for_ever():
    """Each is cut off from all that follows: millions of them would take days."""
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    assert one(record(1, GET) + record(2, interim * 16 + OK)).response.status == 200
    found, damage = read_all(record(1, GET) + record(2, interim * 17 + OK))
    assert found.response is None
    assert damage.reason == "a response after more than 16 interim ones"


def test_the_end_within_a_record():
    """As of a file that is still written."""
    damage, whole = read_all(record(1, GET) + record(1, GET, OLD_ID)[:-20])
    assert damage == Damage(len(record(1, GET)), "the file ends within a record", 1)
    assert isinstance(whole, Exchange)


@pytest.mark.parametrize("size", [1000, 50_000, 1_000_000])
def test_a_record_without_an_end_takes_no_memory(size):
    """It is given up at the limit; what follows its separator is read."""
    stream = io.BytesIO(b"1 " + b"x" * size + SEPARATOR + record(1, GET))
    found = list(read_records(stream.read1, max_record_bytes=1000))
    assert found[0] == Damage(0, "a record longer than 1000 bytes", 1)
    assert len(found) == 2


def test_a_separator_may_come_in_two_pieces():
    """Wherever the reading cuts it."""
    data = record(1, GET) * 3
    for size in range(1, 60):
        stream = io.BytesIO(data)
        assert len(list(read_records(lambda _, s=size, f=stream: f.read(s)))) == 3


# -- export -----------------------------------------------------------------------------


def test_a_file_as_goreplay_reads_it():
    """Meta data, the message, the separator; a file ends with one."""
    asked = request("POST", "/orders", [("Host", "a.example")], b'{"n":1}')
    answer = Response(201, [("Content-Type", "text/plain")], "ok", "utf8", body_bytes=2)
    assert as_gor(exchange(1, asked, response=answer)) == (
        b"1 00000000000000000000000000000001 1700000000124456000 0\n"
        b'POST /orders HTTP/1.1\r\nHost: a.example\r\nContent-Length: 7\r\n\r\n{"n":1}'
        b"\n\xf0\x9f\x90\xb5\xf0\x9f\x99\x88\xf0\x9f\x99\x89\n"
        b"2 00000000000000000000000000000001 1700000000124456000 12345000\n"
        b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
        b"\n\xf0\x9f\x90\xb5\xf0\x9f\x99\x88\xf0\x9f\x99\x89\n"
    )


def as_goreplay_reads(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return (meta, message) of each record as GoReplay's input_file.go finds them: by lines."""
    found, held = [], b""
    for line in io.BytesIO(data):  # ends at line feeds alone
        if line == SEPARATOR[1:]:
            meta, _, message = held.removesuffix(b"\n").partition(b"\n")
            found.append((meta, message))
            held = b""
        else:
            held += line
    assert held == b""
    return found


@given(exchanges())
def test_goreplay_finds_the_records_that_we_wrote(one):
    """Whatever stands in them: its own way of reading agrees with ours."""
    data = as_gor(one)
    ours = [part for part in read_records(io.BytesIO(data).read1) if isinstance(part, GorRecord)]
    theirs = as_goreplay_reads(data)
    assert [message for _, message in theirs] == [part.message for part in ours]
    assert [meta.split()[:3] for meta, _ in theirs] == [
        [b"%d" % part.kind, part.id.encode(), b"%d" % part.at_ns] for part in ours
    ]


def test_a_body_that_was_not_recorded_is_an_empty_one():
    """Its length would make a reader wait for it; of HEAD it tells of what is not sent."""
    answer = Response(200, [("Content-Length", "9")], body_bytes=9)
    assert b"\r\nContent-Length: 0\r\n" in as_gor(exchange(1, response=answer))
    head = exchange(1, request("HEAD"), response=answer)
    assert b"\r\nContent-Length: 9\r\n" in as_gor(head)
