"""Homes with a size: file systems of their own, which bound what is in them and lose none of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, wait_until
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher import ext4, loop_device
from nightingale_build.launcher.home import GIB, Home

pytestmark = [pytest.mark.slow, pytest.mark.sandbox, pytest.mark.root, needs_root, needs_sandbox]


def disk_limit(place: LocalPlace) -> dict[str, str | None]:
    return next(limit for limit in place.record().limits if limit["resource"] == "disk")


def kept(place: LocalPlace) -> str:
    return (place.home / "work" / "kept.txt").read_text(encoding="utf-8")


def keep(place: LocalPlace) -> None:
    (place.home / "work").mkdir(parents=True)
    (place.home / "work" / "kept.txt").write_text("kept", encoding="utf-8")


def mounts_of(place: LocalPlace) -> list[str]:
    """Return what this process, and with it the whole machine, sees mounted in the place."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if str(place.folder) in line]


def test_a_home_holds_as_much_as_its_size_says_and_no_more(place: LocalPlace):
    place.wish(fill_mib=1024)
    seen = place.started(disk_gib=1)
    assert "No space left on device" in seen["filled"]
    assert disk_limit(place)["enforced_by"] == "a file system of its own"
    assert place.image_of_home.stat().st_size == GIB
    assert place.image_of_home.stat().st_mode & 0o777 == 0o600
    place.wish(fill_mib=1024)
    assert place.started(disk_gib=2, generation=2)["filled"] == "None"


def test_a_full_home_keeps_nobody_from_starting_and_making_room(place: LocalPlace):
    place.started()
    with (place.home / "all").open("wb") as file, pytest.raises(OSError, match="No space left"):
        os.posix_fallocate(file.fileno(), 0, GIB)
    assert os.statvfs(place.home).f_bavail == 0
    assert (
        place.start(generation=2).returncode == 0
    )  # what runs inside is told by its own writes, see the image's tests
    place.ended()
    (place.home / "all").unlink()
    assert place.started(generation=3)["person"] == "'ada'"


def test_a_new_home_takes_little_room_and_gives_back_what_is_deleted(place: LocalPlace):
    place.started(disk_gib=50)
    assert place.image_of_home.stat().st_blocks * 512 < 32 << 20
    big = place.home / "big"
    big.write_bytes(os.urandom(64 << 20))
    os.sync()
    assert place.image_of_home.stat().st_blocks * 512 > 64 << 20
    big.unlink()
    os.sync()
    wait_until(lambda: place.image_of_home.stat().st_blocks * 512 < 48 << 20)


def test_a_home_and_its_owner_survive_stop_crash_and_resize(place: LocalPlace):
    place.started(owner_uid=23_456)
    keep(place)
    os.chown(place.home / "work", 23_456, 23_456)
    (place.home / "work").chmod(0o750)
    place.stop()
    assert mounts_of(place) == []
    wait_until(lambda: place.loop_devices() == [])
    place.started(owner_uid=23_456, generation=2)
    psutil.Process(place.record().pid).kill()
    place.started(owner_uid=23_456, generation=3)
    place.server().kill()
    place.ended()
    seen = place.started(owner_uid=23_456, generation=4, disk_gib=3)
    assert (seen["uid"], seen["person"]) == (23_456, "'ada'")
    assert kept(place) == "kept"
    work = (place.home / "work").stat()
    assert (work.st_uid, work.st_gid, work.st_mode & 0o777) == (23_456, 23_456, 0o750)
    assert (place.home.stat().st_uid, place.home.stat().st_mode & 0o777) == (23_456, 0o700)
    room = os.statvfs(place.home)
    assert room.f_blocks * room.f_frsize > 2.9 * GIB
    assert (place.home / "starts").read_text(encoding="utf-8") == "xxxx"
    assert not (place.home / "lost+found").exists()


def test_a_home_never_shrinks(place: LocalPlace):
    place.started(disk_gib=2)
    place.started(disk_gib=1, generation=2)
    assert place.image_of_home.stat().st_size == 2 * GIB


def debugfs(image: Path, command: str) -> None:
    subprocess.run(["debugfs", "-w", "-R", command, str(image)], check=True, capture_output=True)


def test_a_damaged_home_is_mended_at_its_start_and_that_is_told(place: LocalPlace):
    """As after a disk that was full while something was being written: a folder's block did not arrive."""
    place.started()
    keep(place)
    (place.home / "begun").mkdir()
    place.look_away()
    place.stop()
    wait_until(lambda: place.loop_devices() == [])
    debugfs(place.image_of_home, "zap_block -f /begun 0")
    debugfs(place.image_of_home, "set_super_value state 2")
    place.started(generation=2)
    assert kept(place) == "kept"
    assert str(disk_limit(place)["why"]).startswith("It was damaged")
    place.started(generation=3)
    assert not str(disk_limit(place)["why"]).startswith("It was damaged")


def test_a_home_is_not_opened_on_a_full_disk_which_would_damage_it(tmp_path: Path):
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(full)], check=True)
    try:
        with pytest.raises(OSError, match="No space left"):
            ext4.require_room(full)
        ext4.require_room(tmp_path)
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_home_that_was_a_plain_folder_moves_into_its_file_system(place: LocalPlace):
    keep(place)
    (place.home / "link").symlink_to("/etc/passwd")
    (place.home / "work" / "kept.txt").chmod(0o640)
    place.started(owner_uid=23_456)
    assert place.image_of_home.exists()
    assert kept(place) == "kept"
    moved = (place.home / "work" / "kept.txt").stat()
    assert (moved.st_mode & 0o777, moved.st_uid) == (0o640, 23_456)
    assert (place.home / "link").readlink() == Path("/etc/passwd")
    assert sorted(path.name for path in place.home_dir.parent.iterdir()) == [INSTANCE_ID, f"{INSTANCE_ID}.ext4"]
    assert list(place.home_dir.iterdir()) == []


def test_a_plain_folder_too_large_to_move_stays_and_the_limit_says_so(place: LocalPlace):
    keep(place)
    with (place.home / "big").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, GIB)
    place.started()
    assert not place.image_of_home.exists()
    assert disk_limit(place)["enforced_by"] is None
    assert "too much to move" in str(disk_limit(place)["why"])
    assert kept(place) == "kept"


def test_a_home_that_cannot_be_mounted_is_refused_and_not_replaced(place: LocalPlace):
    place.started()
    place.stop()
    with place.image_of_home.open("r+b") as file:
        file.write(bytes(1 << 20))
    before = place.image_of_home.read_bytes()[: 2 << 20]
    done = place.start(generation=2)
    refusal = json.loads(done.stderr)
    assert refusal["code"] == ReasonCode.HOME_UNAVAILABLE
    assert str(place.image_of_home) in refusal["next_step"]
    assert place.image_of_home.read_bytes()[: 2 << 20] == before
    wait_until(lambda: place.loop_devices() == [])


def test_a_file_has_one_loop_device_whoever_opens_it(place: LocalPlace):
    place.started()
    place.look_away()
    [one] = place.loop_devices()
    assert (place.home / "starts").exists()  # opened a second time, by a process of its own
    assert place.loop_devices() == [one]
    with pytest.raises(OSError, match="in use"), loop_device.unattached(place.image_of_home, 0.05):
        pass


def test_what_reads_a_home_does_not_keep_it_from_starting_but_from_growing(place: LocalPlace):
    place.started()
    place.stop()
    assert (place.home / "starts").exists()
    assert len(place.loop_devices()) == 1
    told = msgspec.json.encode(place.spec(generation=2)).decode()
    started = subprocess.run(
        place.command("start"), env=place.environment(NIGHTINGALE_LAUNCH=told), check=False, timeout=30
    )
    assert started.returncode == 0
    assert len(place.loop_devices()) == 1


def test_a_killed_launcher_leaves_no_mount_and_no_device(place: LocalPlace):
    place.started()
    assert len(place.loop_devices()) == 1
    place.look_away()
    psutil.Process(place.record().pid).kill()
    wait_until(lambda: place.loop_devices() == [])
    assert mounts_of(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("making", ["new", "carried", "grown"])
def test_a_start_killed_at_any_moment_loses_nothing_and_leaves_nothing(place: LocalPlace, making: str):
    """The moments are spread over the whole of a start; what is not whole then is made anew by the next."""
    generation = 1
    if making != "new":
        keep(place)
    if making == "grown":
        place.started()
        place.stop()
    place.look_away()
    for moment in range(24):
        generation += 1
        told = msgspec.json.encode(place.spec(generation=generation, disk_gib=1 + generation)).decode()
        starting = subprocess.Popen(
            place.command("start"), env=place.environment(NIGHTINGALE_LAUNCH=told), stdin=subprocess.DEVNULL
        )
        time.sleep(0.12 + 0.02 * moment)  # the moment is what this test is about
        starting.kill()
        starting.wait(10)
    place.started(generation=generation + 1, disk_gib=40)
    if making != "new":
        assert kept(place) == "kept"
    assert len(place.loop_devices()) == 1
    assert sorted(path.name for path in place.home_dir.parent.iterdir()) == [INSTANCE_ID, f"{INSTANCE_ID}.ext4"]
    place.stop()
    checked = subprocess.run(["/sbin/e2fsck", "-fn", str(place.image_of_home)], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_what_an_attempt_left_half_made_is_thrown_away(place: LocalPlace):
    """A kill between any two steps, laid out by hand: before the first rename, between both, and after the second."""
    homes = place.home_dir.parent
    keep(place)
    (homes / f".{INSTANCE_ID}.0badf00d.new").write_bytes(b"half a file system")
    place.home_dir.rename(homes / f".{INSTANCE_ID}.carried")
    place.started()
    assert kept(place) == "kept"
    place.stop()
    (homes / f".{INSTANCE_ID}.carried" / "work").mkdir(parents=True)
    place.started(generation=2)
    assert kept(place) == "kept"
    assert sorted(path.name for path in homes.iterdir()) == [INSTANCE_ID, f"{INSTANCE_ID}.ext4"]


def test_a_removed_home_leaves_nothing(place: LocalPlace):
    place.started()
    (place.home_dir.parent / f".{INSTANCE_ID}.0badf00d.new").touch()
    assert place.remove().returncode == 0
    assert list(place.home_dir.parent.iterdir()) == []
    wait_until(lambda: place.loop_devices() == [])


def test_a_folder_without_root_has_no_limit_and_says_why(tmp_path: Path, place: LocalPlace):
    limit = Home(tmp_path / "homes" / INSTANCE_ID).open(place.spec(), None)
    assert limit.enforced_by is None
    assert "root" in limit.why
    assert (tmp_path / "homes" / INSTANCE_ID).is_dir()
