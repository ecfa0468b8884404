"""Who gets into an instance's Jupyter, and how."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from .conftest import Instance

pytestmark = [pytest.mark.image, pytest.mark.slow]  # a real server
ENTER = "/nightingale/enter"


async def enter(instance: Instance, code: str) -> tuple[int, str]:
    """Enter with a fresh browser; return the status and the page."""
    async with (
        instance.browser() as browser,
        browser.get(ENTER, params={"code": code}, allow_redirects=False) as answer,
    ):
        return answer.status, await answer.text()


async def test_readiness_is_answered_without_a_token(jupyter: Instance) -> None:
    async with jupyter.browser() as browser, browser.get("/api") as answer:
        assert answer.status == 200
        assert (await answer.json())["version"].startswith("2.")


async def test_the_token_in_the_header_is_accepted(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/api/status") as answer:
        assert answer.status == 200
        assert (await answer.json())["kernels"] == 0


@pytest.mark.parametrize("header", [None, "token wrong", "token ", "Basic YWRhOmFkYQ==", "token t\u00f6ken"])
async def test_no_token_and_a_wrong_one_are_refused(jupyter: Instance, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    async with jupyter.browser() as browser, browser.get("/api/status", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("path", ["/api/status", "/lab", "/login", "/api/contents"])
async def test_a_token_in_the_url_is_refused_even_when_it_is_right(jupyter: Instance, path: str) -> None:
    async with jupyter.browser() as browser:
        async with browser.get(path, params={"token": jupyter.token}, allow_redirects=False) as answer:
            assert answer.status == 403
            assert "must not stand in a URL" in await answer.text()
        async with browser.get("/api/status") as answer:
            assert answer.status == 403
    assert jupyter.token not in jupyter.log_text()


async def test_a_program_is_the_person_of_the_instance(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/api/me") as answer:
        me = await answer.json()
    assert (me["identity"]["username"], me["identity"]["name"], me["identity"]["initials"]) == ("ada", "ada", "AD")
    assert me["permissions"]["updatable_fields"] == []


async def test_a_code_opens_a_browser_session_once(jupyter: Instance) -> None:
    code = jupyter.write_code()
    async with jupyter.browser() as browser:
        async with browser.get(ENTER, params={"code": code}, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/lab")
            assert answer.headers["Cache-Control"] == "no-store"
            cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert jupyter.environment["NIGHTINGALE_INSTANCE"] in cookie
        async with browser.get("/api/me") as answer:
            assert (await answer.json())["identity"]["username"] == "ada"
        async with browser.get("/lab") as answer:
            page = await answer.text()
            assert answer.status == 200
    assert "jupyter-config-data" in page
    assert jupyter.token not in page
    assert list(jupyter.codes.iterdir()) == []
    async with jupyter.browser() as other, other.get(ENTER, params={"code": code}, allow_redirects=False) as answer:
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
        text = await answer.text()
    assert "was used before" in text
    assert "nightingale open NAME" in text
    assert code not in text


async def test_of_many_browsers_with_one_code_exactly_one_enters(jupyter: Instance) -> None:
    code = jupyter.write_code()
    outcomes = await asyncio.gather(*(enter(jupyter, code) for _ in range(8)))
    assert sorted(status for status, _ in outcomes) == [302, *[403] * 7]


async def test_an_expired_code_is_refused_and_used_up(jupyter: Instance) -> None:
    code = jupyter.write_code(expires_in=timedelta(seconds=-1))
    async with jupyter.browser() as browser:
        async with browser.get(ENTER, params={"code": code}, allow_redirects=False) as answer:
            assert answer.status == 403
            assert "expired" in await answer.text()
        async with browser.get("/api/status") as answer:
            assert answer.status == 403
    assert not jupyter.code_path(code).exists()


@pytest.mark.parametrize("content", ["", "soon", "2999-01-01T00:00:00", "\u00e9", "9" * 10_000])
async def test_a_code_whose_file_holds_no_time_opens_nothing(jupyter: Instance, content: str) -> None:
    code = jupyter.write_code(content=content)
    assert (await enter(jupyter, code))[0] == 403
    assert not jupyter.code_path(code).exists()


@pytest.mark.parametrize("query", ["", "?code=", "?code=../../etc/passwd", "?code=a&code=b", "?code=" + "x" * 5_000])
async def test_an_unknown_code_is_refused_in_plain_words(jupyter: Instance, query: str) -> None:
    async with jupyter.browser() as browser, browser.get(ENTER + query, allow_redirects=False) as answer:
        assert answer.status == 403
        assert "nightingale open NAME" in await answer.text()


async def test_a_link_in_place_of_a_code_file_is_not_followed(jupyter: Instance) -> None:
    code = jupyter.write_code()
    target = jupyter.folder / "elsewhere"
    jupyter.code_path(code).rename(target)
    jupyter.code_path(code).symlink_to(target)
    assert (await enter(jupyter, code))[0] == 403
    assert target.exists()


async def test_the_login_page_offers_no_form_and_says_how_to_enter(jupyter: Instance) -> None:
    async with jupyter.browser() as browser:
        async with browser.get("/lab") as answer:
            assert answer.url.path == "/login"
            assert answer.status == 403
            text = await answer.text()
        async with browser.post("/login", data={"password": jupyter.token}) as answer:
            assert answer.status in {403, 405}
        async with browser.get("/api/status") as answer:
            assert answer.status == 403
    assert "<form" not in text
    assert "nightingale open NAME" in text


async def test_a_cookie_that_was_changed_opens_nothing(jupyter: Instance) -> None:
    async with (
        jupyter.browser() as browser,
        browser.get(ENTER, params={"code": jupyter.write_code()}, allow_redirects=False) as answer,
    ):
        name, value = answer.headers["Set-Cookie"].split(";")[0].split("=", 1)
    for cookie, status in (
        (value, 200),
        (value[:-3] + '00"', 403),
        (value.replace("1:0|", "1:1|", 1), 403),
        ("a", 403),
    ):
        headers = {"Cookie": f"{name}={cookie}"}
        async with jupyter.browser() as other, other.get("/api/status", headers=headers) as answer:
            assert answer.status == status, cookie


async def test_a_program_gets_no_cookie(jupyter: Instance) -> None:
    async with jupyter.program() as program, program.get("/api/status") as answer:
        assert "Set-Cookie" not in answer.headers


async def test_no_code_and_no_token_reach_the_log(jupyter: Instance) -> None:
    used, expired, wrong = jupyter.write_code(), jupyter.write_code(expires_in=timedelta(0)), "neverwritten0123456789"
    async with jupyter.browser() as browser:
        for code in (used, used, expired, wrong):
            async with browser.get(ENTER, params={"code": code}):
                pass
        async with browser.get(
            "/none", params={"code": wrong}, headers={"Referer": f"http://x/?code={wrong}"}
        ) as answer:
            assert answer.status == 404
        async with browser.get("/api/contents", params={"token": jupyter.token}) as answer:
            assert answer.status == 403
    async with jupyter.program() as program, program.get("/api/contents/none") as answer:
        assert answer.status == 404
    log = jupyter.log_text()
    assert ENTER in log
    assert "Entered by a one-time code: ada" in log
    for secret in (used, expired, wrong, jupyter.token):
        assert secret not in log


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("localhost:8888", 200), ("evil.example", 403)])
async def test_only_localhost_is_answered(jupyter: Instance, host: str, status: int) -> None:
    async with jupyter.browser() as browser, browser.get("/api", headers={"Host": host}) as answer:
        assert answer.status == status
