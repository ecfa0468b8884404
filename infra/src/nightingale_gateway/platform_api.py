"""The platform's API as the gateway sees it: five operations, and two ways not to get an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from nightingale.contract.operations import BY_NAME
from nightingale.contract.schemas import (
    ChannelCloseIn,
    ChannelIn,
    ChannelOut,
    ChannelRenewIn,
    ErrorOut,
    GatewayKeyIn,
    RefusalIn,
)
from nightingale_gateway.config import ConfigError, read_private

_UNAUTHORIZED = 401
_CLIENT_ERRORS = range(400, 500)
_NOT_NOW = frozenset({408, 425, 429})  # the API could not answer; that is no verdict


class ApiRefusedError(Exception):
    """The platform said no. `code` is its error code; str() is what happened and what to do next."""

    def __init__(self, error: ErrorOut) -> None:
        """Keep the platform's words."""
        super().__init__(f"{error.message} {error.next_step}".strip())
        self.code = error.code


class ApiSilentError(Exception):
    """The platform gave no answer that counts; str() says why, without secrets."""


class PlatformApi:
    """The gateway's operations. Each raises ApiRefusedError or ApiSilentError."""

    def __init__(self, url: str, token_file: Path, timeout_seconds: float) -> None:
        """Read the token. Raises ConfigError when it cannot be read."""
        self._token_file = token_file
        self._token = read_private(token_file).strip()
        # Without trust_env a .netrc or a proxy of the surroundings could take the place of the token or see it.
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            timeout=timeout_seconds,
            trust_env=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            headers={"User-Agent": "nightingale-gateway", "Content-Type": "application/json"},
        )

    async def identify(self, public_key: str, client: str) -> str:
        """Return the name of the person to whom the key belongs."""
        answer = await self._call("identify_key", GatewayKeyIn(public_key=public_key, client=client[:200]))
        return str(answer.person)

    async def open_channel(self, request: ChannelIn) -> ChannelOut:
        """Return the grant for a channel: where to connect, and for how long."""
        answer: ChannelOut = await self._call("open_channel", request)
        return answer

    async def renew_channel(self, channel_id: str, sent: int, received: int) -> None:
        """Renew a channel's lease with the bytes so far."""
        await self._call("renew_channel", ChannelRenewIn(sent=sent, received=received), channel=channel_id)

    async def close_channel(self, channel_id: str, last_word: ChannelCloseIn) -> None:
        """Record a channel's end."""
        await self._call("close_channel", last_word, channel=channel_id)

    async def record_refusal(self, refusal: RefusalIn) -> None:
        """Record what the gateway refused by itself."""
        await self._call("record_refusal", refusal)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, name: str, body: msgspec.Struct, **path: str) -> Any:
        """Return the decoded answer of one operation of the contract."""
        operation = BY_NAME[name]
        url = operation.path.format_map({key: quote(value, safe="") for key, value in path.items()})
        content = msgspec.json.encode(body)
        response = await self._send(operation.method, url, content)
        if response.status_code == _UNAUTHORIZED and self._token_changed():
            response = await self._send(operation.method, url, content)
        if response.status_code == operation.status:
            try:
                return msgspec.json.decode(response.content, type=operation.response)
            except msgspec.DecodeError as error:
                raise ApiSilentError(f"the platform's answer to {name} cannot be read") from error
        raise _failure(name, response)

    async def _send(self, method: str, url: str, content: bytes) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            return await self._client.request(method, url, content=content, headers=headers)
        except httpx.HTTPError as error:
            raise ApiSilentError(f"the platform does not answer ({type(error).__name__})") from error

    def _token_changed(self) -> bool:
        """Return whether the token file has another token by now, and take it."""
        try:
            token = read_private(self._token_file).strip()
        except ConfigError:
            return False
        changed = token != self._token
        self._token = token
        return changed


def _failure(name: str, response: httpx.Response) -> ApiRefusedError | ApiSilentError:
    """Return what an answer other than success means. Only the platform's own words count as a refusal."""
    status = response.status_code
    try:
        error = msgspec.json.decode(response.content, type=ErrorOut)
    except msgspec.DecodeError:
        return ApiSilentError(f"status {status} for {name}, and not in the platform's words")
    if status == _UNAUTHORIZED:
        return ApiSilentError("the platform does not accept the gateway's token")
    if status in _CLIENT_ERRORS and status not in _NOT_NOW:
        return ApiRefusedError(error)
    return ApiSilentError(f"status {status} for {name}: {error.code}")
