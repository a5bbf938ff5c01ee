"""Every raw request and answer of the tables, through the proxy in both modes.

After each case clean requests follow on a fresh connection, over whatever
upstream connections the case left behind: their answers must be their own.
"""

from __future__ import annotations

from collections.abc import Iterator

import cases_framing
import cases_heads
import cases_responses
import pytest
from support.conformance import (
    RequestCase,
    ResponseCase,
    judge_request,
    judge_response,
    run_request,
    run_response,
)
from support.mirror import Mirror
from support.origin import RawOrigin

REQUESTS = [*cases_framing.CASES, *cases_heads.CASES]


class Bench:
    """A proxy in one of its modes and the origin behind it."""

    def __init__(self, origin: RawOrigin, mirror: Mirror, *, strict: bool) -> None:
        self.origin = origin
        self.mirror = mirror
        self.strict = strict


@pytest.fixture(scope="module", params=[False, True], ids=["default", "strict"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with RawOrigin() as origin, Mirror(origin.authority, strict=request.param) as mirror:
        yield Bench(origin, mirror, strict=request.param)


def _assert_taps(bench: Bench) -> None:
    bench.mirror.settle()
    for tap in bench.mirror.recorder.taps:
        assert len(tap.ends) == 1, (tap.head.method, tap.head.target[:60], tap.ends)
    assert bench.mirror.errors == []


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REQUESTS])
def test_request(bench: Bench, case: RequestCase) -> None:
    """A raw request is passed on as it is, or refused before the origin sees it whole."""
    bench.mirror.forget()
    observed = run_request(case, bench.mirror.address, bench.origin)
    assert judge_request(case, observed, strict=bench.strict) == []
    _assert_taps(bench)
    for seen in observed.seen:
        tap = bench.mirror.tap_of(seen.target)
        assert (tap.complete, tap.body, tap.ends) == (True, seen.body, ["finished"])


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in cases_responses.CASES]
)
def test_answer(bench: Bench, case: ResponseCase) -> None:
    """A raw answer reaches the client as it is, as a 502, or visibly cut."""
    bench.mirror.forget()
    observed = run_response(case, bench.mirror.address, bench.origin)
    assert judge_response(case, observed) == []
    _assert_taps(bench)
