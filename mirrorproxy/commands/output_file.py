"""A file that a command writes: it appears whole under its name, or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import sys
from collections.abc import Iterator
from typing import IO

from mirrorproxy.errors import ConfigError, MirrorproxyError

STDOUT = "-"


@contextlib.contextmanager
def output(path: str, *, overwrites: bool) -> Iterator[IO[bytes]]:
    """Give what takes bytes for a file, or for standard output where path is "-".

    A name that ends in .gz is packed. The file is written beside its place, and put
    there when the block ends without an error; others cannot read it. A pipe or a
    device is written to as it is.
    Raises ConfigError if there is such a file, unless overwrites, or if it cannot be
    made; MirrorproxyError if it cannot be written.
    """
    if path == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = None
    if mode is not None and stat.S_ISDIR(mode):
        raise ConfigError(f"{path}: a directory: name a file", file="--out")
    is_file = mode is None or stat.S_ISREG(mode)
    if mode is not None and is_file and not overwrites:
        raise _exists(path)
    temporary = _beside(path) if is_file else path
    try:
        file = _opened(temporary, is_new=is_file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", file="--out") from error
    try:
        with file, _packed(file, path) as out:
            yield out
        if is_file:
            _put(temporary, path, overwrites=overwrites)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MirrorproxyError(f"{path}: {error.strerror or error}") from error
    finally:
        if is_file:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _beside(path: str) -> str:
    folder, name = os.path.split(os.path.realpath(path))
    # Readers of captures leave such names out.
    return os.path.join(folder, f".{name}.{os.getpid()}.tmp")


def _opened(path: str, *, is_new: bool) -> IO[bytes]:
    flags = os.O_WRONLY | os.O_CLOEXEC
    flags |= os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW if is_new else 0
    return open(os.open(path, flags, 0o600), "wb")


@contextlib.contextmanager
def _packed(file: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    if not path.endswith(".gz"):
        yield file
        return
    # Without a time and a name: the same capture gives the same bytes.
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        yield packed  # type: ignore[misc]


def _put(temporary: str, path: str, *, overwrites: bool) -> None:
    if overwrites:
        os.replace(temporary, os.path.realpath(path))
        return
    try:
        # Refused if somebody has made it meanwhile, which a rename is not.
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without links.
        os.rename(temporary, path)


def _exists(path: str) -> ConfigError:
    return ConfigError(f"{path} is there already: --force replaces it", file="--out")
