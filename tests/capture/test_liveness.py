"""When a worker counts as hung, and how soon it is started again."""

import pytest

from mirrorproxy.capture.liveness import Restarts, Silence


@pytest.mark.parametrize(
    ("observations", "is_hung"),
    [
        pytest.param([(1, 0.25), (2, 0.25), (3, 0.25)], False, id="ticking"),
        pytest.param([(1, 0.25), *[(1, 0.25)] * 7], False, id="silent for 1.75 s"),
        pytest.param([(1, 0.25), *[(1, 0.25)] * 8], True, id="silent for 2 s"),
        pytest.param([(1, 0.25), *[(1, 0.25)] * 7, (2, 0.25), (2, 0.25)], False, id="came back"),
        pytest.param([(1, 0.25), (1, 3600.0)], False, id="the observer itself was stopped"),
    ],
)
def test_silence(observations: list[tuple[int, float]], is_hung: bool) -> None:
    """Two seconds without a tick, as far as the observer was awake to see it."""
    silence = Silence(2.0)
    assert [silence.observe(*observation) for observation in observations][-1] is is_hung


@pytest.mark.parametrize(
    ("lives_s", "delays_s"),
    [
        pytest.param([60.0, 60.0, 60.0], [0.0, 0.0, 0.0], id="after long lives at once"),
        pytest.param([0.1] * 7, [0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0], id="dies young again"),
        pytest.param([0.1, 0.1, 9.0, 0.1], [0.0, 0.2, 0.0, 0.0], id="a long life forgives"),
    ],
)
def test_restart_delays(lives_s: list[float], delays_s: list[float]) -> None:
    """The first early death costs nothing; more in a row wait longer, 5 s at most."""
    restarts = Restarts()
    assert [restarts.died(lived_s) for lived_s in lives_s] == delays_s
    assert restarts.count == len(lives_s)


def test_restart_delay_has_no_overflow() -> None:
    """A worker that never starts, all weekend."""
    restarts = Restarts()
    assert max(restarts.died(0.1) for _ in range(100_000)) == 5.0
