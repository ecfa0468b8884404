"""Machines that are what the test says they are."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from doubles.logs import FakeLog
from nightingale.contract.build import ExitRecord, LauncherRecord
from nightingale.contract.images import ImageCheck
from nightingale.contract.machines import Door
from nightingale.contract.vocabulary import ReasonCode
from nightingale.ports.clock import Clock
from nightingale.ports.machines import HomeSeen, MachineSeen, MachineState, MachineUnavailableError, SandboxSeen
from nightingale.ports.starts import Starts

_ABSENT = MachineSeen(MachineState.ABSENT)


class FakeMachines:
    """One place's machines. Unknown instances are ABSENT; another generation than the one that is up is ABSENT too."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, int], MachineSeen] = {}
        self._down: str | None = None
        self.sandbox_seen = SandboxSeen(name="bubblewrap", why="", is_trusted=True)
        self.logs: defaultdict[str, FakeLog] = defaultdict(FakeLog)
        self.admitted: list[tuple[str, str, datetime]] = []
        """Instance id, code hash and expiry of every `admit`."""
        self.ended_orphans: list[str] = []
        self.ended_for_good: set[str] = set()
        self.image_digest = "sha256:" + "1" * 64
        self.image_checks: dict[str, ImageCheck] = {}
        self.quarantined: set[str] = set()
        self.is_deaf = False
        """Whether no machine does as quarantine and release tell it."""
        self.homes: dict[str, HomeSeen] = {}
        self.address_fault: Exception | None = None
        """What `address` raises, where it lies in a store."""
        self.asked_in: set[int] = set()
        """Threads in which addresses and tokens were asked for."""
        self.starts: Starts | None = None
        """What machines showed of their starts; where it is set, their tokens are those."""
        self.doors: dict[str, Door] = {}
        self.own_tokens: dict[tuple[str, bool], str] = {}
        """Of (instance id, is the shipper's)."""

    def look(self, instance_id: str, generation: int) -> MachineSeen:
        self._refuse_when_down()
        return self._seen.get((instance_id, generation), _ABSENT)

    def find_all(self) -> Mapping[str, int]:
        self._refuse_when_down()
        return {
            instance_id: generation
            for (instance_id, generation), seen in self._seen.items()
            if seen.state is MachineState.UP
        }

    def end_orphan(self, instance_id: str, *, is_for_good: bool) -> None:
        self.ended_for_good |= {instance_id} if is_for_good else set()
        self.ended_orphans.append(instance_id)
        self.remove(instance_id)

    def sandbox(self) -> SandboxSeen:
        return self.sandbox_seen

    def address(self, instance_id: str) -> str:
        self.asked_in.add(threading.get_ident())
        if self.address_fault is not None:
            raise self.address_fault
        return f"unix:/instances/{instance_id}/run/jupyter.sock"

    def door(self, instance_id: str) -> Door | None:
        self._refuse_when_down()
        return self.doors.get(instance_id)

    def token(self, instance_id: str) -> str:
        self.asked_in.add(threading.get_ident())
        self._refuse_when_down()
        if instance_id not in self.find_all():
            message = f"{instance_id} is not up, it has no token"
            raise MachineUnavailableError(message)
        return f"token-of-{instance_id}"

    def own_token_hash(self, instance_id: str, *, is_shipper: bool) -> str:
        self._refuse_when_down()
        if self.starts is not None:
            start = self.starts.find(instance_id)
            if start is None:
                message = f"{instance_id} has not started"
                raise MachineUnavailableError(message)
            return start.shipper_token_hash if is_shipper else start.instance_token_hash
        try:
            return hashlib.sha256(self.own_tokens[instance_id, is_shipper].encode()).hexdigest()
        except KeyError:
            message = f"{instance_id} has no token"
            raise MachineUnavailableError(message) from None

    def admit(self, instance_id: str, code_hash: str, expires_at: datetime) -> None:
        self._refuse_when_down()
        self.admitted.append((instance_id, code_hash, expires_at))

    def quarantine(self, instance_id: str) -> None:
        self._refuse_when_down()
        if self.is_deaf:
            raise MachineUnavailableError("it does not freeze")
        self.quarantined.add(instance_id)

    def release(self, instance_id: str) -> None:
        self._refuse_when_down()
        if self.is_deaf:
            raise MachineUnavailableError("it does not thaw")
        self.quarantined.discard(instance_id)

    def home(self, instance_id: str) -> HomeSeen | None:
        self._refuse_when_down()
        return self.homes.get(instance_id)

    def image_check(self, instance_id: str) -> ImageCheck | None:
        self._refuse_when_down()
        return self.image_checks.get(instance_id)

    def read_log(self, instance_id: str, offset: int, limit: int) -> tuple[tuple[str, ...], int]:
        return self.logs[instance_id].read(offset, limit)

    def log_tail_offset(self, instance_id: str, lines: int) -> int:
        return self.logs[instance_id].tail_offset(lines)

    # --- what a test says -----------------------------------------------------------------------------------------

    def bring_up(self, instance_id: str, generation: int = 1, sandbox: str = "bubblewrap") -> None:
        """Let the machine of this generation be up, and every other generation of it gone for good."""
        self.remove(instance_id)
        launcher = LauncherRecord(
            pid=4242,
            start_time=1,
            boot_id="boot-1",
            generation=generation,
            started_at=self._clock.now(),
            sandbox=sandbox,
            image_digest=self.image_digest,
        )
        self._seen[instance_id, generation] = MachineSeen(MachineState.UP, launcher=launcher)

    def crash(
        self,
        instance_id: str,
        generation: int = 1,
        code: ReasonCode = ReasonCode.JUPYTER_KILLED,
        words: str = "the Jupyter server was killed by signal 9",
        last_lines: tuple[str, ...] = ("the last line",),
    ) -> None:
        """Let the Jupyter server end now by itself and leave its exit record."""
        self._end(instance_id, generation, code, words, last_lines, is_asked=False)

    def stop(self, instance_id: str, generation: int = 1) -> None:
        """Let the machine end now because it was asked to; it may have been started by an earlier generation."""
        earlier = self.find_all().get(instance_id)
        self.remove(instance_id)
        self._end(instance_id, earlier or generation, ReasonCode.ASKED, "stopped as asked", (), is_asked=True)

    def lose(self, instance_id: str, generation: int = 1, code: ReasonCode = ReasonCode.MACHINE_REBOOTED) -> None:
        """Let the machine be gone without an exit record."""
        self._seen[instance_id, generation] = MachineSeen(MachineState.GONE, code=code)

    def remove(self, instance_id: str) -> None:
        """Let nothing be there any more."""
        for key in [key for key in self._seen if key[0] == instance_id]:
            del self._seen[key]

    def break_down(self, words: str = "the place does not answer") -> None:
        """Let every question fail until `mend`."""
        self._down = words

    def mend(self) -> None:
        self._down = None

    def _refuse_when_down(self) -> None:
        if self._down is not None:
            raise MachineUnavailableError(self._down)

    def _end(
        self,
        instance_id: str,
        generation: int,
        code: ReasonCode,
        words: str,
        last_lines: tuple[str, ...],
        *,
        is_asked: bool,
    ) -> None:
        before = self._seen.get((instance_id, generation), _ABSENT)
        now = self._clock.now()
        record = ExitRecord(
            generation=generation,
            code=code,
            words=words,
            next_step="start it again",
            started_at=before.launcher.started_at if before.launcher else now,
            ended_at=now,
            signal=None if is_asked else 9,
            exit_code=0 if is_asked else None,
            is_asked=is_asked,
            last_lines=last_lines,
        )
        self._seen[instance_id, generation] = MachineSeen(MachineState.EXITED, before.launcher, record)
