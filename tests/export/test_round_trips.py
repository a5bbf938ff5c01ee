"""What is exported and imported again is what it was, as far as the format holds it."""

from __future__ import annotations

import gzip

import msgspec
import pytest
from exported_samples import as_gor, as_har, exchange, exchanges, read, request
from hypothesis import given

from mirrorproxy.record import Exchange, Response


@given(exchanges())
def test_har_gives_the_very_record_back(one: Exchange) -> None:
    """Every byte of target, headers and bodies, and what HAR itself has no place for."""
    assert read(as_har(one)) == [one]


@given(exchanges())
def test_gor_gives_both_messages_and_their_times_back(one: Exchange) -> None:
    """What is about the capture, not about the messages, a file of GoReplay's cannot hold."""
    (found,) = read(as_gor(one))
    held = msgspec.structs.replace(
        one, service="default", via="gor", node="", client="", scheme="http", upstream="",
        failure=None, observed=one.response is not None, credentials=[],
    )  # fmt: skip
    assert found == held


@pytest.mark.parametrize("write", [as_har, as_gor])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_many_come_back_in_their_order(write, pack):
    """Packed or not, with and without a response."""
    many = [
        exchange(number, request("POST", f"/{number}", body=b"x" * number), response=response)
        for number in range(1, 300)
        for response in [Response(201, body_bytes=0) if number % 3 else None]
    ]
    found = sorted(read(pack(write(*many))), key=lambda one: one.started_us)
    assert [(one.id, one.request) for one in found] == [(one.id, one.request) for one in many]
    assert [one.response is None for one in found] == [one.response is None for one in many]


def test_an_empty_capture_is_an_empty_har():
    """A document all the same, which is read as nothing."""
    assert read(as_har()) == []
