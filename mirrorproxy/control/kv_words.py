"""Words in a key-value store: from the keys below one prefix to changes.

Owns which keys count and which values are new. A value that makes no sense is
reported once and changes nothing; neither does a key that is gone: a store that
lost its data, or denies it, must not turn a replay up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mirrorproxy.control.live import Controls, Ended
from mirrorproxy.control.words import REPLAY_WORDS, Reader, Value, percent_of, read_text

OnChange = Callable[[Mapping[str, str]], None]
"""Takes all keys below a prefix, without it, with their values, whenever one has changed."""

KV_CAPTURE_WORDS: Mapping[str, Reader] = {"percent": percent_of}
KV_REPLAY_WORDS = REPLAY_WORDS


def capture_prefix(name: str) -> str:
    """Return where the words of a mirror stand."""
    return f"mirrorproxy/{name}/capture/"


def replay_prefix(name: str, run: str) -> str:
    """Return where the words of a replay stand."""
    return f"mirrorproxy/{name}/replay/{run}/"


class KvWords:
    """Remembers what it has seen below one prefix. words: those that count."""

    def __init__(self, words: Mapping[str, Reader]) -> None:
        self._words = words
        self._seen: dict[str, str] = {}

    def take(self, entries: Mapping[str, str]) -> tuple[dict[str, Value], list[str]]:
        """Return what is new among all entries: values, and what is wrong with others.

        entries: by key, without the prefix.
        """
        values: dict[str, Value] = {}
        mistakes: list[str] = []
        for name, text in sorted(entries.items()):
            # Consul's own page makes a key for a folder.
            if not name or name.endswith("/") or self._seen.get(name) == text:
                continue
            if name in self._words or name not in self._seen:
                try:
                    values[name] = self._read(name, text)
                except ValueError as error:
                    mistakes.append(str(error))
            self._seen[name] = text
        for name in self._seen.keys() - entries.keys():
            # So that the same value counts again when the key comes back.
            del self._seen[name]
        return values, mistakes

    def _read(self, name: str, text: str) -> Value:
        if name not in self._words:
            raise ValueError(f"{name[:100]!a}: no such key; known: {', '.join(self._words)}")
        return read_text(name, text, self._words)


def follower(
    prefix: str, words: Mapping[str, Reader], controls: Controls, warn: Callable[[str], None]
) -> OnChange:
    """Return what makes changes of the words below a prefix.

    words: those of controls that count there. warn: takes a line about each
    value that cannot be used.
    """
    kept = KvWords(words)

    def on_change(entries: Mapping[str, str]) -> None:
        values, mistakes = kept.take(entries)
        for mistake in mistakes:
            warn(f"Consul: {prefix}: {mistake}; nothing is changed")
        if values:
            try:
                controls.change(values, f"Consul, {prefix}")
            except (ValueError, Ended) as error:
                warn(f"Consul: {prefix}: {error}; nothing is changed")

    return on_change
