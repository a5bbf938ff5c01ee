"""What was sent twice, by whom, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import msgspec
import pytest

from mirrorproxy.outcome import Outcome, Production
from mirrorproxy.report.repeats import Once, Repeated, Repeats


def line(number: int, *, copy: int = 0, target: str = "staging", **outcome: object) -> bytes:
    """Return the line of an outcome, an answer unless anything else is said."""
    values = outcome or {"status": 200, "latency_us": 5}
    return (
        msgspec.json.encode(
            Outcome(f"{number:032x}", copy, target, 1, Production(7), **values)  # type: ignore[arg-type]
        )
        + b"\n"
    )


FAILED = {"failure": "reset", "latency_us": 5}
SHED = {"shed": "rate"}
UNSENT = {"unsent": True}


def count(
    *workers: list[bytes], size: int = 0, share_bytes: int = 1 << 20
) -> tuple[Once, list[Repeated]]:
    """Return what is said of workers named a, b, c, by their lines."""
    repeated: list[Repeated] = []
    with Repeats(size, share_bytes=share_bytes) as repeats:
        for name, lines in zip("abc", workers, strict=False):
            repeats.add_worker(name, iter(lines))
        return repeats.count(repeated.append), repeated


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        pytest.param(
            [[line(1), line(2)], [line(3)]], Once(shots=3, sent=3, answered=3), id="each once"
        ),
        pytest.param(
            [[line(1)], [line(1)], [line(1)]],
            Once(shots=1, sent=1, answered=1, repeated=1, by_several=1, extra=2),
            id="by three",
        ),
        pytest.param(
            [[line(1), line(1)]],
            Once(shots=1, sent=1, answered=1, repeated=1, extra=1),
            id="by one, twice",
        ),
        pytest.param(
            [[line(1, **UNSENT)], [line(1)]],
            Once(shots=1, sent=1, answered=1),
            id="left by one, sent by another",
        ),
        pytest.param(
            [[line(1, **FAILED)], [line(1)]],
            Once(shots=1, sent=1, answered=1, repeated=1, by_several=1, extra=1),
            id="a failure may have arrived",
        ),
        pytest.param(
            [[line(1, **FAILED), line(2, **SHED)], [line(2, **UNSENT)]],
            Once(shots=2, sent=1, not_sent=1),
            id="never answered, never sent",
        ),
        pytest.param(
            [[line(1), line(1, copy=1), line(1, target="other")]],
            Once(shots=3, sent=3, answered=3),
            id="copies and targets are shots of their own",
        ),
    ],
)
def test_shots_are_counted_once(workers, expected):
    """Whoever planned them."""
    assert count(*workers)[0] == expected


def test_who_sent_a_shot_is_told():
    """By name, with how often."""
    _, repeated = count([line(7), line(7, copy=1)], [line(7), line(7)])
    assert repeated == [Repeated(f"{7:032x}", 0, "staging", {"a": 1, "b": 2})]


def test_lines_are_counted_by_what_became_of_them():
    """And what is no outcome by itself: a line cut by a kill, another program's."""
    with Repeats(0) as repeats:
        lines = [line(1), line(2, **FAILED), line(3, **SHED), line(4, **UNSENT), line(5)[:40]]
        states, damaged = repeats.add_worker("a", iter([*lines, b"\xff\n", b"[1]\n"]))
    assert states == {"answered": 1, "failed": 1, "shed": 1, "unsent": 1}
    assert damaged == 3


def test_strange_targets_stay_apart():
    """A line end or a space in a name splits nothing."""
    _, repeated = count([line(1, target="a\nb c"), line(1, target="a")], [line(1, target="a\nb c")])
    assert [one.target for one in repeated] == ["a\nb c"]


def test_the_sum_is_the_same_over_any_number_of_files():
    """Where they are split does not show."""
    workers = [
        [line(number) for number in range(500)],
        [line(number) for number in range(400, 600)],
    ]
    expected = Once(shots=600, sent=600, answered=600, repeated=100, by_several=100, extra=100)
    for size in (0, 1 << 10, 1 << 16, 1 << 30):
        once, repeated = count(*workers, size=size, share_bytes=1 << 10)
        assert (once, len(repeated)) == (expected, 100)


def test_memory_does_not_grow_with_the_outcomes():
    """Ten times as many shots take the memory of their share alone."""

    def lines(shots: int) -> Iterator[bytes]:
        return (line(number) for number in range(shots))

    def peak(shots: int) -> int:
        size = shots * len(line(0))
        tracemalloc.start()
        try:
            with Repeats(size, share_bytes=1 << 19) as repeats:
                repeats.add_worker("a", lines(shots))
                assert repeats.count(lambda _one: None).shots == shots
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(50_000) < 2 * peak(5_000)
