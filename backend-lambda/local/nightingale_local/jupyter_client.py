"""A small Jupyter client for the demo's check: one kernel, one cell at a time, over HTTP and a web socket."""

from __future__ import annotations

import json
import secrets
from types import TracebackType
from typing import Any, Self

import aiohttp

_CELL_SECONDS = 60.0


class CellError(Exception):
    """The cell raised; the message is the traceback's last line."""


class JupyterClient:
    """Speaks to one Jupyter server with its token (in a header, never in the URL)."""

    def __init__(self, base_url: str, token: str) -> None:
        """Take the server's address, such as `http://localhost:8888`."""
        self._base = base_url
        self._headers = {"Authorization": f"token {token}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        timeout = aiohttp.ClientTimeout(total=_CELL_SECONDS)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("used outside its `async with`")
        return self._session

    async def status(self) -> int:
        """Return the HTTP status of /api/status."""
        async with self._open.get(f"{self._base}/api/status") as answer:
            return answer.status

    async def run(self, code: str) -> str:
        """Run a cell in a kernel of its own and return what it printed. Raises CellError."""
        async with self._open.post(f"{self._base}/api/kernels", json={"name": "python3"}) as answer:
            answer.raise_for_status()
            kernel = (await answer.json())["id"]
        try:
            async with self._open.ws_connect(f"{self._base}/api/kernels/{kernel}/channels") as socket:
                return await _execute(socket, code)
        finally:
            async with self._open.delete(f"{self._base}/api/kernels/{kernel}"):
                pass


async def _execute(socket: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """Send one execute_request (Jupyter messaging 5.3) and gather its stdout until the kernel is idle again."""
    message_id = secrets.token_hex(8)
    header = {
        "msg_id": message_id,
        "msg_type": "execute_request",
        "username": "",
        "session": secrets.token_hex(8),
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": True}
    await socket.send_json(
        {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}
    )
    printed: list[str] = []
    async for frame in socket:
        if frame.type is not aiohttp.WSMsgType.TEXT:
            continue
        message: dict[str, Any] = json.loads(frame.data)
        if message.get("parent_header", {}).get("msg_id") != message_id:
            continue
        kind, body = message["msg_type"], message["content"]
        if kind == "stream" and body["name"] == "stdout":
            printed.append(body["text"])
        elif kind == "error":
            raise CellError(f"{body['ename']}: {body['evalue']}")
        elif kind == "status" and body["execution_state"] == "idle":
            return "".join(printed)
    raise CellError("the connection ended before the cell did")
