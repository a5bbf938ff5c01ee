"""Cutting, spreading, chunks, settings: values in, values out."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.errors import ConfigError
from mirrorproxy.lambdas.chunk import (
    EVENT_LIMIT_BYTES,
    MAX_CHUNK_BYTES,
    MAX_EVENT_BYTES,
    SYNC_LIMIT_BYTES,
    ChunkError,
    ChunkEvent,
    Item,
    chunk_event,
    data_of,
    digest_of,
    encoded,
    packed,
    unpacked,
    with_data,
)
from mirrorproxy.lambdas.cutting import MAX_PART_BYTES, Picked, cuts, is_whole
from mirrorproxy.lambdas.invoking import Invoker
from mirrorproxy.lambdas.lines import metrics_line, say, spread_values
from mirrorproxy.lambdas.rules_at import WithoutSecrets, placeholder
from mirrorproxy.lambdas.settings import Place, settings_of
from mirrorproxy.lambdas.spread import caught_up, due_times
from mirrorproxy.lambdas.trigger import ObjectEvent, UnknownEvent, encoded_object, shape_of, works
from mirrorproxy.members import pack
from mirrorproxy.replay.histogram import Histogram

S = 1_000_000
LEAST = {"MIRRORPROXY_SEND_FUNCTION": "send", "MIRRORPROXY_CHUNKS": "s3://work/replay/"}


@pytest.mark.parametrize(
    ("spread", "started_us", "shots", "due"),
    [
        pytest.param("even", [0, 1, 2, 90], [1, 1, 1, 1], [10, 20, 30, 40], id="even"),
        pytest.param("even", [0, 1], [3, 1], [10, 40], id="three shots take the time of three"),
        pytest.param("captured", [0, 1, 3], [1, 1, 1], [10, 20, 40], id="as captured, scaled"),
        pytest.param("captured", [5, 5, 5, 5], [1, 1, 1, 1], [10, 20, 30, 40], id="all at once"),
        pytest.param("even", [], [], [], id="nothing"),
    ],
)
def test_shots_are_spread_over_the_time(spread, started_us, shots, due):
    """From its beginning to before its end."""
    found = due_times(spread, started_us, shots, 10 * S, 50 * S)
    assert found == [one * S for one in due]


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        pytest.param([10, 20, 30], 5, [10, 20, 30], id="in time"),
        pytest.param([10, 20, 30, 50], 14, [14, 23, 32, 50], id="late: faster, to the same end"),
        pytest.param([10, 20, 30, 50], 40, [40, 48, 56, 72], id="too late: a quarter faster"),
        pytest.param([10, 10], 40, [40, 40], id="all at once"),
        pytest.param([], 40, [], id="nothing"),
    ],
)
def test_a_chunk_that_begins_late_catches_up(due, now, expected):
    """Never in a burst."""
    assert caught_up([one * S for one in due], now * S) == [one * S for one in expected]


def picked(number, session="s", shots=1, size=10):
    return Picked(b"x" * size, f"{number:032x}", session, number, shots, None)


def test_a_session_is_in_one_shard():
    """What waits for what is kept there, in the order of its capture."""
    part = [picked(n, session=f"user {n % 7}") for n in range(70)]
    shards: dict[str, set[int]] = {}
    for cut in cuts(part, 20, 4):
        assert cut.members == sorted(cut.members)
        for at in cut.members:
            shards.setdefault(part[at].session, set()).add(cut.shard)
    assert {len(one) for one in shards.values()} == {1}


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), max_size=60),
    st.integers(1, 12),
    st.integers(1, 5),
)
def test_everything_is_cut_once_within_the_bounds(wanted, max_chunk_shots, max_senders):
    """Each exchange in one chunk; no more shards than senders; the same each time."""
    part = [picked(n, f"user {who}", shots) for n, (who, shots) in enumerate(wanted)]
    found = list(cuts(part, max_chunk_shots, max_senders))
    assert found == list(cuts(part, max_chunk_shots, max_senders))
    assert Counter(at for cut in found for at in cut.members) == Counter(range(len(part)))
    assert len({cut.shard for cut in found}) <= max_senders
    for cut in found:
        assert len(cut.members) == 1 or sum(part[at].shots for at in cut.members) <= max_chunk_shots


def test_a_chunk_is_bounded_in_bytes():
    """So that it fits in one packed member, whatever is in it."""
    half = MAX_CHUNK_BYTES // 2 + 1
    part = [picked(n, size=half) for n in range(3)]
    assert [cut.members for cut in cuts(part, 100, 1)] == [[0], [1], [2]]


def test_a_part_ends_by_number_or_size():
    """Never by the clock: so it ends at the same place again."""
    assert not is_whole(99, 5, 10, 10)
    assert is_whole(100, 5, 10, 10)
    assert is_whole(1, MAX_PART_BYTES, 10, 10)


ITEMS = [
    Item(b'{"v":1,"id":"a"}', 5, 1, None, "a"),
    Item(b'{"v":1,"id":"b","x":"}{\\"y"}', 9, 2, [("staging", 0), ("staging", 1)], "b"),
]


def event(**more):
    values = {
        "v": 1, "id": "0123456789abcdef-0-1-2", "bucket": "b", "key": "k", "run": "r",
        "seed": "s", "rules": "1", "senders": 1, "shots": 3, "digest": digest_of(ITEMS),
    }  # fmt: skip
    return ChunkEvent(**{**values, **more})


def test_a_chunk_comes_back_as_it_was():
    """Through JSON, as Lambda hands it over."""
    made = with_data(event(), packed(ITEMS))
    found = chunk_event(json.loads(encoded(made)))
    data = data_of(found)
    assert data is not None
    assert found == made
    assert [
        item._replace(only=item.only and [*map(tuple, item.only)]) for item in unpacked(data)
    ] == ITEMS
    assert digest_of(unpacked(data)) == found.digest


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-9], id="cut off"),
        pytest.param(lambda data: data[:40] + b"\0" + data[41:], id="changed"),
        pytest.param(lambda _data: packed(ITEMS[:1])[:-20], id="half"),
        pytest.param(lambda _data: b"{}\n", id="something else"),
    ],
)
def test_a_damaged_chunk_is_refused(damage):
    """It is all or nothing."""
    with pytest.raises(ChunkError):
        assert digest_of(unpacked(damage(packed(ITEMS)))) == "never"


def test_a_chunk_that_unpacks_to_too_much_is_refused():
    """Before it takes the memory: zeros pack well."""
    bomb = pack(b"0" * 4_000_000 + b"\n", 1) * 5
    assert len(bomb) < 200_000
    with pytest.raises(ChunkError, match="larger than any"):
        unpacked(bomb)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param([], id="a list"),
        pytest.param({"v": 1}, id="keys are missing"),
        pytest.param({**json.loads(encoded(event())), "v": 2}, id="a newer version"),
        pytest.param({**json.loads(encoded(event())), "id": "../claims/x"}, id="a path for an id"),
        pytest.param({**json.loads(encoded(event())), "senders": 0}, id="no sender"),
        pytest.param({**json.loads(encoded(event())), "mirrorproxy": "object"}, id="of the other"),
    ],
)
def test_what_is_no_chunk_is_refused(wrong):
    """Before anything is done with it."""
    with pytest.raises(ChunkError):
        chunk_event(wrong)


def test_the_limits_are_those_of_lambda():
    """1 MiB asynchronous, 6 MiB synchronous; room is left for the message of a dead letter."""
    assert (EVENT_LIMIT_BYTES, SYNC_LIMIT_BYTES) == (1 << 20, 6 << 20)
    assert MAX_EVENT_BYTES < EVENT_LIMIT_BYTES - 32_000
    with pytest.raises(ValueError, match="no payload of an asynchronous invocation"):
        Invoker(None).invoke("send", b"x" * (EVENT_LIMIT_BYTES + 1), 0.0)


def test_a_hand_over_comes_back_as_it_was():
    """Through JSON, to `split` itself."""
    made = ObjectEvent(bucket="b", key="k", etag='"1"', skip=7, part=2, run="r", hop=3)
    assert works(json.loads(encoded_object(made)))[0].objects == [made]


@pytest.mark.parametrize(
    ("event", "shape"),
    [
        ({"a": "secret", "b": 1}, "an object with the keys a, b"),
        ({}, "an object without keys"),
        ({"Records": [{"kinesis": "secret"}]},
         "an object with the keys Records, "
         "the first of its Records an object with the keys kinesis"),
        ({"\x1b[31m": 1}, "an object with the keys \\x1b[31m"),
        ({str(n): n for n in range(14)},
         "an object with the keys 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more"),
        ([1, 2], "a list of 2"),
        ("secret", "a text"),
        (None, "nothing"),
    ],
)  # fmt: skip
def test_an_unknown_event_is_named_by_its_keys(event, shape):
    """Never by a value."""
    assert shape_of(event) == shape
    with pytest.raises(UnknownEvent) as refused:
        works(event)
    assert str(refused.value).endswith(f"got {shape}")


def test_every_way_of_a_notification_is_understood():
    """From S3, SQS, SNS and EventBridge; S3's own test event asks for nothing."""
    put = {"bucket": {"name": "b"}, "object": {"key": "a+b%2Bc"}}
    told = {"Records": [{"eventName": "ObjectCreated:Put", "s3": put}]}
    bridge = {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": "b"}, "object": {"key": "a b+c"}},
    }
    queued = {"Records": [{"messageId": "1", "body": json.dumps(told)}]}
    topic = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(told)}}]}
    for one in (told, bridge, queued, topic):
        (work,) = works(one)
        assert work.objects == [ObjectEvent(bucket="b", key="a b+c")]
    assert works({"Service": "Amazon S3", "Event": "s3:TestEvent"})[0].objects == []


def test_settings_have_defaults():
    """Only where chunks lie, and who sends, has to be said; an empty variable says nothing."""
    found = settings_of({**LEAST, "MIRRORPROXY_RUN": "", "AWS_LAMBDA_FUNCTION_NAME": "mine"})
    assert found.chunks == Place("work", "replay/")
    assert (found.rules, found.spread, found.spread_over_s) == ("rules.yaml", "even", None)
    assert (found.max_chunk_shots, found.max_senders) == (1000, 10)
    assert (found.seed, found.run, found.namespace) == ("replay", None, "mirrorproxy")
    assert found.function == "mine"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CHUNKS", "s3://work/replay", "with a slash at its end"),
        ("CHUNKS", "", "expected s3://BUCKET/PREFIX/"),
        ("SEND_FUNCTION", "no such name", "name or ARN"),
        ("SPREAD", "odd", "expected even or captured"),
        ("SPREAD_OVER", "soon", "expected a duration"),
        ("SPREAD_OVER", "0s", "expected a duration above 0"),
        ("MAX_CHUNK_SHOTS", "0", "from 1 to 10000"),
        ("MAX_SENDERS", "many", "from 1 to 1000"),
        ("RUN", "a b", "up to 64 letters"),
        ("NAMESPACE", "a b", "namespace of CloudWatch"),
    ],
)
def test_a_wrong_setting_names_its_variable(name, value, said):
    """And what is expected."""
    with pytest.raises(ConfigError, match=said) as wrong:
        settings_of({**LEAST, f"MIRRORPROXY_{name}": value})
    assert str(wrong.value).startswith(f"MIRRORPROXY_{name}: ")


def test_the_metrics_of_a_line_are_as_cloudwatch_wants_them():
    """The embedded metric format: a directive, and the values beside it."""
    line = metrics_line("n", "f", 7, {"Answered": 2}, {"LagMs": [1.5], "LatencyMs": []})
    assert json.loads(line) == {
        "_aws": {
            "Timestamp": 7,
            "CloudWatchMetrics": [
                {
                    "Namespace": "n",
                    "Dimensions": [["Function"]],
                    "Metrics": [
                        {"Name": "Answered", "Unit": "Count"},
                        {"Name": "LagMs", "Unit": "Milliseconds"},
                    ],
                }
            ],
        },
        "Function": "f",
        "Answered": 2,
        "LagMs": [1.5],
    }


def test_a_line_is_one_line(capsys):
    """A key with a newline in it makes none of its own."""
    say('error: s3://b/k\n{"_aws":1}')
    assert capsys.readouterr().out == 'error: s3://b/k\\n{"_aws":1}\n'


def test_at_most_a_hundred_values_stand_for_all():
    """As many as a line may hold; their percentiles are those of all."""
    histogram = Histogram()
    for value in range(1, 1001):
        histogram.add(value * 1000)
    values = spread_values(histogram)
    assert len(values) == 100
    assert values == sorted(values)
    assert values[49] == pytest.approx(500, rel=0.05)
    assert values[-1] == 1000
    assert spread_values(Histogram()) == []


def test_what_only_send_knows_has_a_name_in_its_place():
    """`split` needs no secret, and what it has is used."""
    environ = WithoutSecrets({"KNOWN": "value"})
    assert environ["KNOWN"] == "value"
    assert "TOKEN" in environ
    assert environ["TOKEN"].startswith("environment-TOKEN-is-read-by-send-alone")
    assert len(placeholder("ssm", "/x")) == 64
