"""A log file's bytes in memory, read as the ports read logs."""

from __future__ import annotations


class FakeLog:
    """Whole lines at byte offsets."""

    def __init__(self) -> None:
        self._bytes = b""

    def write(self, *lines: str) -> None:
        self._bytes += b"".join(line.encode() + b"\n" for line in lines)

    def read(self, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        whole = self._bytes[offset:].splitlines(keepends=True)[:limit]
        return tuple(line.decode().rstrip("\n") for line in whole), offset + sum(len(line) for line in whole)

    def tail_offset(self, lines: int) -> int:
        every = self._bytes.splitlines(keepends=True)
        return len(self._bytes) - sum(len(line) for line in (every[-lines:] if lines > 0 else []))
