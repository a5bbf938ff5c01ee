"""S3 as the functions use it beside reading captures: chunks that are too big, and claims.

Owns the keys below the place that `Settings.chunks` names. A claim says that a chunk is sent,
by whom and until when; it is written on the condition that there is none yet, so of two
calls that are given the same chunk one sends it. Blocks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from mirrorproxy.lambdas.chunk import ChunkEvent, encoded
from mirrorproxy.lambdas.settings import Place
from mirrorproxy.sources.aws import START_ATTEMPTS, AwsError, Caller, Deed

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})


class Claim(NamedTuple):
    """What is known of a chunk that was claimed before.

    until_us: when whoever claimed it cannot run any more, microseconds since 1970. left: the
    chunk of what it could neither send nor hand on.
    """

    state: Literal["sending", "done"]
    request: str
    until_us: int
    digest: str
    left: object | None = None


class Places:
    """Chunks and claims; see the module. client: boto3's for S3."""

    def __init__(self, place: Place, client: Any, call: Caller) -> None:
        self._place = place
        self._client = client
        self._call = call

    def is_own(self, bucket: str, key: str) -> bool:
        """Return whether an object is one of these, and no capture."""
        place = self._place
        return bucket == place.bucket and key.startswith(
            (f"{place.prefix}chunks/", f"{place.prefix}claims/")
        )

    # -- chunks ---------------------------------------------------------------------

    def put_chunk(self, chunk_id: str, data: bytes) -> None:
        """Store the packed lines of a chunk. Raises AwsError."""
        self._put(self._chunk_key(chunk_id), data, "application/gzip")

    def get_chunk(self, chunk_id: str) -> bytes | None:
        """Return the packed lines of a chunk; None if they are not there. Raises AwsError."""
        return self._get(self._chunk_key(chunk_id))

    def delete_chunk(self, chunk_id: str) -> None:
        """Delete the packed lines of a chunk that is done with. Raises AwsError."""
        key = self._chunk_key(chunk_id)
        self._do(
            "s3:DeleteObject",
            key,
            lambda: self._client.delete_object(Bucket=self._place.bucket, Key=key),
        )

    def _chunk_key(self, chunk_id: str) -> str:
        return f"{self._place.prefix}chunks/{chunk_id}"

    # -- claims ---------------------------------------------------------------------

    def claim(self, event: ChunkEvent, request: str, until_us: int) -> Claim | None:
        """Claim a chunk; return None if that is done, and else the claim there is.

        Raises AwsError.
        """
        key = self._claim_key(event.id)
        body = _claim("sending", event, request, until_us)
        deed = self._deed("s3:PutObject", key)

        def put() -> bool:
            try:
                self._client.put_object(
                    Bucket=self._place.bucket,
                    Key=key,
                    Body=body,
                    ContentType="application/json",
                    IfNoneMatch="*",
                )
            except Exception as error:
                if _code(error) in _TAKEN:
                    return False
                raise
            return True

        if self._call(deed, put, attempts=START_ATTEMPTS):
            return None
        found = self.claim_of(event.id)
        # A first attempt that was taken, though its answer was lost, is our own.
        is_own = found is not None and (found.request, found.state) == (request, "sending")
        return None if is_own else found or Claim("sending", "", until_us, "")

    def claim_of(self, chunk_id: str) -> Claim | None:
        """Return the claim on a chunk, None if there is none. Raises AwsError."""
        data = self._get(self._claim_key(chunk_id))
        return None if data is None else _read(data)

    def done(
        self,
        event: ChunkEvent,
        request: str,
        ledger: Mapping[str, object],
        left: ChunkEvent | None = None,
    ) -> None:
        """Say that a chunk that was claimed is done with. Raises AwsError."""
        body = _claim("done", event, request, 0, ledger, left)
        self._put(self._claim_key(event.id), body, "application/json")

    def _claim_key(self, chunk_id: str) -> str:
        return f"{self._place.prefix}claims/{chunk_id}"

    # -- S3 -------------------------------------------------------------------------

    def _put(self, key: str, body: bytes, kind: str) -> None:
        self._do(
            "s3:PutObject",
            key,
            lambda: self._client.put_object(
                Bucket=self._place.bucket, Key=key, Body=body, ContentType=kind
            ),
        )

    def _get(self, key: str) -> bytes | None:
        def get() -> bytes:
            data: bytes = self._client.get_object(Bucket=self._place.bucket, Key=key)["Body"].read()
            return data

        try:
            return self._call(self._deed("s3:GetObject", key), get, attempts=START_ATTEMPTS)
        except AwsError as error:
            # Without s3:ListBucket a key that is not there is one that may not be read.
            if error.trouble.kind in ("gone", "denied"):
                return None
            raise

    def _do(self, permission: str, key: str, function: Any) -> None:
        self._call(self._deed(permission, key), function, attempts=START_ATTEMPTS)

    def _deed(self, permission: str, key: str) -> Deed:
        bucket = self._place.bucket
        return Deed(f"s3://{bucket}/{key}", f"{permission} on arn:aws:s3:::{bucket}/{key}")


def _claim(
    state: str,
    event: ChunkEvent,
    request: str,
    until_us: int,
    ledger: Mapping[str, object] | None = None,
    left: ChunkEvent | None = None,
) -> bytes:
    content: dict[str, object] = {
        "state": state,
        "request": request,
        "until_us": until_us,
        "digest": event.digest,
        "object": f"s3://{event.bucket}/{event.key}",
        "shots": event.shots,
    }
    if ledger is not None:
        content["ledger"] = dict(ledger)
    if left is not None:
        content["left"] = json.loads(encoded(left))
    return json.dumps(content).encode()


def _read(data: bytes) -> Claim:
    try:
        found = json.loads(data)
        state: Literal["sending", "done"] = "done" if found["state"] == "done" else "sending"
        return Claim(
            state,
            str(found["request"]),
            int(found["until_us"]),
            str(found["digest"]),
            found.get("left"),
        )
    except (ValueError, KeyError, TypeError):
        # What cannot be read may have been anything: its chunk is not sent again by itself.
        return Claim("sending", "", 0, "")


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
