"""Including: several rule files as one, every mistake still at its own line.

Pure. What a file includes comes before it, in the order that it says; targets
are those of all files. Only the first file may say what holds by default.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from mirrorproxy.errors import ConfigError
from mirrorproxy.rules.patterns import KeyPath
from mirrorproxy.rules.schema import Rule, RuleFile, Target
from mirrorproxy.yamlfile import Document


class Part(NamedTuple):
    """One file of several. folder: where its relative file names start."""

    document: Document
    folder: Path
    file: RuleFile

    def error(self, message: str, at: KeyPath) -> ConfigError:
        """Return an error that names the file, the line and the key."""
        return self.document.error(message, at)


class Joined:
    """Files as one. The main file comes last in parts, after all that it includes."""

    def __init__(self, parts: list[Part]) -> None:
        # A target that two files name, and defaults in an included one, are refused.
        self._main = parts[-1]
        self._targets: dict[str, Part] = {}
        self._rules: list[tuple[Part, int]] = []
        targets: dict[str, Target] = {}
        rules: list[Rule] = []
        for part in parts:
            if part is not self._main and _says_defaults(part.document):
                raise part.error("stands in the file that includes this one alone", ("defaults",))
            for name, target in part.file.targets.items():
                if name in targets:
                    other = self._targets[name].document.name
                    raise part.error(f"{other} has a target of this name", ("targets", name))
                targets[name] = target
                self._targets[name] = part
            self._rules += [(part, index) for index in range(len(part.file.rules))]
            rules += part.file.rules
        self.file = msgspec.structs.replace(self._main.file, targets=targets, rules=rules)

    def place(self, at: KeyPath) -> tuple[Part, KeyPath]:
        """Return the file that a key of the whole stands in, and its path there."""
        if len(at) > 1:
            first, second = at[0], at[1]
            if first == "rules" and isinstance(second, int) and second < len(self._rules):
                part, index = self._rules[second]
                return part, ("rules", index, *at[2:])
            if first == "targets" and isinstance(second, str) and second in self._targets:
                return self._targets[second], at
        return self._main, at

    def error(self, message: str, at: KeyPath) -> ConfigError:
        """Return an error at a key of the whole, in the file where it stands."""
        part, path = self.place(at)
        return part.error(message, path)


def _says_defaults(document: Document) -> bool:
    return isinstance(document.data, dict) and "defaults" in document.data
