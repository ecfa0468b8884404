"""Where messages wait: in this process, or in a queue of a storage account (Azurite's, on one machine)."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from azure.storage.queue import QueueClient

_LOG = logging.getLogger(__name__)

AZURITE = "UseDevelopmentStorage=true"
_AZURITE_WHOLE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    # The emulator's own key, the same for everybody and printed in its documentation: it opens nothing else.
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
)


@dataclass
class Message:
    """A message that was handed out. `receipt` lets whoever has it take it away."""

    id: str
    body: bytes
    count: int
    receipt: str = field(default="", repr=False)


class Messages(Protocol):
    """A queue: whatever is taken is hidden from others for a while, and comes back unless it is removed."""

    def put(self, body: bytes) -> None:
        """Add a message."""

    def take(self, hidden_s: int) -> Message | None:
        """Return the next message, or None when there is none now."""

    def remove(self, message: Message) -> None:
        """Take the message out for good."""


class MessagesHere:
    """A queue in this process. What was taken and not removed is back at once; all is gone when the process ends."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: deque[Message] = deque()
        self._ids = itertools.count(1)
        self._turn = threading.Lock()

    def put(self, body: bytes) -> None:
        """Add a message."""
        with self._turn:
            self._waiting.append(Message(f"m-{next(self._ids)}", body, 0))

    def take(self, hidden_s: int) -> Message | None:  # noqa: ARG002 - one reader: nobody else would see it
        """Return the next message and put it at the end, or None."""
        with self._turn:
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            message.count += 1
            self._waiting.append(message)
            return message

    def remove(self, message: Message) -> None:
        """Take the message out."""
        with self._turn:
            self._waiting = deque(one for one in self._waiting if one.id != message.id)


class StorageMessages:
    """A queue of a storage account, made when it is not there."""

    def __init__(self, connection: str, queue: str) -> None:
        """Take the connection string, `UseDevelopmentStorage=true` for Azurite on its usual port. Asks nothing yet."""
        self._connection = _AZURITE_WHOLE if connection.strip() == AZURITE else connection
        self._queue = queue
        self._client: QueueClient | None = None

    def put(self, body: bytes) -> None:
        """Add a message. Raises OSError when the account does not answer."""
        self._made().send_message(body.decode())

    def take(self, hidden_s: int) -> Message | None:
        """Return the next message, or None."""
        found = self._made().receive_message(visibility_timeout=hidden_s)
        if found is None:
            return None
        body = found.content if isinstance(found.content, bytes) else str(found.content).encode()
        return Message(found.id, body, int(found.dequeue_count or 1), str(found.pop_receipt))

    def remove(self, message: Message) -> None:
        """Take the message out."""
        self._made().delete_message(message.id, message.receipt)

    def _made(self) -> QueueClient:
        if self._client is None:
            from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415 - only where a queue was named
            from azure.storage.queue import QueueClient  # noqa: PLC0415 - same

            client = QueueClient.from_connection_string(self._connection, self._queue)
            try:
                client.create_queue()
            except ResourceExistsError:
                _LOG.debug("the queue %s is there already", self._queue)
            self._client = client
        return self._client


def open_queue(connection: str | None, queue: str) -> Messages:
    """Return the queue that the setting names; without one, a queue in this process, which the log says."""
    if connection:
        return StorageMessages(connection, queue)
    _LOG.warning("no storage account is named: the queue is in this process, and ends with it", extra={"queue": queue})
    return MessagesHere()
