"""Timers and queues on one machine: what runs when, and what carries the ends of builds to the queue."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import msgspec
import pytest

from nightingale.adapters.system_clock import SystemClock
from nightingale.contract.build import BuildSpec
from nightingale.contract.vocabulary import Action, DesiredState
from nightingale_functions_local.bindings import Declared, Queue, read
from nightingale_functions_local.build_relay import BuildRelay
from nightingale_functions_local.host import HOST_FILE
from nightingale_functions_local.queues import MessagesHere, StorageMessages, open_queue
from nightingale_functions_local.running import Running


class LeapingClock:
    """An hour passes with every look."""

    def __init__(self) -> None:
        self._at = datetime(2026, 11, 21, 9, tzinfo=UTC)
        self._turn = threading.Lock()

    def now(self) -> datetime:
        with self._turn:
            self._at += timedelta(hours=1)
            return self._at


class Seen:
    """What an app's functions saw; the second call of the timer is an event to wait for."""

    def __init__(self) -> None:
        self.ticks = 0
        self.twice = threading.Event()
        self.messages: list[bytes] = []
        self.heard = threading.Event()

    def app(self) -> Declared:
        app = func.FunctionApp()

        @app.timer_trigger(schedule="0 * * * * *", arg_name="timer")
        def tick(timer: func.TimerRequest) -> None:
            assert timer.past_due is False
            self.ticks += 1
            if self.ticks == 1:
                message = "the first run fails, and the next one comes all the same"
                raise RuntimeError(message)
            self.twice.set()

        @app.queue_trigger(arg_name="message", queue_name="ends", connection="QUEUE")
        def hear(message: func.QueueMessage) -> None:
            self.messages.append(message.get_body())
            self.heard.set()

        return read(app, HOST_FILE)


def only_queue(declared: Declared) -> Queue:
    (queue,) = declared.queues
    return queue


def test_a_timer_runs_again_after_a_run_that_failed_and_a_message_is_heard() -> None:
    seen = Seen()
    declared = seen.app()
    messages = MessagesHere()
    running = Running(declared, LeapingClock(), {"hear": messages}, {"hear": MessagesHere()})
    running.start()
    try:
        messages.put(b"an end")
        assert seen.twice.wait(30)
        assert seen.heard.wait(30)
    finally:
        running.stop()
    assert seen.messages == [b"an end"]


def test_without_an_account_the_queue_is_in_the_process_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(open_queue(None, "ends"), MessagesHere)
    assert "in this process" in caplog.text
    assert isinstance(open_queue("UseDevelopmentStorage=true", "ends"), StorageMessages)


# --- the ends of builds -----------------------------------------------------------------------------------------------


def begin_build(folder: Path, build_id: str) -> Path:
    made = folder / build_id
    made.mkdir(parents=True)
    spec = BuildSpec(
        build_id=build_id,
        instance_id="i-0123456789",
        generation=3,
        action=Action.LAUNCH,
        desired_state=DesiredState.RUNNING,
        place="local",
        variables={},
        timeout_seconds=60,
    )
    (made / "spec.json").write_bytes(msgspec.json.encode(spec))
    return made


def test_each_end_of_a_build_is_told_once_and_none_from_before(tmp_path: Path) -> None:
    (begin_build(tmp_path, "b-before0000") / "result.json").write_text("{}")
    messages = MessagesHere()
    relay = BuildRelay(tmp_path, messages)
    running = begin_build(tmp_path, "b-after00000")
    relay.look()
    assert messages.take(1) is None
    (running / "result.json").write_text("{}")
    relay.look()
    relay.look()
    message = messages.take(1)
    assert message is not None
    detail = json.loads(message.body)["detail"]
    told = {
        one["name"]: one["value"] for one in detail["additional-information"]["environment"]["environment-variables"]
    }
    assert told == {
        "NIGHTINGALE_BUILD_ID": "b-after00000",
        "NIGHTINGALE_INSTANCE_ID": "i-0123456789",
        "NIGHTINGALE_GENERATION": "3",
    }
    messages.remove(message)
    assert messages.take(1) is None


def test_a_relay_without_any_build_yet_waits(tmp_path: Path) -> None:
    messages = MessagesHere()
    BuildRelay(tmp_path / "builds", messages).look()
    assert messages.take(1) is None


# --- a real queue -----------------------------------------------------------------------------------------------------


def azurite_program() -> str:
    wanted = os.environ.get("NIGHTINGALE_AZURITE", "")
    found = shutil.which("azurite-queue" if wanted in {"", "required"} else wanted)
    if found is not None:
        return found
    why = "azurite-queue is not on PATH: npm install -g azurite, or name it in NIGHTINGALE_AZURITE"
    if wanted:
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture
def azurite(tmp_path: Path) -> Iterator[str]:
    """A storage account's queues on a free port; yields the connection string."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [azurite_program(), "--disableTelemetry", "--silent", "--inMemoryPersistence", "--queuePort", str(port)]
    process = subprocess.Popen([*command, "--skipApiVersionCheck"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 40
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "azurite ended"
                assert time.monotonic() < until, "azurite does not listen"
                time.sleep(0.1)  # it tells nobody when it is ready
        whole = StorageMessages("UseDevelopmentStorage=true", "ends")._connection
        yield whole.replace(":10001/", f":{port}/")
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_messages_of_a_storage_queue_are_heard_and_taken_out(azurite: str) -> None:
    seen = Seen()
    declared = seen.app()
    messages, aside = StorageMessages(azurite, "ends"), StorageMessages(azurite, "ends-poison")
    running = Running(declared, SystemClock(), {"hear": messages}, {"hear": aside})
    assert messages.take(10) is None
    messages.put(b'{"an": "end"}')
    assert running.read_once(only_queue(declared), messages)
    assert seen.messages == [b'{"an": "end"}']
    again: Any = StorageMessages(azurite, "ends")
    assert again.take(10) is None
    assert again._made().get_queue_properties().approximate_message_count == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_message_of_a_storage_queue_comes_back_with_its_count(azurite: str) -> None:
    messages = StorageMessages(azurite, "ends")
    messages.put(b"again")
    first = messages.take(1)
    assert first is not None
    until = time.monotonic() + 30
    while (second := messages.take(1)) is None:
        assert time.monotonic() < until
    assert (first.count, second.count) == (1, 2)
    assert second.body == b"again"
