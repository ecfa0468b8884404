"""`nightingale demo --check`: the whole job without a screen, in a folder of its own, and every figure compared.

start, apply, log in, launch, tunnel, cell, reads, crash, retry, resize, stop, start, take out what may not leave,
delete, bill, audit: as a person would, through the API and the system's ssh.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from nightingale.adapters.system_clock import SystemClock
from nightingale.contract.build import LauncherRecord
from nightingale.contract.schemas import InstanceOut, LaunchIn, ResizeIn, Size
from nightingale.contract.vocabulary import ReasonCode, Status
from nightingale_local import control, demo, forbidden
from nightingale_local.attempts import hold, report
from nightingale_local.check_bill import bill_of, history_of
from nightingale_local.check_honeypot import touch
from nightingale_local.check_reads import is_audit_whole, observer_of, reads_of
from nightingale_local.check_report import FIELDS
from nightingale_local.demo_material import CT_FILE, DATASET, SENSITIVE, VERSION
from nightingale_local.folders import Folders, StoreChoice, read_json
from nightingale_local.leftovers import processes_of
from nightingale_local.measures import (
    KEPT_CELL,
    LIMIT_CELL,
    READ_CELL,
    SHAPE_PROGRAM,
    CheckFailedError,
    ask_status,
    jupyter_process,
    require,
    run_cell,
)
from nightingale_tui.api.client import Api
from nightingale_tui.api.errors import ClientError
from nightingale_tui.settings import Settings as ClientSettings
from nightingale_tui.tunnel import Tunnel

_NAME = "check"
_VAULT = "vault"
_READY_SECONDS = 60.0
_CRASH_BOUND_SECONDS = 2


class Check:
    """One run. `report` is what `--json` prints."""

    def __init__(self, note: Callable[[str], None]) -> None:
        """Take where progress goes."""
        self._note = note
        self._clock = SystemClock()
        self.report: dict[str, Any] = dict.fromkeys(FIELDS)
        self.report |= {"ok": False, "store": "sqlite", "profile": "root" if os.geteuid() == 0 else "user", "steps": []}

    def run(self, host: str = "chalice", store: StoreChoice | None = None) -> bool:
        """Play the job and return whether all of it held. Cleans up in any case."""
        self.report["host"] = host
        if store is not None:
            self.report["store"] = store.kind
        # Short: a socket's path ends at 107 bytes.
        folder = Path(tempfile.mkdtemp(prefix="ng-check-"))
        folders = Folders(folder)
        roots: set[int] = set()
        held = is_clean = False
        try:
            with self._step("start"):
                control.up_detached(folders, 0, host, store)
                roots.update(entry["pid"] for entry in control.status(folders)["processes"])
            self._play(folders)
            held = True
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the report is written and all is cleaned up
            self._note(f"failed: {type(error).__name__}: {error}")
        finally:
            is_clean = self._clean_up(folders, roots)
        self.report["ok"] = held and is_clean
        return held and is_clean

    def _play(self, folders: Folders) -> None:
        with self._step("apply"):
            demo.apply_demo(folders)
            require(not demo.apply_demo(folders).changes, "applying the same cluster file twice changed something")
        with self._step("login"):
            api, settings = demo.log_in(folders, dict(os.environ))
        with ExitStack() as stack:
            stack.callback(api.close)
            with self._step("launch"):
                began = time.monotonic()
                body = LaunchIn(name=_NAME, size=Size(cpu="s", memory="s"), datasets=(DATASET,))
                launched = api.launch_instance(demo.PROJECT, body)
                self._until(api, Status.RUNNING)
                self.report["launch_to_ready_s"] = round(time.monotonic() - began, 3)
            self._take_build_times(api, folders, launched.id)
            self._open_and_run(api, settings, folders)
            self._reads(api, launched.id)
            self._crash(api, folders, launched.id)
            vault = self._launch_vault(api, msgspec.structs.replace(body, name=_VAULT, datasets=(SENSITIVE,)))
            with self._step("retry"):
                api.retry_instance(demo.PROJECT, _NAME)
                self._until(api, Status.RUNNING)
            self._resize(api, settings)
            with self._step("stop"):
                api.stop_instance(demo.PROJECT, _NAME)
                self._until(api, Status.STOPPED)
            with self._step("start again"):
                api.start_instance(demo.PROJECT, _NAME)
                self._until(api, Status.RUNNING)
                require(self._cell(api, settings, KEPT_CELL).strip() == "kept", "the home folder was lost")
            if vault is not None:
                self._forbidden(api, settings, folders, launched.id)
                self._honeypot(api, settings, folders)
            with self._step("delete"):
                ids = (launched.id, *([] if vault is None else [vault]))
                for one in ids:
                    api.delete_instance(demo.PROJECT, one)
                for one in ids:
                    self._until(api, Status.TERMINATED, name=one)
                left = [found for one in ids for found in (folders.root / "homes").glob(f"*{one}*")]
                require(not left, f"delete left homes behind: {left}")
            with self._step("bill"):
                self.report |= bill_of(api, demo.PROJECT, ids)
            self._audit(folders, ids)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _take_build_times(self, api: Api, folders: Folders, instance_id: str) -> None:
        (build,) = api.list_builds(demo.PROJECT, _NAME).builds
        self.report["terraform_s"] = round((build.init_s or 0) + (build.apply_s or 0), 3)
        self.report["jupyter_start_s"] = round(self.report["launch_to_ready_s"] - self.report["terraform_s"], 3)
        require(self._launcher(folders, instance_id) is not None, "the running instance has no launcher record")

    def _open_and_run(self, api: Api, settings: ClientSettings, folders: Folders) -> None:
        with self._step("tunnel"):
            jupyter = api.open_jupyter(demo.PROJECT, _NAME)
            with Tunnel.open(api, settings, demo.PROJECT, _NAME) as tunnel:
                self.report["tunnel_status"] = ask_status(tunnel.local_port, jupyter.token)
                without = ask_status(tunnel.local_port, "wrong")
            require(self.report["tunnel_status"] == 200, f"/api/status said {self.report['tunnel_status']}")  # noqa: PLR2004 - HTTP's own
            require(without == 403, f"/api/status with a wrong token said {without}, not 403")  # noqa: PLR2004 - HTTP's own
        with self._step("cell"):
            output = self._cell(api, settings, READ_CELL).strip()
            self.report["cell_output"] = output
            scan = folders.datasets / DATASET / VERSION / CT_FILE
            command = [str(control.find_image_python()), "-I", "-c", SHAPE_PROGRAM, str(scan)]
            direct = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
            require(output == direct, f"the cell printed {output!r}, pydicom read directly says {direct!r}")

    def _reads(self, api: Api, instance_id: str) -> None:
        with self._step("reads"):
            observer = observer_of(api.get_instance(demo.PROJECT, _NAME))
            self.report["observer"] = observer
            if observer["name"] is not None:
                self.report["reads"] = reads_of(api, demo.PROJECT, instance_id, CT_FILE)
            require(observer["name"] is not None or os.geteuid() != 0, f"nothing is recorded: {observer['words']}")

    def _launch_vault(self, api: Api, body: LaunchIn) -> str | None:
        """Launch an instance of tier 2, which starts beside what follows, and return its id; None where it may not."""
        if self.report["profile"] == "root":
            return api.launch_instance(demo.PROJECT, body).id
        with self._step("tier 2 is refused"):
            self.report["forbidden_reason"] = forbidden.refusal_of_launch(api, demo.PROJECT, body)
        return None

    def _forbidden(self, api: Api, settings: ClientSettings, folders: Folders, other: str) -> None:
        with self._step("launch at tier 2"):
            vault = self._until(api, Status.RUNNING, name=_VAULT)
        with self._step("forbidden"), contextlib.closing(demo.operator_api(folders)) as operator:
            target = forbidden.Target(api, operator, settings, folders, demo.PROJECT, vault, other)
            attempts = forbidden.play(target)
            self.report |= report(attempts)
            hold(attempts)

    def _honeypot(self, api: Api, settings: ClientSettings, folders: Folders) -> None:
        with self._step("honeypot"), contextlib.closing(demo.operator_api(folders)) as operator:
            cell = partial(self._cell, api, settings, name=_VAULT)
            self.report |= touch(api, operator, demo.PROJECT, _VAULT, cell)

    def _audit(self, folders: Folders, instance_ids: tuple[str, ...]) -> None:
        with self._step("audit"), contextlib.closing(demo.operator_api(folders)) as operator:
            reads = tuple(f"reads-{one}" for one in instance_ids) if self.report["reads"] else ()
            self.report["audit_verified"] = is_audit_whole(operator, ("platform", *instance_ids, *reads))

    def _crash(self, api: Api, folders: Folders, instance_id: str) -> None:
        with self._step("crash"):
            time.sleep(2.5)  # let a few seconds of use stand on the bill
            launcher = self._launcher(folders, instance_id)
            require(launcher is not None, "the running instance has no launcher record")
            victim = jupyter_process(launcher.pid if launcher is not None else 0)
            killed_at, began = self._clock.now(), time.monotonic()
            os.kill(victim, signal.SIGKILL)
            failed = self._until(api, Status.FAILED)
            self.report["crash_detected_s"] = round(time.monotonic() - began, 3)
            reason = failed.reason
            require(
                reason is not None and reason.code is ReasonCode.JUPYTER_KILLED,
                f"the reason given is {reason.code if reason else None}, not {ReasonCode.JUPYTER_KILLED}",
            )
            require(reason is not None and reason.words and reason.next_step, "the crash is not explained")
            require(reason is not None and reason.log_tail, "the crash is shown without the log's last lines")
            entry = history_of(api, demo.PROJECT, _NAME)[-1]
            ended = entry.billed_until
            require(
                ended is not None and abs(ended - killed_at) <= timedelta(seconds=_CRASH_BOUND_SECONDS),
                f"killed at {killed_at}, billed until {ended}",
            )
            require(
                self.report["crash_detected_s"] <= _CRASH_BOUND_SECONDS,
                f"the crash was seen after {self.report['crash_detected_s']} s",
            )

    def _resize(self, api: Api, settings: ClientSettings) -> None:
        with self._step("resize"):
            small = self._cell(api, settings, LIMIT_CELL).split()
            api.resize_instance(demo.PROJECT, _NAME, ResizeIn(cpu="m", memory="m"))
            self._until(api, Status.RUNNING)
            large = self._cell(api, settings, LIMIT_CELL).split()
            require(int(large[1]) > int(small[1]), f"memory limit before the resize {small[1]}, after it {large[1]}")
            if (os.cpu_count() or 1) > 1:
                require(int(large[0]) > int(small[0]), f"cores before the resize {small[0]}, after it {large[0]}")

    def _clean_up(self, folders: Folders, roots: set[int]) -> bool:
        try:
            with self._step("clean up"):
                control.down(folders, with_instances=True)
                until = time.monotonic() + 5
                while (left := processes_of(folders.root, roots)) and time.monotonic() < until:
                    time.sleep(0.05)
                self.report["left_over_processes"] = len(left)
                for pid, words in left.items():
                    self._note(f"left over: {pid} {words}")
                require(not left, f"{len(left)} processes were left over")
        except (CheckFailedError, ClientError, OSError) as error:
            self._note(f"failed: {error}")
            return False
        finally:
            shutil.rmtree(folders.root, ignore_errors=True)
        return True

    # --- inside -------------------------------------------------------------------------------------------------------

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        step: dict[str, Any] = {"name": name, "seconds": 0.0, "ok": False}
        self.report["steps"].append(step)
        try:
            yield
            step["ok"] = True
        finally:
            step["seconds"] = round(time.monotonic() - began, 3)
            self._note(f"{step['seconds']:7.2f} s  {'ok  ' if step['ok'] else 'FAIL'}  {name}")

    def _until(self, api: Api, status: Status, name: str = _NAME) -> InstanceOut:
        """Wait for a status; another settled one ends the wait with its reason."""
        until = time.monotonic() + _READY_SECONDS
        while True:
            seen = api.get_instance(demo.PROJECT, name)
            if seen.status is status:
                return seen
            words = f": {seen.reason.code} {seen.reason.words}" if seen.reason is not None else ""
            if seen.status is Status.FAILED:
                raise CheckFailedError(f"{name} is failed, not {status}{words}")
            if time.monotonic() > until:
                raise CheckFailedError(f"{name} is {seen.status} after {_READY_SECONDS:.0f} s, not {status}{words}")
            time.sleep(0.01)

    def _cell(self, api: Api, settings: ClientSettings, code: str, name: str = _NAME) -> str:
        jupyter = api.open_jupyter(demo.PROJECT, name)
        with Tunnel.open(api, settings, demo.PROJECT, name) as tunnel:
            return run_cell(tunnel.local_port, jupyter.token, code)

    @staticmethod
    def _launcher(folders: Folders, instance_id: str) -> LauncherRecord | None:
        return read_json(folders.root / "instances" / instance_id / "launcher.json", LauncherRecord)
