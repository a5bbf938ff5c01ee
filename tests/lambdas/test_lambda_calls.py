"""`split` and `send`: an object becomes chunks, each is sent once, whatever is repeated."""

from __future__ import annotations

import json
import random

import pytest
from in_process import Context, ledgers, messages, told_of
from stored_captures import SECOND, T0, exchange, lines, packed, put
from support.access_lines import TRAEFIK_3
from token_endpoint import TokenEndpoint

from mirrorproxy.errors import ConfigError
from mirrorproxy.lambdas.around import Call
from mirrorproxy.lambdas.chunk import MAX_EVENT_BYTES, chunk_event, data_of, unpacked
from mirrorproxy.lambdas.send_function import NotSent
from mirrorproxy.lambdas.trigger import UnknownEvent
from mirrorproxy.record import Credential

SEALED = "h1:3f9a:" + "5f0c61d2" * 4


def sealed(number, **request):
    """Return an exchange with a body and a sealed token of production."""
    made = exchange(
        T0 + number * SECOND // 10, number, method="POST",
        headers=[("Host", "api.example.com"), ("Authorization", f"Bearer {{{SEALED}}}")],
        body=f'{{"number":{number}}}', body_encoding="utf8", body_bytes=12, **request,
    )  # fmt: skip
    made.credentials = [Credential("header", "Authorization", SEALED, scheme="Bearer")]
    return made


def sent(target):
    return sorted(int(request.target[1:]) for request in target.requests)


def test_everything_in_an_object_is_sent_once(both, s3, bucket, target, capfd):
    """With its body, and with the target's token for production's."""
    functions = both()
    key = put(s3, bucket, [sealed(n) for n in range(40)])
    assert functions.call("split", told_of(bucket, key)) is None
    functions.run_all()
    assert sent(target) == list(range(40))
    assert {one.header("Authorization") for one in target.requests} == {"Bearer of-staging"}
    assert all(one.body == f'{{"number":{one.target[1:]}}}'.encode() for one in target.requests)
    out = capfd.readouterr().out
    (split,), (send,) = ledgers(out, "split"), ledgers(out, "send")
    assert (split["read"], split["planned"], split["given"], split["balanced"]) == (
        40,
        40,
        40,
        True,
    )
    assert (send["planned"], send["answered"], send["doubled"], send["balanced"]) == (
        40,
        40,
        0,
        True,
    )
    assert send["run"] == "split-2025112308"


def test_no_credential_of_the_target_is_in_what_is_handed_over(both, s3, bucket):
    """Neither in an event nor in S3: `split` does not even know it."""
    functions = both()
    functions.call("split", told_of(bucket, put(s3, bucket, [sealed(n) for n in range(5)])))
    ((name, payload),) = functions.by_hand.taken
    assert name == "send"
    assert b"of-staging" not in payload
    assert "STAGING_TOKEN" not in functions.variables


def test_a_metric_line_and_a_ledger_are_logged(both, s3, bucket, capfd):
    """One line each: CloudWatch makes metrics of the first."""
    functions = both({"MIRRORPROXY_NAMESPACE": "shadow"})
    functions.call("split", told_of(bucket, put(s3, bucket, [sealed(n) for n in range(3)])))
    functions.run_all()
    emf = [json.loads(x) for x in capfd.readouterr().out.splitlines() if x.startswith('{"_aws"')]
    assert [line["Function"] for line in emf] == ["split", "send"]
    assert (emf[0]["Read"], emf[0]["Selected"], emf[0]["Planned"]) == (3, 3, 3)
    assert (emf[1]["Answered"], emf[1]["Doubled"], len(emf[1]["LatencyMs"])) == (3, 0, 3)
    directive = emf[1]["_aws"]["CloudWatchMetrics"][0]
    assert (directive["Namespace"], directive["Dimensions"]) == ("shadow", [["Function"]])
    assert {metric["Name"] for metric in directive["Metrics"]} <= set(emf[1])


def test_a_message_that_fails_does_not_take_others_with_it(both, s3, bucket, target):
    """Partial batch failures: S3's test event is passed over, the unknown and the missing fail."""
    functions = both()
    key = put(s3, bucket, [sealed(n) for n in range(3)])
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket}
    event = messages(told_of(bucket, key), test_event, {"hello": 1}, told_of(bucket, "gone"), "no")
    failed = functions.call("split", event)
    functions.run_all()
    assert {one["itemIdentifier"] for one in failed["batchItemFailures"]} == {"2", "3", "4"}
    assert sent(target) == [0, 1, 2]


def test_an_unknown_event_is_refused_without_its_values(both):
    """The line says what was expected, and the keys that came."""
    functions = both()
    with pytest.raises(UnknownEvent) as refused:
        functions.call("split", {"detail": {"password": "hunter2"}, "token": "secret"})
    assert "expects a notification of S3" in str(refused.value)
    assert "an object with the keys detail, token" in str(refused.value)
    assert "secret" not in str(refused.value).replace("secretsmanager", "")
    with pytest.raises(UnknownEvent, match=r"send expects a chunk .* the keys a, b"):
        functions.call("send", {"a": 1, "b": 2})


def test_a_chunk_that_comes_again_is_counted_and_left_out(both, s3, bucket, target, capfd):
    """Whether the whole object was split again, or the event of one chunk was repeated."""
    functions = both()
    key = put(s3, bucket, [sealed(n) for n in range(10)])
    for _ in range(2):
        functions.call("split", told_of(bucket, key))
    functions.run_all()
    assert sent(target) == list(range(10))
    first, again = ledgers(capfd.readouterr().out, "send")
    assert (first["answered"], first["doubled"]) == (10, 0)
    assert (again["planned"], again["answered"], again["doubled"]) == (0, 0, 10)
    assert again["chunk"] == first["chunk"]


def test_other_rules_do_not_make_an_object_be_sent_twice_in_silence(both, s3, bucket, target):
    """The same place of the object with other content is an error, for a person to look at."""
    functions = both()
    key = put(s3, bucket, [sealed(n) for n in range(10)])
    functions.call("split", told_of(bucket, key))
    functions.run_all()
    text = "version: 1\ntargets: {staging: {url: %s, auth: [{use: {bearer: x}}]}}\nrules:\n"
    text += '  - {name: some, match: {path: ["/1", "/2"]}, send: {target: staging}}\n'
    functions.put_rules(text)
    functions.call("split", told_of(bucket, key))
    functions.run_all()
    ((_, why),) = functions.lost
    assert "was sent before with other content" in why
    assert sent(target) == list(range(10))


def test_rules_are_read_again_when_they_have_changed(both, s3, bucket, target):
    """A warm function asks, and compiles only then."""
    functions = both()
    for _ in range(2):
        functions.call("split", told_of(bucket, put(s3, bucket, [sealed(1)])))
    assert functions.kept["split"].rules.compiled == 1
    functions.put_rules(
        "version: 1\ntargets: {a: {url: %s}}\nrules: [{name: x, match: {pth: /}}]\n"
    )
    with pytest.raises(ConfigError) as wrong:
        functions.call("split", told_of(bucket, put(s3, bucket, [sealed(2)])))
    assert f"s3://{functions.work}/rules.yaml:3: rules[0].match.pth" in str(wrong.value)


def test_rules_may_be_a_parameter(ministack, both, s3, bucket, target):
    """Read again by its version."""
    functions = both({"MIRRORPROXY_RULES": f"ssm:/mirrorproxy/{bucket}"})
    ssm = ministack.client("ssm")
    text = "version: 1\ntargets: {staging: {url: %s, auth: [{use: {bearer: x}}]}}\n"
    text += 'rules: [{name: all, match: {path: "/**"}, send: {target: staging}}]\n'
    name = f"/mirrorproxy/{bucket}"
    ssm.put_parameter(Name=name, Value=text % target.url, Type="SecureString")
    for number in (1, 2):
        functions.call("split", told_of(bucket, put(s3, bucket, [sealed(number)])))
    functions.run_all()
    assert sent(target) == [1, 2]
    assert functions.kept["split"].rules.compiled == functions.kept["send"].rules.compiled == 1
    ssm.put_parameter(Name=name, Value="version: 2\n", Type="SecureString", Overwrite=True)
    with pytest.raises(ConfigError, match=f"ssm:{name}:1: version"):
        functions.call("split", told_of(bucket, put(s3, bucket, [sealed(3)])))


def test_rules_may_lie_in_the_zip(both, s3, bucket, target, tmp_path):
    """And include others that do."""
    everything = 'rules: [{name: all, match: {path: "/**"}, send: {target: staging}}]\n'
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/own.yaml").write_text(f"version: 1\ninclude: [targets.yaml]\n{everything}")
    targets = (
        f"version: 1\ntargets: {{staging: {{url: {target.url}, auth: [{{use: {{bearer: x}}}}]}}}}"
    )
    (tmp_path / "rules/targets.yaml").write_text(targets)
    functions = both({"MIRRORPROXY_RULES": "rules/own.yaml", "LAMBDA_TASK_ROOT": str(tmp_path)})
    functions.call("split", told_of(bucket, put(s3, bucket, [sealed(1)])))
    functions.run_all()
    assert sent(target) == [1]


def test_shots_may_keep_production_s_distances(both, s3, bucket):
    """Made shorter or longer, so that all fit into the time."""
    functions = both({"MIRRORPROXY_SPREAD": "captured", "MIRRORPROXY_SPREAD_OVER": "40s"})
    made = [exchange(T0 + at * SECOND, at) for at in (0, 1, 3)]
    functions.call("split", told_of(bucket, put(s3, bucket, made)))
    ((_, payload),) = functions.by_hand.taken
    due = [item.due_us for item in unpacked(data_of(chunk_event(json.loads(payload))))]
    assert [one - due[0] for one in due] == [0, 10 * SECOND, 30 * SECOND]


def test_a_chunk_too_big_for_an_event_goes_through_s3(both, s3, bucket, target):
    """And is deleted when it was sent; no event is larger than Lambda takes."""
    functions = both()
    # What gzip cannot make smaller.
    noise = random.Random(7)
    bodies = [
        "".join(noise.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=60_000)) for _ in range(30)
    ]
    exchanges = [
        exchange(T0 + n, n, method="POST", body=body, body_encoding="utf8", body_bytes=60_000)
        for n, body in enumerate(bodies)
    ]
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges)))
    ((_, payload),) = functions.by_hand.taken
    assert len(payload) < 1000
    assert len(functions.kept_keys("chunks")) == 1
    functions.run_all()
    assert sent(target) == list(range(30))
    assert functions.kept_keys("chunks") == []
    functions.call("split", told_of(bucket, put(s3, bucket, exchanges[:14], prefix="b/")))
    assert max(len(payload) for _, payload in functions.by_hand.taken) <= MAX_EVENT_BYTES


def test_joined_and_damaged_members_are_read_as_by_a_worker(both, s3, bucket, target, capfd):
    """What is damaged is counted, the rest is sent."""
    functions = both()
    first, middle, last = ([sealed(n) for n in some] for some in ([0, 1], [2, 3], [4, 5]))
    damaged = bytearray(packed(middle))
    damaged[-20] ^= 0xFF
    content = packed(first) + bytes(damaged) + packed(last)
    functions.call("split", told_of(bucket, put(s3, bucket, first, content=content)))
    functions.run_all()
    assert sent(target) == [0, 1, 4, 5]
    (split,) = ledgers(capfd.readouterr().out, "split")
    assert (split["read"], split["unreadable"], split["balanced"]) == (4, 2, True)


def test_access_logs_that_fluentd_shipped_are_sent_as_in_2018(both, s3, bucket, target):
    """Sealed as they are read: no token of production stands in an event."""
    functions = both({"MIRRORPROXY_SEAL_KEY": "3f9a" * 16})
    logged = [
        {
            **TRAEFIK_3,
            "RequestPath": f"/{n}",
            "RequestCount": n,
            "request_Authorization": "Bearer of-production",
        }
        for n in range(4)
    ]
    content = "".join(
        json.dumps({"log": json.dumps(one), "tag": "traefik"}) + "\n" for one in logged
    )
    s3.put_object(Bucket=bucket, Key="logs/2023/11/14/22/access a+b.log", Body=content.encode())
    functions.call("split", told_of(bucket, "logs/2023/11/14/22/access+a%2Bb.log"))
    assert b"of-production" not in functions.by_hand.taken[0][1]
    functions.run_all()
    assert sent(target) == [0, 1, 2, 3]
    assert {one.header("Authorization") for one in target.requests} == {"Bearer of-staging"}


def test_credentials_that_are_sent_as_logged_stand_in_no_event(both, s3, bucket, target):
    """They go through S3, where they came from, and are deleted."""
    rules = "version: 1\ndefaults: {logged_credentials: send}\ntargets: {staging: {url: %s}}\n"
    rules += 'rules: [{name: all, match: {path: "/**"}, send: {target: staging}}]\n'
    functions = both(rules=rules)
    one = {**TRAEFIK_3, "RequestPath": "/1", "request_Authorization": "Bearer of-production"}
    s3.put_object(Bucket=bucket, Key="access.log", Body=json.dumps(one).encode())
    functions.call("split", told_of(bucket, "access.log"))
    ((_, payload),) = functions.by_hand.taken
    assert json.loads(payload)["data"] is None
    functions.run_all()
    assert [one.header("Authorization") for one in target.requests] == ["Bearer of-production"]
    assert functions.kept_keys("chunks") == []


def test_send_alone_fetches_credentials(both, s3, bucket, target):
    """A grant of OAuth 2, once for a chunk; `split` plans without asking anybody."""
    endpoint = TokenEndpoint()
    try:
        rules = "version: 1\ntargets:\n  staging:\n    url: %s\n    auth:\n      - use:\n"
        rules += f'          client_credentials: {{token_url: "{endpoint.url}/token", '
        rules += 'client_id: replay, client_secret: "${STAGING_TOKEN}"}\n'
        rules += 'rules: [{name: all, match: {path: "/**"}, send: {target: staging}}]\n'
        functions = both(rules=rules)
        functions.call("split", told_of(bucket, put(s3, bucket, [sealed(n) for n in range(6)])))
        assert endpoint.asked == []
        functions.run_all()
        assert [asked.basic for asked in endpoint.asked] == ["replay:of-staging"]
    finally:
        endpoint.close()
    assert [one.header("Authorization") for one in target.requests] == ["Bearer tok-all-1"] * 6


def test_our_own_objects_are_no_capture(both, s3):
    """Chunks and claims may lie in the bucket that notifies."""
    functions = both()
    functions.call("split", told_of(functions.work, "replay/chunks/x", "replay/claims/y"))
    assert functions.by_hand.taken == []


def test_a_large_body_is_read_when_it_is_sent(both, s3, bucket, target):
    """From beside the object that names it."""
    ref = "bodies/2025/11/23/08/" + "0" * 32
    s3.put_object(Bucket=bucket, Key=f"captures/{ref}", Body=b"large")
    one = exchange(T0, 1, method="POST", body_ref=ref, body_bytes=5)
    functions = both()
    functions.call("split", told_of(bucket, put(s3, bucket, [one], prefix="captures/")))
    functions.run_all()
    assert [(one.target, one.body) for one in target.requests] == [("/1", b"large")]


def test_an_object_that_may_not_be_read_fails_its_message(both, s3, bucket):
    """Nothing of it is given away; what it needs is said."""
    functions = both()
    key = put(s3, bucket, [sealed(1)])
    functions.denied.add(key)
    failed = functions.call("split", messages(told_of(bucket, key)))
    assert failed == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert functions.by_hand.taken == []


def test_a_target_that_is_production_gets_nothing(both, s3, bucket, target):
    """As with a worker: the guard compares with what was captured."""
    functions = both()
    one = exchange(T0, 1)
    one.upstream = target.url
    failed = functions.call("split", messages(told_of(bucket, put(s3, bucket, [one]))))
    assert failed == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert functions.by_hand.taken == []


def test_an_object_that_is_overwritten_meanwhile_is_not_mixed(both, s3, bucket):
    """Its parts are of one content, or it fails."""
    functions = both({"MIRRORPROXY_MAX_CHUNK_SHOTS": "2", "MIRRORPROXY_MAX_SENDERS": "1"})
    key = put(s3, bucket, [sealed(n) for n in range(4)])
    event = {"mirrorproxy": "object", "v": 1, "bucket": bucket, "key": key, "etag": '"other"'}
    with pytest.raises(Exception, match="overwritten"):
        functions.call("split", event)


def test_an_object_is_read_by_its_entity_tag(both, s3, bucket):
    """What is written over it while it is read is not mixed in."""
    functions = both()
    s3.put_object(Bucket=bucket, Key="k", Body=b"one")
    call = Call(functions.kept["split"], Context("split", 30, "r"))
    try:
        found = call.reader.object(bucket, "k", 3, etag='"of another"')
        with pytest.raises(OSError, match="changed meanwhile"):
            found.source.open().read()
    finally:
        call.close()


def test_a_claim_that_was_never_ended_is_for_a_person(both, s3, bucket, target):
    """How much of the chunk was sent is not known: it is not sent again by itself."""
    functions = both()
    functions.call("split", told_of(bucket, put(s3, bucket, [sealed(n) for n in range(3)])))
    ((_, payload),) = functions.by_hand.taken
    event = json.loads(payload)
    claim = {"state": "sending", "request": "r-1", "until_us": 1, "digest": event["digest"]}
    key = f"replay/claims/{event['id']}"
    s3.put_object(Bucket=functions.work, Key=key, Body=json.dumps(claim).encode())
    with pytest.raises(NotSent, match="the call r-1 began to send it and never ended"):
        functions.call("send", event)
    assert target.requests == []
    s3.delete_object(Bucket=functions.work, Key=key)
    assert functions.call("send", event)["answered"] == 3


def test_lines_of_plain_objects_are_read_too(both, s3, bucket, target):
    """Whatever the name says."""
    functions = both()
    s3.put_object(Bucket=bucket, Key="plain.gz", Body=lines([sealed(1), sealed(2)]))
    functions.call("split", told_of(bucket, "plain.gz"))
    functions.run_all()
    assert sent(target) == [1, 2]
