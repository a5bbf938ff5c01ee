"""Remembering: once worked out, looked up from then on, in bounded memory."""

from __future__ import annotations

import pytest

from mirrorproxy.remembered import Remembered


def test_a_value_is_worked_out_once():
    """Also where it is asked for by map, and where it is nothing."""
    asked = []
    remembered = Remembered(asked.append)
    assert list(map(remembered.__getitem__, ["a", "b", "a"])) == [None, None, None]
    assert asked == ["a", "b"]


def test_what_fails_is_not_remembered():
    """It fails again, or works the next time."""
    answers = iter([ValueError("not yet"), 7])

    def work_out(_key):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    remembered = Remembered(work_out)
    with pytest.raises(ValueError, match="not yet"):
        remembered["a"]
    assert remembered["a"] == 7


def test_no_more_is_held_than_the_limit():
    """Whatever comes: then everything is worked out anew."""
    remembered = Remembered(lambda key: key * 2, limit=3)
    for key in range(100):
        assert remembered[key] == key * 2
        assert len(remembered) <= 3
