"""What the benchmarks measure with: captures of their own, an origin, the tree of processes."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import subprocess
import sys
import time

import captures
import growth
import harness
import peers
import pytest
import replay_cost
from body_origin import ANSWER, Connection

from mirrorproxy.codec import decode_line
from mirrorproxy.members import read_batches


def exchanges(root):
    for path in sorted(root.rglob("*.jsonl.gz")):
        with path.open("rb") as file:
            for batch in read_batches(file):
                yield from (decode_line(line) for _, line in batch)


def test_a_capture_is_paced_evenly_and_its_bodies_are_a_kibibyte(tmp_path):
    """250 exchanges, 2,000 a second, in members of a hundred."""
    captures.write(tmp_path, 250, rate=2000)
    found = list(exchanges(tmp_path))
    assert len({one.id for one in found}) == 250
    assert {b.started_us - a.started_us for a, b in itertools.pairwise(found)} == {500}
    assert all(950 <= one.request.body_bytes <= 1100 for one in found)
    assert len({one.client for one in found}) == 250


class Written:
    """A transport that keeps what is written."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data


@pytest.mark.parametrize(
    ("parts", "answers"),
    [
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], 1, id="no body"),
        pytest.param([b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n"], 0, id="body to come"),
        pytest.param([b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab"], 0, id="half a body"),
        pytest.param([b"PUT / HTTP/1.1\r\ncontent-length:3\r\n\r", b"\nab", b"c"], 1, id="parts"),
        pytest.param([b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n"], 2,
                     id="two at once"),
    ],
)  # fmt: skip
def test_the_origin_answers_when_a_body_has_come_whole(parts, answers):
    """One answer for each request that has ended."""
    connection, transport = Connection(), Written()
    connection.connection_made(transport)
    for part in parts:
        connection.data_received(part)
    assert transport.data == ANSWER * answers
    head, _, body = ANSWER.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.fixture(scope="module")
def origin():
    """An origin that reads bodies to their end; its port."""
    with harness.body_origin() as port:
        yield port


def test_the_sender_of_comparison_sends_and_writes_every_outcome(origin, tmp_path):
    """Each exchange of the capture once, with the target's answer."""
    captures.write(tmp_path / "capture", 40, rate=2000)
    sent = replay_cost.peer(tmp_path / "capture", origin, tmp_path, shots=40)
    assert sent.answered == 40
    outcomes = [json.loads(line) for line in (tmp_path / "peer.jsonl").read_text().splitlines()]
    assert {one["status"] for one in outcomes} == {201}
    assert {one["id"] for one in outcomes} == {one.id for one in exchanges(tmp_path / "capture")}


def test_the_proxy_of_comparison_forwards(origin):
    """The origin's answer comes back as it was."""
    with peers.aiohttp_proxy(origin, 0) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/orders?x=1", b'{"a":1}', {"Authorization": "Bearer t"})
            response = connection.getresponse()
            assert (response.status, response.read()) == (201, b'{"id":42,"ok":true}')


def test_cpu_and_memory_are_those_of_the_whole_tree():
    """A child's count too."""
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        while len(harness.tree(process.pid)) < 2:
            assert process.poll() is None
            time.sleep(0.01)
        parent, child = harness.tree(process.pid)
        assert parent == process.pid
        alone = harness.process_rss_mib(parent)
        assert harness.rss_mib(parent) > alone > 0
        process.communicate(b"\n")
    assert harness.process_rss_mib(child) == 0


def test_a_program_that_is_missing_is_named_with_its_remedy():
    """The benchmark then says what to install."""
    with pytest.raises(harness.Absent, match=r"no-such-program is not installed \(buy one\)"):
        harness.need("no-such-program", "buy one")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(1 << 10, "1 KiB", id="a kibibyte"),
        pytest.param(10 << 20, "10 MiB", id="mebibytes"),
    ],
)
def test_sizes_are_shown_for_people(number, shown):
    """As in the table of bodies."""
    assert growth.size(number) == shown
