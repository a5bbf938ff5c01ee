"""Words in a key-value store: from the keys below one prefix to changes.

Owns which keys count and which values are new. A value that makes no sense is
reported once and changes nothing; neither does a key that is gone: a store that
lost its data, or denies it, must not turn a replay up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirrorproxy.control.live import Controls, Ended
from mirrorproxy.control.words import Reader, Value, read_text

OnChange = Callable[[Mapping[str, str]], None]
"""Takes all keys below a prefix with their values, whenever one of them has changed."""


def capture_prefix(name: str) -> str:
    """Return where the words of a mirror stand."""
    return f"mirrorproxy/{name}/capture/"


def replay_prefix(name: str, run: str) -> str:
    """Return where the words of a replay stand."""
    return f"mirrorproxy/{name}/replay/{run}/"


class KvWords:
    """Remembers what it has seen below a prefix. words: those that count."""

    def __init__(self, prefix: str, words: Mapping[str, Reader]) -> None:
        self._prefix = prefix
        self._words = words
        self._seen: dict[str, str] = {}

    def take(self, entries: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
        """Return what is new among all entries of the store: values, and mistakes by key.

        entries: by full key. Those of other prefixes are left aside.
        """
        values: dict[str, Value] = {}
        mistakes: list[str] = []
        for key in sorted(entries):
            name = key.removeprefix(self._prefix)
            # Consul's own page makes a key for a folder.
            if name == key or not name or name.endswith("/") or self._seen.get(key) == entries[key]:
                continue
            is_known = name in self._words
            if is_known or key not in self._seen:
                try:
                    values[name] = self._read(name, entries[key])
                except ValueError as error:
                    mistakes.append(f"{self._prefix}{error}")
            self._seen[key] = entries[key]
        for key in self._seen.keys() - entries.keys():
            # So that the same value counts again when the key comes back.
            del self._seen[key]
        return values, mistakes

    def _read(self, name: str, text: str) -> Value:
        if name not in self._words:
            raise ValueError(f"{name[:100]}: no such key; known: {', '.join(self._words)}")
        return read_text(name, text, self._words)


def follower(
    prefix: str, words: Mapping[str, Reader], controls: Controls, warn: Callable[[str], None]
) -> OnChange:
    """Return what makes changes of the words below a prefix.

    words: those of controls that count there. warn: takes a line about each
    value that cannot be used.
    """
    kept = KvWords(prefix, words)

    def on_change(entries: Mapping[str, str]) -> None:
        values, mistakes = kept.take(entries)
        for mistake in mistakes:
            warn(f"Consul: {mistake}; nothing is changed")
        if values:
            try:
                controls.change(values, f"Consul, {prefix}")
            except (ValueError, Ended) as error:
                warn(f"Consul: {prefix}: {error}; nothing is changed")

    return on_change
