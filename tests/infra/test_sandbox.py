"""What a server can reach from inside, and what it can not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, open_local_place, wait_until
from nightingale.contract.build import LaunchMount
from nightingale.contract.vocabulary import ReasonCode
from nightingale_build.launcher.commands import choose_sandbox
from nightingale_build.launcher.folders import FIRST_DERIVED_UID, InstanceFolders, jupyter_uid
from nightingale_build.launcher.refusal import RefusalError
from nightingale_build.launcher.sandbox import (
    bubblewrap_command,
    environment_folders,
    is_remembered,
    probe_sandbox,
    remember,
)


def mounted(place: LocalPlace) -> LaunchMount:
    source = place.data_dir / "datasets" / "ct" / "1"
    source.mkdir(parents=True)
    (source / "slice.dcm").write_text("pixels", encoding="utf-8")
    return LaunchMount(dataset="ct", version="1", tier=0, source=str(source))


@pytest.mark.sandbox
@needs_sandbox
def test_the_network_is_cut(place: LocalPlace):
    seen = place.started()
    assert seen["interfaces"] == ["lo"]
    assert "unreachable" in seen["network"]


@pytest.mark.sandbox
@needs_sandbox
def test_a_dataset_is_there_and_read_only(place: LocalPlace):
    mount = mounted(place)
    seen = place.started(datasets=(mount,))
    assert seen["datasets"] == {"ct": ["slice.dcm"]}
    [written] = seen["dataset_write"]
    assert "Read-only" in written or "Permission" in written
    assert [path.name for path in Path(mount.source).iterdir()] == ["slice.dcm"]


@pytest.mark.sandbox
@needs_sandbox
def test_only_home_run_folder_and_temporary_folders_can_be_written(place: LocalPlace):
    seen = place.started()
    assert seen["root_write"].startswith(("OSError", "PermissionError"))
    assert "Error" in seen["token_write"]
    assert (seen["tmp_write"], seen["shm_write"]) == ("1", "1")
    assert (seen["cwd"], seen["person"]) == ("/home/ada", "'ada'")


@pytest.mark.sandbox
@needs_sandbox
def test_neither_the_data_folder_nor_other_instances_nor_other_processes_are_seen(place: LocalPlace):
    other = place.data_dir / "instances" / "i-other00000"
    other.mkdir(parents=True)
    place.wish(paths=[str(place.data_dir), str(other), str(place.data_dir / "homes"), "/home", "/proc/1/root/root"])
    seen = place.started()
    shown = seen["exists"]
    for hidden in (place.data_dir, other, place.data_dir / "homes"):
        assert shown[str(hidden)].startswith("FileNotFoundError")
    assert shown["/home"] == "['ada']"
    assert max(seen["processes"]) < 10
    assert os.getpid() not in seen["processes"]


@pytest.mark.sandbox
@needs_sandbox
def test_a_data_folder_inside_what_is_shown_is_covered(place: LocalPlace):
    """An interpreter whose environment contains the platform's data (someone chose so) shows an empty folder."""
    inside = place.folder / "image" / "nightingale"
    folders = InstanceFolders(inside / "instances" / INSTANCE_ID)
    spec = place.spec(instance_dir=str(folders.root), home_dir=str(inside / "homes" / INSTANCE_ID))
    command = bubblewrap_command(spec, folders, None, 9, {})
    at = command.index(str(inside))
    assert command[at - 1] == "--tmpfs"
    assert at > command.index(str(place.folder / "image"))


@pytest.mark.sandbox
@pytest.mark.root
@needs_root
@needs_sandbox
def test_as_root_the_server_has_the_owners_uid_and_no_capability(place: LocalPlace):
    seen = place.started(owner_uid=23_456)
    assert seen["uid"] == 23_456
    assert seen["status"]["Uid"].split() == ["23456"] * 4
    assert {int(seen["status"][name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
    assert seen["status"]["NoNewPrivs"] == "1"
    assert place.server().uids().real == 23_456
    assert place.home.stat().st_uid == 23_456
    assert place.instance_dir.stat().st_uid == 0


@pytest.mark.sandbox
@pytest.mark.root
@needs_root
@needs_sandbox
def test_as_root_an_owner_without_a_uid_gets_a_stable_one_and_never_0(place: LocalPlace):
    derived = jupyter_uid(place.spec())
    assert derived is not None
    assert derived >= FIRST_DERIVED_UID
    assert derived == jupyter_uid(place.spec(owner_uid=0))
    assert derived != jupyter_uid(place.spec(owner="grace"))
    assert place.started(owner_uid=0)["uid"] == derived


@pytest.mark.sandbox
@pytest.mark.root
@needs_root
@needs_sandbox
def test_a_home_of_another_profile_is_handed_to_its_owner(place: LocalPlace):
    place.home.mkdir(parents=True)
    (place.home / "notes").touch()
    place.started(owner_uid=23_456)
    assert (place.home / "notes").stat().st_uid == 23_456


SYSTEM_PYTHON = "/usr/bin/python3"


def _is_same_python() -> bool:
    """Return whether an ordinary user could run our packages with the system's interpreter."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    asked = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() == str(sys.version_info[:2])


@pytest.mark.sandbox
@pytest.mark.root
@needs_root
@needs_sandbox
@pytest.mark.skipif(not _is_same_python(), reason="no interpreter that an ordinary user may run")
def test_an_ordinary_users_server_keeps_that_user_and_nothing_more(place: LocalPlace):
    """The `user` profile, played by root through setpriv."""
    with tempfile.TemporaryDirectory(prefix="ng-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        shutil.copytree(Path(place.image).parent.parent, folder / "image", symlinks=True)
        (folder / "image" / "bin" / "python").unlink()
        (folder / "image" / "bin" / "python").symlink_to(SYSTEM_PYTHON)
        (folder / "image" / "pyvenv.cfg").write_text("home = /usr/bin\n", encoding="utf-8")
        packages = folder / "image" / f"lib/python3.{sys.version_info.minor}/site-packages"
        ours = [path for path in sys.path if path.endswith(("site-packages", "/src"))]
        (packages / "ours.pth").write_text("\n".join(ours), encoding="utf-8")
        as_user = ("setpriv", "--reuid=23457", "--regid=23457", "--clear-groups", "--")
        os.chown(folder, 23_457, 23_457)
        with open_local_place(str(folder / "image" / "bin" / "python"), as_user) as users:
            users.image = users.python
            for path in (users.folder, users.data_dir):
                os.chown(path, 23_457, 23_457)
            seen = users.started(owner_uid=23_456, container="localhost/nightingale-notebook:cpu")
            assert seen["uid"] == 23_457
            container = seen["limits"][-1]
            assert (users.record().sandbox, container["enforced_by"]) == ("bubblewrap", None)
            assert "as root" in container["why"]
            assert {int(seen["status"][name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
            assert seen["interfaces"] == ["lo"]
            memory = next(limit for limit in seen["limits"] if limit["resource"] == "memory")
            assert memory["enforced_by"] == "RLIMIT_DATA"
            assert seen["data_limit"] == 512 * 1024 * 1024
            assert users.stop().returncode == 0
            assert users.ended().is_asked
            # Open data does without a sandbox, where none works: bwrap is hidden by an empty PATH of our own.
            tools = folder / "tools"
            tools.mkdir()
            for name in ("rm", "setpriv", "chown"):
                (tools / name).symlink_to(shutil.which(name) or name)
            users.environment = lambda **told: {"PATH": str(tools), "HOME": str(folder), **told}  # type: ignore[method-assign] # another PATH for the rest of this test
            users.prefix = (str(tools / "setpriv"), *as_user[1:])
            refused = users.start(tier=1, generation=2)
            assert json.loads(refused.stderr)["code"] == ReasonCode.SANDBOX_UNAVAILABLE
            mount = mounted(users)
            seen = users.started(generation=3, datasets=(mount,))
            assert users.record().sandbox == "none"
            assert seen["datasets"] == {"ct": ["slice.dcm"]}
            users.server().kill()
            assert users.ended().code is ReasonCode.JUPYTER_KILLED
            wait_until(lambda: users.processes() == [])  # its launcher too, which runs by the same interpreter


@pytest.mark.root
@needs_root
def test_root_without_a_sandbox_is_refused_even_for_open_data(place: LocalPlace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert probe_sandbox().name is None
    with pytest.raises(RefusalError) as refused:
        choose_sandbox(place.spec(tier=0))
    assert refused.value.code is ReasonCode.SANDBOX_UNAVAILABLE
    assert "bubblewrap" in refused.value.next_step


@pytest.mark.sandbox
@needs_sandbox
def test_a_sandbox_that_worked_is_remembered_for_this_boot_and_this_bwrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    remembered = tmp_path / "sandbox"
    assert not is_remembered(remembered)
    remember(remembered)
    assert is_remembered(remembered)
    remembered.write_text(f"another boot {remembered.read_text(encoding='utf-8')}", encoding="utf-8")
    assert not is_remembered(remembered)
    remember(remembered)
    monkeypatch.setenv("PATH", "/nowhere")
    assert not is_remembered(remembered)
    remembered.write_text("", encoding="utf-8")
    assert not is_remembered(remembered)


def test_an_environment_is_its_prefix_its_base_and_what_is_installed_in_place(tmp_path: Path):
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "python3").touch()
    source = tmp_path / "checkout" / "src"
    source.mkdir(parents=True)
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "ours.pth").write_text(f"{source}\nimport os; os.getcwd()\n/nowhere\n", encoding="utf-8")
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python").symlink_to(base / "bin" / "python3")
    (tmp_path / "venv" / "pyvenv.cfg").write_text(f"home = {base / 'bin'}\n", encoding="utf-8")
    assert environment_folders(tmp_path / "venv" / "bin" / "python") == [tmp_path / "venv", base, source]
    assert environment_folders(Path("/usr/bin/python3")) == []
