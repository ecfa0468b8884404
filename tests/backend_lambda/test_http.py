"""The host over real HTTP: whatever comes, the answer is JSON in one shape, and the next request is answered too."""

from __future__ import annotations

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec
import pytest
from openapi_spec_validator import validate

from backend_lambda.chalice_server import Answer, ChaliceServer, read_answer
from doubles.platforms import FakePlatform
from nightingale.contract.schemas import MAX_BODY_BYTES, ErrorOut

SECURITY = {
    "content-type": "application/json",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "server": "nightingale",
}


def check_refusal(answer: Answer | httpx.Response, status: int, code: str) -> ErrorOut:
    """Check that this is a refusal in the shape that all have, and return it."""
    body = answer.body if isinstance(answer, Answer) else answer.content
    seen = answer.status if isinstance(answer, Answer) else answer.status_code
    error = msgspec.json.decode(body, type=ErrorOut)
    assert (seen, error.code) == (status, code), body
    assert error.message
    assert error.next_step
    assert error.request_id
    assert answer.headers["x-request-id"] == error.request_id
    for name, value in SECURITY.items():
        assert answer.headers[name] == value
    return error


@pytest.fixture
def client(server: ChaliceServer):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20) as opened:
        yield opened


def test_the_openapi_document_is_a_valid_one(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_good_answers_carry_the_security_headers_and_a_request_id(client: httpx.Client) -> None:
    first, second = client.get("/health"), client.get("/health")
    assert first.status_code == 200
    for name, value in SECURITY.items():
        assert first.headers[name] == value
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/nothing",
        "/v1/projects//instances/x/y/z",
        "/health;x",
        "/health%2f",
        "/%zz",
        "/v1/me/..",
        "//[x",
        "/\xe9",
    ],
)
def test_an_unknown_path_is_not_found(server: ChaliceServer, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1")
    check_refusal(server.say(request), 404, "not_found")


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_wrong_method_is_refused_and_told_which_are_right(server: ChaliceServer, method: str) -> None:
    answer = server.say(f"{method} /health HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    check_refusal(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"


def test_a_head_request_gets_headers_and_no_body(server: ChaliceServer) -> None:
    answer = server.say(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (answer.status, answer.body) == (405, b"")


def test_an_oversized_body_is_refused_before_it_is_read(server: ChaliceServer) -> None:
    with server.connect() as connection:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode())  # and not a byte of the body
        check_refusal(read_answer(connection), 413, "body_too_large")


def test_a_client_that_sends_an_oversized_body_whole_still_sees_the_refusal(client: httpx.Client) -> None:
    answer = client.post("/v1/sessions", content=b"x" * (2 * MAX_BODY_BYTES))
    check_refusal(answer, 413, "body_too_large")


def test_the_widest_body_allowed_is_read(client: httpx.Client) -> None:
    answer = client.post("/v1/sessions", content=b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"')
    check_refusal(answer, 422, "invalid")


@pytest.mark.parametrize(
    "header",
    [
        "Transfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 5, 5",
        "Content-Length: x",
        "Content-Length: " + "9" * 5000,
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
    ],
    ids=["chunked", "negative", "signed", "list", "word", "endless", "twice", "both"],
)
def test_a_body_whose_length_is_not_plain_is_a_bad_request(server: ChaliceServer, header: str) -> None:
    request = f"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
    check_refusal(server.say(request.encode()), 400, "bad_request")


def test_a_body_without_a_length_is_no_body(server: ChaliceServer) -> None:
    answer = server.say(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    check_refusal(answer, 400, "bad_request")


@pytest.mark.parametrize("content_type", ["text/xml", "application/octet-stream", "image/png", "garbage", "text/plain"])
def test_a_body_that_is_no_json_by_its_type_is_refused(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/v1/sessions", content=b"{}", headers={"Content-Type": content_type})
    check_refusal(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", ""])
def test_json_is_json_however_it_is_spelt(client: httpx.Client, content_type: str) -> None:
    answer = client.post("/v1/sessions", content=b"{}", headers={"Content-Type": content_type})
    check_refusal(answer, 422, "invalid")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"nul\x00"],
    ids=["empty", "half", "no-text", "nul"],
)
def test_a_body_that_is_no_json_is_a_bad_request(client: httpx.Client, body: bytes) -> None:
    check_refusal(client.post("/v1/sessions", content=body), 400, "bad_request")


@pytest.mark.parametrize(
    "query", ["month=%zz", "month=%00", "month=%ff", "month=2026-13", "what=1", "limit=1", "%00=1"]
)
def test_a_query_that_cannot_be_understood_is_a_bad_request(
    client: httpx.Client, served: FakePlatform, query: str
) -> None:
    headers = {"Authorization": f"Bearer {served.token('grace')}"}
    check_refusal(client.get(f"/v1/projects/brain/usage?{query}", headers=headers), 400, "bad_request")


@pytest.mark.parametrize("project", ["%zz", "%00", "BRAIN", "a" * 40, "%2e%2e", "brain%0d%0aX-Bad:1"])
def test_a_name_in_the_path_that_cannot_be_one_is_not_found(
    client: httpx.Client, served: FakePlatform, project: str
) -> None:
    headers = {"Authorization": f"Bearer {served.token('grace')}"}
    answer = client.get(f"/v1/projects/{project}/usage", headers=headers)
    check_refusal(answer, 404, "not_found")
    assert "x-bad" not in answer.headers


def test_a_quoted_letter_of_a_name_is_read_by_functions_alone(
    client: httpx.Client, served: FakePlatform, hosted_by: str
) -> None:
    headers = {"Authorization": f"Bearer {served.token('grace')}"}
    answer = client.get("/v1/projects/br%61in/usage", headers=headers)
    assert answer.status_code == {"chalice": 404, "functions": 200}[hosted_by]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/7.7\r\n\r\n",
        b"GET /health BLAH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"X-Many: a\r\n" * 200 + b"\r\n",
    ],
    ids=["nul", "spaces", "version", "no-version", "tls", "long-line", "long-header", "many-headers"],
)
def test_what_is_no_request_is_refused_in_words(server: ChaliceServer, request_bytes: bytes) -> None:
    answer = server.say(request_bytes)
    error = msgspec.json.decode(answer.body, type=ErrorOut)
    assert (answer.status, error.code) in {(400, "bad_request"), (404, "not_found")}
    assert error.message


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer \xe9\xff", "Bearer " + "x" * 5000, "bearer x y"]
)
def test_a_header_that_is_no_token_is_unauthenticated(server: ChaliceServer, value: str) -> None:
    request = f"GET /v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {value}\r\n\r\n"
    check_refusal(server.say(request.encode("latin-1")), 401, "unauthenticated")


def test_a_connection_is_kept_for_the_next_request(client: httpx.Client) -> None:
    with httpx.Client(base_url=str(client.base_url), trust_env=False) as kept:
        streams = {id(kept.get("/health").extensions["network_stream"]) for _ in range(5)}
        refused = kept.get("/v1/me")
        assert refused.status_code == 401
        assert kept.get("/health").status_code == 200
    assert len(streams) == 1


def test_a_refused_body_is_never_read_as_the_next_request(server: ChaliceServer) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(smuggled)}\r\n\r\n".encode()
    answer = server.say(head + smuggled)
    assert answer.status == 404
    assert answer.body.count(b"HTTP/1.1") == 0


def test_slow_clients_hold_up_nobody(server: ChaliceServer, client: httpx.Client) -> None:
    slow = [server.connect() for _ in range(20)]
    try:
        for connection in slow[:10]:
            connection.sendall(b"GET /health HT")
        for connection in slow[10:]:
            connection.sendall(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        began = time.monotonic()
        assert [client.get("/health").status_code for _ in range(20)] == [200] * 20
        assert time.monotonic() - began < 15  # of the sixty that a silent one is kept
    finally:
        for connection in slow:
            connection.close()


def test_a_client_that_leaves_early_costs_nothing(server: ChaliceServer, client: httpx.Client) -> None:
    for _ in range(20):
        with server.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closing resets
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert client.get("/health").status_code == 200


@pytest.fixture
def eager_threads():
    """Threads take turns far more often than usual: what they share by mistake comes to light."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_many_at_once_each_get_their_own_answer(server: ChaliceServer, served: FakePlatform) -> None:
    people = ["ada", "grace", "mary", "otto"]
    tokens = {person: served.token(person) for person in people}

    def ask(number: int) -> list[str]:
        person = people[number % len(people)]
        headers = {"Authorization": f"Bearer {tokens[person]}"}
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30, headers=headers) as mine:
            answers = [mine.get("/v1/me") for _ in range(50)]
        return [answer.json().get("person", answer.text) for answer in answers]

    with ThreadPoolExecutor(16) as pool:
        seen = list(pool.map(ask, range(16)))
    assert seen == [[people[number % len(people)]] * 50 for number in range(16)]
