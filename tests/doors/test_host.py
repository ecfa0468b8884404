"""Who may call the host on one machine at all, and how large a request may be before anybody looks at it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.client import HTTPConnection

import msgspec
import pytest

from backend_lambda.chalice_server import Answer, ChaliceServer
from doubles.platforms import FakePlatform
from nightingale.app.dispatch import MAX_HEADER_BYTES, MAX_PATH_BYTES, MAX_QUERY_BYTES, Request
from nightingale.contract.schemas import ErrorOut
from nightingale_local.api_host import make_server
from nightingale_local.http_door import ApiServer, Door


def ask(server: ChaliceServer, *headers: str, target: str = "/health", method: str = "GET") -> Answer:
    lines = [f"{method} {target} HTTP/1.1", *headers, "Connection: close"]
    return server.say("\r\n".join((*lines, "", "")).encode("latin-1"))


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, msgspec.json.decode(answer.body, type=ErrorOut).code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "localhost:8470", "127.0.0.1:9"])
def test_the_host_answers_to_its_own_names_by_any_port(server: ChaliceServer, host: str) -> None:
    assert ask(server, f"Host: {host}").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "attacker.example:8470",
        "localhost.attacker.example",
        "127.0.0.1.nip.io",
        "attacker.example@localhost",
        "localhost:8470:1",
        "127.0.0.1 attacker.example",
        "0.0.0.0",  # noqa: S104 - a name that is refused
        "127.1",
        "",
        "[::1",
    ],
)
def test_a_name_that_somebody_else_let_lead_here_is_refused(server: ChaliceServer, host: str) -> None:
    assert code(ask(server, f"Host: {host}")) == (403, "forbidden")


def test_a_request_without_a_host_or_with_two_is_refused(server: ChaliceServer) -> None:
    assert code(ask(server)) == (403, "forbidden")
    assert code(ask(server, "Host: localhost", "Host: attacker.example")) == (403, "forbidden")


def test_an_address_in_the_request_line_does_not_stand_for_the_host(server: ChaliceServer) -> None:
    answer = ask(server, "Host: attacker.example", target="http://localhost/health")
    assert code(answer) == (403, "forbidden")


@pytest.mark.parametrize("origin", ["https://attacker.example", "http://attacker.example:8470", "null", "", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_web_page_is_answered_by_a_refusal_and_allowed_nothing(
    server: ChaliceServer, served: FakePlatform, origin: str, method: str
) -> None:
    wishes = ["Access-Control-Request-Method: POST", "Access-Control-Request-Private-Network: true"]
    token = f"Authorization: Bearer {served.token('ada')}"
    answer = ask(server, "Host: localhost", f"Origin: {origin}", token, *wishes, method=method)
    assert code(answer) == (403, "forbidden")
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_answer_allows_another_origin(server: ChaliceServer) -> None:
    for answer in (ask(server, "Host: localhost"), ask(server, "Host: localhost", "Origin: http://localhost:8470")):
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_host_bound_to_a_name_of_its_own_answers_to_it_too() -> None:
    server = make_server("127.0.0.2", 0)
    try:
        assert server.own_names == {"127.0.0.1", "localhost", "[::1]", "127.0.0.2"}
    finally:
        server.server_close()


def test_a_host_bound_to_every_address_answers_to_the_names_of_this_machine_only() -> None:
    server = make_server("0.0.0.0", 0)  # noqa: S104 - the test is about it
    try:
        assert server.own_names == {"127.0.0.1", "localhost", "[::1]"}
    finally:
        server.server_close()


# --- turns ------------------------------------------------------------------------------------------------------------


class SlowDoor(Door):
    """Answers one path only when it is let."""

    let: threading.Event
    begun: threading.Event

    def _allowed(self, path: str) -> Sequence[str]:
        del path
        return ("GET",)

    def _answer(self, path: str, query: str) -> None:
        del query
        if path == "/slow":
            self.begun.set()
            assert self.let.wait(30)
        self._send_http_response(200, {}, path.encode())


def test_a_read_that_takes_long_holds_up_no_other() -> None:
    SlowDoor.let, SlowDoor.begun = threading.Event(), threading.Event()
    said: dict[str, bytes] = {}
    with ApiServer(("127.0.0.1", 0), SlowDoor) as server:

        def read(path: str) -> None:
            connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
            connection.request("GET", path, headers={"Host": "localhost"})
            said[path] = connection.getresponse().read()
            connection.close()

        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        slow = threading.Thread(target=read, args=("/slow",))
        serving.start()
        slow.start()
        try:
            assert SlowDoor.begun.wait(30)
            for path in ("/one", "/two"):
                read(path)
            assert said == {"/one": b"/one", "/two": b"/two"}
        finally:
            SlowDoor.let.set()
            slow.join()
            server.shutdown()
            serving.join()
    assert said["/slow"] == b"/slow"


# --- size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/" + "a" * MAX_PATH_BYTES,
        "/v1/projects/" + "a" * MAX_PATH_BYTES + "/usage",
        "/health?" + "a" * (MAX_QUERY_BYTES + 1),
        "/health?" + "&".join(f"a{n}=1" for n in range(1000)),
    ],
    ids=["path", "part", "query", "many"],
)
def test_a_long_path_or_query_is_refused_before_it_is_looked_at(server: ChaliceServer, target: str) -> None:
    assert code(ask(server, "Host: localhost", target=target)) == (400, "bad_request")


def test_a_path_and_a_query_of_ordinary_length_are_looked_at(server: ChaliceServer) -> None:
    assert code(ask(server, "Host: localhost", target="/" + "a" * 900)) == (404, "not_found")


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{n}: a" for n in range(70)],
        [f"X-{n}: {'a' * 2000}" for n in range(9)],
        ["X-Long: " + "a" * MAX_HEADER_BYTES],
        ["Cookie: " + "a=b; " * 4000],
    ],
    ids=["many", "together", "one", "cookie"],
)
def test_headers_too_many_or_too_long_are_refused(server: ChaliceServer, headers: list[str]) -> None:
    answer = ask(server, "Host: localhost", *headers)
    assert code(answer) == (400, "bad_request")
    assert "headers" in msgspec.json.decode(answer.body, type=ErrorOut).message


def test_ordinary_headers_are_read(server: ChaliceServer) -> None:
    assert ask(server, "Host: localhost", *[f"X-{n}: {'a' * 100}" for n in range(50)]).status == 200


def test_dispatch_holds_the_limits_where_a_host_has_none(served: FakePlatform) -> None:
    long = "a" * 5000
    for request in (Request(path={"project": long}), Request(query={long: "1"}), Request(query={"month": long})):
        answer = served.dispatcher.handle("get_usage", request)
        assert served.error(answer)["code"] == "bad_request"
    answer = served.dispatcher.handle("get_me", Request(authorization="Bearer " + long))
    assert served.error(answer)["code"] == "unauthenticated"


def test_an_address_in_the_record_is_cut(served: FakePlatform) -> None:
    request = Request(authorization=f"Bearer {served.token('ada')}", client="1" * 5000, path={"stream": "platform"})
    assert served.error(served.dispatcher.handle("list_audit_events", request))["code"] == "forbidden"
    assert len(served.audit.events("platform")[-1].detail["client"]) == 100


def test_the_callers_address_is_what_the_host_saw_and_not_what_a_header_says(
    server: ChaliceServer, served: FakePlatform
) -> None:
    token = f"Authorization: Bearer {served.token('ada')}"
    said = ["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9", "X-Real-IP: 203.0.113.9"]
    assert ask(server, "Host: localhost", token, *said, target="/v1/admin/audit/platform").status == 403
    assert served.audit.events("platform")[-1].detail["client"] == "127.0.0.1"


def test_logins_over_http_are_bounded_by_the_callers_address() -> None:
    from backend_lambda.chalice_server import open_server  # noqa: PLC0415 - a platform of its own: its limit is spent

    with open_server(FakePlatform()) as server:
        answers = [
            ask(server, "Host: localhost", "Content-Length: 0", target="/v1/login/challenges", method="POST")
            for _ in range(61)
        ]
    assert [answer.status for answer in answers] == [201] * 60 + [429]
    assert answers[-1].json["next_step"].startswith("Try again in ")
