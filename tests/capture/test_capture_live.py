"""The live shares of a capture, joined with a supervisor that only remembers."""

from __future__ import annotations

import logging

import pytest

from mirrorproxy.commands.capture_live import CaptureLive, SupervisorPercents
from mirrorproxy.topology import App, Topology


class FakeSupervisor:
    """Says what a supervisor would tell its workers, and is its own `live`."""

    def __init__(self, *apps: App) -> None:
        self.topology = Topology(apps=apps)
        self.by_service: dict[str, float] = {}
        self.of_all: float | None = None

    @property
    def live(self) -> FakeSupervisor:
        return self

    def percent_of(self, service: str, otherwise: float) -> float:
        every = otherwise if self.of_all is None else self.of_all
        return self.by_service.get(service, every)

    def set_percent(self, service: str | None, percent: float | None) -> None:
        if service is None:
            self.of_all = percent
        elif percent is None:
            self.by_service.pop(service, None)
        else:
            self.by_service[service] = percent


@pytest.fixture
def supervisor() -> FakeSupervisor:
    return FakeSupervisor(App(name="cart", percent=50.0))


def test_the_shares_are_those_of_configuration_and_apps(supervisor):
    """Until somebody changes them."""
    percents = SupervisorPercents(supervisor, {"orders": 100.0})
    assert percents.percents() == {"orders": 100.0, "cart": 50.0}
    percents.set_percent("cart", 5)
    assert percents.percents() == {"orders": 100.0, "cart": 5}


def test_a_share_of_all_wins_over_what_was_said_of_one(supervisor):
    """Whoever says 10 means everything."""
    percents = SupervisorPercents(supervisor, {"orders": 100.0})
    percents.set_percent("cart", 80)
    percents.set_percent(None, 10)
    assert percents.percents() == {"orders": 10, "cart": 10}


def test_consul_sets_the_share_of_all(supervisor, caplog):
    """And the log says who did it, or what is wrong with the key."""
    caplog.set_level(logging.INFO)
    control = CaptureLive(supervisor, {"orders": 100.0})
    on_change = control.follower("mirrorproxy/m/capture/")
    on_change({"percent": "25"})
    on_change({"percent": "a quarter"})
    assert control.current()["percent"] == {"orders": 25.0, "cart": 25.0}
    assert [record.getMessage() for record in caplog.records] == [
        "control: percent 25 (by Consul, mirrorproxy/m/capture/)",
        "Consul: mirrorproxy/m/capture/: percent: expected a number from 0 to 100, "
        "not 'a quarter'; nothing is changed",
    ]
