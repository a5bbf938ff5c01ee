"""The words of live control, and what a mistake in one says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.control.words import CAPTURE_WORDS, REPLAY_WORDS, read_json, read_text


@pytest.mark.parametrize(
    ("body", "words", "values"),
    [
        pytest.param(b'{"percent": 25}', CAPTURE_WORDS, {"percent": 25.0}, id="a share"),
        pytest.param(
            b'{"service": "orders", "percent": 0.5}',
            CAPTURE_WORDS,
            {"percent": 0.5, "service": "orders"},
            id="of one service",
        ),
        pytest.param(b'{"rate_percent": 50}', REPLAY_WORDS, {"rate_percent": 50.0}, id="a rate"),
        pytest.param(b'{"state": "pause"}', REPLAY_WORDS, {"state": "pause"}, id="a state"),
        pytest.param(b'{"rate_percent": 0}', REPLAY_WORDS, {"rate_percent": 0.0}, id="nothing"),
        pytest.param(b'{"rate_percent": 100}', REPLAY_WORDS, {"rate_percent": 100.0}, id="all"),
    ],
)
def test_words(body, words, values):
    """What they say."""
    assert read_json(body, words) == values


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"rate_percent": 101}', "rate_percent: expected a number from 0 to 100, not 101"),
        (b'{"rate_percent": -1}', "rate_percent: expected a number from 0 to 100, not -1"),
        (b'{"rate_percent": "50"}', "rate_percent: expected a number from 0 to 100, not '50'"),
        (b'{"rate_percent": true}', "rate_percent: expected a number from 0 to 100, not true"),
        (b'{"rate_percent": null}', "rate_percent: expected a number from 0 to 100, not null"),
        (b'{"rate_percent": NaN}', "expected a JSON object"),
        (b'{"state": "halt"}', "state: expected run, pause or stop, not 'halt'"),
        (b'{"state": ["run"]}', 'state: expected run, pause or stop, not ["run"]'),
        (b'{"percent": 5}', "'percent': no such key; known: rate_percent, state"),
        (b'{"rate_percent": 5, "x": 1}', "'x': no such key; known: rate_percent, state"),
        (b"{}", "nothing to change; known: rate_percent, state"),
        (b"[50]", "expected a JSON object"),
        (b"50", "expected a JSON object"),
        (b"", "expected a JSON object"),
        (b'{"rate_percent": 5', "expected a JSON object"),
        (b'{"state": "\xff"}', "expected a JSON object"),
        (b'{"state":' + b"[" * 4000, "expected a JSON object"),
    ],
)
def test_a_mistake_names_its_key_and_what_is_expected(body, message):
    """And nothing is read."""
    with pytest.raises(ValueError) as caught:
        read_json(body, REPLAY_WORDS)
    assert str(caught.value) == message


def test_a_long_value_is_shown_in_part():
    """A line of an error stays a line."""
    with pytest.raises(ValueError) as caught:
        read_json(json.dumps({"state": "\n" * 1000}).encode(), REPLAY_WORDS)
    assert len(str(caught.value)) < 100
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=100))
def test_any_body_is_read_or_refused_in_a_line(body):
    """Whatever a client sends."""
    said = "read"
    try:
        read_json(body, REPLAY_WORDS)
    except ValueError as error:
        said = str(error)
    assert said.isprintable()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate_percent", "50", 50.0),
        ("rate_percent", " 12.5\n", 12.5),
        ("state", "pause\n", "pause"),
    ],
)
def test_words_as_text(name, text, value):
    """As an editor or a shell leaves them in a store."""
    assert read_text(name, text, REPLAY_WORDS) == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rate_percent", "", "rate_percent: expected a number from 0 to 100, not ''"),
        ("rate_percent", "nan", "rate_percent: expected a number from 0 to 100, not nan"),
        ("rate_percent", "50%", "rate_percent: expected a number from 0 to 100, not '50%'"),
        ("state", "Pause", "state: expected run, pause or stop, not 'Pause'"),
    ],
)
def test_a_mistake_in_text(name, text, message):
    """Shown as it stands there."""
    with pytest.raises(ValueError) as caught:
        read_text(name, text, REPLAY_WORDS)
    assert str(caught.value) == message
