"""Reading a whole capture, for commands that have nothing else to do meanwhile.

Owns no logic of its own: `merge` over feeds that read when asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from mirrorproxy.record import Exchange
from mirrorproxy.sources.access_log import decode as decode_any
from mirrorproxy.sources.events import Captured, Duplicate, PassedOver, Signal, Unreadable
from mirrorproxy.sources.feed import InlineFeed
from mirrorproxy.sources.merge import Merge
from mirrorproxy.sources.objects import find_objects


def read_capture(
    specs: Sequence[str],
    bodies: str | None = None,
    decode: Callable[[bytes], Exchange] = decode_any,
) -> Iterator[Captured | Duplicate | Unreadable]:
    """Yield what a capture holds, in the order in which it was captured.

    specs: directories, files and "-"; bodies: see `find_objects`. decode: see `Merge`.
    Raises SourceError if a source is not there or is of a newer version.
    """
    merge = Merge(find_objects(specs, bodies), InlineFeed, decode=decode)
    try:
        while (event := merge.take()) is not Signal.END:
            if not isinstance(event, (Signal, PassedOver)):
                yield event
    finally:
        merge.close()
