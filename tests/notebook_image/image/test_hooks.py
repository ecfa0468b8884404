"""The hooks, each run as the container runs it: what they did, or why not, and how the first process ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from notebook_image.image.places import environment_of

HOOKS = Path(__file__).parents[3] / "notebook-image" / "hooks"
NAMES = ["10-mount-dataset", "20-observer", "30-jupyter-config", "40-jupyter", "50-report"]


def run_hook(name: str, folder: Path, **changes: str) -> tuple[int, dict[str, Any]]:
    """Run one hook with the folders of an instance; return its status and the line it said."""
    done = subprocess.run(
        [HOOKS / name],
        env={"PATH": os.environ["PATH"], "NIGHTINGALE_DATA": str(folder), **changes},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    [line] = done.stdout.splitlines()
    said: dict[str, Any] = json.loads(line)
    assert said["hook"] == name
    assert done.stderr == ""
    return done.returncode, said


def test_there_are_five_in_order() -> None:
    assert sorted(path.name for path in HOOKS.glob("[0-9]*")) == NAMES
    assert all(os.access(HOOKS / name, os.X_OK) for name in [*NAMES, "start"])


def test_without_a_dataset_there_is_nothing_to_mount_and_nothing_to_watch(tmp_path: Path) -> None:
    assert run_hook("10-mount-dataset", tmp_path) == (0, {"hook": NAMES[0], "words": "no dataset to mount"})
    assert run_hook("20-observer", tmp_path, NIGHTINGALE_TIER="3")[1]["words"] == "no dataset to watch"


def test_a_dataset_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    status, said = run_hook("10-mount-dataset", tmp_path, NIGHTINGALE_DATASETS="ct-chest")
    assert (status, said["code"]) == (78, "dataset_unavailable")
    assert said["words"] == f"Dataset ct-chest is not mounted at {tmp_path}/ct-chest"
    assert said["next_step"]


def test_a_dataset_that_could_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "ct-chest").mkdir()
    status, said = run_hook("10-mount-dataset", tmp_path)
    assert (status, said["code"]) == (78, "dataset_unavailable")
    assert said["words"] == f"Dataset ct-chest at {tmp_path}/ct-chest could be written"


@pytest.mark.parametrize("name", ['"', "a b", "a\nb", "a\\b", "\u200b"])
def test_a_name_that_is_none_does_not_get_into_the_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    status, said = run_hook("10-mount-dataset", tmp_path)
    assert (status, said["code"]) == (78, "dataset_unavailable")
    assert said["words"] == f"A folder of {tmp_path} has a name that no dataset has"


@pytest.mark.parametrize("tier", ["1", "2", "3", ""])
def test_no_dataset_above_tier_0_is_read_unwatched(tmp_path: Path, tier: str) -> None:
    (tmp_path / "ct-chest").mkdir()
    changes = {"NIGHTINGALE_TIER": tier} if tier else {}  # unknown is the strictest
    status, said = run_hook("20-observer", tmp_path, **changes)
    assert (status, said["code"]) == (78, "observer_unavailable")
    assert f"tier {tier or 3}" in said["words"]


def test_open_data_is_read_unwatched_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "ct-chest").mkdir()
    status, said = run_hook("20-observer", tmp_path, NIGHTINGALE_TIER="0")
    assert status == 0
    assert said["words"].startswith("reads are not watched")


@pytest.mark.parametrize(
    ("observer", "words"),
    [
        ("fanotify", "page-granular ranges asked for, by reader"),
        ("fanotify-open", "whole file, upper bound"),
        ("fuse", "page-granular ranges asked for, by reader"),
        ("fuse-open", "whole file, upper bound"),
    ],
)
def test_an_observer_that_was_started_outside_is_named_with_how_exact_it_is(
    tmp_path: Path, observer: str, words: str
) -> None:
    (tmp_path / "ct-chest").mkdir()
    status, said = run_hook("20-observer", tmp_path, NIGHTINGALE_TIER="3", NIGHTINGALE_OBSERVER=observer)
    assert status == 0
    assert words in said["words"]


def test_an_observer_that_nobody_knows_is_none(tmp_path: Path) -> None:
    status, said = run_hook("20-observer", tmp_path, NIGHTINGALE_TIER="0", NIGHTINGALE_OBSERVER="hope")
    assert (status, said["code"]) == (78, "observer_unavailable")


@pytest.mark.skipif(os.geteuid() != 0, reason="shows what root is told")
def test_jupyter_is_not_started_as_root(tmp_path: Path) -> None:
    status, said = run_hook("40-jupyter", tmp_path, NIGHTINGALE_PYTHON="/nonexistent")
    assert (status, said["code"], said["words"]) == (78, "sandbox_unavailable", "Jupyter never runs as root")


@pytest.mark.image
def test_the_configuration_and_the_report_come_from_the_images_own_modules(image_python: Path, tmp_path: Path) -> None:
    told = {"NIGHTINGALE_PYTHON": str(image_python), **environment_of(tmp_path)}
    assert run_hook("30-jupyter-config", tmp_path / "data", **told)[1]["words"].startswith(
        "Jupyter's configuration for ada"
    )
    status, said = run_hook("50-report", tmp_path / "data", **told, NIGHTINGALE_START_TIMEOUT="0")
    assert (status, said["code"]) == (1, "start_timeout")


class FirstProcess:
    """`start` with hooks of a test's own in place of those that need the image."""

    def __init__(self, folder: Path, **hooks: str) -> None:
        self.folder = folder / "hooks"
        shutil.copytree(HOOKS, self.folder)
        for name, script in {"30-jupyter-config": "exit 0", "50-report": "exit 0", **hooks}.items():
            (self.folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "data").mkdir()
        self.process = subprocess.Popen(
            [self.folder / "start"],
            env={"PATH": os.environ["PATH"], "NIGHTINGALE_DATA": str(folder / "data"), "PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> tuple[int, list[str]]:
        try:
            said, _ = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()
            raise
        return self.process.returncode, said.splitlines()

    def until(self, line: str) -> None:
        assert self.process.stdout is not None
        for said in self.process.stdout:
            if said.strip() == line:
                return
        pytest.fail(f"it ended without {line}")


def test_the_first_process_ends_as_jupyter_ends(tmp_path: Path) -> None:
    status, said = FirstProcess(tmp_path, **{"40-jupyter": "echo jupyter; exit 3"}).end()
    assert status == 3
    assert [json.loads(line)["hook"] for line in said[:2]] == NAMES[:2]
    assert said[2:] == ["jupyter"]


def test_a_server_that_was_killed_is_told_by_its_signal(tmp_path: Path) -> None:
    assert FirstProcess(tmp_path, **{"40-jupyter": "kill -KILL $$"}).end()[0] == 128 + signal.SIGKILL


def test_a_hook_that_refuses_stops_what_comes_behind_it(tmp_path: Path) -> None:
    status, said = FirstProcess(
        tmp_path,
        **{"20-observer": "echo refused; exit 78", "30-jupyter-config": "echo never", "40-jupyter": "echo never"},
    ).end()
    assert (status, said[1:]) == (78, ["refused"])


# Told to end, it says so, then ends with a status of its own.
TOLD = """exec "$PYTHON" -I -c '
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("up", flush=True)
signal.sigwait({signal.SIGTERM})
print("told", flush=True)
sys.exit(5)'"""


def test_the_signal_to_end_reaches_jupyter_and_its_own_end_is_waited_for(tmp_path: Path) -> None:
    first = FirstProcess(tmp_path, **{"40-jupyter": TOLD})
    first.until("up")
    first.process.send_signal(signal.SIGTERM)
    assert first.end() == (5, ["told"])


def test_a_report_that_still_waits_does_not_outlive_jupyter(tmp_path: Path) -> None:
    report = "trap '' TERM; exec sleep 600"  # as deaf as a shell that has only just been forked
    status, _ = FirstProcess(tmp_path, **{"40-jupyter": "exit 0", "50-report": report}).end()
    assert status == 0
