"""What leaves the platform: by mail over TLS, by signed webhook, to a chat; and what never does."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped] # no types
import msgspec
import pytest
from moto import mock_aws
from moto.backends import get_backend
from moto.core.models import DEFAULT_ACCOUNT_ID

from doubles.clocks import START, FixedClock
from doubles.mail_server import MailServer, certificate, web_server
from nightingale.adapters.aws_clients import LazyClient
from nightingale.adapters.file_secrets import FileSecrets
from nightingale.adapters.mail_notifiers import SesNotifier, SmtpNotifier, message
from nightingale.adapters.webhook_notifier import WebhookNotifier
from nightingale.contract.findings import Severity
from nightingale.contract.schemas import NotificationIn
from nightingale.ports.notifier import NotDeliveredError, Notice, SecretUnavailableError

NOTICE = Notice(
    id="f-0000000001-20261102090000",
    finding="f-0000000001",
    rule="honeypot_file",
    severity=Severity.CRITICAL,
    reason="finding_opened",
    at=START,
    url="https://n.example.org/v1/findings/f-0000000001",
)
SECRET = "a-key-that-nobody-may-see"
MAIL = NotificationIn(
    name="mail", kind="smtp", to=("sec@example.org", "ops@example.org"), sender="n@example.org", host="127.0.0.1"
)


@pytest.fixture
def secrets(tmp_path: Path) -> FileSecrets:
    folder = tmp_path / "notify"
    folder.mkdir(mode=0o700)
    write(folder / "key", SECRET)
    return FileSecrets(folder)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def aws_account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it, in this process."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    with mock_aws():
        yield


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def hook(url: str | None = None, **fields: Any) -> NotificationIn:
    return NotificationIn(name="hook", kind="webhook", url=url, secret="key", **fields)


# --- webhook ----------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_what_may_be_said_and_a_signature_that_its_receiver_can_check(secrets: FileSecrets) -> None:
    with web_server() as (address, sent):
        WebhookNotifier(secrets, FixedClock()).send(hook(f"{address}/n"), NOTICE)
    ((headers, body),) = sent
    assert json.loads(body) == {
        "id": "f-0000000001-20261102090000",
        "finding": "f-0000000001",
        "rule": "honeypot_file",
        "severity": "critical",
        "reason": "finding_opened",
        "at": "2026-11-02T09:00:00Z",
        "url": "https://n.example.org/v1/findings/f-0000000001",
    }
    time, _, signed = headers["X-Nightingale-Signature"].partition(",v1=")
    expected = hmac.new(SECRET.encode(), f"{time.removeprefix('t=')}.".encode() + body, hashlib.sha256).hexdigest()
    assert signed == expected
    assert headers["X-Nightingale-Id"] == NOTICE.id


def test_a_webhook_is_spoken_to_by_tls_and_must_be_trusted(
    secrets: FileSecrets, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = tls
    with web_server(context=server) as (address, sent):
        WebhookNotifier(secrets, FixedClock(), context=client).send(hook(address), NOTICE)
        with pytest.raises(NotDeliveredError, match="SSLCertVerificationError"):
            WebhookNotifier(secrets, FixedClock()).send(hook(address), NOTICE)
    assert len(sent) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 500, 503])
def test_anything_but_a_yes_is_no_delivery_and_no_redirect_is_followed(secrets: FileSecrets, status: int) -> None:
    with (
        web_server() as (elsewhere, stolen),
        web_server(status, location=elsewhere) as (address, sent),
        pytest.raises(NotDeliveredError, match=str(status)),
    ):
        WebhookNotifier(secrets, FixedClock()).send(hook(address), NOTICE)
    assert (len(sent), stolen) == (1, [])


@pytest.mark.parametrize(
    "address",
    ["http://hooks.example.org/x", "ftp://127.0.0.1/x", "https://", "https://me:word@hooks.example.org/", "https://[x"],
)
def test_an_address_that_is_no_https_address_is_never_called_and_never_repeated(
    secrets: FileSecrets, address: str
) -> None:
    write(secrets.folder / "url", address)
    channel = msgspec.structs.replace(hook(), url_secret="url")
    with pytest.raises(NotDeliveredError) as raised:
        WebhookNotifier(secrets, FixedClock()).send(channel, NOTICE)
    assert "hooks" not in str(raised.value)
    assert "word" not in str(raised.value)


def test_a_chat_gets_words_at_an_address_that_is_a_secret(secrets: FileSecrets) -> None:
    with web_server() as (address, sent):
        write(secrets.folder / "chat", f"{address}/services/T0/B0/{SECRET}?x=1")
        channel = NotificationIn(name="chat", kind="slack", url_secret="chat")
        WebhookNotifier(secrets, FixedClock()).send(channel, NOTICE)
    ((_, body),) = sent
    text = json.loads(body)["text"]
    assert text == ("Nightingale: critical finding honeypot_file (new)\n`nightingale findings show f-0000000001`")


def test_a_channel_that_does_not_answer_is_said_without_its_address(
    secrets: FileSecrets, caplog: pytest.LogCaptureFixture
) -> None:
    with web_server() as (address, _):
        pass  # nobody listens there any more
    write(secrets.folder / "gone", f"{address}/services/{SECRET}")
    channel = NotificationIn(name="chat", kind="slack", url_secret="gone")
    caplog.set_level(logging.DEBUG)
    notifier = WebhookNotifier(secrets, FixedClock())
    with pytest.raises(NotDeliveredError) as raised:
        notifier.send(channel, NOTICE)
    assert SECRET not in f"{raised.value} {raised.value.__cause__} {caplog.text} {notifier!r} {channel!r}"
    assert "ConnectionRefusedError" in str(raised.value)


# --- mail -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_at_once", [True, False])
def test_mail_goes_out_over_tls_only_and_says_what_may_be_said(
    secrets: FileSecrets, tls: tuple[ssl.SSLContext, ssl.SSLContext], *, is_at_once: bool
) -> None:
    server, client = tls
    with MailServer(server, is_tls_at_once=is_at_once) as mail:
        channel = msgspec.structs.replace(MAIL, port=mail.port, user="n", secret="key")
        SmtpNotifier(secrets, client, tls_port=mail.port if is_at_once else 465).send(channel, NOTICE)
    assert mail.had_tls
    (text,) = mail.mails
    assert "Subject: Nightingale: critical finding honeypot_file (new)" in text
    assert "nightingale findings show f-0000000001" in text
    assert "Message-ID: <f-0000000001-20261102090000@nightingale.invalid>" in text
    assert len(mail.logins) == 1
    assert SECRET not in text


def test_a_mail_server_that_nobody_trusts_gets_nothing(
    secrets: FileSecrets, tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with MailServer(tls[0], is_tls_at_once=False) as mail:
        channel = msgspec.structs.replace(MAIL, port=mail.port, user="n", secret="key")
        with pytest.raises(NotDeliveredError):
            SmtpNotifier(secrets).send(channel, NOTICE)
    assert (mail.mails, mail.logins) == ([], [])


def test_a_refused_recipient_is_no_delivery(secrets: FileSecrets, tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = tls
    with MailServer(server, is_tls_at_once=False) as mail:
        mail.refuses = {"ops@example.org"}
        channel = msgspec.structs.replace(MAIL, port=mail.port)
        with pytest.raises(NotDeliveredError, match="1 of 2"):
            SmtpNotifier(secrets, client).send(channel, NOTICE)


def test_a_rules_name_puts_no_header_into_a_mail() -> None:
    odd = Notice(**{**NOTICE.__dict__, "rule": "x\r\nBcc: all@example.org"})
    mail = message(MAIL, odd)
    assert mail["Bcc"] is None
    assert "Bcc:" in mail["Subject"]


class Ses:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_email(self, **told: Any) -> None:
        """Keep it."""
        self.sent.append(told)


def test_ses_gets_the_same_mail() -> None:
    ses = Ses()
    SesNotifier(lambda: ses).send(msgspec.structs.replace(MAIL, kind="ses"), NOTICE)
    (told,) = ses.sent
    assert told["Destination"] == {"ToAddresses": ["sec@example.org", "ops@example.org"]}
    assert b"critical finding honeypot_file" in told["Content"]["Raw"]["Data"]


@pytest.mark.slow
def test_ses_itself_takes_the_mail_from_a_sender_that_it_knows_and_from_no_other(aws_account: None) -> None:
    del aws_account
    notifier = SesNotifier(LazyClient("sesv2", region="eu-central-1"))
    channel = msgspec.structs.replace(MAIL, kind="ses")
    with pytest.raises(NotDeliveredError, match="SES did not take it"):
        notifier.send(channel, NOTICE)
    boto3.client("ses", region_name="eu-central-1").verify_email_identity(EmailAddress=MAIL.sender)
    notifier.send(channel, NOTICE)
    (sent,) = get_backend("ses")[DEFAULT_ACCOUNT_ID]["eu-central-1"].sent_messages
    assert sent.source == MAIL.sender
    assert "critical finding honeypot_file" in str(sent.raw_data)


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_without_white_space_and_shown_nowhere(secrets: FileSecrets) -> None:
    write(secrets.folder / "spaced", f"  {SECRET}\n")
    assert secrets.get("spaced") == SECRET
    assert SECRET not in repr(secrets)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_secret_that_others_could_read_is_none(secrets: FileSecrets, mode: int) -> None:
    write(secrets.folder / "open", SECRET, mode)
    with pytest.raises(SecretUnavailableError, match="chmod 600"):
        secrets.get("open")


def test_what_is_no_secrets_file_is_refused_by_name_only(secrets: FileSecrets) -> None:
    (secrets.folder / "link").symlink_to(secrets.folder / "key")
    (secrets.folder / "folder").mkdir(mode=0o700)
    write(secrets.folder / "empty", "\n")
    write(secrets.folder / "two", "a\nb")
    write(secrets.folder / "long", "x" * 9000)
    for name in ("link", "folder", "empty", "two", "long", "missing", "../notify/key", ".key", ""):
        with pytest.raises(SecretUnavailableError):
            secrets.get(name)
