"""A Jupyter client of our own for the tests from outside: one cell over a web socket."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import aiohttp

from e2e.outside import Outside, instances
from e2e.ssh import tunnel


def run_cell(outside: Outside, name: str, code: str) -> str:
    """Return what a cell prints, run in the instance's Jupyter server through the system's ssh."""
    token = outside.ask("POST", instances(name, "jupyter"), status=201)["token"]
    with tunnel(outside, name) as port:
        return asyncio.run(_run(port, token, code)).strip()


def begin_cell(outside: Outside, name: str, code: str) -> str:
    """Return what a cell prints, and leave its kernel and whatever it began to run on."""
    token = outside.ask("POST", instances(name, "jupyter"), status=201)["token"]
    with tunnel(outside, name) as port:
        return asyncio.run(_run(port, token, code, is_kept=True)).strip()


def status_of(outside: Outside, name: str, token: str | None = None) -> int:
    """Return the HTTP status of /api/status through a tunnel, with the instance's token unless another is told."""
    token = token or outside.ask("POST", instances(name, "jupyter"), status=201)["token"]
    with tunnel(outside, name) as port:
        return asyncio.run(_status(port, token))


async def _status(port: int, token: str) -> int:
    headers = {"Authorization": f"token {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"http://localhost:{port}/api/status") as answer,
    ):
        return answer.status


async def _run(port: int, token: str, code: str, *, is_kept: bool = False) -> str:
    base = f"http://localhost:{port}/api/kernels"
    headers = {"Authorization": f"token {token}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=50)) as session:
        async with session.post(base, json={}) as made:
            assert made.status == 201, await made.text()
            kernel = (await made.json())["id"]
        async with session.ws_connect(f"{base}/{kernel}/channels") as channel:
            printed = await _execute(channel, code)
        if not is_kept:
            async with session.delete(f"{base}/{kernel}") as ended:
                assert ended.status == 204
        return printed


async def _execute(channel: aiohttp.ClientWebSocketResponse, code: str) -> str:
    """Send execute_request (https://jupyter-client.readthedocs.io/en/stable/messaging.html) and gather the output."""
    mine = secrets.token_hex(16)
    header = {"msg_id": mine, "msg_type": "execute_request", "username": "e2e", "session": mine, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await channel.send_json(request)
    output = ""
    async for frame in channel:
        message: dict[str, Any] = json.loads(frame.data)
        if message["parent_header"].get("msg_id") != mine:
            continue
        content = message["content"]
        match message["header"]["msg_type"]:
            case "stream":
                output += content["text"]
            case "error":
                raise AssertionError("\n".join(content["traceback"]))
            case "status" if content["execution_state"] == "idle":
                return output
    raise AssertionError(f"the connection ended before the cell did; so far: {output}")
