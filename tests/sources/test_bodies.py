"""Body objects: found beside their records, and nowhere else."""

from __future__ import annotations

import os

import pytest

from mirrorproxy.sources.bodies import BodyError, read_body
from mirrorproxy.sources.events import CaptureObject

REF = "bodies/2023/11/14/22/0123456789abcdef0123456789abcdef"


def source(base) -> CaptureObject:
    return CaptureObject(name="x", open=NotImplemented, base=None if base is None else str(base))


@pytest.fixture
def body(tmp_path):
    path = tmp_path / REF
    path.parent.mkdir(parents=True)
    path.write_bytes(b"0123456789")
    return path


def test_a_body_is_read_whole(tmp_path, body):
    """As it was written."""
    assert read_body(source(tmp_path), REF) == b"0123456789"


@pytest.mark.parametrize(
    ("ref", "limit", "message"),
    [
        pytest.param(REF, 9, "larger than 9 bytes", id="too large"),
        pytest.param(REF[:-1] + "0", 100, "No such file or directory", id="missing"),
        pytest.param("../" + REF, 100, "no reference into the capture", id="a way out"),
        pytest.param(REF + "\n", 100, "no reference into the capture", id="a newline"),
        pytest.param("/etc/passwd", 100, "no reference into the capture", id="absolute"),
    ],
)
def test_what_is_not_the_body_is_refused(tmp_path, body, ref, limit, message):
    """With a reason; nothing outside the capture is opened."""
    with pytest.raises(BodyError, match=message):
        read_body(source(tmp_path), ref, limit)


def test_a_link_is_not_followed(tmp_path, body):
    """It could lead anywhere."""
    target = tmp_path / "secret"
    body.rename(target)
    body.symlink_to(target)
    with pytest.raises(BodyError):
        read_body(source(tmp_path), REF)


def test_a_pipe_does_not_make_the_reader_wait(tmp_path, body):
    """It is no body, and it may never end."""
    body.unlink()
    os.mkfifo(body)
    with pytest.raises(BodyError):
        read_body(source(tmp_path), REF)


def test_standard_input_needs_to_be_told_where_bodies_lie():
    """A stream has no place of its own."""
    with pytest.raises(BodyError, match="--bodies"):
        read_body(source(None), REF)
