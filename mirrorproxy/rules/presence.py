"""Presence: tests on all the values of one name, such as a header's.

Pure. For what may be there several times, once or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

from mirrorproxy.rules.patterns import KeyPath, Kind, compile_patterns
from mirrorproxy.rules.schema import Patterns, Presence

ValuesTest = Callable[[list[str]], bool]


def compile_presence(wanted: Presence, at: KeyPath) -> ValuesTest:
    """Return a test on the values of one name: there, not there, or one of them fits."""
    if wanted is True:
        return bool
    if wanted is False:
        return lambda values: not values
    # Without quotes 3 is a number; what is matched is text.
    if isinstance(wanted, int):
        patterns: Patterns = str(wanted)
    elif isinstance(wanted, list):
        patterns = [str(one) if isinstance(one, int) else one for one in wanted]
    else:
        patterns = wanted
    test = compile_patterns(patterns, Kind.TEXT, at)
    return lambda values: bool(values) and any(test(value) for value in values)
