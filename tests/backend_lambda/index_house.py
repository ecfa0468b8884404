"""An index proxy with its real doors and rules, on the real API, for one instance that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from backend_lambda.chalice_server import open_server
from doubles.package_index import PackageIndex
from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.build import LaunchSpec
from nightingale.contract.schemas import AllowIn, PackagesIn
from nightingale_local.folders import Folders, write_json
from nightingale_local.index_doors import IndexDoors, door_of
from nightingale_local.index_pages import JSON
from nightingale_local.index_platform import IndexPlatform
from nightingale_local.index_proxy import IndexProxy
from nightingale_local.index_upstream import Upstream

NO_SHA = "0" * 64


@dataclass
class Answer:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class House:
    """A platform with one running instance, and the proxy whose socket lies in that one's run folder."""

    platform: FakePlatform
    instance: str
    index: PackageIndex
    folders: Folders
    proxy_platform: IndexPlatform

    @property
    def socket(self) -> Path:
        return self.folders.root / "instances" / self.instance / "run" / "packages.sock"

    async def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Return the answer to one request from inside."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as session,
            session.request(method, f"http://127.0.0.1:3141{path}", headers=headers, allow_redirects=False) as answer,
        ):
            return Answer(answer.status, answer.reason or "", dict(answer.headers), await answer.read())

    async def say(self, request: bytes) -> bytes:
        """Send these bytes from inside and return all that comes back."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write(request)
        came = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return came

    async def file_path(self, name: str) -> str:
        """Return where our page says that the package's last file lies."""
        page = await self.get(f"/simple/{name}/", Accept=JSON)
        assert page.status == 200, page
        return str(json.loads(page.body)["files"][-1]["url"])

    async def recorded(self) -> list[tuple[str, dict[str, str]]]:
        """Return tag and detail of what was recorded of packages."""
        await self.proxy_platform.tell()
        events = self.platform.audit.events(self.instance)
        return [(one.tag, dict(one.detail)) for one in events if one.tag.startswith("package:")]

    async def refusal(self) -> dict[str, str]:
        """Return the detail of the one thing that was recorded, a refusal."""
        ((tag, detail),) = await self.recorded()
        assert tag == "package:get:refused"
        return detail


@asynccontextmanager
async def open_house(folder: Path, index: PackageIndex, tier: int, *allow: AllowIn) -> AsyncIterator[House]:
    cluster = team_cluster()
    datasets = tuple(msgspec.structs.replace(one, tier=tier) for one in cluster.datasets)
    told = PackagesIn(index=f"{index.url}/simple", allow=allow)
    platform = FakePlatform(cluster=msgspec.structs.replace(cluster, datasets=datasets, packages=told))
    instance = (await platform.run(datasets=["ct-demo"])).id
    folders = Folders(folder)
    folders.prepare()
    home = folder / "instances" / instance
    (home / "run").mkdir(parents=True)
    spec = LaunchSpec(
        instance_id=instance, name="scan", project="brain", owner="grace", owner_uid=None, generation=1,
        instance_dir=str(home), home_dir="", python="", cores=1, memory_mib=1, disk_gib=1, tier=tier,
    )  # fmt: skip
    write_json(home / "launch.json", spec)
    folders.up.mkdir()
    (folders.up / instance).touch()
    (folders.secrets / "index.token").write_text(platform.token("index"))
    with open_server(platform) as server:
        async with aiohttp.ClientSession() as outside, aiohttp.ClientSession() as inside:
            asking = IndexPlatform(server.url, folders.secrets / "index.token", inside)
            proxy = IndexProxy(asking, Upstream(folders.packages, outside), door_of)
            doors = IndexDoors(folders, proxy.answer, asking.forget)
            await doors.look()
            try:
                yield House(platform, instance, index, folders, asking)
            finally:
                await doors.close()
