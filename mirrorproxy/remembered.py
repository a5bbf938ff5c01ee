"""What was worked out once, remembered in bounded memory.

Owns no meaning: for the small values that come again and again in traffic,
such as header lines. Nothing of it is ever written anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(dict[K, V]):
    """Maps a key to what work_out makes of it, worked out when it is first asked for.

    limit: how many are held. When they are that many all are forgotten: what
    comes often is soon known again. Raises what work_out raises; that is not
    remembered. With `__getitem__` in a `map`, what is known costs half of what
    it costs in an lru_cache, which wraps keys that are tuples.
    """

    __slots__ = ("_limit", "_work_out")

    def __init__(self, work_out: Callable[[K], V], limit: int = 4096) -> None:
        super().__init__()
        self._work_out = work_out
        self._limit = limit

    def __missing__(self, key: K) -> V:
        """Work out what is not known yet."""
        if len(self) >= self._limit:
            self.clear()
        value = self[key] = self._work_out(key)
        return value
