"""The sealing key: making it, loading it, and the fingerprints that it makes.

Owns the only place where a secret is hashed. The key never reaches a log, an
error or a record; of it only `id` is shown, so that captures sealed with
different keys can be told apart.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from mirrorproxy.errors import ConfigError
from mirrorproxy.marks import DIGEST_DIGITS, KEY_ID_DIGITS, VERSION

KEY_BYTES = 32
MIN_TEXT = 16
"""Characters that a key from the environment or a file has at least."""

_MAX_FILE_BYTES = 4096


class SealKey:
    """A secret key for fingerprints, shared by all mirrors of an installation.

    id: the first hex digits of a hash of the key; says which key made a mark
    and nothing about the key.
    """

    __slots__ = ("_prefix", "_raw", "_state", "id")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes")
        self._raw = raw
        self.id = hashlib.blake2b(raw, person=b"mirrorproxy id").hexdigest()[:KEY_ID_DIGITS]
        self._prefix = f"{VERSION}:{self.id}:"
        # A copy of a keyed state costs a third less than keying anew.
        self._state = hashlib.blake2b(digest_size=DIGEST_DIGITS // 2, key=raw)

    def __repr__(self) -> str:
        return f"SealKey(id={self.id!r})"

    def __reduce__(self) -> str:
        raise TypeError("a sealing key is not pickled")

    def hex(self) -> str:
        """Return the key itself, for handing it to a worker over a private channel."""
        return self._raw.hex()

    def fingerprint(self, value: bytes) -> str:
        """Return ``h1:<key id>:<digest>`` of a bare secret."""
        state = self._state.copy()
        state.update(value)
        return self._prefix + state.hexdigest()


def from_hex(text: str) -> SealKey:
    """Return the key that `SealKey.hex` gave. Raises ValueError if it is anything else."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise ValueError("a sealing key is handed on as hex digits") from None
    return SealKey(raw)


def from_text(text: str) -> SealKey:
    """Return the key for a text of at least `MIN_TEXT` characters, ends trimmed.

    The same text gives the same key, whether it comes from a file or from the
    environment. Raises ValueError if it is too short; the text is not told.
    """
    trimmed = text.strip()
    if len(trimmed) < MIN_TEXT:
        raise ValueError(f"a sealing key needs at least {MIN_TEXT} characters")
    return SealKey(
        hashlib.blake2b(trimmed.encode(), digest_size=KEY_BYTES, person=b"mirrorproxy key").digest()
    )


def from_env(name: str, environ: Mapping[str, str]) -> SealKey:
    """Return the key in an environment variable. Raises ConfigError."""
    text = environ.get(name)
    if text is None:
        raise ConfigError(f"the environment has no {name}, which should hold the sealing key")
    try:
        return from_text(text)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def load_or_create(path: Path) -> SealKey:
    """Return the key in a file that only its owner may read, made on first use.

    Safe against several processes that start at once: they all get the same
    key. Raises ConfigError if the file cannot be read or made, if others may
    read it, or if it holds no key.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(
            f"cannot read the sealing key: {error.strerror}", file=str(path)
        ) from None
    try:
        _create(path)
        return _load(path)
    except OSError as error:
        raise ConfigError(
            f"cannot make a sealing key: {error.strerror}; name a file with --seal-key",
            file=str(path),
        ) from None


def _load(path: Path) -> SealKey:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError("the sealing key is not a file", file=str(path))
        if status.st_mode & 0o077:
            raise ConfigError(
                "others may read the sealing key: `chmod 600` it, or make another", file=str(path)
            )
        content = file.read(_MAX_FILE_BYTES)
    try:
        return from_text(content.decode())
    except UnicodeDecodeError:
        raise ConfigError("a sealing key is text", file=str(path)) from None
    except ValueError as error:
        raise ConfigError(str(error), file=str(path)) from None


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written apart and linked: under its name a key is either whole or absent.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
