"""Anything at all may be sent: the answer is one of the contract, and never our own error."""

from __future__ import annotations

import string
from datetime import timedelta

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doubles.platforms import FakePlatform
from nightingale.app.dispatch import Request
from nightingale.contract.errors import ErrorCode
from nightingale.contract.operations import BY_NAME
from nightingale.contract.schemas import ErrorOut

SHARED = FakePlatform()
SHARED_LIFE = timedelta(hours=1)
WORDS = st.text(max_size=40) | st.sampled_from(
    ["brain", "heart", "scan", "i-0000000001", "build", "jupyter", "platform", "c-0000000001", "local", "s", "default"]
)
FIELDS = WORDS | st.sampled_from(
    [
        *("name", "size", "cpu", "memory", "gpu", "disk", "place", "image", "datasets", "seconds", "nonce", "server"),
        *("signature", "public_key", "person", "fingerprint", "target", "port", "sent", "received", "why", "what"),
        *("cluster", "base", "version", "currency", "people", "projects", "sizes", "images", "places", "rates"),
        *("stop_after_seconds", "for_seconds", "request_id", "client"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)
BODIES = st.binary(max_size=60) | st.dictionaries(FIELDS, JSON, max_size=6).map(msgspec.json.encode)
QUERIES = st.dictionaries(
    st.sampled_from(["limit", "cursor", "all", "month", "offset", "tail", "x"]),
    st.text(max_size=20) | st.text(string.ascii_letters + string.digits + ":|=-_", min_size=1, max_size=80),
    max_size=3,
)
WHO = st.sampled_from(["ada", "grace", "mary", "otto", "hedy", "operator", "gateway"])


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(BY_NAME)),
    who=WHO,
    token=st.none() | st.text(max_size=30),
    path=st.fixed_dictionaries(
        {key: st.just(good) | WORDS for key, good in (("project", "brain"), ("instance", "scan"))},
        optional={"source": WORDS, "channel": WORDS, "stream": WORDS},
    ),
    query=QUERIES,
    body=BODIES,
    content_type=st.just("application/json") | st.text(max_size=20),
)
def test_anything_at_all_gets_an_answer_of_the_contract(
    *,
    name: str,
    who: str,
    token: str | None,
    path: dict[str, str],
    query: dict[str, str],
    body: bytes,
    content_type: str,
) -> None:
    authorization = f"Bearer {SHARED.token(who)}" if token is None else token
    if name == "delete_session":
        authorization = f"Bearer {SHARED.services.login.create_service_session('operator', SHARED_LIFE)}"
    request = Request(path, query, body, authorization, content_type, "192.0.2.1")
    answer = SHARED.dispatcher.handle(name, request)
    assert answer.status < 500, answer.body
    if answer.status >= 400:
        error = msgspec.json.decode(answer.body, type=ErrorOut)
        assert {code.code: code.status for code in ErrorCode}[error.code] == answer.status
    else:
        operation = BY_NAME[name]
        assert answer.status == operation.status
        msgspec.json.decode(answer.body, type=operation.response)
