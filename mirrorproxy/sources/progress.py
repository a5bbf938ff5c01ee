"""Progress: which objects of a followed capture are done with, kept in a file.

Owns the file's form and how it is replaced: at once or not at all. An object
is done with when every shot of it has ended, so whoever goes on from the file
repeats what was under way and leaves out nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mirrorproxy.errors import ConfigError


class Progress(msgspec.Struct):
    """How far a capture was followed.

    source: what was followed. from_us: what was captured before is not asked for.
    floor_us: objects with an earlier time in their keys are not looked at any more.
    done: the names of later ones that are done with. Times in microseconds since 1970.
    """

    source: list[str]
    from_us: int
    floor_us: int
    done: list[str] = []
    v: int = 1


_decoder = msgspec.json.Decoder(Progress)


def load(path: Path, source: list[str]) -> Progress | None:
    """Return what a file says, None if there is none.

    Raises ConfigError if it is not one of ours, or of another source.
    """
    try:
        progress = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", file="--checkpoint") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not a checkpoint", file="--checkpoint") from error
    if progress.v != 1:
        raise ConfigError(f"{path}: of a newer version", file="--checkpoint")
    if progress.source != source:
        followed = " ".join(progress.source)
        raise ConfigError(f"{path}: of another source, {followed}", file="--checkpoint")
    return progress


def save(path: Path, progress: Progress) -> None:
    """Replace the file. Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(progress))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
