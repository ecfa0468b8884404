"""The launcher, as real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest

from infra.local_place import INSTANCE_ID, LocalPlace, has_ended, needs_sandbox, wait_until
from nightingale.contract.build import LaunchMount
from nightingale.contract.vocabulary import ReasonCode

pytestmark = [pytest.mark.sandbox, needs_sandbox]


def test_a_start_returns_while_its_launcher_goes_on_in_a_session_of_its_own(place: LocalPlace):
    place.started()
    record = place.record()
    launcher = psutil.Process(record.pid)
    assert os.getsid(record.pid) not in {record.pid, os.getsid(0)}
    assert launcher.cwd() == "/"
    assert (record.generation, record.sandbox) == (1, "bubblewrap")
    assert abs(datetime.now(UTC) - record.started_at) < timedelta(seconds=10)  # noqa: TID251 - the machine's own time


def test_the_instances_files_are_its_owners_alone(place: LocalPlace):
    place.started()
    assert place.instance_dir.stat().st_mode & 0o777 == 0o700
    assert (place.instance_dir / "secret" / "jupyter.token").stat().st_mode & 0o777 == 0o600
    assert place.home.stat().st_mode & 0o777 == 0o700
    assert (place.instance_dir / "run" / "codes").is_dir()


def test_the_same_generation_twice_is_started_once(place: LocalPlace):
    place.started()
    first = place.record()
    again = place.start()
    assert again.returncode == 0, again.stderr
    assert place.record() == first
    assert (place.home / "starts").read_text(encoding="utf-8") == "x"


def test_a_later_generation_replaces_one_that_lives_and_has_another_token(place: LocalPlace):
    place.started()
    launcher = psutil.Process(place.record().pid)
    token = (place.instance_dir / "secret" / "jupyter.token").read_text(encoding="ascii")
    old = place.server()
    place.started(generation=2)
    assert place.record().generation == 2
    assert has_ended(launcher)
    assert has_ended(old)
    assert (place.instance_dir / "secret" / "jupyter.token").read_text(encoding="ascii") != token
    assert not (place.instance_dir / "exit.json").exists()


@pytest.mark.slow
def test_a_later_generation_replaces_one_that_hangs(place: LocalPlace):
    place.started()
    place.server().suspend()
    launcher = psutil.Process(place.record().pid)
    launcher.suspend()
    begun = time.monotonic()
    place.started(generation=2)
    assert time.monotonic() - begun > 5  # it was asked first
    assert place.record().generation == 2


def test_two_starts_at_once_make_one_server(place: LocalPlace):
    told = place.environment(NIGHTINGALE_LAUNCH=msgspec.json.encode(place.spec()).decode())
    both = [
        subprocess.Popen(place.command("start"), env=told, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=30)[1] for process in both]
    place.seen()
    assert [process.returncode for process in both] == [0, 0], said
    assert len(place.servers()) == 1
    assert (place.home / "starts").read_text(encoding="utf-8") == "x"


def test_a_start_that_comes_late_does_not_replace_a_later_one(place: LocalPlace):
    place.started(generation=2)
    late = place.start(generation=1)
    assert refused(late) is ReasonCode.STATE_LOCKED
    assert place.record().generation == 2
    assert place.server().is_running()


def test_stop_ends_server_and_kernels_and_says_that_it_was_asked(place: LocalPlace):
    place.started()
    assert len(place.processes()) >= 2
    assert place.stop().returncode == 0
    ended = place.ended()  # with 0, so it was not killed after its five seconds
    assert (ended.code, ended.is_asked, ended.exit_code, ended.generation) == (ReasonCode.ASKED, True, 0, 1)
    assert place.processes() == []
    assert not (place.instance_dir / "secret" / "jupyter.token").exists()
    assert not (place.instance_dir / "secret" / "instance.token").exists()


def test_stop_of_what_does_not_run_is_no_error(place: LocalPlace):
    assert place.stop().returncode == 0
    place.started()
    assert place.stop().returncode == 0
    assert place.stop().returncode == 0


@pytest.mark.slow
def test_a_server_deaf_to_sigterm_is_killed_after_five_seconds(place: LocalPlace):
    place.wish(is_deaf=True)
    place.started()
    begun = time.monotonic()
    assert place.stop().returncode == 0
    assert 4.9 < time.monotonic() - begun < 15
    assert place.ended().is_asked
    assert place.processes() == []


def test_a_killed_server_is_explained_at_once(place: LocalPlace):
    place.started()
    before = datetime.now(UTC)  # noqa: TID251 - the machine's own time
    place.server().kill()
    ended = place.ended()
    assert (ended.code, ended.signal, ended.is_asked) == (ReasonCode.JUPYTER_KILLED, signal.SIGKILL, False)
    assert timedelta(seconds=-1) < ended.ended_at - before < timedelta(seconds=3)  # one, where nothing else runs
    assert ended.ended_at.microsecond == 0
    assert ended.ended_at.tzinfo is not None
    assert ended.last_lines == ("first words",)
    assert "SIGKILL" in ended.words
    assert ended.next_step
    wait_until(lambda: place.processes() == [])


def test_a_server_that_ends_at_once_is_explained_with_its_last_lines(place: LocalPlace):
    place.wish(exit=3)
    assert place.start().returncode == 0
    ended = place.ended()
    assert (ended.code, ended.exit_code, ended.signal) == (ReasonCode.JUPYTER_EXITED, 3, None)
    assert ended.last_lines == ("first words", "cannot go on")


def test_nothing_survives_a_killed_launcher_and_the_next_start_works(place: LocalPlace):
    place.started()
    psutil.Process(place.record().pid).kill()
    wait_until(lambda: place.processes() == [])
    assert not (place.instance_dir / "exit.json").exists()
    place.started(generation=2)
    assert place.record().generation == 2


def test_the_home_survives_and_stale_sockets_do_not(place: LocalPlace):
    place.started()
    place.stop()
    (place.instance_dir / "run" / "jupyter.sock").touch()
    (place.instance_dir / "run" / "limits.json").unlink()
    (place.instance_dir / "run" / "limits.json").symlink_to(place.folder / "victim")
    place.started(generation=2)
    assert (place.home / "starts").read_text(encoding="utf-8") == "xx"
    assert not (place.folder / "victim").exists()


def test_a_start_announces_the_instance_anew_and_its_end_takes_that_back(place: LocalPlace):
    announcement = place.data_dir / "run" / "up" / INSTANCE_ID
    place.started()
    first = announcement.stat().st_mtime_ns
    place.started(generation=2)
    assert announcement.stat().st_mtime_ns > first
    place.server().kill()
    place.ended()
    wait_until(lambda: not announcement.exists())
    place.started(generation=3)
    psutil.Process(place.record().pid).kill()
    place.stop()
    assert not announcement.exists()


def test_the_instances_own_token_names_it_and_lies_inside_while_the_shippers_does_not(place: LocalPlace):
    seen = place.started()
    secret = place.instance_dir / "secret" / "instance.token"
    assert re.fullmatch(rf"ni_[a-z-]*_{INSTANCE_ID}_[0-9a-f]{{64}}", secret.read_text(encoding="ascii"))
    assert secret.stat().st_mode & 0o777 == 0o600
    assert seen["environment"]["NIGHTINGALE_INSTANCE_TOKEN_FILE"] == "/run/nightingale-secret/instance.token"
    shipper = place.instance_dir / "shipper.token"
    assert shipper.stat().st_mode & 0o777 == 0o600
    assert shipper.stat().st_uid == os.getuid()


def test_nothing_is_inherited_by_the_server(place: LocalPlace):
    seen = place.started()
    assert "planted-secret" not in json.dumps(seen["environment"])
    assert set(seen["environment"]) <= {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_CTYPE", "PWD",
        "NIGHTINGALE_HOME", "NIGHTINGALE_DATA", "NIGHTINGALE_RUN", "NIGHTINGALE_TOKEN_FILE",
        "NIGHTINGALE_INSTANCE_TOKEN_FILE", "NIGHTINGALE_PERSON", "NIGHTINGALE_INSTANCE", "NIGHTINGALE_TIER",
        "NIGHTINGALE_PACKAGES_PORT",
    }  # fmt: skip
    assert seen["environment"]["NIGHTINGALE_INSTANCE"] == INSTANCE_ID
    assert seen["has_token"]


def test_a_resize_is_read_inside(place: LocalPlace):
    small = place.started(cores=1, memory_mib=512)
    large = place.started(generation=2, cores=64, memory_mib=1024)
    assert (small["affinity"], small["data_limit"]) == (1, 512 * 1024 * 1024)
    assert large["affinity"] == len(os.sched_getaffinity(0))
    assert large["data_limit"] == 1024 * 1024 * 1024
    assert large["core_limit"] == 0
    [cpu] = [limit for limit in large["limits"] if limit["resource"] == "cpu"]
    assert cpu["enforced_by"] is None
    assert "This machine has" in cpu["why"]
    assert large["limits"] == [dict(limit) for limit in place.record().limits]


def refused(done: subprocess.CompletedProcess[str]) -> ReasonCode:
    assert done.returncode == 1
    said = json.loads(done.stderr)
    assert said["words"]
    assert said["next_step"]
    return ReasonCode(said["code"])


def test_an_image_that_is_not_there_is_refused(place: LocalPlace):
    assert refused(place.start(python="/nowhere/bin/python")) is ReasonCode.IMAGE_UNAVAILABLE
    assert not place.home.exists()


def test_a_dataset_that_is_not_there_is_refused(place: LocalPlace):
    mount = LaunchMount(dataset="ct", version="1", tier=0, source="/nowhere")
    assert refused(place.start(datasets=(mount,))) is ReasonCode.DATASET_UNAVAILABLE


def test_a_socket_path_that_is_too_long_is_refused_in_words(place: LocalPlace):
    deep = place.data_dir / ("x" * 80) / "instances" / INSTANCE_ID
    done = place.start(instance_dir=str(deep))
    assert refused(done) is ReasonCode.TERRAFORM_FAILED
    assert "107" in done.stderr
    assert "shorter" in done.stderr


def test_remove_takes_home_and_token_and_leaves_the_log(place: LocalPlace):
    place.started()
    assert place.remove().returncode == 0
    assert not place.home.exists()
    assert not (place.instance_dir / "secret").exists()
    assert (place.instance_dir / "jupyter.log").exists()
    assert place.processes() == []


def test_remove_refuses_what_is_no_instances_home(place: LocalPlace):
    precious = place.folder / "precious"
    precious.mkdir()
    assert refused(place.remove(precious)) is ReasonCode.TERRAFORM_FAILED
    assert precious.is_dir()


def test_remove_follows_no_link_out_of_a_home(place: LocalPlace):
    precious = place.folder / "precious"
    precious.mkdir()
    (precious / "file").touch()
    place.home.mkdir(parents=True)
    (place.home / "link").symlink_to(precious)
    assert place.remove().returncode == 0
    assert (precious / "file").exists()


def test_wrong_use_is_said(place: LocalPlace):
    assert place.launcher("dance").returncode == 2


def test_status_and_probe_answer_as_json(place: LocalPlace):
    place.started()
    told = json.dumps({"instance_dir": str(place.instance_dir)})
    status = json.loads(place.launcher("status", NIGHTINGALE_STOP=told).stdout)
    assert status["is_up"]
    assert status["launcher"]["generation"] == 1
    assert json.loads(place.launcher("probe").stdout) == {"name": "bubblewrap", "why": ""}


def test_the_servers_log_is_not_open_inside(place: LocalPlace):
    place.started()
    opened = {link.readlink() for link in Path(f"/proc/{place.server().pid}/fd").iterdir()}
    assert place.instance_dir / "jupyter.log" not in opened
