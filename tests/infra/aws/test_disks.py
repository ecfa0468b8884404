"""`nightingale-disks`, which a machine runs at each start: real file systems, in files; `mount` is a fake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "infra" / "packer" / "files" / "nightingale-disks"
PATH = "/usr/sbin:/sbin:/usr/bin:/bin"

needs_tools = pytest.mark.skipif(
    any(shutil.which(tool, path=PATH) is None for tool in ("jq", "mkfs.ext4", "blkid", "cmp")),
    reason="jq, e2fsprogs, util-linux or diffutils is not installed",
)
pytestmark = [needs_tools, pytest.mark.slow]

# They write down how they were called; what they say is mounted is what was mounted.
FAKES = {
    "mount": 'echo "mount $*" >>"$CALLS"; for last; do :; done; echo "$last" >>"$MOUNTED"',
    "mountpoint": 'grep -qxF "$2" "$MOUNTED"',
    "mount-s3": 'echo "mount-s3 $*" >>"$CALLS"',
    "blockdev": 'echo "blockdev $*" >>"$CALLS"',
    "resize2fs": 'echo "resize2fs $*" >>"$CALLS"',
    "chown": 'echo "chown $*" >>"$CALLS"',
    "xfs_growfs": 'echo "xfs_growfs $*" >>"$CALLS"',
}


class Machine:
    """A machine's disks as files, and what its cloud-init wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.mounted = folder / "mounted"
        self.result = folder / "run" / "disks.json"
        self.home = folder / "home-disk"
        self.home_folder = folder / "home"
        self.told: dict[str, Any] = {
            "region": "eu-central-1",
            "owner_uid": 10007,
            "home": {"device": str(self.home), "mount": str(self.home_folder), "is_from_snapshot": False},
            "datasets": [],
        }
        fakes = folder / "bin"
        fakes.mkdir()
        for name, script in FAKES.items():
            (fakes / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (fakes / name).chmod(0o755)
        self.calls.touch()
        self.mounted.touch()

    def start(self) -> subprocess.CompletedProcess[str]:
        """Run the script, as at each start of the machine, and forget what was mounted before."""
        self.calls.write_text("")
        self.mounted.write_text("")
        return self.again()

    def again(self) -> subprocess.CompletedProcess[str]:
        instance = self.folder / "instance.json"
        instance.write_text(json.dumps(self.told), encoding="utf-8")
        environment = {
            "PATH": f"{self.folder / 'bin'}:{PATH}",
            "CALLS": str(self.calls),
            "MOUNTED": str(self.mounted),
            "NIGHTINGALE_DISKS": str(self.result),
            "NIGHTINGALE_DISK_SECONDS": "0",
        }
        return subprocess.run(
            ["/bin/sh", str(SCRIPT), str(instance)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )

    def refusal(self) -> tuple[str, str]:
        """Start and return the code and the words of the refusal."""
        assert self.start().returncode == 78
        said = json.loads(self.result.read_text(encoding="utf-8"))
        assert said["is_ok"] is False
        assert said["next_step"]
        return said["code"], said["words"]

    def dataset(self, name: str, kind: str, source: str) -> None:
        mount = str(self.folder / "data" / name)
        self.told["datasets"].append({"dataset": name, "kind": kind, "source": source, "mount": mount})


def blank(path: Path, mib: int = 32) -> None:
    with path.open("wb") as file:
        file.truncate(mib << 20)


def ext4(path: Path, label: str) -> None:
    blank(path)
    subprocess.run(
        ["mkfs.ext4", "-q", "-F", "-L", label, str(path)], env={"PATH": PATH}, check=True, capture_output=True
    )


def label_of(path: Path) -> str:
    command = ["blkid", "-p", "-o", "value", "-s", "LABEL", str(path)]
    return subprocess.run(command, env={"PATH": PATH}, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_blank_home_is_formatted_mounted_and_given_to_its_owner(machine: Machine):
    blank(machine.home)
    ended = machine.start()
    assert ended.returncode == 0, ended.stderr
    assert json.loads(machine.result.read_text(encoding="utf-8")) == {"is_ok": True}
    assert label_of(machine.home) == "nightingale-home"
    assert machine.calls.read_text(encoding="utf-8").splitlines() == [
        f"mount -t ext4 -o nosuid,nodev,noatime {machine.home} {machine.home_folder}",
        f"resize2fs {machine.home}",
        f"chown 10007:10007 {machine.home_folder}",
    ]
    assert machine.home_folder.stat().st_mode & 0o777 == 0o700


def test_a_home_that_is_there_is_mounted_and_grown_and_never_formatted(machine: Machine):
    ext4(machine.home, "of-ada")
    machine.home_folder.mkdir(mode=0o755)
    assert machine.start().returncode == 0
    assert label_of(machine.home) == "of-ada"
    assert f"resize2fs {machine.home}" in machine.calls.read_text(encoding="utf-8")
    assert "chown" not in machine.calls.read_text(encoding="utf-8")
    assert machine.home_folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("offset", [0, 4096, (16 << 20) - 1])
def test_a_volume_with_anything_on_it_is_no_blank_home(machine: Machine, offset: int):
    blank(machine.home)
    with machine.home.open("r+b") as file:
        file.seek(offset)
        file.write(b"x")
    before = machine.home.read_bytes()
    code, words = machine.refusal()
    assert code == "home_unavailable"
    assert "it was left as it is" in words
    assert machine.home.read_bytes() == before
    assert machine.calls.read_text(encoding="utf-8") == ""


def test_a_blank_volume_made_from_a_snapshot_is_refused(machine: Machine):
    blank(machine.home)
    machine.told["home"]["is_from_snapshot"] = True
    assert machine.refusal()[0] == "home_unavailable"
    assert not any(machine.home.read_bytes())


def test_a_volume_with_partitions_is_refused(machine: Machine):
    blank(machine.home)
    with machine.home.open("r+b") as file:
        # An MBR with one Linux partition.
        file.seek(446)
        file.write(bytes([0, 0, 2, 0, 0x83, 0, 0, 0]) + (1).to_bytes(4, "little") + (1000).to_bytes(4, "little"))
        file.seek(510)
        file.write(b"\x55\xaa")
    assert machine.refusal()[0] == "home_unavailable"
    assert label_of(machine.home) == ""


def test_a_damaged_home_is_left_as_it_is(machine: Machine):
    ext4(machine.home, "of-ada")
    with machine.home.open("r+b") as file:
        file.seek(1024 + 0x3A)
        file.write((2).to_bytes(2, "little"))  # the superblock says that there are errors
        file.seek(1024 * 9)
        file.write(os.urandom(64) * 64)
    code, words = machine.refusal()
    assert code == "home_unavailable"
    assert words == "The home's file system is damaged; it was left as it is"
    assert "mount" not in machine.calls.read_text(encoding="utf-8")


def test_a_home_that_is_not_attached_is_said_in_words(machine: Machine):
    code, words = machine.refusal()
    assert (code, words) == ("home_unavailable", "The home's volume was not attached within 0 s")


def test_datasets_are_mounted_read_only_each_in_its_way(machine: Machine):
    ext4(machine.home, "of-ada")
    disk = machine.folder / "dataset-disk"
    ext4(disk, "ct")
    machine.dataset("ct", "ebs", str(disk))
    machine.dataset("eeg", "efs", "fs-0123456789abcdef0:/eeg")
    machine.dataset("mr", "s3", "open-mr/v1")
    machine.dataset("whole", "s3", "open-whole")
    ended = machine.start()
    assert ended.returncode == 0, ended.stderr
    data = machine.folder / "data"
    nfs = "ro,nosuid,nodev,noexec,nfsvers=4.1,rsize=1048576,hard,timeo=600,retrans=2,noresvport"
    assert machine.calls.read_text(encoding="utf-8").splitlines()[2:] == [
        f"blockdev --setro {disk}",
        f"mount -t ext4 -o ro,noload,nosuid,nodev,noexec {disk} {data / 'ct'}",
        f"mount -t nfs4 -o {nfs} fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com:/eeg {data / 'eeg'}",
        f"mount-s3 --read-only --allow-other --region eu-central-1 --prefix v1/ open-mr {data / 'mr'}",
        f"mount-s3 --read-only --allow-other --region eu-central-1 open-whole {data / 'whole'}",
    ]


def test_a_dataset_on_a_disk_in_azure_is_mounted_as_a_volume_is(machine: Machine):
    ext4(machine.home, "of-ada")
    disk = machine.folder / "dataset-disk"
    ext4(disk, "ct")
    machine.dataset("ct", "disk", str(disk))
    ended = machine.start()
    assert ended.returncode == 0, ended.stderr
    assert machine.calls.read_text(encoding="utf-8").splitlines()[2:] == [
        f"blockdev --setro {disk}",
        f"mount -t ext4 -o ro,noload,nosuid,nodev,noexec {disk} {machine.folder / 'data' / 'ct'}",
    ]


def test_a_dataset_that_cannot_be_mounted_is_named(machine: Machine):
    ext4(machine.home, "of-ada")
    disk = machine.folder / "dataset-disk"
    blank(disk)
    machine.dataset("ct", "ebs", str(disk))
    assert machine.refusal() == ("dataset_unavailable", "Dataset ct could not be mounted from ebs")
    assert not any(disk.read_bytes())


def test_a_dataset_in_s3_that_may_not_be_read_names_what_must(machine: Machine):
    ext4(machine.home, "of-ada")
    machine.dataset("mr", "s3", "open-mr/v1")
    (machine.folder / "bin" / "mount-s3").write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    assert machine.refusal() == ("dataset_unavailable", "Dataset mr could not be mounted from s3:open-mr/v1")
    assert "dataset_buckets" in json.loads(machine.result.read_text(encoding="utf-8"))["next_step"]


def test_an_image_that_cannot_mount_s3_says_so(machine: Machine):
    ext4(machine.home, "of-ada")
    machine.dataset("mr", "s3", "open-mr/v1")
    (machine.folder / "bin" / "mount-s3").unlink()
    code, words = machine.refusal()
    assert (code, "no Mountpoint for Amazon S3" in words) == ("dataset_unavailable", True)
    assert "mount-s3.deb" in json.loads(machine.result.read_text(encoding="utf-8"))["next_step"]


def test_what_is_mounted_already_is_left_alone(machine: Machine):
    ext4(machine.home, "of-ada")
    assert machine.start().returncode == 0
    machine.calls.write_text("")
    assert machine.again().returncode == 0
    assert machine.calls.read_text(encoding="utf-8") == ""


def test_a_result_of_an_earlier_start_does_not_stand_for_this_one(machine: Machine):
    ext4(machine.home, "of-ada")
    assert machine.start().returncode == 0
    machine.home.unlink()
    assert machine.refusal()[0] == "home_unavailable"
