"""Progress on a terminal: one line that is written over. Nothing when piped."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Progress:
    """Shows a line on standard error, if that is a terminal; a context manager.

    is_shown: whether it is one.
    """

    def __init__(self, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self.is_shown = console.is_terminal

    def __enter__(self) -> Progress:
        """Begin to show."""
        if self.is_shown:
            self._live.start()
        return self

    def show(self, line: str) -> None:
        """Show a line in place of the one before."""
        if self.is_shown:
            self._live.update(Text(line, no_wrap=True, overflow="ellipsis"), refresh=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the line away."""
        if self.is_shown:
            self._live.stop()
