"""A machine proves who it is over real connections, waits where waiting helps, and says why where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from doubles.clocks import START
from doubles.machine_proofs import MACHINE, OTHER_MACHINE, start_of
from doubles.platforms import given
from doubles.sts import of_machine
from infra.boot.cloud import Cloud, open_cloud, told_to, write_told
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.boot.api import Answer, Api, ApiSilentError
from nightingale_build.boot.cloud import MetadataError
from nightingale_build.boot.identity import PATIENCE_S, Prover
from nightingale_build.boot.metadata import Metadata
from nightingale_build.boot.told import read_told, require_disks
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.wall_time import now

pytestmark = pytest.mark.slow


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with open_cloud() as opened:
        yield opened


class Rests:
    """Time that passes only while someone rests; `then` is done at the first rest."""

    def __init__(self, then: object = None) -> None:
        self.rested: list[float] = []
        self._then = then

    def rest(self, seconds: float) -> None:
        self.rested.append(seconds)
        if callable(self._then) and len(self.rested) == 1:
            self._then()

    def monotonic(self) -> float:
        return sum(self.rested)


def prover(cloud: Cloud, rests: Rests | None = None, skew_s: float = 0.0) -> Prover:
    rests = rests or Rests()
    shift = timedelta(seconds=skew_s)
    return Prover(cloud.api, Metadata(cloud.metadata.url), lambda: now() + shift, rests.rest, rests.monotonic)


def test_the_machine_of_the_build_is_told_its_start(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    machine = prover(cloud).become(told_to(tmp_path, instance_id, cloud.api.url), start_of(instance_id))
    assert (machine.name, machine.owner, machine.generation) == ("scan", "grace", 1)
    assert given(cloud.start_of(instance_id)).machine_id == MACHINE
    assert ("PUT", "/latest/api/token") in cloud.metadata.asked


def test_while_its_build_goes_on_the_machine_waits(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    launched = cloud.platform.launch()

    def end() -> None:
        cloud.built(given(launched.build_id))
        cloud.look()

    rests = Rests(then=end)
    machine = prover(cloud, rests).become(told_to(tmp_path, launched.id, cloud.api.url), start_of(launched.id))
    assert (machine.generation, rests.rested) == (1, [1.0])
    assert "has not ended" in capsys.readouterr().err


def test_another_machine_is_refused_at_once_and_says_why(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch(machine=OTHER_MACHINE)
    rests = Rests()
    with pytest.raises(RefusalError, match="is not the machine") as raised:
        prover(cloud, rests).become(told_to(tmp_path, instance_id, cloud.api.url), start_of(instance_id))
    assert raised.value.code is ReasonCode.BOOT_FAILED
    assert rests.rested == []


def test_a_clock_that_is_off_is_named_with_its_seconds(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    told = told_to(tmp_path, instance_id, cloud.api.url)
    rests = Rests()
    with pytest.raises(
        RefusalError, match=r"clock skew: this machine's clock is \d+ s behind the platform's"
    ) as raised:
        prover(cloud, rests, skew_s=-4000).become(told, start_of(instance_id))
    assert "clock skew: the machine's clock" in str(raised.value)
    assert len(rests.rested) == 2  # it may have been set meanwhile
    assert cloud.sts.asked == []


def test_a_platform_that_is_away_is_waited_for_and_not_for_ever(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    told = told_to(tmp_path, instance_id, cloud.api.url)
    away = Api("http://127.0.0.1:9")
    rests = Rests()
    with pytest.raises(RefusalError, match="does not answer"):
        Prover(away, Metadata(cloud.metadata.url), now, rests.rest, rests.monotonic).become(told, start_of(instance_id))
    assert rests.rested[:5] == [1.0, 2.0, 4.0, 8.0, 15.0]
    assert PATIENCE_S - 15 <= sum(rests.rested) <= PATIENCE_S


def test_an_answer_that_is_not_the_platforms_is_waited_out(cloud: Cloud, tmp_path: Path) -> None:
    class Strange(Api):
        """A page of somebody's in the way, once."""

        has_shown = False

        def ask(self, method: str, path: str, body: bytes | None = None, token: str = "") -> Answer:
            if not self.has_shown:
                self.has_shown = True
                return Answer(200, b"<html>please log in</html>")
            return super().ask(method, path, body, token)

    instance_id = cloud.launch()
    rests = Rests()
    api = Strange(cloud.api.url)
    machine = Prover(api, Metadata(cloud.metadata.url), now, rests.rest, rests.monotonic).become(
        told_to(tmp_path, instance_id, cloud.api.url), start_of(instance_id)
    )
    assert (machine.generation, rests.rested) == (1, [1.0])


def test_a_metadata_service_that_is_away_is_waited_for(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    cloud.metadata.is_down = True

    def mend() -> None:
        cloud.metadata.is_down = False

    rests = Rests(then=mend)
    machine = prover(cloud, rests).become(told_to(tmp_path, instance_id, cloud.api.url), start_of(instance_id))
    assert (machine.generation, len(rests.rested)) == (1, 1)


def test_credentials_of_a_person_make_no_machine(cloud: Cloud, tmp_path: Path) -> None:
    instance_id = cloud.launch()
    cloud.sts.sessions[0] = of_machine("grace")
    with pytest.raises(RefusalError, match="another kind of identity"):
        prover(cloud).become(told_to(tmp_path, instance_id, cloud.api.url), start_of(instance_id))
    assert cloud.start_of(instance_id) is None


# --- the metadata service ---------------------------------------------------------------------------------------------


def test_the_metadata_services_token_is_asked_for_again_when_it_was_forgotten(cloud: Cloud) -> None:
    asked = Metadata(cloud.metadata.url)
    assert asked.credentials().access_key == cloud.sts.sessions[0].access_key
    cloud.metadata.forget_tokens()
    assert asked.credentials().access_key == cloud.sts.sessions[0].access_key
    assert cloud.metadata.asked.count(("PUT", "/latest/api/token")) == 2


def test_an_interruption_is_read_once_it_is_announced(cloud: Cloud) -> None:
    asked = Metadata(cloud.metadata.url)
    assert asked.interruption() is None
    cloud.metadata.interrupt("2026-11-02T09:00:00Z")
    assert asked.interruption() == START
    cloud.metadata.interrupt("soon")
    with pytest.raises(MetadataError, match="cannot be read"):
        asked.interruption()


@pytest.mark.parametrize("role", ["", "../../user-data", "a b"])
def test_a_role_that_is_none_leads_nowhere(cloud: Cloud, role: str) -> None:
    cloud.metadata.answers["/latest/meta-data/iam/security-credentials/"] = role
    with pytest.raises(MetadataError, match="no instance profile"):
        Metadata(cloud.metadata.url).credentials()


# --- what the machine is told -----------------------------------------------------------------------------------------


def test_what_cloud_init_wrote_is_read_strictly(tmp_path: Path) -> None:
    good = write_told(tmp_path, "i-k3m9x0q2ab", "https://api.example.org/api")
    assert read_told(good).home.mount == str(tmp_path / "home")
    told: dict[str, Any] = {"instance_id": "i-k3m9x0q2ab", "api_url": "https://a.b/c"}
    wrongs: list[dict[str, Any]] = [
        {"format": 2},
        {"secret": "x"},
        {"instance_id": "../x"},
        {"owner": "Root!"},
        {"port": 70_000},
    ]
    for wrong in wrongs:
        with pytest.raises(RefusalError, match="does not say which instance"):
            read_told(write_told(tmp_path, **{**told, **wrong}))
    with pytest.raises(RefusalError):
        read_told(tmp_path / "nothing.json")


def test_disks_that_were_not_mounted_are_told_in_the_words_of_who_mounts_them(tmp_path: Path) -> None:
    path = tmp_path / "disks.json"
    with pytest.raises(RefusalError, match="nothing says why"):
        require_disks(path)
    told = {"is_ok": False, "code": "dataset_unavailable", "words": "no ct", "next_step": "ask"}
    path.write_bytes(msgspec.json.encode(told))
    with pytest.raises(RefusalError, match="no ct") as raised:
        require_disks(path)
    assert raised.value.code is ReasonCode.DATASET_UNAVAILABLE
    path.write_bytes(b'{"is_ok":true}')
    require_disks(path)


def test_no_token_is_sent_where_anyone_on_the_network_could_read_it() -> None:
    with pytest.raises(ValueError, match="not https"):
        Api("http://api.example.org")
    with pytest.raises(ApiSilentError):
        Api("http://127.0.0.1:9").ask("GET", "/health")
