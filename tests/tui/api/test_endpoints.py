"""A platform with several addresses: which calls move over to the next one, and which never do."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from nightingale.contract import schemas as s
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ApiError, BadAnswerError, ConflictError, UnreachableError
from tui.api.fake_platform import FakePlatform

FIRST, SECOND = "https://one.example", "https://two.example"
UNAVAILABLE = {"code": "unavailable", "message": "no store", "next_step": "", "details": [], "request_id": "r-1"}

Broken = Callable[[httpx.Request], httpx.Response]


class Two:
    """Two addresses of one fake platform; the first does what it is told to."""

    def __init__(self, first: Broken | None = None, second: Broken | None = None) -> None:
        self.platform = FakePlatform()
        self.platform.add("scan")
        self.asked: list[tuple[str, str, str]] = []
        self._broken = {"one.example": first, "two.example": second}
        self._whole = self.platform.transport()

    def api(self) -> Api:
        token = self.platform.token_of("ada")
        return Api(FIRST, token, others=(SECOND,), transport=httpx.MockTransport(self._answer))

    @property
    def hosts(self) -> list[str]:
        return [host for host, _, _ in self.asked]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.host, request.method, request.headers.get("authorization", "")))
        broken = self._broken[request.url.host]
        return broken(request) if broken is not None else self._whole.handle_request(request)


def raising(kind: type[httpx.TransportError]) -> Broken:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("gone", request=request)

    return fail


def answering(status: int) -> Broken:
    return lambda _: httpx.Response(status, json=UNAVAILABLE)


NEVER_SENT = [httpx.ConnectError, httpx.ConnectTimeout]
PERHAPS_SENT = [httpx.ReadTimeout, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError]


@pytest.mark.parametrize("kind", [*NEVER_SENT, *PERHAPS_SENT])
def test_what_only_reads_moves_over_and_stays_there(kind: type[httpx.TransportError]) -> None:
    two = Two(raising(kind))
    with two.api() as api:
        assert api.url == FIRST
        assert api.get_instance("heart", "scan").name == "scan"
        assert api.url == SECOND
        api.get_me()
    assert two.hosts == ["one.example", "two.example", "two.example"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_only_reads_moves_over_when_the_first_says_it_cannot(status: int) -> None:
    two = Two(answering(status))
    with two.api() as api:
        assert api.list_instances("heart").instances
    assert two.hosts == ["one.example", "two.example"]


@pytest.mark.parametrize("kind", NEVER_SENT)
def test_a_command_that_was_never_sent_moves_over(kind: type[httpx.TransportError]) -> None:
    two = Two(raising(kind))
    with two.api() as api:
        api.stop_instance("heart", "scan")
    assert two.hosts == ["one.example", "two.example"]


@pytest.mark.parametrize("kind", PERHAPS_SENT)
def test_a_command_that_may_have_been_done_is_not_repeated(kind: type[httpx.TransportError]) -> None:
    two = Two(raising(kind))
    with two.api() as api, pytest.raises((UnreachableError, BadAnswerError)):
        api.stop_instance("heart", "scan")
    assert two.hosts == ["one.example"]


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_command_that_was_answered_is_not_repeated(status: int) -> None:
    two = Two(answering(status))
    with two.api() as api, pytest.raises(ApiError):
        api.stop_instance("heart", "scan")
    assert two.hosts == ["one.example"]


@pytest.mark.parametrize("kind", PERHAPS_SENT)
def test_a_launch_moves_over_by_its_key_alone(kind: type[httpx.TransportError]) -> None:
    two = Two(raising(kind))
    with two.api() as api:
        assert api.launch_instance("heart", s.LaunchIn(name="new", request_id="k" * 32)).name == "new"
    assert two.hosts == ["one.example", "two.example"]
    without = Two(raising(kind))
    with without.api() as api, pytest.raises((UnreachableError, BadAnswerError)):
        api.launch_instance("heart", s.LaunchIn(name="new"))
    assert without.hosts == ["one.example"]


def test_a_refusal_is_the_platforms_word_and_nobody_else_is_asked() -> None:
    two = Two(lambda _: httpx.Response(409, json=UNAVAILABLE | {"code": "busy"}))
    with two.api() as api, pytest.raises(ConflictError):
        api.get_me()
    assert two.hosts == ["one.example"]


def test_when_none_answers_all_are_named_and_the_next_call_begins_where_it_was() -> None:
    two = Two(raising(httpx.ConnectError), raising(httpx.ConnectTimeout))
    with two.api() as api:
        with pytest.raises(UnreachableError, match=r"None of the platform's 2 addresses") as raised:
            api.get_me()
        assert api.url == FIRST
    assert FIRST in raised.value.message
    assert SECOND in raised.value.message


def test_the_one_that_says_why_is_heard_before_the_one_that_is_silent() -> None:
    two = Two(answering(503), raising(httpx.ConnectError))
    with two.api() as api, pytest.raises(ApiError) as raised:
        api.get_me()
    assert (raised.value.status, raised.value.code) == (503, "unavailable")


def test_the_first_is_asked_again_once_the_second_is_gone() -> None:
    two = Two(raising(httpx.ConnectError))
    with two.api() as api:
        api.get_me()
        two._broken = {"one.example": None, "two.example": raising(httpx.ConnectError)}
        api.get_me()
        assert api.url == FIRST
