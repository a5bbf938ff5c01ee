"""A knob and shares that only remember what they were told, and a log of lines."""

from __future__ import annotations

from mirrorproxy.control.live import CaptureControls, ChangeLog, ReplayControls
from mirrorproxy.control.words import State

NOW_US = 1_700_000_000_000_000


class FakeKnob:
    """A knob of no replay. calls: what it was told, in order."""

    def __init__(self) -> None:
        self.rate_percent = 100.0
        self.state: State = "run"
        self.calls: list[str] = []

    def set_rate(self, percent: float) -> None:
        self.rate_percent = percent
        self.calls.append(f"rate {percent:g}")

    def pause(self) -> None:
        self.state = "pause"
        self.calls.append("pause")

    def resume(self) -> None:
        self.state = "run"
        self.calls.append("resume")

    def stop(self) -> None:
        self.state = "stop"
        self.calls.append("stop")


class FakePercents:
    """The shares of two services."""

    def __init__(self) -> None:
        self.shares = {"orders": 100.0, "shop": 10.0}

    def percents(self) -> dict[str, float]:
        return self.shares

    def set_percent(self, service: str | None, percent: float) -> None:
        for name in self.shares if service is None else [service]:
            self.shares[name] = percent


class NoReports:
    """A server that reports nothing."""

    def unready(self) -> list[str]:
        return []

    def metrics(self) -> str:
        return ""

    def status(self) -> object:
        return {}


def replay_controls(knob: FakeKnob, said: list[str]) -> ReplayControls:
    return ReplayControls(knob, ChangeLog(said.append, lambda: NOW_US))


def capture_controls(percents: FakePercents, said: list[str]) -> CaptureControls:
    return CaptureControls(percents, ChangeLog(said.append, lambda: NOW_US))
