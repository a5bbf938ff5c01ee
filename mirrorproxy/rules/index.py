"""The index: the few rules that can take a path, found by its segments.

Pure. A tree of the segments that rules spell out; a path leads down as far as
it knows the way. Its size is that of the rules, whatever paths come.
"""

from __future__ import annotations

from mirrorproxy.rules.match import FactsTest

Candidate = tuple[tuple[str, ...], FactsTest | None, int]
"""What a path begins with that the rule takes, what else is to be tested, and its number."""


class _Node:
    """Paths that begin with head, and go on with a segment that no child has.

    base: head with the slash behind it; "" for paths without a slash.
    """

    __slots__ = ("base", "candidates", "children", "head")

    def __init__(self, head: str, base: str) -> None:
        self.head = head
        self.base = base
        self.children: dict[str, _Node] = {}
        self.candidates: tuple[Candidate, ...] | None = None


class Index:
    """Rules, in order, for requests of one service and method."""

    __slots__ = ("_root", "_rules")

    def __init__(self, rules: list[Candidate]) -> None:
        self._rules = tuple(rules)
        self._root = _Node("", "")
        for prefixes, _, _ in self._rules:
            for prefix in prefixes:
                if prefix:
                    self._add(prefix)

    def _add(self, prefix: str) -> None:
        node = self._root
        head = ""
        for number, segment in enumerate(prefix.split("/")):
            head = f"{head}/{segment}" if number else segment
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = _Node(head, f"{head}/")
            node = child

    def candidates(self, path: str) -> tuple[Candidate, ...]:
        """Return the rules that can take a path, in order; each is still to be tested."""
        node = self._root
        for segment in path.split("/"):
            child = node.children.get(segment)
            if child is None:
                break
            node = child
        found = node.candidates
        if found is None:
            # When it is first needed: most of the tree of a large file never is.
            found = node.candidates = tuple(
                rule for rule in self._rules if any(_concerns(node, one) for one in rule[0])
            )
        return found


def _concerns(node: _Node, prefix: str) -> bool:
    """Tell whether a path of a node can begin so; the prefix may end within its next segment."""
    if node.head.startswith(prefix):
        return True
    return prefix.startswith(node.base) and "/" not in prefix[len(node.base) :]
