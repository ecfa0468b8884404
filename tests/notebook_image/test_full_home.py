"""A home that is full: the person reads why nothing is saved, and can make room."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable

import pytest

from notebook_image.conftest import Instance

SMALL = 'mount -t tmpfs -o size=6m,mode=700 tmpfs "$NIGHTINGALE_HOME" && cd "$NIGHTINGALE_HOME" && exec "$@"'
"""Run with mounts of one's own: the home is a file system of 6 MiB."""


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_saving_into_a_full_home_says_so_and_what_to_do(new_instance: Callable[[], Instance]) -> None:
    instance = new_instance()
    instance.launch(("unshare", "--mount", "sh", "-c", SMALL, "sh"))
    await instance.wait_until_ready()
    async with instance.program() as program:
        for path, content in (("most.txt", "x" * (4 << 20)), ("rest.txt", "x" * (4 << 20))):
            model = {"type": "file", "format": "text", "content": content}
            body = io.BytesIO(json.dumps(model).encode())
            async with program.put(f"/api/contents/{path}", data=body) as answer:
                said = await answer.json()
        assert answer.status == 507, said
        assert "the home is full" in said["message"]
        assert "resize" in said["message"]
        async with program.delete("/api/contents/most.txt") as answer:
            assert answer.status == 204
        small = {"type": "file", "format": "text", "content": "kept"}
        async with program.put("/api/contents/rest.txt", json=small) as answer:
            assert answer.status in {200, 201}
