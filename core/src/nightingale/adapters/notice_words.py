"""What a notice says in words: rule, severity, reason, where to look. Nothing of what happened leaves the platform."""

from __future__ import annotations

from nightingale.ports.notifier import Notice

_REASONS = {"finding_opened": "new", "finding_reopened": "open again"}


def subject(notice: Notice) -> str:
    """Return one line: `Nightingale: critical finding honeypot_file (new)`."""
    return f"Nightingale: {notice.severity.value} finding {notice.rule} ({_REASONS.get(notice.reason, notice.reason)})"


def lines(notice: Notice) -> str:
    """Return the whole text."""
    return (
        f"{subject(notice)}\n\n"
        f"Finding   {notice.finding}\n"
        f"At        {notice.at:%Y-%m-%d %H:%M:%SZ}\n"
        f"Look      nightingale findings show {notice.finding}\n"
        f"Platform  {notice.url}\n"
    )
