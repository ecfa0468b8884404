"""Notices to a web address: JSON with a signature, or a chat's message. No redirect is followed, no proxy used.

X-Nightingale-Id: f-…-20261102090000                 the same whenever it is sent again
X-Nightingale-Signature: t=1762074000,v1=HEX         HMAC-SHA256 of `TIME.BODY` under the channel's secret
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nightingale.adapters.notice_words import subject
from nightingale.contract.schemas import NotificationIn
from nightingale.ports.clock import Clock
from nightingale.ports.notifier import NotDeliveredError, Notice, Secrets, SecretUnavailableError

_TIMEOUT_S = 10
_MOST_ANSWER = 65_536
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def signature(secret: str, time: int, body: bytes) -> str:
    """Return what stands in the header of a body that was sent at `time` (seconds since 1970)."""
    signed = hmac.new(secret.encode(), b"%d." % time + body, hashlib.sha256).hexdigest()
    return f"t={time},v1={signed}"


@dataclass(frozen=True)
class WebhookNotifier:
    """Sends to channels of kind `webhook` and `slack`."""

    secrets: Secrets
    clock: Clock
    context: ssl.SSLContext | None = field(default=None, repr=False)
    """Whom TLS trusts; None: whom this machine trusts."""
    timeout_s: float = _TIMEOUT_S

    def send(self, channel: NotificationIn, notice: Notice) -> None:
        """Post the notice. Raises NotDeliveredError for anything but an answer of the 200s."""
        try:
            address = channel.url or self.secrets.get(channel.url_secret or "")
            secret = self.secrets.get(channel.secret) if channel.secret is not None else None
        except SecretUnavailableError as error:
            raise NotDeliveredError(str(error)) from error
        body = json.dumps(_slack(notice) if channel.kind == "slack" else _document(notice)).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "nightingale", "X-Nightingale-Id": notice.id}
        if secret is not None:
            headers["X-Nightingale-Signature"] = signature(secret, int(self.clock.now().timestamp()), body)
        status = self._post(address, body, headers)
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
            raise NotDeliveredError(f"the channel {channel.name} answered with status {status}")

    def _post(self, address: str, body: bytes, headers: dict[str, str]) -> int:
        """Return the status. The words of errors never repeat the address: it may be the secret."""
        try:
            parts = urlsplit(address)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise NotDeliveredError("the channel's address is none") from error
        is_plain = parts.scheme == "http" and host in _LOOPBACK
        if not host or (parts.scheme != "https" and not is_plain) or parts.username is not None:
            raise NotDeliveredError("the channel's address is no https address")
        connection: http.client.HTTPConnection
        if is_plain:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        else:
            context = self.context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout_s, context=context)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", target, body, headers)
            answer = connection.getresponse()
            answer.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotDeliveredError(f"the channel gave no answer ({type(error).__name__})") from None
        finally:
            connection.close()
        return answer.status


def _document(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "finding": notice.finding,
        "rule": notice.rule,
        "severity": notice.severity.value,
        "reason": notice.reason,
        "at": f"{notice.at:%Y-%m-%dT%H:%M:%SZ}",
        "url": notice.url,
    }


def _slack(notice: Notice) -> dict[str, Any]:
    # A rule's name is letters, digits, dashes and underscores, or an organisation's: nothing of it is markup.
    plain = subject(notice).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{plain}\n`nightingale findings show {notice.finding}`"}
