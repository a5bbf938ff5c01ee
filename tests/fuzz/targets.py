"""What is fuzzed: each target takes any bytes, and raises if a promise is broken.

Plain functions, so that a finding becomes a test by calling them; `run` feeds
them with atheris.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
from hostile_wire import wire

from mirrorproxy.capture.seal import Sealer, SealKey, SealPolicy
from mirrorproxy.capture.seal_record import RecordSealer
from mirrorproxy.codec import MalformedRecord, UnsupportedVersion, body_of, decode_line, encode_line
from mirrorproxy.errors import ConfigError
from mirrorproxy.lambdas.chunk import ChunkError, chunk_event, data_of, encoded, unpacked
from mirrorproxy.lambdas.trigger import UnknownEvent, encoded_object, works
from mirrorproxy.members import MAX_DAMAGES, Damage, pack, read_batches
from mirrorproxy.record import Exchange, Request
from mirrorproxy.report import export_curl, export_gor, export_har
from mirrorproxy.report.body_diff import compare_bodies
from mirrorproxy.report.exported import Exported, NotExportedError
from mirrorproxy.report.shapes import path_shape
from mirrorproxy.report.structure import MAX_PATH, Walk
from mirrorproxy.rules.bodies import Moment, rewritten
from mirrorproxy.rules.coding import CannotRewriteError, plain_body
from mirrorproxy.rules.jsonpath import find_texts, parse_path
from mirrorproxy.rules.load import load_rules
from mirrorproxy.rules.plan import plan
from mirrorproxy.rules.rewrite import compile_rewrite
from mirrorproxy.rules.schema import Declared, FieldRewrite, JsonRewrite, Rewrite
from mirrorproxy.sources.access_log import decode as decode_any
from mirrorproxy.sources.imports import read_lines

SECRET = b"S3cr3t-of-the-fuzzer"
_CONTENT_TYPES = [
    None, "application/json", "application/x-www-form-urlencoded", "text/plain", "text/xml",
    "multipart/form-data; boundary=XX", "application/x-ndjson", "image/png",
]  # fmt: skip
_EXCHANGES = [
    Exchange(
        1, "0" * 32, "orders", "har", "n", 1_772_366_400_000_000, 1, client, "https", "",
        Request(method, target, "1.1", [("Host", "h"), ("Content-Type", kind)], body, "utf8"),
    )
    for method, target, kind, client, body in [
        ("GET", "/health?a=1&ts=1700000000", "", "10.0.0.1", "x"),
        ("POST", "/orders/1/lines", "application/json", "::1", '{"order_number":"A-1","n":[1]}'),
        ("POST", "/api/v1/x", "application/x-www-form-urlencoded", "", "a=1&b=%2f"),
    ]
]  # fmt: skip
_CODINGS = [None, None, "gzip", "deflate", "br"]
_EMAIL = parse_path("$..email", ())
_EDITOR = compile_rewrite(
    Rewrite(
        json=JsonRewrite(path="$..email", set="x"),
        form=FieldRewrite(set={"email": "x"}),
        shift=Declared(json=["$.at"], form=["at"]),
        unique=Declared(json=["$..no"], form=["no"]),
    ),
    (),
).body
_KEY = SealKey(b"0123456789abcdef0123456789abcdef")


def record(data: bytes) -> None:
    """A line is an exchange that survives being written again, or is refused."""
    try:
        exchange = decode_line(data)
    except (MalformedRecord, UnsupportedVersion):
        return
    assert decode_line(encode_line(exchange)) == exchange
    for message in filter(None, (exchange.request, exchange.response)):
        try:
            body_of(message)
        except MalformedRecord:
            continue


def access_log(data: bytes) -> None:
    """A line is an exchange that can be sealed and written, or refused in one way."""
    try:
        exchange = decode_any(data)
    except (MalformedRecord, UnsupportedVersion):
        return
    if exchange.node:
        return
    sealed = RecordSealer(Sealer(SealPolicy(), _KEY), "fuzz/0").seal(exchange)
    assert decode_line(encode_line(sealed)) == sealed
    assert decode_any(data) == exchange


def imports(data: bytes, name: str) -> None:
    """A document is read to its end; what it holds can be sealed, written and read again."""
    sealer = RecordSealer(Sealer(SealPolicy(), _KEY), "fuzz/0")
    damages = 0
    for part in read_lines(io.BytesIO(data), name):
        if isinstance(part, Damage):
            damages += 1
            assert part.offset >= 0
            assert "\n" not in part.reason
            continue
        for _, line in part:
            try:
                exchange = decode_line(line)
            except (MalformedRecord, UnsupportedVersion):
                continue
            if exchange.node:
                continue
            sealed = sealer.seal(exchange)
            assert decode_line(encode_line(sealed)) == sealed
            _exported(sealed)
    assert damages <= MAX_DAMAGES + 1


def _exported(exchange: Exchange) -> None:
    """What was read can be written in every form, or is left out for a reason."""
    response = exchange.response
    whole = Exported(
        exchange, body_of(exchange.request), b"" if response is None else body_of(response)
    )
    entry = export_har.har_entry(whole, lambda body, _: body)
    (batch,) = read_lines(io.BytesIO(export_har.HEAD + entry + export_har.TAIL), "x.har")
    assert not isinstance(batch, Damage)
    assert decode_line(batch[0][1]) == exchange
    for one in (export_curl.curl_command, export_gor.gor_records):
        with contextlib.suppress(NotExportedError):
            assert one(whole)


def har(data: bytes) -> None:
    """See `imports`."""
    imports(data, "x.har")


def gor(data: bytes) -> None:
    """See `imports`."""
    imports(data, "x.gor")


def members(data: bytes) -> None:
    """Any object is read to its end in bounded pieces; a sound member behind it is found."""
    whole = data + pack(b'{"last":1}\n', 1)
    lines: list[bytes] = []
    damages = 0
    for batch in read_batches(io.BytesIO(whole), 4096):
        if isinstance(batch, Damage):
            damages += 1
            assert 0 <= batch.offset <= len(whole)
            continue
        for offset, line in batch:
            assert 0 <= offset <= len(whole)
            assert 0 < len(line) <= 4096
            lines.append(line)
    assert damages <= MAX_DAMAGES + 1
    if not data:
        assert lines == [b'{"last":1}']


def rules(data: bytes) -> None:
    """A rule file is compiled, or refused with one line that a user can read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rules.yaml")
        path.write_bytes(data)
        said = ""
        try:
            loaded = load_rules(path, {"NAME": "only-in-the-environment"})
            for exchange in _EXCHANGES:
                plan(exchange, loaded, "seed", "run", offset_us=86_400_000_000)
        except ConfigError as error:
            said = str(error)
        assert "\n" not in said
        assert "only-in-the-environment" not in said


def bodies(data: bytes) -> None:
    """A body is rewritten whole, the same each time, or refused."""
    if not data:
        return
    content_type = _CONTENT_TYPES[data[0] % 8]
    coding = _CODINGS[data[0] // 8 % len(_CODINGS)]
    for copy in (0, 1):
        moment = Moment("run", copy, 1_700_000_000_000_000, 86_400_000_000)
        try:
            out = rewritten(data[1:], content_type, coding, _EDITOR, moment)
        except CannotRewriteError:
            continue
        assert out == rewritten(data[1:], content_type, coding, _EDITOR, moment)
        if content_type == "application/json" and data[1:]:
            document = msgspec.json.decode(plain_body(out, coding), type=msgspec.Raw)
            assert all(text == "x" for text in find_texts(bytes(document), _EMAIL))


def seal(data: bytes) -> None:
    """Sealing never fails, whole and in pieces agree, and a planted secret never survives."""
    if len(data) < 4:  # an empty body is never streamed
        return
    content_type = _CONTENT_TYPES[data[0] % len(_CONTENT_TYPES)]
    coding = _CODINGS[data[1] % len(_CODINGS)]
    size = data[2] % 64 + 1
    data = data[3:]
    sealer = Sealer(SealPolicy(), _KEY)
    whole = sealer.body(data, content_type, coding)
    assert (whole.data is None) == (whole.omitted is not None)
    stream = sealer.stream(content_type, coding)
    pieces = [stream.feed(data[at : at + size]) for at in range(0, len(data), size)]
    pieces.append(stream.finish())
    assert stream.omitted == whole.omitted
    if whole.omitted is None:
        assert b"".join(pieces) == whole.data
    text = data.decode("latin-1").replace("\r", "").replace("\n", "")
    head = sealer.request("/" + text, [("Cookie", text), ("Authorization", text), ("X-A", text)])
    assert len(head.headers) == 3
    _plant(sealer, data)


def _plant(sealer: Sealer, data: bytes) -> None:
    """Put a secret where it must be found, with whatever the fuzzer likes around it."""
    around = base64.b64encode(data).decode()
    document = b'{"%b":[1,{"password":"%b"}],"x":"%b"}' % (b"a", SECRET, around.encode())
    form = b"a=%b&token=%b&x=1" % (around.encode().replace(b"=", b""), SECRET)
    kinds = [(document, "application/json"), (form, "application/x-www-form-urlencoded")]
    for body, content_type in kinds:
        sealed = sealer.body(body, content_type, None)
        assert sealed.data is None or SECRET not in sealed.data
    header = sealer.request("/?token=" + SECRET.decode(), [("X-Api-Key", SECRET.decode() + around)])
    assert SECRET.decode() not in header.target
    assert SECRET.decode() not in header.headers[0][1]


def events(data: bytes) -> None:
    """What invokes a function is understood, or refused with one line."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        event = data.decode("latin-1")
    said = ""
    try:
        for work in works(event):
            assert work.error is None or not work.objects
            for one in work.objects:
                assert works(json.loads(encoded_object(one)))[0].objects == [one]
    except UnknownEvent as error:
        said = str(error)
    assert said.isprintable()
    try:
        chunk = chunk_event(event)
        content = data_of(chunk)
        if content is not None:
            unpacked(content)
    except ChunkError:
        return
    assert chunk_event(json.loads(encoded(chunk))) == chunk


def compare(data: bytes) -> None:
    """Two bodies are compared without an error; a body is like itself, and paths are printable."""
    if not data:
        return
    kind = (_CONTENT_TYPES[data[0] % 8] or "").partition(";")[0]
    one, _, other = data[1:].partition(b"\xff")
    moments = (1_760_000_000.0, 1_770_000_000.0)
    for production, target in ((one, other), (other, one)):
        walk = Walk(None, None, moments)
        compare_bodies(walk, kind, production, target)
        for path in (*walk.differences, *walk.noise):
            assert path.isprintable()
            assert len(path) <= MAX_PATH + 8
    if one:
        same = Walk(None, None, moments)
        compare_bodies(same, kind, one, one)
        assert not same.differences
    assert path_shape(data.decode("latin-1")).count("\n") <= data.count(b"\n")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "access_log": access_log,
    "events": events,
    "wire": wire,
    "record": record,
    "har": har,
    "gor": gor,
    "members": members,
    "rules": rules,
    "bodies": bodies,
    "seal": seal,
    "compare": compare,
}
