"""The index proxy: its real doors and rules, the real API behind it, and an index that may behave badly before it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from backend_lambda.index_house import NO_SHA, House, open_house
from doubles.clusters import apply_cluster
from doubles.package_index import PackageIndex, open_package_index
from nightingale.contract.packages import PackageOutcome, PackageRecord
from nightingale.contract.schemas import AllowIn, PackagesIn
from nightingale_local import index_platform
from nightingale_local.index_callers import BURST
from nightingale_local.index_doors import MOST_CONNECTIONS, IndexDoors, door_of
from nightingale_local.index_pages import JSON
from nightingale_local.index_proxy import IndexProxy


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder in which a socket's path is short enough."""
    with tempfile.TemporaryDirectory(prefix="nx-") as made:
        yield Path(made)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with open_package_index() as opened:
        opened.add("tiny-scan", "1.0")
        opened.add("tiny-scan", "2.0")
        opened.add("other", "1.0")
        yield opened


@pytest.fixture
async def house(short_folder: Path, index: PackageIndex) -> AsyncIterator[House]:
    async with open_house(short_folder, index, 0) as opened:
        yield opened


# --- what is served ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speaks_json", [True, False])
async def test_a_file_is_served_and_recorded_whatever_the_index_speaks(house: House, *, speaks_json: bool) -> None:
    house.index.speaks_json = speaks_json
    path = await house.file_path("Tiny_Scan")
    got = await house.get(path)
    file = path.rpartition("/")[2]
    assert got.body == house.index.packages["tiny-scan"][file]
    sha256 = path.split("/")[3]
    wanted = {"package": "tiny-scan", "version": "2.0", "file": file, "sha256": sha256, "bytes": str(len(got.body))}
    assert await house.recorded() == [("package:get:served", wanted)]


async def test_the_page_in_html_has_the_same_files_with_their_hashes(house: House) -> None:
    page = (await house.get("/simple/tiny-scan/", Accept="text/html")).text
    assert page.count("<a href=") == 2
    assert (await house.file_path("tiny-scan")).split("/")[3] in page
    assert house.index.url not in page


async def test_a_page_and_a_file_are_asked_for_once_and_kept(house: House) -> None:
    path = await house.file_path("tiny-scan")
    got = await asyncio.gather(*(house.get(path) for _ in range(5)))
    assert {one.status for one in got} == {200}
    assert house.index.requests == ["/simple/tiny-scan/", f"/packages/{path.rpartition('/')[2]}"]
    assert [tag for tag, _ in await house.recorded()] == ["package:get:served"] * 5


async def test_metadata_beside_a_file_is_served_checked(house: House) -> None:
    file = next(iter(house.index.packages["other"]))
    house.index.metadata[file] = b"Metadata-Version: 2.1\nName: other\n"
    path = await house.file_path("other")
    assert (await house.get(f"{path}.metadata")).body == house.index.metadata[file]
    house.index.metadata[file] += b"more"
    (kept,) = (one for one in house.folders.packages.iterdir() if one.stat().st_size < 100)
    kept.unlink()
    assert (await house.get(f"{path}.metadata")).status == 502


async def test_head_brings_no_bytes_and_no_record(house: House) -> None:
    path = await house.file_path("other")
    got = await house.get(path, "HEAD")
    assert (got.status, got.body) == (200, b"")
    assert await house.recorded() == []


async def test_without_a_record_nothing_is_served(house: House) -> None:
    path = await house.file_path("other")
    house.platform.audit.break_down()
    got = await house.get(path)
    assert got.status == 503
    assert b"nothing is served" in got.body


# --- tiers ------------------------------------------------------------------------------------------------------------


async def test_in_tier_1_a_name_that_is_not_listed_never_reaches_the_index(
    short_folder: Path, index: PackageIndex
) -> None:
    async with open_house(short_folder, index, 1, AllowIn(name="tiny-scan", versions="<2")) as house:
        assert (await house.get(await house.file_path("tiny-scan"))).status == 200
        listed = json.loads((await house.get("/simple/tiny-scan/", Accept=JSON)).body)["files"]
        assert [one["filename"] for one in listed] == ["tiny_scan-1.0-py3-none-any.whl"]
        refused = await house.get("/simple/other/")
        assert (refused.status, "not on the allow list of brain" in refused.reason) == (403, True)
        newer = next(name for name in index.packages["tiny-scan"] if "2.0" in name)
        assert (await house.get(f"/files/tiny-scan/{NO_SHA}/{newer}")).status == 403
        assert index.requests == ["/simple/tiny-scan/", "/packages/tiny_scan-1.0-py3-none-any.whl"]
        refusals = [detail for tag, detail in await house.recorded() if tag.endswith("refused")]
        assert [one["package"] for one in refusals] == ["other", "tiny-scan"]
        assert refusals[1]["version"] == "2.0"


async def test_pip_is_told_why_by_the_one_part_of_an_answer_that_it_shows(
    short_folder: Path, index: PackageIndex
) -> None:
    async with open_house(short_folder, index, 1) as house:
        got = await house.get("/simple/other/", **{"User-Agent": "pip/26.2 {}"})
        assert got.status == 200
        assert got.headers["Content-Type"] == (
            'text/plain; refused="other is not on the allow list of brain, which holds in tier 1"'
        )


async def test_in_tier_2_only_a_listed_hash_is_served(short_folder: Path, index: PackageIndex) -> None:
    file, sha256 = index.add("exact", "1.0")
    index.add("exact", "1.1")
    allow = (AllowIn(name="exact", hashes=(sha256,)), AllowIn(name="other"))
    async with open_house(short_folder, index, 2, *allow) as house:
        assert (await house.file_path("exact")).endswith(f"{sha256}/{file}")
        assert (await house.get(await house.file_path("exact"))).status == 200
        refused = await house.get("/simple/other/")
        assert (refused.status, "sha256" in refused.text) == (403, True)


async def test_in_tier_3_nothing_is_served(short_folder: Path, index: PackageIndex) -> None:
    async with open_house(short_folder, index, 3, AllowIn(name="other")) as house:
        refused = await house.get("/simple/other/")
        assert (refused.status, "what the image brings" in refused.text) == (403, True)
        assert index.requests == []


async def test_a_changed_list_holds_at_once_and_one_that_has_ended_gets_nothing(
    short_folder: Path, index: PackageIndex
) -> None:
    async with open_house(short_folder, index, 1, AllowIn(name="other")) as house:
        path = await house.file_path("other")
        cluster = msgspec.structs.replace(house.platform.cluster, packages=PackagesIn(index=f"{index.url}/simple"))
        apply_cluster(house.platform.store, cluster)
        house.proxy_platform.forget(index_platform.Whose("brain", house.instance))
        assert (await house.get(path)).status == 403
        house.platform.ask("stop_instance", "grace", "scan")
        house.proxy_platform.forget(index_platform.Whose("brain", house.instance))
        assert "stopping" in (await house.get(path)).text


# --- an index that behaves badly --------------------------------------------------------------------------------------


async def test_a_file_with_another_hash_than_promised_is_refused_and_not_kept(house: House) -> None:
    path = await house.file_path("other")
    house.index.altered.add(path.rpartition("/")[2])
    got = await house.get(path)
    assert (got.status, "not the promised one" in got.text) == (502, True)
    assert list(house.folders.packages.iterdir()) == []
    assert "not the promised one" in (await house.refusal())["why"]


@pytest.mark.parametrize("which", ["page", "file"])
async def test_no_redirect_is_followed(house: House, which: str) -> None:
    path = await house.file_path("tiny-scan")
    where = "/simple/other/" if which == "page" else f"/packages/{path.rpartition('/')[2]}"
    house.index.redirected[where] = f"{house.index.url}/packages/other-1.0-py3-none-any.whl"
    got = await house.get("/simple/other/" if which == "page" else path)
    assert (got.status, "no redirect is followed" in got.text) == (502, True)
    assert not any("other-1.0" in one for one in house.index.requests)
    assert "redirect" in (await house.refusal())["why"]


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/other-1.0-py3-none-any.whl",
        "file:///etc/passwd",
        "https://elsewhere.example/other-1.0-py3-none-any.whl",
        "http://files.pythonhosted.org/other-1.0-py3-none-any.whl",
        "//127.0.0.1:1/other-1.0-py3-none-any.whl",
        "http://user@127.0.0.1/other-1.0-py3-none-any.whl",
        "http://[",
    ],
)
async def test_a_file_that_lies_on_another_host_is_not_served(house: House, address: str) -> None:
    house.index.elsewhere[next(iter(house.index.packages["other"]))] = address
    got = await house.get("/simple/other/")
    assert (got.status, "no file that can be checked" in got.text) == (403, True)


async def test_a_file_without_a_hash_is_not_served(house: House) -> None:
    house.index.without_hash.update(house.index.packages["other"])
    assert (await house.get("/simple/other/")).status == 403


async def test_a_package_that_is_not_there_is_not_found(house: House) -> None:
    got = await house.get("/simple/nothing/", **{"User-Agent": "pip/26"})
    assert (got.status, (await house.refusal())["package"]) == (404, "nothing")


# --- requests that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_line", "status", "words"),
    [
        ("CONNECT example.org:443", 405, "CONNECT"),
        ("GET http://example.org/simple/other/", 400, "no proxy to other hosts"),
        ("GET http://127.0.0.1:3141/simple/other/", 400, "no proxy to other hosts"),
        ("POST /simple/other/", 405, "POST"),
        ("DELETE /simple/other/", 405, "DELETE"),
        ("GET /simple/other/?a=b", 400, "no query"),
        ("GET /simple/../../etc/passwd", 404, "there is"),
        ("GET /simple/%2e%2e/", 404, "there is"),
        ("GET /simple/a%2fb/", 404, "there is"),
        (f"GET /files/other/{NO_SHA}/..%2f..%2fetc%2fpasswd", 403, "no wheel"),
        (f"GET /files/other/{NO_SHA}/other-1.0-py3-none-any.whl", 404, "no such file"),
        ("GET /files/other/x/other-1.0-py3-none-any.whl", 404, "there is"),
        ("GET //example.org/simple/other/", 404, "there is"),
        ("GET /simple/", 403, "by its name"),
        ("GET /v1/me", 404, "there is"),
        ("OPTIONS *", 405, "OPTIONS"),
        pytest.param(f"GET /simple/{'a' * 2000}/", 400, "short", id="long"),
        ("GET /simple/-a-/", 403, "no package's name"),
    ],
)
async def test_a_request_that_is_none_of_an_index_is_refused_and_recorded(
    house: House, request_line: str, status: int, words: str
) -> None:
    came = await house.say(f"{request_line} HTTP/1.1\r\nHost: 127.0.0.1:3141\r\nConnection: close\r\n\r\n".encode())
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), came
    assert words in body.decode()
    assert words in (await house.refusal())["why"]
    assert not any("etc" in one for one in house.index.requests)


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1.example.org", "pypi.org:3141", ""])
async def test_a_strange_host_is_refused(house: House, host: str) -> None:
    came = await house.say(f"GET /simple/other/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert came.startswith(b"HTTP/1.1 403 "), came
    assert "another Host" in (await house.refusal())["why"]


async def test_a_body_is_refused_and_never_read_as_the_next_request(house: House) -> None:
    inner = b"GET /simple/other/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
    length = str(len(inner)).encode()
    came = await house.say(
        b"GET /simple/x/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n" + inner
    )
    assert came.count(b"HTTP/1.1") == 1
    assert came.startswith(b"HTTP/1.1 400 ")
    assert house.index.requests == []


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_equal_refusals_are_one_record_and_too_many_different_ones_a_number(house: House) -> None:
    names = [f"none{number}" for number in range(index_platform.MOST_REFUSALS + 7)]
    for name in ("none0", *names):
        await house.get(f"/simple/{name}/")
    details = [detail for _, detail in await house.recorded()]
    assert len(details) == index_platform.MOST_REFUSALS + 1
    assert details[0]["times"] == "2"
    assert (details[-1]["times"], details[-1]["why"][:12]) == ("7", "so many more")


async def test_refusals_wait_for_a_platform_that_is_away(house: House) -> None:
    await house.get("/simple/none/")
    token = house.folders.secrets / "index.token"
    kept = token.read_text()
    token.unlink()
    assert await house.recorded() == []
    token.write_text(kept)
    assert (await house.refusal())["package"] == "none"


class AwayPlatform(index_platform.IndexPlatform):
    """Cannot be asked; while it is tried, as many more different requests are refused as are told apart."""

    turn = 0

    async def _record(self, whose: index_platform.Whose, records: tuple[PackageRecord, ...]) -> None:
        assert len(records) <= index_platform.MOST_REFUSALS + 1
        self.turn += 1
        self.refuse(whose)
        raise index_platform.PlatformSilentError

    def refuse(self, whose: index_platform.Whose) -> None:
        for number in range(index_platform.MOST_REFUSALS):
            self.note_refused(whose, PackageRecord(outcome=PackageOutcome.REFUSED, why=f"{self.turn} {number}"))


async def test_however_long_the_platform_is_away_no_more_is_kept_than_that_and_every_refusal_counts(
    tmp_path: Path,
) -> None:
    async with aiohttp.ClientSession() as session:
        platform = AwayPlatform("http://127.0.0.1:1", tmp_path / "none", session)
    whose = index_platform.Whose("brain", "i-0000000001")
    platform.refuse(whose)
    for _ in range(5):
        await platform.tell()
    assert len(platform._refusals[whose]) == index_platform.MOST_REFUSALS
    assert platform._refusals[whose].total() + platform._uncounted[whose] == 6 * index_platform.MOST_REFUSALS


async def test_one_connection_too_many_is_cut_off_and_the_others_go_on(house: House) -> None:
    held = [await asyncio.open_unix_connection(str(house.socket)) for _ in range(MOST_CONNECTIONS)]
    await asyncio.sleep(0)
    reader, writer = await asyncio.open_unix_connection(str(house.socket))
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    held[0][1].write(b"GET /simple/other/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await asyncio.wait_for(held[0][0].readline(), 10) == b"HTTP/1.1 200 OK\r\n"
    for _, open_writer in held:
        open_writer.close()


async def test_who_asks_without_end_has_to_wait(house: House) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(house.socket))) as session:
        statuses: list[Any] = []
        while 429 not in statuses and len(statuses) < 10_000:  # a slow machine gets more before
            async with session.head("http://localhost/simple/") as answer:
                statuses.append(answer.status)
    assert set(statuses) == {403, 429}
    assert len(statuses) > BURST


async def test_a_socket_that_was_replaced_inside_is_nobodys_and_is_bound_anew_with_the_next_start(house: House) -> None:
    target = house.folders.root / "precious"
    target.write_text("x")
    house.socket.unlink()
    os.symlink(target, house.socket)  # noqa: PTH211 - as a program inside would
    proxy = IndexProxy(house.proxy_platform, None, door_of)  # type: ignore[arg-type] # nothing is asked
    doors = IndexDoors(house.folders, proxy.answer, house.proxy_platform.forget)
    await doors.look()
    assert house.socket.is_socket()
    assert target.read_text() == "x"
    await doors.close()
