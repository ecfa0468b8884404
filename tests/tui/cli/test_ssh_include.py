"""The one line in a person's ssh configuration: nothing else there ever changes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightingale_tui.ssh_include import (
    SshIncludeError,
    add_include,
    include_line,
    is_included,
    remove_include,
    with_line,
    without_line,
)

LINE = include_line(Path("/home/ada/.local/state/nightingale/ssh/included"))
LINES = st.sampled_from(
    [
        b"Host *",
        b"host a b",
        b"Match user ada",
        b"    User ada",
        b"\tPort 22",
        b"# a comment",
        b"",
        b"Include ~/.ssh/other",
        b"Hostname x",
        b"HostKeyAlias=y",
        b" Host=z",
        f"# {LINE}".encode(),
        f"  {LINE}".encode(),
        LINE.encode(),
        b"\xff\xfe not UTF-8 \x00",
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r"])
CONFIGS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda pairs, last: b"".join(line + end for line, end in pairs) + last,
        st.lists(st.tuples(LINES, ENDS), max_size=12),
        st.one_of(st.just(b""), LINES),
    ),
)


@given(CONFIGS)
def test_adding_changes_one_line_and_removing_it_gives_back_every_byte(content: bytes) -> None:
    added = with_line(content, LINE)
    assert is_included(added, LINE)
    assert with_line(added, LINE) == added
    if is_included(content, LINE):
        assert added == content
    else:
        assert added == LINE.encode() + b"\n" + content
        assert without_line(added, LINE) == content
        assert without_line(content, LINE) == content


@given(st.one_of(st.none(), CONFIGS))
def test_the_file_comes_back_as_it_was_or_goes_if_it_was_made(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | None
) -> None:
    folder = tmp_path_factory.mktemp("home")
    config, made = folder / ".ssh" / "config", folder / "state" / "made"
    if content is not None:
        config.parent.mkdir()
        config.write_bytes(content)
    was_in = content is not None and is_included(content, LINE)
    assert add_include(config, LINE, made=made) is not was_in
    assert not add_include(config, LINE, made=made)
    if not was_in:
        assert remove_include(config, LINE, made=made)
        assert (config.read_bytes() if config.exists() else None) == content
    assert [path.name for path in config.parent.iterdir()] == ([] if content is None else ["config"])


def test_mode_owner_and_link_stay(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles" / "ssh_config"
    real.parent.mkdir()
    real.write_text("Host *\n")
    real.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(real, 1234, 4321)
    before = real.stat()
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.symlink_to("../dotfiles/ssh_config")
    assert add_include(config, LINE, made=tmp_path / "made")
    assert config.is_symlink()
    assert real.read_text() == f"{LINE}\nHost *\n"
    after = real.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [path.name for path in real.parent.iterdir()] == ["ssh_config"]


def test_a_new_configuration_is_its_persons_only(tmp_path: Path) -> None:
    config = tmp_path / ".ssh" / "config"
    assert add_include(config, LINE, made=tmp_path / "made")
    assert config.stat().st_mode & 0o777 == 0o600
    assert config.parent.stat().st_mode & 0o777 == 0o700


def test_a_configuration_that_cannot_be_changed_is_told_with_the_line_to_add(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    with pytest.raises(SshIncludeError) as caught:
        add_include(config, LINE, made=tmp_path / "made")
    assert LINE in caught.value.next_step
    assert [path.name for path in tmp_path.iterdir()] == ["config"]


@pytest.mark.parametrize("path", ["/a[b]", '/a"b', "/a\nProxyCommand x", "/a*"])
def test_a_folder_that_ssh_would_read_otherwise_is_refused(path: str) -> None:
    with pytest.raises(SshIncludeError):
        include_line(Path(path))


WORK = """
import sys
from pathlib import Path
from nightingale_tui.ssh_include import add_include, remove_include
config, made, folder = (Path(word) for word in sys.argv[1:])
line = f'Include "{folder}/*.conf"'
sys.stdin.read(1)
for _ in range(30):
    add_include(config, line, made=made)
    remove_include(config, line, made=made)
add_include(config, line, made=made)
"""


def test_processes_that_edit_at_once_lose_nobodys_line(tmp_path: Path) -> None:
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text("Host *\n    User root\n")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, config, tmp_path / f"made{number}", f"/folder{number}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go")
        process.stdin.flush()
    assert [process.communicate()[1] for process in running] == ["", "", ""]
    lines = config.read_text().splitlines()
    assert sorted(lines[:3]) == [f'Include "/folder{number}/*.conf"' for number in range(3)]
    assert lines[3:] == ["Host *", "    User root"]
    assert [path.name for path in config.parent.iterdir()] == ["config"]


HOSTS = """
import sys
from pathlib import Path
from nightingale_tui.settings import load_settings
from nightingale_tui.ssh_config import SshConfig, include_host, included_host, remove_host
home, url = Path(sys.argv[1]), sys.argv[2]
settings = load_settings({"NIGHTINGALE_CONFIG_DIR": str(home / "state")}, url=url)
config = SshConfig(home, home, "", "    User ada\\n")
sys.stdin.read(1)
for _ in range(40):
    assert include_host(settings, config, home).is_included
    assert included_host(settings, home).is_included, "another took the line away"
    remove_host(settings, home)
"""


def test_a_gateway_that_goes_does_not_take_the_line_of_one_that_comes(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    config = tmp_path / ".ssh" / "config"
    config.write_text("Host *\n")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", HOSTS, tmp_path, f"https://platform{number}.example.org"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go")
        process.stdin.flush()
    assert [process.communicate()[1] for process in running] == ["", ""]
    assert config.read_text() == "Host *\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_line_that_stands_in_a_folder_that_may_not_be_changed_is_good_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text(f"{LINE}\n")
    config.parent.chmod(0o500)
    try:
        assert not add_include(config, LINE, made=tmp_path / "made")
        with pytest.raises(SshIncludeError, match="cannot be changed"):
            remove_include(config, LINE, made=tmp_path / "made")
    finally:
        config.parent.chmod(0o700)
