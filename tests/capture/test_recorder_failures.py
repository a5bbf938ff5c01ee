"""Whatever goes wrong in capturing is counted once, said once a second, and stays inside."""

import logging

import pytest
from recorder_fakes import Bench, answered

from mirrorproxy.capture.recorder import ServicePolicy
from mirrorproxy.capture.tee import TeeLimits
from mirrorproxy.spool.segment import SpoolFull

NO_SPACE = OSError(28, "No space left on device", "/spool/segments/x")


@pytest.mark.parametrize(
    ("error", "field"),
    [
        pytest.param(NO_SPACE, "dropped_disk", id="disk"),
        pytest.param(SpoolFull("bound reached"), "dropped_spool_full", id="spool full"),
        pytest.param(RuntimeError("s3cret"), "dropped_error", id="a fault of ours"),
        pytest.param(MemoryError(), "dropped_error", id="no memory"),
    ],
)
def test_an_append_that_fails_costs_the_record_only(error, field):
    """The request goes on; the loss has its number."""
    bench = Bench()
    bench.writer.error = error
    bench.run(body=[b"x"])
    assert bench.counts == {"seen": 1, field: 1}
    assert bench.recorder._budget.used == 0


def test_a_failed_disk_is_left_alone_for_a_second():
    """Meanwhile records are dropped under the same name, then it is tried again."""
    bench = Bench()
    bench.writer.error = NO_SPACE
    bench.run()
    bench.writer.error = None
    bench.run()
    bench.clock.now += 0.9
    bench.run()
    assert bench.writer.attempts == 1
    assert bench.counts == {"seen": 3, "dropped_disk": 3}
    bench.clock.now += 0.2
    bench.run()
    assert bench.writer.attempts == 2
    assert bench.counts == {"seen": 4, "dropped_disk": 3, "captured": 1}


def test_a_fault_of_ours_does_not_stop_the_capture():
    """One odd exchange says nothing about the next."""
    bench = Bench()
    bench.sealer.error = ValueError("odd")
    bench.run()
    bench.sealer.error = None
    bench.run()
    assert bench.counts == {"seen": 2, "dropped_error": 1, "captured": 1}


def test_a_disk_that_hangs_is_left_alone():
    """A slow append is captured, and the next ones do not hold up the requests."""
    bench = Bench()
    bench.writer.takes_s = 0.3
    bench.run()
    bench.writer.takes_s = 0.0
    bench.run()
    bench.clock.now += 1.0
    bench.run()
    assert bench.counts == {"seen": 3, "captured": 2, "dropped_slow_disk": 1}


def test_a_fast_disk_is_not_called_slow():
    """A quarter of a second is still borne."""
    bench = Bench()
    bench.writer.takes_s = 0.25
    bench.run()
    bench.run()
    assert bench.counts == {"seen": 2, "captured": 2}


@pytest.mark.parametrize(
    ("error", "field"),
    [
        pytest.param(NO_SPACE, "dropped_disk", id="disk"),
        pytest.param(SpoolFull("bound reached"), "dropped_spool_full", id="spool full"),
    ],
)
def test_a_large_body_that_cannot_be_written_costs_its_record(error, field):
    """The file goes, the exchange is counted once, whatever is told afterwards."""
    bench = Bench(limits=TeeLimits(memory=10))
    tap = bench.begin()
    bench.writer.body_error = error
    tap.request_data(b"a" * 20)
    tap.request_data(b"a" * 20)
    tap.request_end()
    tap.response_head(answered())
    tap.finish(1)
    assert bench.counts == {"seen": 1, field: 1}
    assert [file.state for file in bench.writer.bodies] == ["discarded"]
    assert bench.recorder._budget.used == 0


def test_a_large_body_is_not_begun_while_the_disk_is_left_alone():
    """No file is made, the drop counts under the reason of the pause."""
    bench = Bench(limits=TeeLimits(memory=10))
    bench.writer.error = NO_SPACE
    bench.run()
    bench.run(body=[b"a" * 20])
    assert bench.writer.bodies == []
    assert bench.counts == {"seen": 2, "dropped_disk": 2}


def test_what_is_dropped_in_the_pause_does_not_prolong_it():
    """A stream of large bodies must not keep the disk from being tried again."""
    bench = Bench(limits=TeeLimits(memory=10))
    bench.writer.error = NO_SPACE
    bench.run()
    bench.writer.error = None
    bench.clock.now += 0.9
    bench.run(body=[b"a" * 20])
    bench.clock.now += 0.2
    bench.run(body=[b"a" * 20])
    assert bench.counts == {"seen": 3, "dropped_disk": 2, "captured": 1}


def test_a_body_moved_out_of_its_line_leaves_nothing_when_the_disk_fails():
    """The file that was begun is removed."""
    bench = Bench()
    bench.writer.body_error = NO_SPACE
    bench.run(body=[b"\x01" * 300_000])
    assert bench.counts == {"seen": 1, "dropped_disk": 1}
    assert [file.state for file in bench.writer.bodies] == ["discarded"]


def test_nothing_is_raised_while_deciding():
    """A sealer that fails when sampling asks it gives a tap that takes everything."""
    bench = Bench(policy=ServicePolicy(percent=50, percent_by="session"))
    bench.sealer.error = KeyError("s3cret")
    bench.run()
    assert bench.counts == {"seen": 1, "dropped_error": 1}


def test_a_reason_without_a_field_is_still_counted():
    """The ledger balances whatever a caller says about an incomplete request."""
    bench = Bench()
    bench.begin().abandon("no such reason")
    assert bench.counts == {"seen": 1, "dropped_client_aborted": 1}


def test_the_log_says_it_once_a_second_and_quotes_nothing(caplog):
    """A flood of failures is one line a second, with a count, without a secret or a path."""
    caplog.set_level(logging.WARNING)
    bench = Bench()
    bench.sealer.error = ValueError("Bearer s3cret")
    for _ in range(5):
        bench.run(target="/s3cret")
    bench.clock.now += 1.0
    bench.sealer.error = OSError(5, "s3cret", "/spool/s3cret")
    bench.run()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert messages[0].startswith(
        "1 exchange(s) not recorded, the last because of ValueError in recorder_fakes.py:"
    )
    assert messages[1] == (
        "5 exchange(s) not recorded, the last because the spool cannot be written (EIO)"
    )
    assert "s3cret" not in caplog.text


def test_clients_that_go_away_are_not_worth_a_line(caplog):
    """They are counted; nothing is wrong with us."""
    bench = Bench()
    bench.begin().abandon("client_aborted")
    assert caplog.records == []


def test_closing_lets_go_of_the_segment():
    """At the end the segment is final."""
    bench = Bench()
    bench.run()
    bench.recorder.close()
    assert [kind for kind, _ in bench.writer.events] == ["line", "close"]
