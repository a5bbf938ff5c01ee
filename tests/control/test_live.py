"""From words to the one who acts on them, and from the keys of a store to words."""

from __future__ import annotations

import pytest
from support.live_fakes import NOW_US, FakeKnob, FakePercents, capture_controls, replay_controls

from mirrorproxy.control.kv_words import KvWords, capture_prefix, follower, replay_prefix
from mirrorproxy.control.live import Change, Ended
from mirrorproxy.control.words import REPLAY_WORDS

PREFIX = "mirrorproxy/staging/replay/r1/"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def knob() -> FakeKnob:
    return FakeKnob()


@pytest.mark.parametrize(
    ("values", "calls"),
    [
        pytest.param({"rate_percent": 50.0}, ["rate 50"], id="halve"),
        pytest.param({"state": "pause"}, ["pause"], id="pause"),
        pytest.param({"state": "run"}, ["resume"], id="resume"),
        pytest.param({"state": "stop"}, ["stop"], id="stop"),
        pytest.param(
            {"state": "run", "rate_percent": 5.0}, ["rate 5", "resume"], id="the rate comes first"
        ),
    ],
)
def test_words_turn_the_knob(knob, said, values, calls):
    """Each in its way."""
    replay_controls(knob, said).change(values, "a test")
    assert knob.calls == calls


def test_a_change_is_said_and_remembered(knob, said):
    """Who, what and when."""
    controls = replay_controls(knob, said)
    controls.change({"rate_percent": 50.0, "state": "pause"}, "admin API from 127.0.0.1")
    assert said == ["control: rate_percent 50, state pause (by admin API from 127.0.0.1)"]
    assert controls.current() == {
        "rate_percent": 50.0,
        "state": "pause",
        "changes": [
            Change(NOW_US, "admin API from 127.0.0.1", {"rate_percent": 50.0, "state": "pause"})
        ],
    }


def test_the_last_twenty_changes_are_remembered(knob, said):
    """A knob that a script turns takes no memory."""
    controls = replay_controls(knob, said)
    for percent in range(50):
        controls.change({"rate_percent": float(percent)}, "a script")
    changes = controls.current()["changes"]
    assert [change.set["rate_percent"] for change in changes] == list(range(30, 50))


def test_a_replay_that_ends_takes_no_change(knob, said):
    """It could not be kept."""
    controls = replay_controls(knob, said)
    controls.change({"state": "stop"}, "a test")
    with pytest.raises(Ended):
        controls.change({"rate_percent": 50.0}, "a test")
    assert knob.calls == ["stop"]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("values", "shares"),
    [
        pytest.param({"percent": 25.0}, {"orders": 25.0, "shop": 25.0}, id="all"),
        pytest.param(
            {"percent": 25.0, "service": "shop"}, {"orders": 100.0, "shop": 25.0}, id="one"
        ),
    ],
)
def test_shares_of_a_capture(said, values, shares):
    """Of all services, or of one."""
    controls = capture_controls(FakePercents(), said)
    controls.change(values, "a test")
    assert controls.current()["percent"] == shares


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param(
            {"percent": 25.0, "service": "cart"},
            "service: 'cart' is not here; known: orders, shop",
            id="unknown service",
        ),
        pytest.param(
            {"service": "shop"}, "percent: say which share to record, 0 to 100", id="no share"
        ),
    ],
)
def test_a_share_that_cannot_be_set(said, values, message):
    """Nothing is changed, and nothing is said to be."""
    percents = FakePercents()
    with pytest.raises(ValueError) as caught:
        capture_controls(percents, said).change(values, "a test")
    assert str(caught.value) == message
    assert percents.shares == {"orders": 100.0, "shop": 10.0}
    assert said == []


# -- the store -------------------------------------------------------------------


def test_prefixes():
    """As the documentation names them."""
    assert capture_prefix("mirror-1") == "mirrorproxy/mirror-1/capture/"
    assert replay_prefix("staging", "r1") == PREFIX


def test_only_what_is_new_is_a_change():
    """Another key of the same prefix does not repeat what this one says."""
    kept = KvWords(REPLAY_WORDS)
    assert kept.take({"rate_percent": "50"}) == ({"rate_percent": 50.0}, [])
    both = {"rate_percent": "50", "state": "pause"}
    assert kept.take(both) == ({"state": "pause"}, [])
    assert kept.take(both) == ({}, [])


def test_a_key_that_is_gone_changes_nothing():
    """A store that lost its data must not turn a replay up; the same value again counts again."""
    kept = KvWords(REPLAY_WORDS)
    kept.take({"rate_percent": "10"})
    assert kept.take({}) == ({}, [])
    assert kept.take({"rate_percent": "10"}) == ({"rate_percent": 10.0}, [])


def test_folders_are_left_aside():
    """Consul's own page makes keys of them."""
    entries = {
        "": "",
        "old/": "",
    }
    assert KvWords(REPLAY_WORDS).take(entries) == ({}, [])


def test_a_mistake_is_reported_once_and_names_its_key():
    """Until it is mended, or another is made."""
    kept = KvWords(REPLAY_WORDS)
    wrong = {"rate_percent": "half", "speed": "2"}
    assert kept.take(wrong) == (
        {},
        [
            "rate_percent: expected a number from 0 to 100, not 'half'",
            "'speed': no such key; known: rate_percent, state",
        ],
    )
    assert kept.take(wrong) == ({}, [])
    assert kept.take(wrong | {"speed": "3"}) == ({}, [])
    assert kept.take({"rate_percent": "50"}) == ({"rate_percent": 50.0}, [])


def test_a_store_turns_the_knob(knob, said):
    """Good values are taken though others are not, which are told and change nothing."""
    warned: list[str] = []
    on_change = follower(PREFIX, REPLAY_WORDS, replay_controls(knob, said), warned.append)
    on_change({"rate_percent": "half", "state": "pause"})
    assert knob.calls == ["pause"]
    assert said == [f"control: state pause (by Consul, {PREFIX})"]
    assert warned == [
        f"Consul: {PREFIX}: rate_percent: expected a number from 0 to 100, not 'half'; "
        "nothing is changed"
    ]


def test_a_store_that_speaks_to_an_ending_replay_is_told(knob, said):
    """It ends nothing."""
    warned: list[str] = []
    on_change = follower(PREFIX, REPLAY_WORDS, replay_controls(knob, said), warned.append)
    on_change({"state": "stop"})
    on_change({"state": "run"})
    assert knob.calls == ["stop"]
    assert warned == [f"Consul: {PREFIX}: the replay is ending; nothing is changed"]
