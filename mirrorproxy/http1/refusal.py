"""Answers of our own: what a client gets where there is no upstream's answer to pass on. Pure."""

from __future__ import annotations

from http import HTTPStatus


def refusal(status: int, reason: str, *, keep: bool, to_head: bool) -> bytes:
    """Return a whole answer. reason: our words, one line.

    keep: whether the connection takes another request. to_head: no body may follow.
    """
    body = f"mirrorproxy: {reason}\n"
    connection = "" if keep else "Connection: close\r\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{connection}\r\n"
    )
    return (head if to_head else head + body).encode()
