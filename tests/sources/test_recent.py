"""Remembering ids in a fixed memory."""

from __future__ import annotations

import pytest

from mirrorproxy.sources.recent import RecentIds


def test_an_id_is_new_once():
    """The second time it is known."""
    recent = RecentIds(8)
    assert recent.add("a")
    assert not recent.add("a")


def test_the_last_ids_are_known_however_many_came():
    """At least the promised number is remembered, whenever the tables change over."""
    recent = RecentIds(64)
    for number in range(1000):
        assert recent.add(f"{number}")
        for known in range(max(0, number - 63), number):
            assert not recent.add(f"{known}")


def test_old_ids_are_forgotten():
    """The memory is fixed, so what is far behind must go."""
    recent = RecentIds(64)
    for number in range(1000):
        recent.add(f"{number}")
    assert recent.add("0")


def test_a_memory_of_nothing_is_refused():
    """It could tell no duplicate."""
    with pytest.raises(ValueError, match="at least one"):
        RecentIds(0)
