"""Exposition: metrics in Prometheus's text format, version 0.0.4.

Pure: families of numbers in, text out. Names follow Prometheus's conventions:
base units, `_total` for counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

Labels = Mapping[str, str]


class Family(NamedTuple):
    """One metric with all its series. name: without `mirrorproxy_`; kind: "counter" or "gauge"."""

    name: str
    kind: str
    text: str
    samples: tuple[tuple[Labels, float], ...]


def counter(name: str, text: str, value: float) -> Family:
    """Return a counter with one series."""
    return Family(name, "counter", text, (({}, value),))


def gauge(name: str, text: str, value: float) -> Family:
    """Return a gauge with one series."""
    return Family(name, "gauge", text, (({}, value),))


def text_of(families: Iterable[Family]) -> str:
    """Return what `/metrics` answers."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = f"mirrorproxy_{family.name}"
    yield f"# HELP {name} {family.text}\n"
    yield f"# TYPE {name} {family.kind}\n"
    for labels, value in family.samples:
        shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        yield f"{name}{{{shown}}} {_number(value)}\n" if shown else f"{name} {_number(value)}\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    # Whole numbers in full: a counter past 2**53 must not lose its last digits.
    return str(int(value)) if value == int(value) else repr(value)
