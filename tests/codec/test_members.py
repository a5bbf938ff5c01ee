"""Gzip members of lines, and reading objects that may be anything."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy import members
from mirrorproxy.members import MAX_DAMAGES, MAX_MEMBER_BYTES, Damage, pack, read_batches

LINES = [b'{"v":1,"id":"%d"}' % number for number in range(30)]


def text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def packed(lines: list[bytes]) -> bytes:
    return pack(text(lines), len(lines))


def read(data: bytes, **options: int) -> tuple[list[tuple[int, bytes]], list[Damage]]:
    """All lines with their offsets, and all damages."""
    lines: list[tuple[int, bytes]] = []
    damages: list[Damage] = []
    for item in read_batches(io.BytesIO(data), **options):
        if isinstance(item, Damage):
            damages.append(item)
        else:
            lines += item
    return lines, damages


def lines_of(data: bytes, **options: int) -> list[bytes]:
    """All lines of an object that has no damage."""
    lines, damages = read(data, **options)
    assert damages == []
    return [line for _, line in lines]


A, B, C = packed(LINES[:10]), packed(LINES[10:20]), packed(LINES[20:])


def test_a_member_is_gzip_for_everyone():
    """Stock readers take members alone and one after the other."""
    assert gzip.decompress(A) == text(LINES[:10])
    assert gzip.decompress(A + B + C) == text(LINES)


def test_a_member_says_its_length_and_lines():
    """FEXTRA, subfield MP, as little-endian numbers."""
    assert A[:4] == b"\x1f\x8b\x08\x04"
    assert A[10:16] == b"\x0c\x00MP\x08\x00"
    assert struct.unpack("<II", A[16:24]) == (len(A), 10)


def test_packing_is_repeatable():
    """The same lines give the same bytes: no time stands in the header."""
    assert packed(LINES) == packed(LINES)


def test_a_member_that_readers_would_refuse_is_not_made():
    """The bound is the same on both sides."""
    with pytest.raises(ValueError, match="too much for one member"):
        pack(bytes(MAX_MEMBER_BYTES + 1), 1)
    assert read(pack(b"x" * MAX_MEMBER_BYTES, 1), max_line_bytes=MAX_MEMBER_BYTES)[1] == []


@pytest.mark.parametrize("level", [0, 1, 3, 9])
def test_every_level_is_readable(level):
    """A level that this machine's library does not know is its highest."""
    assert lines_of(pack(text(LINES), len(LINES), level)) == LINES


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(text(LINES), id="plain"),
        pytest.param(text(LINES)[:-1], id="plain, no newline at the end"),
        pytest.param(text(LINES).replace(b"\n", b"\n\n"), id="plain, empty lines"),
        pytest.param(b"".join(LINES), id="plain, joined"),
        pytest.param(text(LINES[:5]) + b"".join(LINES[5:]), id="plain, some joined"),
        pytest.param(A + B + C, id="packed"),
        pytest.param(A + b"\n" + B + b"\r\n" + C + b"\n", id="packed, newlines between members"),
        pytest.param(A + B + C + bytes(1024), id="packed, padded with zeros"),
        pytest.param(gzip.compress(text(LINES)), id="gzip of another maker"),
        pytest.param(
            gzip.compress(text(LINES)[:77]) + gzip.compress(text(LINES)[77:]),
            id="gzip, a line over two members",
        ),
        pytest.param(
            b"".join(gzip.compress(line) for line in LINES), id="gzip, members joined within"
        ),
        pytest.param(gzip.compress(text(LINES[:20])) + C, id="gzip of two makers"),
        pytest.param(pack(b"".join(LINES), len(LINES)), id="packed, joined"),
    ],
)
def test_every_form_of_an_object_is_read(data):
    """The bytes tell what they are; no name and no option does."""
    assert lines_of(data) == LINES


def test_gzip_with_a_name_and_a_comment_is_read():
    """All optional header fields are stepped over."""
    body = zlib.compressobj(6, zlib.DEFLATED, -15)
    header = b"\x1f\x8b\x08\x18" + bytes(6) + b"name\x00comment\x00"
    deflated = body.compress(text(LINES)) + body.flush()
    trailer = struct.pack("<II", zlib.crc32(text(LINES)), len(text(LINES)))
    assert lines_of(header + deflated + trailer) == LINES


@given(st.lists(st.binary(min_size=1, max_size=40).filter(lambda line: b"\n" not in line)))
def test_plain_offsets_are_exact(lines):
    """Each line stands where its offset says."""
    data = text(lines)
    if data.startswith(b"\x1f\x8b\x08"):
        return
    for offset, line in read(data)[0]:
        assert data[offset : offset + len(line)] == line


def test_a_packed_line_has_the_offset_of_its_member():
    """Good enough to find it, and what a damage is named by."""
    assert {offset for offset, _ in read(A + B)[0]} == {0, len(A)}


@pytest.mark.parametrize(
    ("body", "note"),
    [
        pytest.param('}{"v":1', "a joint in a string, its quote escaped", id="escaped"),
        pytest.param("}{", "a string that ends like a joint", id="at the end"),
        pytest.param("a\n}{\n", "newlines in a string are escaped", id="newlines"),
    ],
)
def test_a_record_is_never_parted_within(body, note):
    """What looks like two joined records inside a string stays one."""
    line = json.dumps({"a": body, body: body, "note": note}, separators=(",", ":")).encode()
    assert lines_of(line + line + b"\n" + line) == [line, line, line]


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes, step: int) -> None:
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._step))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(A + B, id="members"),
        pytest.param(gzip.compress(text(LINES[:20])), id="foreign gzip"),
        pytest.param(b"".join(LINES[:20]), id="joined lines"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 7])
def test_however_the_bytes_come(data, step):
    """Lines, joints and headers may be cut anywhere."""
    batches = read_batches(Trickle(data, step))
    assert [line for batch in batches for _, line in batch] == LINES[:20]


@pytest.mark.parametrize("place", ["header", "length", "deflated", "checksum", "size"])
def test_a_damaged_member_costs_its_own_lines_only(place):
    """The next member is found, and the loss is counted where the count is whole."""
    position = {"header": 1, "length": 17, "deflated": 60, "checksum": -6, "size": -2}[place]
    broken = bytearray(B)
    broken[position] ^= 0x40
    lines, damages = read(A + bytes(broken) + C)
    assert [line for _, line in lines] == LINES[:10] + LINES[20:]
    assert damages[0].offset == len(A)
    if place != "header":
        assert [damage.lines for damage in damages] == [10]


@pytest.mark.parametrize("size", [1, 5, 20, 23, 24, 40, len(C) - 1])
def test_a_truncated_object_loses_its_last_member(size):
    """What stands before the cut is read, the rest is a damage."""
    lines, damages = read(A + B + C[:size])
    assert [line for _, line in lines] == LINES[:20]
    assert [damage.offset for damage in damages] == [len(A + B)]
    assert damages[0].lines == (10 if size >= 24 else None)


def test_bytes_between_members_are_a_damage():
    """And nothing of the next member is lost."""
    lines, damages = read(A + b"<html>" + B)
    assert [line for _, line in lines] == LINES[:20]
    assert damages == [Damage(len(A), "bytes that belong to no member", None)]


def test_a_truncated_foreign_member_gives_what_came_before():
    """A line that is not whole is not given out."""
    lines, damages = read(gzip.compress(text(LINES))[:-30])
    found = [line for _, line in lines]
    assert found == LINES[: len(found)]
    assert damages == [Damage(0, "a truncated member", None)]


def test_after_a_damaged_foreign_member_reading_goes_on():
    """The next member is found by its first bytes."""
    broken = bytearray(gzip.compress(text(LINES[:10])))
    broken[20] ^= 0xFF
    lines, damages = read(bytes(broken) + B)
    assert [line for _, line in lines][-10:] == LINES[10:20]
    assert damages[0] == Damage(0, "a damaged member", None)


def test_a_line_that_is_too_long_is_left_out():
    """One damage for one line, however long; its neighbours are read."""
    long = b"x" * 5_000
    expected = ([(0, b"a"), (5003, b"b")], [Damage(2, "a line longer than 1000 bytes", 1)])
    assert read(b"a\n" + long + b"\nb\n", max_line_bytes=1000) == expected
    lines, damages = read(pack(b"a\n" + long + b"\nb\n", 3), max_line_bytes=1000)
    assert [line for _, line in lines] == [b"a", b"b"]
    assert damages == [Damage(0, "a line longer than 1000 bytes", 1)]


@pytest.mark.parametrize("maker", ["foreign", "ours"])
def test_a_bomb_stays_small(maker):
    """Gigabytes from a few bytes: neither the line nor the member is ever held."""
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31 if maker == "foreign" else -15)
    megabyte = bytes(1 << 20)
    bomb = b"".join(zeros.compress(megabyte) for _ in range(64)) + zeros.flush()
    if maker == "ours":
        header = b"\x1f\x8b\x08\x04" + bytes(6) + b"\x0c\x00MP\x08\x00"
        size = len(bomb) + 32
        bomb = header + struct.pack("<II", size, 1) + bomb + struct.pack("<II", 0, 1 << 20)
    tracemalloc.start()
    try:
        lines, damages = read(bomb + A)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20
    assert [line for _, line in lines] == LINES[:10]
    assert len(damages) == 1


def _batches(data: bytes) -> list[list[tuple[int, bytes]]]:
    return [item for item in read_batches(io.BytesIO(data)) if not isinstance(item, Damage)]


def test_a_member_of_short_lines_comes_in_slices():
    """Millions of lines are never objects at the same time."""
    batches = _batches(pack(b"a\n" * 1_000_000, 1_000_000))
    assert sum(len(batch) for batch in batches) == 1_000_000
    assert max(len(batch) for batch in batches) <= 131_072


def test_too_much_damage_ends_the_object():
    """Hostile bytes cost bounded work: the rest is given up, and that is said."""
    _, damages = read(A[:24] * 5_000)
    assert len(damages) <= MAX_DAMAGES + 3
    assert damages[-1].reason == "too much damage: the rest is not read"


def test_a_count_that_cannot_be_is_not_believed():
    """A forged number of lines does not reach the ledger."""
    forged = A[:20] + struct.pack("<I", 0xFFFFFFFF) + A[24:-1] + b"\x7f"
    assert read(forged)[1] == [Damage(0, "a damaged member", None)]


@given(st.data())
def test_any_damage_is_stepped_over(data):
    """Whatever bytes change, members untouched before it are read and nothing is raised."""
    whole = A + B + C
    start = data.draw(st.integers(len(A), len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    broken = whole[:start] + data.draw(st.binary(max_size=60)) + whole[end:]
    lines, _ = read(broken)
    found = [line for _, line in lines]
    assert found[:10] == LINES[:10]
    assert [line for line in found if line not in LINES] == []
    if start < end <= len(A + B) and broken != whole:
        assert found[-10:] == LINES[20:]


@given(st.binary(max_size=300))
def test_garbage_is_never_fatal(data):
    """Any bytes after a gzip magic end in damages, not in an error."""
    read(b"\x1f\x8b\x08" + data)
    read(A[:16] + data)


def test_without_isal_the_bytes_are_still_gzip(monkeypatch):
    """zlib packs and reads the same form."""
    monkeypatch.setattr(members, "_zlib", zlib)
    monkeypatch.setattr(members, "_MAX_LEVEL", 9)
    plain = packed(LINES)
    assert lines_of(plain + A) == LINES + LINES[:10]
    broken = bytearray(plain)
    broken[60] ^= 0x40
    assert read(bytes(broken) + A)[1] == [Damage(0, "a damaged member", 30)]
    monkeypatch.undo()
    assert lines_of(plain) == LINES
