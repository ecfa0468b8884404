"""Calls of administrators who put instances in quarantine."""

from __future__ import annotations

from typing import Any

import msgspec

from nightingale.contract import schemas as s


class WardenCalls:
    """A part of the client."""

    def _call(
        self, operation: str, *path: str, body: msgspec.Struct | None = None, **query: str | int | bool | None
    ) -> Any:
        raise NotImplementedError

    def quarantine_instance(self, project: str, instance: str, body: s.QuarantineIn) -> s.InstanceOut:
        """Put it in quarantine: cut off, frozen, its owner's commands refused."""
        answer: s.InstanceOut = self._call("quarantine_instance", project, instance, body=body)
        return answer

    def release_instance(self, project: str, instance: str, body: s.QuarantineIn) -> s.InstanceOut:
        """Release it from quarantine: it goes on where it was."""
        answer: s.InstanceOut = self._call("release_instance", project, instance, body=body)
        return answer
