"""Ends before the end: time-outs, kills, throttling. Nothing is lost or doubled in silence."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest
from emulated import RULES
from in_process import Killed, Refused, ledgers, messages, take_all, told_of
from stored_captures import SECOND, T0, exchange, put
from support.commands import Answer

from mirrorproxy.lambdas.chunk import chunk_event, data_of, unpacked
from mirrorproxy.lambdas.send_function import MAX_HOPS
from mirrorproxy.lambdas.split_function import NotSplit

SMALL = {"MIRRORPROXY_MAX_CHUNK_SHOTS": "5", "MIRRORPROXY_MAX_SENDERS": "2"}
THROTTLED = Refused("TooManyRequestsException", 429)


def exchanges(number):
    """Return so many exchanges of as many users."""
    made = [exchange(T0 + n * SECOND // 10, n) for n in range(number)]
    for n, one in enumerate(made):
        one.client = f"203.0.113.{n}"
    return made


def came(target):
    return Counter(int(request.target[1:]) for request in target.requests)


def once(number):
    return Counter(range(number))


def test_a_split_that_is_killed_in_mid_object_loses_nothing(both, s3, bucket, target, capfd):
    """Its message comes again; what was given away before is seen as the same, and counted."""
    functions = both(SMALL)
    event = messages(told_of(bucket, put(s3, bucket, exchanges(40))))

    def kill(number, _function):
        if number == 4:
            raise Killed

    functions.by_hand.refuse = kill
    with pytest.raises(Killed):
        functions.call("split", event)
    functions.by_hand.refuse = take_all
    assert len(functions.by_hand.taken) == 3
    assert functions.call("split", event) == {"batchItemFailures": []}
    functions.run_all()
    assert came(target) == once(40)
    sends = ledgers(capfd.readouterr().out, "send")
    before = sum(one["shots"] for one in sends[:3])
    assert sum(one["answered"] for one in sends) == 40
    assert sum(one["doubled"] for one in sends) == before > 0


def test_split_hands_on_what_there_is_no_time_for(both, s3, bucket, target, capfd):
    """Another call goes on where it was; together they read and give everything once."""
    one_by_one = {"MIRRORPROXY_MAX_CHUNK_SHOTS": "8", "MIRRORPROXY_MAX_SENDERS": "1"}
    # What is skipped at the end makes a part without a chunk.
    some = ", ".join(f"/{n}" for n in range(24, 30))
    skipped = f"rules:\n  - {{name: some, match: {{path: [{some}]}}, skip: true}}\n"
    rules = RULES.replace("rules:\n", skipped)
    functions = both({**one_by_one, "MIRRORPROXY_SPREAD_OVER": "2s"}, rules=rules)
    key = put(s3, bucket, exchanges(30))
    assert functions.call("split", told_of(bucket, key), left_s=1.3) is None
    names = [name for name, _ in functions.by_hand.taken]
    assert names.count("split") == 1
    functions.run_all()
    assert functions.lost == []
    assert came(target) == once(24)
    out = capfd.readouterr().out
    splits, sends = ledgers(out, "split"), ledgers(out, "send")
    assert (len(splits) > 1, splits[0]["handed_on"] > 0) == (True, True)
    assert sum(one["read"] for one in splits) == 30
    assert sum(one["given"] for one in splits) == 24
    assert all(one["balanced"] for one in (*splits, *sends))
    assert sum(one["planned"] for one in sends) == sum(one["answered"] for one in sends) == 24


def test_a_throttled_split_tries_again(both, s3, bucket, target, capfd):
    """429 is waited out."""
    functions = both(SMALL)

    def throttle(number, _function):
        if number in (1, 3):
            raise THROTTLED

    functions.by_hand.refuse = throttle
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(20))))
    functions.run_all()
    assert came(target) == once(20)
    (split,) = ledgers(capfd.readouterr().out, "split")
    assert (split["throttled"], split["given"], split["handed_on"]) == (2, 20, 0)


def test_a_split_that_is_throttled_to_its_end_hands_on(both, s3, bucket, target, capfd):
    """From the chunk on that was not taken: none is given twice."""
    functions = both(SMALL)

    def throttle(number, function):
        if number > 1 and function == "send":
            raise THROTTLED

    functions.by_hand.refuse = throttle
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(20))), left_s=1.6)
    functions.by_hand.refuse = take_all
    functions.run_all()
    assert functions.lost == []
    assert came(target) == once(20)
    out = capfd.readouterr().out
    first, second = ledgers(out, "split")
    assert (first["given"] + first["handed_on"], second["given"]) == (first["handed_on"], 20)
    assert sum(one["doubled"] for one in ledgers(out, "send")) == 0


def test_a_split_that_can_give_nothing_away_fails_its_message(both, s3, bucket):
    """So it comes again; alone, it ends with an error."""
    functions = both(SMALL)

    def throttle(_number, _function):
        raise THROTTLED

    functions.by_hand.refuse = throttle
    event = told_of(bucket, put(s3, bucket, exchanges(3)))
    failed = functions.call("split", messages(event), left_s=1.0)
    assert failed == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    with pytest.raises(NotSplit, match="TooManyRequestsException"):
        functions.call("split", event, left_s=1.0)


def test_send_hands_on_what_there_is_no_time_for(both, s3, bucket, target, capfd):
    """Each shot is in one ledger: answered by this call, or by the next."""
    functions = both({"MIRRORPROXY_SPREAD_OVER": "2s"})
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(40))))
    functions.run_all(left_s=1.8)
    assert came(target) == once(40)
    first, *others = ledgers(capfd.readouterr().out, "send")
    assert 0 < first["answered"] < 40
    assert first["handed_on"] == 40 - first["answered"]
    assert (first["planned"], first["unsent"]) == (first["answered"], 0)
    assert first["answered"] + sum(one["answered"] for one in others) == 40
    assert others[0]["chunk"] == f"{first['chunk']}~1"
    assert all(one["balanced"] for one in (first, *others))


def test_what_was_not_even_planned_is_handed_on_too(both, s3, bucket, capfd):
    """The engine plans two seconds ahead; a chunk may last for minutes."""
    functions = both({"MIRRORPROXY_SPREAD_OVER": "60s"})
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(40))))
    ((_, payload),) = functions.by_hand.taken
    functions.by_hand.taken.clear()
    ledger = functions.call("send", json.loads(payload), left_s=1.5)
    ((name, rest),) = functions.by_hand.taken
    assert (name, ledger["balanced"]) == ("send", True)
    event = chunk_event(json.loads(rest))
    assert ledger["answered"] + event.shots == ledger["answered"] + ledger["handed_on"] == 40
    assert len(unpacked(data_of(event) or b"")) == event.shots
    capfd.readouterr()


def test_what_send_cannot_hand_on_is_kept_until_its_event_comes_again(
    both, s3, bucket, target, capfd
):
    """The call ends with an error, for the dead-letter queue; its event sends the rest."""
    functions = both({"MIRRORPROXY_SPREAD_OVER": "2s"})
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(30))))

    def throttle(_number, _function):
        raise THROTTLED

    functions.by_hand.refuse = throttle
    functions.run_all(left_s=2.0)
    ((event, why),) = functions.lost
    (ledger,) = ledgers(capfd.readouterr().out, "send")
    assert f"{ledger['unsent']} shots were not sent" in why
    assert ledger["answered"] + ledger["unsent"] == 30
    assert ledger["balanced"]
    functions.by_hand.refuse = take_all
    again = functions.call("send", event)
    assert again["answered"] == ledger["unsent"] > 0
    assert came(target) == once(30)
    assert functions.call("send", event)["doubled"] == 30
    assert came(target) == once(30)


def test_an_endless_chain_is_ended(both, s3, bucket):
    """Lambda would stop it for a loop: it is ended before, and the rest is kept."""
    functions = both({"MIRRORPROXY_SPREAD_OVER": "30s"})
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(3))))
    ((_, payload),) = functions.by_hand.taken
    functions.by_hand.taken.clear()
    event = {**json.loads(payload), "hop": MAX_HOPS}
    with pytest.raises(Exception, match="it was handed on 6 times"):
        functions.call("send", event, left_s=1.0)
    assert functions.by_hand.taken == []
    assert len(functions.kept_keys("chunks")) == 1


def test_a_chunk_that_comes_again_while_it_is_sent_is_left_out(both, s3, bucket, target):
    """The first call has time still; the second counts."""
    functions = both()
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(3))))
    ((_, payload),) = functions.by_hand.taken
    event = json.loads(payload)
    claim = {"state": "sending", "request": "r", "until_us": 1 << 60, "digest": event["digest"]}
    key = f"replay/claims/{event['id']}"
    s3.put_object(Bucket=functions.work, Key=key, Body=json.dumps(claim).encode())
    assert functions.call("send", event)["doubled"] == 3
    assert target.requests == []


def test_failing_answers_are_counted_and_not_sent_again(both, s3, bucket, target, capfd):
    """A 503 is an answer; what gets none is failed. Neither is repeated by anybody."""
    functions = both()
    target.answer = lambda request: Answer(503 if request.target == "/1" else 201)
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(4))))
    functions.run_all()
    (send,) = ledgers(capfd.readouterr().out, "send")
    assert (send["answered"], send["status"]) == (4, {"2xx": 3, "5xx": 1})
    assert came(target) == once(4)


def test_a_chunk_that_begins_late_is_not_sent_in_a_burst(both, s3, bucket, target, capfd):
    """It is sent a little faster, as evenly as it was."""
    functions = both({"MIRRORPROXY_SPREAD_OVER": "1s"})
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges(10))))
    ((_, payload),) = functions.by_hand.taken
    time.sleep(0.9)  # as long as it takes Lambda to start the other function
    came_s = []
    target.answer = lambda _request: (came_s.append(time.monotonic()), Answer())[1]
    ledger = functions.call("send", json.loads(payload))
    assert (ledger["answered"], ledger["shed"]) == (10, {})
    assert ledger["late_ms"] > 500
    assert max(came_s) - min(came_s) > 0.6
    capfd.readouterr()
