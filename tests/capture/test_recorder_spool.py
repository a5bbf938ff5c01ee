"""The recorder with the real sealer and the real spool."""

import json
from pathlib import Path

import pytest
from recorder_fakes import STARTED_US, UPSTREAM, answered

from mirrorproxy.capture.recorder import Recorder, ServicePolicy
from mirrorproxy.capture.seal import Sealer, SealKey, SealPolicy
from mirrorproxy.codec import decode_line
from mirrorproxy.http1.heads import parse_request
from mirrorproxy.metrics import INDEX, volatile_slot
from mirrorproxy.spool.segment import SegmentWriter, count_lines

PASSWORD = "correct-horse-battery"


class Spool:
    def __init__(self, path: Path, *, limit_bytes: int = 1 << 30):
        self.path = path
        self.slot = volatile_slot()
        self.recorder = Recorder(
            sealer=Sealer(SealPolicy(), SealKey(b"k" * 32)),
            writer=SegmentWriter(path, 0, limit_bytes=limit_bytes),
            slot=self.slot,
            node="mirror-1/0",
            policies={"orders": ServicePolicy(response_body=True)},
        )

    def post(self, body: bytes, content_type: str = "application/json", size: int = 50_000):
        head = parse_request(
            b"POST /login?token=%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: %b\r\n\r\n"
            % (PASSWORD.encode(), PASSWORD.encode(), content_type.encode())
        )
        tap = self.recorder.begin(
            head, service="orders", upstream=UPSTREAM, peer="192.0.2.1", started_us=STARTED_US
        )
        for start in range(0, len(body), size):
            tap.request_data(body[start : start + size])
        tap.request_end([("X-Api-Key", PASSWORD)])
        tap.response_head(
            answered(
                "200 OK\r\nContent-Type: application/json\r\n"
                f"Set-Cookie: sid={PASSWORD}; Path=/\r\n"
            )
        )
        tap.response_data(json.dumps({"access_token": PASSWORD}).encode())
        tap.finish(1)

    def count(self, field: str) -> int:
        return self.slot[INDEX[field]]

    @property
    def exchanges(self):
        segments = sorted((self.path / "segments").iterdir())
        return [decode_line(line) for path in segments for line in path.read_bytes().splitlines()]

    def bodies(self) -> dict[str, bytes]:
        files = (path for path in (self.path / "bodies").rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)): path.read_bytes() for path in files}

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.path.rglob("*") if path.is_file())


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path)
    yield made
    made.recorder.close()


@pytest.mark.parametrize(
    "padding",
    [
        pytest.param(10, id="in the line"),
        pytest.param(700_000, id="in an object of its own"),
    ],
)
def test_no_secret_reaches_the_disk(spool, padding):
    """Small or large, what lies on the spool is sealed; the credentials are named."""
    body = json.dumps({"pad": "x" * padding, "password": PASSWORD}).encode()
    spool.post(body)
    assert PASSWORD.encode() not in spool.bytes_on_disk()
    [exchange] = spool.exchanges
    assert exchange.request.body_bytes == len(body)
    assert {(c.place, c.name.lower()) for c in exchange.credentials} >= {
        ("header", "authorization"),
        ("query", "token"),
        ("body", "password"),
    }
    assert len({c.fingerprint for c in exchange.credentials}) == 1
    assert spool.count("captured") == 1


def test_a_large_body_lies_where_its_record_says(spool):
    """The object holds the whole body but for its secret."""
    spool.post(json.dumps({"pad": "x" * 700_000, "password": PASSWORD}).encode())
    [exchange] = spool.exchanges
    [(ref, stored)] = spool.bodies().items()
    assert ref == exchange.request.body_ref
    assert json.loads(stored)["pad"] == "x" * 700_000


def test_a_large_binary_body_is_stored_byte_for_byte(spool):
    """What holds no secret is not touched."""
    body = bytes(range(256)) * 4000
    spool.post(body, "application/octet-stream")
    [stored] = spool.bodies().values()
    assert stored == body


def test_the_slot_points_behind_the_last_line(spool):
    """Nothing of the segment is uncounted."""
    for _ in range(3):
        spool.post(b"{}")
    [segment] = (spool.path / "segments").iterdir()
    assert count_lines(segment, 0) == 3
    assert spool.count("captured") == 3
    assert spool.count("segment_bytes") == segment.stat().st_size
    assert segment.name.startswith(f"{spool.count('segment_us'):016d}-0-")


@pytest.mark.parametrize("padding", [10, 700_000])
def test_a_full_spool_drops_and_counts(tmp_path, padding):
    """Neither a line nor half a body is left."""
    spool = Spool(tmp_path, limit_bytes=100)
    spool.post(json.dumps({"pad": "x" * padding}).encode())
    assert spool.count("dropped_spool_full") == 1
    assert spool.count("captured") == 0
    assert spool.bytes_on_disk() == b""
    spool.recorder.close()


def test_a_spool_that_cannot_be_made_drops_and_counts(tmp_path):
    """A file where the folder should be: the requests go on."""
    (tmp_path / "segments").write_text("in the way")
    spool = Spool(tmp_path)
    spool.post(b"{}")
    spool.post(b"{}")
    assert spool.count("seen") == 2
    assert spool.count("dropped_disk") == 2
