"""A build's log as CloudWatch Logs keeps it, read by byte.

CodeBuild alone writes a build's stream, in order, and nothing in it is changed after; so the bytes of its events, one
behind the other, are a file that only grows. An event that does not end its line is counted as if it did.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nightingale.adapters.aws_clients import LazyClient, code_of, is_aws_error
from nightingale.adapters.terraform_messages import message_of

_TAIL_LINES = 20
_PAGE = 10_000


class _Place(NamedTuple):
    """Where a page of events begins: how many bytes stand before it, and CloudWatch's token for it."""

    offset: int
    token: str | None


_START = _Place(0, None)


class CodeBuildLog:
    """Reads the streams of builds. Remembers where the last page it read began, so that following a log is cheap."""

    def __init__(self, client: LazyClient) -> None:
        """Take the client of CloudWatch Logs."""
        self._client = client
        self._memory = threading.Lock()
        self._streams: dict[str, tuple[str, str]] = {}
        self._places: dict[str, _Place] = {}

    def knows(self, codebuild_id: str) -> bool:
        """Return whether it is known where this build writes."""
        return codebuild_id in self._streams

    def learn(self, codebuild_id: str, build: Mapping[str, Any]) -> bool:
        """Take from CodeBuild's answer where the build writes; return whether it says so already."""
        logs = build.get("logs", {})
        group, stream = logs.get("groupName"), logs.get("streamName")
        if not group or not stream:
            return False
        self._streams[codebuild_id] = (str(group), str(stream))
        return True

    def read(self, codebuild_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines from byte `offset`, and the next offset. Raises what the SDK raises."""
        lines: list[str] = []
        following = offset
        for at, line in self._lines(codebuild_id, offset):
            if len(lines) == limit:
                break
            if at >= offset:
                lines.append(message_of(line))
                following = at + len(line) + 1
        return tuple(lines), following

    def tail(self, codebuild_id: str, build: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the log's last lines, none when they cannot be had: the tail is a help, not the reason."""
        if not self.learn(codebuild_id, build):
            return ()
        group, stream = self._streams[codebuild_id]
        try:
            found = self._client().get_log_events(
                logGroupName=group, logStreamName=stream, startFromHead=False, limit=_TAIL_LINES
            )
        except Exception as error:
            if is_aws_error(error):
                return ()
            raise
        lines = [line for event in found.get("events", ()) for line in _split(event)]
        return tuple(message_of(line) for line in lines[-_TAIL_LINES:])

    def _lines(self, codebuild_id: str, offset: int) -> Iterator[tuple[int, bytes]]:
        """Yield each line and its offset, from the last known page at or before `offset`."""
        group, stream = self._streams[codebuild_id]
        with self._memory:
            known = self._places.get(codebuild_id, _START)
        place = known if known.offset <= offset else _START
        while True:
            more = {"nextToken": place.token} if place.token is not None else {}
            try:
                page = self._client().get_log_events(
                    logGroupName=group, logStreamName=stream, startFromHead=True, limit=_PAGE, **more
                )
            except Exception as error:
                if code_of(error) == "ResourceNotFoundException":
                    return  # the stream is made with its first event
                raise
            at = place.offset
            for event in page.get("events", ()):
                for line in _split(event):
                    yield at, line
                    at += len(line) + 1
            token = page.get("nextForwardToken")
            # CloudWatch says the end by giving back the token it was given; an empty page alone says nothing.
            if token is None or token == place.token:
                return
            place = _Place(at, token)
            if at <= offset:
                with self._memory:
                    self._places[codebuild_id] = place


def _split(event: Mapping[str, Any]) -> list[bytes]:
    return str(event["message"]).removesuffix("\n").encode().split(b"\n")
