"""Filters and the globs that they and the routes share."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrorproxy.capture.filters import Filters
from mirrorproxy.capture.paths import compile_names, compile_paths, path_of


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param("/orders?x=1", "/orders", id="the query is no part"),
        pytest.param("/a//b/../c%2Fd?y", "/a//b/../c%2Fd", id="nothing is decoded or normalised"),
        pytest.param("http://api.example.com/a?b", "/a", id="absolute form"),
        pytest.param("http://api.example.com", "/", id="absolute form without a path"),
        pytest.param("http://api.example.com?x", "/", id="absolute form with a query alone"),
        pytest.param("*", "*", id="the whole server"),
        pytest.param("/http://x/y", "/http://x/y", id="a URL inside a path"),
        pytest.param("//evil.example/x", "//evil.example/x", id="two slashes are a path"),
    ],
)
def test_path_of_a_target(target, path):
    """The path as received, whatever form the target has."""
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("glob", "takes", "leaves"),
    [
        pytest.param("/health", ["/health"], ["/health/", "/healthz", "/x/health"], id="literal"),
        pytest.param("/a/*", ["/a/b", "/a/"], ["/a", "/a/b/c"], id="star stays in its segment"),
        pytest.param("/a/*.js", ["/a/x.js", "/a/.js"], ["/a/x.jsx", "/a/b/x.js"], id="suffix"),
        pytest.param("/a?c", ["/abc"], ["/ac", "/a/c"], id="one character but a slash"),
        pytest.param("/api/**", ["/api", "/api/", "/api/x/y"], ["/apix", "/x/api"], id="below"),
        pytest.param("/**", ["/", "/x", "/x/y"], ["*"], id="every path"),
        pytest.param("/**/health", ["/health", "/a/b/health"], ["/healthz"], id="at any depth"),
        pytest.param("/a/**/z", ["/a/z", "/a/b/c/z"], ["/a/zz", "/b/z"], id="in between"),
        pytest.param("/**/a/**/b/**", ["/x/a/y/b/z", "/a/b"], ["/b/a"], id="several times"),
        pytest.param("/**/a*b/**/c", ["/acb/x/c", "/ab/c"], ["/a/b/c"], id="with a star between"),
        pytest.param("/**/**/b", ["/b", "/a/b"], ["/bb"], id="twice in a row is once"),
        pytest.param("/a*b*c", ["/abc", "/axbxbc"], ["/ab/c", "/acb"], id="several stars"),
        pytest.param("/a.b+", ["/a.b+"], ["/axb", "/abb"], id="dots and pluses are themselves"),
        pytest.param("/a\n*", ["/a\nb"], ["/a"], id="a newline is a character"),
    ],
)
def test_path_globs(glob, takes, leaves):
    """What each glob takes and leaves."""
    pattern = compile_paths([glob])
    assert [path for path in takes if not pattern.fullmatch(path)] == []
    assert [path for path in leaves if pattern.fullmatch(path)] == []


def test_any_of_several_path_globs_is_enough():
    """Globs of one list are alternatives, each of the whole path."""
    pattern = compile_paths(["/a", "/a/b", "/c/**"])
    assert [bool(pattern.fullmatch(p)) for p in ("/a", "/a/b", "/c/d/e", "/a/c")] == [
        True,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("glob", "complaint"),
    [
        pytest.param("orders", "begins with a slash: 'orders'", id="no slash"),
        pytest.param("", "begins with a slash", id="empty"),
        pytest.param("/a**/b", "** stands for whole segments", id="half a segment"),
    ],
)
def test_bad_path_globs_are_named(glob, complaint):
    """A pattern that cannot mean what it says is refused in one line."""
    with pytest.raises(ValueError, match=re.escape(complaint)):
        compile_paths([glob])


def _slow_match(glob: list[str], path: list[str]) -> bool:
    """The meaning of a glob, segment by segment, by plain recursion."""
    if not glob:
        return not path
    if glob[0] == "**":
        return any(_slow_match(glob[1:], path[i:]) for i in range(len(path) + 1))
    return bool(path) and _slow_segment(glob[0], path[0]) and _slow_match(glob[1:], path[1:])


def _slow_segment(glob: str, text: str) -> bool:
    if not glob:
        return not text
    if glob[0] == "*":
        return any(_slow_segment(glob[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and glob[0] in ("?", text[0]) and _slow_segment(glob[1:], text[1:])


@given(
    st.lists(st.one_of(st.just("**"), st.text("ab*?", max_size=5)), min_size=1, max_size=6),
    st.lists(st.text("ab", max_size=4), min_size=1, max_size=6),
)
def test_a_glob_never_tried_again_still_finds_every_match(glob, path):
    """The linear-time expression agrees with trying everything."""
    if any("**" in segment and segment != "**" for segment in glob):
        return
    pattern = compile_paths(["/" + "/".join(glob)])
    assert bool(pattern.fullmatch("/" + "/".join(path))) == _slow_match(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        pytest.param("/**/a/**/b/**/c/**/d/**/e", "/a" * 15_000, id="many segments"),
        pytest.param("/**/*a*a*a*a*a*b", "/" + "a" * 30_000, id="one long segment"),
        pytest.param("/**/*a/*a/*a/*a/*b", "/a" * 15_000, id="stars in many segments"),
    ],
)
def test_hostile_paths_cost_linear_time(glob, path):
    """A 30 KiB target that almost fits does not hold up the loop."""
    # Trying everything would take hours: the suite's time limit would end it.
    assert not compile_paths([glob]).fullmatch(path)


def test_names_know_no_segments_and_no_case():
    """A media type is one name; a star takes its slash too."""
    pattern = compile_names(["application/*json", "TEXT/*"])
    assert [
        bool(pattern.fullmatch(name))
        for name in ("application/json", "Application/Problem+JSON", "text/html", "image/png")
    ] == [True, True, True, False]


def test_no_globs_are_no_pattern():
    """An empty list is not one that takes nothing."""
    assert compile_paths([]) is None
    assert compile_names([]) is None


def test_empty_filters_take_everything():
    """Without filters all is recorded."""
    filters = Filters()
    assert filters.is_empty
    assert filters.of_request("BREW", "/anything") is None
    assert filters.of_content_type("image/png") is None
    assert filters.of_status(None) is None


def test_methods_are_compared_with_their_case():
    """``get`` is not GET (RFC 9110, 9.1)."""
    filters = Filters(methods=["GET", "POST"])
    assert not filters.is_empty
    assert filters.of_request("POST", "/") is None
    assert filters.of_request("post", "/") == "filtered_method"


def test_what_is_included_and_excluded_is_excluded():
    """Exclusion wins."""
    filters = Filters(include=["/api/**"], exclude=["/api/health"])
    assert filters.of_request("GET", "/api/orders?x") is None
    assert filters.of_request("GET", "http://host/api/orders") is None
    assert filters.of_request("GET", "/api/health?x") == "filtered_path"
    assert filters.of_request("GET", "/other?x=/api/orders") == "filtered_path"


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        pytest.param("application/json", None, id="named"),
        pytest.param("Application/JSON ; charset=utf-8", None, id="case and parameters"),
        pytest.param("image/png", "filtered_content_type", id="another"),
        pytest.param(None, None, id="a request without a body has none"),
    ],
)
def test_content_types(content_type, reason):
    """Only requests that say they carry something else are left out."""
    assert Filters(content_types=["application/json"]).of_content_type(content_type) == reason


@pytest.mark.parametrize(
    ("patterns", "status", "reason"),
    [
        pytest.param(["2xx"], 201, None, id="class"),
        pytest.param(["2XX"], 299, None, id="class in capitals"),
        pytest.param(["2xx"], 300, "filtered_status", id="past the class"),
        pytest.param(["404"], 404, None, id="code"),
        pytest.param(["400-403", "409"], 403, None, id="end of a range"),
        pytest.param(["400-403", "409"], 404, "filtered_status", id="between"),
        pytest.param(["2xx"], None, "filtered_status", id="no answer has no status"),
    ],
)
def test_statuses(patterns, status, reason):
    """Codes, classes and ranges."""
    assert Filters(status=patterns).of_status(status) == reason


@pytest.mark.parametrize("pattern", ["", "20x", "xx", "2xxx", "0xx", "400-", "99", "1000", "4-5"])
def test_bad_statuses_are_named(pattern):
    """What is no status is refused with its text."""
    with pytest.raises(ValueError, match=re.escape(repr(pattern))):
        Filters(status=[pattern])


def test_a_range_of_statuses_goes_upwards():
    """A range that is empty by mistake would record nothing, silently."""
    with pytest.raises(ValueError, match="goes upwards"):
        Filters(status=["499-400"])
