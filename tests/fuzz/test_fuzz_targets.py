"""Every input of the corpus, and some mutations of each, through its target. See `run` for more."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest
from fuzzing import NAMES
from targets import TARGETS

from mirrorproxy.capture.seal import Sealer, SealKey, SealPolicy

CORPUS = Path(__file__).resolve().parent / "corpus"
MUTATIONS = 15


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return it with a few bytes changed, doubled or gone."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(changed) + 1)
        kind = dice.randrange(3)
        if kind == 0:
            changed[at : at + 1] = dice.randbytes(1)
        elif kind == 1:
            del changed[at : at + dice.randint(1, 9)]
        else:
            changed[at:at] = changed[max(0, at - dice.randint(1, 40)) : at]
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_and_what_is_like_it(name: str) -> None:
    """No promise is broken; the same mutations every time."""
    inputs = sorted(Path(CORPUS, name).iterdir())
    assert inputs
    dice = random.Random(name)
    for path in inputs:
        data = path.read_bytes()
        TARGETS[name](data)
        for _ in range(MUTATIONS):
            TARGETS[name](mutated(data, dice))


def sealed_in_pieces(data: bytes, size: int, coding: str) -> tuple[bytes, str | None]:
    """Return what a stream gave out, and why it gave up."""
    stream = Sealer(SealPolicy(), SealKey(bytes(32))).stream("application/json", coding)
    out = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return b"".join(out) + stream.finish(), stream.omitted


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_deflate_without_a_frame_is_looked_into_however_it_comes(size: int) -> None:
    """A first piece that tells nothing yet must not be taken for another format."""
    packer = zlib.compressobj(wbits=-15)
    clean = packer.compress(b'{"a":"%b"}' % bytes(range(48, 90))) + packer.flush()
    assert sealed_in_pieces(clean, size, "deflate") == (clean, None)
    packer = zlib.compressobj(wbits=-15)
    secret = packer.compress(b'{"password":"s3cret"}') + packer.flush()
    assert sealed_in_pieces(secret, size, "deflate")[1] == "unsealable"


def test_nothing_of_a_compressed_secret_is_passed_on() -> None:
    """Not even the bytes of it that came before its end: they would stand on a disk."""
    packer = zlib.compressobj(level=0)  # stored: the secret stands in the body as it is
    secret = b"an-uncommonly-long-secret-" * 20
    body = packer.compress(b'{"a":1,"password":"' + secret + b'"}') + packer.flush()
    passed, omitted = sealed_in_pieces(body, 1, "deflate")
    assert omitted == "unsealable"
    assert b"an-un" not in passed


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_members_with_padding_between_them(size: int) -> None:
    """Zeros behind a member belong to nothing, in whatever piece they come."""
    packer = zlib.compressobj(wbits=31)
    member = packer.compress(b'{"a":1}') + packer.flush()
    body = member + bytes(9) + member + bytes(3)
    assert sealed_in_pieces(body, size, "gzip") == (body, None)


def test_an_encoded_body_that_says_nothing_is_given_up() -> None:
    """Empty blocks behind the beginning of a name: what is held is bounded."""
    packer = zlib.compressobj(wbits=-15)
    begun = packer.compress(b'{"pass') + packer.flush(zlib.Z_SYNC_FLUSH)
    empty = b"\x00\x00\x00\xff\xff" * 100_000
    assert sealed_in_pieces(begun + empty * 12, 100_000, "deflate")[1] == "unsealable"


def test_all_targets_are_fuzzed() -> None:
    """By `make fuzz`, which cannot look them up: they are instrumented as they are imported."""
    assert sorted(NAMES) == sorted(TARGETS)
