"""The ledger balances, whatever a proxy tells and whatever fails."""

from hypothesis import given
from hypothesis import strategies as st
from recorder_fakes import Bench, answered

from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.tee import TeeLimits
from mirrorproxy.spool.segment import SpoolFull

ERRORS = {
    "none": None,
    "disk": OSError(5, "input/output error"),
    "full": SpoolFull("bound reached"),
    "fault": RuntimeError("odd"),
}
CALLS = {
    "data": lambda tap: tap.request_data(b"a" * 40),
    "much data": lambda tap: tap.request_data(b"a" * 400),
    "opaque": lambda tap: tap.request_data(b"opaque"),
    "end": lambda tap: tap.request_end(),
    "trailers": lambda tap: tap.request_end([("X-T", "1")]),
    "head": lambda tap: tap.response_head(answered("200 OK\r\nContent-Type: text/plain\r\n")),
    "other head": lambda tap: tap.response_head(answered("404 Not Found\r\n")),
    "answer": lambda tap: tap.response_data(b"b" * 30),
    "answer trailers": lambda tap: tap.response_end([("X-T", "1")]),
    "finish": lambda tap: tap.finish(1),
    "fail": lambda tap: tap.fail("reset", 1),
    "abandon": lambda tap: tap.abandon("client_aborted"),
}
POLICIES = {
    "all": ServicePolicy(response_body=True),
    "half": ServicePolicy(percent=50),
    "half of the sessions": ServicePolicy(percent=50, percent_by="session"),
    "some": ServicePolicy(filters=Filters(status=["2xx"], methods=["POST"], exclude=["/x"])),
}


@given(
    policy=st.sampled_from(sorted(POLICIES)),
    exchanges=st.lists(
        st.tuples(
            st.sampled_from(["POST", "GET"]),
            st.sampled_from(["/orders", "/x"]),
            st.lists(st.sampled_from(sorted(CALLS)), max_size=8),
            st.sampled_from(sorted(ERRORS)),
            st.sampled_from(sorted(ERRORS)),
            st.sampled_from(["none", "fault"]),
            st.sampled_from([0.0, 0.4]),
        ),
        max_size=6,
    ),
)
def test_every_exchange_has_one_fate(policy, exchanges):
    """Seen is captured, filtered, sampled or dropped; nothing is raised, held or left open."""
    bench = Bench(
        policy=POLICIES[policy],
        limits=TeeLimits(memory=100, body=600, beginning=10, response=50, buffered=500),
    )
    for method, target, calls, append_error, body_error, seal_error, takes_s in exchanges:
        bench.writer.error = ERRORS[append_error]
        bench.writer.body_error = ERRORS[body_error]
        bench.sealer.error = ERRORS[seal_error]
        bench.writer.takes_s = takes_s
        tap = bench.begin(method, target)
        for call in calls:
            CALLS[call](tap)
        tap.abandon("client_aborted")
        bench.clock.now += 0.3
    counts = bench.counts
    fates = sum(
        number
        for name, number in counts.items()
        if name in ("captured", "sampled") or name.startswith(("filtered_", "dropped_"))
    )
    assert counts.get("seen", 0) == fates == len(exchanges)
    assert counts.get("captured", 0) == len(bench.writer.lines)
    assert bench.recorder._budget.used == 0
    assert [file for file in bench.writer.bodies if file.state == "open"] == []
    named = {e.request.body_ref for e in bench.exchanges if e.request.body_ref}
    assert named <= {file.ref for file in bench.writer.bodies if file.state == "committed"}
