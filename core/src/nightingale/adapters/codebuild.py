"""Builds in AWS CodeBuild. What is known of one lies in S3, so that any function, at any time, finds the same.

    builds/<build_id>/spec.json        put once, before anything is started          by `start`
                      codebuild.json   which CodeBuild build it became               by `start`
                      result.json      how it ended, in the runner's own words       by the build itself
    CloudWatch Logs                    what it printed, one stream a build

Started once. StartBuild carries the build's id as its idempotency token, so a repeated request, or one whose reply was
lost, answers with the CodeBuild build there is. AWS keeps such a token for five minutes only:

    spec.json ──┬─ StartBuild ── codebuild.json         as it should be
                ├─ (died, or no reply) … < 4 min …      StartBuild again, same token and parameters: the same build
                └─ (died, or no reply) … later …        the project's latest builds are searched for the id first

A result that the build wrote wins over what CodeBuild says of it. The environment of a build carries ids, no more.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from nightingale.adapters.aws_clients import Credentials, LazyClient, code_of, is_aws_error, words_of
from nightingale.adapters.codebuild_log import CodeBuildLog
from nightingale.adapters.codebuild_outcomes import lost, result_of
from nightingale.contract.build import (
    BUILD_VARIABLE,
    GENERATION_VARIABLE,
    INSTANCE_VARIABLE,
    BuildResult,
    BuildSpec,
)
from nightingale.contract.vocabulary import BuildState
from nightingale.ports.builder import BuilderFullError, BuilderUnavailableError, BuildSeen
from nightingale.ports.clock import Clock

BUILD_ID = re.compile(r"b-[a-z0-9]{10}")

TOKEN_LIVES = timedelta(minutes=4)
"""AWS keeps an idempotency token for five minutes; the last one is left for a request on its way."""

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 5.0
"""A build that ran is looked for in S3 so often, and in CodeBuild so often: both count, and price, requests."""

_SHORTEST_MINUTES = 5
_LONGEST_MINUTES = 480
_SEARCHED = 100
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class CodeBuildBuilder:
    """The Builder port for the place `aws`. One project, one bucket; any number of functions may share both."""

    def __init__(
        self,
        project: str,
        bucket: str,
        *,
        clock: Clock,
        prefix: str = "builds/",
        region: str | None = None,
        endpoint: str | None = None,
        codebuild: Any = None,
        s3: Any = None,
        logs: Any = None,
        credentials: Credentials | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the names of the CodeBuild project and of the bucket, and what boto3 is to be told.

        `codebuild`, `s3` and `logs` are boto3 clients to use instead of new ones.
        """
        self._project = project
        self._bucket = bucket
        self._prefix = prefix
        self._clock = clock
        self._monotonic = monotonic
        client = partial(LazyClient, region=region, endpoint=endpoint, credentials=credentials)
        self._codebuild = client("codebuild", client=codebuild)
        self._s3 = client("s3", client=s3)
        self._log = CodeBuildLog(client("logs", client=logs))
        self._memory = threading.Lock()
        self._became: dict[str, str] = {}
        self._looked: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def start(self, spec: BuildSpec) -> None:
        """Start the build, once: a second call with the same build id does nothing.

        Raises BuilderUnavailableError, and BuilderFullError when the account runs and queues as many as it may.
        """
        build_id = spec.build_id
        if not BUILD_ID.fullmatch(build_id):
            raise BuilderUnavailableError(f"{build_id!r} is no build id.")
        with _translated(f"build {build_id} could not be started"):
            if not self._put_once(build_id, "spec.json", msgspec.json.encode(spec)):
                # Somebody was here before: what they asked for is asked for again, to the letter.
                if self._codebuild_id(build_id) is not None:
                    return
                kept, put_at = self._get(build_id, "spec.json") or (msgspec.json.encode(spec), self._clock.now())
                if self._clock.now() - put_at >= TOKEN_LIVES and self._search(build_id) is not None:
                    return
                spec = msgspec.json.decode(kept, type=BuildSpec)
            minutes = -(-spec.timeout_seconds // 60)
            answer = self._codebuild().start_build(
                projectName=self._project,
                idempotencyToken=build_id,
                timeoutInMinutesOverride=min(max(minutes, _SHORTEST_MINUTES), _LONGEST_MINUTES),
                environmentVariablesOverride=[
                    {"name": BUILD_VARIABLE, "value": build_id, "type": "PLAINTEXT"},
                    {"name": INSTANCE_VARIABLE, "value": spec.instance_id, "type": "PLAINTEXT"},
                    {"name": GENERATION_VARIABLE, "value": str(spec.generation), "type": "PLAINTEXT"},
                ],
            )
            self._remember(build_id, str(answer["build"]["id"]))

    def look(self, build_id: str) -> BuildSeen:
        """Return how the build stands. Raises BuilderUnavailableError when AWS does not say.

        One that was started and of which CodeBuild knows nothing is `build_lost`.
        """
        if not BUILD_ID.fullmatch(build_id):
            return BuildSeen(BuildState.QUEUED)
        if not self._is_due(self._looked, build_id, LOOK_EVERY_S):
            return BuildSeen(BuildState.RUNNING)
        with _translated(f"build {build_id} could not be looked at"):
            seen = self._result(build_id) or self._as_codebuild_says(build_id)
        if seen.state is BuildState.RUNNING:
            self._note(self._looked, build_id)
        return seen

    def _as_codebuild_says(self, build_id: str) -> BuildSeen:
        codebuild_id = self._codebuild_id(build_id)
        if codebuild_id is None:
            return BuildSeen(BuildState.QUEUED)
        if not self._is_due(self._asked, build_id, ASK_EVERY_S):
            return BuildSeen(BuildState.RUNNING)
        found = self._codebuild().batch_get_builds(ids=[codebuild_id]).get("builds", [])
        if found and found[0]["buildStatus"] == "IN_PROGRESS":
            self._note(self._asked, build_id)
            return BuildSeen(BuildState.RUNNING)
        # It may have written its result between the first look and CodeBuild's answer.
        if (ended := self._result(build_id)) is not None:
            return ended
        now = self._clock.now()
        tail = self._log.tail(codebuild_id, found[0]) if found else ()
        result = result_of(build_id, found[0], now, tail) if found else lost(build_id, now)
        return BuildSeen(BuildState.FAILED, result)

    def cancel(self, build_id: str) -> None:
        """Stop the build if it still runs. Raises BuilderUnavailableError.

        CodeBuild ends the container without asking: what Terraform was doing may leave its state's lock behind.
        """
        if not BUILD_ID.fullmatch(build_id):
            return
        with _translated(f"build {build_id} could not be stopped"):
            if self._result(build_id) is not None:
                return
            is_known = self._get(build_id, "spec.json") is not None
            codebuild_id = self._codebuild_id(build_id) or (self._search(build_id) if is_known else None)
            if codebuild_id is None:
                return
            try:
                self._codebuild().stop_build(id=codebuild_id)
            except Exception as error:
                if code_of(error) not in {"ResourceNotFoundException", "InvalidInputException"}:
                    raise  # those two: it is not there, or it has ended

    def read_log(self, build_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        """Return up to `limit` whole lines from byte `offset`, and the next offset. Raises BuilderUnavailableError.

        Offsets count the bytes of the stream's events in order: CodeBuild alone writes it, and only at its end.
        """
        if not BUILD_ID.fullmatch(build_id):
            return (), 0
        with _translated(f"the log of build {build_id} could not be read"):
            codebuild_id = self._codebuild_id(build_id)
            if codebuild_id is None:
                return (), 0
            if not self._log.knows(codebuild_id):
                found = self._codebuild().batch_get_builds(ids=[codebuild_id]).get("builds", [])
                if not found or not self._log.learn(codebuild_id, found[0]):
                    return (), offset
            return self._log.read(codebuild_id, offset, limit)

    # --- which build it became ----------------------------------------------------------------------------------------

    def _codebuild_id(self, build_id: str) -> str | None:
        with self._memory:
            if build_id in self._became:
                return self._became[build_id]
        found = self._get(build_id, "codebuild.json")
        if found is None:
            return None
        codebuild_id = str(json.loads(found[0])["id"])
        with self._memory:
            self._became[build_id] = codebuild_id
        return codebuild_id

    def _remember(self, build_id: str, codebuild_id: str) -> None:
        self._put_once(build_id, "codebuild.json", json.dumps({"id": codebuild_id}).encode())
        with self._memory:
            self._became[build_id] = codebuild_id

    def _search(self, build_id: str) -> str | None:
        """Look for the build among the project's latest, and write down what is found."""
        client = self._codebuild()
        ids = client.list_builds_for_project(projectName=self._project, sortOrder="DESCENDING").get("ids", [])
        found = client.batch_get_builds(ids=ids[:_SEARCHED]).get("builds", []) if ids else []
        for build in found:
            variables = build.get("environment", {}).get("environmentVariables", [])
            if any(one["name"] == BUILD_VARIABLE and one["value"] == build_id for one in variables):
                self._remember(build_id, str(build["id"]))
                return str(build["id"])
        return None

    # --- S3 -----------------------------------------------------------------------------------------------------------

    def _result(self, build_id: str) -> BuildSeen | None:
        found = self._get(build_id, "result.json")
        if found is None:
            return None
        try:
            result = msgspec.json.decode(found[0], type=BuildResult)
        except msgspec.DecodeError:
            return BuildSeen(BuildState.FAILED, lost(build_id, self._clock.now(), "its result cannot be read"))
        return BuildSeen(BuildState.SUCCEEDED if result.is_ok else BuildState.FAILED, result)

    def _put_once(self, build_id: str, name: str, content: bytes) -> bool:
        """Write the object unless it is there; return whether this call wrote it."""
        try:
            self._s3().put_object(
                Bucket=self._bucket,
                Key=f"{self._prefix}{build_id}/{name}",
                Body=content,
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except Exception as error:
            if code_of(error) == "PreconditionFailed":
                return False
            raise
        return True

    def _get(self, build_id: str, name: str) -> tuple[bytes, datetime] | None:
        """Return the object and when it was written, None when it is not there."""
        try:
            found = self._s3().get_object(Bucket=self._bucket, Key=f"{self._prefix}{build_id}/{name}")
        except Exception as error:
            if code_of(error) in _MISSING:
                return None
            raise
        return found["Body"].read(), found["LastModified"]

    # --- not too often ------------------------------------------------------------------------------------------------

    def _is_due(self, seen: dict[str, float], build_id: str, every_s: float) -> bool:
        with self._memory:
            at = seen.get(build_id)
            if at is None or self._monotonic() - at >= every_s:
                seen.pop(build_id, None)
                return True
            return False

    def _note(self, seen: dict[str, float], build_id: str) -> None:
        with self._memory:
            seen[build_id] = self._monotonic()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if code_of(error) == "AccountLimitExceededException":
            raise BuilderFullError(words_of(error, what)) from error
        if is_aws_error(error):
            raise BuilderUnavailableError(words_of(error, what)) from error
        raise
