"""The words of live control, as they stand in `POST /control` and in Consul's key-value store.

Pure. Owns which words there are and what they may say. A mistake names the word
and shows what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

State = Literal["run", "pause", "stop"]

Value = float | str
Reader = Callable[[object], Value]

_STATES = ("run", "pause", "stop")
_MAX_SERVICE = 128
_SHOWN = 40


def percent_of(value: object) -> float:
    """Return a share, 0 to 100. Raises ValueError, which says what is expected."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"expected a number from 0 to 100, not {_shown(value)}")
    return abs(float(value))


def state_of(value: object) -> State:
    """Return what a replay is to do. Raises ValueError, which says what is expected."""
    for state in _STATES:
        if value == state:
            return state  # type: ignore[return-value]
    raise ValueError(f"expected run, pause or stop, not {_shown(value)}")


def service_of(value: object) -> str:
    """Return the name of a service. Raises ValueError, which says what is expected."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_SERVICE:
        raise ValueError(f"expected the name of a service, not {_shown(value)}")
    return value


CAPTURE_WORDS: Mapping[str, Reader] = {"percent": percent_of, "service": service_of}
REPLAY_WORDS: Mapping[str, Reader] = {"rate_percent": percent_of, "state": state_of}


def read_json(body: bytes, words: Mapping[str, Reader]) -> dict[str, Value]:
    """Return the words of a JSON object, in the order of the known ones.

    Raises ValueError if it is none, or says nothing, or anything that is not known.
    """
    try:
        found = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("expected a JSON object") from None
    for name in found:
        if name not in words:
            raise ValueError(f"{_shown(name)}: no such key; known: {', '.join(words)}")
    if not found:
        raise ValueError(f"nothing to change; known: {', '.join(words)}")
    return {name: _read(name, found[name], words[name]) for name in words if name in found}


def read_text(name: str, text: str, words: Mapping[str, Reader]) -> Value:
    """Return what a word says as text, such as a value in a key-value store.

    name: one of words. Raises ValueError.
    """
    text = text.strip()
    value: object = text
    if words[name] is percent_of:
        try:
            value = float(text)
        except ValueError:
            pass
    return _read(name, value, words[name])


def _read(name: str, value: object, reader: Reader) -> Value:
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _shown(value: object) -> str:
    if isinstance(value, str | float):
        text = ascii(value)
    else:
        text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
