"""A backup is whole and private; what was changed, cut or made to break out is not restored, and nothing is left."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nightingale.adapters.file_audit_log import FileAuditLog
from nightingale.adapters.sqlite import open_store
from nightingale.ports.audit_log import AuditEvent
from nightingale.ports.store import Item, Key
from nightingale_local.backup import back_up
from nightingale_local.control import LocalError
from nightingale_local.folders import FolderError, Folders, Settings, StoreChoice, write_json
from nightingale_local.restore import restore

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
HOME = "homes/i-k3m9x0q2ab"


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder with a short path: that of a socket in it ends at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ng-b-") as name:
        yield Path(name)


@pytest.fixture
def folders(room: Path) -> Folders:
    """A data folder with an item, a fact, a secret, and a home as people have them."""
    made = Folders(room / "data")
    made.prepare()
    write_json(made.settings, Settings(port=8700))
    store = open_store(made.database)
    store.put(Item(Key("p", "a"), {"text": "kept"}, version=0))
    store.close()
    FileAuditLog(made.audit).append(AuditEvent("platform", AT, "instance:stop:requested", "ada", "i-1", {}))
    (made.secrets / "gateway.token").write_text("planted-secret")
    home = made.root / HOME
    (home / "work" / "empty").mkdir(parents=True)
    (home / "work" / "nb.ipynb").write_text("{}")
    (home / "run.sh").write_text("#!/bin/sh\n")
    (home / "run.sh").chmod(0o750)
    (home / "data").symlink_to("/data")
    (home / os.fsdecode(b"na\xefve.txt")).write_bytes(b"latin")
    os.mkfifo(home / "pipe")
    return made


@pytest.fixture
def archive(folders: Folders, room: Path) -> Path:
    target = room / "b.tar"
    back_up(folders, target, with_homes=True, with_secrets=True)
    return target


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as archive:
        return [(one, file.read() if (file := archive.extractfile(one)) else b"") for one in archive]


def rewritten(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> Path:
    """Write the archive again with its members changed."""
    content = members(path)
    change(content)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for member, data in content:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def check_nothing_came(room: Path, archive: Path, code: str, words: str) -> None:
    """Restore, be refused so, and find neither a folder nor anything half made."""
    before = sorted(room.iterdir())
    with pytest.raises(LocalError, match=words) as told:
        restore(Folders(room / "new"), archive)
    assert told.value.code == code
    assert told.value.next_step
    assert sorted(room.iterdir()) == before


def test_what_was_saved_comes_back_as_it_was(folders: Folders, archive: Path, room: Path) -> None:
    new = Folders(room / "new")
    told = restore(new, archive)
    store = open_store(new.database)
    item = store.get(Key("p", "a"))
    store.close()
    assert item is not None
    assert (item.document, item.version) == ({"text": "kept"}, 1)
    assert FileAuditLog(new.audit).read("platform", 0, 9) == FileAuditLog(folders.audit).read("platform", 0, 9)
    assert told["broken_streams"] == []
    assert (new.secrets / "gateway.token").read_text() == "planted-secret"
    home = new.root / HOME
    assert (home / "work" / "empty").is_dir()
    assert stat.S_IMODE((home / "run.sh").stat().st_mode) == 0o750
    assert (home / "data").readlink() == Path("/data")
    assert (home / os.fsdecode(b"na\xefve.txt")).read_bytes() == b"latin"
    assert not (home / "pipe").exists()


def test_a_backup_is_its_owners_alone_and_so_is_what_comes_back(archive: Path, room: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    new = Folders(room / "new")
    restore(new, archive)
    assert stat.S_IMODE(new.root.stat().st_mode) == 0o700
    for path in (new.database, *new.audit.rglob("*.jsonl"), new.audit / "platform" / ".head"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_homes_and_secrets_are_saved_only_when_asked_for(folders: Folders, room: Path) -> None:
    target = room / "plain.tar"
    told = back_up(folders, target, with_homes=False, with_secrets=False)
    assert {name.partition("/")[0] for name in names(target)} == {
        "nightingale.db",
        "audit",
        "platform.json",
        "manifest.json",
    }
    assert b"planted-secret" not in target.read_bytes()
    assert told["files"] == len(names(target)) - 3  # two folders of the audit log, and the manifest


def test_after_a_restore_facts_are_numbered_on(archive: Path, room: Path) -> None:
    new = Folders(room / "new")
    restore(new, archive)
    log = FileAuditLog(new.audit)
    sealed = log.append(AuditEvent("platform", AT, "instance:stop:requested", "ada", "i-2", {}))
    assert sealed.seq == 2
    assert log.verify("platform") is None


def test_a_torn_line_of_the_audit_log_is_not_copied(folders: Folders, room: Path) -> None:
    (file,) = (folders.audit / "platform").glob("*.jsonl")
    with file.open("ab") as stream:
        stream.write(b'{"half')
    target = room / "copy"
    FileAuditLog(folders.audit).copy_to(target)
    assert (target / "platform" / file.name).read_bytes() + b'{"half' == file.read_bytes()
    assert FileAuditLog(target).verify("platform") is None


# --- what is refused --------------------------------------------------------------------------------------------------


def test_every_place_where_an_archive_is_cut_is_noticed(archive: Path, room: Path) -> None:
    content = archive.read_bytes()
    last = len(content.rstrip(b"\0"))
    for size in (0, 1, 511, 512, 700, len(content) // 3, len(content) // 2, last - 600, last - 1):
        archive.write_bytes(content[:size])
        check_nothing_came(room, archive, "damaged", "damaged")


def test_a_changed_byte_is_noticed_and_the_file_named(archive: Path, room: Path) -> None:
    content = archive.read_bytes()
    at = content.index(b"#!/bin/sh")
    archive.write_bytes(content[:at] + b"#!/bin/zz" + content[at + 9 :])
    check_nothing_came(room, archive, "damaged", r"1 files are not as they were saved.*run\.sh")


def test_a_file_too_many_is_noticed(archive: Path, room: Path) -> None:
    def add(content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        content.insert(0, (tarfile.TarInfo(f"{HOME}/.bashrc"), b"evil"))

    check_nothing_came(room, rewritten(archive, add), "damaged", "bashrc")


@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "homes/../../evil", "run/supervisor.lock", "evil", "homes/a/../../../evil"]
)
def test_a_member_that_would_break_out_is_refused(archive: Path, room: Path, name: str) -> None:
    def add(content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        content.insert(0, (tarfile.TarInfo(name), b"evil"))

    check_nothing_came(room, rewritten(archive, add), "damaged", "damaged")
    assert not list(room.rglob("evil"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_that_is_no_file_is_refused(archive: Path, room: Path, kind: bytes) -> None:
    def add(content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member = tarfile.TarInfo("homes/x")
        member.type, member.linkname = kind, "platform.json"
        content.insert(0, (member, b""))

    check_nothing_came(room, rewritten(archive, add), "damaged", "neither a file nor a folder")


@pytest.mark.parametrize("name", ["secrets/x", "homes/../x", f"{HOME}/run.sh", f"{HOME}/data/x", "/elsewhere/x"])
def test_a_link_that_belongs_nowhere_is_refused(archive: Path, room: Path, name: str) -> None:
    def add(content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, data = content[-1]
        manifest = json.loads(data)
        manifest["links"][name] = str(room)
        content[-1] = (member, json.dumps(manifest).encode())

    check_nothing_came(room, rewritten(archive, add), "damaged", "does not belong there")


def test_a_backup_of_a_newer_nightingale_is_refused(archive: Path, room: Path) -> None:
    def newer(content: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        content[-1] = (content[-1][0], b'{"format": 99, "other": true}')

    check_nothing_came(room, rewritten(archive, newer), "newer_backup", "newer Nightingale")


def test_what_is_no_archive_or_not_there_is_refused(room: Path) -> None:
    file = room / "photo.jpg"
    file.write_bytes(b"\xff\xd8\xff" * 900)
    check_nothing_came(room, file, "damaged", "cannot be read")
    check_nothing_came(room, room / "nowhere.tar", "not_restored", "nowhere.tar")


def test_a_full_folder_is_left_alone(archive: Path, folders: Folders, room: Path) -> None:
    with pytest.raises(LocalError, match="no empty folder"):
        restore(folders, archive)
    empty = room / "empty"
    empty.mkdir()
    restore(Folders(empty), archive)
    assert (empty / "nightingale.db").is_file()
    with pytest.raises(FolderError, match="too long"):
        restore(Folders(room / ("x" * 90)), archive)


def test_a_file_that_is_there_is_not_overwritten(folders: Folders, archive: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(LocalError, match="there already"):
        back_up(folders, archive, with_homes=False, with_secrets=False)
    assert archive.read_bytes() == before


def test_a_backup_that_cannot_be_made_says_why_and_leaves_nothing(folders: Folders, room: Path) -> None:
    before = sorted(room.iterdir())
    with pytest.raises(LocalError, match="inside the data folder"):
        back_up(folders, folders.root / "homes" / "b.tar", with_homes=True, with_secrets=False)
    with pytest.raises(LocalError, match="No platform has run"):
        back_up(Folders(room / "none"), room / "b.tar", with_homes=False, with_secrets=False)
    write_json(folders.settings, Settings(store=StoreChoice(kind="dynamodb")))
    with pytest.raises(LocalError, match="dynamodb"):
        back_up(folders, room / "b.tar", with_homes=False, with_secrets=False)
    write_json(folders.settings, Settings())
    folders.database.write_bytes(b"no database" * 500)
    with pytest.raises(LocalError, match="is damaged"):
        back_up(folders, room / "b.tar", with_homes=False, with_secrets=False)
    assert sorted(room.iterdir()) == before
