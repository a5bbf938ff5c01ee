"""Bodies of any size: in memory, on the spool, cut, and never more than the bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder_fakes import MARK, Bench, answered

from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.tee import TeeLimits
from mirrorproxy.codec import MAX_LINE_BYTES

SMALL = TeeLimits(memory=100, body=1000, beginning=10, response=50, buffered=10_000)


def sent(bench, chunks, headers=""):
    bench.run(headers=headers, body=chunks)
    return bench.exchanges[-1].request


@pytest.mark.parametrize(
    ("chunks", "body", "ref", "truncated"),
    [
        pytest.param([b"a" * 100], "a" * 100, None, False, id="as much as stays in memory"),
        pytest.param([b"a" * 101], None, b"a" * 101, False, id="a byte more"),
        pytest.param([b"a" * 60, b"b" * 60, b"c"], None, b"a" * 60 + b"b" * 60 + b"c", False,
                     id="in pieces"),
        pytest.param([b"a" * 400, b"b" * 600], None, b"a" * 400 + b"b" * 600, False,
                     id="the capture limit"),
        pytest.param([b"a" * 400, b"b" * 601], "a" * 10, None, True, id="past the limit, later"),
        pytest.param([b"a" * 1001], "a" * 10, None, True, id="past the limit, at once"),
    ],
)  # fmt: skip
def test_where_a_body_is_kept(chunks, body, ref, truncated):
    """In the line, in an object of its own, or cut down to its beginning."""
    bench = Bench(limits=SMALL)
    request = sent(bench, chunks)
    assert request.body == body
    assert request.body_bytes == sum(map(len, chunks))
    assert request.truncated is truncated
    files = {file.ref: file.data for file in bench.writer.bodies if file.state == "committed"}
    if ref is None:
        assert request.body_ref is None
        assert files == {}
    else:
        assert request.body_ref.startswith("bodies/2023/11/14/22/")
        assert request.body_ref.endswith(bench.exchanges[0].id)
        assert files == {request.body_ref: ref + b"<end>"}
    assert [file for file in bench.writer.bodies if file.state == "open"] == []


def test_a_body_that_says_it_passes_the_limit_never_touches_the_disk():
    """What will be cut anyway is not written first."""
    bench = Bench(limits=SMALL)
    request = sent(bench, [b"a" * 200, b"a" * 900], "Content-Length: 1100\r\n")
    assert request.truncated
    assert request.body == "a" * 10
    assert request.body_bytes == 1100
    assert bench.writer.bodies == []


def test_a_large_body_is_sealed_before_it_is_written():
    """What lies on the spool holds marks, and what was found is listed."""
    bench = Bench(limits=SMALL)
    sent(bench, [b"a" * 200, b"password=s3cret"])
    [file] = bench.writer.bodies
    assert file.data == b"a" * 200 + b"password=" + MARK + b"<end>"
    assert [c.name for c in bench.exchanges[0].credentials] == ["password"]


def test_the_body_appears_before_the_record_that_names_it():
    """A record never names a body that is not there."""
    bench = Bench(limits=SMALL)
    sent(bench, [b"a" * 200])
    assert [kind for kind, _ in bench.writer.events] == ["body", "line"]


def test_a_large_body_that_cannot_be_sealed_is_removed():
    """As soon as that is known, its file goes; the rest is only counted."""
    bench = Bench(limits=SMALL)
    bench.sealer.omit_stream_after = 300
    request = sent(bench, [b"a" * 200, b"a" * 200, b"a" * 200])
    [file] = bench.writer.bodies
    assert file.state == "discarded"
    assert len(file.data) == 200
    assert request.omitted == "unsealable"
    assert request.body is None
    assert request.body_ref is None
    assert request.body_bytes == 600
    assert bench.counts == {"seen": 1, "captured": 1, "omitted_unsealable": 1}


def test_an_unsealable_body_past_the_limit_leaves_no_beginning():
    """What cannot be sealed is not recorded by its beginning either."""
    bench = Bench(limits=SMALL)
    bench.sealer.omit_stream_after = 300
    request = sent(bench, [b"a" * 400, b"a" * 700])
    assert (request.body, request.omitted) == (None, "unsealable")


@pytest.mark.parametrize("end", ["abandon", "filtered"])
def test_the_file_of_an_exchange_that_is_not_recorded_goes(end):
    """Nothing is left on the spool."""
    bench = Bench(limits=SMALL, policy=ServicePolicy())
    tap = bench.begin()
    tap.request_data(b"a" * 200)
    if end == "abandon":
        tap.abandon("client_aborted")
    else:
        bench.writer.error = OSError(28, "full")
        tap.request_end()
        tap.abandon("client_aborted")
    assert [file.state for file in bench.writer.bodies] == ["discarded"]
    assert bench.recorder._budget.used == 0


def test_a_body_cut_off_by_an_early_answer_keeps_its_object():
    """What was received until then is recorded, and marked."""
    bench = Bench(limits=SMALL)
    tap = bench.begin()
    tap.request_data(b"a" * 200)
    tap.response_head(answered("413 Too Large\r\n"))
    tap.finish(1)
    request = bench.exchanges[0].request
    assert request.truncated
    assert request.body_ref is not None
    assert bench.writer.bodies[0].state == "committed"


def test_a_line_that_grows_too_long_moves_its_body():
    """Escapes can make six bytes of one: the body gets an object of its own after all."""
    bench = Bench()
    body = b"\x01" * 300_000 + b"s3cret"
    request = sent(bench, [body])
    [file] = bench.writer.bodies
    assert file.state == "committed"
    assert file.data == b"\x01" * 300_000 + MARK
    assert request.body is None
    assert request.body_ref == file.ref
    assert [kind for kind, _ in bench.writer.events] == ["body", "line"]


def test_a_line_with_large_heads_leaves_the_answers_body_out():
    """What matters most for a replay stays."""
    bench = Bench(policy=ServicePolicy(response_body=True))
    tap = bench.begin(headers=f"X-Long: {'a' * 800_000}\r\n")
    tap.request_end()
    tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\n"))
    tap.response_data(b"\x01" * 60_000)
    tap.finish(1)
    assert bench.exchanges[0].response.body is None
    assert bench.exchanges[0].response.body_bytes == 60_000
    assert len(bench.writer.lines[0]) < MAX_LINE_BYTES


def test_a_line_with_large_heads_keeps_the_body_it_names():
    """A body that is on the spool already appears, whatever else has to go."""
    bench = Bench(policy=ServicePolicy(response_body=True))
    tap = bench.begin(method="POST", headers=f"X-Long: {'a' * 800_000}\r\n")
    tap.request_data(b"b" * 700_000)
    tap.request_end()
    tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\n"))
    tap.response_data(b"\x01" * 60_000)
    tap.finish(1)
    [file] = bench.writer.bodies
    assert bench.exchanges[0].request.body_ref == file.ref
    assert file.state == "committed"


def test_heads_that_pass_a_line_by_themselves_are_dropped():
    """There is nothing left to take out: counted, and no file stays."""
    bench = Bench()
    bench.run(headers=f"X-Long: {'a' * 930_000}\r\n", body=[b"x"])
    assert bench.writer.lines == []
    assert bench.counts == {"seen": 1, "dropped_error": 1}
    assert bench.writer.bodies == []


@pytest.mark.parametrize(
    ("declared", "chunks", "body"),
    [
        pytest.param("", [b"a" * 50], "a" * 50, id="as long as allowed"),
        pytest.param("", [b"a" * 50, b"a"], None, id="a byte more"),
        pytest.param("Content-Length: 51\r\n", [b"a" * 51], None, id="said so before"),
        pytest.param("", [], None, id="empty"),
    ],
)
def test_the_answers_body_has_its_own_limit(declared, chunks, body):
    """Too long is left out, its length is not."""
    bench = Bench(limits=SMALL, policy=ServicePolicy(response_body=True))
    tap = bench.begin()
    tap.request_end()
    tap.response_head(answered(f"200 OK\r\nContent-Type: text/plain\r\n{declared}"))
    for chunk in chunks:
        tap.response_data(chunk)
    tap.finish(1)
    assert bench.exchanges[0].response.body == body
    assert bench.exchanges[0].response.body_bytes == sum(map(len, chunks))


def test_an_answer_that_says_it_is_too_long_is_not_held_at_all():
    """Memory is for what will be recorded."""
    bench = Bench(limits=SMALL, policy=ServicePolicy(response_body=True))
    tap = bench.begin()
    tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\nContent-Length: 51\r\n"))
    tap.response_data(b"a" * 40)
    assert bench.recorder._budget.used == 0


def test_many_bodies_together_stay_within_the_budget():
    """When all hold too much, bodies go to the spool early, and answers' bodies are left out."""
    bench = Bench(
        limits=TeeLimits(memory=100, buffered=250, beginning=10),
        policy=ServicePolicy(response_body=True),
    )
    taps = [bench.begin() for _ in range(5)]
    for tap in taps:
        tap.request_data(b"a" * 80)
        assert bench.recorder._budget.used <= 250 + 80
    assert [tap.body.spill is not None for tap in taps] == [False, False, False, True, True]
    taps[0].request_end()
    taps[0].response_head(answered("200 OK\r\nContent-Type: text/plain\r\n"))
    taps[0].response_data(b"x")
    for tap in taps:
        tap.request_end()
        tap.finish(1)
    assert bench.counts["captured"] == 5
    assert bench.exchanges[0].response.body is None
    assert bench.recorder._budget.used == 0


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_no_split_of_a_body_changes_what_is_kept(chunks):
    """However the body arrives, the record says the same."""
    whole = b"".join(chunks)
    records = []
    for pieces in (chunks, [whole] if whole else []):
        bench = Bench(limits=SMALL)
        request = sent(bench, pieces)
        records.append(
            (request.body, request.body_bytes, request.truncated, request.body_ref is not None)
        )
        kept = [file.data for file in bench.writer.bodies if file.state == "committed"]
        assert kept in ([], [whole + b"<end>"])
        assert bench.recorder._budget.used == 0
    assert records[0] == records[1]
