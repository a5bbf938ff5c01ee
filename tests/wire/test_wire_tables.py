"""Every raw request and answer of the tables, through the proxy in both modes.

After each case clean requests follow on a fresh connection, over whatever
upstream connections the case left behind: their answers must be their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import cases_framing
import cases_heads
import cases_responses
import pytest
from _pytest.mark.structures import ParameterSet
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
from support.stage import Stage

from mirrorproxy.http1.limits import ClientLimits, ServerLimits

REQUESTS = [*cases_framing.CASES, *cases_heads.CASES]
# Short, so that a case that is waited out shows as 408 or 504 and not as silence.
_SERVER = ServerLimits(head_timeout_s=2, body_timeout_s=2)
_CLIENT = ClientLimits(response_timeout_s=2)


def _params(cases: Iterable[RequestCase] | Iterable[ResponseCase]) -> list[ParameterSet]:
    return [pytest.param(case, id=case.name) for case in cases]


@pytest.fixture(scope="module", params=[False, True], ids=["default", "strict"])
def bench(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with (
        RawOrigin() as origin,
        Mirror(origin.authority, strict=request.param, server=_SERVER, client=_CLIENT) as mirror,
    ):
        yield Stage(origin, mirror, strict=request.param)


@pytest.mark.parametrize("case", _params(REQUESTS))
def test_request(bench: Stage, case: RequestCase) -> None:
    """A raw request is passed on as it is, or refused before the origin sees it whole."""
    bench.mirror.forget()
    observed = run_request(case, bench.mirror.address, bench.origin)
    assert judge_request(case, observed, strict=bench.strict) == []
    bench.origin.faults.clear()
    bench.assert_sound()
    for seen in observed.seen:
        tap = bench.mirror.tap_of(seen.target)
        assert (tap.complete, tap.body, tap.ends) == (True, seen.body, ["finished"])


@pytest.mark.parametrize("case", _params(cases_responses.CASES))
def test_answer(bench: Stage, case: ResponseCase) -> None:
    """A raw answer reaches the client as it is, as a 502, or visibly cut."""
    bench.mirror.forget()
    observed = run_response(case, bench.mirror.address, bench.origin)
    assert judge_response(case, observed) == []
    bench.origin.faults.clear()
    bench.assert_sound()
