"""Before Jupyter starts, what it is configured from is complete, and the container as closed as the tier wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nightingale_instance import preflight
from notebook_image.image.places import TOKEN, environment_of

CLOSED = {"Uid": "23456\t23456\t23456\t23456", "CapPrm": "0", "CapEff": "0", "CapBnd": "0", "NoNewPrivs": "1"}
READ_ONLY = "overlay / overlay ro,relatime 0 0\ntmpfs /tmp tmpfs rw 0 0\n"


def process_of(folder: Path, mounts: str = READ_ONLY, **changes: str) -> Path:
    """Write what the kernel says of a process in a closed container, with changes."""
    made = folder / "proc"
    made.mkdir()
    lines = [f"{name}:\t{value}" for name, value in {**CLOSED, **changes}.items()]
    (made / "status").write_text("\n".join(lines) + "\n")
    (made / "mounts").write_text(mounts)
    return made


def told(capsys: pytest.CaptureFixture[str], environment: dict[str, str], process: Path) -> tuple[int, dict[str, Any]]:
    status = preflight.main(environment, process)
    [line] = capsys.readouterr().out.splitlines()
    assert TOKEN not in line
    said: dict[str, Any] = json.loads(line)
    return status, said


@pytest.mark.parametrize(
    ("tier", "words"),
    [
        (0, "tier 0: terminals on, downloads on;"),
        (1, "tier 1: terminals on, downloads recorded, at most 100 MiB a day;"),
        (2, "tier 2: terminals off, downloads off;"),
        (3, "tier 3: terminals off, downloads off;"),
    ],
)
def test_a_closed_container_starts_and_says_what_the_tier_leaves_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tier: int, words: str
) -> None:
    status, said = told(capsys, environment_of(tmp_path, tier), process_of(tmp_path))
    assert status == 0
    assert words in said["words"]
    assert "code" not in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Uid": "0\t0\t0\t0"}, "the user is root"),
        ({"CapEff": "0000000000000001"}, "capabilities are left"),
        ({"CapBnd": "00000000a80425fb"}, "capabilities are left"),
        ({"NoNewPrivs": "0"}, "programs may gain privileges"),
        ({"mounts": "overlay / overlay rw,relatime 0 0\n"}, "the root file system can be written"),
        ({"mounts": "overlay / overlay ro 0 0\noverlay / overlay rw 0 0\n"}, "the root file system can be written"),
        ({"mounts": ""}, "the root file system can be written"),
    ],
)
def test_data_above_tier_0_is_opened_in_no_container_that_is_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], words: str
) -> None:
    process = process_of(tmp_path, **changes)
    status, said = told(capsys, environment_of(tmp_path, 1), process)
    assert (status, said["code"]) == (78, "sandbox_unavailable")
    assert said["words"].endswith(f"and here {words}.")
    assert preflight.main({**environment_named(tmp_path), "NIGHTINGALE_TIER": "0"}, process) == 0


def environment_named(folder: Path) -> dict[str, str]:
    """Return the variables of folders that are there."""
    (folder / "more").mkdir()
    return environment_of(folder / "more")


def test_what_the_kernel_does_not_tell_counts_as_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(capsys, environment_of(tmp_path, 2), tmp_path / "nothing")
    assert (status, said["code"]) == (78, "sandbox_unavailable")
    assert "cannot be read" in said["words"]


def test_a_token_that_others_may_read_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    environment = environment_of(tmp_path)
    Path(environment["NIGHTINGALE_TOKEN_FILE"]).chmod(0o644)
    status, said = told(capsys, environment, process_of(tmp_path))
    assert (status, said["code"]) == (78, "jupyter_exited")
    assert "open to other accounts" in said["words"]
