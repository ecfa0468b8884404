"""What an instance stands on, as people see it: a home with a size, an image that is checked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jupyter import run_cell
from e2e.outside import IMAGE_PYTHON, Outside, needs_everything, opened
from e2e.processes import wait_until

pytestmark = needs_everything

IS_ROOT = os.geteuid() == 0

FILL = """
import errno, os, pathlib
with open(pathlib.Path.home() / "full", "wb") as file:
    try:
        os.posix_fallocate(file.fileno(), 0, 1 << 40)
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
WHO = """
import getpass, json, os, pathlib
mine = pathlib.Path.home() / "work" / "kept.txt"
mine.parent.mkdir(exist_ok=True)
mine.open("a").write("kept ")
seen = {"uid": os.getuid(), "name": getpass.getuser(), "home": str(pathlib.Path.home())}
print(json.dumps({**seen, "owner": mine.stat().st_uid, "kept": mine.read_text()}))
"""
PATCH = """
import nightingale_instance
try:
    open(nightingale_instance.__file__, "a").write("patched")
except OSError as error:
    print(error.strerror)
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of our own to change: another tree of links to the same files."""
    made = tmp_path_factory.mktemp("image") / "venv"
    subprocess.run(["cp", "-al", str(IMAGE_PYTHON.parents[1]), str(made)], check=True)
    return made / "bin" / "python"


@pytest.fixture(scope="module")
def outside(image: Path) -> Iterator[Outside]:
    with opened({"NIGHTINGALE_IMAGE_PYTHON": str(image)}) as made:
        yield made


def patch(file: Path) -> None:
    """Change a file of the image as an editor does: another file of the same name, not the one it is a link to."""
    new = file.with_name(f"{file.name}.new")
    shutil.copyfile(file, new)
    with new.open("a", encoding="utf-8") as opened_file:
        opened_file.write("\n# patched by hand\n")
    new.replace(file)


@pytest.mark.skipif(not IS_ROOT, reason="without root a home is a folder without a limit")
def test_a_full_home_is_said_wherever_its_owner_looks_and_a_larger_disk_helps(outside: Outside) -> None:
    outside.run_one("small")
    before = outside.get("small")["home"]
    assert (before["is_full"], before["limit_bytes"] > 9 << 30) == (False, True)
    assert run_cell(outside, "small", FILL).strip() == "ENOSPC"
    seen = outside.get("small")
    assert seen["home"]["is_full"]
    assert "home is full" in seen["warning"]
    shown = outside.run("show", "small", person="ada").stdout
    assert "GiB used, FULL" in shown
    inside = run_cell(outside, "small", "from nightingale_instance.command import main; _ = main(['status'])")
    assert "GiB used" in inside
    assert "home is full" in inside
    run_cell(outside, "small", "import pathlib; (pathlib.Path.home() / 'full').unlink()")
    outside.act("small", "resize", {"disk": "m"})
    larger = outside.until("small", "running", 60)["home"]
    assert larger["limit_bytes"] > before["limit_bytes"] + (1 << 30)
    assert not larger["is_full"]


def test_the_person_inside_is_themselves_and_their_home_outlives_every_machine(outside: Outside) -> None:
    instance_id = outside.run_one("lives")["id"]
    first = json.loads(run_cell(outside, "lives", WHO))
    assert (first["name"], first["home"]) == ("ada", "/home/ada")
    assert (first["uid"] == os.getuid()) is not IS_ROOT
    assert first["owner"] == first["uid"]
    outside.act("lives", "stop")
    outside.until("lives", "stopped")
    outside.act("lives", "start")
    outside.until("lives", "running")
    json.loads(run_cell(outside, "lives", WHO))
    os.kill(outside.launcher_pid(instance_id), 9)
    wait_until(lambda: outside.get("lives")["status"] == "failed", 20, "the killed machine's failure")
    outside.act("lives", "retry")
    outside.until("lives", "running")
    outside.act("lives", "resize", {"cpu": "m"})
    outside.until("lives", "running")
    last = json.loads(run_cell(outside, "lives", WHO))
    assert last == {**first, "kept": "kept kept kept "}
    digests = [one["image_digest"] for one in outside.history("lives") if one["event"] == "became_ready"]
    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert digests[0] == outside.get("lives")["image_digest"]


def test_a_file_of_the_image_that_was_patched_by_hand_is_reported_everywhere(outside: Outside, image: Path) -> None:
    outside.run_one("drifts")
    said = run_cell(outside, "drifts", PATCH).strip()
    assert said in {"Read-only file system", "Permission denied"}
    clean = outside.local("check-image", "--json")
    assert (clean.returncode, json.loads(clean.stdout)["drifted"]) == (0, 0), clean.stdout
    assert json.loads(clean.stdout)["digest"] == outside.get("drifts")["image_digest"]
    [file] = image.parents[1].glob("lib/python3*/site-packages/nightingale_instance/__init__.py")
    expected = hashlib.sha256(file.read_bytes()).hexdigest()
    patch(file)
    seen = hashlib.sha256(file.read_bytes()).hexdigest()
    found = outside.local("check-image", "--json")
    assert found.returncode == 1
    [drifted] = json.loads(found.stdout)["drift"]
    told = {"path": str(file), "drift": "changed", "expected": expected, "seen": seen, "expected_from": "RECORD"}
    assert drifted == told
    assert outside.get("drifts")["image_check"]["drift"] == [told]
    assert f"{file}: changed, expected {expected[:12]}" in outside.run("show", "drifts", person="ada").stdout
    facts = [one for one in outside.audit() if one["tag"] == "image:change:found"]
    assert [{name: one["detail"][name] for name in told} for one in facts] == [told]
    assert outside.local("check-image").returncode == 1  # said again, and recorded once
    assert len([one for one in outside.audit() if one["tag"] == "image:change:found"]) == 1
