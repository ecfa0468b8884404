"""A real SSH server that forwards and does nothing else, beside a fake platform that names it."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from nightingale.contract import schemas as s
from nightingale_tui.api.client import Api
from nightingale_tui.settings import Settings, load_settings
from nightingale_tui.tunnel import Tunnel
from tui.api.fake_platform import FakePlatform

URL = "http://127.0.0.1:8470"
Answer = Callable[[asyncssh.SSHReader[bytes], asyncssh.SSHWriter[bytes]], object]


@dataclass
class SmallGateway(asyncssh.SSHServer):
    """Lets one key in and answers each channel with the target it was asked for."""

    allowed: asyncssh.SSHKey
    users: list[str] = field(default_factory=list)
    targets: list[tuple[str, int]] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    refuses: bool = False

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connections.append(conn)

    def drop_all(self) -> None:
        for connection in self.connections:
            connection.abort()

    def begin_auth(self, username: str) -> bool:
        self.users.append(username)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002 - asyncssh's signature
        return key == self.allowed

    def connection_requested(  # type: ignore[override]  # asyncssh takes a handler, its types say so loosely
        self,
        dest_host: str,
        dest_port: int,
        orig_host: str,  # noqa: ARG002 - asyncssh's signature
        orig_port: int,  # noqa: ARG002 - asyncssh's signature
    ) -> Answer | bool:
        self.targets.append((dest_host, dest_port))
        if self.refuses:
            return False

        async def answer(_: asyncssh.SSHReader[bytes], writer: asyncssh.SSHWriter[bytes]) -> None:
            writer.write(f"this is {dest_host}".encode())
            writer.close()

        return answer


@dataclass
class Place:
    """A platform with a running instance `scan`, its gateway and ada's settings."""

    platform: FakePlatform
    gateway: SmallGateway
    api: Api
    settings: Settings
    key: Path

    async def open(self, *, local_port: int | None = None) -> Tunnel:
        return await asyncio.to_thread(Tunnel.open, self.api, self.settings, "heart", "scan", local_port=local_port)


def make_key(path: Path) -> None:
    """Make a key pair at `path`."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@asynccontextmanager
async def open_place(folder: Path) -> AsyncIterator[Place]:
    """Return a place whose files are in `folder`; its gateway runs until the block ends."""
    key = folder / "a key"  # with a blank, as homes have them
    await asyncio.to_thread(make_key, key)
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    gateway = SmallGateway(asyncssh.read_public_key(f"{key}.pub"))
    platform = FakePlatform()
    platform.add("scan")
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=lambda: gateway, server_host_keys=[host_key])
    line = host_key.export_public_key().decode().strip()
    platform.gateway = s.GatewayOut(host="127.0.0.1", port=server.get_port(), host_key=line)
    settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(folder / "100% of it")}, key_file=str(key))
    with Api(URL, platform.token_of("ada"), transport=platform.transport()) as api:
        yield Place(platform, gateway, api, settings, key)
    server.close()
    await server.wait_closed()
