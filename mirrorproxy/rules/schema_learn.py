"""The part of a rule file that says what is learned from answers, and used where.

Values only; `declared` compiles them. Every key is described in docs/rules.md.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field


class LearnRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One value of an answer, by the name that ``use`` has for it."""

    from_: Literal["response.json", "response.header", "response.cookie", "response.text"] = field(
        name="from"
    )
    as_: str = field(name="as")
    path: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    regex: str | UnsetType = UNSET


class UseRule(Struct, frozen=True, forbid_unknown_fields=True):
    """One place of a request that a learned value goes to."""

    in_: Literal["path", "query", "json", "form", "header", "cookie"] = field(name="in")
    path: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    as_: str | UnsetType = field(default=UNSET, name="as")
