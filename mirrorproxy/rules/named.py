"""Functions that a rule file names, as ``package.module:function``.

Owns the finding of them. Loading a module runs it: a rule file is as trusted as a program.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


class NameFault(Exception):
    """Why a name leads to no function."""


def named_function(name: str) -> Callable[..., Any]:
    """Return the function. Raises NameFault."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise NameFault("expected package.module:function")
    module, problem = _load(match[1])
    if problem is not None:
        raise NameFault(f"{match[1]} cannot be loaded: {problem} (PYTHONPATH says where)")
    found = getattr(module, match[2], None)
    if not callable(found):
        raise NameFault(f"{match[1]} has no function {match[2]}")
    function: Callable[..., Any] = found
    return function


def _load(name: str) -> tuple[ModuleType | None, str | None]:
    try:
        return importlib.import_module(name), None
    except Exception as error:  # noqa: BLE001 - a module may do anything while it is loaded
        # Its kind alone: its text may hold a secret.
        return None, type(error).__name__
