"""Notifications on SQS: which objects to read, and when each is done with.

Owns the messages in hand: they stay invisible to other workers while their
objects are worked on, and are deleted when every shot of every object in them has
ended. So a worker that dies loses nothing: its messages come again. Messages that
cannot be understood, or whose object cannot be read, are never deleted: the
queue's own dead-letter queue takes them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from mirrorproxy.aws_urls import SQS, QueueUrl
from mirrorproxy.errors import SourceError
from mirrorproxy.sources.arrivals import Arrivals
from mirrorproxy.sources.aws import START_ATTEMPTS, AwsError, Caller, Deed, Kind
from mirrorproxy.sources.events import Account, Unreadable
from mirrorproxy.sources.merge import SLACK_US
from mirrorproxy.sources.notices import UnknownNotice, Written, written
from mirrorproxy.sources.s3 import S3Reader

MAX_IN_HAND = 64
"""Messages that a worker holds at most: with a delay they wait for their time."""

AHEAD = 2
"""Objects that could be read at once and are not yet: more are left to other workers."""

_BATCH = 10
_WAIT_S = 5
_IDLE_S = 0.5
_TOLD = 10_000
_CLOSE_S = 10.0
_RUNNING: frozenset[Kind] = frozenset({"unavailable", "credentials", "denied"})


class _Message:
    """A message in hand. left: its objects that are not done with."""

    __slots__ = ("is_lost", "left", "message_id", "receipt")

    def __init__(self, message_id: str, receipt: str, left: int) -> None:
        self.message_id = message_id
        self.receipt = receipt
        self.left = left
        self.is_lost = False


class SqsFeed:
    """Receives messages and hands over their objects. `start` it once checked.

    client: boto3's for SQS. arrivals: takes the objects. until_us: up to which
    captured time may be read now, microseconds since 1970. aside: takes what cannot
    be read. idle_exit_s: ends when nothing came, and nothing was in hand, for so long.
    """

    def __init__(
        self,
        url: QueueUrl,
        client: Any,
        call: Caller,
        reader: S3Reader,
        arrivals: Arrivals,
        *,
        until_us: Callable[[], int],
        aside: deque[Unreadable],
        stopping: threading.Event,
        idle_exit_s: float | None = None,
    ) -> None:
        self._url = url
        self._client = client
        self._call = call
        self._reader = reader
        self._arrivals = arrivals
        self._until_us = until_us
        self._aside = aside
        self._stopping = stopping
        self._idle_exit_s = idle_exit_s
        self._queue_url = ""
        self._lock = threading.Lock()
        self._in_hand: dict[str, _Message] = {}
        self._to_delete: deque[_Message] = deque()
        self._is_full = False
        self._told: set[str] = set()
        self._something = threading.Event()
        self._busy_s = time.monotonic()
        self.received = 0
        self.deleted = 0
        self.left_to_queue = 0
        self._threads = [
            threading.Thread(target=work, name=f"sqs-{name}", daemon=True)
            for name, work in (("receive", self._receive), ("keep", self._keep))
        ]

    # -- at start -------------------------------------------------------------------

    def check(self) -> str | None:
        """See that the queue can be used; return a warning about it, if there is one.

        Raises SourceError, which says why it cannot.
        """
        queue, address = self._url.name, self._url.address
        try:
            if address is not None:
                self._queue_url = address
            else:
                deed = self._deed("sqs:GetQueueUrl")
                found = self._try(deed, lambda: self._client.get_queue_url(QueueName=queue))
                self._queue_url = found["QueueUrl"]
            said = self._try(
                self._deed("sqs:GetQueueAttributes"),
                lambda: self._client.get_queue_attributes(
                    QueueUrl=self._queue_url, AttributeNames=["All"]
                ),
            )
        except AwsError as error:
            raise SourceError(error.trouble.text) from error
        if "RedrivePolicy" in said.get("Attributes", {}):
            return None
        return (
            f"{SQS}{self._name}: no dead-letter queue; messages that cannot be used come again "
            "until they are too old"
        )

    def _try(self, deed: Deed, function: Callable[[], Any]) -> Any:
        return self._call(deed, function, attempts=START_ATTEMPTS)

    @property
    def _name(self) -> str:
        return self._url.name

    def _deed(self, permission: str) -> Deed:
        return Deed(f"{SQS}{self._name}", f"{permission} on the queue {self._name}")

    def start(self) -> None:
        """Begin to receive."""
        for thread in self._threads:
            thread.start()

    def receive_no_more(self) -> None:
        """Take no new messages; those in hand are kept until `close`."""
        self._is_full = True

    def status(self) -> dict[str, object]:
        """Return what `/status` shows."""
        return {
            "messages_received": self.received,
            "messages_in_hand": len(self._in_hand),
            "messages_deleted": self.deleted,
            "messages_left_to_queue": self.left_to_queue,
        }

    # -- receiving ------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            while not self._stopping.is_set():
                room = self._room()
                if room:
                    self._take(room)
                else:
                    self._stopping.wait(_IDLE_S)
                if self._is_idle():
                    self._arrivals.end()
                    return
        except AwsError as error:
            self._arrivals.fail(SourceError(error.trouble.text))

    def _room(self) -> int:
        """Return how many messages to ask for: no more than this worker can use now."""
        if self._is_full or self._arrivals.known_before(self._until_us() + SLACK_US) >= AHEAD:
            return 0
        return max(0, min(AHEAD, MAX_IN_HAND - len(self._in_hand)))

    def _take(self, room: int) -> None:
        wait_s = min(_WAIT_S, int(self._idle_exit_s or _WAIT_S), int(self._url.visibility_s / 4))
        answer = self._call(
            self._deed("sqs:ReceiveMessage"),
            lambda: self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=min(room, _BATCH),
                WaitTimeSeconds=max(0, wait_s),
                VisibilityTimeout=int(self._url.visibility_s),
            ),
            again=_RUNNING,
        )
        messages = answer.get("Messages", ())
        for message in messages:
            self._busy_s = time.monotonic()
            self.received += 1
            self._read(message)
        if not messages and wait_s < 1:
            self._stopping.wait(_IDLE_S)

    def _read(self, message: dict[str, str]) -> None:
        try:
            objects = written(message["Body"])
        except UnknownNotice as error:
            self._refuse(message["MessageId"], str(error))
            return
        held = _Message(message["MessageId"], message["ReceiptHandle"], len(objects))
        with self._lock:
            self._in_hand[held.receipt] = held
        if not objects:
            self._ended(held)
            return
        for one in objects:
            self._hand_over(one, held)

    def _hand_over(self, one: Written, held: _Message) -> None:
        def on_done() -> None:
            held.left -= 1
            if not held.left:
                self._ended(held)

        def on_lost() -> None:
            held.is_lost = True

        found = self._reader.object(
            one.bucket, one.key, None, one.version, Account(on_done), on_lost
        )
        self._arrivals.add(*found)

    def _refuse(self, message_id: str, reason: str) -> None:
        # It comes again, until the queue gives it up: it is counted once.
        if message_id in self._told:
            return
        if len(self._told) < _TOLD:
            self._told.add(message_id)
        self.left_to_queue += 1
        name = f"{SQS}{self._name}: message {message_id}"
        self._aside.append(Unreadable(name, None, f"{reason}; left to the queue", None))

    def _is_idle(self) -> bool:
        if self._in_hand or self._idle_exit_s is None:
            return False
        return time.monotonic() - self._busy_s >= self._idle_exit_s

    # -- keeping and deleting -----------------------------------------------------------

    def _ended(self, held: _Message) -> None:
        """Take the end of a message's last object. In the replay's thread, so it never waits."""
        self._busy_s = time.monotonic()
        if held.is_lost:
            self.left_to_queue += 1
            with self._lock:
                self._in_hand.pop(held.receipt, None)
            return
        self._to_delete.append(held)
        self._something.set()

    def _keep(self) -> None:
        every_s = self._url.visibility_s / 3
        extend_at_s = time.monotonic() + every_s
        while not self._stopping.is_set():
            self._something.wait(max(0.0, extend_at_s - time.monotonic()))
            self._something.clear()
            try:
                self._delete()
                if time.monotonic() >= extend_at_s:
                    extend_at_s = time.monotonic() + every_s
                    self._extend(int(self._url.visibility_s))
            except AwsError as error:
                self._arrivals.fail(SourceError(error.trouble.text))
                return

    def _delete(self, attempts: int | None = None) -> None:
        while self._to_delete:
            batch = [self._to_delete[at] for at in range(min(_BATCH, len(self._to_delete)))]
            entries = [{"Id": str(at), "ReceiptHandle": m.receipt} for at, m in enumerate(batch)]
            answer = self._call(
                self._deed("sqs:DeleteMessage"),
                lambda entries=entries: self._client.delete_message_batch(  # type: ignore[misc]
                    QueueUrl=self._queue_url, Entries=entries
                ),
                attempts=attempts,
                again=_RUNNING,
            )
            # One whose receipt is no longer good has come again to somebody already.
            self.deleted += len(answer.get("Successful", ()))
            with self._lock:
                for message in batch:
                    self._to_delete.popleft()
                    self._in_hand.pop(message.receipt, None)

    def _extend(self, visible_in_s: int, attempts: int | None = None) -> None:
        with self._lock:
            receipts = list(self._in_hand)
        for start in range(0, len(receipts), _BATCH):
            entries = [
                {"Id": str(at), "ReceiptHandle": receipt, "VisibilityTimeout": visible_in_s}
                for at, receipt in enumerate(receipts[start : start + _BATCH])
            ]
            self._call(
                self._deed("sqs:ChangeMessageVisibility"),
                lambda entries=entries: self._client.change_message_visibility_batch(  # type: ignore[misc]
                    QueueUrl=self._queue_url, Entries=entries
                ),
                attempts=attempts,
                again=_RUNNING,
            )

    def close(self) -> None:
        """Delete what is done with, give back the rest; `stopping` must be set."""
        self._something.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_CLOSE_S)
        try:
            self._delete(attempts=1)
            self._extend(0, attempts=1)
        except AwsError:
            # They come again by themselves when their time is over.
            return
