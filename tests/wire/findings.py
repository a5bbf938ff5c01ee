"""Findings that stand: cases the proxy does not meet yet, each with what is wrong.

Their tests must fail; one that passes says that its line here can go.
"""

from __future__ import annotations

import pytest

OPEN: dict[str, str] = {}


def mark(name: str) -> list[pytest.MarkDecorator]:
    """Return the marks of a case or test of that name."""
    reason = OPEN.get(name)
    return [pytest.mark.xfail(strict=True, reason=reason)] if reason else []
