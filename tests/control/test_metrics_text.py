"""The text that Prometheus scrapes."""

import re

import pytest

from mirrorproxy.control.metrics import Scrape, WorkerSample, render
from mirrorproxy.metrics import FIELDS
from mirrorproxy.spool.status import ShipperStatus

ZEROS = dict.fromkeys(FIELDS, 0)
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)')


def scrape(**changes):
    values = {
        "name": "mirror-1",
        "version": "0.1.0",
        "ready": True,
        "started_us": 1_700_000_000_500_000,
        "now_us": 1_700_000_010_000_000,
        "totals": ZEROS,
    }
    return Scrape(**(values | changes))


def lines_of(text, name):
    return [line for line in text.splitlines() if re.match(rf"mirrorproxy_{name}\b", line)]


def test_every_line_is_of_the_format():
    """HELP and TYPE once before each metric's samples, and nothing else."""
    text = render(
        scrape(
            workers=(WorkerSample(slot=0, up=True), WorkerSample(slot=1, up=False)),
            shipping=ShipperStatus(updated_us=1_700_000_009_000_000),
        )
    )
    assert text.endswith("\n")
    assert "\n\n" not in text
    described = []
    kind = None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            assert name not in described
            assert words
            described.append(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == described[-1]
            assert kind in ("counter", "gauge")
            assert (kind == "counter") == name.endswith("_total")
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] == described[-1]
            float(match[3])
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len({line.rpartition(" ")[0] for line in samples}) == len(samples)


def test_every_counted_field_is_shown():
    """A number that is counted and never shown would be a loss that nobody sees."""
    totals = {name: 1_000 + position for position, name in enumerate(FIELDS)}
    shown = {line.rpartition(" ")[2] for line in render(scrape(totals=totals)).splitlines()}
    hidden = {name for name, number in totals.items() if str(number) not in shown}
    assert hidden == {
        "pid",
        "heartbeat_ns",
        "ready",
        "segment_us",
        "segment_seq",
        "segment_bytes",
        "open_connections",
        "open_requests",
    }


def test_reasons_are_labels():
    """What was dropped is one metric, by reason."""
    text = render(scrape(totals=ZEROS | {"dropped_disk": 7, "responses_5xx": 2}))
    assert 'mirrorproxy_capture_dropped_total{reason="disk"} 7' in text
    assert 'mirrorproxy_capture_dropped_total{reason="spool_full"} 0' in text
    assert 'mirrorproxy_proxy_responses_total{class="5xx"} 2' in text


def test_workers_are_labels():
    """What belongs to one process is shown by worker."""
    workers = (
        WorkerSample(slot=0, up=True, open_connections=32, open_requests=3),
        WorkerSample(slot=3, up=False, restarts=2),
    )
    text = render(scrape(workers=workers))
    assert lines_of(text, "worker_up") == [
        'mirrorproxy_worker_up{worker="0"} 1',
        'mirrorproxy_worker_up{worker="3"} 0',
    ]
    assert 'mirrorproxy_worker_restarts_total{worker="3"} 2' in text
    assert 'mirrorproxy_proxy_open_connections{worker="0"} 32' in text
    assert 'mirrorproxy_proxy_open_requests{worker="0"} 3' in text


def test_the_shipper_is_shown_with_the_age_of_what_it_said():
    """A shipper that hangs is seen by the age of its status, not by frozen numbers alone."""
    status = ShipperStatus(
        updated_us=1_700_000_007_500_000,
        shipped=12,
        waiting=3,
        waiting_bytes=4096,
        quarantined=1,
        oldest_age_s=1.5,
        delay_s=0.25,
        error="the directory is gone",
    )
    text = render(scrape(shipping=status, shipper_up=True, shipper_restarts=4))
    for line in (
        "mirrorproxy_shipper_up 1",
        "mirrorproxy_shipper_restarts_total 4",
        "mirrorproxy_shipper_shipped_total 12",
        "mirrorproxy_shipper_quarantined_total 1",
        "mirrorproxy_spool_waiting_records 3",
        "mirrorproxy_spool_waiting_bytes 4096",
        "mirrorproxy_spool_oldest_age_seconds 1.5",
        "mirrorproxy_shipper_delay_seconds 0.25",
        "mirrorproxy_shipper_failing 1",
        "mirrorproxy_shipper_status_age_seconds 2.5",
    ):
        assert line in text.splitlines()
    assert "directory" not in text


def test_a_shipper_that_has_not_spoken_shows_no_numbers():
    """Nothing is better than zeros that look like an empty spool."""
    text = render(scrape())
    assert "mirrorproxy_shipper_up 0" in text
    assert "shipped" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param('a"b', r'name="a\"b"', id="quote"),
        pytest.param("a\\b", r'name="a\\b"', id="backslash"),
        pytest.param("a\nb", r'name="a\nb"', id="newline"),
    ],
)
def test_labels_are_escaped(name, shown):
    """A name chosen by the user cannot break the format."""
    assert f"mirrorproxy_info{{{shown}," in render(scrape(name=name))


def test_large_counters_keep_their_last_digit():
    """Counters are 64 bits wide."""
    text = render(scrape(totals=ZEROS | {"request_bytes": 2**63 + 1}))
    assert f"mirrorproxy_proxy_request_body_bytes_total {2**63 + 1}" in text


def test_readiness_and_start():
    """When it started, and whether it may be used."""
    text = render(scrape(ready=False))
    assert "mirrorproxy_ready 0" in text
    assert "mirrorproxy_start_time_seconds 1700000000.5" in text
