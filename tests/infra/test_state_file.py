"""A state file that a killed Terraform left torn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nightingale_build.state_file import mend_state

BEFORE = '{"version": 4, "serial": 7, "resources": []}'
AFTER = '{"version": 4, "serial": 8, "resources": []}'

HOLDING = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
file.truncate()
print("held", flush=True)
sys.stdin.read()
file.write(sys.argv[2].encode())
"""

MENDING = """
import pathlib, sys
from nightingale_build.state_file import mend_state
print("begun", flush=True)
print(mend_state(pathlib.Path(sys.argv[1])))
"""


@pytest.mark.parametrize("torn", ["", '{"version": 4, "ser', "\0\0\0\0", "[]"])
def test_a_torn_state_is_the_one_before_again(tmp_path: Path, torn: str):
    (tmp_path / "terraform.tfstate").write_text(torn, encoding="utf-8")
    (tmp_path / "terraform.tfstate.backup").write_text(BEFORE, encoding="utf-8")
    assert mend_state(tmp_path) is False
    assert (tmp_path / "terraform.tfstate").read_text(encoding="utf-8") == BEFORE
    assert (tmp_path / "terraform.tfstate.torn").read_text(encoding="utf-8") == torn


@pytest.mark.parametrize("backup", [None, "", '{"version'])
def test_a_torn_state_without_a_whole_one_before_it_is_empty_and_all_is_lost(tmp_path: Path, backup: str | None):
    (tmp_path / "terraform.tfstate").write_text('{"version": 4, "ser', encoding="utf-8")
    if backup is not None:
        (tmp_path / "terraform.tfstate.backup").write_text(backup, encoding="utf-8")
    assert mend_state(tmp_path) is True
    assert (tmp_path / "terraform.tfstate").read_text(encoding="utf-8") == ""


def test_a_whole_state_is_never_touched(tmp_path: Path):
    (tmp_path / "terraform.tfstate").write_text(AFTER, encoding="utf-8")
    (tmp_path / "terraform.tfstate.backup").write_text(BEFORE, encoding="utf-8")
    assert mend_state(tmp_path) is False
    assert (tmp_path / "terraform.tfstate").read_text(encoding="utf-8") == AFTER


def test_where_there_is_no_state_none_is_made(tmp_path: Path):
    assert mend_state(tmp_path) is False
    assert list(tmp_path.iterdir()) == []


def test_a_terraform_that_still_writes_is_waited_for(tmp_path: Path):
    """Its runner was killed, not it: a state that looks torn is half written."""
    state = tmp_path / "terraform.tfstate"
    state.write_text(BEFORE, encoding="utf-8")
    (tmp_path / "terraform.tfstate.backup").write_text(BEFORE, encoding="utf-8")
    hold = [sys.executable, "-c", HOLDING, str(state), AFTER]
    mend = [sys.executable, "-c", MENDING, str(tmp_path)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        assert writing.stdin is not None
        assert writing.stdout.readline() == "held\n"
        with subprocess.Popen(mend, stdout=subprocess.PIPE, text=True) as mending:
            assert mending.stdout is not None
            assert mending.stdout.readline() == "begun\n"
            writing.communicate(timeout=30)
            assert mending.communicate(timeout=30)[0] == "False\n"
    assert state.read_text(encoding="utf-8") == AFTER
