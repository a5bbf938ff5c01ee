"""Writes, replayed into an empty copy that makes other ids, tokens and ETags."""

from __future__ import annotations

import pytest
from stateful import WITHOUT, record, replay

USERS = 10
SECONDS = 3.0


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """What some users did, whose numbers look like ids on purpose."""
    folder = tmp_path_factory.mktemp("recorded")
    found = record(folder, users=USERS, for_s=SECONDS, collide=True)
    # What they did hangs on how fast this machine is; that they wrote does not.
    assert len({one.method for one in found.state.log}) > 2
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("speed", ["1", "max"])
def test_the_copy_answers_as_production_did(tmp_path, recorded, speed):
    """Nearly always with its status, always about the same thing; and holds the same afterwards."""
    done = replay(tmp_path, recorded, speed=speed)
    figures = done.figures
    assert figures["same_status_percent"] >= 99.5, done.wrong[:20]
    assert (figures["wrong_values"], figures["wrong_things"]) == (0, 0), done.wrong[:20]
    assert figures["things_unlike"] == 0, done.wrong[:20]
    assert (figures["never_came"], figures["repeated"]) == (0, 0), done.wrong[:20]


@pytest.mark.timeout(300)
def test_without_it_the_copy_is_lost(tmp_path, recorded):
    """The test above can fail."""
    done = replay(tmp_path, recorded, speed="max", options=WITHOUT)
    assert done.figures["same_status_percent"] < 50
