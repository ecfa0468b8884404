"""admin user: export, change, plan, show, ask, apply; once more when somebody was quicker."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from nightingale.contract import schemas as s
from nightingale.contract.errors import ErrorCode
from nightingale.contract.vocabulary import Role
from nightingale_tui.cli.people import fingerprint_of
from tui.api import fake_world as world
from tui.api.fake_platform import FakePlatform
from tui.cli.command_line import CommandLine

EVES_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICLaK0cOv2mBpBYdDmjxEoBLVEYZWBWSj9crOXoFSDMz eve@home"


@pytest.fixture(autouse=True)
def cluster(platform: FakePlatform) -> s.ClusterIn:
    platform.cluster = world.cluster()
    return platform.cluster


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "eve.pub"
    path.write_text(f"# eve's\n{EVES_KEY}\n\n")
    return str(path)


def people(platform: FakePlatform) -> dict[str, s.PersonIn]:
    assert platform.cluster is not None
    return {person.name: person for person in platform.cluster.people}


def members(platform: FakePlatform, project: str) -> dict[str, Role]:
    assert platform.cluster is not None
    found = next(one for one in platform.cluster.projects if one.name == project)
    return {member.person: member.role for member in found.members}


def test_add_makes_a_person_and_a_member_and_keeps_everything_else(
    run: CommandLine, platform: FakePlatform, key: str
) -> None:
    run.environ["NO_COLOR"] = "1"
    ran = run("admin", "user", "add", "eve", "--key", key, "-p", "heart", "--role", "lead", typed="y\n")
    assert ran.status == 0
    assert ran.out.splitlines() == ["+ people.eve", "~ projects.heart", "Applied. The cluster is at revision 2."]
    assert "Apply 2 changes? [y/N]" in ran.err
    assert people(platform)["eve"] == s.PersonIn(name="eve", keys=(EVES_KEY,))
    assert members(platform, "heart") == {"ada": Role.LEAD, "bob": Role.RESEARCHER, "eve": Role.LEAD}
    before = world.cluster()
    assert platform.cluster is not None
    assert msgspec.structs.replace(platform.cluster, people=before.people, projects=before.projects) == before


def test_add_as_administrator_with_json(run: CommandLine, platform: FakePlatform, key: str) -> None:
    ran = run("admin", "user", "add", "eve", "--key", key, "--admin", "--full-name", "Eve E", "--json", "-y")
    assert ran.json(s.ClusterApplyOut).revision == 2
    assert people(platform)["eve"].is_admin
    assert people(platform)["eve"].full_name == "Eve E"


def test_without_a_yes_nothing_happens(run: CommandLine, platform: FakePlatform, key: str) -> None:
    argv = ("admin", "user", "add", "eve", "--key", key)
    assert run(*argv, typed="n\n").status == 1
    assert run(*argv).status == 2
    dry = run(*argv, "--dry-run")
    assert (dry.status, dry.out) == (2, "+ people.eve\n")
    assert run(*argv, "--dry-run", "--json").json(s.ClusterPlanOut).changes[0].key == "people.eve"
    assert platform.applied == []


@pytest.mark.parametrize(
    ("argv", "ends"),
    [
        (("add", "bob", "--key", "KEY"), (6, "There is a person bob already.")),
        (("add", "eve", "--key", "KEY", "-p", "none"), (5, "There is no project none.\nhint: There are: heart, lung.")),
        (("add", "eve", "--key", "KEY", "--role", "lead"), (2, "--project")),
        (("add", "Eve", "--key", "KEY"), (2, "a name is lower case letters, digits and dashes, up to 32")),
        (("add", "eve", "--key", "/none.pub"), (2, "No such file")),
        (("add", "eve", "--key", "KEY", "--role", "king"), (2, "king")),
        (("add", "eve"), (2, "--key")),
        (("key", "ada"), (2, "--add")),
        (("key", "eve", "--add", "KEY"), (5, "There is no person eve.\nhint: There are: ada, bob.")),
        (("key", "ada", "--remove", "SHA256:abc"), (5, "ada has no key SHA256:abc.")),
        (("revoke", "eve"), (5, "There is no person eve.")),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    run: CommandLine, platform: FakePlatform, key: str, argv: tuple[str, ...], ends: tuple[int, str]
) -> None:
    ran = run("admin", "user", *(key if word == "KEY" else word for word in argv), "-y")
    assert ran.status == ends[0]
    assert ends[1] in ran.err
    assert platform.applied == []


def test_a_private_key_never_leaves_this_machine(run: CommandLine, platform: FakePlatform, key: str) -> None:
    path = Path(key)
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    ran = run("admin", "user", "add", "eve", "--key", key, "-y")
    assert ran.status == 2
    assert "private key" in ran.err
    path.write_text("ssh-ed25519 !!!\n")
    assert run("admin", "user", "add", "eve", "--key", key, "-y").status == 2
    path.write_bytes(b"\xff\xfe")
    assert run("admin", "user", "add", "eve", "--key", key, "-y").status == 2
    path.write_text("\n")
    assert run("admin", "user", "add", "eve", "--key", key, "-y").status == 2
    assert platform.calls == []


def test_keys_come_and_go_by_fingerprint(run: CommandLine, platform: FakePlatform, key: str) -> None:
    assert run("admin", "user", "key", "ada", "--add", key, "-y").status == 0
    assert people(platform)["ada"].keys == (world.ADAS_KEY, EVES_KEY)
    again = run("admin", "user", "key", "ada", "--add", key, "-y")
    assert (again.status, again.out) == (0, "Nothing to change.\n")
    assert run("admin", "user", "key", "ada", "--remove", fingerprint_of(world.ADAS_KEY), "-y").status == 0
    assert people(platform)["ada"].keys == (EVES_KEY,)


def test_revoke_takes_a_person_out_of_everything(run: CommandLine, platform: FakePlatform) -> None:
    assert run("admin", "user", "revoke", "bob", "-y").status == 0
    assert list(people(platform)) == ["ada"]
    assert members(platform, "heart") == {"ada": Role.LEAD}
    assert members(platform, "lung") == {}


def test_a_change_in_between_is_kept_and_asked_about_only_once(
    run: CommandLine, platform: FakePlatform, key: str
) -> None:
    theirs = msgspec.structs.replace(world.cluster(), images=())
    platform.overtaking = [theirs]
    ran = run("admin", "user", "add", "eve", "--key", key, typed="y\n")
    assert ran.status == 0
    assert ran.err.count("[y/N]") == 1
    assert "Somebody else changed the cluster" in ran.err
    assert platform.cluster is not None
    assert platform.cluster.images == ()
    assert set(people(platform)) == {"ada", "bob", "eve"}
    assert platform.bodies[-1].base == 2


def test_who_is_overtaken_twice_is_told(run: CommandLine, platform: FakePlatform) -> None:
    platform.overtaking = [world.cluster(), world.cluster()]
    assert run("admin", "user", "revoke", "bob", "-y").status == 6
    assert platform.applied == []


def test_what_became_another_change_is_asked_about_again(run: CommandLine, platform: FakePlatform) -> None:
    without_heart = msgspec.structs.replace(world.cluster(), projects=world.cluster().projects[1:])
    platform.overtaking = [without_heart]
    ran = run("admin", "user", "revoke", "bob", typed="y\nn\n")
    assert ran.status == 1
    assert ran.err.count("[y/N]") == 2
    assert platform.applied == []


def test_admin_user_is_for_administrators(bare: CommandLine, platform: FakePlatform, key: str) -> None:
    bare.log_in("bob")
    assert bare("admin", "user", "add", "eve", "--key", key, "-y").status == 4
    platform.refusals["get_cluster"] = ErrorCode.NOT_FOUND
    assert bare("admin", "user", "revoke", "bob", "-y").status == 5


def test_a_fingerprint_is_what_ssh_keygen_says(key: str) -> None:
    said = subprocess.run(["ssh-keygen", "-l", "-f", key], capture_output=True, text=True, check=True)
    assert said.stdout.split()[1] == fingerprint_of(EVES_KEY)
    with pytest.raises(ValueError, match="no public key"):
        fingerprint_of("ssh-ed25519")
