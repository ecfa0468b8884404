"""A machine in Azure proves who it is by a token and hears that it is evicted; which cloud it is in it was told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from doubles.azure_metadata import EVENTS, TOKENS, FakeAzureMetadata
from doubles.clocks import START
from doubles.machine_proofs import MACHINE, start_of
from doubles.platforms import given
from doubles.sts_web_identity import AUDIENCE, OTHER_PRINCIPAL, PRINCIPAL
from infra.boot.cloud import Cloud, in_azure, open_azure, told_to, write_told
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.__main__ import cloud_of
from nightingale_build.boot.azure_metadata import AzureMetadata
from nightingale_build.boot.cloud import MetadataError
from nightingale_build.boot.identity import Prover
from nightingale_build.boot.metadata import Metadata
from nightingale_build.boot.told import Told, read_told
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now

pytestmark = pytest.mark.slow

ASKED: dict[str, Any] = {"region": "westeurope", "at": START, "server": "s", "nonce": "n", "start": "d"}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with open_azure() as opened:
        yield opened


@pytest.fixture
def metadata(cloud: Cloud) -> FakeAzureMetadata:
    assert isinstance(cloud.metadata, FakeAzureMetadata)
    return cloud.metadata


def told(cloud: Cloud, folder: Path, instance_id: str) -> Told:
    return told_to(folder, instance_id, cloud.api.url, **in_azure)


def asking(cloud: Cloud) -> AzureMetadata:
    return AzureMetadata(AUDIENCE, cloud.metadata.url, now=lambda: START)


def become(cloud: Cloud, told: Told, rested: list[float] | None = None, number: int = 1) -> int:
    """Let the machine become what it was told; return which start it makes."""
    rested = [] if rested is None else rested
    prover = Prover(cloud.api, cloud_of(told, cloud.metadata.url), now, rested.append, lambda: sum(rested))
    return prover.become(told, start_of(told.instance_id, number)).generation


# --- who it is --------------------------------------------------------------------------------------------------------


def test_the_machine_of_the_build_is_told_its_start(cloud: Cloud, metadata: FakeAzureMetadata, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    assert become(cloud, told(cloud, tmp_path, instance_id)) == 1
    assert given(cloud.start_of(instance_id)).machine_id == MACHINE
    assert metadata.asked == [("GET", f"{TOKENS}?api-version=2018-02-01&resource={quote(AUDIENCE, safe='')}")]


def test_a_machine_with_another_identity_is_refused_at_once(
    cloud: Cloud, metadata: FakeAzureMetadata, tmp_path: Path
) -> None:
    instance_id = cloud.launch()
    metadata.principal = OTHER_PRINCIPAL
    rested: list[float] = []
    with pytest.raises(RefusalError, match="is not the machine") as raised:
        become(cloud, told(cloud, tmp_path, instance_id), rested)
    assert (raised.value.code, rested) == (ReasonCode.BOOT_FAILED, [])


def test_a_token_that_the_platform_does_not_take_is_tried_thrice(
    cloud: Cloud, metadata: FakeAzureMetadata, tmp_path: Path
) -> None:
    instance_id = cloud.launch()
    metadata.token = f"{'a' * 20}.{'b' * 40}.{'c' * 40}"
    rested: list[float] = []
    with pytest.raises(RefusalError, match="InvalidIdentityToken") as raised:
        become(cloud, told(cloud, tmp_path, instance_id), rested)
    assert len(rested) == 2
    assert metadata.token not in str(raised.value)


def test_an_identity_that_azure_does_not_know_yet_is_waited_for(
    cloud: Cloud, metadata: FakeAzureMetadata, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance_id = cloud.launch()
    metadata.principal = None
    rested: list[float] = []

    def rest(seconds: float) -> None:
        rested.append(seconds)
        metadata.principal = PRINCIPAL

    asked = told(cloud, tmp_path, instance_id)
    prover = Prover(cloud.api, cloud_of(asked, cloud.metadata.url), now, rest, lambda: sum(rested))
    assert prover.become(asked, start_of(instance_id)).generation == 1
    assert rested == [1.0]
    assert f"not yet: the metadata service gives no token for {AUDIENCE}: it answered 400" in capsys.readouterr().err


def test_nothing_of_a_token_is_written_down(
    cloud: Cloud, metadata: FakeAzureMetadata, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    instance_id = cloud.launch()
    become(cloud, told(cloud, tmp_path, instance_id))
    with pytest.raises(RefusalError):
        become(cloud, told(cloud, tmp_path, instance_id), number=2)
    shown = capsys.readouterr()
    events = repr([*cloud.platform.audit.events(instance_id), *cloud.platform.audit.events("platform")])
    assert metadata.token not in shown.err + shown.out + events
    assert "was made already" in events


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, "{}"), "something else than a token"),
        ((200, "<html>"), "something else than a token"),
        ((200, '{"access_token": "no token"}'), "something else than a token"),
        ((200, '{"access_token": 7}'), "something else than a token"),
        ((302, ""), "it answered 302$"),
        ((410, "[]"), "it answered 410$"),
        ((400, '{"error": "invalid_resource"}'), r"it answered 400 \(invalid_resource\)$"),
        ((400, '{"error": "a\\nline"}'), "it answered 400$"),
        ((429, ""), "it answered 429$"),
    ],
)
def test_an_answer_without_a_token_says_so(
    cloud: Cloud, metadata: FakeAzureMetadata, answer: tuple[int, str], words: str
) -> None:
    metadata.answer = answer
    with pytest.raises(MetadataError, match=words):
        asking(cloud).proof(**ASKED)


def test_a_service_that_is_away_says_so() -> None:
    away = AzureMetadata(AUDIENCE, "http://127.0.0.1:9")
    for ask in (lambda: away.proof(**ASKED), away.interruption):
        with pytest.raises(MetadataError, match="does not answer"):
            ask()


# --- evictions --------------------------------------------------------------------------------------------------------


def test_an_eviction_is_read_once_it_is_announced_and_other_events_are_none(
    cloud: Cloud, metadata: FakeAzureMetadata
) -> None:
    asked = asking(cloud)
    assert asked.interruption() is None
    for kind in ("Freeze", "Reboot", "Redeploy", "Terminate"):
        metadata.announce(kind, "Mon, 02 Nov 2026 08:00:00 GMT")
    assert asked.interruption() is None
    metadata.interrupt("2026-11-02T09:05:00Z")
    metadata.interrupt("2026-11-02T09:00:30Z")
    assert asked.interruption() == datetime.fromisoformat("2026-11-02T09:00:30Z")
    assert set(metadata.asked) == {("GET", f"{EVENTS}?api-version=2020-07-01")}


def test_an_eviction_that_has_begun_is_now(cloud: Cloud, metadata: FakeAzureMetadata) -> None:
    metadata.announce("Preempt", "", "Started")
    assert asking(cloud).interruption() == START


@pytest.mark.parametrize(
    "answer",
    [
        (404, ""),
        (500, ""),
        (200, "<html>"),
        (200, '{"Events": null}'),
        (200, '{"Events": [{"EventType": "Preempt", "NotBefore": "soon"}]}'),
    ],
)
def test_what_is_planned_and_cannot_be_read_is_no_eviction(
    cloud: Cloud, metadata: FakeAzureMetadata, answer: tuple[int, str]
) -> None:
    metadata.answer = answer
    with pytest.raises(MetadataError):
        asking(cloud).interruption()


def test_it_is_asked_often_enough_for_thirty_seconds_notice() -> None:
    assert timedelta(seconds=AzureMetadata.every_s) == timedelta(seconds=1)
    assert timedelta(seconds=Metadata.every_s) == timedelta(seconds=5)


# --- which cloud ------------------------------------------------------------------------------------------------------


def test_the_cloud_is_the_one_that_it_was_told(cloud: Cloud, tmp_path: Path) -> None:
    def chosen(**changes: Any) -> object:
        return cloud_of(told_to(tmp_path, "i-k3m9x0q2ab", "https://api.example.org", **changes), cloud.metadata.url)

    assert isinstance(chosen(), Metadata)
    assert isinstance(chosen(**in_azure), AzureMetadata)
    for wrong, words in (
        ({"place": "gcp"}, "'gcp', where this image proves nothing"),
        ({**in_azure, "audience": ""}, "'azure', and not whom its tokens are for"),
    ):
        with pytest.raises(RefusalError, match=words):
            chosen(**wrong)
    assert cloud.metadata.asked == []  # nothing is tried out


@pytest.mark.parametrize("audience", ["https://management.azure.com/", "api://a b", "api://a&client_id=1", "api://"])
def test_an_audience_that_is_none_is_refused(tmp_path: Path, audience: str) -> None:
    path = write_told(tmp_path, "i-k3m9x0q2ab", "https://api.example.org", **{**in_azure, "audience": audience})
    with pytest.raises(RefusalError, match="does not say which instance"):
        read_told(path)
