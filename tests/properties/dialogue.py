"""What clients ask, what upstreams answer, and what each side must get to see of it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from strict_reader import Fields, Message, read_response

INTERIM = b"HTTP/1.1 %d Interim\r\nX-Answer: %d\r\n\r\n"
TRAILER = (b"X-Sum", b"42")
_EVIL = b"0\r\n\r\nGET /666 HTTP/1.1\r\nHost: h\r\n\r\nHTTP/1.1 200 OK\r\nX-Answer: 666\r\n\r\n"
IDEMPOTENT = (b"GET", b"HEAD", b"PUT")


@dataclass(frozen=True)
class Answer:
    """What an upstream says. framing: "none", "length", "chunked" or "close"."""

    status: int
    framing: str
    size: int
    interim: tuple[int, ...]
    has_trailer: bool
    closes: bool
    is_early: bool
    leaves: str
    """What comes behind it: "" nothing, "eof", "junk"."""

    @property
    def body(self) -> bytes:
        """Its body."""
        return evil(self.size)

    def raw(self, number: int, *, to_head: bool) -> bytes:
        """Return it as bytes."""
        lines = [b"HTTP/1.1 %d Fine" % self.status, b"X-Answer: %d" % number]
        if self.closes:
            lines.append(b"Connection: close")
        body = self.body
        if self.framing == "length":
            lines.append(b"Content-Length: %d" % len(body))
        elif self.framing == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            body = chunked(body, self.trailers)
        interim = b"".join(INTERIM % (status, number) for status in self.interim)
        head = interim + b"\r\n".join(lines) + b"\r\n\r\n"
        return head if to_head or self.is_bodiless else head + body

    @property
    def is_bodiless(self) -> bool:
        """Whether its status leaves no body."""
        return self.status in (204, 304)

    @property
    def trailers(self) -> Fields:
        """The trailers it ends with."""
        return [TRAILER] if self.has_trailer and self.framing == "chunked" else []


@dataclass(frozen=True)
class Ask:
    """What a client asks. framing: "none", "length" or "chunked". chunk: size of its chunks."""

    number: int
    method: bytes
    version: int
    framing: str
    size: int
    chunk: int
    has_trailer: bool
    closes: bool
    answer: Answer

    @property
    def body(self) -> bytes:
        """Its body."""
        return evil(self.size)

    def raw(self) -> bytes:
        """Return it as bytes."""
        body, framing = self.body, []
        if self.framing == "length":
            framing = [b"Content-Length: %d" % len(body)]
        elif self.framing == "chunked":
            framing = [b"Transfer-Encoding: chunked"]
            body = chunked(body, self.trailers, self.chunk)
        elif self.framing == "none":
            body = b""
        lines = [
            b"%b /%d HTTP/1.%d" % (self.method, self.number, self.version),
            b"Host: h",
            b"x-ASK: %d" % self.number,
            *framing,
            *([b"Connection: close"] if self.closes else []),
        ]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    @property
    def trailers(self) -> Fields:
        """The trailers it ends with."""
        return [TRAILER] if self.has_trailer and self.framing == "chunked" else []

    @property
    def to_head(self) -> bool:
        """Whether its answer has no body."""
        return self.method == b"HEAD"

    @property
    def ends_connection(self) -> bool:
        """Whether the client cannot have another answer after this one."""
        return self.closes or self.version == 0

    def check_forwarded(self, seen: Message) -> None:
        """Demand that the upstream saw it as it was sent, framing apart."""
        assert seen.start == b"%b /%d HTTP/1.1" % (self.method, self.number)
        framing = {
            "none": [],
            "length": [(b"Content-Length", b"%d" % len(self.body))],
            "chunked": [(b"Transfer-Encoding", b"chunked")],
        }[self.framing]
        assert seen.fields == [(b"Host", b"h"), (b"x-ASK", b"%d" % self.number), *framing]
        assert seen.body == (b"" if self.framing == "none" else self.body)
        assert seen.trailers == self.trailers

    def check_answered(self, seen: Message) -> None:
        """Demand that the client saw its own answer, framing apart."""
        answer = self.answer
        assert seen.start == b"HTTP/1.1 %d Fine" % answer.status
        assert seen.fields[0] == (b"X-Answer", b"%d" % self.number)
        bodiless = self.to_head or answer.is_bodiless
        assert seen.body == (b"" if bodiless else answer.body)
        if self.version == 1 and not bodiless:
            assert seen.trailers == answer.trailers


def chunked(body: bytes, trailers: Fields, size: int = 1000) -> bytes:
    """Return a body in chunks."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    data = b"".join(b"%X\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return data + b"0\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"


def evil(size: int) -> bytes:
    """Return a body that looks like messages: it shows at once if any of it is read as one."""
    return (_EVIL * (size // len(_EVIL) + 1))[:size]


class Reading:
    """What a client makes of the bytes it gets.

    answered: how many of its requests have their whole answer. own_errors: how
    many of these answers were the proxy's; planned: of which requests they were
    the upstream's. is_last: whether no other may
    follow. is_partial: whether the last bytes are no whole answer.
    """

    def __init__(self, asks: list[Ask]) -> None:
        self.asks = asks
        self.answered = 0
        self.own_errors = 0
        self.planned: list[Ask] = []
        self.is_last = False
        self.is_partial = False
        self._interim: list[int] = []
        self._at = 0

    def read(self, data: bytes, *, is_closed: bool) -> None:
        """Look at all that has come. is_closed: cleanly, so that this may end an answer."""
        self.is_partial = False
        while self._at < len(data):
            assert not self.is_last, "bytes behind the last answer"
            assert self.answered < len(self.asks), "an answer nobody asked for"
            ask = self.asks[self.answered]
            # Of a request that is refused, nobody knows yet that it is a HEAD.
            is_refusal = data[self._at + 9 : self._at + 12] in (b"400", b"408")
            seen = read_response(data, self._at, to_head=ask.to_head and not is_refusal)
            if seen is None or (seen.until_close and not is_closed):
                self.is_partial = True
                return
            self._at = seen.end
            self._take(ask, seen)

    def _take(self, ask: Ask, seen: Message) -> None:
        status = int(seen.start[9:12])
        if status < 200:
            assert ask.version == 1, "an interim answer to HTTP/1.0"
            assert seen.fields == [(b"X-Answer", b"%d" % ask.number)]
            self._interim.append(status)
            return
        if seen.values(b"x-answer"):
            ask.check_answered(seen)
            self.planned.append(ask)
            assert self._interim == (list(ask.answer.interim) if ask.version else [])
        else:
            assert status in (400, 408, 502, 504)
            assert ask.to_head or seen.body.startswith(b"mirrorproxy: ")
            self.own_errors += 1
        self._interim = []
        self.answered += 1
        self.is_last = b"close" in seen.values(b"connection") or seen.until_close


# The largest is more than all that may wait in the proxy.
sizes = st.sampled_from([0, 1, 30, 700, 3900, 40_000])


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """An answer of any shape."""
    status = draw(st.sampled_from([200, 200, 201, 404, 500, 204, 304]))
    framing = draw(st.sampled_from(["length", "length", "chunked", "chunked", "close"]))
    if status in (204, 304):
        framing = "none"
    return Answer(
        status=status,
        framing=framing,
        size=0 if framing == "none" else draw(sizes),
        interim=tuple(draw(st.lists(st.sampled_from([100, 102, 103]), max_size=2))),
        has_trailer=draw(st.booleans()),
        closes=draw(st.integers(0, 5)) == 0,
        is_early=draw(st.integers(0, 7)) == 0,
        # Behind a body that ends with its connection, junk would be body.
        leaves="" if framing == "close" else draw(st.sampled_from(["", "", "", "", "eof", "junk"])),
    )


@st.composite
def asks(draw: st.DrawFn, number: int = 0) -> Ask:
    """A request of any shape."""
    version = 0 if draw(st.integers(0, 7)) == 0 else 1
    method = draw(st.sampled_from([b"GET", b"POST", b"POST", b"PUT", b"HEAD"]))
    framing = "none"
    if method in (b"POST", b"PUT"):
        framing = draw(st.sampled_from(["length", "chunked"] if version else ["length"]))
    return Ask(
        number=number,
        method=method,
        version=version,
        framing=framing,
        size=0 if framing == "none" else draw(sizes),
        chunk=draw(st.sampled_from([500, 1000, 20_000])),
        has_trailer=draw(st.booleans()),
        closes=draw(st.integers(0, 5)) == 0,
        answer=draw(answers()),
    )


@st.composite
def plans(draw: st.DrawFn) -> list[list[Ask]]:
    """What each of one to three clients asks, one request behind the other."""
    counts = draw(st.lists(st.sampled_from([1, 2, 3, 6]), min_size=1, max_size=3))
    return [
        [draw(asks(number=100 * client + turn)) for turn in range(count)]
        for client, count in enumerate(counts)
    ]
