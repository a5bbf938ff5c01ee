"""Fakes for the recorder's tests: a sealer, a writer, a clock, and a recorder made of them."""

from dataclasses import dataclass, field
from hashlib import blake2b

from mirrorproxy.capture.recorder import Recorder, ServicePolicy
from mirrorproxy.capture.tee import TeeLimits
from mirrorproxy.codec import decode_line, encode_line
from mirrorproxy.http1.heads import parse_request, parse_response
from mirrorproxy.http1.origin import Origin
from mirrorproxy.metrics import FIELDS, volatile_slot
from mirrorproxy.record import Credential, Exchange

SECRET = b"s3cret"
MARK = b"{h1:aaaa:" + b"0" * 32 + b"}"
STARTED_US = 1_700_000_000_123_456
UPSTREAM = Origin("http", "10.0.3.7", 8080)


def sealed_text(text: str) -> str:
    return text.replace(SECRET.decode(), MARK.decode())


@dataclass
class Head:
    target: str
    headers: list
    credentials: list


@dataclass
class Body:
    data: bytes | None
    omitted: str | None = None
    credentials: list = field(default_factory=list)


class FakeStream:
    def __init__(self, omit_after: int | None = None):
        self.omitted = None
        self.credentials = []
        self._seen = 0
        self._omit_after = omit_after

    def feed(self, data):
        self._seen += len(data)
        if self._omit_after is not None and self._seen > self._omit_after:
            self.omitted = "unsealable"
            return b""
        if SECRET in data:
            self.credentials.append(Credential("body", "password", MARK[1:-1].decode()))
        return data.replace(SECRET, MARK)

    def finish(self):
        return b"<end>"


class FakeSealer:
    """Replaces one secret by its mark; bodies that begin with "opaque" cannot be sealed."""

    def __init__(self):
        self.omit_stream_after = None
        self.error = None
        self.heads = 0

    def target(self, target):
        self.heads += 1
        if self.error:
            raise self.error
        return sealed_text(target), []

    def line(self, line):
        head = self.request("/", [line])
        return head.headers[0], tuple(head.credentials)

    def request(self, target, headers):
        credentials = []
        for name, value in headers:
            if SECRET.decode() in value:
                place = "cookie" if name.lower() == "cookie" else "header"
                shown = value.partition("=")[0] if place == "cookie" else name
                credentials.append(
                    Credential(place, shown, f"h1:aaaa:{blake2b(value.encode()).hexdigest()[:32]}")
                )
        sealed = [(name, sealed_text(value)) for name, value in headers]
        return Head(sealed_text(target), sealed, credentials)

    def response(self, headers):
        return [(name, sealed_text(value)) for name, value in headers]

    def body(self, data, content_type, content_encoding):
        if data.startswith(b"opaque"):
            return Body(None, "unsealable")
        if SECRET in data:
            found = [Credential("body", "password", MARK[1:-1].decode())]
            return Body(data.replace(SECRET, MARK), None, found)
        return Body(data)

    def stream(self, content_type, content_encoding):
        return FakeStream(self.omit_stream_after)


class FakeBodyFile:
    def __init__(self, writer, ref):
        self.writer = writer
        self.ref = ref
        self.data = b""
        self.state = "open"

    def write(self, data):
        if self.writer.body_error:
            raise self.writer.body_error
        self.data += data

    def commit(self):
        self.state = "committed"
        self.writer.events.append(("body", self.ref))

    def discard(self):
        if self.state == "open":
            self.state = "discarded"


class FakeWriter:
    def __init__(self, clock):
        self.clock = clock
        self.lines = []
        self.bodies = []
        self.events = []
        self.error = None
        self.body_error = None
        self.takes_s = 0.0
        self.attempts = 0
        self.created_us = 0
        self.seq = 0
        self.size = 0

    def append(self, line):
        self.attempts += 1
        self.clock.now += self.takes_s
        if self.error:
            raise self.error
        # Lines are joined from parts: each has to be what the encoder of records makes.
        assert line == encode_line(decode_line(line))
        self.created_us, self.seq = 1_700_000_000_000_000, 1
        self.size += len(line)
        self.lines.append(line)
        self.events.append(("line", None))

    def open_body(self, ref):
        file = FakeBodyFile(self, ref)
        self.bodies.append(file)
        return file

    def close(self):
        self.events.append(("close", None))


class FakeClock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Bench:
    """A recorder with everything around it faked."""

    def __init__(
        self, *, policy: ServicePolicy | None = None, limits: TeeLimits | None = None, trust=True
    ):
        self.clock = FakeClock()
        self.writer = FakeWriter(self.clock)
        self.sealer = FakeSealer()
        self.slot = volatile_slot()
        self.recorder = Recorder(
            sealer=self.sealer,
            writer=self.writer,
            slot=self.slot,
            node="mirror-1/0",
            policies={"orders": policy} if policy else {},
            trust_forwarded=trust,
            limits=limits,
            monotonic=self.clock,
        )

    def begin(
        self,
        method="POST",
        target="/orders",
        headers="",
        *,
        started_us=STARTED_US,
        upstream=UPSTREAM,
    ):
        head = parse_request(
            f"{method} {target} HTTP/1.1\r\nHost: api.example.com\r\n{headers}\r\n".encode(
                "latin-1"
            )
        )
        return self.recorder.begin(
            head, service="orders", upstream=upstream, peer="192.0.2.1", started_us=started_us
        )

    def run(self, method="POST", target="/orders", headers="", body=(), answer="201 Created\r\n"):
        """One whole exchange; body: a list of chunks. answer: its head without the version."""
        tap = self.begin(method, target, headers)
        for chunk in body:
            tap.request_data(chunk)
        tap.request_end()
        tap.response_head(answered(answer))
        tap.finish(12_345)
        return tap

    @property
    def exchanges(self) -> list[Exchange]:
        return [decode_line(line) for line in self.writer.lines]

    @property
    def counts(self) -> dict[str, int]:
        """The ledger's numbers that are not zero."""
        gauges = {"segment_us", "segment_seq", "segment_bytes"}
        numbers = zip(FIELDS, self.slot.tolist(), strict=True)
        return {name: number for name, number in numbers if number and name not in gauges}


def answered(answer="201 Created\r\n"):
    return parse_response(f"HTTP/1.1 {answer}\r\n".encode("latin-1"))
