"""The build runner, as a real process; Terraform is real or a small script that misbehaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, needs_root, needs_sandbox, needs_terraform, wait_until
from nightingale.contract.build import BuildResult, BuildSpec
from nightingale.contract.vocabulary import DesiredState, ReasonCode
from nightingale_build.failure import BuildFailedError
from nightingale_build.module_folder import find_module, is_initialised, keep_template, prepare_folder

pytestmark = pytest.mark.slow  # real Terraform, run after run

MODULE = Path(__file__).parents[2] / "infra" / "instance" / "local"


class Runner:
    """Runs builds of one place."""

    def __init__(self, place: LocalPlace) -> None:
        self.place = place
        self.environment = place.environment()

    def folder(self, build_id: str) -> Path:
        return self.place.data_dir / "builds" / build_id

    def begin(self, spec: BuildSpec) -> subprocess.Popen[bytes]:
        folder = self.folder(spec.build_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_bytes(msgspec.json.encode(spec))
        return self.again(spec.build_id)

    def again(self, build_id: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-m", "nightingale_build", str(self.folder(build_id))]
        return subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def result(self, build_id: str = "b-0000000001") -> BuildResult:
        return msgspec.json.decode((self.folder(build_id) / "result.json").read_bytes(), type=BuildResult)

    def run(self, spec: BuildSpec) -> BuildResult:
        said = self.begin(spec).communicate(timeout=40)[1]
        assert not said, said
        return self.result(spec.build_id)

    def log(self, build_id: str = "b-0000000001") -> str:
        return (self.folder(build_id) / "build.log").read_text(encoding="utf-8")

    def pretend_terraform(self, script: str) -> None:
        """Put a shell script in Terraform's place; it gets its command as $1."""
        binary = self.place.folder / "terraform"
        binary.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        binary.chmod(0o755)
        self.environment["NIGHTINGALE_TERRAFORM"] = str(binary)


@pytest.fixture
def runner(place: LocalPlace) -> Runner:
    return Runner(place)


@pytest.mark.terraform
@pytest.mark.sandbox
@needs_terraform
@needs_sandbox
def test_an_instance_is_launched_replaced_stopped_started_and_removed(runner: Runner):
    place = runner.place
    launched = runner.run(place.build_spec())
    assert launched.is_ok, launched
    assert launched.outputs["address"] == f"unix:{place.instance_dir}/run/jupyter.sock"
    assert launched.apply_s > 0
    place.seen()
    first = place.record()
    again = runner.run(place.build_spec("b-0000000002"))
    assert again.is_ok
    assert place.record() == first
    assert again.init_s < launched.init_s  # the module was initialised before
    resized = runner.run(place.build_spec("b-0000000003", generation=2, machine_type="c2-m1024-g0"))
    assert resized.is_ok, resized
    assert place.seen()["data_limit"] == 1024 * 1024 * 1024
    stopped = runner.run(place.build_spec("b-0000000004", generation=2, state=DesiredState.STOPPED))
    assert stopped.is_ok, stopped
    assert "address" not in stopped.outputs  # Terraform leaves out what is null
    assert place.ended().is_asked
    assert place.processes() == []
    started = runner.run(place.build_spec("b-0000000005", generation=3))
    assert started.is_ok, started
    assert place.seen()
    assert (place.home / "starts").read_text(encoding="utf-8") == "xxx"
    removed = runner.run(place.build_spec("b-0000000006", generation=3, state=DesiredState.ABSENT))
    assert removed.is_ok, removed
    assert not place.home.exists()
    assert place.processes() == []


@pytest.mark.terraform
@pytest.mark.sandbox
@needs_terraform
@needs_sandbox
def test_a_retry_after_a_crash_is_a_real_change(runner: Runner):
    place = runner.place
    assert runner.run(place.build_spec()).is_ok
    place.seen()
    place.server().kill()
    place.ended()
    retried = runner.run(place.build_spec("b-0000000002", generation=2))
    assert retried.is_ok, retried
    assert place.seen()
    assert place.record().generation == 2


@pytest.mark.terraform
@needs_terraform
def test_the_launchers_refusal_is_the_builds_and_a_later_build_can_succeed(runner: Runner):
    refused = runner.run(runner.place.build_spec(image="/nowhere/python"))
    assert not refused.is_ok
    assert refused.code is ReasonCode.IMAGE_UNAVAILABLE
    assert "/nowhere/python" in refused.words
    assert refused.next_step
    assert refused.log_tail
    gone = runner.run(runner.place.build_spec("b-0000000002", state=DesiredState.ABSENT))
    assert gone.is_ok, gone


@pytest.mark.terraform
@needs_terraform
def test_variables_that_do_not_fit_are_terraforms_failure_in_its_words(runner: Runner):
    failed = runner.run(runner.place.build_spec(machine_type="c1-m512-g2"))
    assert failed.code is ReasonCode.TERRAFORM_FAILED
    assert "The local place has no GPUs" in failed.words


@pytest.mark.terraform
@pytest.mark.sandbox
@needs_terraform
@needs_sandbox
def test_a_planted_secret_reaches_neither_terraform_nor_jupyter(runner: Runner):
    place = runner.place
    marker = place.folder / "environment"
    terraform = shutil.which("terraform")
    runner.pretend_terraform(f'env > {marker}.$1; exec {terraform} "$@"')
    assert runner.run(place.build_spec()).is_ok
    for command in ("init", "apply"):
        said = Path(f"{marker}.{command}").read_text(encoding="utf-8")
        assert "planted-secret" not in said
        assert {line.split("=", 1)[0] for line in said.splitlines()} <= {
            "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ", "PWD", "OLDPWD", "SHLVL",
            "_", "NIGHTINGALE_TERRAFORM", "TF_IN_AUTOMATION", "TF_INPUT", "CHECKPOINT_DISABLE",
        }  # fmt: skip
    assert "planted-secret" not in str(place.seen()["environment"])
    for path in place.data_dir.rglob("*"):
        if path.is_file():
            assert b"planted-secret" not in path.read_bytes()


def test_no_terraform_is_said_with_what_to_do(runner: Runner):
    runner.environment["NIGHTINGALE_TERRAFORM"] = "/nowhere/terraform"
    missing = runner.run(runner.place.build_spec())
    assert missing.code is ReasonCode.TERRAFORM_MISSING
    assert "Install Terraform" in missing.next_step


def test_a_failing_terraform_is_explained_from_its_log(runner: Runner):
    runner.pretend_terraform('[ "$1" = init ] && exit 0; echo "it hurts" >&2; exit 7')
    failed = runner.run(runner.place.build_spec())
    assert failed.code is ReasonCode.TERRAFORM_FAILED
    assert "exit status 7" in failed.words
    assert failed.log_tail == ("it hurts",)
    assert (failed.finished_at - failed.started_at).total_seconds() < 20  # it had 30


def test_a_disk_that_terraform_finds_full_is_disk_full(runner: Runner):
    runner.pretend_terraform('[ "$1" = init ] && exit 0; echo "Error: write: no space left on device"; exit 1')
    assert runner.run(runner.place.build_spec()).code is ReasonCode.DISK_FULL


@pytest.mark.root
@needs_root
def test_a_build_on_a_full_disk_still_says_so(runner: Runner):
    data = runner.place.data_dir
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(data)], check=True)
    try:
        runner.pretend_terraform("exit 0")
        folder = runner.folder("b-0000000001")
        folder.mkdir(parents=True)
        filler = f"head -c 1000000 /dev/zero > {data}/filler 2>/dev/null; echo x > {data}/more"
        runner.pretend_terraform(f'[ "$1" = init ] && {{ {filler}; exit 0; }}; exit 0')
        full = runner.run(runner.place.build_spec())
        assert full.code is ReasonCode.DISK_FULL, full
    finally:
        subprocess.run(["umount", str(data)], check=True)


@pytest.mark.root
@needs_root
def test_a_terraform_that_finds_no_room_for_its_own_words_is_disk_full(runner: Runner):
    data = runner.place.data_dir
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(data)], check=True)
    try:
        runner.folder("b-0000000001").mkdir(parents=True)
        fill = f"head -c 1000000 /dev/zero > {data}/filler 2>/dev/null; echo 'no space left on device'; exit 1"
        runner.pretend_terraform(f'[ "$1" = init ] && exit 0; {fill}')
        assert runner.run(runner.place.build_spec()).code is ReasonCode.DISK_FULL
    finally:
        subprocess.run(["umount", str(data)], check=True)


def test_a_build_that_takes_too_long_is_ended_with_all_that_it_runs(runner: Runner):
    runner.pretend_terraform('[ "$1" = init ] && exit 0; trap "" INT; sleep 300.5 & wait; wait')
    begun = time.monotonic()
    late = runner.run(runner.place.build_spec(timeout_seconds=1))
    assert late.code is ReasonCode.BUILD_TIMEOUT
    assert time.monotonic() - begun < 30  # and not three hundred
    sleeping = ["sleep", "300.5"]
    wait_until(lambda: all(one.info["cmdline"] != sleeping for one in psutil.process_iter(["cmdline"])))


def test_a_build_told_to_end_says_so(runner: Runner):
    runner.pretend_terraform('[ "$1" = init ] && exit 0; touch begun; exec sleep 300.6')
    process = runner.begin(runner.place.build_spec())
    wait_until((runner.place.data_dir / "terraform" / INSTANCE_ID / "begun").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    ended = runner.result()
    assert ended.code is ReasonCode.BUILD_TIMEOUT
    assert "told to end" in ended.words


def test_a_build_runs_once_only(runner: Runner):
    runner.pretend_terraform("echo x >> count")
    assert runner.run(runner.place.build_spec()).is_ok
    first = runner.result()
    again = runner.again("b-0000000001")
    assert b"ran already" in again.communicate(timeout=10)[1]
    assert again.returncode == 1
    assert runner.result() == first
    counted = (runner.place.data_dir / "terraform" / INSTANCE_ID / "count").read_text(encoding="utf-8")
    assert counted == "x\nx\n"  # init and apply


def test_two_builds_of_one_instance_never_run_at_once(runner: Runner):
    runner.pretend_terraform("mkdir alone || exit 9; sleep 0.2; rmdir alone")
    both = [runner.begin(runner.place.build_spec(f"b-000000000{number}")) for number in (1, 2)]
    for process in both:
        process.communicate(timeout=20)
    assert [runner.result(f"b-000000000{number}").is_ok for number in (1, 2)] == [True, True]


def test_a_specification_that_cannot_be_read_is_a_result_too(runner: Runner):
    folder = runner.folder("b-0000000001")
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text('{"build_id": 3}', encoding="utf-8")
    runner.again("b-0000000001").communicate(timeout=10)
    assert runner.result().code is ReasonCode.TERRAFORM_FAILED


@pytest.mark.terraform
@pytest.mark.sandbox
@needs_terraform
@needs_sandbox
@pytest.mark.parametrize("torn", ["", '{"version": 4, "res'])
def test_an_instance_of_which_no_state_is_left_is_removed_with_its_home(runner: Runner, torn: str):
    assert runner.run(runner.place.build_spec()).is_ok
    folder = runner.place.data_dir / "terraform" / INSTANCE_ID
    (folder / "terraform.tfstate").write_text(torn, encoding="utf-8")
    (folder / "terraform.tfstate.backup").unlink(missing_ok=True)
    gone = runner.run(runner.place.build_spec("b-0000000002", generation=2, state=DesiredState.ABSENT))
    assert gone.is_ok, gone
    assert runner.place.processes() == []
    assert not runner.place.home.exists()


def test_a_place_without_a_module_is_refused():
    with pytest.raises(BuildFailedError):
        find_module("../local")
    assert find_module("local").joinpath("main.tf").is_file()


def test_a_changed_module_is_copied_and_initialised_again(tmp_path: Path):
    module, folder, templates = tmp_path / "m", tmp_path / "f", tmp_path / "t"
    module.mkdir()
    (module / "main.tf").write_text("# 1", encoding="utf-8")
    (module / "old.tf").touch()
    first = prepare_folder(module, folder, {"a": 1})
    assert not is_initialised(folder, first, templates)
    (folder / ".terraform").mkdir()
    (folder / ".terraform" / "made").touch()
    keep_template(folder, first, templates)
    assert is_initialised(folder, first, templates)
    second_folder = tmp_path / "g"
    assert prepare_folder(module, second_folder, {}) == first
    assert is_initialised(second_folder, first, templates)
    assert (second_folder / ".terraform" / "made").exists()
    (module / "old.tf").unlink()
    (module / "main.tf").write_text("# 2", encoding="utf-8")
    second = prepare_folder(module, folder, {"a": 1})
    assert second != first
    assert not is_initialised(folder, second, templates)
    assert not (folder / "old.tf").exists()


@pytest.mark.terraform
@pytest.mark.slow
@needs_terraform
@pytest.mark.parametrize("command", [["fmt", "-check", "-recursive"], ["validate"], ["test"]])
def test_the_module_is_formatted_valid_and_tested(tmp_path: Path, command: list[str]):
    copy = tmp_path / "local"
    shutil.copytree(MODULE, copy, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CHECKPOINT_DISABLE": "1"}
    for step in (["init", "-input=false"], command):
        done = subprocess.run(
            ["terraform", *step], cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
