"""`Api`: the platform's operations as methods. Paths and types come from the contract's table; only here is HTTP.

Every method returns the operation's contract schema and raises ApiError (the platform refused), UnreachableError (no
answer) or BadAnswerError (not the platform's answer). Path parameters are positional, the rest is keyword-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec

from nightingale.contract import schemas as s
from nightingale.contract.operations import BY_NAME
from nightingale.contract.reads import ReadsOut
from nightingale.contract.vocabulary import LogSource
from nightingale_tui.api.endpoints import Endpoints
from nightingale_tui.api.errors import BadAnswerError, refusal
from nightingale_tui.api.finding_calls import FindingCalls
from nightingale_tui.api.lean_httpx import httpx
from nightingale_tui.api.transport import path_of
from nightingale_tui.api.warden import WardenCalls

_FIRST_REFUSAL = 400


class Api(FindingCalls, WardenCalls):
    """One server and, once logged in, one person's token. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        others: Sequence[str] = (),
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Talk to `url`, or to `others` when it is gone; `transport` replaces the network. Opens no connection yet."""
        self._token = token
        self._endpoints = Endpoints((url, *others), transport=transport, timeout_s=timeout_s)

    def __repr__(self) -> str:
        """Name the server; never the token."""
        return f"Api({self.url!r}, {'logged in' if self._token else 'no token'})"

    @property
    def url(self) -> str:
        """The address that answered last; the first one, before any did."""
        return self._endpoints.url

    @property
    def address_count(self) -> int:
        """How many addresses there are to try."""
        return self._endpoints.count

    def leave_address(self) -> None:
        """Begin with the next address from now on."""
        self._endpoints.leave()

    def with_token(self, token: str | None) -> None:
        """Speak for the person of `token` from now on; None forgets the one before."""
        self._token = token

    @property
    def has_token(self) -> bool:
        """Whether calls carry a token; the platform says whether it is good."""
        return self._token is not None

    def close(self) -> None:
        """Close the connections."""
        self._endpoints.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def _call(
        self, operation: str, *path: str, body: msgspec.Struct | None = None, **query: str | int | bool | None
    ) -> Any:
        row = BY_NAME[operation]
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        params = {name: _text(value) for name, value in query.items() if value is not None and value is not False}
        answer = self._endpoints.request(
            row,
            path_of(row, path),
            has_key=bool(getattr(body, "request_id", "")),
            params=params or None,
            content=content,
            headers=headers,
        )
        return self._read(answer, row.response)

    def _read(self, answer: httpx.Response, kind: type[Any]) -> Any:
        try:
            if answer.status_code >= _FIRST_REFUSAL:
                raise refusal(answer.status_code, msgspec.json.decode(answer.content, type=s.ErrorOut))
            if answer.is_success:
                return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._strange(answer) from error
        raise self._strange(answer)  # a redirect: never followed, the token is for this server only

    def _strange(self, answer: httpx.Response) -> BadAnswerError:
        kind = answer.headers.get("content-type", "no content type").split(";")[0]
        return BadAnswerError(
            f"{self.url} gave an answer that is not the platform's (status {answer.status_code}, {kind}).",
            "Check the address (`--url`, NIGHTINGALE_URL); a proxy or another program may be answering. "
            "If the address is right, update this client.",
        )

    # --- anyone -------------------------------------------------------------------------------------------------------

    def get_health(self) -> s.HealthOut:
        """Return whether the platform is up."""
        answer: s.HealthOut = self._call("get_health")
        return answer

    def create_challenge(self) -> s.ChallengeOut:
        """Return a nonce to sign."""
        answer: s.ChallengeOut = self._call("create_challenge")
        return answer

    def create_session(self, body: s.SessionIn) -> s.SessionOut:
        """Log in with the signed nonce; the token comes back once."""
        answer: s.SessionOut = self._call("create_session", body=body)
        return answer

    # --- any person ---------------------------------------------------------------------------------------------------

    def delete_session(self) -> s.Empty:
        """Log out: the token ends now."""
        answer: s.Empty = self._call("delete_session")
        return answer

    def get_me(self) -> s.MeOut:
        """Return who the token speaks for."""
        answer: s.MeOut = self._call("get_me")
        return answer

    def get_catalog(self) -> s.CatalogOut:
        """Return sizes, images, datasets, places and prices."""
        answer: s.CatalogOut = self._call("get_catalog")
        return answer

    def get_gateway(self) -> s.GatewayOut:
        """Return the SSH gateway's address and host key."""
        answer: s.GatewayOut = self._call("get_gateway")
        return answer

    # --- instances ----------------------------------------------------------------------------------------------------

    def create_estimate(self, project: str, body: s.EstimateIn) -> s.EstimateOut:
        """Return what this size would cost."""
        answer: s.EstimateOut = self._call("create_estimate", project, body=body)
        return answer

    def list_instances(
        self, project: str, *, include_all: bool = False, cursor: str | None = None, limit: int | None = None
    ) -> s.InstancesOut:
        """Return a page of instances, newest first; terminated ones too when `include_all`."""
        answer: s.InstancesOut = self._call("list_instances", project, all=include_all, cursor=cursor, limit=limit)
        return answer

    def launch_instance(self, project: str, body: s.LaunchIn) -> s.InstanceOut:
        """Launch an instance; a repeated `request_id` gives the first answer again."""
        answer: s.InstanceOut = self._call("launch_instance", project, body=body)
        return answer

    def get_instance(self, project: str, instance: str) -> s.InstanceOut:
        """Return one instance, by name or id."""
        answer: s.InstanceOut = self._call("get_instance", project, instance)
        return answer

    def list_history(
        self, project: str, instance: str, *, cursor: str | None = None, limit: int | None = None
    ) -> s.HistoryOut:
        """Return a page of its changes, oldest first."""
        answer: s.HistoryOut = self._call("list_history", project, instance, cursor=cursor, limit=limit)
        return answer

    def list_builds(
        self, project: str, instance: str, *, cursor: str | None = None, limit: int | None = None
    ) -> s.BuildsOut:
        """Return a page of its Terraform runs, newest first."""
        answer: s.BuildsOut = self._call("list_builds", project, instance, cursor=cursor, limit=limit)
        return answer

    def read_log(
        self, project: str, instance: str, source: LogSource, *, offset: int | None = None, tail: int | None = None
    ) -> s.LogOut:
        """Return whole lines from `offset`, or the last `tail` lines."""
        answer: s.LogOut = self._call("read_log", project, instance, source.value, offset=offset, tail=tail)
        return answer

    def list_reads(
        self,
        project: str,
        instance: str,
        *,
        cursor: str | None = None,
        tail: int | None = None,
        limit: int | None = None,
    ) -> ReadsOut:
        """Return reads behind the cursor, oldest first, or the last `tail` ones."""
        answer: ReadsOut = self._call("list_reads", project, instance, cursor=cursor, tail=tail, limit=limit)
        return answer

    def stop_instance(self, project: str, instance: str) -> s.InstanceOut:
        """Stop it; the home stays."""
        answer: s.InstanceOut = self._call("stop_instance", project, instance)
        return answer

    def start_instance(self, project: str, instance: str) -> s.InstanceOut:
        """Start it again."""
        answer: s.InstanceOut = self._call("start_instance", project, instance)
        return answer

    def retry_instance(self, project: str, instance: str) -> s.InstanceOut:
        """Try the failed action again."""
        answer: s.InstanceOut = self._call("retry_instance", project, instance)
        return answer

    def resize_instance(self, project: str, instance: str, body: s.ResizeIn) -> s.InstanceOut:
        """Change its size."""
        answer: s.InstanceOut = self._call("resize_instance", project, instance, body=body)
        return answer

    def extend_instance(self, project: str, instance: str, body: s.ExtendIn) -> s.InstanceOut:
        """Move its stop time."""
        answer: s.InstanceOut = self._call("extend_instance", project, instance, body=body)
        return answer

    def delete_instance(self, project: str, instance: str, *, destroy_evidence: bool = False) -> s.InstanceOut:
        """Delete it and its home."""
        answer: s.InstanceOut = self._call("delete_instance", project, instance, destroy_evidence=destroy_evidence)
        return answer

    def open_jupyter(self, project: str, instance: str) -> s.JupyterOut:
        """Return a one-time code to enter its Jupyter server, and the token for programs."""
        answer: s.JupyterOut = self._call("open_jupyter", project, instance)
        return answer

    # --- usage --------------------------------------------------------------------------------------------------------

    def get_usage(self, project: str, *, month: str | None = None) -> s.UsageOut:
        """Return a month's usage and cost; `month` like `2026-11`."""
        answer: s.UsageOut = self._call("get_usage", project, month=month)
        return answer

    def list_usage_records(
        self, project: str, *, month: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> s.UsageRecordsOut:
        """Return a page of usage records of closed hours."""
        answer: s.UsageRecordsOut = self._call("list_usage_records", project, month=month, cursor=cursor, limit=limit)
        return answer

    # --- administrators -----------------------------------------------------------------------------------------------

    def get_cluster(self) -> s.ClusterOut:
        """Return the cluster as it runs, as a file that would change nothing."""
        answer: s.ClusterOut = self._call("get_cluster")
        return answer

    def plan_cluster(self, body: s.ClusterPlanIn) -> s.ClusterPlanOut:
        """Return what applying this cluster would change."""
        answer: s.ClusterPlanOut = self._call("plan_cluster", body=body)
        return answer

    def apply_cluster(self, body: s.ClusterApplyIn) -> s.ClusterApplyOut:
        """Make the cluster as the body says, if it still is the one that was planned against."""
        answer: s.ClusterApplyOut = self._call("apply_cluster", body=body)
        return answer

    def list_audit_events(
        self, stream: str, *, cursor: str | None = None, limit: int | None = None
    ) -> s.AuditEventsOut:
        """Return a page of sealed facts of `platform` or an instance id, oldest first."""
        answer: s.AuditEventsOut = self._call("list_audit_events", stream, cursor=cursor, limit=limit)
        return answer

    def verify_audit(self, stream: str) -> s.AuditVerifiedOut:
        """Return whether the stream's chain holds, from its first record to its last."""
        answer: s.AuditVerifiedOut = self._call("verify_audit", stream)
        return answer


def _text(value: str | int | bool) -> str:  # noqa: FBT001 - a query value, not a switch
    return "true" if value is True else str(value)
