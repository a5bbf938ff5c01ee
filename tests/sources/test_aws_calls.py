"""Calls to AWS: what an error means, in one line, and when it is tried again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from mirrorproxy.sources.aws import AwsError, Caller, Deed, trouble_of

exceptions = pytest.importorskip("botocore.exceptions")

DEED = Deed("s3://b", "s3:ListBucket on arn:aws:s3:::b")


def refusal(code: str, status: int = 400, **more: Any) -> Exception:
    headers = more.pop("headers", {})
    meta = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    error: Exception = exceptions.ClientError(
        {"Error": {"Code": code, "Message": "said\nby AWS", **more}, "ResponseMetadata": meta}, "Do"
    )
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        pytest.param(refusal("NoSuchBucket", 404), "gone", "s3://b: no such bucket", id="bucket"),
        pytest.param(
            refusal("AccessDenied", 403), "denied",
            "s3://b: not allowed; it needs s3:ListBucket on arn:aws:s3:::b", id="permission",
        ),
        pytest.param(
            refusal("ExpiredToken"), "credentials",
            "s3://b: the session token has expired; renew the credentials", id="token",
        ),
        pytest.param(
            refusal("InvalidAccessKeyId", 403), "credentials",
            "s3://b: the credentials are not accepted (InvalidAccessKeyId)", id="key",
        ),
        pytest.param(
            refusal("AuthorizationHeaderMalformed", Region="eu-west-1"), "refused",
            "s3://b: the wrong region; it lies in eu-west-1; add ?region=eu-west-1", id="region",
        ),
        pytest.param(
            refusal("301", 301, headers={"x-amz-bucket-region": "eu-north-1"}), "refused",
            "s3://b: the wrong region; it lies in eu-north-1; add ?region=eu-north-1", id="moved",
        ),
        pytest.param(
            exceptions.NoCredentialsError(), "credentials",
            "s3://b: no credentials: set AWS_ACCESS_KEY_ID and its secret, AWS_PROFILE, "
            "or use a role", id="none",
        ),
        pytest.param(
            refusal("SlowDown", 503), "unavailable", "s3://b: SlowDown said by AWS", id="busy"
        ),
        pytest.param(
            refusal("InternalError", 500), "unavailable",
            "s3://b: InternalError said by AWS", id="500",
        ),
        pytest.param(
            exceptions.EndpointConnectionError(endpoint_url="http://x"), "unavailable",
            's3://b: Could not connect to the endpoint URL: "http://x"', id="unreachable",
        ),
        pytest.param(
            ConnectionResetError(104, "reset"), "unavailable", "s3://b: [Errno 104] reset", id="cut"
        ),
        pytest.param(
            refusal("InvalidObjectState", 403), "gone",
            "s3://b: archived; restore it first", id="archived",
        ),
    ],
)  # fmt: skip
def test_what_an_error_means(error, kind, text):
    """Of which kind it is, and what to do."""
    trouble = trouble_of(error, DEED)
    assert (trouble.kind, trouble.text) == (kind, text)


class Server:
    """Fails as it was told to, then answers."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "answer"


def caller() -> tuple[Caller, list[str | None]]:
    said: list[str | None] = []
    return Caller(said.append, threading.Event(), jitter=lambda: 0.0), said


def test_what_may_pass_is_tried_again_until_it_does():
    """It is said what goes wrong, and that it goes on."""
    call, said = caller()
    server = Server(*(refusal("SlowDown", 503) for _ in range(50)))
    assert call(DEED, server) == "answer"
    assert server.calls == 51
    assert (said[0], said[-1]) == ("s3://b: SlowDown said by AWS", None)


def test_what_cannot_pass_is_not_tried_again():
    """One attempt, and the reason."""
    call, _ = caller()
    server = Server(refusal("NoSuchBucket", 404))
    with pytest.raises(AwsError, match="no such bucket"):
        call(DEED, server)
    assert server.calls == 1


def test_a_running_replay_waits_for_credentials():
    """A token that expired may be renewed, a permission given."""
    call, _ = caller()
    server = Server(refusal("ExpiredToken"), refusal("AccessDenied", 403))
    again = frozenset({"unavailable", "credentials", "denied"})
    assert call(DEED, server, again=again) == "answer"


def test_at_the_start_a_few_attempts_are_enough():
    """A mistake in an endpoint must not hang a command."""
    call, _ = caller()
    server = Server(*(refusal("SlowDown", 503) for _ in range(5)))
    with pytest.raises(AwsError):
        call(DEED, server, attempts=3)
    assert server.calls == 3


def test_a_stop_ends_the_trying():
    """At once, not after the back-off."""
    stopping = threading.Event()
    stopping.set()
    server = Server(refusal("SlowDown", 503))
    with pytest.raises(AwsError):
        Caller(lambda _text: None, stopping)(DEED, server)
