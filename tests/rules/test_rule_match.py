"""Which exchanges a match takes."""

from __future__ import annotations

import pytest
from rulekit import exchange

from mirrorproxy.rules.facts import split_target
from mirrorproxy.rules.match import compile_match, matches
from mirrorproxy.rules.patterns import Fault
from mirrorproxy.rules.schema import Match
from mirrorproxy.yamlfile import convert, load

ORDER = exchange(
    "POST",
    "/api/v1/orders?page=2&tag=a&tag=b%20c&empty=",
    [("Host", "Api.Example.com:8443"), ("X-Tenant", "acme"), ("Accept", "text/html")],
    status=201,
)


def compiled(text: str):
    return compile_match(convert(load(text, name="m"), Match))


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        pytest.param("{}", True, id="nothing asked"),
        pytest.param("{service: orders}", True, id="service"),
        pytest.param("{service: users}", False, id="another service"),
        pytest.param("{service: [users, 'ord*']}", True, id="service by glob"),
        pytest.param("{via: [inline, tap]}", True, id="via"),
        pytest.param("{via: har}", False, id="another via"),
        pytest.param("{method: post}", True, id="method, case aside"),
        pytest.param("{method: [PUT, PATCH]}", False, id="other methods"),
        pytest.param("{method: 'P*'}", True, id="method by glob"),
        pytest.param("{host: api.example.com}", True, id="host without port and case"),
        pytest.param("{host: '*.example.com'}", True, id="host by glob"),
        pytest.param("{host: example.com}", False, id="another host"),
        pytest.param("{path: '/api/**'}", True, id="path by glob"),
        pytest.param("{path: /api/v1/orders}", True, id="path without its query"),
        pytest.param("{path: {regex: '^/api/v[0-9]+/'}}", True, id="path by expression"),
        pytest.param("{path: [/x, {regex: orders$}]}", True, id="either path"),
        pytest.param("{path: {regex: page}}", False, id="the query is no part of the path"),
        pytest.param("{query: {page: '2'}}", True, id="query"),
        pytest.param("{query: {tag: 'b c'}}", True, id="a repeated key, decoded"),
        pytest.param("{query: {empty: true, none: false}}", True, id="there and not there"),
        pytest.param("{query: {none: true}}", False, id="not there"),
        pytest.param("{headers: {x-tenant: 'ac*'}}", True, id="header, case of the name aside"),
        pytest.param("{headers: {X-Tenant: ACME}}", False, id="case of a value counts"),
        pytest.param("{headers: {X-Tenant: true, Cookie: false}}", True, id="headers there or not"),
        pytest.param("{headers: {X-Tenant: {regex: '^a'}}}", True, id="header by expression"),
        pytest.param("{status: 201}", True, id="status"),
        pytest.param("{status: 2xx}", True, id="a class"),
        pytest.param("{status: [404, 200-299]}", True, id="a range"),
        pytest.param("{status: [400-499, 5xx]}", False, id="other statuses"),
        pytest.param("{any: [{method: GET}, {status: 201}]}", True, id="any"),
        pytest.param("{any: [{method: GET}, {status: 200}]}", False, id="none of any"),
        pytest.param("{all: [{method: POST}, {status: 201}]}", True, id="all"),
        pytest.param("{all: [{method: POST}, {status: 200}]}", False, id="not all"),
        pytest.param("{not: {method: GET}}", True, id="not"),
        pytest.param("{not: {path: '/api/**'}}", False, id="not, by path"),
        pytest.param("{method: POST, path: /x}", False, id="keys are joined by and"),
    ],
)
def test_a_match_takes_what_fits(match, fits):
    """Keys AND, lists OR."""
    assert matches(compiled(match), ORDER) is fits


def test_a_status_never_fits_where_there_was_no_answer():
    """An exchange without a response has no status."""
    assert not matches(compiled("{status: [1xx, 2xx, 3xx, 4xx, 5xx]}"), exchange(status=None))


@pytest.mark.parametrize(
    ("match", "at"),
    [
        pytest.param("{status: 600}", ("status",), id="no such status"),
        pytest.param("{status: [200, 4xy]}", ("status", 1), id="one of a list"),
        pytest.param("{status: 300-200}", ("status",), id="a range backwards"),
        pytest.param("{status: []}", ("status",), id="no status"),
        pytest.param("{method: []}", ("method",), id="no method"),
        pytest.param("{any: []}", ("any",), id="no alternative"),
        pytest.param("{any: [{}, {path: {regex: '('}}]}", ("any", 1, "path", "regex"), id="deep"),
        pytest.param("{not: {host: ''}}", ("not", "host"), id="an empty host"),
        pytest.param("{headers: {X: []}}", ("headers", "X"), id="no value"),
    ],
)
def test_a_bad_match_is_found_while_compiling(match, at):
    """The fault names the very key."""
    with pytest.raises(Fault) as raised:
        compiled(match)
    assert raised.value.at == at


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        pytest.param("/a?b?c", "/a", "?b?c", id="the first question mark parts"),
        pytest.param("/a", "/a", "", id="no query"),
        pytest.param("/a?", "/a", "?", id="an empty query"),
        pytest.param("http://h/a?b", "/a", "?b", id="absolute"),
        pytest.param("http://h", "/", "", id="absolute without a path"),
        pytest.param("http://h?b", "/", "?b", id="absolute, a query alone"),
        pytest.param("*", "*", "", id="the server as a whole"),
        pytest.param("/x?u=http://y", "/x", "?u=http://y", id="a URL in the query"),
        pytest.param("//x/y", "//x/y", "", id="two slashes"),
    ],
)
def test_a_target_is_taken_apart_as_received(target, path, query):
    """Nothing is decoded or mended."""
    assert split_target(target) == (path, query)


def test_the_host_of_an_absolute_target_wins():
    """RFC 9112, 3.2.2: the target names the host, not the header."""
    absolute = exchange(target="http://one.example/x", headers=[("Host", "two.example")])
    assert matches(compiled("{host: one.example}"), absolute)
