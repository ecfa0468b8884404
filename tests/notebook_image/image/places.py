"""Folders of an instance, as its start is told of them; and a server on its socket that says what a test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOKEN = "jupyter-token-0123456789-0123456789"


def environment_of(folder: Path, tier: int = 0) -> dict[str, str]:
    """Make the folders of an instance in `folder`, and return the variables that name them."""
    for name in ("home", "data", "run"):
        (folder / name).mkdir(mode=0o700)
    token_file = folder / "jupyter.token"
    token_file.touch(mode=0o600)
    token_file.write_text(TOKEN)
    return {
        "NIGHTINGALE_HOME": str(folder / "home"),
        "NIGHTINGALE_DATA": str(folder / "data"),
        "NIGHTINGALE_RUN": str(folder / "run"),
        "NIGHTINGALE_TOKEN_FILE": str(token_file),
        "NIGHTINGALE_PERSON": "ada",
        "NIGHTINGALE_INSTANCE": "i-0123456789",
        "NIGHTINGALE_TIER": str(tier),
    }


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Listen on `path` and give one answer to each connection, then hold the next ones open; yield what was asked."""
    asked: list[bytes] = []
    held: list[socket.socket] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        left = list(answers)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            asked.append(connection.recv(65536))
            if left:
                connection.sendall(left.pop(0))
                connection.close()
            else:
                held.append(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closing alone does not
        thread.join(10)
        listener.close()
        for connection in held:
            connection.close()


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
