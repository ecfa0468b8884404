"""What the Dockerfile promises, read from it; that it builds and runs is shown by the running container."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nightingale.contract.vocabulary import ReasonCode

IMAGE = Path(__file__).parents[3] / "notebook-image"
DOCKERFILE = (IMAGE / "Dockerfile").read_text(encoding="utf-8")
HOOKS = IMAGE / "hooks"


def test_the_base_is_one_image_by_its_digest_and_can_be_another() -> None:
    bases = re.findall(r"^ARG BASE_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 1
    assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", bases[0])
    stages = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert set(stages) == {"${BASE_IMAGE}", "libraries"}


def test_nothing_of_this_machine_and_no_secret_is_in_it() -> None:
    assert "<<" not in DOCKERFILE
    lowered = DOCKERFILE.lower()
    assert [
        word for word in ("pip.conf", "ca-certificates", "proxy", "token", "password", "secret") if word in lowered
    ] == []


def test_every_package_of_the_system_has_a_version() -> None:
    installed = re.findall(r"--no-install-recommends ([^\\\n]+?) \\", DOCKERFILE)
    assert len(installed) == 2
    names = " ".join(installed).split()
    assert [name for name in names if "=" not in name] == []


def test_the_compiler_is_in_no_layer_of_what_runs() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "gcc" not in last
    assert re.search(r"^USER [1-9][0-9]*:[1-9][0-9]*$", last, re.MULTILINE)


def test_every_reason_that_a_hook_gives_is_one_of_the_contract() -> None:
    given = {code for hook in HOOKS.glob("[1-5]0-*") for code in re.findall(r"refuse ([a-z_]+) ", hook.read_text())}
    assert given == {"dataset_unavailable", "observer_unavailable", "sandbox_unavailable"}
    assert given <= {code.value for code in ReasonCode}


def test_the_checksum_of_the_inputs_changes_with_each_of_them_and_with_nothing_else(tmp_path: Path) -> None:
    copy = tmp_path / "checkout"
    tracked = ["notebook-image/Dockerfile", "notebook-image/build", "notebook-image/pyproject.toml"]
    tracked += ["notebook-image/hatch_build.py", "core/pyproject.toml"]
    for name in tracked:
        _copy(name, copy)
    for name in ("notebook-image/hooks", "notebook-image/requirements", "notebook-image/src", "core/src"):
        _copy(name, copy)
    began = _inputs(copy)
    assert re.fullmatch(r"[0-9a-f]{64}", began)
    assert _inputs(copy) == began
    assert _inputs(copy, "--variant", "gpu") != began
    seen = {began}
    for name in [*tracked, "notebook-image/hooks/start", "notebook-image/requirements/cpu.txt"]:
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write("\n# changed\n")
        seen.add(_inputs(copy))
    assert len(seen) == len(tracked) + 3
    (copy / "core" / "README.md").write_text("no part of it")
    assert _inputs(copy) in seen


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--variant", "tpu"], "error: there is no variant tpu\nhint: cpu or gpu\n"),
        (["--variant"], "error: --variant wants a value\nhint: ./run image --help\n"),
        (["--quick"], "error: there is no option --quick\nhint: ./run image --help\n"),
    ],
)
def test_what_the_building_cannot_do_is_said_with_what_to_do(options: list[str], words: str) -> None:
    done = subprocess.run([IMAGE / "build", *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


def test_without_buildah_the_building_says_what_to_install(tmp_path: Path) -> None:
    for tool in ("sh", "find", "sort", "tr", "xargs", "sha256sum", "cut"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = subprocess.run([IMAGE / "build"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: buildah was not found\nhint: ")


def _copy(name: str, copy: Path) -> None:
    target = copy / name
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-R", IMAGE.parent / name, target], check=True)


def _inputs(checkout: Path, *options: str) -> str:
    done = subprocess.run(
        [checkout / "notebook-image" / "build", "--inputs", *options], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
