"""The gateway as a whole: its listener, its algorithms, its limits, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections import Counter
from pathlib import Path

import asyncssh
import msgspec
from asyncssh import mac

from nightingale_gateway.channels import Channel
from nightingale_gateway.config import ConfigError, GatewayConfig
from nightingale_gateway.connection import Connection
from nightingale_gateway.doorkeeper import Doorkeeper, Turn
from nightingale_gateway.jsonlog import note, warn
from nightingale_gateway.keys import SIGNATURES, load_host_key, public_line
from nightingale_gateway.platform_api import PlatformApi
from nightingale_gateway.post_quantum import post_quantum_exchanges
from nightingale_gateway.refusals import RefusalRecorder

_STOP_SECONDS = 4.0
_OVERRUN = 2  # times a limit of connections
_HIGH_WATER = 1024 * 1024  # bytes that may wait for a client before its instances are not read any more

# No SHA-1, no NIST curves in the key exchange, no encrypt-and-MAC, no CBC, no CTR: within ssh-audit's hardened profile.
# No ChaCha20 either: a client that was not mended against Terrapin (CVE-2023-48795) would be open to it.
_KEX_CLASSIC = "curve25519-sha256"  # for clients that know nothing better, where the configuration lets them in
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "umac-128-etm@openssh.com")


class ReadyFile(msgspec.Struct, frozen=True):
    """What the gateway writes when it listens."""

    pid: int
    host: str
    port: int
    host_key: str


class _Wire(asyncssh.SSHServerConnection):
    """asyncssh's connection, which waits for its turn and lets us hear of three things it has no callback for."""

    def __init__(self, gateway: Gateway, options: asyncssh.SSHServerConnectionOptions) -> None:
        super().__init__(gateway.loop, options)
        self._gateway = gateway
        self._turn: Turn | None = None
        self._is_greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        wait = self._gateway.wait_for_turn(transport)
        if wait is None:
            transport.abort()
        elif wait:
            self._turn = Turn(transport, wait, lambda: self._greet(transport))
        else:
            self._greet(transport)

    def _greet(self, transport: asyncio.Transport) -> None:
        self._is_greeted = True
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def connection_lost(self, exc: Exception | None = None) -> None:
        if self._is_greeted:
            super().connection_lost(exc)
        elif self._turn is not None:
            self._turn.cancel()

    def pause_writing(self) -> None:
        if isinstance(self._owner, Connection):
            self._owner.hold(is_full=True)

    def resume_writing(self) -> None:
        if isinstance(self._owner, Connection):
            self._owner.hold(is_full=False)

    async def create_agent_listener(self) -> bool:
        if isinstance(self._owner, Connection):
            self._owner.forwarding_requested("agent")
        return False

    async def attach_x11_listener(self, *_: object) -> str | None:
        if isinstance(self._owner, Connection):
            self._owner.forwarding_requested("X11")
        return None


class Gateway:
    """Listens, and holds what the connections share. Use: `await Gateway(config).run()`."""

    def __init__(self, config: GatewayConfig) -> None:
        """Read the secrets. Raises ConfigError."""
        self.config = config
        self.loop = asyncio.get_running_loop()
        self.api = PlatformApi(config.api_url, Path(config.token_file), config.api_timeout_seconds)
        self.refusals = RefusalRecorder(self.api)
        self._host_key = load_host_key(Path(config.host_key_file))
        self._ready_file = Path(config.ready_file)
        self._connections: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._channels: set[Channel] = set()
        self._doorkeeper = Doorkeeper(config.connections_per_second, config.connections_at_once, self.loop.time)

    def wait_for_turn(self, transport: asyncio.Transport) -> float | None:
        """Return the seconds until a new connection is greeted; None, and a record, when it must be dropped."""
        peer = transport.get_extra_info("peername") or ("unknown", 0)
        wait = self._doorkeeper.wait_for(str(peer[0]))
        if wait is None:
            self.refusals.record("too many new connections of this address", client=f"{peer[0]}:{peer[1]}")
        return wait

    def admit(self, connection: Connection, address: str) -> str:
        """Count a connection in; return why it is one too many, empty when it is not."""
        self._connections.add(connection)
        self._by_address[address] += 1
        if self._by_address[address] > self.config.max_connections_per_client:
            return "too many connections from this address"
        if len(self._connections) > self.config.max_connections:
            return "too many connections"
        return ""

    def is_overrun(self, address: str) -> bool:
        """Return whether there are so many connections too many that not even a reason is owed."""
        return (
            self._by_address[address] > _OVERRUN * self.config.max_connections_per_client
            or len(self._connections) > _OVERRUN * self.config.max_connections
        )

    def leave(self, connection: Connection, address: str) -> None:
        """Count a connection out."""
        self._connections.discard(connection)
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def hold(self, channel: Channel) -> None:
        """Keep a channel until its last word is told."""
        self._channels.add(channel)
        channel.task.add_done_callback(lambda _: self._channels.discard(channel))

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises ConfigError when the port is taken."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, stop.set)
        recorder = asyncio.create_task(self.refusals.run())
        options = await self._options()
        try:
            listener = await self._listen(options)
            ready = self._announce(listener)
            note("listening", host=ready.host, port=ready.port, host_key=self._host_key.get_fingerprint("sha256"))
            await stop.wait()
            listener.close()
            await self._end_connections()
            self._withdraw(ready)
            note("stopped")
        finally:
            recorder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await recorder
            await self.api.aclose()

    async def _options(self) -> asyncssh.SSHServerConnectionOptions:
        """Return what every connection runs with."""
        config = self.config
        kexes = [*post_quantum_exchanges(), *([_KEX_CLASSIC] if config.classical_exchange else [])]
        macs = [name for name in _MACS if name.encode() in mac.get_mac_algs()]
        options: asyncssh.SSHServerConnectionOptions = await asyncssh.SSHServerConnectionOptions.construct(
            config=None,
            server_factory=lambda: Connection(self),
            server_host_keys=[self._host_key],
            server_version="Nightingale",
            kex_algs=kexes,
            encryption_algs=list(_CIPHERS),
            mac_algs=macs,
            compression_algs=["none"],
            signature_algs=sorted(name.decode() for names in SIGNATURES.values() for name in names),
            public_key_auth=True,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_scp=False,
            line_editor=False,
            login_timeout=config.login_seconds,
            keepalive_interval=config.keepalive_seconds,
            keepalive_count_max=3,
        )
        return options

    async def _listen(self, options: asyncssh.SSHServerConnectionOptions) -> asyncio.Server:
        host, port = self.config.listen_host, self.config.listen_port
        try:
            return await self.loop.create_server(lambda: _Wire(self, options), host, port)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be listened on ({os.strerror(error.errno or 0)}): stop what uses it, or set "
                "another listen_port"
            ) from error

    def _withdraw(self, ready: ReadyFile) -> None:
        """Remove the ready file, if it is still ours and not a successor's."""
        with contextlib.suppress(OSError):
            if self._ready_file.read_bytes() == msgspec.json.encode(ready):
                self._ready_file.unlink()

    def _announce(self, listener: asyncio.Server) -> ReadyFile:
        """Write the ready file, whole or not at all."""
        port = int(listener.sockets[0].getsockname()[1])
        ready = ReadyFile(os.getpid(), self.config.listen_host, port, public_line(self._host_key))
        path = self._ready_file
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            draft.touch(mode=0o600, exist_ok=False)
            draft.write_bytes(msgspec.json.encode(ready))
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return ready

    async def _end_connections(self) -> None:
        """Cut every channel, let each tell its last word, say goodbye."""
        tasks = [channel.task for channel in self._channels]
        for channel in tuple(self._channels):
            channel.cut("gateway stopped")
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            if late:
                warn("channel_ends_not_recorded", count=len(late))
        for connection in tuple(self._connections):
            connection.disconnect("The gateway is stopping. Connect again in a minute.")
        await asyncio.sleep(0)  # lets asyncssh report the lost connections, whose refusals then count
        await self.refusals.drain(_STOP_SECONDS)
