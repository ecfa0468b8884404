"""What a look at an image's files found: recorded once each, and told to those who look at an instance."""

from __future__ import annotations

import msgspec
import pytest

from doubles.platforms import FakePlatform
from nightingale.contract.images import Drift, DriftedFile, ImageCheck
from nightingale.contract.vocabulary import AuditTag
from nightingale.ports.audit_log import PLATFORM_STREAM, AuditLogUnavailableError
from nightingale.services.images import ImageService

FILE = DriftedFile(path="/image/os.py", drift=Drift.CHANGED, expected="ab", seen="cd", expected_from="RECORD")
OTHER = msgspec.structs.replace(FILE, path="/image/re.py")


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


def check(platform: FakePlatform, *drift: DriftedFile, digest: str = "sha256:1") -> ImageCheck:
    return ImageCheck(
        digest=digest,
        checked_at=platform.clock.now(),
        is_full=True,
        files=10,
        bytes_read=100,
        drifted=len(drift),
        drift=drift,
    )


def facts(platform: FakePlatform) -> list[dict[str, str]]:
    sealed = platform.audit.read(PLATFORM_STREAM, 0, 100)
    return [dict(one.event.detail) for one in sealed if one.event.tag == AuditTag.IMAGE_DRIFTED.value]


def test_each_drifted_file_is_recorded_once_with_both_hashes(platform: FakePlatform) -> None:
    images = ImageService(platform.audit, platform.clock)
    first = check(platform, FILE)
    assert images.note("/image/python", first, None) == 1
    assert images.note("/image/python", check(platform, FILE, OTHER), first) == 1
    assert images.note("/image/python", check(platform), first) == 0
    told = facts(platform)
    assert [one["path"] for one in told] == ["/image/os.py", "/image/re.py"]
    assert (told[0]["expected"], told[0]["seen"], told[0]["drift"]) == ("ab", "cd", "changed")
    assert told[0]["digest"] == "sha256:1"


def test_what_changes_again_is_recorded_again(platform: FakePlatform) -> None:
    images = ImageService(platform.audit, platform.clock)
    again = msgspec.structs.replace(FILE, seen="ef")
    assert images.note("i", check(platform, again), check(platform, FILE)) == 1
    assert images.note("i", check(platform, FILE, digest="sha256:2"), check(platform, FILE)) == 1


def test_what_cannot_be_recorded_is_said(platform: FakePlatform) -> None:
    platform.audit.break_down()
    with pytest.raises(AuditLogUnavailableError):
        ImageService(platform.audit, platform.clock).note("i", check(platform, FILE), None)


async def test_an_instance_tells_that_its_image_has_drifted(platform: FakePlatform) -> None:
    instance = await platform.run("scan")
    assert platform.ask("get_instance", "ada", "scan")["image_check"] is None
    platform.machines.image_checks[instance.id] = check(platform, FILE)
    seen = platform.ask("get_instance", "ada", "scan")["image_check"]
    assert (seen["drifted"], seen["is_full"]) == (1, True)
    assert seen["drift"] == [msgspec.to_builtins(FILE)]
    assert platform.ask("list_instances", "ada")["instances"][0]["image_check"] is None
