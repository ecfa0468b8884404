"""S3, CodeBuild and CloudWatch Logs in memory, as boto3's clients show them: what moto cannot do, fail, they can.

Only what our adapters call. `lose_reply` does what was asked and then says nothing; `refuse` does nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections import defaultdict
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import quote_plus

from botocore.exceptions import ClientError, ReadTimeoutError  # type: ignore[import-untyped] # no types

from nightingale.ports.clock import Clock


def client_error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "made up"}}, operation)


class _Faults:
    """What goes wrong next, by operation."""

    def __init__(self) -> None:
        self._refused: dict[str, list[str]] = defaultdict(list)
        self._lost: dict[str, int] = defaultdict(int)
        self.calls: list[str] = []
        """Every operation asked for, in order."""

    def refuse(self, operation: str, code: str, times: int = 1) -> None:
        self._refused[operation] += [code] * times

    def lose_reply(self, operation: str, times: int = 1) -> None:
        self._lost[operation] += times

    def _begin(self, operation: str) -> None:
        self.calls.append(operation)
        if self._refused[operation]:
            raise client_error(self._refused[operation].pop(0), operation)

    def _end(self, operation: str) -> None:
        if self._lost[operation]:
            self._lost[operation] -= 1
            raise ReadTimeoutError(endpoint_url="https://aws.invalid")


class FakeS3(_Faults):
    """One bucket's worth of objects, with the conditions of PutObject."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, datetime, dict[str, str]]] = {}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: ARG002, N803 - boto3's names
        Key: str,  # noqa: N803 - same
        Body: bytes | BinaryIO,  # noqa: N803 - same
        IfNoneMatch: str | None = None,  # noqa: N803 - same
        IfMatch: str | None = None,  # noqa: N803 - same
        Metadata: dict[str, str] | None = None,  # noqa: N803 - same
        **_more: Any,
    ) -> dict[str, Any]:
        self._begin("PutObject")
        content = bytes(Body) if isinstance(Body, bytes | bytearray | memoryview) else Body.read()
        with self._lock:
            there = self.objects.get(Key)
            if IfNoneMatch == "*" and there is not None:
                raise client_error("PreconditionFailed", "PutObject")
            if IfMatch is not None and (there is None or _etag(there[0]) != IfMatch):
                raise client_error("PreconditionFailed" if there else "NoSuchKey", "PutObject")
            self.objects[Key] = (content, self._clock.now(), dict(Metadata or {}))
        self._end("PutObject")
        return {"ETag": _etag(content)}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: ARG002, N803 - boto3's names
        self._begin("GetObject")
        there = self.objects.get(Key)
        if there is None:
            raise client_error("NoSuchKey", "GetObject")
        self._end("GetObject")
        body, at, metadata = there
        return {"Body": io.BytesIO(body), "LastModified": at, "ETag": _etag(body), "Metadata": metadata}

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: ARG002, N803 - boto3's names
        Prefix: str,  # noqa: N803 - same
        StartAfter: str = "",  # noqa: N803 - same
        ContinuationToken: str = "",  # noqa: N803 - same
        Delimiter: str = "",  # noqa: N803 - same
        MaxKeys: int = 1000,  # noqa: N803 - same
    ) -> dict[str, Any]:
        self._begin("ListObjectsV2")
        keys: list[str] = []
        folders: list[str] = []
        begin = max(StartAfter, ContinuationToken)
        for key in sorted(self.objects):
            rest = key.removeprefix(Prefix)
            if not key.startswith(Prefix) or key <= begin or (folders and key.startswith(folders[-1])):
                continue
            if ContinuationToken and key.startswith(ContinuationToken):
                continue
            if len(keys) + len(folders) == MaxKeys:
                last = max([*keys[-1:], *folders[-1:]])
                return self._listing(keys, folders, last)
            if Delimiter and Delimiter in rest:
                folders.append(Prefix + rest.split(Delimiter)[0] + Delimiter)
            else:
                keys.append(key)
        return self._listing(keys, folders, None)

    def _listing(self, keys: list[str], folders: list[str], following: str | None) -> dict[str, Any]:
        found: dict[str, Any] = {"IsTruncated": following is not None}
        if keys:
            held = [(key, *self.objects[key]) for key in keys]
            found["Contents"] = [
                {"Key": key, "Size": len(body), "ETag": _etag(body), "LastModified": at} for key, body, at, _ in held
            ]
        if folders:
            found["CommonPrefixes"] = [{"Prefix": folder} for folder in folders]
        if following is not None:
            found["NextContinuationToken"] = following
        return found


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


class FakeQueue(_Faults):
    """One queue, and the notices that S3 would put there. What was received stays until it is deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: dict[str, str] = {}
        self._in_flight: set[str] = set()
        self._count = 0

    def tell(self, *keys: str) -> None:
        """Be told of objects, by one message."""
        self.say(json.dumps({"Records": [{"s3": {"object": {"key": quote_plus(key)}}} for key in keys]}))

    def say(self, body: str) -> None:
        """Get a message."""
        self._count += 1
        self.bodies[f"receipt-{self._count}"] = body

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: ARG002, N803 - boto3's names
        MaxNumberOfMessages: int,  # noqa: N803 - same
        WaitTimeSeconds: int,  # noqa: ARG002, N803 - same
    ) -> dict[str, Any]:
        self._begin("ReceiveMessage")
        held = [one for one in self.bodies if one not in self._in_flight][:MaxNumberOfMessages]
        self._in_flight |= set(held)
        self._end("ReceiveMessage")
        return {"Messages": [{"ReceiptHandle": one, "Body": self.bodies[one]} for one in held]} if held else {}

    def delete_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: ARG002, N803 - boto3's names
        self._begin("DeleteMessageBatch")
        for entry in Entries:
            self.bodies.pop(entry["ReceiptHandle"], None)
        self._end("DeleteMessageBatch")
        return {}

    def time_passes(self) -> None:
        """Let what was received and not deleted be received again."""
        self._in_flight = set()


class FakeCodeBuild(_Faults):
    """Builds that end as the test says. Keeps an idempotency token for five minutes, as AWS does."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.builds: dict[str, dict[str, Any]] = {}
        self.stopped: list[str] = []
        self._tokens: dict[str, tuple[datetime, str, dict[str, Any]]] = {}

    def start_build(self, *, idempotencyToken: str, **request: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        self._begin("StartBuild")
        given = self._tokens.get(idempotencyToken)
        now = self._clock.now()
        if given is not None and (now - given[0]).total_seconds() < 300:
            if given[2] != request:
                raise client_error("InvalidInputException", "StartBuild")
            codebuild_id = given[1]
        else:
            codebuild_id = f"{request['projectName']}:{len(self.builds):08d}"
            self.builds[codebuild_id] = {
                "id": codebuild_id,
                "buildStatus": "IN_PROGRESS",
                "startTime": now,
                "timeoutInMinutes": request["timeoutInMinutesOverride"],
                "environment": {"environmentVariables": request["environmentVariablesOverride"]},
                "logs": {"groupName": "/aws/codebuild/builds", "streamName": codebuild_id.partition(":")[2]},
                "phases": [],
            }
            self._tokens[idempotencyToken] = (now, codebuild_id, request)
        self._end("StartBuild")
        return {"build": self.builds[codebuild_id]}

    def batch_get_builds(self, *, ids: list[str]) -> dict[str, Any]:
        self._begin("BatchGetBuilds")
        found = [self.builds[one] for one in ids if one in self.builds]
        return {"builds": found, "buildsNotFound": [one for one in ids if one not in self.builds]}

    def list_builds_for_project(self, *, projectName: str, sortOrder: str) -> dict[str, Any]:  # noqa: ARG002, N803 - boto3's names
        self._begin("ListBuildsForProject")
        return {"ids": sorted(self.builds, reverse=sortOrder == "DESCENDING")}

    def stop_build(self, *, id: str) -> dict[str, Any]:  # noqa: A002 - boto3's name
        self._begin("StopBuild")
        if id not in self.builds:
            raise client_error("ResourceNotFoundException", "StopBuild")
        self.stopped.append(id)
        self.end(id, "STOPPED")
        return {"build": self.builds[id]}

    # --- what a test says -----------------------------------------------------------------------------------------

    @property
    def only(self) -> str:
        """Return the id of the one build there is."""
        (codebuild_id,) = self.builds
        return codebuild_id

    def end(self, codebuild_id: str, status: str, phase: str = "", message: str = "") -> None:
        build = self.builds[codebuild_id]
        build |= {"buildStatus": status, "endTime": self._clock.now()}
        if phase:
            build["phases"] = [
                {"phaseType": "SUBMITTED", "phaseStatus": "SUCCEEDED"},
                {"phaseType": phase, "phaseStatus": status, "contexts": [{"statusCode": "X", "message": message}]},
                {"phaseType": "COMPLETED"},
            ]


class FakeLogs(_Faults):
    """Streams of events, handed out `page` at a time and with an empty page in between, as CloudWatch may."""

    def __init__(self, page: int = 3) -> None:
        super().__init__()
        self._page = page
        self.streams: dict[str, list[str]] = {}

    def get_log_events(
        self,
        *,
        logGroupName: str,  # noqa: ARG002, N803 - boto3's names
        logStreamName: str,  # noqa: N803 - same
        startFromHead: bool,  # noqa: N803 - same
        limit: int,
        nextToken: str = "f/0/full",  # noqa: N803 - boto3's name
    ) -> dict[str, Any]:
        self._begin("GetLogEvents")
        if logStreamName not in self.streams:
            raise client_error("ResourceNotFoundException", "GetLogEvents")
        events = self.streams[logStreamName]
        if not startFromHead:
            return {"events": [{"message": message} for message in events[-limit:]]}
        _, number, kind = nextToken.split("/")
        at = int(number)
        if kind == "empty" and at < len(events):
            return {"events": [], "nextForwardToken": f"f/{at}/full"}
        found = events[at : at + min(limit, self._page)]
        following = f"f/{at + len(found)}/empty" if found else nextToken
        return {"events": [{"message": message} for message in found], "nextForwardToken": following}
