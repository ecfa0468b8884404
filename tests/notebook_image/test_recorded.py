"""What a running server records, holds back, and leaves open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from nightingale_local.planting import LARGE

from .conftest import START_S, Instance
from .fake_platform import TOKEN, FakePlatform

pytestmark = [pytest.mark.image, pytest.mark.slow]  # each starts real servers
EVIL = {"Origin": "http://evil.example"}


def tiered(new_instance: Callable[[], Instance], tier: int, limit: int | None = None) -> Instance:
    """An instance with a token for the platform, not started."""
    instance = new_instance()
    token_file = instance.folder / "instance.token"
    token_file.touch(mode=0o600)
    token_file.write_text(TOKEN)
    instance.environment |= {"NIGHTINGALE_TIER": str(tier), "NIGHTINGALE_INSTANCE_TOKEN_FILE": str(token_file)}
    if limit is not None:
        instance.environment["NIGHTINGALE_DOWNLOAD_LIMIT"] = str(limit)
    (instance.home / "note.txt").write_text("seen")
    return instance


@asynccontextmanager
async def running(instance: Instance) -> AsyncIterator[FakePlatform]:
    """Start it beside a platform that takes its records."""
    async with FakePlatform().listen(instance.run / "platform.sock") as platform:
        instance.launch()
        await instance.wait_until_ready()
        yield platform


async def enter(instance: Instance, browser: aiohttp.ClientSession) -> None:
    """Get the browser its cookie."""
    async with browser.get("/nightingale/enter", params={"code": instance.write_code()}) as answer:
        assert answer.status == 200


async def test_a_download_is_recorded_with_its_file_and_its_bytes(new_instance: Callable[[], Instance]) -> None:
    instance = tiered(new_instance, 0)
    async with running(instance) as platform, instance.program() as program:
        async with program.get("/files/note.txt", headers={"Range": "bytes=1-2"}) as answer:
            assert (answer.status, await answer.text()) == (206, "ee")
        [record] = await platform.wait_for(1, within_s=2.5)
    at = record.pop("at")
    assert at.endswith("+00:00")
    assert record == {"kind": "download", "path": "note.txt", "bytes": 2, "is_allowed": True, "reason": ""}
    assert "Recorded: download of 'note.txt' by ada, 2 bytes" in instance.log_text()
    assert TOKEN not in instance.log_text()


async def test_tier_1_lets_files_leave_up_to_its_limit_and_then_says_so(new_instance: Callable[[], Instance]) -> None:
    instance = tiered(new_instance, 1, limit=10)
    async with running(instance) as platform, instance.program() as program:
        statuses = []
        for _ in range(3):
            async with program.get("/files/note.txt") as answer:
                statuses.append(answer.status)
                page = await answer.text()
        assert statuses == [200, 200, 403]
        assert "10 bytes a day may leave it through Jupyter, and these 4 would be more than is left" in page
        assert "seen" not in page
        async with program.get("/api/contents/note.txt") as answer:
            assert answer.status == 200  # an editor still opens what is small
        records = await platform.wait_for(4)
    assert [(one["kind"], one["is_allowed"], one["reason"]) for one in records] == [
        ("download", True, ""),
        ("download", True, ""),
        ("download", False, "limit"),
        ("contents_read", True, ""),
    ]


async def test_records_wait_for_a_platform_that_is_away_and_for_the_end_of_the_server(
    new_instance: Callable[[], Instance],
) -> None:
    instance = tiered(new_instance, 1)
    instance.launch()
    await instance.wait_until_ready()
    async with instance.program() as program, program.get("/files/note.txt") as answer:
        assert answer.status == 200
    async with FakePlatform().listen(instance.run / "platform.sock") as platform:
        platform.answers = [503]
        records = await platform.wait_for(1)
        async with instance.program() as program, program.get("/files/note.txt") as answer:
            assert answer.status == 200
        assert await asyncio.to_thread(instance.stop) == 0
        assert len(records) == 2
    assert "The platform takes no records: it" in instance.log_text()  # "its socket ..." or "it answered 503"


async def test_terminals_work_below_tier_2_and_opening_one_is_recorded(new_instance: Callable[[], Instance]) -> None:
    instance = tiered(new_instance, 1)
    async with running(instance) as platform, instance.program() as program:
        async with program.post("/api/terminals") as answer:
            name = (await answer.json())["name"]
        async with asyncio.timeout(START_S), program.ws_connect(f"/terminals/websocket/{name}") as terminal:
            await terminal.send_json(["stdin", "echo $((6*7))$HOME\n"])
            async for frame in terminal:
                if f"42{instance.home}" in json.loads(frame.data)[1:][0]:
                    break
        records = await platform.wait_for(2)
        async with instance.browser() as browser:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(f"/terminals/websocket/{name}")
            assert refused.value.status == 403
            await enter(instance, browser)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(f"/terminals/websocket/{name}", headers=EVIL)
            assert refused.value.status == 403
    assert [(one["kind"], one["path"]) for one in records] == [
        ("terminal", "api/terminals"),
        ("terminal", f"terminals/websocket/{name}"),
    ]


@pytest.mark.parametrize("tier", [2, 3])
async def test_where_terminals_are_forbidden_there_are_none_and_cells_still_show_their_outputs(
    new_instance: Callable[[], Instance], tier: int
) -> None:
    instance = tiered(new_instance, tier)
    async with running(instance), instance.program() as program:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await program.ws_connect("/terminals/websocket/1")
        assert refused.value.status == 404
        async with program.get("/lab") as answer:
            page = await answer.text()
        # What a cell prints leaves by the kernel's channel, at every tier and however much: docs/threat-model.md.
        assert len(await instance.run_cell(f"print('x' * {LARGE})")) == LARGE + 1
    config = json.loads(page.split('id="jupyter-config-data" type="application/json">')[1].split("</script>")[0])
    assert config["terminalsAvailable"] is False
    assert {
        "@jupyterlab/terminal-extension",
        "@jupyterlab/docmanager-extension:download",
        "@jupyterlab/notebook-extension:export",
    } <= set(config["disabledExtensions"])


async def test_a_large_notebook_can_be_made_small_enough_to_open_as_the_refusal_says(
    new_instance: Callable[[], Instance],
) -> None:
    instance = tiered(new_instance, 2)
    printed = {"output_type": "stream", "name": "stdout", "text": "x" * LARGE}
    cell = {"cell_type": "code", "id": "a", "execution_count": 1, "metadata": {}, "source": "1", "outputs": [printed]}
    document = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (instance.home / "n.ipynb").write_text(json.dumps(document))
    async with running(instance), instance.program() as program:
        async with program.get("/api/contents/n.ipynb") as answer:
            words = (await answer.json())["message"]
            assert answer.status == 403
        advice = words.split("`")[1]
        await instance.run_cell(f"get_ipython().run_cell({advice.replace('FILE', 'n.ipynb')!r})")
        async with program.get("/api/contents/n.ipynb") as answer:
            assert answer.status == 200, advice


async def test_another_site_opens_no_kernel_and_reads_no_file(new_instance: Callable[[], Instance]) -> None:
    instance = tiered(new_instance, 0)
    async with running(instance), instance.program() as program, instance.browser() as browser:
        async with program.post("/api/kernels", json={"name": "python3"}) as answer:
            kernel = (await answer.json())["id"]
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect(f"/api/kernels/{kernel}/channels")
        assert refused.value.status == 403
        await enter(instance, browser)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect(f"/api/kernels/{kernel}/channels", headers=EVIL)
        assert refused.value.status == 403
        for path in ("/files/note.txt", "/nbconvert/html/n.ipynb"):
            async with browser.get(path, headers={"Referer": "http://evil.example/"}) as answer:
                assert answer.status in {403, 404}, path
        for path, status in (("/api/contents/note.txt", 404), ("/api/contents", 404)):
            async with browser.get(path, headers=EVIL) as answer:
                assert answer.status == status, path
                assert "seen" not in await answer.text()
        async with browser.post("/api/contents", json={}) as answer:
            assert answer.status == 403  # the cookie alone changes nothing: _xsrf is missing
        async with browser.options("/api/contents", headers=EVIL) as answer:
            assert answer.headers.get("Access-Control-Allow-Origin", "") != EVIL["Origin"]


async def test_the_cookie_of_another_instance_opens_nothing(new_instance: Callable[[], Instance]) -> None:
    first, second = tiered(new_instance, 0), tiered(new_instance, 0)
    second.environment["NIGHTINGALE_INSTANCE"] = "i-000000000a"
    for instance in (first, second):
        instance.launch()
    for instance in (first, second):
        await instance.wait_until_ready()
    async with (
        first.browser() as browser,
        browser.get("/nightingale/enter", params={"code": first.write_code()}, allow_redirects=False) as answer,
    ):
        value = answer.headers["Set-Cookie"].split(";")[0].split("=", 1)[1]
    headers = {"Cookie": f"nightingale-{second.environment['NIGHTINGALE_INSTANCE']}={value}"}
    async with second.browser() as browser, browser.get("/api/contents", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("limit", ["-1", "1e9", "lots", "9" * 16])
def test_a_limit_that_is_no_number_of_bytes_is_named_and_nothing_starts(
    new_instance: Callable[[], Instance], limit: str
) -> None:
    instance = new_instance()
    instance.environment["NIGHTINGALE_DOWNLOAD_LIMIT"] = limit
    assert instance.launch().wait(timeout=15) == 78
    assert "NIGHTINGALE_DOWNLOAD_LIMIT is" in instance.log_text()
