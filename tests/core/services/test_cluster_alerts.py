"""Findings and notifications in the cluster file: kept, exported again, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from doubles.platforms import FakePlatform, team_cluster
from nightingale.contract.schemas import CloudLogIn, FindingsIn, NotificationIn

HOOK: dict[str, Any] = {"name": "hook", "kind": "webhook", "url": "https://h.example.org/n", "secret": "key"}
MAIL: dict[str, Any] = {"name": "mail", "kind": "smtp", "to": ("a@example.org",), "sender": "n@example.org"}


def mistakes(*channels: dict[str, Any], logs: tuple[CloudLogIn, ...] = ()) -> dict[str, str]:
    cluster = team_cluster(
        notifications=tuple(NotificationIn(**one) for one in channels), findings=FindingsIn(logs=logs)
    )
    platform = FakePlatform()
    answer = platform.handle("plan_cluster", "hedy", None, {"cluster": msgspec.to_builtins(cluster)})
    details = msgspec.json.decode(answer.body).get("details", [])
    return {one["path"].partition(".")[2]: one["message"] for one in details}


def test_what_the_file_says_is_exported_again_and_changes_nothing() -> None:
    cluster = team_cluster(
        findings=FindingsIn(max_auto_quarantines_per_hour=2, automatic=("revoke", "quarantine")),
        notifications=(NotificationIn(**HOOK), NotificationIn(**MAIL, host="mail.example.org")),
    )
    platform = FakePlatform(cluster=cluster)
    exported = platform.ask("get_cluster", "hedy")["cluster"]
    assert exported["findings"] == {"max_auto_quarantines_per_hour": 2, "automatic": ["quarantine", "revoke"]}
    assert [one["name"] for one in exported["notifications"]] == ["hook", "mail"]
    assert platform.ask("plan_cluster", "hedy", None, {"cluster": exported})["changes"] == []


def test_each_line_of_the_policy_is_a_change_of_its_own() -> None:
    platform = FakePlatform()
    exported = platform.ask("get_cluster", "hedy")["cluster"]
    exported["findings"] = {"max_auto_quarantines_per_hour": 1}
    changes = platform.ask("plan_cluster", "hedy", None, {"cluster": exported})["changes"]
    assert {one["key"] for one in changes} == {"findings.max_auto_quarantines_per_hour", "findings.automatic"}


def test_good_channels_have_no_mistakes() -> None:
    chat = {"name": "chat", "kind": "slack", "url_secret": "chat-url"}
    here = HOOK | {"name": "here", "url": "http://127.0.0.1:9000/n"}
    ses = MAIL | {"name": "ses", "kind": "ses"}
    assert (
        mistakes(HOOK, here, chat, ses, MAIL | {"host": "mail.example.org", "user": "n", "secret": "mail-word"}) == {}
    )


@pytest.mark.parametrize(
    ("channel", "path"),
    [
        (MAIL, "host"),
        (MAIL | {"host": "m.example.org", "user": "n"}, "secret"),
        (MAIL | {"host": "m.example.org", "url": "https://h.example.org"}, "url"),
        (HOOK | {"url": None}, "url"),
        (HOOK | {"url_secret": "also"}, "url"),
        (HOOK | {"secret": None}, "secret"),
        (HOOK | {"url": "http://h.example.org/n"}, "url"),
        (HOOK | {"to": ("a@example.org",)}, "to"),
        ({"name": "chat", "kind": "slack", "url": "https://h.example.org/T0/secret"}, "url"),
        ({"name": "chat", "kind": "slack"}, "url_secret"),
    ],
)
def test_what_is_wrong_with_a_channel_is_said_where_it_stands(channel: dict[str, Any], path: str) -> None:
    assert path in mistakes(channel)


def test_logs_to_watch_are_exported_again_and_lie_where_a_scan_can_find_them() -> None:
    logs = tuple(
        CloudLogIn(source="cloudtrail", folder=one) for one in ("/var/log/trail", "s3://our-trails/AWSLogs", "s3://abc")
    )
    assert mistakes(logs=logs) == {}
    platform = FakePlatform(cluster=team_cluster(findings=FindingsIn(logs=logs)))
    exported = platform.ask("get_cluster", "hedy")["cluster"]
    assert [one["folder"] for one in exported["findings"]["logs"]] == [one.folder for one in logs]
    assert platform.ask("plan_cluster", "hedy", None, {"cluster": exported})["changes"] == []


@pytest.mark.parametrize(
    "folder", ["trail", "../trail", "/var/../etc", "s3://", "s3://UPPER/x", "https://x.example.org"]
)
def test_a_log_that_no_scan_could_find_is_a_mistake(folder: str) -> None:
    assert mistakes(logs=(CloudLogIn(source="cloudtrail", folder=folder),)).keys() == {"logs[0].folder"}


def test_a_log_that_is_named_twice_is_a_mistake() -> None:
    one = CloudLogIn(source="cloudtrail", folder="/var/log/trail")
    found = mistakes(logs=(one, msgspec.structs.replace(one, folder="/var/log/trail/")))
    assert "findings.logs[0]" in found["logs[1]"]


def test_two_channels_of_one_name_are_a_mistake() -> None:
    assert "notifications[0]" in mistakes(HOOK, HOOK)["name"]
