"""`nightingale-instance` and its Python API, against the real door of a platform in memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import nightingale_instance
from infra.local_place import wait_until
from nightingale_instance import magic
from nightingale_instance.command import main
from nightingale_instance.jobs import Job, job_name, lines_to_tell, size_of
from nightingale_instance.platform_api import PlatformApi, PlatformError
from nightingale_instance.running import name_of
from notebook_image.platform_place import Place, open_place

SOURCE = Path(__file__).parents[2] / "notebook-image" / "src"


@dataclass
class Inside:
    """The inside of the instance `scan`."""

    place: Place
    instance_id: str
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def api(self) -> PlatformApi:
        return PlatformApi.of_environment(self.environment)

    @property
    def instance(self) -> dict[str, Any]:
        found: dict[str, Any] = self.place.platform.ask("get_instance", "grace", "scan")
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command as a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-m", "nightingale_instance.command", *arguments],
            env=self.environment | {"PYTHONPATH": str(SOURCE)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what was started and still runs."""
        for process in self.started:
            process.kill()
            process.communicate(timeout=20)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=30)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    with open_place() as place:
        instance_id = place.up("scan")
        place.open()
        environment = place.environment(instance_id, "scan")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        made = Inside(place, instance_id, environment)
        yield made
        made.end()


# --- looking and telling ----------------------------------------------------------------------------------------------


def test_status_says_why_it_is_up_when_it_stops_and_what_it_cost(
    inside: Inside, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extend", "2h"]) == 0
    capsys.readouterr()
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    for words in ("scan", "running", "why up", "stops", "2026-11-02 11:00 UTC", "EUR so far"):
        assert words in said
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == inside.instance


def test_progress_words_and_checkpoints_arrive(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["progress", "40", "--note", "epoch 4"]) == 0
    assert main(["notify", "half", "done"]) == 0
    assert main(["checkpoint", "--note", "best so far"]) == 0
    seen = inside.instance
    assert (seen["job"]["percent"], seen["job"]["note"]) == (40, "epoch 4")
    assert [one["text"] for one in seen["notifications"]] == ["half done"]
    assert [one["note"] for one in seen["checkpoints"]] == ["best so far"]
    assert capsys.readouterr().out == ""
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    for words in ("40 % epoch 4", "half done", "best so far"):
        assert words in said


@pytest.mark.parametrize(
    ("arguments", "status"), [(["stop"], "stopping"), (["resize", "--cpu", "m"], "resizing")], ids=["stop", "resize"]
)
def test_it_stops_and_resizes_itself(inside: Inside, arguments: list[str], status: str) -> None:
    assert main(arguments) == 0
    assert inside.instance["status"] == status


def test_what_is_refused_is_said_with_what_to_do_next(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resize", "--cpu", "zz"]) == 1
    assert "error:" in capsys.readouterr().err
    inside.place.platform.own_token("scan")
    (inside.place.root / "scan.token").write_text("ni_brain_i-0000000001_" + "0" * 64, encoding="ascii")
    assert main(["status"]) == 1
    said = capsys.readouterr().err
    assert "hint:" in said
    assert "0" * 64 not in said


@pytest.mark.parametrize("arguments", [["extend", "2 weeks"], ["progress", "101"], ["progress", "x"], ["dance"], []])
def test_wrong_use_ends_with_2(inside: Inside, arguments: list[str]) -> None:
    assert inside.instance_id
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_run_and_resize_without_anything_to_do_end_with_2(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--"]) == main(["resize"]) == 2
    assert capsys.readouterr().err.count("hint:") == 2
    assert inside.instance["job"] is None


def test_outside_of_an_instance_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NIGHTINGALE_RUN", raising=False)
    assert main(["status"]) == 1
    assert "not the inside of an instance" in capsys.readouterr().err


# --- run --------------------------------------------------------------------------------------------------------------


def test_run_passes_output_on_keeps_it_up_and_ends_as_the_command_does(inside: Inside) -> None:
    program = "import sys, os; print('out'); print('err', file=sys.stderr); print(os.environ['NIGHTINGALE_JOB'][:2])"
    done = inside.run("run", "--name", "train", "--", sys.executable, "-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\nj-\n", "err\n")
    assert inside.instance["job"] is None
    assert inside.instance["notifications"] == []
    assert inside.place.platform.audit.tags(inside.instance_id)[-2:] == ["job:begin:accepted", "job:end:recorded"]


def test_output_comes_while_the_command_runs_and_the_job_shows(inside: Inside) -> None:
    go_on = inside.place.root / "go on"
    program = f"import os, time; print('begun')\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
    process = inside.start("run", "--name", "train", "--", sys.executable, "-c", program)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert inside.instance["job"]["name"] == "train"
    go_on.touch()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_bad_end_is_told_with_its_last_lines_and_nothing_follows(inside: Inside) -> None:
    done = inside.run("run", "--then", "stop", "--", sys.executable, "-c", "raise KeyError('weights')")
    assert done.returncode == 1
    assert "left as it is" in done.stderr
    [told] = inside.instance["notifications"]
    assert "ended with exit status 1" in told["text"]
    assert told["log_tail"][-1] == "KeyError: 'weights'"
    assert inside.instance["status"] == "running"


@pytest.mark.parametrize(
    ("then", "status"), [("stop", "stopping"), ("delete", "terminating"), ("resize:cpu=m", "resizing")]
)
def test_after_a_good_end_follows_what_was_asked(inside: Inside, then: str, status: str) -> None:
    assert inside.run("run", "--then", then, "--", "true").returncode == 0
    assert inside.instance["status"] == status


def test_always_means_after_a_bad_end_too(inside: Inside) -> None:
    assert inside.run("run", "--then", "stop", "--always", "--", "false").returncode == 1
    assert inside.instance["status"] == "stopping"


def test_what_cannot_follow_makes_a_good_end_bad(inside: Inside) -> None:
    done = inside.run("run", "--then", "resize:cpu=zz", "--", "true")
    assert done.returncode == 1
    assert "was refused" in done.stderr


def test_a_then_that_is_none_is_refused_before_anything_runs(inside: Inside) -> None:
    for then in ("dance", "stop:now", "resize", "resize:speed=m"):
        done = inside.run("run", "--then", then, "--", sys.executable, "-c", "print('ran')")
        assert (done.returncode, done.stdout) == (1, "")


def test_a_command_that_is_not_there_ends_with_127_and_one_that_is_no_program_with_126(inside: Inside) -> None:
    assert inside.run("run", "--", "no-such-program").returncode == 127
    assert inside.run("run", "--", str(inside.place.root)).returncode == 126
    assert inside.instance["job"] is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_reach_the_command_whose_end_decides(inside: Inside, number: signal.Signals) -> None:
    program = (
        "import signal, sys, time; signal.signal(int(sys.argv[1]), lambda *_: sys.exit(7)); print('up'); time.sleep(30)"
    )
    process = inside.start("run", "--", sys.executable, "-c", program, str(int(number)))
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 7


def test_a_killed_command_ends_with_128_and_the_signals_number(inside: Inside) -> None:
    assert inside.run("run", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_a_run_outlives_the_api_and_begins_anew_after_a_lost_lease(inside: Inside) -> None:
    said: list[str] = []
    job = Job(PlatformApi.of_environment(inside.environment, patience_s=0.1), "train", say=said.append, renew_s=0.2)
    job.begin()
    first = job.id
    job.progress(30, "a third")
    wait_until(lambda: (inside.instance["job"] or {}).get("percent") == 30)
    inside.place.close()
    wait_until(lambda: len(said) == 1)
    inside.place.platform.clock.advance(61)
    assert inside.instance["job"] is None
    inside.place.open()
    wait_until(lambda: (inside.instance["job"] or {}).get("percent") == 30)
    assert job.id != first
    assert "again" in said[1]
    assert job.end(0)
    assert inside.instance["job"] is None


def test_without_a_platform_the_command_runs_all_the_same(inside: Inside) -> None:
    inside.place.close()
    done = inside.run("run", "--", sys.executable, "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "does not keep the instance up" in done.stderr


# --- Python -----------------------------------------------------------------------------------------------------------


def test_a_job_in_python_keeps_it_up_tells_progress_and_stops_it(inside: Inside) -> None:
    with nightingale_instance.job("train", then="stop") as job:
        assert inside.instance["job"]["name"] == "train"
        job.progress(150, note="x" * 300)
        wait_until(lambda: inside.instance["job"]["percent"] == 100)
        assert len(inside.instance["job"]["note"]) == 200
    assert inside.instance["status"] == "stopping"


def test_what_follows_a_job_follows_where_nobody_reads_its_words_any_more(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        with nightingale_instance.job("train", then="stop"):
            pass
        monkeypatch.undo()
        assert inside.instance["status"] == "stopping"
        with contextlib.suppress(BrokenPipeError):
            nobody.close()


def test_an_exception_goes_on_its_way_and_its_last_lines_are_told(inside: Inside) -> None:
    with pytest.raises(ValueError, match="no gradient"), nightingale_instance.job("train", then="stop"):
        raise ValueError("no gradient")
    [told] = inside.instance["notifications"]
    assert told["log_tail"][-1] == "ValueError: no gradient"
    assert inside.instance["status"] == "running"


def test_the_last_progress_of_a_burst_is_the_one_that_is_told(inside: Inside) -> None:
    job = Job(inside.api, "train")
    before = threading.active_count()
    job.begin()
    for percent in range(90):
        job.progress(percent)
    wait_until(lambda: inside.instance["job"]["percent"] == 89)
    assert threading.active_count() < before + 10
    job.end(0)


def test_the_magic_says_what_the_command_says(inside: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    magic.nightingale("progress 12 --note 'from a cell'")
    assert inside.instance["job"]["note"] == "from a cell"
    magic.nightingale("status")
    assert "12 % from a cell" in capsys.readouterr().out
    for wrong in ("dance", "progress 'x"):
        magic.nightingale(wrong)
        assert "error:" in capsys.readouterr().err


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "-u", "/home/ada/train.py", "--lr", "1"], "train.py"),
        (["/usr/bin/make", "all.py"], "make"),
        (["bash", "-c", "x"], "bash"),
        (["./prüf lauf;"], "pr-f lauf-"),
        (["..."], "job"),
    ],
)
def test_a_job_is_called_after_what_runs(command: list[str], name: str) -> None:
    assert name_of(command) == name


def test_names_and_lines_are_made_to_fit() -> None:
    assert len(job_name("x" * 100)) == 40
    assert lines_to_tell(["", "a\x1b[31mb", "x" * 300]) == ["a [31mb", "x" * 200]
    assert len(lines_to_tell([str(number) for number in range(50)])) == 10
    assert size_of(["gpu=none", " cpu=s"]) == {"gpu": "none", "cpu": "s"}
    with pytest.raises(PlatformError, match="no size"):
        size_of(["gpu"])
