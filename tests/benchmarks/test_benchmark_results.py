"""Benchmark results: how they are written, read, shown and compared."""

from __future__ import annotations

import msgspec
import pytest
import results
import run as benchmarks
import tables
from regressions import regressions
from results import Column, Demand, Results, Row, Section, Spread

COST = Column("CPU", "us", "lower")
RATE = Column("rate", "requests/s", "higher")
RATIO = Column("to nginx", "times", "lower", is_relative=True)
LAG = Column("p99", "ms", "lower", resolution=0.5)
TOLD = Column("errors")


def made(columns, rows, *, cpu="Chip 1, 2 cores", demands=(), absent=()):
    section = Section("cost", "The cost", "Measured so.", columns, rows, demands, absent)
    return Results("2026-11-23 17:00 UTC", "quick", {"cpu": cpu}, {"Python": "3.11"}, [section])


def ours(column, *values):
    return Row("mirrorproxy", {column.name: Spread.of(values)}, is_ours=True)


def test_a_spread_is_the_median_between_the_least_and_the_greatest():
    """Four digits are kept of each run."""
    assert Spread.of([3.0, 1.23456, 2.0]) == Spread(2.0, 1.235, 3.0, 3)


def test_results_are_read_as_they_were_written():
    """JSON loses nothing."""
    written = made(
        [COST, RATIO],
        [ours(COST, 1.0, 2.0, 3.0)],
        demands=[Demand("CPU", "at most", 2.5, 1.9, "times")],
        absent=["Traefik: not installed"],
    )
    assert results.decode(results.encode(written)) == msgspec.convert(
        msgspec.to_builtins(written), Results
    )


def test_a_section_on_a_terminal():
    """Columns line up; a run alone has no spread, what was not measured is a dash."""
    section = made(
        [COST, RATIO],
        [
            Row("nginx", {"CPU": Spread.of([22.04])}),
            Row("mirrorproxy", {"CPU": Spread.of([40, 38, 45]), "to nginx": Spread.of([1.8])}),
        ],
        demands=[
            Demand("CPU beside nginx", "at most", 2.5, 1.8, "times"),
            Demand("Rate beside aiohttp", "at least", 3, 2.9, "times"),
        ],
        absent=["Traefik: not installed"],
    ).sections[0]
    assert tables.text(section) == (
        "The cost\n"
        "========\n"
        "                         CPU, us  to nginx, times\n"
        "nginx                       22.0                -\n"
        "mirrorproxy  40.0 (38.0 to 45.0)             1.80\n"
        "met: CPU beside nginx: 1.80 times, at most 2.50 times\n"
        "NOT MET: Rate beside aiohttp: 2.90 times, at least 3.00 times\n"
        "not measured: Traefik: not installed\n"
    )


def test_a_section_on_the_page():
    """A Markdown table below what was done."""
    section = made([COST], [ours(COST, 22)], absent=["Traefik: not installed"]).sections[0]
    assert tables.markdown(section) == (
        "## The cost\n\nMeasured so.\n\n"
        "|  | CPU, us |\n| --- | ---: |\n| mirrorproxy | 22.0 |\n\n"
        "- Not measured: Traefik: not installed\n"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(0.0456, "0.046", id="thousandths below a tenth"),
        pytest.param(1.805, "1.80", id="hundredths"),
        pytest.param(22.04, "22.0", id="tenths from ten on"),
        pytest.param(854.4, "854", id="whole from a hundred on"),
        pytest.param(41234.5, "41,234", id="thousands apart"),
    ],
)
def test_numbers_show_the_digits_that_say_something(value, shown):
    """Three digits or so, whatever the size."""
    assert tables.number(value) == shown


@pytest.mark.parametrize(
    ("column", "before", "now", "named"),
    [
        pytest.param(COST, 40, 44.1, True, id="cost up by more than a tenth"),
        pytest.param(COST, 40, 43.9, False, id="cost up by less than a tenth"),
        pytest.param(COST, 40, 20, False, id="cost down"),
        pytest.param(RATE, 1000, 890, True, id="rate down by more than a tenth"),
        pytest.param(RATE, 1000, 2000, False, id="rate up"),
        pytest.param(LAG, 0.1, 0.5, False, id="a change too small to be seen"),
        pytest.param(LAG, 1, 1.7, True, id="a change large enough to be seen"),
        pytest.param(LAG, 0, 3, True, id="from nothing"),
        pytest.param(TOLD, 0, 100, False, id="a figure that is only told"),
    ],
)
def test_what_became_worse_by_more_than_a_tenth_is_named(column, before, now, named):
    """Worse is higher or lower, as the column says."""
    found = regressions(made([column], [ours(column, before)]), made([column], [ours(column, now)]))
    assert [one.column for one in found] == ([column.name] if named else [])


def test_the_worst_is_named_first_and_doubt_is_said():
    """Spreads that meet leave a doubt."""
    columns = [COST, RATE]
    before = Row(
        "mirrorproxy", {"CPU": Spread(40, 38, 47, 5), "rate": Spread(1000, 990, 1010, 5)}, True
    )
    now = Row("mirrorproxy", {"CPU": Spread(46, 45, 48, 5), "rate": Spread(500, 490, 510, 5)}, True)
    found = regressions(made(columns, [before]), made(columns, [now]))
    assert [str(one) for one in found] == [
        "The cost, mirrorproxy, rate: 1000 requests/s before, 500 requests/s now: 50% worse",
        "The cost, mirrorproxy, CPU: 40 us before, 46 us now: 15% worse, "
        "within the spread of the runs",
    ]


def test_other_subjects_are_not_judged():
    """A slower nginx is the machine's doing."""
    rows = [[Row("nginx", {"CPU": Spread.of([value])})] for value in (20, 40)]
    assert regressions(made([COST], rows[0]), made([COST], rows[1])) == []


def test_between_unlike_machines_only_ratios_are_compared():
    """A slower machine is no regression, a worse ratio is."""
    before, now = (
        made(
            [COST, RATIO],
            [Row("mirrorproxy", {"CPU": Spread.of([cost]), "to nginx": Spread.of([ratio])}, True)],
            cpu=cpu,
        )
        for cpu, cost, ratio in (("Chip 1", 20, 1.5), ("Chip 2", 60, 2.0))
    )
    assert [one.column for one in regressions(before, now)] == ["to nginx"]


def test_what_is_new_or_gone_is_no_regression():
    """Only figures that both have are compared."""
    assert regressions(made([COST], [ours(COST, 1)]), made([RATE], [ours(RATE, 1)])) == []


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        pytest.param(None, "There were no earlier results", id="the first time"),
        pytest.param([], "Nothing became worse by more than 10 %", id="as good as before"),
    ],
)
def test_the_page_says_what_was_run_where(worse, said):
    """Date, machine, versions, and the comparison."""
    page = tables.page(made([COST], [ours(COST, 1)]), worse)
    for part in ("2026-11-23 17:00 UTC", "Chip 1, 2 cores", "Python 3.11", "## The cost", said):
        assert part in page


def test_the_published_page_shows_the_published_figures(repository):
    """RESULTS.md and results.json are of one run."""
    folder = repository / "benchmarks"
    if not (folder / "results.json").exists():
        pytest.skip("nothing is published yet")
    page = (folder / "RESULTS.md").read_text()
    published = results.decode((folder / "results.json").read_bytes())
    assert published.date in page
    for section in published.sections:
        assert tables.markdown(section) in page


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--publish", "--trial"], id="a trial"),
        pytest.param(["--publish", "--only", "pacing"], id="a part"),
        pytest.param(["--only", "nothing"], id="no such benchmark"),
    ],
)
def test_what_means_nothing_is_not_published(arguments, capsys):
    """A mistake in the options ends with status 2 before anything runs."""
    with pytest.raises(SystemExit) as ended:
        benchmarks.options_of(arguments)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_one_that_fails_does_not_stop_the_others(monkeypatch, capsys):
    """It is named; what is absent is a section that says so."""

    def fails(plan, say):
        raise RuntimeError("no luck")

    def lacks(plan, say):
        raise benchmarks.harness.Absent("wrk is not installed")

    def works(plan, say):
        return list(made([COST], [ours(COST, 1)]).sections)

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"fails": fails, "lacks": lacks, "works": works})
    sections, failed = benchmarks.run(["fails", "lacks", "works"], benchmarks.TRIAL)
    assert failed == ["fails"]
    assert [(one.name, list(one.absent)) for one in sections] == [
        ("lacks", ["wrk is not installed"]),
        ("cost", []),
    ]
    assert "fails failed: no luck" in capsys.readouterr().err


def test_a_run_is_compared_with_the_published_one(monkeypatch, tmp_path, capsys):
    """The second run names what became worse; only `--publish` replaces what is published."""
    published, apart = tmp_path / "published", tmp_path / "apart"
    cost = iter([20, 30, 31])

    def measure(plan, say):
        return list(made([COST], [ours(COST, next(cost))]).sections)

    monkeypatch.setattr(benchmarks, "HERE", published)
    monkeypatch.setattr(benchmarks, "UNPUBLISHED", apart)
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"cost": measure})
    monkeypatch.setattr(benchmarks.machine, "busy_share", lambda: 0.01)
    monkeypatch.setattr(benchmarks.machine, "versions", lambda: {"Python": "3.11"})
    assert benchmarks.main(["--publish"]) == 0
    assert "no earlier results" in (published / "RESULTS.md").read_text()
    assert "worse" not in capsys.readouterr().out
    assert benchmarks.main([]) == 0
    line = "The cost, mirrorproxy, CPU: 20 us before, 30 us now: 50% worse"
    assert f"worse: {line}\n" in capsys.readouterr().out
    assert f"- {line}\n" in (apart / "RESULTS.md").read_text()
    assert benchmarks.main(["--publish"]) == 0
    assert "31 us now: 55% worse" in (published / "RESULTS.md").read_text()


def test_a_run_that_failed_is_not_published(monkeypatch, tmp_path):
    """The next comparison would miss what failed."""

    def fails(plan, say):
        raise RuntimeError("no luck")

    monkeypatch.setattr(benchmarks, "HERE", tmp_path / "published")
    monkeypatch.setattr(benchmarks, "UNPUBLISHED", tmp_path / "apart")
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"cost": fails})
    monkeypatch.setattr(benchmarks.machine, "busy_share", lambda: 0.01)
    monkeypatch.setattr(benchmarks.machine, "versions", lambda: {"Python": "3.11"})
    assert benchmarks.main(["--publish"]) == 1
    assert not (tmp_path / "published").exists()
    assert (tmp_path / "apart/results.json").exists()


def test_results_that_cannot_be_read_are_said_to_be(monkeypatch, tmp_path, capsys):
    """The run goes on without a comparison."""
    (tmp_path / "results.json").write_text('{"v":1')
    monkeypatch.setattr(benchmarks, "HERE", tmp_path)
    assert benchmarks.last_published() is None
    assert "the last results cannot be read" in capsys.readouterr().err


def test_nothing_is_published_from_a_busy_machine(monkeypatch, capsys):
    """It ends before anything is measured."""
    monkeypatch.setattr(benchmarks.machine, "busy_share", lambda: 0.4)
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {})
    assert benchmarks.main(["--publish"]) == 2
    assert "40% of its cores are in use" in capsys.readouterr().err
