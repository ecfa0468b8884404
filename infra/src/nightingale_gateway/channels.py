"""One granted channel, from the platform's grant to its last word: connect, relay, renew the lease, report."""

from __future__ import annotations

import asyncio

import asyncssh

from nightingale.contract.door_tls import client_context
from nightingale.contract.machines import Door
from nightingale.contract.schemas import ChannelCloseIn, ChannelOut
from nightingale_gateway.config import GatewayConfig
from nightingale_gateway.jsonlog import note, warn
from nightingale_gateway.platform_api import ApiRefusedError, ApiSilentError, PlatformApi
from nightingale_gateway.relay import InstanceSide, PersonSide, Tally

_CONNECT_SECONDS = 5.0
_REPORT_PAUSES = (0.3, 0.6, 1.2)  # seconds before each further try of the last word
_SHORTEST_LEASE = 1.0  # seconds: a lease of nothing would be asked for without pause
_LEASE_SHARE = 3  # a lease is renewed at least so often within its time


class Channel:
    """A channel that the platform granted. `task` ends when its last word is told."""

    def __init__(self, grant: ChannelOut, api: PlatformApi, config: GatewayConfig) -> None:
        """Start to hold the lease at once: from now on the channel is reported, whatever happens."""
        self._grant = grant
        self._api = api
        self._timeout = config.api_timeout_seconds
        lease = max(_SHORTEST_LEASE, grant.lease_seconds)
        self._interval = min(config.renew_seconds, lease / _LEASE_SHARE)
        self._silence = min(config.silence_seconds, lease)
        self._tally = Tally(grant.byte_limit)
        self._ended = asyncio.Event()
        self._why = ""
        self._sides: tuple[PersonSide, InstanceSide] | None = None
        self._loop = asyncio.get_running_loop()
        self._opened_at = self._loop.time()
        self.task = asyncio.create_task(self._hold())

    @property
    def is_open(self) -> bool:
        """Whether bytes may still flow."""
        return not self._ended.is_set()

    @property
    def why(self) -> str:
        """Why the channel ended; empty before."""
        return self._why

    async def connect(self) -> PersonSide:
        """Connect to the instance and return the session for the SSH channel. Raises OSError or TimeoutError."""
        async with asyncio.timeout(_CONNECT_SECONDS):
            if self._grant.socket is not None:
                _, instance = await self._loop.create_unix_connection(self._instance_side, self._grant.socket)
            else:
                host, _, port = (self._grant.address or "").rpartition(":")
                if not host or not port.isdigit():
                    raise OSError("the platform named neither a socket nor an address")
                context = await asyncio.to_thread(client_context, _door_of(self._grant))
                _, instance = await self._loop.create_connection(
                    self._instance_side, host.strip("[]"), int(port), ssl=context, server_hostname=""
                )
        person = PersonSide(self._tally, lambda: self._end("closed by the person"), instance)
        self._sides = (person, instance)
        if not self.is_open:  # cut while connecting
            instance.abort()
            raise OSError(self._why)
        return person

    def cut(self, why: str) -> None:
        """End the channel now: not one byte more passes in either direction."""
        self._end(why)
        for side in self._sides or ():
            side.abort()

    def hold(self, *, is_connection_full: bool) -> None:
        """Stop or go on reading from the instance."""
        if self._sides is not None:
            self._sides[1].hold(is_connection_full=is_connection_full)

    def _instance_side(self) -> InstanceSide:
        return InstanceSide(
            self._tally,
            lambda: self._end("closed by the instance"),
            lambda: self.cut(f"byte limit of {self._grant.byte_limit} reached"),
        )

    def _end(self, why: str) -> None:
        if self.is_open:
            self._why = why
            self._ended.set()

    async def _hold(self) -> None:
        """Renew the lease until the channel ends, then report."""
        note("channel_opened", channel=self._grant.channel_id, instance=self._grant.instance_id)
        deadline = self._loop.time() + self._silence
        while not await self._ended_within(min(self._interval, deadline - self._loop.time())):
            asked_at = self._loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(self._timeout, deadline - asked_at))):
                    await self._api.renew_channel(self._grant.channel_id, self._tally.sent, self._tally.received)
            except ApiRefusedError as error:
                self.cut(f"lease refused: {error.code}")
            except (ApiSilentError, TimeoutError) as error:
                warn("lease_not_renewed", channel=self._grant.channel_id, why=str(error) or "no answer in time")
                if self._loop.time() >= deadline:
                    self.cut(f"no answer of the platform for {self._silence:g} s")
            else:
                deadline = asked_at + self._silence
        await self._report()

    async def _ended_within(self, seconds: float) -> bool:
        """Return whether the channel ended within that time."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._ended.wait()
        except TimeoutError:
            return self._ended.is_set()
        return True

    async def _report(self) -> None:
        """Tell the platform the last word, a few times if need be; its lease ends the channel there anyway."""
        seconds = round(self._loop.time() - self._opened_at)
        last_word = ChannelCloseIn(
            sent=self._tally.sent, received=self._tally.received, seconds=seconds, why=self._why[:200]
        )
        note(
            "channel_closed",
            channel=self._grant.channel_id,
            sent=last_word.sent,
            received=last_word.received,
            seconds=seconds,
            why=last_word.why,
        )
        for pause in (*_REPORT_PAUSES, None):
            try:
                await self._api.close_channel(self._grant.channel_id, last_word)
            except ApiRefusedError as error:
                warn("channel_end_not_recorded", channel=self._grant.channel_id, why=str(error))
            except ApiSilentError as error:
                if pause is not None:
                    await asyncio.sleep(pause)
                    continue
                warn("channel_end_not_recorded", channel=self._grant.channel_id, why=str(error))
            return


def _door_of(grant: ChannelOut) -> Door:
    """Return what to show at the grant's address. Raises OSError: whoever has it by now must show the same."""
    if grant.door_certificate is None or grant.door_key is None:
        raise OSError("the platform named an address, and not what proves who is there")
    return Door(certificate=grant.door_certificate, key=grant.door_key)


def unreachable(target: str) -> asyncssh.ChannelOpenError:
    """Return the answer to a person whose instance does not take the connection."""
    return asyncssh.ChannelOpenError(
        asyncssh.OPEN_CONNECT_FAILED,
        f"The Jupyter server of {target} does not take connections. `nightingale ps` shows its state; try again when "
        "it is running.",
    )
