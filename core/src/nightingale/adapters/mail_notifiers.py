"""Notices by e-mail: SMTP over TLS, or Amazon SES."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

from nightingale.adapters.aws_clients import code_of, is_aws_error
from nightingale.adapters.notice_words import lines, subject
from nightingale.contract.schemas import NotificationIn
from nightingale.ports.notifier import NotDeliveredError, Notice, Secrets, SecretUnavailableError

_TIMEOUT_S = 10
_TLS_AT_ONCE = 465


def message(channel: NotificationIn, notice: Notice) -> EmailMessage:
    """Return the mail; its Message-ID is the notice's, so that one sent twice is one."""
    mail = EmailMessage()
    mail["From"] = channel.sender or ""
    mail["To"] = ", ".join(channel.to)
    mail["Subject"] = " ".join(subject(notice).split())
    mail["Date"] = notice.at
    mail["Message-ID"] = f"<{notice.id}@nightingale.invalid>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(lines(notice))
    return mail


@dataclass(frozen=True)
class SmtpNotifier:
    """Speaks TLS at once on port 465, and after STARTTLS on any other; never without."""

    secrets: Secrets
    context: ssl.SSLContext | None = field(default=None, repr=False)
    """Whom TLS trusts; None: whom this machine trusts."""
    tls_port: int = _TLS_AT_ONCE

    def send(self, channel: NotificationIn, notice: Notice) -> None:
        """Send the mail to everybody. Raises NotDeliveredError, also when the server refused one of them."""
        context = self.context or ssl.create_default_context()
        try:
            password = self.secrets.get(channel.secret) if channel.user and channel.secret else None
            with self._connected(channel, context) as server:
                if password is not None:
                    server.login(channel.user, password)
                refused = server.send_message(message(channel, notice))
        except SecretUnavailableError as error:
            raise NotDeliveredError(str(error)) from error
        except (smtplib.SMTPException, OSError) as error:
            # What a server says may repeat what it was sent.
            raise NotDeliveredError(f"the mail server did not take it ({type(error).__name__})") from None
        if refused:
            raise NotDeliveredError(f"the mail server refused {len(refused)} of {len(channel.to)} recipients")

    def _connected(self, channel: NotificationIn, context: ssl.SSLContext) -> smtplib.SMTP:
        host = channel.host or ""
        if channel.port == self.tls_port:
            return smtplib.SMTP_SSL(host, channel.port, timeout=_TIMEOUT_S, context=context)
        server = smtplib.SMTP(host, channel.port, timeout=_TIMEOUT_S)
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server


@dataclass(frozen=True)
class SesNotifier:
    """Sends through Amazon SES. `client` gives a client of sesv2."""

    client: Callable[[], Any]

    def send(self, channel: NotificationIn, notice: Notice) -> None:
        """Send the mail. Raises NotDeliveredError."""
        mail = message(channel, notice)
        try:
            self.client().send_email(
                FromEmailAddress=channel.sender,
                Destination={"ToAddresses": list(channel.to)},
                Content={"Raw": {"Data": mail.as_bytes()}},
            )
        except Exception as error:
            if not is_aws_error(error):
                raise
            raise NotDeliveredError(f"SES did not take it ({code_of(error)})") from error
