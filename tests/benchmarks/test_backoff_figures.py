"""The figures and the picture of the back-off benchmark, from a run that is made up."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from backoff import Run, Sent, figures, p95s, picture, rates
from chart import Line, Panel, draw
from narrow_origin import Capacity

RATE = 100


def made_up() -> Run:
    """Whole for 10 s; a second of waiting and half of it shed until 30 s; whole again 5 s later."""
    shots = []
    for number in range(60 * RATE):
        due_s = number / RATE
        is_shed = 10 <= due_s < 35 and number % 2 == 0
        latency_s = 1.0 if 10 <= due_s < 11 else 0.01
        ended_s = None if is_shed else due_s + latency_s
        shots.append(Sent(due_s, ended_s, 0.0 if is_shed else latency_s, is_good=not is_shed))
    return Run(shots, {}, 10.0, 30.0, [])


def test_the_figures_are_what_happened():
    """Times count from the change that they are about."""
    found = figures(made_up(), RATE, 0.25)
    assert found.under_s == pytest.approx(2.0, abs=0.5)
    assert found.back_s == pytest.approx(5.5, abs=0.5)
    assert (found.swing, found.after) == (pytest.approx(0, abs=0.03), pytest.approx(0, abs=0.03))
    assert (found.shed, found.most_p95_s) == (25 * RATE // 2, 1.0)


def test_rates_and_percentiles():
    """Of a second each, in steps of half of one; nothing where nothing was answered."""
    assert rates([0.1, 0.2, 0.6, 2.4], 3)[:4] == [(0.5, 3.0), (1.0, 1.0), (1.5, 0.0), (2.0, 1.0)]
    assert p95s([Sent(0.0, 0.1, 0.1, is_good=True)], 1.0) == [(0.5, 0.1), (1.0, None)]


def test_the_picture_is_svg():
    """Well-formed, with a line for each of what is drawn."""
    root = ET.fromstring(picture(made_up(), RATE, 0.25))
    # The p95 has a gap: for half a second nothing is answered.
    assert len(root.findall("{*}polyline")) == 6
    assert {text.text for text in root.findall("{*}text")} >= {"due", "sent", "limit", "a third"}


def test_a_gap_is_a_gap():
    """Where there is nothing no line is drawn; what is too high is cut at the top."""
    points = [(0.0, 1.0), (1.0, 9.0), (2.0, None), (3.0, 1.0), (4.0, 1.0)]
    root = ET.fromstring(draw([Panel("<&", 2.0, [Line("x", "#000", points)])], 4.0, []))
    first, second = (line.attrib["points"].split() for line in root.findall("{*}polyline"))
    assert (len(first), len(second)) == (2, 2)
    assert first[1].endswith(",34.0")


def test_a_queue_moves_on_at_its_capacity():
    """What waits when the capacity changes leaves at the new one; a full queue takes nobody."""
    queue = Capacity(10, 3)
    assert [queue.wait_s(0.0) for _ in range(3)] == pytest.approx([0.005, 0.105, 0.205])
    assert queue.wait_s(0.0) is None
    queue.change(5, 0.1)
    assert queue.wait_s(0.1) == pytest.approx(0.405)
