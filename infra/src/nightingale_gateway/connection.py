"""One person's SSH connection: who it is, what it may open, and everything it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncssh

from nightingale.contract.schemas import ChannelIn
from nightingale_gateway.channels import Channel, unreachable
from nightingale_gateway.jsonlog import note, shown, warn
from nightingale_gateway.keys import public_line, why_not
from nightingale_gateway.notice import NOTICE, NoticeSession
from nightingale_gateway.platform_api import ApiRefusedError, ApiSilentError

if TYPE_CHECKING:
    from nightingale_gateway.gateway import Gateway  # the gateway makes connections: a name for types only

_MAX_RECORDED = 16  # different refusals a connection; more are counted
_MAX_TARGET = 253
_MAX_PORT = 65535
_API_DOWN = "Nightingale's platform does not answer, so nobody can be let in now. Try again in a minute."


class Connection(asyncssh.SSHServer):
    """What asyncssh asks about one connection. Whatever is not answered here is refused by asyncssh."""

    def __init__(self, gateway: Gateway) -> None:
        """Belong to this gateway."""
        self._gateway = gateway
        self._config = gateway.config
        self._conn: asyncssh.SSHServerConnection | None = None
        self._address = ""
        self._client = ""
        self._too_many = ""
        self._user_name = ""
        self._people: dict[str, str] = {}  # public key line -> person, as the platform said on this connection
        self._identity: tuple[str, str] | None = None  # person and fingerprint of the key that was accepted last
        self._is_logged_in = False
        self._is_lost = False
        self._is_told = False
        self._unknown: list[str] = []
        self._keys_tried = 0
        self._recorded: set[str] = set()
        self._unrecorded = 0
        self._opening = 0
        self._is_full = False
        self._channels: set[Channel] = set()

    # --- the connection ---

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Take the connection, unless there are too many."""
        self._conn = conn
        peer = conn.get_extra_info("peername") or ("unknown", 0)
        self._address, self._client = str(peer[0]), f"{peer[0]}:{peer[1]}"
        self._too_many = self._gateway.admit(self, self._address)
        if self._too_many:
            self._refuse(self._too_many)
            if self._gateway.is_overrun(self._address):
                self._gateway.loop.call_soon(conn.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything of this connection, and record a login that never came to be."""
        self._is_lost = True
        self._gateway.leave(self, self._address)
        for channel in tuple(self._channels):
            channel.cut("connection lost" if exc else "connection closed")
        if not self._is_logged_in:
            self._record_failed_login()
        if self._unrecorded:
            self._gateway.refusals.record(
                f"{self._unrecorded} more refusals on this connection", client=self._client, person=self._person()
            )
        why = type(exc).__name__ if exc is not None else "closed"
        note("disconnected", client=self._client, person=self._person(), why=why)

    def disconnect(self, reason: str) -> None:
        """Close the connection with a reason."""
        if self._conn is not None:
            self._conn.disconnect(asyncssh.DISC_BY_APPLICATION, reason)

    def hold(self, *, is_full: bool) -> None:
        """Stop reading from the instances while the client does not take what is there, or go on."""
        self._is_full = is_full
        for channel in self._channels:
            channel.hold(is_connection_full=is_full)

    # --- who is it? ---

    def begin_auth(self, username: str) -> bool:
        """Ask everyone for a key; one too many hears so here, since a client that still sends would not."""
        self._user_name = username
        if self._too_many and self._conn is not None:
            self._conn.disconnect(asyncssh.DISC_TOO_MANY_CONNECTIONS, f"{self._too_many}: close some and try again.")
        return True

    def public_key_auth_supported(self) -> bool:
        """Say that keys, and nothing else, open this gateway."""
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Return whether this key belongs to the person whose name is used; asyncssh then checks the signature."""
        line = public_line(key)
        fingerprint = key.get_fingerprint("sha256")
        if why := why_not(key, line):
            self._refuse(why, fingerprint=fingerprint)
            return False
        person = self._people.get(line) or await self._ask_whose(line, fingerprint)
        if person is None:
            return False
        self._people[line] = person
        if person != username:
            self._refuse(f"key offered under the user name {shown(username)}", person=person, fingerprint=fingerprint)
            return False
        if self._is_logged_in:  # another key was good while this question was under way: never take its place
            return False
        self._identity = (person, fingerprint)
        return True

    async def _ask_whose(self, line: str, fingerprint: str) -> str | None:
        """Return the person of a key, None when the platform knows none or does not answer."""
        self._keys_tried += 1
        if self._keys_tried > self._config.max_keys_per_connection:
            self._too_many_keys()
            return None
        try:
            return await self._gateway.api.identify(line, self._client)
        except ApiRefusedError:
            self._unknown.append(fingerprint)
        except ApiSilentError as error:
            warn("login_impossible", client=self._client, why=str(error))
            self._tell(_API_DOWN)
        return None

    def _too_many_keys(self) -> None:
        self._refuse("too many keys offered")
        if self._conn is not None:
            self._conn.disconnect(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
                "Too many keys offered. Name the right one: `ssh -o IdentitiesOnly=yes -i KEY`.",
            )

    def _tell(self, words: str) -> None:
        """Show the person one line before login, once."""
        if self._conn is not None and not self._is_told and not self._is_lost:
            self._is_told = True
            self._conn.send_auth_banner(f"{words}\r\n")

    def auth_completed(self) -> None:
        """Take the identity whose signature was good: asyncssh checks it right after validate_public_key, no await."""
        person, fingerprint = self._identity or ("", "")
        if self._conn is None or not person or self._conn.get_extra_info("username") != person:
            warn("login_without_identity", client=self._client)
            self.disconnect("Login failed. Connect again.")
            return
        self._is_logged_in = True
        note("logged_in", client=self._client, person=person, fingerprint=fingerprint)

    def _record_failed_login(self) -> None:
        """One record for a connection without a login. A client that offered no key asked for nothing."""
        if self._unknown:
            self._refuse(
                f"unknown key under the user name {shown(self._user_name)} ({len(self._unknown)} offered)",
                fingerprint=self._unknown[0],
            )
        elif self._identity is not None:
            self._refuse("key offered and not proven", person=self._identity[0], fingerprint=self._identity[1])

    # --- the one thing it may do ---

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> asyncssh.misc.MaybeAwait[asyncssh.SSHTCPSession[bytes]]:
        """Let the platform decide about a tunnel. The origin is the client's own claim and of no use."""
        _ = (orig_host, orig_port)
        if not 0 < len(dest_host) <= _MAX_TARGET or dest_port > _MAX_PORT:
            raise self._prohibit(f"tunnel to {shown(dest_host)}:{dest_port}")
        if self._opening + len(self._channels) >= self._config.max_channels_per_connection:
            self._refuse("too many tunnels on one connection")
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, "Too many tunnels on this connection: close some tabs and try again."
            )
        self._opening += 1
        return self._open(dest_host, dest_port)

    async def _open(self, target: str, port: int) -> asyncssh.SSHTCPSession[bytes]:
        try:
            channel = await self._granted(target, port)
        finally:
            self._opening -= 1
        try:
            session = await channel.connect()
        except (OSError, TimeoutError) as error:
            channel.cut(f"no connection to the instance ({type(error).__name__})")
            raise unreachable(shown(target)) from error
        except BaseException:  # cancelled: the person is gone
            channel.cut("connection lost")
            raise
        channel.hold(is_connection_full=self._is_full)
        # asyncssh's own forward_connection returns such a forwarder as a session too; it has a session's methods.
        return session  # type: ignore[return-value] # see the line above

    async def _granted(self, target: str, port: int) -> Channel:
        """Return a granted channel that is held from now on. Raises ChannelOpenError with the platform's words."""
        person, fingerprint = self._identity or ("", "")
        try:
            grant = await self._gateway.api.open_channel(
                ChannelIn(person=person, fingerprint=fingerprint, target=target, port=port, client=self._client)
            )
        except ApiRefusedError as error:  # recorded by the platform itself
            note("channel_refused", client=self._client, person=person, target=shown(target), port=port, why=error.code)
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, str(error)) from error
        except ApiSilentError as error:
            warn("channel_impossible", client=self._client, person=person, why=str(error))
            words = "Nightingale's platform does not answer, so no tunnel can be opened now. Try again in a minute."
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, words) from error
        channel = Channel(grant, self._gateway.api, self._config)
        self._channels.add(channel)
        self._gateway.hold(channel)
        channel.task.add_done_callback(lambda _: self._over(channel))
        if self._is_lost:
            channel.cut("connection lost")
        return channel

    def _over(self, channel: Channel) -> None:
        """Forget an ended channel; a person who runs `ssh -v` is told why it ended."""
        self._channels.discard(channel)
        if self._conn is not None and not self._is_lost:
            self._conn.send_debug(f"nightingale: a tunnel ended: {channel.why}", always_display=True)

    # --- what it may not do ---

    def session_requested(self) -> NoticeSession:
        """Answer a request for a shell, a command or files in words."""
        return NoticeSession(self._refuse)

    def unix_connection_requested(self, dest_path: str) -> bool:
        """Refuse a tunnel to a unix socket."""
        raise self._prohibit(f"tunnel to the unix socket {shown(dest_path)}")

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        """Refuse a listening port (`ssh -R`)."""
        self._refuse(f"remote forward {shown(listen_host)}:{listen_port}")
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        """Refuse a listening unix socket (`ssh -R`)."""
        self._refuse(f"remote forward of the unix socket {shown(listen_path)}")
        return False

    def tun_requested(self, unit: int | None) -> bool:
        """Refuse a network tunnel (`ssh -w`)."""
        raise self._prohibit(f"network tunnel {unit}")

    def tap_requested(self, unit: int | None) -> bool:
        """Refuse a network tunnel (`ssh -w`)."""
        raise self._prohibit(f"network tunnel {unit}")

    def forwarding_requested(self, what: str) -> None:
        """Record the wish for an agent or an X11 display, which asyncssh has refused."""
        self._refuse(f"{what} forwarding")

    def _prohibit(self, what: str) -> asyncssh.ChannelOpenError:
        """Record a refusal and return it as the answer to the client."""
        self._refuse(what)
        return asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, NOTICE)

    def _person(self) -> str:
        return self._identity[0] if self._identity is not None and self._is_logged_in else ""

    def _refuse(self, what: str, *, person: str = "", fingerprint: str = "") -> None:
        """Record a refusal: each kind once a connection, and no more than so many kinds."""
        if what in self._recorded:
            return
        if len(self._recorded) >= _MAX_RECORDED:
            self._unrecorded += 1
            return
        self._recorded.add(what)
        own_person, own_fingerprint = self._identity if self._identity and self._is_logged_in else ("", "")
        self._gateway.refusals.record(
            what, client=self._client, person=person or own_person, fingerprint=fingerprint or own_fingerprint
        )
