"""Hosts and paths of Traefik's rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.control.match import globs_of, hosts_of

NO_PATH: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("rules", "globs"),
    [
        pytest.param(["Host(`a.example`)"], (("a.example",), ()), id="a host"),
        pytest.param(['host("A.example")'], (("a.example",), ()), id="double quotes, case"),
        pytest.param(["Host(`a`, `b`)"], (("a", "b"), ()), id="version 2: several values"),
        pytest.param(["Host(`a`) || Host(`b`)"], (("a", "b"), ()), id="or"),
        pytest.param(["Host(`b`)", "Host(`a`)"], (("a", "b"), ()), id="two routers"),
        pytest.param(["Path(`/x`)"], ((), ("/x",)), id="a path"),
        pytest.param(["PathPrefix(`/api`)"], ((), ("/api*/**",)), id="within a segment too"),
        pytest.param(["PathPrefix(`/`)"], ((), ()), id="every path"),
        pytest.param(
            ["Host(`a`) && (Path(`/x`) || PathPrefix(`/y/`))"],
            (("a",), ("/x", "/y/*/**")),
            id="brackets",
        ),
        pytest.param(
            ["Host(`a`) && Path(`/x`) || Host(`a`) && Path(`/y`)"],
            (("a",), ("/x", "/y")),
            id="and binds before or",
        ),
        pytest.param(["Host(`a`) && Host(`b`) || Host(`c`)"], (("c",), ()), id="never fits"),
        pytest.param(["Host(`a`) && Path(`/x`) || Host(`b`) && Path(`/y`)"], None, id="crossed"),
        pytest.param(["Host(`a`)", "Path(`/x`)"], None, id="either alone"),
        pytest.param(["!Host(`a`)"], None, id="not"),
        pytest.param(["Host(`a`) && Method(`GET`)"], None, id="more than host and path"),
        pytest.param(["HostRegexp(`.*`)"], None, id="a regular expression"),
        pytest.param(["Path(`/a*`)"], None, id="what would be a glob"),
        pytest.param(["Host(`a`) Host(`b`)"], None, id="no rule"),
        pytest.param(["Host(`a`"], None, id="unfinished"),
        pytest.param(["(" * 40 + "Host(`a`)" + ")" * 40], None, id="too deep"),
        pytest.param([""], None, id="empty"),
        pytest.param([], None, id="none"),
    ],
)
def test_globs(rules: list[str], globs: tuple[tuple[str, ...], tuple[str, ...]] | None):
    """Exactly what the rules take, or nothing at all."""
    assert globs_of(rules) == globs


@pytest.mark.parametrize(
    ("rule", "hosts"),
    [
        ("Host(`a`) && PathPrefix(`/x`)", frozenset({"a"})),
        ("PathPrefix(`/x`)", None),
        ("Host(`a`) || PathPrefix(`/x`)", None),
        ("Host(`a`) && HeaderRegexp(`X`, `y`)", None),
    ],
)
def test_hosts(rule: str, hosts: frozenset[str] | None):
    """Known only when no other host could fit."""
    assert hosts_of(rule) == hosts


@given(st.text(alphabet='Host(`a/) &|!,"Path', max_size=60))
def test_any_text_is_answered(rule: str):
    """Whatever stands in a tag, nothing is raised."""
    globs_of([rule])
