"""The judge itself: it must see through a proxy that looks at nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import cases_framing
import cases_heads
import cases_responses
import pytest
from support.conformance import RequestCase, judge_request, run_request
from support.origin import RawOrigin

_ROOT = Path(__file__).resolve().parents[2]
_PLAIN = RequestCase(
    "plain", b"GET /case/@ID HTTP/1.1\r\nHost: a.test\r\nX-b: 1\r\n\r\n", cases_heads.PASSED
)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def pipe() -> Iterator[tuple[RawOrigin, tuple[str, int]]]:
    """An origin behind a pipe that hands every byte on unread."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(*ends: socket.socket) -> None:
        for source, sink in (ends, ends[::-1]):
            threads.append(threading.Thread(target=_pump, args=(source, sink), daemon=True))
            threads[-1].start()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                upstream = socket.create_connection(("127.0.0.1", origin.port))
                sockets.extend((client, upstream))
                start(client, upstream)

    with RawOrigin() as origin, socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield origin, listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(5)
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for one in sockets:
            one.close()


def test_judge_lets_a_plain_request_pass(pipe: tuple[RawOrigin, tuple[str, int]]) -> None:
    """What arrives as it was sent is not held against anyone."""
    origin, address = pipe
    assert judge_request(_PLAIN, run_request(_PLAIN, address, origin)) == []


_DANGEROUS = [
    case
    for case in cases_framing.CASES
    if case.expect.refused and not case.expect.passed and not case.finish
]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in _DANGEROUS])
def test_judge_sees_what_a_pipe_lets_through(
    pipe: tuple[RawOrigin, tuple[str, int]], case: RequestCase
) -> None:
    """Each dangerous request is noticed when nobody stops it on its way."""
    origin, address = pipe
    assert judge_request(case, run_request(case, address, origin, timeout_s=1.0)) != []


def test_every_case_has_a_name_of_its_own() -> None:
    """Names are what the published table and the test ids stand on."""
    requests = [case.name for case in [*cases_framing.CASES, *cases_heads.CASES]]
    answers = [case.name for case in cases_responses.CASES]
    assert len(set(requests)) == len(requests)
    assert len(set(answers)) == len(answers)


def test_published_table_holds_every_case() -> None:
    """docs/conformance.md was written from the cases as they are now."""
    page = (_ROOT / "docs" / "conformance.md").read_text()
    rows = {line[2:].partition(" | ")[0] for line in page.splitlines() if line.startswith("| ")}
    requests = {case.name for case in [*cases_framing.CASES, *cases_heads.CASES]}
    answers = {f"answer {case.name}" for case in cases_responses.CASES}
    assert requests | answers <= {row.replace("\\|", "|") for row in rows}
