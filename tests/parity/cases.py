"""HTTP cases as data: every host answers them alike. `heart` is grace's project, `brain` everyone's (see doubles)."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from nightingale.contract.operations import BY_NAME


@dataclass(frozen=True)
class Case:
    """One request and what it must come to. `operation` may be a raw `METHOD /path` that no operation has."""

    title: str
    operation: str
    status: int
    code: str | None = None
    who: str | None = "grace"
    body: bytes = b""
    content_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        return self.operation in BY_NAME

    @property
    def method(self) -> str:
        return BY_NAME[self.operation].method if self.is_known else self.operation.partition(" ")[0]

    @property
    def target(self) -> str:
        """The path and query to ask for."""
        known = BY_NAME.get(self.operation)
        path = known.path.format(**self.path) if known is not None else self.operation.partition(" ")[2]
        return path + ("?" + urllib.parse.urlencode(self.query) if self.query else "")


BRAIN = {"project": "brain"}
SCAN = BRAIN | {"instance": "scan"}
LAUNCH = b'{"name":"scan","size":{"cpu":"s","memory":"s"}}'

CASES = (
    Case("health needs no token", "get_health", 200, who=None),
    Case("the document needs no token", "get_openapi", 200, who=None),
    Case("no such path", "GET /v1/nothing", 404, "not_found"),
    Case("no such method", "PATCH /health", 405, "method_not_allowed"),
    Case("no token", "get_me", 401, "unauthenticated", who=None),
    Case("a challenge", "create_challenge", 201, who=None),
    Case("a session without a body", "create_session", 400, "bad_request", who=None),
    Case("a session of the wrong shape", "create_session", 422, "invalid", who=None, body=b'{"nonce":1}'),
    Case("a session as a form", "create_session", 415, "unsupported_media_type", who=None, content_type="text/plain"),
    Case("a body too large", "create_session", 413, "body_too_large", who=None, body=b" " * 1_048_577),
    Case("who am I", "get_me", 200),
    Case("the catalogue", "get_catalog", 200),
    Case("the gateway", "get_gateway", 200),
    Case("an estimate", "create_estimate", 200, path=BRAIN, body=b"{}"),
    Case("a launch", "launch_instance", 202, path=BRAIN, body=LAUNCH),
    Case("its name again", "launch_instance", 409, "name_taken", path=BRAIN, body=LAUNCH),
    Case("a name that is none", "launch_instance", 422, "invalid", path=BRAIN, body=b'{"name":"Scan Two"}'),
    Case("a field that is none", "launch_instance", 422, "invalid", path=BRAIN, body=b'{"name":"two","colour":"red"}'),
    Case("a size that is none", "launch_instance", 422, "invalid", path=BRAIN, body=b'{"name":"b","size":{"cpu":"q"}}'),
    Case("spot where there is none", "launch_instance", 422, "invalid", path=BRAIN, body=b'{"name":"b","spot":true}'),
    Case("the price of spot", "create_estimate", 200, path=BRAIN, body=b'{"place":"aws","spot":true}'),
    Case(
        "a project that is none of mine", "launch_instance", 403, "forbidden", "ada", LAUNCH, path={"project": "heart"}
    ),
    Case("the list", "list_instances", 200, path=BRAIN),
    Case("a page of one", "list_instances", 200, path=BRAIN, query={"limit": "1", "all": "true"}),
    Case("a page of too many", "list_instances", 400, "bad_request", path=BRAIN, query={"limit": "501"}),
    Case("a cursor that is none", "list_instances", 400, "bad_request", path=BRAIN, query={"cursor": "x"}),
    Case("one", "get_instance", 200, path=SCAN),
    Case("none", "get_instance", 404, "not_found", path=BRAIN | {"instance": "ghost"}),
    Case("its history", "list_history", 200, path=SCAN),
    Case("its builds", "list_builds", 200, path=SCAN),
    Case("stopping what is being built", "stop_instance", 409, "busy", path=SCAN),
    Case("another person's", "delete_instance", 403, "forbidden", "mary", path=SCAN),
    Case("quarantine, as its owner", "quarantine_instance", 403, "forbidden", path=SCAN, body=b'{"why":"x"}'),
    Case("quarantine without a reason", "quarantine_instance", 422, "invalid", "hedy", b"{}", path=SCAN),
    Case("quarantine", "quarantine_instance", 200, who="hedy", body=b'{"why":"a look"}', path=SCAN),
    Case("quarantine again", "quarantine_instance", 200, who="hedy", body=b'{"why":"again"}', path=SCAN),
    Case("one in quarantine, as its owner sees it", "get_instance", 200, path=SCAN),
    Case("the owner's command in quarantine", "stop_instance", 403, "forbidden", path=SCAN),
    Case("release", "release_instance", 200, who="hedy", body=b'{"why":"nothing"}', path=SCAN),
    Case("opening what does not run", "open_jupyter", 409, "not_allowed_now", path=SCAN),
    Case("the usage", "get_usage", 200, path=BRAIN),
    Case("the usage of no month", "get_usage", 400, "bad_request", path=BRAIN, query={"month": "2026-13"}),
    Case("the gateway's door, as a person", "identify_key", 403, "forbidden", body=b'{"public_key":"ssh-ed25519 AA"}'),
    Case("an instance's own door, as its owner", "get_own_instance", 403, "forbidden"),
    Case("an instance about itself", "get_own_instance", 200, who="instance"),
    Case("an instance about its project", "list_instances", 403, "forbidden", "instance", path=BRAIN),
    Case(
        "a note too long", "report_progress", 422, "invalid", "instance", b'{"percent":1,"note":"' + b"x" * 201 + b'"}'
    ),
    Case("a job that never was", "renew_job", 404, "not_found", "instance", path={"job": "j-0000000001"}),
    Case("the audit record, as a researcher", "list_audit_events", 403, "forbidden", path={"stream": "platform"}),
    Case("the audit record", "list_audit_events", 200, who="hedy", path={"stream": "platform"}),
    Case("the findings, as a researcher", "list_findings", 403, "forbidden"),
    Case("the findings", "list_findings", 200, who="hedy", query={"state": "unresolved", "severity": "high"}),
    Case("findings in no state", "list_findings", 400, "bad_request", "hedy", query={"state": "lost"}),
    Case("a finding that is none", "get_finding", 404, "not_found", "hedy", path={"finding": "f-0000000009"}),
    Case("logging out", "delete_session", 200),
    Case("the token is gone", "get_me", 401, "unauthenticated"),
)

_NAMED = {"project": "brain", "instance": "scan", "stream": "platform", "source": "jupyter", "job": "j-0000000001"}
_NAMED |= {"finding": "f-0000000001"}


def _of(name: str) -> Case:
    """Return a request for an operation, with everything in its path named and as little as can be in its body."""
    row = BY_NAME[name]
    parts = (part.strip("{}") for part in row.path.split("/") if part.startswith("{"))
    path = {part: _NAMED.get(part, "c-0000000001") for part in parts}
    return Case(f"{name}, as a lead", name, 0, who="ada", path=path, body=b"{}" if row.request is not None else b"")


EVERY_OPERATION = tuple(_of(name) for name in sorted(BY_NAME, key=lambda name: (name == "delete_session", name)))
"""One request for each; what it must come to is what the core says. Logging out comes last: it ends the token."""
