"""The settings of the functions: their environment variables, and what they mean.

Pure. Owns the names that `MIRRORPROXY_` begins, and their checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from mirrorproxy.errors import ConfigError
from mirrorproxy.units import parse_duration

PREFIX = "MIRRORPROXY_"
DEFAULT_RULES = "rules.yaml"
DEFAULT_SEED = "replay"
DEFAULT_NAMESPACE = "mirrorproxy"
DEFAULT_CHUNK_SHOTS = 1000
DEFAULT_SENDERS = 10
MAX_CHUNK_SHOTS = 10_000
MAX_SENDERS = 1000

_RUN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PLACE = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._:-]{1,254})/((?:[^/?#]+/)*)")
_FUNCTION = re.compile(r"[A-Za-z0-9_:-]{1,170}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_./#:-]{1,255}")

Spread = Literal["even", "captured"]


class Place(NamedTuple):
    """Where chunks and claims lie. prefix: empty, or ends with a slash."""

    bucket: str
    prefix: str


class Settings(NamedTuple):
    """What the variables say.

    rules: where the rule file is. send_function: name or ARN. function: this function's own
    name. spread_over_s: over how long an object's shots are spread, None: what remains of
    `split`'s time. max_chunk_shots, max_senders: see `cutting`. run: None: by function and hour.
    """

    rules: str
    send_function: str
    chunks: Place
    spread: Spread
    spread_over_s: float | None
    max_chunk_shots: int
    max_senders: int
    seed: str
    run: str | None
    namespace: str
    function: str


def settings_of(environ: Mapping[str, str]) -> Settings:
    """Return what the variables mean. Raises ConfigError, which names the variable."""
    own = environ.get("AWS_LAMBDA_FUNCTION_NAME", "mirrorproxy")
    run = _text(environ, "RUN", "")
    if run and not _RUN.fullmatch(run):
        raise _error("RUN", "expected up to 64 letters, digits, '.', '_' or '-'")
    send = _text(environ, "SEND_FUNCTION", "")
    if not _FUNCTION.fullmatch(send):
        raise _error("SEND_FUNCTION", "expected the name or ARN of the function that sends")
    namespace = _text(environ, "NAMESPACE", DEFAULT_NAMESPACE)
    if not _NAMESPACE.fullmatch(namespace):
        raise _error("NAMESPACE", "expected a namespace of CloudWatch metrics")
    return Settings(
        rules=_text(environ, "RULES", DEFAULT_RULES),
        send_function=send,
        chunks=_place(environ),
        spread=_spread(environ),
        spread_over_s=_duration(environ, "SPREAD_OVER"),
        max_chunk_shots=_number(environ, "MAX_CHUNK_SHOTS", DEFAULT_CHUNK_SHOTS, MAX_CHUNK_SHOTS),
        max_senders=_number(environ, "MAX_SENDERS", DEFAULT_SENDERS, MAX_SENDERS),
        seed=_text(environ, "SEED", DEFAULT_SEED),
        run=run or None,
        namespace=namespace,
        function=own,
    )


def _error(name: str, message: str) -> ConfigError:
    return ConfigError(message, file=PREFIX + name)


def _text(environ: Mapping[str, str], name: str, default: str) -> str:
    # A template that passes on an empty parameter means that nothing was said.
    return environ.get(PREFIX + name, "") or default


def _place(environ: Mapping[str, str]) -> Place:
    match = _PLACE.fullmatch(_text(environ, "CHUNKS", ""))
    if match is None:
        raise _error("CHUNKS", "expected s3://BUCKET/PREFIX/ with a slash at its end")
    return Place(match[1], match[2])


def _spread(environ: Mapping[str, str]) -> Spread:
    text = _text(environ, "SPREAD", "even")
    if text == "even":
        return "even"
    if text == "captured":
        return "captured"
    raise _error("SPREAD", "expected even or captured")


def _duration(environ: Mapping[str, str], name: str) -> float | None:
    text = _text(environ, name, "")
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise _error(name, str(error)) from error
    if not seconds:
        raise _error(name, "expected a duration above 0")
    return seconds


def _number(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = _text(environ, name, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= most:
        raise _error(name, f"expected a whole number from 1 to {most}")
    return number
