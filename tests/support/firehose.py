"""A Firehose endpoint over HTTP that keeps Firehose's limits and fails on command.

Owns a server in a thread of its own, the streams made in it and a log of every put. It
speaks the JSON protocol of the API reference, so that boto3's own client talks to it. No
emulator keeps the limits, the buffering or the partial failures that shipping is about.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from aiohttp import web
from support.firehose_streams import ACCOUNT, Delivered, Delivery, Store, Stream

MAX_RECORD_BYTES = 1_024_000
MAX_BATCH_RECORDS = 500
MAX_BATCH_BYTES = 4 << 20

Kind = Literal[
    "partial",
    "throttle",
    "error",
    "reset",
    "hang",
    "slow",
    "accepted then error",
    "accepted then reset",
]
_TARGET = "Firehose_20150804."


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one put.

    partial: the records with these indices, or every second one, are rejected. throttle:
    ServiceUnavailableException. error: a 500. reset: closed before anything is accepted.
    hang: no answer for so many seconds, then a reset. slow: accepted and answered after so many
    seconds. accepted then ...: everything is accepted, and the client told otherwise.
    """

    kind: Kind
    seconds: float = 0.0
    rejected: Sequence[int] | None = None


@dataclass(frozen=True)
class Put:
    """One put as the log keeps it.

    records: what `note` made of each. accepted: whether each was. told: whether the client
    was told so; what was accepted and not told comes again.
    """

    stream: str
    records: Sequence[Any]
    accepted: Sequence[bool]
    told: bool
    fault: Kind | None
    at_s: float = field(default_factory=time.monotonic)


class _Refusal(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Firehose:
    """The endpoint; starts and ends with the block.

    store: where streams deliver. note: what the log keeps of a record; all of it by default.
    buffer_bytes, buffer_age_s: instead of every stream's hints, which are too coarse for tests.

    To be set at any time, from any thread: `weather` decides the fault of a put that has none
    planned; `denied` holds actions such as "firehose:PutRecordBatch"; `token_error` is the code
    of an error that answers everything, such as "ExpiredTokenException"; `delivery` disturbs
    what happens after.
    """

    def __init__(
        self,
        store: Store,
        *,
        region: str = "us-east-1",
        note: Callable[[bytes], Any] = lambda record: record,
        buffer_bytes: int | None = None,
        buffer_age_s: float | None = None,
    ) -> None:
        self._store = store
        self._region = region
        self._note = note
        self._buffer_bytes = buffer_bytes
        self._buffer_age_s = buffer_age_s
        self._streams: dict[str, Stream] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._faults: deque[Fault] = deque()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="firehose", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.url = ""
        self.puts: list[Put] = []
        self.weather: Callable[[], Fault | None] = lambda: None
        self.denied: set[str] = set()
        self.token_error: str | None = None
        self.delivery = Delivery()

    def __enter__(self) -> Firehose:
        self._thread.start()
        if not self._started.wait(30):
            raise RuntimeError("the Firehose endpoint did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._loop and self._stop:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def plan(self, *faults: Fault) -> None:
        """Let the next puts go wrong, one fault each."""
        self._faults.extend(faults)

    def create(self, name: str, bucket: str, prefix: str = "", **described: Any) -> None:
        """Make a stream that delivers into a bucket. described: more of its configuration."""
        configuration = {
            "RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": f"arn:aws:s3:::{bucket}",
            "Prefix": prefix,
            "FileExtension": ".jsonl.gz",
            **described,
        }
        self._call(lambda: self._make(name, configuration))

    def flush(self, timeout_s: float = 60.0) -> None:
        """Deliver what is buffered, and return when it is in the bucket."""
        self._call(lambda: [stream.end() for stream in self._streams.values()])
        deadline = time.monotonic() + timeout_s
        while not all(stream.is_empty for stream in self._streams.values()):
            if time.monotonic() > deadline:
                raise RuntimeError("the bucket takes nothing")
            time.sleep(0.01)

    @property
    def delivered(self) -> list[Delivered]:
        """The objects stored so far, of all streams."""
        return [one for stream in self._streams.values() for one in stream.delivered]

    def accepted(self, *, told: bool | None = None) -> Iterator[Any]:
        """Yield what `note` made of every accepted record. told: only of puts that were so."""
        for put in self.puts:
            if told is None or put.told == told:
                for record, accepted in zip(put.records, put.accepted, strict=True):
                    if accepted:
                        yield record

    def _call(self, work: Callable[[], Any]) -> None:
        async def work_there() -> None:
            work()

        if self._loop is None:
            raise RuntimeError("not started")
        asyncio.run_coroutine_threadsafe(work_there(), self._loop).result(30)

    def _serve(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/", self._answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._started.set()
        await self._stop.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        action = request.headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        try:
            self._authorize(request, action)
            body = json.loads(await request.read())
            answer = await self._act(action, body, request)
            return _json(answer)
        except _Refusal as refusal:
            return _json({"__type": refusal.code, "message": refusal.message}, refusal.status)
        except _Reset:
            return _reset(request)

    def _authorize(self, request: web.Request, action: str) -> None:
        scope = request.headers.get("Authorization", "")
        if "AWS4-HMAC-SHA256" not in scope:
            raise _Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
        if f"/{self._region}/firehose/aws4_request" not in scope:
            raise _Refusal(
                "InvalidSignatureException", "Credential should be scoped to a valid region."
            )
        if self.token_error:
            raise _Refusal(
                self.token_error, "The security token included in the request is refused"
            )
        if f"firehose:{action}" in self.denied:
            raise _Refusal(
                "AccessDeniedException",
                f"User: arn:aws:iam::{ACCOUNT}:user/test is not authorized to perform: firehose:{action}",
            )

    async def _act(self, action: str, body: Mapping[str, Any], request: web.Request) -> Any:
        if action == "PutRecordBatch":
            return await self._put_batch(body)
        if action == "PutRecord":
            return await self._put_one(body)
        if action == "CreateDeliveryStream":
            return {
                "DeliveryStreamARN": self._make(body["DeliveryStreamName"], _destination(body)).arn
            }
        if action == "DescribeDeliveryStream":
            return {"DeliveryStreamDescription": _description(self._stream(body))}
        raise _Refusal("UnknownOperationException", action)

    def _make(self, name: str, described: Mapping[str, Any]) -> Stream:
        if name in self._streams:
            raise _Refusal("ResourceInUseException", f"Firehose {name} already exists.")
        stream = Stream(
            name,
            self._region,
            described,
            self._store,
            self.delivery,
            buffer_bytes=self._buffer_bytes,
            buffer_age_s=self._buffer_age_s,
        )
        self._streams[name] = stream
        self._tasks.append(asyncio.get_running_loop().create_task(stream.run()))
        return stream

    def _stream(self, body: Mapping[str, Any]) -> Stream:
        name = body["DeliveryStreamName"]
        if name not in self._streams:
            raise _Refusal(
                "ResourceNotFoundException",
                f"Firehose {name} under account 000000000000 not found.",
            )
        return self._streams[name]

    async def _put_one(self, body: Mapping[str, Any]) -> Any:
        stream = self._stream(body)
        answers = await self._put(stream, [_data(body["Record"])])
        if "ErrorCode" in answers[0]:
            raise _Refusal(answers[0]["ErrorCode"], answers[0]["ErrorMessage"], 500)
        return {"RecordId": answers[0]["RecordId"], "Encrypted": False}

    async def _put_batch(self, body: Mapping[str, Any]) -> Any:
        stream = self._stream(body)
        records = [_data(record) for record in body["Records"]]
        if not 1 <= len(records) <= MAX_BATCH_RECORDS:
            raise _Refusal(
                "InvalidArgumentException", f"{len(records)} records: 1 to 500 are taken"
            )
        if sum(map(len, records)) > MAX_BATCH_BYTES:
            raise _Refusal("InvalidArgumentException", "Records size exceeds 4 MB limit")
        answers = await self._put(stream, records)
        failed = sum("ErrorCode" in answer for answer in answers)
        return {"FailedPutCount": failed, "Encrypted": False, "RequestResponses": answers}

    async def _put(self, stream: Stream, records: list[bytes]) -> list[dict[str, str]]:
        fault = self._faults.popleft() if self._faults else self.weather()
        kind = fault.kind if fault else None
        accepted = self._accepted(fault, len(records))
        if fault and kind in {"hang", "slow"}:
            if kind == "hang":
                self._log(stream, records, accepted, False, kind)
            await asyncio.sleep(fault.seconds)
        for record, takes in zip(records, accepted, strict=True):
            if takes:
                stream.add(record)
        told = kind not in {"accepted then error", "accepted then reset"}
        if kind != "hang":
            self._log(stream, records, accepted, told, kind)
        if kind == "throttle":
            raise _Refusal("ServiceUnavailableException", "Slow down.", 500)
        if kind in {"error", "accepted then error"}:
            raise _Refusal("InternalFailure", "something went wrong", 500)
        if kind in {"reset", "hang", "accepted then reset"}:
            raise _Reset
        return [
            {"RecordId": uuid.uuid4().hex}
            if takes
            else {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
            for takes in accepted
        ]

    @staticmethod
    def _accepted(fault: Fault | None, count: int) -> list[bool]:
        if fault is None or fault.kind == "slow" or fault.kind.startswith("accepted"):
            return [True] * count
        if fault.kind != "partial":
            return [False] * count
        rejected = range(0, count, 2) if fault.rejected is None else fault.rejected
        return [index not in rejected for index in range(count)]

    def _log(
        self,
        stream: Stream,
        records: list[bytes],
        accepted: list[bool],
        told: bool,
        kind: Kind | None,
    ) -> None:
        noted = [self._note(record) for record in records]
        self.puts.append(Put(stream.name, noted, tuple(accepted), told, kind))


class _Reset(Exception):
    """The connection is to be reset."""


def _reset(request: web.Request) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response()


def _json(answer: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(answer).encode(),
        status=status,
        content_type="application/x-amz-json-1.1",
        headers={"x-amzn-RequestId": str(uuid.uuid4())},
    )


def _data(record: Mapping[str, Any]) -> bytes:
    try:
        data = base64.b64decode(record["Data"], validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise _Refusal("SerializationException", "Data is not base64") from error
    if len(data) > MAX_RECORD_BYTES:
        raise _Refusal(
            "ValidationException",
            "1 validation error detected: Value at 'records.1.member.data' failed to satisfy "
            f"constraint: Member must have length less than or equal to {MAX_RECORD_BYTES}",
        )
    return data


def _destination(body: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("ExtendedS3DestinationConfiguration", "S3DestinationConfiguration"):
        if key in body:
            found: Mapping[str, Any] = body[key]
            return found
    raise _Refusal("InvalidArgumentException", "no S3 destination")


def _description(stream: Stream) -> Mapping[str, Any]:
    described = {
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        **stream.described,
    }
    plain = (
        "RoleARN",
        "BucketARN",
        "Prefix",
        "BufferingHints",
        "CompressionFormat",
        "EncryptionConfiguration",
    )
    return {
        "DeliveryStreamName": stream.name,
        "DeliveryStreamARN": stream.arn,
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "Destinations": [
            {
                "DestinationId": "destinationId-000000000001",
                "S3DestinationDescription": {
                    key: described[key] for key in plain if key in described
                },
                "ExtendedS3DestinationDescription": described,
            }
        ],
        "HasMoreDestinations": False,
    }
