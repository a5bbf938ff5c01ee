"""Capture's ledger: the two sums, and how they are told."""

import pytest

from mirrorproxy.capture.ledger import Shipped, build_ledger, describe
from mirrorproxy.metrics import FIELDS


def totals(**numbers: int) -> dict[str, int]:
    return {name: numbers.get(name, 0) for name in FIELDS}


@pytest.mark.parametrize(
    ("numbers", "shipper", "final", "balanced"),
    [
        pytest.param({"seen": 3, "captured": 3}, Shipped(shipped=3), True, True, id="all shipped"),
        pytest.param(
            {
                "seen": 9,
                "captured": 3,
                "filtered_path": 2,
                "sampled": 1,
                "dropped_disk": 2,
                "lost": 1,
            },
            Shipped(shipped=1, waiting=1, quarantined=1),
            True,
            True,
            id="every fate",
        ),
        pytest.param({"seen": 3, "captured": 3}, Shipped(shipped=2), True, False, id="one missing"),
        pytest.param({"seen": 4, "captured": 3}, Shipped(shipped=3), True, False, id="no fate"),
        pytest.param({"seen": 4, "captured": 3}, Shipped(), False, True, id="live: in flight"),
        pytest.param({"seen": 2, "captured": 3}, Shipped(), False, False, id="more than seen"),
    ],
)
def test_balance(numbers: dict[str, int], shipper: Shipped, final: bool, balanced: bool) -> None:
    """Both sums hold at the end; while running only the first can be judged."""
    assert build_ledger(totals(**numbers), shipper, final=final).balanced is balanced


def test_description_names_only_what_happened() -> None:
    """Zero categories are left out; reasons are named."""
    ledger = build_ledger(
        totals(seen=1234, captured=1230, filtered_replay=1, dropped_spool_full=3),
        Shipped(shipped=1200, waiting=30),
        final=True,
    )
    assert describe(ledger).splitlines() == [
        "  seen      1,234",
        "  captured  1,230",
        "  filtered  1 (replayed traffic 1)",
        "  dropped   3 (spool full 3)",
        "  shipped   1,200",
        "  waiting   30 (in the spool; the next start ships them)",
        "  balanced",
    ]
