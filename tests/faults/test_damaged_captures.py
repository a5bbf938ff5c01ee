"""Segments and objects that a disk has damaged: what is lost is counted, the rest arrives."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_accounts import Accounts, ledger_gaps
from fault_capture import mirror, replay
from fault_load import Load, MarkedOrigin, marked_origin

from mirrorproxy.members import Damage, read_batches

Report = Callable[[Accounts], None]

COUNT = 600


async def loaded(
    to: Path, origin: MarkedOrigin, *, drained: bool
) -> tuple[Load, dict[str, object]]:
    """Capture a load; drained: ship it, else kill everything with all of it in the spool."""
    options = () if drained else ("--roll-age", "1h")
    async with mirror(origin.url, to, *options) as running:
        load = await Load(running.address, "damaged", COUNT, pause_s=0.04).run()
        if drained:
            return load, await running.end()
        await running.kill_all()
    return load, {}


def markers_of(lines: list[bytes]) -> tuple[Counter[str], int]:
    """Return the markers that can be read, and how many lines cannot."""
    markers: Counter[str] = Counter()
    unreadable = 0
    for line in lines:
        try:
            markers[json.loads(line)["request"]["target"].removeprefix("/m/")] += 1
        except ValueError:
            unreadable += 1
    return markers, unreadable


def lines_of(to: Path) -> list[bytes]:
    """Return every line of a capture whose members are whole."""
    lines: list[bytes] = []
    for path in sorted(to.glob("[0-9]*/**/*.jsonl.gz")):
        with open(path, "rb") as file:
            for batch in read_batches(file):
                assert not isinstance(batch, Damage)
                lines += [line for _, line in batch]
    return lines


@pytest.mark.fault
async def test_damaged_segments(tmp_path: Path, report: Report) -> None:
    """Bytes overwritten while nothing runs: the next start counts what is gone, ships the rest."""
    dice = random.Random(7)
    to = tmp_path / "to"
    async with marked_origin() as origin:
        load, _ = await loaded(to, origin, drained=False)
        assert load.failures == []
        segments = sorted((to / ".spool" / "segments").iterdir())
        damaged = 0
        for path in segments:
            data = bytearray(path.read_bytes())
            for _ in range(5):
                at = dice.randrange(len(data) - 10_000)
                data[at : at + 3000] = bytes(3000)
                damaged += 1
            path.write_bytes(data[:-100])
        (to / ".spool" / "segments" / "0000000000000000-5-1.ndjson").write_bytes(
            b"not a record\nnor this\n"
        )
        async with mirror(origin.url, to) as running:
            ledger = await running.end()
    async with marked_origin() as staging:
        replayed = await replay(to, staging.url)
    markers, unreadable = markers_of(lines_of(to))
    missing = load.answered - markers.keys()
    accounts = Accounts(
        fault="damaged segments",
        injected=f"{damaged} times 3,000 bytes, ends cut off, a foreign file",
        load=COUNT,
        seen=ledger["seen"],
        captured=ledger["captured"],
        lost=ledger["lost"],
        replayed=replayed["answered"],
        note=f"{unreadable} lines unreadable",
        unaccounted=ledger_gaps(ledger),
    )
    report(accounts)
    assert ledger["exit"] == 0
    assert ledger["captured"] == len(markers) + unreadable
    # A region of zeros joins the lines that it begins and ends in.
    assert len(missing) <= ledger["lost"] + unreadable
    assert 2 * damaged // 3 <= len(missing) <= 3 * damaged + len(segments)
    assert staging.served == markers
    assert staging.foreign == []
    assert (replayed["read"], replayed["unreadable"]) == (len(markers), unreadable)
    assert (replayed["balanced"], replayed["exit"]) == (True, 1)


@pytest.mark.fault
async def test_damaged_objects(tmp_path: Path, report: Report) -> None:
    """Flipped bytes, a cut object: the replay counts the lines lost, and sends all others."""
    dice = random.Random(11)
    to = tmp_path / "to"
    async with marked_origin() as origin:
        load, ledger = await loaded(to, origin, drained=True)
    objects = sorted(to.glob("[0-9]*/**/*.jsonl.gz"))
    for path in objects:
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data) // 2, len(data) - 2000)] ^= 0x5A
        path.write_bytes(data)
    with open(objects[-1], "r+b") as file:
        file.truncate(objects[-1].stat().st_size - 50)
    async with marked_origin() as staging:
        replayed = await replay(to, staging.url)
    gone = COUNT - replayed["read"]
    accounts = Accounts(
        fault="damaged objects",
        injected=f"a byte flipped in each of {len(objects)}, one cut",
        load=COUNT,
        seen=COUNT,
        captured=COUNT,
        replayed=replayed["answered"],
        unaccounted=abs(gone - replayed["unreadable"]),
        note=f"{replayed['unreadable']} exchanges unreadable",
    )
    report(accounts)
    assert (ledger["captured"], ledger["exit"]) == (COUNT, 0)
    assert 0 < gone < COUNT
    assert staging.served == Counter(dict.fromkeys(staging.served, 1))
    assert staging.served.keys() < load.answered
    assert staging.foreign == []
    assert (replayed["answered"], replayed["balanced"]) == (replayed["read"], True)
    assert replayed["exit"] == 1
