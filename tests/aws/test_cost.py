"""aws/cost.py: its sums, that it is fed with what is measured, and the page that it writes."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from types import ModuleType

import pytest
from support.cloud_template import LAMBDA, METRICS, Template

from mirrorproxy import members
from mirrorproxy.lambdas import cutting, split_function


def module(path) -> ModuleType:
    """Return a program outside of any package as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def cost(repository) -> ModuleType:
    return module(repository / "aws/cost.py")


def test_the_page_holds_what_is_reckoned(cost, repository):
    """Wrong? python aws/cost.py --write"""
    page = (repository / "aws/README.md").read_text()
    assert cost.BEGIN + cost.text() + cost.END in page


def test_firehose_is_billed_as_the_benchmarks_published(cost):
    """Members of a hundred lines, as 100/s and more make them."""
    busy = [one.billed_bytes for one in cost.TRAFFICS if one.rate >= 100]
    assert busy == [cost.published("gzip, 100 a record")] * 2


def test_sizes_are_those_of_real_members(cost, repository):
    """Within 5 %: other versions of the library compress otherwise."""
    realistic = module(repository / "benchmarks/realistic.py")
    lines = list(realistic.Shoppers().lines(600))
    for traffic in cost.TRAFFICS:
        each = min(traffic.rate, 100)
        sizes = [
            len(members.pack(b"".join(lines[at : at + each]), each))
            for at in range(0, len(lines), each)
        ]
        billed = sum(-(-size // 5120) * 5120 for size in sizes)
        assert sum(sizes) / len(lines) == pytest.approx(traffic.stored_bytes, rel=0.05)
        assert billed / len(lines) == pytest.approx(traffic.billed_bytes, rel=0.05)


def test_settings_are_the_templates(cost):
    """What it makes without being asked for anything else."""
    template = Template(**LAMBDA)
    hints = template.resources()["Stream"]["ExtendedS3DestinationConfiguration"]["BufferingHints"]
    known, parameters = cost.SETTINGS, template.parameters
    assert hints == {
        "SizeInMBs": known.buffer_bytes >> 20,
        "IntervalInSeconds": known.buffer_s,
    }
    assert parameters["SpreadOver"] == f"{known.spread_s}s"
    assert parameters["CaptureDays"] == 30 * known.kept_months
    assert (parameters["SplitMemory"], parameters["SendMemory"]) == (
        1024 * known.split_gb,
        1024 * known.send_gb,
    )
    assert parameters["MaxChunkShots"] == known.max_chunk_shots
    assert parameters["MaxSenders"] == known.max_senders


def test_what_is_billed_by_the_month_is_there(cost):
    """Metrics by function, and the alarms of a stack with functions."""
    assert sum(map(len, METRICS.values())) == cost.METRICS
    assert len(Template(**LAMBDA).resources("AWS::CloudWatch::Alarm")) == cost.ALARMS


def test_an_object_is_cut_as_split_cuts_it(cost):
    """6,000 requests in a minute: six parts of one chunk, each sent for ten seconds."""
    load = cost.load_of(cost.Traffic(100, 614.4, 574))
    assert (load.shots, load.period_s, load.chunks) == (6000, 60, 6)
    assert load.sending_s == pytest.approx(60 + 6 * 5)
    assert load.splitting_s == pytest.approx(2 + 50)


def test_the_functions_cut_it_so_too(cost):
    """With one sender there is nothing to chance."""
    assert cost.SETTINGS.ahead_s * 1e6 == split_function.LEAD_US
    requests = [cutting.Picked(b"x" * 3671, str(n), str(n % 40), n, 1, None) for n in range(6000)]
    chunks, part = 0, []
    for one in requests:
        part.append(one)
        if cutting.is_whole(len(part), len(part) * 3671, 1000, 1):
            chunks += len(list(cutting.cuts(part, 1000, 1)))
            part = []
    assert (chunks, part) == (cost.load_of(cost.Traffic(100, 614.4, 574)).chunks, [])


def test_several_senders_are_billed_side_by_side(cost):
    """Four for all of the minute, and two for the last third of it."""
    four = replace(cost.SETTINGS, max_senders=4)
    load = cost.load_of(cost.Traffic(100, 614.4, 574), four)
    assert load.chunks == 4 + 3
    assert load.sending_s == pytest.approx(4 * 40 + 3 * 20 + 7 * 5)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        pytest.param(10, 1.097, id="a day and more of a worker"),
        pytest.param(1000, 0.011, id="a quarter of an hour of one"),
    ],
)
def test_a_worker_costs_its_time(cost, rate, expected):
    """CPU and memory by the hour; messages and objects are next to nothing."""
    (traffic,) = (one for one in cost.TRAFFICS if one.rate == rate)
    assert cost.by_worker(traffic) == pytest.approx(expected, abs=0.005)


def test_lambda_costs_what_its_seconds_do(cost):
    """A million at 100/s are 167 objects: 90 s of send and 52 s of split each, half a GB."""
    (traffic,) = (one for one in cost.TRAFFICS if one.rate == 100)
    parts = cost.by_lambda(traffic)
    assert parts["send"] == pytest.approx(166.7 * 90 * 0.5 * 0.0000133334, rel=0.01)
    assert parts["split"] == pytest.approx(166.7 * 52 * 0.5 * 0.0000133334, rel=0.01)
    assert parts["requests"] < 0.02


def test_unpacked_records_cost_eight_times_as_much(cost):
    """5 KB each, whatever is in them."""
    packed = cost.capture(cost.TRAFFICS[1])
    plain = cost.published("one record a request") / cost.TRAFFICS[1].billed_bytes * packed
    assert plain == pytest.approx(0.138, abs=0.001)
    assert plain / packed > 8
