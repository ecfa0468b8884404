"""Images on one machine: what their files were found to be, written down once each."""

from __future__ import annotations

from dataclasses import dataclass

from nightingale.contract.images import DriftedFile, ImageCheck
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditEvent, AuditLog
from nightingale.ports.clock import Clock


@dataclass(frozen=True)
class ImageService:
    """Takes what a look at an image's files found."""

    audit: AuditLog
    clock: Clock

    def note(self, image: str, check: ImageCheck, before: ImageCheck | None) -> int:
        """Record each file that was found to have drifted since the look `before`; return how many.

        `image` names it as people do. Raises AuditLogUnavailableError: then `before` is to stay what it was, so that
        the next look tells of them.
        """
        known = set(before.drift) if before is not None and before.digest == check.digest else set[DriftedFile]()
        found = [file for file in check.drift if file not in known]
        now, tag = self.clock.now(), AuditTag.IMAGE_DRIFTED.value
        events = [
            AuditEvent(PLATFORM_STREAM, now, tag, "platform", image, {**_detail(file), "digest": check.digest})
            for file in found
        ]
        if events:
            self.audit.append_all(events)
        return len(events)


def _detail(file: DriftedFile) -> dict[str, str]:
    return {
        "path": file.path,
        "drift": file.drift.value,
        "expected": file.expected,
        "seen": file.seen,
        "expected_from": file.expected_from,
    }
