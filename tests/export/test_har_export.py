"""HAR documents that we write: what HAR 1.2 asks for, and nothing lost."""

from __future__ import annotations

import base64
import gzip
import json

from exported_samples import as_har, exchange, exported, read, request

from mirrorproxy.codec import body_of
from mirrorproxy.record import Response
from mirrorproxy.report import export_har


def test_a_document_has_what_har_1_2_asks_for():
    """Every field that the specification does not call optional."""
    lines = [("Host", "a.example"), ("Cookie", "a=1; b=2"), ("Content-Type", "text/plain")]
    answer = Response(
        302,
        [("Location", "/x"), ("Set-Cookie", "s=1; Path=/; HttpOnly; Secure"), ("X", "caf\xe9")],
        body_bytes=12,
    )
    log = json.loads(
        as_har(exchange(1, request("POST", "/a?b=1%202&c", lines, b"hi"), response=answer))
    )
    log = log["log"]
    assert (log["version"], log["creator"]["name"]) == ("1.2", "mirrorproxy")
    (made,) = log["entries"]
    assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= set(made)
    assert made["startedDateTime"] == "2023-11-14T22:13:20.124456Z"
    assert made["time"] == sum(made["timings"].values()) == 12.345
    assert made["serverIPAddress"] == "10.0.3.7"
    asked, answered = made["request"], made["response"]
    assert set(asked) >= {
        "method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize",
        "bodySize",
    }  # fmt: skip
    assert asked["url"] == "https://a.example/a?b=1%202&c"
    assert asked["queryString"] == [{"name": "b", "value": "1 2"}, {"name": "c", "value": ""}]
    assert asked["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert asked["postData"] == {"mimeType": "text/plain", "params": [], "text": "hi"}
    assert set(answered) >= {
        "status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL",
        "headersSize", "bodySize",
    }  # fmt: skip
    assert (answered["statusText"], answered["redirectURL"]) == ("Found", "/x")
    assert answered["cookies"] == [
        {"name": "s", "value": "1", "path": "/", "httpOnly": True, "secure": True}
    ]
    assert answered["content"] == {"size": 12, "mimeType": "x-unknown"}
    assert answered["headers"][-1]["value"] == "caf\ufffd"


def test_a_response_stands_without_its_coding_and_comes_back_with_it():
    """HAR holds what was said, `_mirrorproxy` what was sent."""
    sent = gzip.compress(b'{"id":42}', mtime=0)
    lines = [("Content-Encoding", "gzip"), ("Content-Type", "application/json")]
    text = base64.b64encode(sent).decode()
    whole = exchange(1, response=Response(200, lines, text, "base64", body_bytes=len(sent)))
    made = export_har.har_entry(exported(whole), lambda body, _: gzip.decompress(body))
    content = json.loads(made)["response"]["content"]
    assert content["text"] == '{"id":42}'
    assert content["compression"] == 9 - len(sent)
    assert read(export_har.HEAD + made + export_har.TAIL) == [whole]


def test_what_is_changed_by_hand_counts():
    """A document is for editing."""
    log = json.loads(as_har(exchange(1, request("POST", "/a", body=b"x"))))
    log["log"]["entries"][0]["request"] |= {"url": "https://a.example/b", "method": "PUT"}
    log["log"]["entries"][0]["request"]["postData"]["text"] = "yz"
    (found,) = read(json.dumps(log).encode())
    assert (found.request.method, found.request.target) == ("PUT", "/b")
    assert body_of(found.request) == b"yz"
